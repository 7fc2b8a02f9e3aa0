package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Apply brings the declared objects to the stated form, all or none. What is
// not named stands as it is. Applying the same documents again changes nothing
// and records nothing. It never lifts what a person or the system put in
// quarantine, blocked, suspended or retired; the plan says so. With dryRun it
// only says what it would do.
func (a *Admin) Apply(ctx context.Context, actor Actor, docs []Document, dryRun bool) (Plan, error) {
	manifests, problems := parseAll(docs)
	if err := problems.err(); err != nil {
		return Plan{}, err
	}
	if len(manifests) == 0 {
		return Plan{}, access.Errorf(access.CodeInvalid, "there is no manifest in what was given: a manifest starts with kind: %s", kindWords)
	}
	known, err := a.secrets(ctx)
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	return a.carryOut(ctx, actor, dryRun, &plan, func(cur *Current) (*draft, error) { return a.planned(ctx, cur, actor, manifests, known, &plan) })
}

// planned plans manifests on a state, checks where they lead and sets plan.
func (a *Admin) planned(ctx context.Context, cur *Current, actor Actor, manifests []*manifest, known map[string]bool, plan *Plan) (*draft, error) {
	p := &planner{cur: cur, now: a.now(), by: actor.String(), secrets: known, draft: newDraft(), inspect: a.inspect, strict: a.cfg.Guards == GuardsEnforce, known: a.known(actor),
		guessable: func(id string) (bool, error) { return a.vault.Guessable(ctx, id) }}
	p.all(manifests)
	if err := p.problems.err(); err != nil {
		return nil, err
	}
	sortItems(p.items)
	*plan = Plan{Items: p.items, Generation: cur.View.Generation()}
	next, err := a.after(cur, p.draft)
	if err != nil {
		return nil, err
	}
	p.draft.next = next
	p.unlabelled(manifests, next)
	if err := p.problems.err(); err != nil {
		return nil, err
	}
	p.labelNotes(plan.Items, next)
	a.contrast(plan.Items, cur, next)
	for i := range plan.Items {
		if plan.Items[i].Action != ActionUnchanged {
			plan.Items[i].unread(next)
		}
	}
	return p.draft, nil
}

// carryOut makes the change planning plans, which sets plan while it does; with
// dryRun it only plans.
func (a *Admin) carryOut(ctx context.Context, actor Actor, dryRun bool, plan *Plan, planning func(*Current) (*draft, error)) (Plan, error) {
	if dryRun {
		_, err := planning(a.current.Load())
		return *plan, err
	}
	if err := a.change(ctx, actor, planning); err != nil {
		return Plan{}, err
	}
	plan.Applied = plan.Changes()
	plan.Generation = a.current.Load().View.Generation()
	return *plan, nil
}

// contrast says of items what they were and become, and what is suspicious.
func (a *Admin) contrast(items []Item, cur, next *Current) {
	for i := range items {
		it := &items[i]
		if it.Action == ActionUnchanged {
			continue
		}
		it.Before, it.After = digestIn(cur, it.Kind, it.ID), digestIn(next, it.Kind, it.ID)
		it.warn(next.Set.Warnings())
		a.unmanned(it, cur, next)
	}
}

// Diff says what Apply would do. It needs no right to change anything.
func (a *Admin) Diff(ctx context.Context, docs []Document) (Plan, error) {
	if err := a.Refresh(ctx); err != nil {
		return Plan{}, err
	}
	return a.Apply(ctx, System(), docs, true)
}

// planner plans manifests on one state.
type planner struct {
	cur     *Current
	now     time.Time
	by      string // who applies
	strict  bool   // guards are enforced
	known   bool   // who applies is a registered person
	secrets map[string]bool
	// guessable reports whether the value of a stored credential is, nil where none can be
	// looked at.
	guessable func(id string) (bool, error)
	draft     *draft
	items     []Item
	problems  Problems
	teams     map[string]bool
	servers   map[string]bool
	agents    map[string]bool
	users     map[string]bool
	accounts  map[string]string // account of the machine → user
	subjects  map[registry.ProviderSubject]string
	minted    map[string]bool // declared credentials
	inspect   *inspection     // reads the definitions that are pinned, nil where none can be
}

