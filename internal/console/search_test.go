package console_test

import (
	"net/http"
	"strings"
	"testing"

	"rutile/internal/audit"
)

// TestASearchThatGaveUpIsNotSaidToHaveFoundNothing: it says how far back it looked, and
// leads on from there with everything that was asked for.
func TestASearchThatGaveUpIsNotSaidToHaveFoundNothing(t *testing.T) {
	r := newRig(t)
	w := &work{below: 4321}
	r.console(w)
	b := r.enter()
	on := `<a href="/console/evidence?agent=bot&amp;cursor=4321&amp;outcome=deny" rel="next">Search further back</a>`
	a := b.get("/console/evidence?agent=bot&outcome=deny")
	a.wants(t, "nothing so far", http.StatusOK, "Nothing was found so far. Searched back to:", "2026-11-03T14:12", on)
	if strings.Contains(a.body, "Nothing was found.") {
		t.Error("the page says that nothing was found")
	}
	row := audit.Row{}
	row.Index, row.Type, row.Decision = 7000, "verdict", "dec_1"
	w.leaves = []audit.Row{row}
	a = b.get("/console/evidence?agent=bot&outcome=deny")
	a.wants(t, "something", http.StatusOK, "/console/evidence/7000", "Searched back to:", "2026-11-03T14:12", on)
	if strings.Contains(a.body, "Nothing was found") {
		t.Error("the page says that nothing was found beside what was")
	}
	b.get("/console/evidence?agent=bot&cursor=4321")
	if got := w.asked[len(w.asked)-1]; got.Before != 4321 || got.Agent != "bot" {
		t.Errorf("asked %+v", got)
	}
	w.below, w.leaves = 0, nil
	if a = b.get("/console/evidence?agent=bot"); !strings.Contains(a.body, "Nothing was found.") || strings.Contains(a.body, "Search further back") {
		t.Error("a whole search that found nothing does not say so")
	}
}
