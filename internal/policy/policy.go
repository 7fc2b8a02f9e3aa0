// Package policy stores, validates, versions and evaluates Cedar policy sets.
//
// A Set is immutable. Compile either returns a whole valid Set or names every
// mistake with file, line and column; a Set is never half active. Evaluate is a
// pure function: default deny, forbid wins, and any policy that cannot be
// evaluated makes the answer a denial (access.md 2.7). Only this package
// imports cedar.
package policy

import (
	"time"
)

// Policy is one named Cedar text as a person wrote it. It may hold several
// Cedar policies.
type Policy struct {
	ID      string    `json:"id"`
	Cedar   string    `json:"cedar"`
	Layer   string    `json:"layer,omitempty"` // baseline, organisation, team, generated
	File    string    `json:"file,omitempty"`  // where it was applied from, for messages
	Line    int       `json:"line,omitempty"`  // line of the first line of Cedar in File
	State   string    `json:"state,omitempty"` // Retired, or "" in force
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// Retired is the state of a policy that decides nothing any more. Its text is kept,
// and need not fit what is registered now.
const Retired = "retired"

// Retired reports whether the policy decides nothing any more.
func (p Policy) Retired() bool { return p.State == Retired }
