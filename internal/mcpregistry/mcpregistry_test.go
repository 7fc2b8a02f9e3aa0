package mcpregistry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/mcpregistry"
	"rutile/internal/registry"
	"rutile/internal/schematest"
)

const base = "https://mcp.example.com"

// secretWords stand wherever a server keeps what nobody is to read here.
var secretWords = []string{"upstream-host", "secret-arg", "vault-name", "team-hidden", "why-hidden", "fixed-header", "who-hidden"}

func server(id string, state registry.ServerState) registry.Server {
	at := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	return registry.Server{
		ID: id, Owner: "team-hidden", State: state, StateWhy: "why-hidden", StateBy: "user:who-hidden", Created: at, Changed: at.Add(time.Hour),
		Transport:  registry.Transport{HTTP: &registry.HTTP{URL: "https://upstream-host.internal/mcp", Headers: map[string]string{"X-A": "fixed-header"}}},
		Credential: &registry.CredentialRef{Ref: "vault-name", Header: "Authorization"}, DataScopes: []string{"db:secret-arg"},
	}
}

func view(t *testing.T, servers ...registry.Server) *registry.View {
	t.Helper()
	v, err := registry.NewView(registry.Content{Servers: servers})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// everyState is one server of every state, and one that nobody owns.
func everyState(t *testing.T) *registry.View {
	orphan := server("orphan", registry.ServerSanctioned)
	orphan.Owner = ""
	old := server("old", registry.ServerDeprecated)
	old.Replacement, old.Ends = "good", time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC)
	old.Description = strings.Repeat("é", 100)
	stdio := server("tool-box", registry.ServerSanctioned)
	stdio.Transport, stdio.Version = registry.Transport{Stdio: &registry.Stdio{Command: "npx", Args: []string{"secret-arg"}}}, "1.4.2"
	return view(t, server("good", registry.ServerSanctioned), old, stdio, orphan,
		server("fresh", registry.ServerDiscovered), server("seen", registry.ServerTriaged), server("held", registry.ServerQuarantined),
		server("forbidden", registry.ServerBlocked), server("gone", registry.ServerRetired), server("odd", "who-knows"))
}

