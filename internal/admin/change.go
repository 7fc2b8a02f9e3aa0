package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/notice"
	"rutile/internal/policy"
	"rutile/internal/registry"
	"rutile/internal/signal"
	"rutile/internal/sink"
	"rutile/internal/webhook"
)

// attempts bounds how often a change is planned anew because another node
// committed first.
const attempts = 5

// commitTime bounds a commit once its evidence is durable; the caller going
// away does not end it.
const commitTime = 30 * time.Second

// leafTime is what each further leaf of a change adds to it.
const leafTime = 50 * time.Millisecond

// draft is a planned change: what to commit and what to record.
type draft struct {
	changes Changes
	records []record
	next    *Current // the state after it, where planning made it already
	from    uint64   // the generation of the rules it brings back, 0 for none
	why     string   // the reason given for bringing it back
	own     string   // the user whose own factors are all that it changes, "" for every other change
}

// record is one object of a change, as evidence keeps it.
type record struct {
	verb, kind, object, reason string
	before, after              string // digests
	detail                     any    // no secrets: manifests and listings only
	op                         Op     // it takes, "" for what changes of the kind take
}

func newDraft() *draft {
	return &draft{changes: Changes{
		Agents: map[string]*registry.Agent{}, Servers: map[string]*registry.Server{}, Tools: map[ToolKey]*registry.Tool{},
		Teams: map[string]*registry.Team{}, Users: map[string]*registry.User{}, Policies: map[string]*policy.Policy{}, Rights: map[string]*grant.Entitlement{},
		Facts:   map[string]*fact.Fact{},
		Sources: map[string]*credential.Source{}, Webhooks: map[string]*webhook.Webhook{}, Sinks: map[string]*sink.Sink{},
		Signals: map[string]*signal.Source{}, Mails: map[string]*notice.Mail{}, Labels: map[string]*registry.Label{},
	}}
}

func (d *draft) empty() bool {
	c := d.changes
	return len(c.Agents)+len(c.Servers)+len(c.Tools)+len(c.Teams)+len(c.Users)+len(c.Policies)+len(c.Rights)+len(c.Facts)+len(c.Sources)+len(c.Webhooks)+len(c.Sinks)+len(c.Signals)+len(c.Mails)+len(c.Labels) == 0
}

