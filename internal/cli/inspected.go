package cli

import (
	"fmt"
	"io"
	"strings"

	"rutile/internal/api"
	"rutile/internal/registry"
)

// foundIn says in one cell what inspection of a listed definition calls for.
func foundIn(t api.Tool) string {
	switch {
	case t.Tier != "":
		return t.Tier
	case len(t.Findings) > 0:
		return "note"
	default:
		return ""
	}
}

func writeFindings(w io.Writer, found []registry.Finding) {
	for _, f := range found {
		fmt.Fprintf(w, "  %s\n", findingLine(f))
	}
}

// findingLine is a finding for people, without the text it is about.
func findingLine(f registry.Finding) string {
	tier := f.Tier
	if tier == "" {
		tier = "note"
	}
	at := f.Pointer
	if at == "" {
		at = "the text"
	}
	b := fmt.Sprintf("%s: %s %s (rule %s, bytes %d-%d", tier, cell(at), cell(f.Why), f.Rule, f.Start, f.End)
	if len(f.Decoded) > 0 {
		b += ", hidden as " + strings.Join(f.Decoded, " inside ")
	}
	if f.Position != "" {
		b += ", " + f.Position
	}
	if f.Peer != "" {
		b += ", about " + cell(f.Peer)
	}
	return b + ")"
}

func writeDrift(w io.Writer, g registry.Grade, changes []registry.DriftChange, passed bool) {
	how := map[registry.Grade]string{registry.GradeInfo: "passes", registry.GradeLow: "passes", registry.GradeHigh: "waits for a person", registry.GradeCritical: "is quarantined"}[g]
	if passed {
		how = "passed"
	}
	fmt.Fprintf(w, "\nthe change is graded %s: by itself it %s\n", g, how)
	for _, c := range changes {
		at := c.Pointer
		if at == "" {
			at = "the whole"
		}
		fmt.Fprintf(w, "  %s: %s, %s (%s)\n", c.Grade, cell(at), cell(c.Why), c.Kind)
	}
}

// oneLine keeps what is shown of a text on its line.
func oneLine(s string) string { return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(s) }
