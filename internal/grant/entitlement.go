package grant

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// Entitlement says who may ask for what, how much of it at most and who must
// approve (access.md 3.1). A person declares it in a manifest.
type Entitlement struct {
	ID      string   `json:"id"`
	Owner   string   `json:"owner"` // accountable
	Purpose string   `json:"purpose,omitempty"`
	Agents  []string `json:"agents,omitempty"`  // ids
	Classes []string `json:"classes,omitempty"` // classes of agents
	Tools   []string `json:"tools"`             // patterns as in an agent's tools
	// Args bound what any grant under it may cover.
	Args    Constraints `json:"args,omitempty"`
	Ceiling Ceiling     `json:"ceiling"`
	// Delegate says whom the holder of a grant under it may hand a part of it on to.
	Delegate Delegate  `json:"delegate,omitzero"`
	Approve  Rule      `json:"approve"`
	State    string    `json:"state"` // active or retired
	Created  time.Time `json:"created"`
	Changed  time.Time `json:"changed"`
	// Confirm says how often its owner is to confirm it. Confirmed is when that was
	// last, and ConfirmedBy who it was; zero where nobody has yet.
	Confirm     Confirm   `json:"confirm,omitzero"`
	Confirmed   time.Time `json:"confirmed,omitzero"`
	ConfirmedBy string    `json:"confirmedBy,omitempty"`
}

// Confirm is how often the owner of an entitlement is to confirm that it is still
// wanted.
type Confirm struct {
	Seconds int64 `json:"seconds,omitempty"` // 0 is every quarter
	Refuse  bool  `json:"refuse,omitempty"`  // once that is overdue nobody may ask under it
}

// Quarter is how often an entitlement is to be confirmed that says nothing else.
const Quarter = 92 * 24 * time.Hour

// Due is when its owner is to have confirmed an entitlement again: since the last time,
// or else since it was made. It is zero for one that is only a draft.
func (e *Entitlement) Due() time.Time {
	since := e.Confirmed
	if since.IsZero() {
		since = e.Created
	}
	if since.IsZero() {
		return since
	}
	if e.Confirm.Seconds > 0 {
		return since.Add(time.Duration(e.Confirm.Seconds) * time.Second)
	}
	return since.Add(Quarter)
}

// Overdue reports whether its owner should have confirmed an entitlement by now.
func (e *Entitlement) Overdue(at time.Time) bool {
	due := e.Due()
	return e.State == EntitlementActive && !due.IsZero() && !at.Before(due)
}

// Delegate bounds what is handed on from agent to agent.
type Delegate struct {
	MaxDepth int      `json:"maxDepth"`          // how many times; 0: never
	Agents   []string `json:"agents,omitempty"`  // ids of who may receive
	Classes  []string `json:"classes,omitempty"` // classes of them
}

// MaxDepth is how many times a right may be handed on at most.
const MaxDepth = 3

// The states of an entitlement.
const (
	EntitlementActive  = "active"
	EntitlementRetired = "retired"
)

// Ceiling is the most one grant may be.
type Ceiling struct {
	Seconds int64 `json:"seconds"` // of life, from activation
	Uses    int64 `json:"uses,omitempty"`
	Pending int64 `json:"pending,omitempty"` // seconds a request waits for an answer
	Limits
}

// Rule says who must approve. The zero Rule leaves it to the policies about the
// action "request".
type Rule struct {
	Auto   bool   `json:"auto,omitempty"`   // nobody: policy and the ceiling do
	Quorum int    `json:"quorum,omitempty"` // distinct persons
	Team   string `json:"team,omitempty"`   // they must be members of it
	// Then is who must approve besides, once the others have, and Besides who must
	// after them. The zero Stage is nobody.
	Then    Stage             `json:"then,omitzero"`
	Besides [maxBesides]Stage `json:"besides,omitzero"`
}

// maxBesides is how many stages more than two a rule has at most. Manifests say two;
// more come of several that must be met.
const (
	maxBesides = 2
	maxStages  = 2 + maxBesides
)

// Stage is one step of an approval.
type Stage struct {
	Quorum int    `json:"quorum"` // distinct persons, none of whom approved before
	Team   string `json:"team,omitempty"`
}

// Stages are the steps of r, of which the last may be none.
func (r Rule) Stages() [maxStages]Stage {
	return [maxStages]Stage{{r.Quorum, r.Team}, r.Then, r.Besides[0], r.Besides[1]}
}

// ruleOf is the rule of these stages; ok is false if there are too many.
func ruleOf(stages []Stage) (r Rule, ok bool) {
	if len(stages) > maxStages {
		return Rule{}, false
	}
	var all [maxStages]Stage
	copy(all[:], stages)
	return Rule{Quorum: all[0].Quorum, Team: all[0].Team, Then: all[1], Besides: [maxBesides]Stage(all[2:])}, true
}

// People is how many persons it takes.
func (r Rule) People() int {
	n := 0
	for _, s := range r.Stages() {
		n += s.Quorum
	}
	return n
}

