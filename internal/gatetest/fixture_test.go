package gatetest_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/gatetest"
)

// The fixtures are held to what they promise: a hostile server that has become
// tame, or a client that sees nothing, would make every test over it pass.

func TestClientsVisitBothEras(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	url := gatetest.DualEra(t)
	call := gatetest.Call{Tool: "test_simple_text"}
	for _, revision := range []string{"2025-06-18", "2025-11-25", "2026-07-28"} {
		got, err := gatetest.VisitWithGo(t.Context(), url, "", revision, call)
		if err != nil {
			t.Fatalf("Go client at %s: %v", revision, err)
		}
		checkVisit(t, got, revision)
	}
	got, err := npm.Visit(t.Context(), url, "", call)
	if err != nil {
		t.Fatalf("TypeScript client: %v", err)
	}
	checkVisit(t, got, "2025-11-25")
}

func checkVisit(t *testing.T, got gatetest.Visit, revision string) {
	t.Helper()
	if got.Revision != revision || got.Server != "mcp-conformance-test-server" || got.Text == "" || got.IsError || !slices.Contains(got.Tools, "test_simple_text") {
		t.Errorf("a visit at %s saw %+v", revision, got)
	}
}

func TestTokenTravelsWithEveryRequest(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	dual := gatetest.Dispatcher{Modern: gatetest.EverythingHTTP(t, true), Legacy: gatetest.EverythingHTTP(t, false)}
	guard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer tok" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		dual.ServeHTTP(w, r)
	}))
	t.Cleanup(guard.Close)
	call := gatetest.Call{Tool: "test_simple_text"}
	for name, visit := range map[string]func(token string) (gatetest.Visit, error){
		"Go": func(token string) (gatetest.Visit, error) {
			return gatetest.VisitWithGo(t.Context(), guard.URL, token, "", call)
		},
		"TypeScript": func(token string) (gatetest.Visit, error) { return npm.Visit(t.Context(), guard.URL, token, call) },
	} {
		if v, err := visit("tok"); err != nil || v.Text == "" {
			t.Errorf("%s client with the token: %+v, %v", name, v, err)
		}
		if v, err := visit(""); err == nil {
			t.Errorf("%s client without a token got %+v", name, v)
		}
	}
	authorized := httptest.NewServer(gatetest.Authorize(guard.Config.Handler, func(path string) string {
		if path == "/known" {
			return "tok"
		}
		return ""
	}))
	t.Cleanup(authorized.Close)
	if v, err := gatetest.VisitWithGo(t.Context(), authorized.URL+"/known", "", "", call); err != nil || v.Text == "" {
		t.Errorf("Authorize did not add the token: %+v, %v", v, err)
	}
	if v, err := gatetest.VisitWithGo(t.Context(), authorized.URL+"/other", "", "", call); err == nil {
		t.Errorf("Authorize added a token to another path: %+v", v)
	}
}

func TestNPMServersAnswerOverStdio(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	memory, env := npm.MemoryServer(t.TempDir() + "/graph.jsonl")
	for _, c := range []struct {
		command []string
		env     map[string]string
		tool    string
	}{
		{command: npm.FilesystemServer(t.TempDir()), tool: "list_directory"},
		{command: npm.EverythingServer(), tool: "echo"},
		{command: memory, env: env, tool: "read_graph"},
	} {
		tools, err := gatetest.ListOverStdio(t.Context(), c.command, c.env)
		if err != nil {
			t.Fatalf("%v: %v", c.command, err)
		}
		if !slices.Contains(tools, c.tool) {
			t.Errorf("%v lists %v", c.command, tools)
		}
	}
}

