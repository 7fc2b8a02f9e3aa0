package privilege

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
)

// Rare is how often a tool was used at most that an agent had better ask for.
const Rare = 3

// rareTier is the tier from which that is so: what writes, sends or destroys.
const rareTier = 2

// Suggestion is what one agent's rights could be.
type Suggestion struct {
	Agent  string
	Tools  []string           // its allow-list; nil for none
	Ask    *grant.Entitlement // what it is to ask for instead of a standing right, nil if nothing
	Notes  []Note
	Same   bool // nothing changes
	Orphan string
}

// Note says of one entry what the evidence says.
type Note struct {
	Entry   string // a pattern of the old or new list
	Verdict string // keep, ask, remove, young
	Calls   int
	Last    time.Time
}

// Suggest proposes the narrowest rights that cover what was observed, for every
// agent of the report. Where ask is true, what was used rarely and is of tier 2 or
// more becomes something to ask for: those calls then wait for an approval.
// Everything else that was observed to be permitted stays permitted.
func Suggest(in Input, ask bool) (Report, []Suggestion) {
	r := New(in)
	x := newIndexed(in)
	var out []Suggestion
	for _, a := range r.Agents {
		s := Suggestion{Agent: a.ID, Orphan: a.Orphaned, Same: !a.Shrinks}
		rare := map[string]bool{}
		for _, entry := range a.Proposed {
			n := x.note(a.ID, entry)
			if ask && r.Young == "" && x.rare(a, entry) {
				rare[entry], n.Verdict, s.Same = true, "ask", false
			} else {
				s.Tools = append(s.Tools, entry)
			}
			s.Notes = append(s.Notes, n)
		}
		for _, old := range a.Standing {
			if !slices.Contains(a.Proposed, old.Pattern) {
				s.Notes = append(s.Notes, Note{Entry: old.Pattern, Verdict: "remove", Calls: old.Calls, Last: old.Last})
			}
		}
		if len(rare) > 0 {
			s.Ask = &grant.Entitlement{ID: askID(in.State, a.ID), Owner: a.Owner, Purpose: "used rarely, so asked for", Agents: []string{a.ID},
				Tools: slices.Sorted(maps.Keys(rare)), Ceiling: grant.Ceiling{Seconds: int64(time.Hour / time.Second)}, Approve: grant.Rule{Quorum: 1}, State: grant.EntitlementActive}
		}
		out = append(out, s)
	}
	return r, out
}

// note says how an entry of a proposed list was used.
func (x *indexed) note(agent, entry string) Note {
	n := Note{Entry: entry, Verdict: "keep"}
	p, err := policy.ParsePattern(entry)
	if err != nil {
		return n
	}
	for t, u := range x.uses[agent] {
		if p.Covers(t.server, t.kind, t.name) {
			n.Calls += u.calls
			if u.last.After(n.Last) {
				n.Last = u.last
			}
		}
	}
	if n.Calls == 0 {
		n.Verdict = "young"
	}
	return n
}

// rare reports whether an entry names one tool that was used rarely and is of a
// high tier, that the right to it stood the whole time, and that no entitlement of
// the agent covers already.
func (x *indexed) rare(a Agent, entry string) bool {
	for _, t := range x.things {
		if t.kind != access.KindTool || t.pattern() != entry || strings.Contains(entry, "*") {
			continue
		}
		u := x.uses[a.ID][t]
		return x.tier[t] >= rareTier && u.calls > 0 && u.calls <= Rare && !x.young[t] && x.stood(a.ID, t) && !x.asked(a, t)
	}
	return false
}

// stood reports whether the agent's list covered t the whole time.
func (x *indexed) stood(agent string, t thing) bool {
	for _, lists := range x.in.Stood {
		if !slices.ContainsFunc(lists[agent], func(text string) bool { return coversThing(text, t) }) {
			return false
		}
	}
	return len(x.in.Stood) > 0
}

func (x *indexed) asked(a Agent, t thing) bool {
	return slices.ContainsFunc(a.Entitlements, func(id string) bool {
		return slices.ContainsFunc(x.in.State.Entitlements[id].Tools, func(text string) bool { return coversThing(text, t) })
	})
}

func coversThing(text string, t thing) bool {
	p, err := policy.ParsePattern(text)
	return err == nil && p.Covers(t.server, t.kind, t.name)
}

// askID is an id no entitlement has yet.
func askID(s *pdp.State, agent string) string {
	const longest = 63
	base := "ask-" + agent
	for n := 1; ; n++ {
		id, more := base, ""
		if n > 1 {
			more = fmt.Sprintf("-%d", n)
		}
		id = strings.TrimRight(id[:min(len(id), longest-len(more))], "-") + more
		if _, taken := s.Entitlements[id]; !taken {
			return id
		}
	}
}