// change is the one way anything is changed: plan on the current state,
// validate the whole state after it, make the evidence durable, commit, install.
// A plan that changes nothing records nothing.
func (a *Admin) change(ctx context.Context, actor Actor, plan func(*Current) (*draft, error)) error {
	if err := actor.valid(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.settle(ctx); err != nil {
		return err
	}
	for range attempts {
		if err := a.refresh(ctx); err != nil {
			return err
		}
		cur := a.current.Load()
		d, err := plan(cur)
		if err != nil {
			return err
		}
		if d.empty() {
			return nil
		}
		if err := a.permitAll(ctx, cur, actor, d); err != nil {
			return err
		}
		err = a.execute(ctx, actor, cur, d)
		if access.CodeOf(err) != access.CodeConflict {
			return err
		}
	}
	return access.Errorf(access.CodeConflict, "other changes kept coming first: try again")
}

// execute validates, records, commits and installs one draft.
func (a *Admin) execute(ctx context.Context, actor Actor, cur *Current, d *draft) error {
	next := d.next
	if next == nil {
		var err error
		if next, err = a.after(cur, d); err != nil {
			return err
		}
	}
	d.changes.Base = cur.View.Generation()
	p := pending{ID: access.NewID(access.PrefixChange), Base: d.changes.Base}
	if err := a.activate(ctx, actor, cur, next, d, p.ID); err != nil {
		return err
	}
	for i := range d.records {
		r := &d.records[i]
		r.before, r.after = digestIn(cur, r.kind, r.object), digestIn(next, r.kind, r.object)
		p.Objects = append(p.Objects, changed{r.kind, r.object, r.after})
	}
	if err := a.remember(ctx, p); err != nil {
		return err
	}
	// From here on the caller going away changes nothing: what is recorded is
	// committed, or recorded as not committed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime+time.Duration(len(d.records))*leafTime)
	defer cancel()
	if err := a.record(ctx, p.ID, actor, d.records); err != nil {
		// Leaves before the one that failed may stand. If this fails too the note
		// stays and settle says it later.
		if verr := a.void(ctx, p, "its evidence could not be kept"); verr != nil {
			return errors.Join(err, verr)
		}
		return err
	}
	gen, err := a.store.Commit(ctx, d.changes)
	if access.CodeOf(err) == access.CodeConflict {
		if verr := a.void(ctx, p, "another change was committed first"); verr != nil {
			return verr
		}
		return err
	}
	if err != nil {
		return a.doubt(ctx, p, err)
	}
	installed := *next
	installed.View = next.View.At(gen)
	a.current.Store(&installed)
	a.forget(ctx)
	return nil
}

// doubt finds out whether a commit that returned an error took effect.
func (a *Admin) doubt(ctx context.Context, p pending, cause error) error {
	cur, err := a.load(ctx)
	if err != nil {
		// Nobody knows now; settle finds out before the next change.
		return &access.Error{Code: access.CodeUnavailable, Msg: "the store did not answer: whether the change took effect is found out before the next one", Err: errors.Join(cause, err)}
	}
	if p.applied(cur) {
		a.current.Store(cur)
		a.forget(ctx)
		return nil
	}
	if err := a.void(ctx, p, "the store refused it"); err != nil {
		return err
	}
	return fmt.Errorf("committing a change: %w", cause)
}

// record makes the evidence of a change durable, one leaf an object.
func (a *Admin) record(ctx context.Context, id string, actor Actor, records []record) error {
	for _, r := range records {
		detail, err := json.Marshal(r.detail)
		if err != nil {
			return fmt.Errorf("recording a change: %w", err)
		}
		leaf := audit.Admin{ID: id, Actor: actor.String(), Verb: r.verb, Kind: r.kind, Object: r.object, Before: r.before, After: r.after, Reason: r.reason, Detail: detail}
		if _, err := a.evidence.Admin(ctx, leaf); err != nil {
			return &access.Error{Code: access.CodeEvidence, Msg: "evidence cannot be kept, so nothing was changed; see the gateway's log", Err: fmt.Errorf("recording a change: %w", err)}
		}
	}
	return nil
}

// void records that a change whose evidence may stand did not take effect.
func (a *Admin) void(ctx context.Context, p pending, why string) error {
	leaf := audit.Admin{ID: p.ID, Actor: system, Verb: "void", Kind: "change", Object: p.ID, Reason: why + ": it did not take effect"}
	if _, err := a.evidence.Admin(ctx, leaf); err != nil {
		// The note about the pending change stays, so the next start tries again.
		return &access.Error{Code: access.CodeEvidence, Msg: "evidence cannot be kept; see the gateway's log", Err: fmt.Errorf("recording that a change did not take effect: %w", err)}
	}
	a.forget(ctx)
	return nil
}

// pending is the note about a change between its evidence and its commit. It is
// what tells a restart whether the evidence came true.
type pending struct {
	ID      string    `json:"id"`
	Base    uint64    `json:"base"`
	Objects []changed `json:"objects"`
}

// changed is one object of a pending change and its digest after it.
type changed struct{ Kind, ID, After string }

// applied reports whether cur holds what the change was to make.
func (p pending) applied(cur *Current) bool {
	if cur.View.Generation() <= p.Base {
		return false
	}
	for _, o := range p.Objects {
		if digestIn(cur, o.Kind, o.ID) != o.After {
			return false
		}
	}
	return true
}

func (a *Admin) pendingKey() string { return "admin.pending." + a.cfg.Node }

func (a *Admin) remember(ctx context.Context, p pending) error {
	note, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("noting a change: %w", err)
	}
	if err := a.store.SetMeta(ctx, a.pendingKey(), string(note)); err != nil {
		return fmt.Errorf("noting a change: %w", err)
	}
	a.unsettled = true
	return nil
}

// forget removes the note. Where that fails the note is settled later, to the
// same result.
func (a *Admin) forget(ctx context.Context) {
	a.unsettled = a.store.SetMeta(ctx, a.pendingKey(), "") != nil
}

// settle deals with a change that was interrupted between its evidence and its
// commit, by a crash or by a store that went away.
func (a *Admin) settle(ctx context.Context) error {
	if !a.unsettled {
		return nil
	}
	note, ok, err := a.store.Meta(ctx, a.pendingKey())
	if err != nil {
		return fmt.Errorf("reading the note about an interrupted change: %w", err)
	}
	if !ok || note == "" {
		a.unsettled = false
		return nil
	}
	var p pending
	if err := json.Unmarshal([]byte(note), &p); err != nil {
		return fmt.Errorf("reading the note about an interrupted change: %w", err)
	}
	cur, err := a.load(ctx)
	if err != nil {
		return err
	}
	if p.applied(cur) {
		a.forget(ctx)
		return nil
	}
	return a.void(ctx, p, "it was interrupted before it was committed")
}

// refresh loads what another node committed.
func (a *Admin) refresh(ctx context.Context) error {
	gen, err := a.registry.Generation(ctx)
	if err != nil {
		return fmt.Errorf("reading the generation: %w", err)
	}
	if cur := a.current.Load(); cur != nil && cur.View.Generation() == gen {
		return nil
	}
	cur, err := a.load(ctx)
	if err != nil {
		return err
	}
	a.current.Store(cur)
	return nil
}

// load reads one consistent generation and compiles it.
func (a *Admin) load(ctx context.Context) (*Current, error) {
	for range attempts {
		content, err := a.registry.LoadRegistry(ctx)
		if err != nil {
			return nil, fmt.Errorf("loading the registry: %w", err)
		}
		kept, err := a.kept(ctx)
		if err != nil {
			return nil, err
		}
		gen, err := a.registry.Generation(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the generation: %w", err)
		}
		if gen == content.Generation {
			return a.build(content, kept)
		}
	}
	return nil, access.Errorf(access.CodeUnavailable, "the registry keeps changing while it is read: try again")
}

