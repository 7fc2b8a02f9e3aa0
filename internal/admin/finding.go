package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/finding"
)

const kindFinding = "Finding"

// Findings is where what is wrong is raised, looked at and dealt with, whoever
// found it. It is safe for concurrent use, and by several nodes.
type Findings struct {
	admin *Admin
	store finding.Store
	debts Debts
	tell  func(opened, ended []finding.Finding)

	reports sync.Mutex // of wrong denials, one at a time
}

// Follow has tell called with findings that opened, and those that were resolved, after
// that was kept. It is to be called before anything is raised.
func (f *Findings) Follow(tell func(opened, ended []finding.Finding)) { f.tell = tell }

// kept passes on what opened and ended by changes that were kept.
func (f *Findings) kept(c *finding.Changes) {
	if f.tell == nil || len(c.Opened)+len(c.Ended) == 0 {
		return
	}
	var opened, ended []finding.Finding
	for i := range c.Put {
		switch x := c.Put[i]; {
		case x.State == finding.Open && slices.Contains(c.Opened, x.ID):
			opened = append(opened, x)
		case x.State == finding.Resolved && slices.Contains(c.Ended, x.ID):
			ended = append(ended, x)
		}
	}
	f.tell(opened, ended)
}

// NewFindings returns Findings. All are required.
func NewFindings(a *Admin, s finding.Store, d Debts) (*Findings, error) {
	if a == nil || s == nil || d == nil {
		return nil, errors.New("admin: a dependency is missing")
	}
	return &Findings{admin: a, store: s, debts: d}, nil
}

// Tell takes what sources of the gateway say is wrong. Times that are not set are
// now.
func (f *Findings) Tell(ctx context.Context, says ...finding.Says) error {
	for i := range says {
		if says[i].At.IsZero() {
			says[i].At = f.admin.now()
		}
	}
	for range attempts {
		c, err := f.plan(ctx, says)
		if err != nil {
			return err
		}
		if c.Empty() {
			return nil
		}
		if err = f.store.CommitFindings(ctx, *c); access.CodeOf(err) == access.CodeConflict {
			continue
		}
		if err == nil {
			f.kept(c)
		}
		return err
	}
	return access.Errorf(access.CodeConflict, "findings kept being changed: try again")
}

// plan says what is to be written for what sources say.
func (f *Findings) plan(ctx context.Context, says []finding.Says) (*finding.Changes, error) {
	byID := map[string]bool{}
	ids := []string{}
	var have []finding.Finding
	for i := range says {
		if says[i].Covers != nil {
			held, err := f.store.Findings(ctx, finding.Filter{Source: says[i].Source, Subjects: says[i].About})
			if err != nil {
				return nil, err
			}
			for _, h := range held {
				if !byID[h.ID] {
					byID[h.ID] = true
					have = append(have, h)
				}
			}
		}
	}
	for i := range says {
		for j := range says[i].Raised {
			if id := says[i].Raised[j].ID(); !byID[id] {
				byID[id] = true
				ids = append(ids, id)
			}
		}
	}
	if len(ids) > 0 {
		more, err := f.store.Findings(ctx, finding.Filter{IDs: ids})
		if err != nil {
			return nil, err
		}
		have = append(have, more...)
	}
	c := finding.Plan(have, says)
	return &c, nil
}

// List returns findings, the worst first, with the state that counts now.
func (f *Findings) List(ctx context.Context, filter finding.Filter) ([]finding.Finding, error) {
	want := filter.State
	filter.State = ""
	list, err := f.store.Findings(ctx, filter)
	if err != nil {
		return nil, err
	}
	now := f.admin.now()
	out := list[:0]
	for i := range list {
		list[i].State = list[i].Now(now)
		if filter.Overdue && !list[i].Overdue(now) {
			continue
		}
		if want == "" && list[i].State != finding.Resolved || list[i].State == want {
			out = append(out, list[i])
		}
	}
	slices.SortStableFunc(out, func(a, b finding.Finding) int { return b.Severity.Rank() - a.Severity.Rank() })
	return out, nil
}

// Show returns one finding.
func (f *Findings) Show(ctx context.Context, id string) (finding.Finding, error) {
	list, err := f.store.Findings(ctx, finding.Filter{IDs: []string{id}})
	if err != nil {
		return finding.Finding{}, err
	}
	if len(list) != 1 {
		return finding.Finding{}, access.Errorf(access.CodeNotFound, "finding %q is not there: see rutile finding list", clip(id))
	}
	list[0].State = list[0].Now(f.admin.now())
	return list[0], nil
}

