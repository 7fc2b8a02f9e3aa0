package privilege

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// agent describes one agent. covered says that evidence and rules go back to the
// beginning of the period.
func (x *indexed) agent(a registry.Agent, covered bool) Agent {
	out := Agent{ID: a.ID, Owner: a.Owner, Class: a.Class, Status: string(registry.AgentStatus(a, x.in.Until)), Orphaned: x.orphaned(a.Owner),
		Standing: []Right{}, Can: x.reach(a), Tools: slices.Clone(a.Tools)}
	keep := newKeeper(x, a, covered)
	for _, text := range a.Tools {
		out.Standing = append(out.Standing, keep.right(text))
	}
	out.Proposed = keep.list()
	out.Shrinks = !slices.Equal(slices.Sorted(slices.Values(a.Tools)), slices.Sorted(slices.Values(out.Proposed)))
	if !out.Shrinks {
		out.Proposed = slices.Clone(a.Tools)
	}
	if out.Proposed == nil {
		out.Proposed = []string{}
	}
	for _, r := range out.Can {
		if r.Credential != "" && !slices.Contains(out.Credentials, r.Credential) {
			out.Credentials = append(out.Credentials, r.Credential)
		}
	}
	for id, e := range x.in.State.Entitlements {
		if e.State == grant.EntitlementActive && (slices.Contains(e.Agents, a.ID) || a.Class != "" && slices.Contains(e.Classes, a.Class)) {
			out.Entitlements = append(out.Entitlements, id)
		}
	}
	slices.Sort(out.Entitlements)
	for _, g := range x.in.Grants {
		if g.Party.Agent == a.ID {
			out.Grants = append(out.Grants, heldOf(g))
		}
	}
	return out
}

func heldOf(g grant.Grant) HeldGrant {
	return HeldGrant{g.ID, g.Target.Action(), string(g.Scope), g.Expires, g.Counts.Spent, g.Party.Subject}
}

// orphaned says why nobody answers for what owner owns. An owner the gateway does
// not know is a person of an identity provider, of whom it can say nothing.
func (x *indexed) orphaned(owner string) string {
	v := x.in.State.View
	if u, ok := v.User(owner); ok {
		if s := registry.UserStatus(u, x.in.Until); s != registry.UserActive {
			return fmt.Sprintf("its owner %s is %s", owner, s)
		}
		return ""
	}
	t, ok := v.Team(owner)
	if !ok {
		return ""
	}
	for _, m := range t.Members {
		if u, known := v.User(m); !known || registry.UserStatus(u, x.in.Until) == registry.UserActive {
			return ""
		}
	}
	if len(t.Members) == 0 {
		return "its team " + owner + " has no members"
	}
	return "no member of its team " + owner + " is active"
}

// reach is what the agent could do now.
func (x *indexed) reach(a registry.Agent) []Reach {
	out := []Reach{}
	for _, t := range x.things {
		r := &access.Request{ID: "dec_survey", At: x.in.Until, Protocol: "mcp", Server: t.server, Kind: t.kind, Target: t.name, Unknown: true,
			Who: access.Identity{Actor: access.Actor{Agent: a.ID, Attested: true}}}
		switch t.kind {
		case access.KindTool:
			r.Method = "tools/call"
		case access.KindPrompt:
			r.Method = "prompts/get"
		default:
			r.Method, r.Target = "resources/read", "{uri}"
		}
		d := pdp.Survey(x.in.State, r)
		n := x.reached(a.ID, t)
		switch {
		case d.Outcome == access.Permit:
			n.Outcome, n.By = d.Outcome.String(), d.Permits
		case d.Maybe:
			n.Outcome, n.By = depends, append(n.By, slices.Concat(d.Permits, d.Open)...)
		case d.Outcome.Conditional():
			n.Outcome, n.By = d.Outcome.String(), d.Forbids
		default:
			continue
		}
		out = append(out, n)
	}
	return out
}

// reached is a thing an agent could use, and how it did.
func (x *indexed) reached(agent string, t thing) Reach {
	u := x.uses[agent][t]
	n := Reach{Action: t.action(), Tier: x.tier[t], By: []string{}, Calls: u.calls, Last: u.last}
	if s, ok := x.in.State.View.Server(t.server); ok && s.Credential != nil {
		n.Credential = s.Credential.Ref
	}
	return n
}

// keeper works out which of an agent's standing rights stay.
type keeper struct {
	x       *indexed
	agent   string
	covered bool
	tools   []string
	uses    map[thing]used
	kept    map[string]bool // entries of the new list
}

func newKeeper(x *indexed, a registry.Agent, covered bool) *keeper {
	return &keeper{x: x, agent: a.ID, covered: covered, tools: a.Tools, uses: x.uses[a.ID], kept: map[string]bool{}}
}

// old reports whether a pattern stood in the agent's list the whole time.
func (k *keeper) old(pattern string) bool {
	if !k.covered || len(k.x.in.Stood) == 0 {
		return false
	}
	for _, lists := range k.x.in.Stood {
		if !slices.Contains(lists[k.agent], pattern) {
			return false
		}
	}
	return true
}

// right judges one pattern and keeps what of it stays: all of it where it is
// young; else what was used of it, and what it covers that is young itself.
func (k *keeper) right(text string) Right {
	r := Right{Pattern: text, Verdict: Unused}
	p, err := policy.ParsePattern(text)
	if err != nil {
		k.kept[text], r.Verdict = true, Young // whoever wrote it must see to it
		return r
	}
	old := k.old(text)
	if !old {
		k.kept[text], r.Verdict = true, Young
	}
	covers := func(t thing) bool { return p.Covers(t.server, t.kind, t.name) }
	for t, u := range k.uses {
		if !covers(t) {
			continue
		}
		r.Used, r.Calls, r.Verdict = r.Used+1, r.Calls+u.calls, Used
		if u.last.After(r.Last) {
			r.Last = u.last
		}
		k.keep(text, p, t)
	}
	for _, t := range k.x.things {
		if !covers(t) {
			continue
		}
		r.Covers++
		if k.x.young[t] && k.uses[t].calls == 0 {
			k.keep(text, p, t)
			if r.Verdict == Unused {
				r.Verdict = Young
			}
		}
	}
	return r
}

// keep lets one thing stay that pattern covers: by its own name, or where that
// would cover more than it, by the pattern.
func (k *keeper) keep(text string, p policy.Pattern, t thing) {
	own, err := policy.ParsePattern(t.pattern())
	if err != nil || strings.Contains(t.pattern(), "*") || !own.Covers(t.server, t.kind, t.name) || !p.Includes(own) {
		k.kept[text] = true
		return
	}
	k.kept[t.pattern()] = true
}

// list is the new allow-list, sorted: entries that stay as they are, and others that
// none of them includes.
func (k *keeper) list() []string {
	var out []string
	for _, text := range slices.Sorted(maps.Keys(k.kept)) {
		p, err := policy.ParsePattern(text)
		if err == nil && !slices.Contains(k.tools, text) && k.included(text, p) {
			continue
		}
		out = append(out, text)
	}
	return out
}

func (k *keeper) included(text string, p policy.Pattern) bool {
	for other := range k.kept {
		if other == text {
			continue
		}
		if q, err := policy.ParsePattern(other); err == nil && q.Includes(p) && !(p.Includes(q) && other > text) {
			return true
		}
	}
	return false
}
