package api_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// machine is one of a fleet.
type machine struct {
	r  *rig
	h  http.Handler
	id inventory.Identity
}

func (r *rig) invite(label string) admin.Ticket {
	r.t.Helper()
	var out admin.Ticket
	if err := json.Unmarshal([]byte(r.ok("POST", "/api/v1/devices", fmt.Sprintf(`{"label":%q}`, label))), &out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

func post(h http.Handler, path string, body []byte, head map[string]string) answer {
	req := httptest.NewRequest("POST", "http://"+host+path, bytes.NewReader(body))
	for k, v := range head {
		req.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// enrol makes a machine of a token.
func (r *rig) enrol(h http.Handler, ticket admin.Ticket) (*machine, answer) {
	r.t.Helper()
	id, request, err := inventory.Enrol(ticket.Token, ticket.Gateway, time.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	raw, err := json.Marshal(request)
	if err != nil {
		r.t.Fatal(err)
	}
	return &machine{r, h, id}, post(h, "/discovery/v1/enrolments", raw, nil)
}

func (m *machine) send(raw []byte, signature string) answer {
	return post(m.h, "/discovery/v1/batches", raw, map[string]string{"Rutile-Device": m.id.Device, "Rutile-Signature": signature})
}

func (m *machine) sign(b inventory.Batch) ([]byte, string) {
	m.r.t.Helper()
	raw, signature, err := m.id.Sign(b, time.Now())
	if err != nil {
		m.r.t.Fatal(err)
	}
	return raw, signature
}

// seenOn is what a run on machine n sees.
func seenOn(n int) inventory.Batch {
	now := time.Now().UTC()
	one := discovery.Sighting{
		Source: "client", User: "usr_0123456789ab", Fact: discovery.Configured, Strength: 0.9, Place: discovery.Place{Path: "~/mcp.json", Pointer: "/mcpServers/notes"}, Name: "notes\u202e=cmd()",
		Target: discovery.Target{Key: "pkg:npm/notes", Kind: discovery.KindPackage, Package: "pkg:npm/notes", Version: []string{"1.0.0", "1.1.0", ""}[n%3]},
	}
	return inventory.NewBatch(&discovery.Seen{Started: now, Ended: now, Sightings: []discovery.Sighting{one}}, "hst_000000000000", "linux", "test", []string{"client"})
}

// A fleet of forty machines, each with a key of its own, is one server, three
// variants and forty sightings; the second scan writes only when they were seen.
func TestAFleetReports(t *testing.T) {
	r := newRig(t)
	h := r.api.Fleet()
	var fleet []*machine
	for n := range 40 {
		m, a := r.enrol(h, r.invite(fmt.Sprintf("laptop-%d", n)))
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		fleet = append(fleet, m)
	}
	for round := range 2 {
		for n, m := range fleet {
			a := m.send(m.sign(seenOn(n)))
			var res inventory.Result
			if err := json.Unmarshal([]byte(a.body), &res); err != nil || a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if round == 1 && (res.Seen != 1 || res.Sightings+res.Changed+res.Gone+res.Opened+res.Resolved > 0) {
				t.Fatalf("machine %d, second scan: %+v", n, res)
			}
		}
	}
	var found admin.Found
	if err := json.Unmarshal([]byte(r.ok("GET", "/api/v1/inventory/show?key=pkg:npm/notes", "")), &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Variants) != 3 || len(found.Places) != 40 || found.Hosts != 40 || found.Status != discovery.StatusShadow || len(found.Problems) != 1 {
		t.Errorf("%d variants, %d places on %d hosts, %s, %d findings", len(found.Variants), len(found.Places), found.Hosts, found.Status, len(found.Problems))
	}
	for _, s := range found.Places {
		if !inventory.ValidHost(s.Host) || s.Host == "hst_000000000000" {
			t.Fatalf("a machine chose to be %s", s.Host)
		}
	}
}

// Whatever a machine or somebody on the way tries is refused, and changes nothing.
func TestHostileReportsAreRefused(t *testing.T) {
	r := newRig(t)
	h := r.api.Fleet()
	m, a := r.enrol(h, r.invite("one"))
	other, b := r.enrol(h, r.invite("two"))
	if a.status != http.StatusOK || b.status != http.StatusOK {
		t.Fatal(a.body, b.body)
	}
	first, signed := m.sign(seenOn(1))
	if a := m.send(first, signed); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	before := r.ok("GET", "/api/v1/inventory", "")
	again := m.send(first, signed)
	if again.status != http.StatusOK || !strings.Contains(again.body, `"again":true`) {
		t.Errorf("the same batch again: %d %s", again.status, again.body)
	}
	with := func(change func(*inventory.Batch)) ([]byte, string) {
		b := seenOn(1)
		change(&b)
		return m.sign(b)
	}
	// edited signs bytes that were changed after the batch was made.
	edited := func(from, to string) ([]byte, string) {
		raw, _ := m.sign(seenOn(1))
		return bytes.Replace(raw, []byte(from), []byte(to), 1), m.signBytes(bytes.Replace(raw, []byte(from), []byte(to), 1))
	}
	stolen, stolenBy := other.sign(seenOn(2))
	for name, c := range map[string]struct {
		raw       []byte
		signature string
		status    int
	}{
		"another's batch":      {stolen, stolenBy, 401},
		"no signature":         {first, "", 401},
		"changed on the way":   {bytes.Replace(first, []byte("1.1.0"), []byte("6.6.6"), 1), signed, 401},
		"a signature of words": {first, strings.Repeat("A", 86), 401},
	} {
		if a := m.send(c.raw, c.signature); a.status != c.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for name, c := range map[string]struct {
		make   func() ([]byte, string)
		status int
	}{
		"from the future": {func() ([]byte, string) { return with(func(b *inventory.Batch) { b.Ended = time.Now().Add(time.Hour) }) }, 400},
		"from long ago": {func() ([]byte, string) {
			return with(func(b *inventory.Batch) {
				b.Started, b.Ended = time.Now().AddDate(0, -1, 0), time.Now().AddDate(0, -1, 0)
			})
		}, 400},
		"names its machine": {func() ([]byte, string) {
			m.id.Named = true
			defer func() { m.id.Named = false }()
			return with(func(b *inventory.Batch) { b.Name = "minas-laptop" })
		}, 403},
		"another host":          {func() ([]byte, string) { return edited(inventory.HostOf(m.public()), inventory.HostOf(other.public())) }, 403},
		"another gateway":       {func() ([]byte, string) { return edited(`"audience":"http`, `"audience":"gopher`) }, 403},
		"a member nobody knows": {func() ([]byte, string) { return edited(`"system":"linux"`, `"system":"linux","x":1`) }, 400},
		"a member twice":        {func() ([]byte, string) { return edited(`"system":"linux"`, `"system":"linux","system":"linux"`) }, 400},
		"no JSON":               {func() ([]byte, string) { return []byte("{"), m.signBytes([]byte("{")) }, 400},
		"a fact nobody knows":   {func() ([]byte, string) { return with(func(b *inventory.Batch) { b.Sightings[0].Fact = "trusted" }) }, 400},
		"a key without end": {func() ([]byte, string) {
			return with(func(b *inventory.Batch) { b.Sightings[0].Target.Key = strings.Repeat("k", 5000) })
		}, 400},
		"NUL in a name":      {func() ([]byte, string) { return with(func(b *inventory.Batch) { b.Sightings[0].Name = "a\x00b" }) }, 400},
		"a user with a name": {func() ([]byte, string) { return with(func(b *inventory.Batch) { b.Sightings[0].User = "mina" }) }, 400},
		"too many rows": {func() ([]byte, string) {
			return with(func(b *inventory.Batch) { b.Sightings = make([]discovery.Sighting, inventory.MaxRows+1) })
		}, 400},
		"the id of another": {func() ([]byte, string) { return with(func(b *inventory.Batch) { b.ID = idOfBatch(t, first) }) }, 409},
	} {
		raw, signature := c.make()
		if a := m.send(raw, signature); a.status != c.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	// An older batch that was never taken comes too late.
	old, oldBy := m.sign(seenOn(1))
	newer, newerBy := m.sign(seenOn(1))
	if a := m.send(newer, newerBy); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	if a := m.send(old, oldBy); a.status != http.StatusForbidden {
		t.Errorf("an older batch: %d %s", a.status, a.body)
	}
	if after := r.ok("GET", "/api/v1/inventory", ""); strings.Contains(after, "6.6.6") || strings.Count(after, `"key"`) != strings.Count(before, `"key"`) {
		t.Errorf("the inventory holds %s", after)
	}
	r.ok("POST", "/api/v1/devices/one/revoke", `{"reason":"lost"}`)
	if a := m.send(m.sign(seenOn(1))); a.status != http.StatusUnauthorized {
		t.Errorf("a revoked machine: %d %s", a.status, a.body)
	}
	// An operator cannot speak for an enrolled machine.
	own := seenOn(1)
	own.Host = inventory.HostOf(other.public())
	if a := other.send(other.sign(seenOn(1))); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	raw, err := json.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	if a := r.do("POST", "/api/v1/inventory/reports", string(raw)); a.status != http.StatusForbidden {
		t.Errorf("an operator for a machine: %d %s", a.status, a.body)
	}
}

// A small body of many empty items would be a large one in memory.
func TestABatchOfNothingManyTimesIsRefused(t *testing.T) {
	r := newRig(t)
	h := r.api.Fleet()
	m, _ := r.enrol(h, r.invite("one"))
	for name, items := range map[string]string{
		"sightings":   `"sightings":[` + strings.Repeat("{},", 400_000) + `{}]`,
		"in any case": `"SIGHTINGS":[` + strings.Repeat("0,", 400_000) + `0]`,
		"findings":    `"findings":[` + strings.Repeat("null,", 800_000) + `null]`,
		"secrets":     `"sightings":[{"secrets":[` + strings.Repeat("{},", 1_800_000) + `{}]}]`,
	} {
		raw := []byte("{" + items + "}")
		a := m.send(raw, m.signBytes(raw))
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, "too many items") {
			t.Errorf("%s: %d %.300s", name, a.status, a.body)
		}
	}
}

// Machines that report at once are all taken, however often one comes first.
func TestMachinesReportAtOnce(t *testing.T) {
	r := newRig(t)
	h := r.api.Fleet()
	const machines, rounds = 8, 2
	var wg sync.WaitGroup
	for n := range machines {
		m, a := r.enrol(h, r.invite(fmt.Sprintf("laptop-%d", n)))
		if a.status != http.StatusOK {
			t.Fatal(a.body)
		}
		wg.Go(func() {
			for range rounds {
				b := seenOn(n)
				for i := range 20 {
					one := b.Sightings[0]
					one.Target.Key, one.Place.Pointer = fmt.Sprintf("pkg:npm/n%d", i), fmt.Sprintf("/mcpServers/n%d", i)
					b.Sightings = append(b.Sightings, one)
				}
				if a := m.send(m.sign(b)); a.status != http.StatusOK {
					t.Errorf("machine %d: %d %s", n, a.status, a.body)
				}
			}
		})
	}
	wg.Wait()
	var found admin.Found
	if err := json.Unmarshal([]byte(r.ok("GET", "/api/v1/inventory/show?key=pkg:npm/n7", "")), &found); err != nil {
		t.Fatal(err)
	}
	if found.Entry.Sightings != machines || len(found.Problems) != 1 {
		t.Errorf("%d sightings, %d findings", found.Entry.Sightings, len(found.Problems))
	}
}

// What a machine saw and held is let go when it is revoked, and nothing of others.
func TestARevokedMachineHoldsNothing(t *testing.T) {
	r := newRig(t)
	h := r.api.Fleet()
	var fleet []*machine
	for n := range 2 {
		m, a := r.enrol(h, r.invite(fmt.Sprintf("laptop-%d", n)))
		if a.status != http.StatusOK {
			t.Fatal(a.body)
		}
		b := seenOn(n)
		at := b.Sightings[0].Place
		b.Findings = []discovery.Finding{
			{Rule: discovery.LiteralSecret, Severity: discovery.Medium, Key: "pkg:npm/notes", Source: "client", Place: at, Why: "why"},
			{Rule: discovery.Unpinned, Severity: discovery.Medium, Key: "pkg:npm/notes", Source: "client", Place: at, Why: "why"},
		}
		if n == 1 {
			b.Sightings = append(b.Sightings, discovery.Sighting{Source: "client", Fact: discovery.Configured, Strength: 0.9, Place: at, Target: discovery.Target{Key: "pkg:npm/alone", Kind: discovery.KindPackage}})
		}
		if a := m.send(m.sign(b)); a.status != http.StatusOK {
			t.Fatal(a.body)
		}
		fleet = append(fleet, m)
	}
	open := func() (out []string) {
		var page struct {
			Items []struct {
				Rule, Place string
				Subject     struct{ ID string }
			}
		}
		if err := json.Unmarshal([]byte(r.ok("GET", "/api/v1/findings?state=open", "")), &page); err != nil {
			t.Fatal(err)
		}
		for _, f := range page.Items {
			host, _, _ := strings.Cut(f.Place, ":")
			out = append(out, strings.TrimSpace(f.Rule+" "+f.Subject.ID+" "+host))
		}
		slices.Sort(out)
		return out
	}
	one, two := inventory.HostOf(fleet[0].public()), inventory.HostOf(fleet[1].public())
	all := []string{"LITERAL_SECRET pkg:npm/notes " + one, "LITERAL_SECRET pkg:npm/notes " + two, "SHADOW_SERVER pkg:npm/alone", "SHADOW_SERVER pkg:npm/notes", "UNPINNED pkg:npm/notes"}
	slices.Sort(all)
	if got := open(); !slices.Equal(got, all) {
		t.Fatalf("open before: %q", got)
	}
	r.ok("POST", "/api/v1/devices/"+fleet[1].id.Device+"/revoke", `{"reason":"sold"}`)
	want := []string{"LITERAL_SECRET pkg:npm/notes " + one, "SHADOW_SERVER pkg:npm/notes", "UNPINNED pkg:npm/notes"}
	if got := open(); !slices.Equal(got, want) {
		t.Errorf("open after: %q", got)
	}
	var found admin.Found
	if err := json.Unmarshal([]byte(r.ok("GET", "/api/v1/inventory/show?key=pkg:npm/notes", "")), &found); err != nil {
		t.Fatal(err)
	}
	if found.Entry.Sightings != 1 || found.Gone != 1 || len(found.Places) != 2 {
		t.Errorf("%d sightings, %d gone, %d places", found.Entry.Sightings, found.Gone, len(found.Places))
	}
	if alone := r.ok("GET", "/api/v1/inventory?status=gone", ""); !strings.Contains(alone, "pkg:npm/alone") {
		t.Errorf("gone are %s", alone)
	}
	before := r.ok("GET", "/api/v1/inventory", "")
	r.ok("POST", "/api/v1/devices/"+fleet[1].id.Device+"/revoke", `{"reason":"sold"}`)
	if after := r.ok("GET", "/api/v1/inventory", ""); after != before {
		t.Errorf("revoked again it changes %s to %s", before, after)
	}
	r.ok("POST", "/api/v1/devices/"+fleet[0].id.Device+"/revoke", `{"reason":"sold"}`)
	if got := open(); len(got) > 0 {
		t.Errorf("open when nobody is left: %q", got)
	}
}

// A token counts once, whoever is first, and for nothing but what it was signed
// for.
func TestATokenEnrolsOneMachine(t *testing.T) {
	r := newRig(t)
	h := r.api.Fleet()
	ticket := r.invite("one")
	var mu sync.Mutex
	var wg sync.WaitGroup
	ok := 0
	for range 8 {
		wg.Go(func() {
			if _, a := r.enrol(h, ticket); a.status == http.StatusOK {
				mu.Lock()
				ok++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if ok != 1 {
		t.Errorf("a token enrolled %d machines", ok)
	}
	other := r.invite("two")
	wrong := other
	wrong.Gateway = "https://elsewhere.example"
	if _, a := r.enrol(h, wrong); a.status != http.StatusForbidden {
		t.Errorf("for another gateway: %d %s", a.status, a.body)
	}
	forged := other
	forged.Token = other.Token[:len(other.Token)-4] + "AAAA"
	if _, a := r.enrol(h, forged); a.status != http.StatusForbidden {
		t.Errorf("a forged token: %d %s", a.status, a.body)
	}
	r.ok("POST", "/api/v1/devices/two/revoke", `{}`)
	if _, a := r.enrol(h, other); a.status != http.StatusForbidden {
		t.Errorf("a revoked invitation: %d %s", a.status, a.body)
	}
	if all := r.ok("GET", "/api/v1/devices", ""); strings.Contains(all, strings.SplitN(ticket.Token, ".", 2)[1]) {
		t.Error("a list shows a token")
	}
}

func idOfBatch(t *testing.T, raw []byte) string {
	t.Helper()
	var b inventory.Batch
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Fatal(err)
	}
	return b.ID
}

// key is the private key of a machine.
func (m *machine) key() ed25519.PrivateKey {
	m.r.t.Helper()
	seed, err := base64.RawURLEncoding.DecodeString(m.id.Seed)
	if err != nil {
		m.r.t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func (m *machine) public() string {
	return base64.RawURLEncoding.EncodeToString(m.key().Public().(ed25519.PublicKey))
}

// signBytes signs what is no batch of ours.
func (m *machine) signBytes(raw []byte) string {
	return base64.RawURLEncoding.EncodeToString(ed25519.Sign(m.key(), append([]byte("rutile-device-batch/1\n"), raw...)))
}
