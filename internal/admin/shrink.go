package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Shrink gives agents narrower allow-lists, all or none, in one recorded change.
// Every entry must lie within one the agent has: nothing is widened. Where what is
// registered is no longer generation base, nothing changes and the error is
// access.CodeConflict: the lists were worked out on something else. With dryRun it
// only says what it would do.
func (a *Admin) Shrink(ctx context.Context, actor Actor, lists map[string][]string, base uint64, why string, dryRun bool) (Plan, error) {
	if err := checkReason(why); err != nil {
		return Plan{}, err
	}
	var plan Plan
	planning := func(cur *Current) (*draft, error) {
		if gen := cur.View.Generation(); gen != base {
			return nil, access.Errorf(access.CodeConflict, "what is registered has changed since the report (generation %d, now %d), so nothing was taken away: make another report", base, gen)
		}
		r := restorer{planner: planner{cur: cur, now: a.now(), by: actor.String(), draft: newDraft()}, verb: "shrink"}
		for _, id := range keysOf(lists) {
			old, ok := cur.View.Agent(id)
			if !ok || old.State == registry.AgentRetired {
				return nil, access.Errorf(access.CodeConflict, "agent %q is not registered or retired: nothing was taken away", clip(id))
			}
			if err := within(old, lists[id]); err != nil {
				return nil, err
			}
			r.list(old, lists[id])
		}
		r.draft.why = why
		sortItems(r.items)
		plan = Plan{Items: r.items, Generation: base}
		for i := range r.draft.records {
			r.draft.records[i].reason = why
		}
		return r.draft, nil
	}
	return a.carryOut(ctx, actor, dryRun, &plan, planning)
}

// within reports why a list is not narrower than the agent's, nil if it is.
func within(a registry.Agent, list []string) error {
	for _, text := range list {
		p, err := policy.ParsePattern(text)
		if err != nil {
			return access.Errorf(access.CodeInvalid, "agent %q: %w", a.ID, err)
		}
		if !slices.ContainsFunc(a.Tools, func(old string) bool {
			q, err := policy.ParsePattern(old)
			return old == text || err == nil && q.Includes(p)
		}) {
			return access.Errorf(access.CodeInvalid, "agent %q: %q is not within its allow-list: this only takes away", a.ID, text)
		}
	}
	return nil
}

// Proposal is what one agent's manifest could say instead.
type Proposal struct {
	Agent string
	Tools []string
	Ask   *grant.Entitlement // what it is to ask for, nil for nothing
	// Comments stand before the manifest, a line each, and say why.
	Comments []string
}

// Manifests writes proposals as manifests that Apply takes as they are: each agent
// as it is registered, with another allow-list.
func Manifests(v *registry.View, proposals []Proposal) string {
	e := &emitter{}
	for _, p := range proposals {
		a, ok := v.Agent(p.Agent)
		if !ok {
			continue
		}
		a.Tools = p.Tools
		e.agentWith(a, p.Comments)
		if p.Ask != nil {
			e.entitlement(*p.Ask)
		}
	}
	return e.String()
}

func (e *emitter) agentWith(a registry.Agent, comments []string) {
	if e.b.Len() > 0 {
		e.b.WriteString("---\n")
	}
	for _, c := range comments {
		e.b.WriteString("# " + comment(c) + "\n")
	}
	one := &emitter{}
	one.agent(a)
	e.b.WriteString(one.String())
}

// comment is text that stays within its line, whatever it holds.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if !visible(r) {
			return '·'
		}
		return r
	}, s)
}

// UseComment says of an entry of an allow-list how it was used, for a proposal.
func UseComment(verdict, entry string, calls int, last time.Time) string {
	s := fmt.Sprintf("%-6s %s: ", verdict, scalar(entry))
	if calls == 0 {
		return s + "no calls"
	}
	return s + fmt.Sprintf("%s, last %s", access.Count(calls, "call"), last.UTC().Format(time.RFC3339))
}
