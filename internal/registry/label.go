package registry

import (
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// Label is a label that somebody declared, so that manifests and policies that name
// another one are told.
type Label struct {
	ID          string    `json:"id"` // as it is written: source:crm, or source:* for every label of a kind
	Owner       string    `json:"owner"`
	Description string    `json:"description,omitempty"`
	State       string    `json:"state"`
	Created     time.Time `json:"created"`
	Changed     time.Time `json:"changed"`
}

// The states of a label.
const (
	LabelActive  = "active"
	LabelRetired = "retired" // nothing may name it any more
)

// LabelWords are the labels of tools that are no data scope.
func LabelWords() []string {
	return []string{access.LabelPublic, access.LabelUntrusted, "pii", "secret"}
}

// LabelsOf returns the labels of what an action of s brings back: its data scopes and
// those its manifest names for the action, which is written without the server. Where
// one of them is public no private scope of the server counts.
func (s *Server) LabelsOf(action string) []string {
	if len(s.Labels) == 0 {
		return s.DataScopes
	}
	var own []string
	for pattern, labels := range s.Labels {
		if Match(pattern, action) {
			own = append(own, labels...)
		}
	}
	if len(own) == 0 {
		return s.DataScopes
	}
	for _, scope := range s.DataScopes {
		if Untrusted(scope) || !slices.Contains(own, access.LabelPublic) {
			own = append(own, scope)
		}
	}
	slices.Sort(own)
	return slices.Compact(own)
}

// Untrusted reports whether a label says that anybody may have written what carries it.
func Untrusted(label string) bool {
	return label == access.LabelUntrusted || strings.HasPrefix(label, access.LabelUntrusted+":")
}

// Private reports whether a label is a private scope.
func Private(label string) bool {
	return label != "" && !Untrusted(label) && label != access.LabelPublic && !strings.HasPrefix(label, access.LabelPublic+":")
}
