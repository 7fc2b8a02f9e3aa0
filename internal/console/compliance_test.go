package console_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"rutile/internal/compliance"
)

// What reports say is a text too, although it does not stand in the console's code.
func TestEveryTextOfAReportHasItsTranslation(t *testing.T) {
	raw, err := os.ReadFile("ko.json")
	if err != nil {
		t.Fatal(err)
	}
	var ko map[string]string
	if err := json.Unmarshal(raw, &ko); err != nil {
		t.Fatal(err)
	}
	known := func(text string) {
		if ko[text] == "" {
			t.Errorf("%q has no translation", text)
		}
	}
	for _, id := range compliance.Frameworks() {
		r, err := compliance.New(t.Context(), evidenceOf{&work{}}, id, time.Unix(0, 0), time.Unix(1000, 0))
		if err != nil {
			t.Fatal(err)
		}
		known(r.Edition)
		for _, c := range r.Controls {
			known(c.Title)
			known("compliance." + string(c.State))
			if c.Gap != "" {
				known(c.Gap)
			}
			for _, m := range c.Measures {
				known(m.Does)
				for _, f := range m.Figures {
					known(f.Name)
				}
			}
		}
	}
}

func TestTheCompliancePageLeadsToWhatItCounted(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	b := r.enter()
	page := b.get("/console/compliance?framework=eu-ai-act&since=2026-01-01").body
	for _, want := range []string{"12(1)", "Not by Rutile:", `href="/console/evidence?outcome=deny&amp;since=2026-01-01T00%3A00%3A00Z&amp;until=`, "rutile audit search --count --since 2026-01-01T00:00:00Z --until ", "rutile report compliance --framework eu-ai-act"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not hold %s", want)
		}
	}
	if got := b.get("/console/compliance?framework=none"); got.status != 400 {
		t.Errorf("another framework: %d", got.status)
	}
}