func TestHostileServersAreHostile(t *testing.T) {
	h := &gatetest.Hostile{Delay: 50 * time.Millisecond, Size: 1 << 20, Elsewhere: "http://127.0.0.1:1/"}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	honest := askHostile(t, s.URL, patience)
	if honest.err != nil || honest.status != http.StatusOK || !strings.Contains(honest.body, `"content"`) {
		t.Fatalf("the honest answer is %+v", honest)
	}
	seen := map[string]gatetest.Behaviour{}
	for _, b := range gatetest.Behaviours() {
		h.Behave(b)
		before := h.Calls()
		wait := patience
		if b == gatetest.Silent || b == gatetest.EndlessSSE { // which go on until then
			wait = time.Second
		}
		got := askHostile(t, s.URL, wait)
		if h.Calls() != before+1 {
			t.Errorf("%s: the dispatch counter went from %d to %d", b, before, h.Calls())
		}
		key := got.String()
		if b != gatetest.Slow && got.String() == honest.String() {
			t.Errorf("%s: answers like an honest server: %s", b, got)
		}
		if other, ok := seen[key]; ok && b != gatetest.Slow {
			t.Errorf("%s answers like %s: %.200s", b, other, got)
		}
		seen[key] = b
	}
	// The reader of the endless and the silent ones went away.
	eventually(t, "the calls end", func() bool { return h.Open() == 0 })
	if h.Cancelled() < 2 {
		t.Errorf("%d calls were cancelled", h.Cancelled())
	}
}

func TestRugPullChangesTheNextListing(t *testing.T) {
	h := &gatetest.Hostile{}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	first := rawListing(t, s.URL)
	h.RugPull()
	pulled := rawListing(t, s.URL)
	h.AddTool()
	added := rawListing(t, s.URL)
	h.Restore()
	if len(first) != 1 || len(pulled) != 1 || pulled[0] == first[0] {
		t.Errorf("before %v, after the rug pull %v", first, pulled)
	}
	if len(added) != 2 || added[0] != first[0] {
		t.Errorf("before %v, with a tool added %v", first, added)
	}
	if diff := cmp.Diff(first, rawListing(t, s.URL)); diff != "" {
		t.Errorf("restored (-first +now):\n%s", diff)
	}
	if h.Listings() != 4 {
		t.Errorf("%d listings counted, want 4", h.Listings())
	}
}

func TestEncodingsHoldTheSecret(t *testing.T) {
	const secret = "s3cr3t/+value?"
	e := gatetest.Encodings("Bearer " + secret)
	decoded := 0
	for _, s := range e {
		var text string
		if err := json.Unmarshal([]byte(`"`+s+`"`), &text); err != nil {
			t.Errorf("%q is not the inside of a JSON string: %v", s, err)
		}
		b64, _ := base64.StdEncoding.DecodeString(text)
		b64url, _ := base64.RawURLEncoding.DecodeString(text)
		hexed, _ := hex.DecodeString(text)
		if strings.Contains(text, secret) || strings.Contains(string(b64), secret) || string(b64url) == secret || string(hexed) == secret {
			decoded++
		}
	}
	if decoded < 9 {
		t.Errorf("only %d of %d encodings decode to the secret: %q", decoded, len(e), e)
	}
}

// hostileAnswer is one answer; err where there was none or only part of one.
type hostileAnswer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (s hostileAnswer) String() string {
	s.header = s.header.Clone()
	for _, k := range []string{"Date", "Content-Length"} {
		s.header.Del(k)
	}
	b, _ := json.Marshal([]any{s.status, s.header, s.body, s.err != nil}) // strings and numbers always can
	return string(b)
}

// askHostile calls echo and reads for as long as wait.
func askHostile(t *testing.T, url string, wait time.Duration) hostileAnswer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	body := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hi"}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer upstream-credential")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return hostileAnswer{err: err, body: map[bool]string{true: "nothing in time", false: "connection lost"}[ctx.Err() != nil]}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return hostileAnswer{resp.StatusCode, resp.Header, string(raw), err}
}

func rawListing(t *testing.T, url string) []string {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var m struct {
		Result struct{ Tools []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		t.Fatal(err)
	}
	var tools []string
	for _, raw := range m.Result.Tools {
		tools = append(tools, string(raw))
	}
	return tools
}
