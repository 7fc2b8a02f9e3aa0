package cli

import (
	"io"
	"time"

	"rutile/internal/api"
)

// Status is the table from errors to exit statuses.
var Status = status

// Exits is how help shows exit statuses.
var Exits = exits

// Cell, Lines, PlainJSON and ToYAML make hostile text harmless.
var (
	Cell      = cell
	Lines     = lines
	PlainJSON = plainJSON
	ToYAML    = toYAML
	Columns   = columns
	RowLine   = rowLine
	ShellWord = shellWord
	Untar     = untar
)

// Print writes v in a form.
func Print(form string, w io.Writer, v any) error {
	a := &app{out: &results{w: w}, err: io.Discard, format: form, now: time.Now}
	return a.print(v, func(io.Writer) {})
}

// PrintAgents writes a table of agents.
func PrintAgents(w io.Writer, agents []api.Agent) {
	a := &app{out: &results{w: w}, err: io.Discard, format: "table", now: time.Now}
	t := a.table("AGENT", "PURPOSE")
	for _, x := range agents {
		t.add(x.ID, x.Purpose)
	}
	t.write(a.out)
}
