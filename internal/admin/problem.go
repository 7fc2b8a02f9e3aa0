package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"rutile/internal/access"
)

// maxShown bounds how many problems one message spells out.
const maxShown = 100

// Problem is one thing that is wrong with a manifest: where, in which field,
// what, and what to do.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Field  string `json:"field,omitempty"` // for example transport.http.url
	Msg    string `json:"message"`
}

// String returns "file:line:column: field: message", without line and column of what
// stands in no file.
func (p Problem) String() string {
	s := p.File + ": "
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	}
	if p.Field != "" {
		s += p.Field + ": "
	}
	return s + p.Msg
}

// Problems is everything that is wrong. It is the Err of the access.Error that
// ParseFiles, Diff and Apply return for manifests.
type Problems []Problem

// Error returns one problem a line.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i == maxShown {
			fmt.Fprintf(&b, "\n… and %d more", len(ps)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// err returns nil for no problems, else one error a person can read.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &access.Error{Code: access.CodeInvalid, Msg: ps.Error() + "\nnothing was changed", Err: ps}
}