// maxMute bounds how long a finding may be muted.
const maxMute = 365 * 24 * time.Hour

// Assign says who answers for a finding and by when; a zero due leaves that, and an
// empty owner takes both away, so that it is due when its severity says.
func (f *Findings) Assign(ctx context.Context, actor Actor, id, owner string, due time.Time) (finding.Finding, error) {
	cur := f.admin.Current().View
	_, person := cur.User(owner)
	_, team := cur.Team(owner)
	if owner != "" && !person && !team {
		return finding.Finding{}, access.Errorf(access.CodeInvalid, "%q is neither a user nor a team: see rutile user list, or apply a manifest of kind Team", clip(owner))
	}
	return f.change(ctx, actor, "assign", id, "", map[string]any{"owner": owner, "due": due}, func(x *finding.Finding, _ time.Time) error {
		x.Owner = owner
		if owner == "" {
			x.Promise("", time.Time{})
		} else {
			x.Promise(actor.String(), due)
		}
		return nil
	})
}

// Mute leaves a finding alone until a time, for a reason. It comes back by itself.
func (f *Findings) Mute(ctx context.Context, actor Actor, id, why string, until time.Time) (finding.Finding, error) {
	if strings.TrimSpace(why) == "" {
		return finding.Finding{}, access.Errorf(access.CodeInvalid, "say why the finding may be left alone: --why REASON")
	}
	return f.change(ctx, actor, "mute", id, why, map[string]any{"until": until}, func(x *finding.Finding, now time.Time) error {
		switch {
		case !until.After(now) || until.Sub(now) > maxMute:
			return access.Errorf(access.CodeInvalid, "a finding is muted until a time within a year from now, not %s", until.UTC().Format(time.RFC3339))
		case x.State == finding.Resolved:
			return access.Errorf(access.CodeConflict, "finding %s is resolved: there is nothing to mute", id)
		}
		x.State, x.Mute = finding.Muted, &finding.Mute{By: actor.String(), Why: why, At: now, Until: until}
		return nil
	})
}

// Unmute ends a mute before its time.
func (f *Findings) Unmute(ctx context.Context, actor Actor, id, why string) (finding.Finding, error) {
	return f.change(ctx, actor, "unmute", id, why, nil, func(x *finding.Finding, now time.Time) error {
		if x.Now(now) != finding.Muted {
			return access.Errorf(access.CodeConflict, "finding %s is %s, and not muted", id, x.Now(now))
		}
		x.State, x.Mute = finding.Open, nil
		return nil
	})
}

// change changes one finding as a person asks, with its leaf of evidence.
func (f *Findings) change(ctx context.Context, actor Actor, verb, id, why string, detail any, do func(x *finding.Finding, now time.Time) error) (finding.Finding, error) {
	if err := checkReason(why); err != nil {
		return finding.Finding{}, err
	}
	if err := f.admin.Authorize(ctx, actor, OpFinding); err != nil {
		return finding.Finding{}, err
	}
	for range attempts {
		list, err := f.store.Findings(ctx, finding.Filter{IDs: []string{id}})
		if err != nil {
			return finding.Finding{}, err
		}
		if len(list) != 1 {
			return finding.Finding{}, access.Errorf(access.CodeNotFound, "finding %q is not there: see rutile finding list", clip(id))
		}
		x, now := list[0], f.admin.now()
		if err := do(&x, now); err != nil {
			return finding.Finding{}, err
		}
		x.Changed = now
		owed, err := owedLeaf(f.admin.cfg.Node, actor.String(), verb, kindFinding, id, why, detail)
		if err != nil {
			return finding.Finding{}, err
		}
		err = f.store.CommitFindings(ctx, finding.Changes{At: now, Put: []finding.Finding{x}, Owed: []access.Owed{owed}})
		if access.CodeOf(err) == access.CodeConflict {
			continue
		}
		if err == nil {
			err = settle(ctx, f.debts, owed.ID)
		}
		if err != nil {
			return finding.Finding{}, err
		}
		return f.Show(ctx, id)
	}
	return finding.Finding{}, access.Errorf(access.CodeConflict, "finding %s kept being changed: try again", id)
}
