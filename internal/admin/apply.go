package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
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
		return Plan{}, access.Errorf(access.CodeInvalid, "there is no manifest in what was given: a manifest starts with kind: Agent, Server, Policy or Team")
	}
	known, err := a.secrets(ctx)
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	planning := func(cur *Current) (*draft, error) {
		p := &planner{cur: cur, now: a.now(), by: actor.String(), secrets: known, draft: newDraft()}
		p.all(manifests)
		if err := p.problems.err(); err != nil {
			return nil, err
		}
		sortItems(p.items)
		plan = Plan{Items: p.items, Generation: cur.View.Generation()}
		next, err := a.after(cur, p.draft)
		if err != nil {
			return nil, err
		}
		p.draft.next = next
		for i := range plan.Items {
			it := &plan.Items[i]
			if it.Action == ActionUnchanged {
				continue
			}
			it.Before, it.After = digestIn(cur, it.Kind, it.ID), digestIn(next, it.Kind, it.ID)
		}
		return p.draft, nil
	}
	if dryRun {
		_, err := planning(a.current.Load())
		return plan, err
	}
	if err := a.change(ctx, actor, planning); err != nil {
		return Plan{}, err
	}
	plan.Applied = plan.Changes()
	plan.Generation = a.current.Load().View.Generation()
	return plan, nil
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
	cur      *Current
	now      time.Time
	by       string // who applies
	secrets  map[string]bool
	draft    *draft
	items    []Item
	problems Problems
	teams    map[string]bool
	servers  map[string]bool
}

func (p *planner) all(manifests []*manifest) {
	p.teams, p.servers = map[string]bool{}, map[string]bool{}
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
		}
	}
	for _, m := range manifests {
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
		}
		if it.Action == "" {
			it.Action = ActionUnchanged
		}
		if it.Action != ActionUnchanged {
			p.draft.records = append(p.draft.records, record{verb: "apply", kind: it.Kind, object: it.ID, detail: it})
		}
		p.items = append(p.items, it)
	}
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
		for _, t := range next.Tools {
			if pat, err := policy.ParsePattern(t); err == nil && !strings.Contains(pat.Server, "*") && !p.servers[pat.Server] {
				it.note("tools: %q covers nothing yet: server %q is not registered", t, pat.Server)
			}
		}
	}
}

// owner notes an owner who is no registered team: people are known to the
// identity provider and not to us, so that is not a mistake.
func (p *planner) owner(owner string, it *Item) {
	if owner != "" && !p.teams[owner] {
		it.note("owner %q is not a registered team and is taken as a person", owner)
	}
}

func (p *planner) server(m *manifest, it *Item) {
	old, exists := p.cur.View.Server(m.id)
	next := *m.server
	next.Created, next.Changed, next.State, next.StateBy = p.now, p.now, registry.ServerTriaged, p.by
	if exists {
		next.Created, next.State, next.StateWhy, next.StateBy = old.Created, old.State, old.StateWhy, old.StateBy
		next.Era, next.Baseline = old.Era, old.Baseline
	}
	if want := registry.ServerState(m.state); !exists && want != "" {
		next.State, next.StateWhy = want, m.why
	} else if want != "" && want != next.State {
		changed, ok := p.serverState(m, it, next, want)
		if !ok {
			return
		}
		next = changed
	}
	for kind, at := range m.baseline {
		if _, taken := next.Baseline[kind]; !taken {
			next.Baseline = maps.Clone(next.Baseline)
			if next.Baseline == nil {
				next.Baseline = map[registry.Kind]time.Time{}
			}
			next.Baseline[kind] = at
		}
	}
	p.pins(m, it)
	pins := len(it.Fields) > 0
	if !it.decide(exists, old, next) {
		return
	}
	if !exists || !pins || len(fieldsOf(old, next)) > 0 {
		p.draft.changes.Servers[m.id] = &next
	}
	p.serverNotes(old, next, it)
}

// serverState moves an existing server to the wanted state, if apply may.
func (p *planner) serverState(m *manifest, it *Item, s registry.Server, want registry.ServerState) (registry.Server, bool) {
	verb := registry.ServerVerb(s.State, want)
	switch s.State {
	case registry.ServerQuarantined, registry.ServerBlocked:
		if verb == registry.VerbApprove || verb == registry.VerbRelease || verb == "" {
			how := "approve"
			if s.State == registry.ServerBlocked {
				how = "release"
			}
			it.note("is %s: apply does not lift that; use rutile server %s %s", s.State, how, m.id)
			return s, true
		}
	case registry.ServerRetired:
		it.note("is retired, which is the end: give a new server another id")
		return s, true
	}
	steps := []registry.Verb{verb}
	if verb == "" && want == registry.ServerDeprecated {
		steps = []registry.Verb{registry.VerbApprove, registry.VerbDeprecate}
	} else if verb == "" {
		p.fail(m, "state", "server %q is %s and cannot become %s: remove state, or change it with rutile server", m.id, s.State, want)
		return s, false
	}
	for _, v := range steps {
		next, err := registry.ChangeServer(s, v, p.by, m.why, p.now)
		if err != nil {
			p.fail(m, "state", "%s", err)
			return s, false
		}
		s = next
	}
	return s, true
}