// Join is the rule that is met where both are: as many of every team as the
// stricter one wants, and as many people. It is r where that suffices. ok is false
// where more teams are named than a rule has stages.
func (r Rule) Join(o Rule) (joined Rule, ok bool) {
	switch {
	case r == Rule{} || r.Auto:
		if o == (Rule{}) {
			return r, true
		}
		return o, true
	case o == Rule{} || o.Auto:
		return r, true
	}
	teams := map[string]int{}
	for _, s := range r.Stages() {
		teams[s.Team] += s.Quorum
	}
	people, more := max(r.People(), o.People()), r.People() < o.People()
	want := map[string]int{}
	for _, s := range o.Stages() {
		want[s.Team] += s.Quorum
	}
	for team, n := range want {
		more = more || team != "" && n > teams[team]
	}
	if !more {
		return r, true
	}
	var stages []Stage
	rs, os := r.Stages(), o.Stages()
	for _, s := range slices.Concat(rs[:], os[:]) {
		seen := slices.ContainsFunc(stages, func(x Stage) bool { return x.Team == s.Team })
		if n := max(teams[s.Team], want[s.Team]); s.Team != "" && !seen {
			stages, people = append(stages, Stage{n, s.Team}), people-n
		}
	}
	if people > 0 {
		stages = append(stages, Stage{Quorum: people})
	}
	return ruleOf(stages)
}

// Stricter reports whether r wants more than o: more people, people at all, or
// others.
func (r Rule) Stricter(o Rule) bool {
	if r.Auto || r == (Rule{}) || o.Auto {
		return !r.Auto && r != Rule{}
	}
	joined, ok := o.Join(r)
	return !ok || joined != o
}

// Waits returns which of its stages a request that has these approvals waits for;
// ok is false where it waits for none.
func (r Rule) Waits(list []Approval) (stage int, ok bool) {
	for n, s := range r.Stages() {
		have := 0
		for _, a := range list {
			if a.Stage == n {
				have++
			}
		}
		if have < s.Quorum {
			return n, true
		}
	}
	return 0, false
}

// String is the rule as manifests write it: "auto", "policy", "quorum:N" or
// "quorum:N:team", and of several stages "… then …".
func (r Rule) String() string {
	switch {
	case r.Auto:
		return "auto"
	case r == Rule{}:
		return rulePolicy
	}
	var out []string
	for _, s := range r.Stages() {
		if s != (Stage{}) {
			out = append(out, s.String())
		}
	}
	return strings.Join(out, " then ")
}

// rulePolicy is how manifests write the zero Rule.
const rulePolicy = "policy"

// String is the stage as manifests write it.
func (s Stage) String() string {
	if s.Team != "" {
		return fmt.Sprintf("quorum:%d:%s", s.Quorum, s.Team)
	}
	return fmt.Sprintf("quorum:%d", s.Quorum)
}

// maxQuorum bounds how many people one answer can need.
const maxQuorum = 10

// ParseRule reads what String writes.
func ParseRule(s string) (Rule, error) {
	switch s {
	case "auto":
		return Rule{Auto: true}, nil
	case rulePolicy:
		return Rule{}, nil
	}
	first, then, two := strings.Cut(s, " then ")
	one, err := parseStage(first)
	if err != nil {
		return Rule{}, err
	}
	r := Rule{Quorum: one.Quorum, Team: one.Team}
	if two {
		if r.Then, err = parseStage(then); err != nil {
			return Rule{}, err
		}
	}
	return r, nil
}

func parseStage(s string) (Stage, error) {
	var r Stage
	var rest string
	if n, _ := fmt.Sscanf(s, "quorum:%d%s", &r.Quorum, &rest); n == 0 || r.Quorum < 1 || r.Quorum > maxQuorum {
		return Stage{}, access.Errorf(access.CodeInvalid, "%q is not a rule: write auto, policy, quorum:N or quorum:N:team with N from 1 to %d, and for two stages: … then …", s, maxQuorum)
	}
	if rest != "" {
		if rest[0] != ':' || !access.ValidID(rest[1:]) {
			return Stage{}, access.Errorf(access.CodeInvalid, "%q is not a rule: after quorum:%d only :team may follow", s, r.Quorum)
		}
		r.Team = rest[1:]
	}
	if r.String() != s {
		return Stage{}, access.Errorf(access.CodeInvalid, "%q is not a rule: write it as %s", s, r)
	}
	return r, nil
}

// Defaults of what an ask without an entitlement, or one that says nothing, gets.
const (
	defaultLife    = time.Hour
	defaultPending = 15 * time.Minute
	maxLife        = 24 * time.Hour
)

// AtTier is the rule that holds for a tool of this tier: what is destructive or
// secret always needs two people (access.md 3.5).
func (r Rule) AtTier(tier int) Rule {
	if tier >= 3 && (r.Auto || r.People() < 2) {
		return Rule{Quorum: 2, Team: r.Team}
	}
	if !r.Auto && r.Quorum == 0 {
		r.Quorum = 1
	}
	return r
}