func api(t *testing.T, v *registry.View, origins ...string) http.Handler {
	t.Helper()
	a, err := mcpregistry.New(mcpregistry.Config{URL: base, Namespace: "com.example", Origins: origins}, func() *registry.View { return v })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ask(t *testing.T, h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://gateway/", nil)
	path, query, _ := strings.Cut(target, "?")
	u, err := url.Parse("http://gateway" + path)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery, r.URL = query, u
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func names(t *testing.T, w *httptest.ResponseRecorder) (out []string, next string) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var l mcpregistry.List
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	if l.Metadata.Count != len(l.Servers) {
		t.Errorf("count %d of %d entries", l.Metadata.Count, len(l.Servers))
	}
	for _, s := range l.Servers {
		out = append(out, s.Server.Name)
	}
	return out, l.Metadata.Next
}

func TestOnlyWhatMayBeCalledIsInTheCatalog(t *testing.T) {
	h := api(t, everyState(t))
	got, _ := names(t, ask(t, h, "GET", "/v0.1/servers"))
	if diff := cmp.Diff([]string{"com.example/good", "com.example/old", "com.example/tool-box"}, got); diff != "" {
		t.Error(diff)
	}
	for _, q := range []string{"include_deleted=true", "updated_since=2020-01-01T00:00:00Z", "search=fresh", "search=FORBIDDEN", "version=latest&search=held"} {
		got, _ := names(t, ask(t, h, "GET", "/v0.1/servers?"+q))
		for _, n := range got {
			if !strings.HasSuffix(n, "/good") && !strings.HasSuffix(n, "/old") && !strings.HasSuffix(n, "/tool-box") {
				t.Errorf("?%s shows %s", q, n)
			}
		}
	}
}

func TestNoSpellingFindsWhatIsHeldBack(t *testing.T) {
	h := api(t, everyState(t))
	missing := ask(t, h, "GET", "/v0.1/servers/com.example%2Fnever-there/versions/latest")
	for _, id := range []string{"fresh", "seen", "held", "forbidden", "gone", "odd", "orphan"} {
		for _, name := range []string{
			"com.example%2F" + id, "com.example%2f" + id, "com.example%2F" + strings.ToUpper(id), "COM.EXAMPLE%2F" + id, "com.example%252F" + id,
			"com.example/" + id, id, "%2F" + id, "com.example%2F%" + fmt.Sprintf("%02X", id[0]) + id[1:], "com.example%2F" + id + "%20", "com.example%2F" + id + "%00",
			"com.example%2F" + id + "%2F", "com.example%2F.%2F" + id, "com.example%2Fgood%2F..%2F" + id,
		} {
			for _, tail := range []string{"/versions", "/versions/latest", "/versions/0.0.0-t20261101110000", "/versions/latest?include_deleted=true"} {
				w := ask(t, h, "GET", "/v0.1/servers/"+name+tail)
				if w.Code != http.StatusNotFound {
					t.Errorf("%s%s: status %d: %s", name, tail, w.Code, w.Body)
				}
				if strings.Contains(w.Body.String(), id) {
					t.Errorf("%s%s: the answer names it: %s", name, tail, w.Body)
				}
			}
		}
		w := ask(t, h, "GET", "/v0.1/servers/com.example%2F"+id+"/versions/latest")
		if w.Body.String() != missing.Body.String() || w.Code != missing.Code {
			t.Errorf("%s is told from a server that does not exist: %s", id, w.Body)
		}
	}
	if missing.Header().Get("Content-Type") != "application/json; charset=utf-8" || strings.TrimSpace(missing.Body.String()) != `{"error":"Server not found"}` {
		t.Errorf("404 is %q", missing.Body)
	}
}

func TestAnEntryIsAsTheOfficialSchemaHasIt(t *testing.T) {
	schema := schematest.Compile(t, schematest.File(t, "github.com/modelcontextprotocol/registry", "internal/validators/schemas/2025-12-11.json"), nil)
	if schema.Check([]byte(`{"name":"no-slash","description":"x","version":"1"}`)) == nil {
		t.Fatal("the schema lets a name without a slash pass: it checks nothing")
	}
	h := api(t, everyState(t))
	for _, id := range []string{"good", "old", "tool-box"} {
		for _, version := range []string{"", "/latest"} {
			w := ask(t, h, "GET", "/v0.1/servers/com.example%2F"+id+"/versions"+version)
			var one struct{ Server json.RawMessage }
			body := w.Body.Bytes()
			if version == "" {
				var l struct{ Servers []json.RawMessage }
				if err := json.Unmarshal(body, &l); err != nil || len(l.Servers) != 1 {
					t.Fatalf("%s: %v: %s", id, err, body)
				}
				body = l.Servers[0]
			}
			if err := json.Unmarshal(body, &one); err != nil {
				t.Fatal(err)
			}
			if err := schema.Check(one.Server); err != nil {
				t.Errorf("%s: %v\n%s", id, err, one.Server)
			}
		}
	}
}

func TestAnEntryLeadsToTheGatewayAndTellsNothingElse(t *testing.T) {
	h := api(t, everyState(t))
	var e mcpregistry.Entry
	if err := json.Unmarshal(ask(t, h, "GET", "/v0.1/servers/com.example%2Ftool-box/versions/1.4.2").Body.Bytes(), &e); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]mcpregistry.Remote{{Type: "streamable-http", URL: base + "/mcp/tool-box"}}, e.Server.Remotes); diff != "" {
		t.Error(diff)
	}
	for _, target := range []string{"/v0.1/servers", "/v0.1/servers/com.example%2Fold/versions", "/v0.1/servers/com.example%2Fold/versions/latest", "/v0.1/servers?search=hidden"} {
		w := ask(t, h, "GET", target)
		for _, s := range secretWords {
			if strings.Contains(w.Body.String(), s) || strings.Contains(fmt.Sprint(w.Header()), s) {
				t.Errorf("%s tells %q: %s", target, s, w.Body)
			}
		}
		if strings.Contains(w.Body.String(), "io.modelcontextprotocol.registry/official") {
			t.Errorf("%s speaks in the official registry's name", target)
		}
	}
	if w := ask(t, h, "GET", "/v0.1/servers/com.example%2Ftool-box/versions/1.4.1"); w.Code != http.StatusNotFound {
		t.Errorf("a version that is not there: status %d", w.Code)
	}
}

func TestADeprecatedServerIsMarked(t *testing.T) {
	var e mcpregistry.Entry
	w := ask(t, api(t, everyState(t)), "GET", "/v0.1/servers/com.example%2Fold/versions/latest")
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		t.Fatal(err)
	}
	m := e.Meta[mcpregistry.MetaKey]
	if m.Status != "deprecated" || m.Replacement != "com.example/good" || m.Ends != "2027-01-02" || !strings.Contains(m.Message, "com.example/good") {
		t.Errorf("marked as %+v", m)
	}
	if d := e.Server.Description; !strings.HasPrefix(d, "Deprecated. ") || len([]rune(d)) != 100 {
		t.Errorf("description %q of %d characters", d, len([]rune(d)))
	}
}

// TestADeprecatedServerNamesNothingHeldBack: what is to be used instead may be held
// back itself by now, or may never have been let in.
func TestADeprecatedServerNamesNothingHeldBack(t *testing.T) {
	for _, state := range []registry.ServerState{registry.ServerDiscovered, registry.ServerTriaged, registry.ServerQuarantined, registry.ServerBlocked, registry.ServerRetired} {
		old := server("old", registry.ServerDeprecated)
		old.Replacement, old.Ends = "heir", time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC)
		h := api(t, view(t, old, server("heir", state)))
		for _, path := range []string{"/v0.1/servers", "/v0.1/servers/com.example%2Fold/versions", "/v0.1/servers/com.example%2Fold/versions/latest"} {
			w := ask(t, h, "GET", path)
			if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, "com.example/old") || strings.Contains(body, "heir") {
				t.Errorf("%s, %s: %d %s", state, path, w.Code, body)
			}
		}
	}
}