func (p *planner) all(manifests []*manifest) {
	p.teams, p.servers, p.agents = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, a := range p.cur.View.Agents() {
		p.agents[a.ID] = true
	}
	for _, t := range p.cur.View.Teams() {
		p.teams[t.ID] = true
	}
	for _, s := range p.cur.View.Servers() {
		p.servers[s.ID] = true
	}
	for _, m := range manifests {
		switch m.kind {
		case kindTeam:
			p.teams[m.id] = true
		case kindServer:
			p.servers[m.id] = true
		case kindAgent:
			p.agents[m.id] = true
		}
	}
	p.credentials(manifests)
	p.people(manifests)
	// Credentials come last: they are bound to where their servers are.
	last := func(m *manifest) bool { return m.kind == kindCredential }
	for _, m := range slices.Concat(slices.DeleteFunc(slices.Clone(manifests), last), slices.DeleteFunc(slices.Clone(manifests), func(m *manifest) bool { return !last(m) })) {
		it := Item{Kind: m.kind, ID: m.id}
		switch m.kind {
		case kindAgent:
			p.agent(m, &it)
		case kindServer:
			p.server(m, &it)
		case kindPolicy:
			p.policy(m, &it)
		case kindTeam:
			p.team(m, &it)
		case kindEntitlement:
			p.entitlement(m, &it)
		case kindFact:
			p.fact(m, &it)
		case kindUser:
			p.user(m, &it)
		case kindCredential:
			p.source(m, &it)
		case kindWebhook:
			p.webhook(m, &it)
		case kindSink:
			p.sink(m, &it)
		case kindSignal:
			p.signal(m, &it)
		case kindMail:
			p.mail(m, &it)
		case kindLabel:
			p.label(m, &it)
		}
		if it.Action == "" {
			it.Action = ActionUnchanged
		}
		if it.Action != ActionUnchanged {
			p.draft.records = append(p.draft.records, record{verb: "apply", kind: it.Kind, object: it.ID, detail: it})
		}
		p.items = append(p.items, it)
	}
	p.bind()
	p.shown(manifests)
}

func (p *planner) fail(m *manifest, field, format string, args ...any) {
	at := m.place
	at.Field, at.Msg = field, fmt.Sprintf(format, args...)
	p.problems = append(p.problems, at)
}

// decide fills in what changes between before and after.
func (it *Item) decide(exists bool, before, after any) bool {
	switch {
	case !exists:
		it.Action, it.Fields = ActionCreate, fieldsOf(nil, after)
	default:
		it.Fields = append(fieldsOf(before, after), it.Fields...)
		if len(it.Fields) == 0 {
			it.Action = ActionUnchanged
			return false
		}
		it.Action = ActionUpdate
	}
	return true
}

func (it *Item) note(format string, args ...any) {
	it.Notes = append(it.Notes, fmt.Sprintf(format, args...))
}

// warn notes what is suspicious about the policies the object stands for.
func (it *Item) warn(warnings policy.Problems) {
	for _, w := range warnings {
		switch {
		case it.Kind == kindPolicy && w.Policy == it.ID:
			it.note("%s: %s", w.Place(), w.Message)
		case it.Kind == kindAgent && w.Policy == "allow."+it.ID, it.Kind == kindEntitlement && w.Policy == "entitlement."+it.ID:
			it.note("%s", w.Message)
		}
	}
}

// defaultLife is how long an agent lives whose manifest names no end: until its
// next recertification (discovery.md section 19).
func defaultLife(tier int) int {
	switch tier {
	case 3:
		return 90
	case 2:
		return 180
	default:
		return 365
	}
}

func (p *planner) agent(m *manifest, it *Item) {
	old, exists := p.cur.View.Agent(m.id)
	next := *m.agent
	next.Created, next.Changed, next.State, next.StateBy = p.now, p.now, registry.AgentActive, p.by
	p.keys(m, old, &next)
	if exists {
		next.Created, next.State, next.StateWhy, next.StateBy = old.Created, old.State, old.StateWhy, old.StateBy
	}
	if !m.expires {
		day := time.Date(p.now.Year(), p.now.Month(), p.now.Day(), 0, 0, 0, 0, time.UTC)
		next.Expires = day.AddDate(0, 0, defaultLife(next.RiskTier)+1)
		if exists {
			next.Expires = old.Expires
		} else {
			it.note("no expires is written: it ends on %s, at its next recertification", next.Expires.AddDate(0, 0, -1).Format(time.DateOnly))
		}
	}
	switch want := registry.AgentState(m.state); {
	case want == "" || want == next.State:
	case !exists:
		next.State, next.StateWhy = want, m.why
	default:
		verb := registry.AgentVerb(old.State, want)
		switch {
		case verb == registry.VerbResume:
			it.note("is %s: apply does not lift that; use rutile agent resume %s", old.State, m.id)
		case old.State == registry.AgentRetired:
			it.note("is retired, which is the end: give a new agent another id")
		case verb == "":
			it.note("is %s and stays so: it cannot become %s", old.State, want)
		default:
			changed, err := registry.ChangeAgent(next, verb, p.by, m.why, p.now)
			if err != nil {
				p.fail(m, "state", "%s", err)
				return
			}
			next = changed
		}
	}
	if !exists && m.why != "" {
		next.StateWhy = m.why
	}
	if it.decide(exists, old, next) {
		p.draft.changes.Agents[m.id] = &next
		p.owner(next.Owner, it)
		if registry.AgentStatus(next, p.now) == registry.AgentExpired {
			it.note("expired at the end of %s: it cannot act until its manifest says a later day", next.Expires.AddDate(0, 0, -1).Format(time.DateOnly))
		}
		for _, t := range next.Tools {
			if pat, err := policy.ParsePattern(t); err == nil && !strings.Contains(pat.Server, "*") && !p.servers[pat.Server] {
				it.note("tools: %q covers nothing yet: server %q is not registered", t, pat.Server)
			}
		}
	}
}

