package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// catalog keeps n servers on one machine, every tenth of them not pinned.
func (r *rig) catalog(n int) {
	r.t.Helper()
	const chunk = 2000
	for from := 0; from < n; from += chunk {
		now := r.clock.now()
		b := inventory.Batch{
			Version: 1, ID: access.NewID(inventory.PrefixBatch), Host: fmt.Sprintf("hst_%012x", from), System: "linux", Started: now, Ended: now, Sources: []string{"client"},
			Coverage: []discovery.Coverage{{Source: "client", Place: "~/x", Outcome: discovery.Read}},
		}
		for i := from; i < min(n, from+chunk); i++ {
			key := fmt.Sprintf("pkg:npm/server-%05d", i)
			b.Sightings = append(b.Sightings, discovery.Sighting{
				Source: "client", Fact: discovery.Configured, Strength: 0.9, User: fmt.Sprintf("usr_%012x", i%7), Place: discovery.Place{Path: fmt.Sprintf("~/%d.json", i)}, Name: "x",
				Target: discovery.Target{Key: key, Kind: discovery.KindPackage, Package: key, Transport: []string{"stdio", "http"}[i%2]},
			})
			if i%10 == 0 {
				b.Findings = append(b.Findings, discovery.Finding{Rule: discovery.Unpinned, Severity: discovery.Medium, Key: key, Source: "client", Place: discovery.Place{Path: fmt.Sprintf("~/%d.json", i)}, Why: "why"})
			}
		}
		if _, err := r.inventory.Report(r.t.Context(), keeper, b); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestTheInventoryIsFilteredKeptAndOwned: facets lead to what they count, a view is its
// own visitor's, and servers are given to somebody only as it was looked at.
func TestTheInventoryIsFilteredKeptAndOwned(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	r.catalog(120)
	b := r.enter()
	all := b.get("/console/inventory")
	all.wants(t, "the inventory", http.StatusOK, "120 of 120 servers", "Unpinned <small>12</small>", "stdio <small>60</small>", "rutile inventory list")
	if n := strings.Count(all.body, `name="row"`); n != 50 {
		t.Errorf("a page has %d rows", n)
	}
	odd := b.get("/console/inventory?has=unpinned&transport=stdio")
	odd.wants(t, "filtered", http.StatusOK, "12 of 120 servers", "rutile inventory list --transport stdio --has unpinned")
	b.get("/console/inventory?has=evil").wants(t, "an unknown mark", http.StatusBadRequest, "nothing a server has or lacks")
	for as, want := range map[string]string{"csv": "pkg:npm/server-00010", "json": `"schemaVersion": 1`} {
		e := b.get("/console/inventory/export?as=" + as + "&has=unpinned")
		if e.status != http.StatusOK || !strings.Contains(e.body, want) || strings.Contains(e.body, "server-00011") || !strings.HasPrefix(e.header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: %d %s", as, e.status, e.body[:min(len(e.body), 300)])
		}
	}
	b.get("/console/inventory/export?as=sarif").wants(t, "another format", http.StatusBadRequest, "csv or json")

	if a := b.send("/console/inventory/views", "verb", "save", "name", "loose <b>", "query", "has=unpinned&evil=1"); a.header.Get("Location") != "/console/inventory?has=unpinned" {
		t.Errorf("keeping a view leads to %q", a.header.Get("Location"))
	}
	b.get("/console/inventory").wants(t, "with a view", http.StatusOK, `<a href="/console/inventory?has=unpinned">loose &lt;b&gt;</a>`)
	vic := r.browser()
	vic.do("POST", "/approve/sign-in", url.Values{"request": {"console/live"}, "token": {r.token("vic").Token}})
	if a := vic.get("/console/inventory?unowned=true"); a.status != http.StatusOK || strings.Contains(a.body, "loose") || strings.Contains(a.body, `name="row"`) {
		t.Errorf("a viewer sees another's view, or may choose rows: %s", text(a.body))
	}
	b.send("/console/inventory/views", "verb", "forget", "name", "loose <b>", "query", "")
	if a := b.get("/console/inventory"); strings.Contains(a.body, `">loose`) {
		t.Error("a view that is forgotten is there")
	}

	plan := b.get("/console/inventory/own?owner=ann&match=" + url.QueryEscape("has=unpinned"))
	plan.wants(t, "the plan", http.StatusOK, "ann would answer for 12 servers", "rutile inventory own pkg:npm/server-00000")
	field := func(a answer, name string) string {
		m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(a.body)
		if m == nil {
			t.Fatalf("the page has no field %s", name)
		}
		return m[1]
	}
	rows, seen := field(plan, "rows"), field(plan, "seen")
	vic.get("/console/inventory/own?owner=ann&match=").wants(t, "a viewer plans", http.StatusForbidden)
	if a := vic.send("/console/inventory/own", "rows", rows, "owner", "ann", "seen", seen, "reason", ""); a.status != http.StatusForbidden {
		t.Errorf("a viewer gives servers away: %d", a.status)
	}
	owned := func() int {
		t.Helper()
		list, err := r.inventory.List(t.Context(), admin.InventoryFilter{Owner: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if _, err := r.inventory.Own(t.Context(), keeper, "pkg:npm/server-00010", "bob", ""); err != nil {
		t.Fatal(err)
	}
	b.send("/console/inventory/own", "rows", rows, "owner", "ann", "seen", seen, "reason", "they wrote it")
	b.get("/console/inventory").wants(t, "what was planned before", http.StatusOK, "meanwhile")
	if owned() != 0 {
		t.Errorf("%d are ann's by an old plan", owned())
	}
	seen = field(b.get("/console/inventory/own?owner=ann&match="+url.QueryEscape("has=unpinned")), "seen")
	b.send("/console/inventory/own", "rows", rows, "owner", "ann", "seen", seen, "reason", "they wrote it")
	b.get("/console/inventory").wants(t, "done", http.StatusOK, "ann answers for 12 servers now.")
	if owned() != 12 {
		t.Errorf("%d are ann's", owned())
	}
	b.get("/console/inventory/own?owner=ghost&row="+strings.Fields(rows)[0]).wants(t, "an unknown owner", http.StatusBadRequest, "neither a user nor a team")
	b.get("/console/inventory/own?owner=ann&row=0000000000000000").wants(t, "an unknown row", http.StatusConflict, "not in the inventory any more")
}

// TestTheInventoryOfTenThousandIsOnePage: none and ten thousand servers are shown within
// 150 KB, and a page nothing was written before is not put together anew.
func TestTheInventoryOfTenThousandIsOnePage(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	b := r.enter()
	b.get("/console/inventory").wants(t, "nothing", http.StatusOK, "0 of 0 servers", "rutile discover")
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	r.catalog(n)
	for _, at := range []string{"/console/inventory", "/console/inventory?has=unpinned&unowned=true", "/console/inventory?cursor=pkg%3Anpm%2Fserver-00500"} {
		from := time.Now()
		first := b.get(at)
		then := time.Now()
		again := b.get(at)
		t.Logf("%s: %d KB, %v at first, %v then", at, len(first.body)>>10, then.Sub(from), time.Since(then))
		if first.status != http.StatusOK || len(first.body) > 150<<10 || again.status != http.StatusOK {
			t.Errorf("%s: %d, %d bytes", at, first.status, len(first.body))
		}
	}
}
