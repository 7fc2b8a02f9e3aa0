package console_test

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
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
		r, err := compliance.New(t.Context(), evidenceOf{&work{}}, &compliance.Present{}, id, time.Unix(0, 0), time.Unix(1000, 0))
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

// Every figure of what there is leads to a page that lists as many.
func TestFiguresOfThePresentAreThoseOfTheirPages(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	r.catalog(40)
	b := r.enter()
	row := regexp.MustCompile(`<td><a href="(/console/[a-z]+[^"]*)">(\d+)</a></td><td><code>rutile (\w+) list --count`)
	seen := map[string]int{}
	for _, id := range compliance.Frameworks() {
		for _, m := range row.FindAllStringSubmatch(b.get("/console/compliance?framework="+id).body, -1) {
			if _, ok := seen[m[1]]; ok {
				continue
			}
			n, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			seen[m[1]] = n
			page := b.get(html.UnescapeString(m[1]))
			if page.status != http.StatusOK {
				t.Errorf("%s: %d", m[1], page.status)
			}
			shown := strings.Count(page.body, map[string]string{"server": `<td><a href="/console/servers/`, "agent": `<td><a href="/console/agents/`, "inventory": `name="row"`, "finding": `href="/console/findings/fnd_`}[m[3]])
			if shown != n {
				t.Errorf("%s lists %d, and the report says %d", m[1], shown, n)
			}
		}
	}
	for link, want := range map[string]int{"/console/servers?state=sanctioned": 1, "/console/agents?state=active": 1, "/console/inventory": 40, "/console/inventory?status=shadow": 40, "/console/inventory?unowned=true": 40, "/console/findings?state=open": 44} {
		if n, ok := seen[link]; !ok || n != want {
			t.Errorf("%s is %d (in the report: %t), and not %d", link, n, ok, want)
		}
	}
}

// TestTheRiskPageLeadsToWhatCrossed: it counts when asked to, shows each crossing with its
// reasons and leads to its decision, and is for whoever may read evidence.
func TestTheRiskPageLeadsToWhatCrossed(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	b := r.enter()
	if page := b.get("/console/risk").body; strings.Contains(page, "agent-days") || !strings.Contains(page, `action="/console/risk"`) {
		t.Error("it counts before it is asked to")
	}
	page := b.get("/console/risk?days=7").body
	for _, want := range []string{"7 calls of 1 agents on 3 agent-days", "1/3", "6.15–79.23 %", "2/3", `href="/console/decisions/dec_7"`, `href="/console/sessions/ses_7"`, "volume: sent", "63 / 12 / 0", "&lt;b&gt;order", `<option value="7" selected>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not hold %s", want)
		}
	}
	for _, days := range []string{"0", "91", "x", "-1"} {
		if got := b.get("/console/risk?days=" + days); got.status != 400 {
			t.Errorf("%s days: %d", days, got.status)
		}
	}
	viewer := r.browser()
	if a := viewer.do("POST", "/approve/sign-in", url.Values{"request": {"console/live"}, "token": {r.token("vic").Token}}); a.status != http.StatusSeeOther {
		t.Fatalf("signing in: %d %s", a.status, text(a.body))
	}
	viewer.get("/console/risk?days=7").wants(t, "a viewer", http.StatusForbidden)
	if strings.Contains(viewer.get("/console/live").body, "/console/risk") {
		t.Error("a viewer is led to it")
	}
}