func TestABlockedServerIsGoneAtOnce(t *testing.T) {
	v := view(t, server("good", registry.ServerSanctioned))
	a, err := mcpregistry.New(mcpregistry.Config{URL: base, Namespace: "com.example"}, func() *registry.View { return v })
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(t, a, "GET", "/v0.1/servers/com.example%2Fgood/versions/latest"); w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-cache" {
		t.Fatalf("status %d, %v", w.Code, w.Header())
	}
	v = view(t, server("good", registry.ServerBlocked))
	if w := ask(t, a, "GET", "/v0.1/servers/com.example%2Fgood/versions/latest"); w.Code != http.StatusNotFound {
		t.Errorf("status %d after it was blocked", w.Code)
	}
}

func TestPagesHoldEveryEntryOnce(t *testing.T) {
	var servers []registry.Server
	var want []string
	for i := range 73 {
		servers = append(servers, server(fmt.Sprintf("s%02d", i), registry.ServerSanctioned))
		want = append(want, fmt.Sprintf("com.example/s%02d", i))
	}
	h := api(t, view(t, servers...))
	for _, limit := range []string{"", "&limit=1", "&limit=30", "&limit=73", "&limit=100"} {
		var got []string
		cursor := ""
		for range 80 {
			page, next := names(t, ask(t, h, "GET", "/v0.1/servers?cursor="+cursor+limit))
			got = append(got, page...)
			if cursor = next; next == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %q: %s", limit, diff)
		}
	}
}

func TestWhatIsAskedWronglyIsRefused(t *testing.T) {
	h := api(t, everyState(t))
	for _, q := range []string{
		"limit=0", "limit=101", "limit=-1", "limit=x", "limit=99999999999999999999", "cursor=%21", "limit=5&limit=6", "updated_since=yesterday",
		"search=%zz", "search=" + strings.Repeat("a", 300),
	} {
		w := ask(t, h, "GET", "/v0.1/servers?"+q)
		var body struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &body); w.Code != http.StatusBadRequest || err != nil || body.Error == "" {
			t.Errorf("?%s: status %d: %s", q, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/v0.1/", "/v0.1/serversX", "/v0.1/servers/com.example%2Fgood", "/v0.1/servers/com.example%2Fgood/versions/latest/status", "/v0.1/publish", "/v0.1/servers//versions"} {
		if w := ask(t, h, "GET", path); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	for _, m := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		if w := ask(t, h, m, "/v0.1/servers/com.example%2Fgood/versions/latest"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
			t.Errorf("%s: status %d", m, w.Code)
		}
	}
}

func TestAListIsNarrowedByWhatWasAsked(t *testing.T) {
	late := server("late", registry.ServerSanctioned)
	late.Changed = late.Changed.AddDate(0, 0, 3)
	h := api(t, view(t, server("early", registry.ServerSanctioned), late))
	for q, want := range map[string][]string{
		"search=LATE": {"com.example/late"}, "search=com.EX": {"com.example/early", "com.example/late"}, "search=nothing": nil,
		"updated_since=2026-11-03T00:00:00%2B02:00": {"com.example/late"}, "version=0.0.0-t20261101110000": {"com.example/early"}, "version=latest": {"com.example/early", "com.example/late"}, "version=9": nil,
	} {
		got, _ := names(t, ask(t, h, "GET", "/v0.1/servers?"+q))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("?%s: %s", q, diff)
		}
	}
}

func TestOnlyListedOriginsReadAcrossOrigins(t *testing.T) {
	v := everyState(t)
	for _, c := range []struct {
		origins []string
		origin  string
		want    string
	}{
		{nil, "https://evil.example", ""},
		{[]string{"https://portal.example.com"}, "https://evil.example", ""},
		{[]string{"https://portal.example.com"}, "https://portal.example.com.evil.example", ""},
		{[]string{"https://portal.example.com"}, "https://portal.example.com", "https://portal.example.com"},
		{[]string{"*"}, "https://anything.example", "*"},
	} {
		h := api(t, v, c.origins...)
		for _, m := range []string{"GET", "OPTIONS"} {
			w := ask(t, h, m, "/v0.1/servers", "Origin", c.origin)
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != c.want {
				t.Errorf("%v, %s from %s: %q, want %q", c.origins, m, c.origin, got, c.want)
			}
			if w.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Error("credentials are let across origins")
			}
			if m == "OPTIONS" && (w.Code != http.StatusNoContent || w.Body.Len() != 0) {
				t.Errorf("preflight: status %d", w.Code)
			}
		}
	}
}

func TestNamespacesAreNames(t *testing.T) {
	for s, want := range map[string]bool{"com.example": true, "localhost": true, "": false, "com.example/x": false, ".com": false, "com..example": false, "com example": false, strings.Repeat("a", 129): false} {
		if got := mcpregistry.ValidNamespace(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
	if got := mcpregistry.NamespaceOf("mcp.example.com"); got != "com.example.mcp" {
		t.Error(got)
	}
}
