package registry

import (
	"slices"

	"rutile/internal/access"
)

// RestoreLabels are the labels of values a server's tools may be given back.
func RestoreLabels() []string { return []string{"pii", "secret"} }

// MayRestore reports whether a tool or prompt of s may be given the value a
// placeholder stands for.
func (s Server) MayRestore(name string, p access.Placeholder) bool {
	if p.Label == "secret" && p.Server != s.ID {
		return false
	}
	for pattern, labels := range s.Restore {
		if slices.Contains(labels, p.Label) && Match(pattern, name) {
			return true
		}
	}
	return false
}
