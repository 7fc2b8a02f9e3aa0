package admin

import (
	"context"
	"errors"
	"slices"

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
		if err = f.store.CommitFindings(ctx, *c); access.CodeOf(err) != access.CodeConflict {
			return err
		}
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
			held, err := f.store.Findings(ctx, finding.Filter{Source: says[i].Source})
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
