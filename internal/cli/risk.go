package cli

import (
	"fmt"
	"io"
	"strconv"

	"rutile/internal/access"
)

// scored is a score in a table, "" for none.
func scored(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// riskLine is the scores of a session, its agent and its person in one line.
func riskLine(r *access.Risk) string {
	if r == nil {
		return ""
	}
	out := fmt.Sprintf("%d of 100, its agent %d", r.Session, r.Agent)
	if r.Person > 0 {
		out += fmt.Sprintf(", the person %d", r.Person)
	}
	if len(r.Top) > 0 {
		out += fmt.Sprintf("; without the first reason %d", r.Without)
	}
	return out + fmt.Sprintf(" (model %s, %d calls learned)", r.Model, r.Learned)
}

// reasons lists where a score comes from.
func (a *app) reasons(w io.Writer, r *access.Risk) {
	if r == nil || len(r.Top) == 0 {
		return
	}
	t := a.table("RISK", "POINTS", "OBSERVED", "USUAL", "WINDOW", "LEARNED FROM", "AT")
	for _, p := range r.Top {
		window := ""
		if p.Window > 0 {
			window = p.Window.String()
		}
		t.add(p.Family+": "+p.Signal, strconv.Itoa(p.Points), amountOf(p.Observed)+" "+p.Unit, amountOf(p.Expected), window, strconv.Itoa(p.Sample), when(p.At))
	}
	t.write(w)
}

func amountOf(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
