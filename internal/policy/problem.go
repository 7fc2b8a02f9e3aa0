package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a Problem refuses activation.
type Severity string

// The severities. An error refuses activation; a warning does not.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Problem is one mistake with its place.
type Problem struct {
	Severity Severity `json:"severity"`
	Policy   string   `json:"policy"`         // id of the Policy
	File     string   `json:"file,omitempty"` // where it was applied from
	Line     int      `json:"line"`           // in File, or in the Policy's Cedar if File is ""
	Column   int      `json:"column"`         // in the Cedar text, in characters
	Source   string   `json:"source"`         // the offending line
	Message  string   `json:"message"`
}

// Place returns "file:line:column", or "policy ID:line:column" where there is
// no file.
func (p Problem) Place() string {
	where := p.File
	if where == "" {
		where = "policy " + p.Policy
	}
	return fmt.Sprintf("%s:%d:%d", where, p.Line, p.Column)
}

// String returns the problem with its place and the offending line.
func (p Problem) String() string {
	s := p.Place() + ": " + string(p.Severity) + ": " + p.Message
	if p.Source != "" {
		s += "\n    " + p.Source
	}
	return s
}

// Problems is every mistake of a policy set, sorted by place. It is an error.
type Problems []Problem

// Error returns every problem, one after the other.
func (p Problems) Error() string {
	out := make([]string, len(p))
	for i, x := range p {
		out[i] = x.String()
	}
	return strings.Join(out, "\n")
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Policy, b.Policy),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
}

// Report is what checking or testing found. Errors refuse activation.
type Report struct {
	Statements int      `json:"statements"` // Cedar policies read
	Errors     Problems `json:"errors,omitempty"`
	Warnings   Problems `json:"warnings,omitempty"`
	Tests      []Result `json:"tests,omitempty"`
	Untyped    []string `json:"untyped,omitempty"` // actions whose input is evaluated but not validated, and why
	// Coverage says how often the tests made each statement of a person match. It
	// is empty if there are no tests.
	Coverage []Covered `json:"coverage,omitempty"`
}

// OK reports whether nothing refuses activation and no test failed.
func (r *Report) OK() bool {
	return len(r.Errors) == 0 && !slices.ContainsFunc(r.Tests, func(t Result) bool { return !t.OK })
}
