package policy

import (
	"slices"

	"rutile/internal/access"
)

// labelled are the sets of labels that policies read.
var labelled = []path{
	{"context", "session", memberTaint}, {"context", "session", memberLabels}, {"context", factsName, FactFlowContent},
	{"resource", "labels"}, {"principal", "dataScopes"},
}

// builtinLabels are words the gateway itself puts into those sets.
var builtinLabels = []string{access.LabelUntrusted, access.LabelPublic, "pii", "secret", "finding", "lost", "server:*"}

// labels warns about labels nobody knows: a rule about one matches nothing, and a
// forbid that matches nothing is the worst kind of mistake.
func (v *validator) labels(s *statement) {
	if v.catalog.Labels == nil || s.source.Layer == LayerBaseline {
		return
	}
	known := slices.Concat(v.catalog.Labels, builtinLabels)
	for _, label := range soughtOf(s.full, labelled) {
		if access.HasLabel(known, label) {
			continue
		}
		hint := "declare it in a manifest of kind Label"
		if !v.catalog.Declared {
			hint = "no server has it, and no manifest of kind Label declares it"
		}
		if near := access.Nearest(label, known); near != "" {
			hint += ", or was " + near + " meant?"
		}
		line, col := s.piece.find(label)
		v.problem(SeverityWarning, s.source, line, col, "no label is called %q: %s", label, hint)
		v.set.unlabelled = append(v.set.unlabelled, v.report.Warnings[len(v.report.Warnings)-1])
	}
}

// strictLabels makes errors of the warnings about labels.
func (b *builder) strictLabels() {
	for _, p := range b.set.unlabelled {
		b.report.Warnings = slices.DeleteFunc(b.report.Warnings, func(w Problem) bool { return w == p })
		p.Severity = SeverityError
		b.report.Errors = append(b.report.Errors, p)
	}
	b.report.Errors.sort()
}