// keys adds the enrolled keys to those of the manifest. A manifest that says
// nothing of enrolled keys leaves them alone; one that lists a key among its own
// makes it its own.
func (p *planner) keys(m *manifest, old registry.Agent, next *registry.Agent) {
	enrolled := old.Enrolled
	if m.enrolled {
		enrolled = next.Enrolled
	}
	next.Codes, next.Enrolled, next.Attested, next.Reminded = old.Codes, nil, old.Attested, old.Reminded
	for _, e := range enrolled {
		if slices.ContainsFunc(next.Keys, func(k json.RawMessage) bool { return string(k) == e.JWK }) {
			continue
		}
		next.Enrolled = append(next.Enrolled, e)
	}
	next.Keys = slices.Clone(next.Keys)
	for _, e := range next.Enrolled {
		next.Keys = append(next.Keys, json.RawMessage(e.JWK))
	}
	order(next)
}

// owner notes an owner who is no registered team: people are known to the
// identity provider and not to us, so that is not a mistake.
func (p *planner) owner(owner string, it *Item) {
	if owner != "" && !p.teams[owner] && !p.users[owner] {
		it.note("owner %q is not a registered team and is taken as a person", owner)
	}
}

func (p *planner) policy(m *manifest, it *Item) {
	old, exists := p.cur.policy(m.id)
	next := *m.policy
	next.Created, next.Changed = p.now, p.now
	if exists {
		next.Created = old.Created
	}
	if next.Retired() && next.Cedar == "" { // it is only to be retired
		if !exists {
			it.note("is not there, so nothing is retired")
			return
		}
		next.Cedar, next.File, next.Line = old.Cedar, old.File, old.Line
		if next.Layer == "" {
			next.Layer = old.Layer
		}
	}
	if it.decide(exists, shownPolicy(old), shownPolicy(next)) {
		p.draft.changes.Policies[m.id] = &next
	}
}

// shownPolicy is what a plan says of a policy.
func shownPolicy(p policy.Policy) map[string]string {
	out := map[string]string{"cedar": p.Cedar, "layer": p.Layer}
	if p.State != "" {
		out["state"] = p.State
	}
	return out
}

func (p *planner) team(m *manifest, it *Item) {
	old, exists := p.cur.View.Team(m.id)
	next := *m.team
	if it.decide(exists, old, next) {
		p.draft.changes.Teams[m.id] = &next
		for _, member := range next.Members {
			if !p.users[member] {
				it.note("member %q is no registered user and is taken as a person of an identity provider", member)
			}
		}
	}
}

func (p *planner) entitlement(m *manifest, it *Item) {
	old, exists := p.cur.Rights[m.id]
	next := *m.right
	next.Created, next.Changed = p.now, p.now
	if exists {
		next.Created, next.Confirmed, next.ConfirmedBy = old.Created, old.Confirmed, old.ConfirmedBy
		if next.State == "" {
			next.State = old.State
		}
	}
	if next.State == "" {
		next.State = grant.EntitlementActive
	}
	var before any
	if exists {
		before = old
	}
	if it.decide(exists, before, next) {
		p.draft.changes.Rights[m.id] = &next
		p.owner(next.Owner, it)
		for _, id := range next.Agents {
			if !p.agents[id] {
				it.note("agents: %q is not registered", id)
			}
		}
		for _, id := range next.Delegate.Agents {
			if !p.agents[id] {
				it.note("delegate: %q is not registered", id)
			}
		}
	}
}

// secrets returns the names of the stored credentials.
func (a *Admin) secrets(ctx context.Context) (map[string]bool, error) {
	list, err := a.vault.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing credentials: %w", err)
	}
	out := map[string]bool{}
	for _, s := range list {
		out[s.ID] = true
	}
	return out, nil
}

// ProblemsOf returns the single problems of an error of ParseFiles, Diff or
// Apply, nil if it is about something else.
func ProblemsOf(err error) Problems {
	var ps Problems
	if errors.As(err, &ps) {
		return ps
	}
	return nil
}
