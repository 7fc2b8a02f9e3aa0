package pdp

import (
	"slices"
	"strings"

	"rutile/internal/access"
)

// story says what of the session's past a rule about flows looked at: which value came
// from which earlier call, or what the session had read and seen. It names what the agent
// itself called, and of other agents' results nothing; "" where no such rule matched.
func story(r *access.Request, rules []string) string {
	t := r.Touched
	if t.Clean() || !slices.ContainsFunc(rules, flowRule) {
		return ""
	}
	if slices.Equal(rules, []string{toxicFlow}) || len(t.Leaves) == 0 {
		var read, seen string
		for _, c := range t.Causes {
			at := "by call " + c.Decision
			if c.Server != "" {
				at = "from server " + quote(c.Server) + " " + at
			}
			switch {
			case c.Word == access.LabelUntrusted && read == "":
				read = "what anybody may have written was read " + at
			case c.Private && (c.Word == "secret" || c.Word == "pii") && seen == "":
				seen = c.Word + " was seen " + at
			}
		}
		return strings.Join(slices.DeleteFunc([]string{read, seen}, func(s string) bool { return s == "" }), ", ")
	}
	leaf := t.Leaves[0]
	for _, l := range t.Leaves {
		if l.Untrusted && l.Role == "recipient" {
			leaf = l
			break
		}
	}
	text := "argument " + quote(leaf.Pointer) + " comes from "
	switch {
	case leaf.Foreign:
		text += "what another agent read"
	case leaf.Tool == "":
		text += "a resource of server " + quote(leaf.Server) + ", call " + leaf.Call
	default:
		text += "tool " + quote(leaf.Tool) + " of server " + quote(leaf.Server) + ", call " + leaf.Call
	}
	if len(leaf.Scopes) > 0 && !leaf.Foreign {
		text += ", labelled " + strings.Join(leaf.Scopes, ", ")
	}
	return text
}

const toxicFlow = "baseline.toxic-flow"

// flowRule reports whether a rule of the baseline is about flows.
func flowRule(id string) bool { return id == toxicFlow || strings.HasPrefix(id, "baseline.flow-") }