// serverNotes says what a reader should know before approving (mcp.md section 5
// row 6: the exact command, and what is dangerous about it).
func (p *planner) serverNotes(old, next registry.Server, it *Item) {
	p.owner(next.Owner, it)
	if s := next.Transport.Stdio; s != nil {
		it.Runs = append([]string{s.Command}, s.Args...)
		it.Dangers = dangers(it.Runs)
	}
	if h := next.Transport.HTTP; h != nil && strings.HasPrefix(h.URL, "http:") && !loopback(h.URL) {
		it.Dangers = append(it.Dangers, "is reached without encryption: everything, its credential too, can be read on the way")
	}
	if c := next.Credential; c != nil && !p.secrets[c.Ref] {
		it.note("credential %q is not stored yet: use rutile credential set %s", c.Ref, c.Ref)
	}
	if next.State == registry.ServerSanctioned && old.State != registry.ServerSanctioned && next.Baseline == nil {
		it.note("its first listing is approved as it comes; later ones are compared with it")
	}
	if next.Pinning == registry.PinningObserve {
		it.Dangers = append(it.Dangers, "pinning: observe lets changed and new definitions pass")
	}
}

func loopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

// pins restores approved definitions. A tool a person holds back stays held.
func (p *planner) pins(m *manifest, it *Item) {
	for _, pin := range m.pins {
		old, exists := p.cur.View.Tool(m.id, pin.Name)
		next := pin
		next.FirstSeen, next.LastSeen = p.now, p.now
		if exists {
			next = old
			if pin.PinDigest != "" && pin.PinDigest != old.PinDigest {
				next.Pinned, next.PinDigest, next.PinRaw = pin.Pinned, pin.PinDigest, pin.PinRaw
				next.ApprovedBy, next.ApprovedAt = pin.ApprovedBy, pin.ApprovedAt
			}
			if pin.PinDigest != "" {
				next.Class, next.ClassBy = pin.Class, pin.ClassBy
			}
			next.State = pinState(old, pin, next.PinDigest)
			if next.State != pin.State && held(next.State) {
				it.note("%s %q is %s: apply does not lift that", old.Kind(), old.Bare(), old.State)
			}
		}
		before, after := pinFields(old), pinFields(next)
		if exists && slices.Equal(before, after) {
			continue
		}
		p.draft.changes.Tools[ToolKey{m.id, pin.Name}] = &next
		it.Fields = append(it.Fields, FieldChange{Field: "pins." + pin.Name, Before: quote(before), After: quote(after)})
	}
}

func held(s registry.ToolState) bool {
	return s == registry.ToolQuarantined || s == registry.ToolBlocked || s == registry.ToolRetired
}

// pinState is the state of a tool after its pin was restored: held stays held,
// a stricter state is taken over, and what was last seen decides the rest.
func pinState(old, pin registry.Tool, digest string) registry.ToolState {
	switch {
	case held(old.State):
		if pin.State == registry.ToolRetired || pin.State == registry.ToolBlocked && old.State == registry.ToolQuarantined {
			return pin.State
		}
		return old.State
	case held(pin.State):
		return pin.State
	case old.State == registry.ToolAbsent || old.PinDigest == digest:
		return old.State // the same pin says nothing new about what is listed
	case old.SeenDigest == digest:
		return registry.ToolApproved
	default:
		return registry.ToolChanged
	}
}

func (p *planner) policy(m *manifest, it *Item) {
	old, exists := p.cur.policy(m.id)
	next := *m.policy
	next.Created, next.Changed = p.now, p.now
	shown := func(x policy.Policy) map[string]string { return map[string]string{"cedar": x.Cedar, "layer": x.Layer} }
	if exists {
		next.Created = old.Created
	}
	if it.decide(exists, shown(old), shown(next)) {
		p.draft.changes.Policies[m.id] = &next
	}
}

func (p *planner) team(m *manifest, it *Item) {
	old, exists := p.cur.View.Team(m.id)
	next := *m.team
	if it.decide(exists, old, next) {
		p.draft.changes.Teams[m.id] = &next
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
