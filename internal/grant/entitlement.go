package grant

import (
	"fmt"
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

// Rule says who must approve.
type Rule struct {
	Auto   bool   `json:"auto,omitempty"`   // nobody: policy and the ceiling do
	Quorum int    `json:"quorum,omitempty"` // distinct persons
	Team   string `json:"team,omitempty"`   // they must be members of it
}

// String is the rule as manifests write it: "auto", "quorum:N" or "quorum:N:team".
func (r Rule) String() string {
	switch {
	case r.Auto:
		return "auto"
	case r.Team != "":
		return fmt.Sprintf("quorum:%d:%s", r.Quorum, r.Team)
	default:
		return fmt.Sprintf("quorum:%d", r.Quorum)
	}
}

// maxQuorum bounds how many people one answer can need.
const maxQuorum = 10

// ParseRule reads what String writes.
func ParseRule(s string) (Rule, error) {
	if s == "auto" {
		return Rule{Auto: true}, nil
	}
	var r Rule
	var rest string
	if n, _ := fmt.Sscanf(s, "quorum:%d%s", &r.Quorum, &rest); n == 0 || r.Quorum < 1 || r.Quorum > maxQuorum {
		return Rule{}, access.Errorf(access.CodeInvalid, "%q is not a rule: write auto, quorum:N or quorum:N:team with N from 1 to %d", s, maxQuorum)
	}
	if rest != "" {
		if rest[0] != ':' || !access.ValidID(rest[1:]) {
			return Rule{}, access.Errorf(access.CodeInvalid, "%q is not a rule: after quorum:%d only :team may follow", s, r.Quorum)
		}
		r.Team = rest[1:]
	}
	if r.String() != s {
		return Rule{}, access.Errorf(access.CodeInvalid, "%q is not a rule: write it as %s", s, r)
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
	if tier >= 3 && (r.Auto || r.Quorum < 2) {
		return Rule{Quorum: 2, Team: r.Team}
	}
	if !r.Auto && r.Quorum == 0 {
		r.Quorum = 1
	}
	return r
}