// stored is what of a state is not the registry's.
type stored struct {
	policies []policy.Policy
	rights   []grant.Entitlement
	facts    []fact.Fact
	sources  []credential.Source
	webhooks []webhook.Webhook
	sinks    []sink.Sink
	signals  []signal.Source
	mails    []notice.Mail
	labels   []registry.Label
}

func (a *Admin) kept(ctx context.Context) (s stored, err error) {
	if s.policies, err = a.store.LoadPolicies(ctx); err != nil {
		return s, fmt.Errorf("loading the policies: %w", err)
	}
	if s.rights, err = a.store.LoadEntitlements(ctx); err != nil {
		return s, fmt.Errorf("loading the entitlements: %w", err)
	}
	if s.facts, err = a.store.LoadFacts(ctx); err != nil {
		return s, fmt.Errorf("loading the facts: %w", err)
	}
	if s.sources, err = a.store.LoadSources(ctx); err != nil {
		return s, fmt.Errorf("loading the declared credentials: %w", err)
	}
	if s.webhooks, err = a.store.LoadWebhooks(ctx); err != nil {
		return s, fmt.Errorf("loading the webhooks: %w", err)
	}
	if s.sinks, err = a.store.LoadSinks(ctx); err != nil {
		return s, fmt.Errorf("loading the sinks: %w", err)
	}
	if s.signals, err = a.store.LoadSignals(ctx); err != nil {
		return s, fmt.Errorf("loading the sources of signals: %w", err)
	}
	if s.mails, err = a.store.LoadMails(ctx); err != nil {
		return s, fmt.Errorf("loading the receivers of mail: %w", err)
	}
	if s.labels, err = a.store.LoadLabels(ctx); err != nil {
		return s, fmt.Errorf("loading the labels: %w", err)
	}
	return s, nil
}

// digestIn returns the digest of an object of a state, "" if it is not there.
// It leaves out what is about a row and not in it: when it was made, changed or
// seen, and by whom, which evidence says itself.
func digestIn(cur *Current, kind, id string) string {
	switch kind {
	case kindAgent:
		if a, ok := cur.View.Agent(id); ok {
			a.Created, a.Changed, a.StateBy = time.Time{}, time.Time{}, ""
			return digest(a)
		}
	case kindServer:
		if s, ok := cur.View.Server(id); ok {
			s.Created, s.Changed, s.StateBy = time.Time{}, time.Time{}, ""
			tools := slices.Clone(cur.View.Tools(id))
			for i := range tools {
				tools[i] = bareTool(tools[i])
			}
			return digest(struct {
				Server registry.Server
				Tools  []registry.Tool
			}{s, tools})
		}
	case kindTool:
		for _, t := range cur.View.Tools(serverOf(id)) {
			if toolObject(t) == id {
				return digest(bareTool(t))
			}
		}
	case kindPolicy:
		if p, ok := cur.policy(id); ok {
			said := []string{p.ID, p.Layer, p.Cedar}
			if p.State != "" {
				said = append(said, p.State)
			}
			return digest(said)
		}
	case kindEntitlement:
		if e, ok := cur.Rights[id]; ok {
			e.Created, e.Changed = time.Time{}, time.Time{}
			return digest(e)
		}
	case kindPolicySet:
		return RulesOf(cur).Digest()
	case kindFact:
		if f, ok := cur.Facts[id]; ok {
			f.Created, f.Changed = time.Time{}, time.Time{}
			return digest(f)
		}
	case kindCredential:
		if s, ok := cur.Sources[id]; ok {
			s.Created, s.Changed = time.Time{}, time.Time{}
			return digest(s)
		}
	case kindWebhook:
		if w, ok := cur.Webhooks[id]; ok {
			w.Created, w.Changed = time.Time{}, time.Time{}
			return digest(w)
		}
	case kindSink:
		if s, ok := cur.Sinks[id]; ok {
			s.Created, s.Changed = time.Time{}, time.Time{}
			return digest(s)
		}
	case kindSignal:
		if s, ok := cur.Signals[id]; ok {
			s.Created, s.Changed = time.Time{}, time.Time{}
			return digest(s)
		}
	case kindMail:
		if m, ok := cur.Mails[id]; ok {
			m.Created, m.Changed = time.Time{}, time.Time{}
			return digest(m)
		}
	case kindLabel:
		if l, ok := cur.Labels[id]; ok {
			l.Created, l.Changed = time.Time{}, time.Time{}
			return digest(l)
		}
	case kindTeam:
		if t, ok := cur.View.Team(id); ok {
			return digest(t)
		}
	case kindUser:
		if u, ok := cur.View.User(id); ok {
			u.Created, u.Changed, u.StateBy = time.Time{}, time.Time{}, ""
			return digest(u)
		}
	}
	return ""
}

// bareTool leaves out the bytes, which the digests stand for, and the times.
func bareTool(t registry.Tool) registry.Tool {
	t.Pinned, t.Seen, t.FirstSeen, t.LastSeen = nil, nil, time.Time{}, time.Time{}
	return t
}

// keysOf returns the sorted keys of a map.
func keysOf[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
