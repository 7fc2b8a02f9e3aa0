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
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}
