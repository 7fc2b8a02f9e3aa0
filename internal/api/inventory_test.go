package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// saw reports what a run saw.
func (r *rig) saw(list ...discovery.Sighting) inventory.Result {
	r.t.Helper()
	now := time.Now().UTC()
	coverage := []discovery.Coverage{{Source: "client", Place: "~/mcp.json", Outcome: discovery.Read}}
	raw, err := json.Marshal(inventory.NewBatch(&discovery.Seen{Started: now, Ended: now, Sightings: list, Coverage: coverage}, "hst_0123456789ab", "linux", "test", []string{"client"}))
	if err != nil {
		r.t.Fatal(err)
	}
	var out inventory.Result
	if err := json.Unmarshal([]byte(r.ok("POST", "/api/v1/inventory/reports", string(raw))), &out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// entry is an entry of a client's file.
func entry(name string, spec discovery.Spec) discovery.Sighting {
	d := &discovery.Describer{Paths: &discovery.Paths{Salt: []byte("salt")}}
	return discovery.Sighting{Source: "client", Fact: discovery.Configured, Strength: 0.9, Place: discovery.Place{Path: "~/mcp.json", Pointer: "/mcpServers/" + name}, Name: name, Target: d.Describe(spec).Target}
}

// rules are those of the findings that wait, sorted by id.
func (r *rig) rules(subject string) string {
	r.t.Helper()
	var page struct{ Items []finding.Finding }
	if err := json.Unmarshal([]byte(r.ok("GET", "/api/v1/findings?state=open&subject="+subject, "")), &page); err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, f := range page.Items {
		out = append(out, f.Rule)
	}
	return strings.Join(out, " ")
}

// A server stands where the registry says, its findings come and go with that, and
// nobody has to close them.
func TestFindingsFollowTheRegistry(t *testing.T) {
	r := newRig(t)
	notes := discovery.Spec{Command: "npx", Args: []string{"notes@1.0.0"}}
	const key = "pkg:npm/notes"
	r.saw(entry("notes", notes))
	if got := r.rules(key); got != "SHADOW_SERVER" {
		t.Fatalf("a server nobody registered: %s", got)
	}
	r.apply("kind: Server\nid: notes\nowner: team\ntransport: {stdio: {command: npx, args: [\"notes@1.0.0\"]}}\nstate: sanctioned\n")
	r.saw(entry("notes", notes))
	if got := r.rules(key); got != "BYPASS_ENTRY" {
		t.Errorf("registered and gone past: %s", got)
	}
	r.saw(entry("notes", discovery.Spec{Command: "npx", Args: []string{"notes@2.0.0"}}))
	if got := r.rules(key); got != "BYPASS_ENTRY DRIFTED" {
		t.Errorf("another version than the registered one: %s", got)
	}
	shim := entry("notes", discovery.Spec{Command: "/usr/bin/rutile", Args: []string{"connect", "notes"}})
	r.saw(shim)
	if got := r.rules(key); got != "" {
		t.Errorf("routed: %s", got)
	}
	var found admin.Found
	if err := json.Unmarshal([]byte(r.ok("GET", "/api/v1/inventory/show?key="+key, "")), &found); err != nil {
		t.Fatal(err)
	}
	if found.Status != discovery.StatusRouted || found.Registered != "notes" || found.Sightings != 1 {
		t.Errorf("%s, registered as %q, %d sightings", found.Status, found.Registered, found.Sightings)
	}
}

// An entry that was wrapped is the server, the variant and the sighting it was: only
// routed differs (discovery.md 23, test 7).
func TestWrappingChangesOnlyRouted(t *testing.T) {
	r := newRig(t)
	r.apply("kind: Server\nid: notes\nowner: team\ntransport: {stdio: {command: npx, args: [\"notes@1.0.0\"]}}\n")
	r.saw(entry("notes", discovery.Spec{Command: "npx", Args: []string{"notes@1.0.0"}}))
	places := func() []inventory.Sighting {
		var found admin.Found
		if err := json.Unmarshal([]byte(r.ok("GET", "/api/v1/inventory/show?key=pkg:npm/notes", "")), &found); err != nil {
			t.Fatal(err)
		}
		return found.Places
	}
	before := places()
	r.saw(entry("notes", discovery.Spec{Command: "rutile", Args: []string{"connect", "notes"}}))
	after := places()
	if len(before) != 1 || len(after) != 1 || before[0].ID != after[0].ID || before[0].Variant != after[0].Variant || before[0].Routed || !after[0].Routed {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
}

// A merge is suggested and never made by itself, and taking it back leaves
// everything as it was.
func TestAMergeIsTakenBackExactly(t *testing.T) {
	r := newRig(t)
	r.saw(entry("a", discovery.Spec{URL: "https://a.example/mcp"}), entry("b", discovery.Spec{URL: "https://a.example/sse"}))
	before := r.ok("GET", "/api/v1/inventory", "")
	if !strings.Contains(r.ok("GET", "/api/v1/inventory/suggestions", ""), `"rule":"endpoint"`) {
		t.Error("nothing is suggested")
	}
	if strings.Contains(before, `"merged"`) {
		t.Fatal("it merged by itself")
	}
	r.ok("POST", "/api/v1/inventory/merges", `{"from":"https://a.example/sse","into":"https://a.example/mcp","reason":"one server"}`)
	if a := r.do("POST", "/api/v1/inventory/merges", `{"from":"https://a.example/mcp","into":"https://a.example/sse"}`); a.status != http.StatusConflict {
		t.Errorf("a circle: %d %s", a.status, a.body)
	}
	merged := r.ok("GET", "/api/v1/inventory", "")
	if strings.Count(merged, `"status"`) != 1 || !strings.Contains(merged, `"merged":["https://a.example/sse"]`) {
		t.Errorf("merged: %s", merged)
	}
	if one, other := r.rules("https://a.example/mcp"), r.rules("https://a.example/sse"); one != "SHADOW_SERVER" || other != "" {
		t.Errorf("findings of the one: %q, of the other: %q", one, other)
	}
	r.ok("POST", "/api/v1/inventory/splits", `{"key":"https://a.example/sse","reason":"two after all"}`)
	if after := r.ok("GET", "/api/v1/inventory", ""); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	if strings.Contains(r.ok("GET", "/api/v1/inventory/suggestions", ""), "a.example") {
		t.Error("what a person took back is suggested again")
	}
}

// A finding is muted for a reason and until a time, by somebody who may.
func TestAFindingIsMutedForAReason(t *testing.T) {
	r := newRig(t)
	r.apply(people)
	r.saw(entry("notes", discovery.Spec{Command: "npx", Args: []string{"notes@1.0.0"}}))
	id := finding.ID("SHADOW_SERVER", finding.Subject{Kind: finding.SubjectFound, ID: "pkg:npm/notes"}, "")
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	for name, body := range map[string]string{
		"no reason": `{"reason":" ","until":"` + at(time.Hour) + `"}`, "no time": `{"reason":"known","until":"0001-01-01T00:00:00Z"}`,
		"a time that was": `{"reason":"known","until":"` + at(-time.Hour) + `"}`, "two years": `{"reason":"known","until":"` + at(2*365*24*time.Hour) + `"}`,
	} {
		if a := r.do("POST", "/api/v1/findings/"+id+"/mute", body); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := r.as(r.personal("vic").Token, "POST", "/api/v1/findings/"+id+"/mute", `{"reason":"known","until":"`+at(time.Hour)+`"}`); a.status != http.StatusForbidden {
		t.Errorf("a viewer: %d %s", a.status, a.body)
	}
	if a := r.do("POST", "/api/v1/findings/"+id+"/assign", `{"owner":"nobody"}`); a.status != http.StatusBadRequest {
		t.Errorf("an owner nobody knows: %d %s", a.status, a.body)
	}
	r.ok("POST", "/api/v1/findings/"+id+"/mute", `{"reason":"known","until":"`+at(time.Hour)+`"}`)
	if got := r.rules("pkg:npm/notes"); got != "" {
		t.Errorf("muted, and open: %s", got)
	}
	r.saw() // the entry is gone
	if got := r.ok("GET", "/api/v1/findings/"+id, ""); !strings.Contains(got, `"state":"resolved"`) {
		t.Errorf("what is so no more: %s", got)
	}
}

// The same batch changes nothing twice, and another under its id is refused.
func TestABatchIsTakenOnce(t *testing.T) {
	r := newRig(t)
	r.ok("POST", "/api/v1/inventory/reports", report)
	before := r.ok("GET", "/api/v1/inventory", "")
	if again := r.ok("POST", "/api/v1/inventory/reports", report); !strings.Contains(again, `"again":true`) {
		t.Errorf("again: %s", again)
	}
	if after := r.ok("GET", "/api/v1/inventory", ""); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	if a := r.do("POST", "/api/v1/inventory/reports", strings.Replace(report, "pkg:npm/notes", "pkg:npm/other", 1)); a.status != http.StatusConflict {
		t.Errorf("another batch under its id: %d %s", a.status, a.body)
	}
}

// Whose owner is gone is an orphan, and what nobody called for long is unused, as
// far as the evidence goes back.
func TestOrphansAndTheUnusedAreTold(t *testing.T) {
	r := newRig(t)
	r.apply("kind: User\nid: ann\nroles: [viewer]\n---\nkind: Server\nid: notes\nowner: ann\ntransport: {http: {url: 'http://127.0.0.1:9/mcp'}}\nstate: sanctioned\n")
	days := func(n int) time.Time { return time.Now().AddDate(0, 0, -n) }
	owned := func(used, since time.Time) string {
		t.Helper()
		if err := r.d.Inventory.Owned(t.Context(), map[string]time.Time{"notes": used}, since); err != nil {
			t.Fatal(err)
		}
		return r.rules("notes")
	}
	if got := owned(days(70), days(30)); got != "" {
		t.Errorf("evidence of 30 days: %s", got)
	}
	if got := owned(days(70), days(90)); got != "UNUSED_SERVER" {
		t.Errorf("unused: %s", got)
	}
	if got := owned(days(1), days(90)); got != "" {
		t.Errorf("used again: %s", got)
	}
	r.ok("POST", "/api/v1/users/ann/suspend", `{"reason":"left"}`)
	if got := owned(days(1), days(90)); got != "ORPHAN_SERVER" {
		t.Errorf("its owner left: %s", got)
	}
}

// An export is one document of the state, the same for whoever asks, and it has no
// secret.
func TestAnExportIsTheSameForTheSameState(t *testing.T) {
	r := newRig(t)
	e := entry("=notes", discovery.Spec{Command: "npx", Args: []string{"notes@1.0.0", "--api-key", secretValue}})
	r.saw(e, entry("b", discovery.Spec{URL: "https://user:" + secretValue + "@a.example/mcp?token=" + secretValue}))
	for _, q := range []string{"as=csv", "as=csv&rows=variants", "as=csv&rows=sightings", "as=sarif"} {
		a, b := r.do("GET", "/api/v1/inventory/export?"+q, ""), r.do("GET", "/api/v1/inventory/export?"+q, "")
		id := a.header.Get(api.SnapshotHeader)
		switch {
		case a.status != http.StatusOK || a.body != b.body || id == "" || b.header.Get(api.SnapshotHeader) != id:
			t.Errorf("%s: %d, %d, snapshot %q", q, a.status, b.status, id)
		case !strings.Contains(a.body, id) || !strings.Contains(a.body, "notes"):
			t.Errorf("%s: %s", q, a.body)
		case strings.Contains(a.body, secretValue):
			t.Errorf("%s has a secret: %s", q, a.body)
		}
		r.saw(e, entry("c", discovery.Spec{Command: "npx", Args: []string{"other-" + id[:1]}}))
		if c := r.do("GET", "/api/v1/inventory/export?"+q, ""); c.body == a.body || c.header.Get(api.SnapshotHeader) == id {
			t.Errorf("%s: another state under the same id", q)
		}
	}
	for _, q := range []string{"", "as=xml", "as=sarif&rows=servers", "as=csv&as=csv", "as=csv&identifiable=yes", "as=csv&x=1"} {
		if a := r.do("GET", "/api/v1/inventory/export?"+q, ""); a.status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", q, a.status, a.body)
		}
	}
}
