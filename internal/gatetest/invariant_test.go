package gatetest_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// dispatched are the requests evidence.md E1 names, as a modern client sends
// them: method, what Mcp-Name mirrors, params.
var dispatched = [][3]string{
	{"tools/call", "echo", `"name":"echo","arguments":{"text":"x"}`},
	{"prompts/get", "hi", `"name":"hi"`},
	{"resources/read", "test://a", `"uri":"test://a"`},
}

// loseEvidence makes every later append fail, as a full or broken disk would.
func (r *rig) loseEvidence() {
	r.t.Helper()
	if err := r.d.Evidence.Close(context.Background()); err != nil {
		r.t.Fatalf("closing the evidence: %v", err)
	}
}

func TestNoDispatchWithoutDurableIntent(t *testing.T) {
	t.Parallel()
	for _, era := range []string{v2026, v2511} {
		t.Run(era, func(t *testing.T) {
			p := newPeer(t, era)
			r, token := governPeer(t, p, "")
			old := r.legacy(token, "up", v2511, `{}`)
			before := len(p.all())
			r.loseEvidence()
			for _, d := range dispatched {
				for name, got := range map[string]reply{"modern": r.modern(token, d[0], d[1], d[2]), "legacy": old.request(d[0], "{"+d[2]+"}")} {
					if got.status != 200 || got.msg.code() != -32603 || got.msg.kind() != "evidence_unavailable" {
						t.Errorf("%s %s answered %d %s", name, d[0], got.status, got.body)
					}
				}
			}
			// Lists and denials are evidence too: without it nothing is answered.
			if got := r.list(token, "up"); got.msg.kind() != "evidence_unavailable" || strings.Contains(got.body, "echo") {
				t.Errorf("tools/list answered %s", got.body)
			}
			if got := r.call(token, "up", "nope", `{}`); got.msg.kind() != "evidence_unavailable" {
				t.Errorf("a denial that cannot be recorded answered %s", got.body)
			}
			if after := p.all(); len(after) != before {
				t.Errorf("without evidence %q reached the upstream", after[before:])
			}
		})
	}
}

func TestNoReleaseWithoutDurableOutcome(t *testing.T) {
	t.Parallel()
	const canary = "result-that-must-not-be-released"
	for _, era := range []string{v2026, v2511} {
		for _, form := range []string{"json", "stream"} {
			t.Run(era+" "+form, func(t *testing.T) {
				p := newPeer(t, era)
				r, token := governPeer(t, p, "")
				p.handle("tools/call", func(x *exchange) {
					if form == "stream" {
						x.sse()
					}
					r.loseEvidence()
					x.text(canary)
				})
				got := r.call(token, "up", "echo", `{}`)
				if got.msg.code() != -32603 || got.msg.kind() != "evidence_unavailable" || strings.Contains(got.body, canary) {
					t.Errorf("answered %d %s", got.status, got.body)
				}
				if n := len(p.got("tools/call")); n != 1 {
					t.Errorf("the upstream saw %d calls, want 1", n)
				}
			})
		}
	}
}

// What is not there, what was never approved and what is blocked answer with
// the same bytes, on every path.
func TestDeniedToolLooksLikeAbsentTool(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, "")
	p.list("tools/list", `"tools":[`+echoTool+`,{"name":"fresh","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}},{"name":"gone","inputSchema":{"type":"object"}}]`)
	if err := r.d.Proxy.Learn(t.Context(), "up"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.d.Admin.ChangeTool(t.Context(), operator, "up", "gone", registry.VerbBlock, "test"); err != nil {
		t.Fatal(err)
	}
	old := r.legacy(token, "up", v2511, `{}`)
	for _, args := range []string{`{}`, `{"text":"x"}`, `{"Text":"x"}`, `{"text":1,"TEXT":2}`} {
		modern, legacy := map[string]string{}, map[string]string{}
		for _, name := range []string{"absent", "fresh", "gone"} {
			got := r.call(token, "up", name, args)
			modern[got.body] = name
			if got.status != 200 || got.msg.code() != -32602 {
				t.Errorf("%s %s answered %d %s", name, args, got.status, got.body)
			}
			legacy[old.post(`{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"`+name+`","arguments":`+args+`}}`).body] = name
		}
		if len(modern) != 1 || len(legacy) != 1 {
			t.Errorf("with %s the answers differ: %v %v", args, modern, legacy)
		}
	}
	if n := len(p.got("tools/call")); n != 0 {
		t.Errorf("%d calls reached the upstream", n)
	}
}

// Without a token nobody learns which servers there are.
func TestUnknownServerLooksLikeAnyOther(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, _ := governed(t, u)
	answers := map[string]bool{}
	for _, server := range []string{"up", "nowhere"} {
		for _, bearer := range []string{"", "Bearer abc"} {
			h := modernHeaders("", "tools/list", "")
			if h.Del("Authorization"); bearer != "" {
				h.Set("Authorization", bearer)
			}
			got := post(t, r.url(server), h, modernBody("1", "tools/list", ""))
			if got.status != 401 {
				t.Errorf("%s answered %d", server, got.status)
			}
			answers[bearer+strings.ReplaceAll(got.body+got.header.Get("WWW-Authenticate"), "/"+server, "/SERVER")] = true
		}
	}
	if len(answers) != 2 {
		t.Errorf("the answers tell servers apart: %v", answers)
	}
}

func TestUnknownStateDenies(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := governed(t, u)
	for _, state := range []registry.ServerState{registry.ServerQuarantined, registry.ServerTriaged, registry.ServerBlocked} {
		var verb registry.Verb
		cur, _ := r.d.Admin.Current().View.Server("up")
		if verb = registry.ServerVerb(cur.State, state); verb == "" {
			t.Fatalf("no step from %s to %s", cur.State, state)
		}
		if _, err := r.d.Admin.ChangeServer(t.Context(), operator, "up", verb, "test"); err != nil {
			t.Fatal(err)
		}
		got := r.call(token, "up", "echo", `{}`)
		if got.msg.Result != nil && denied(t, got).Class != string(access.ClassServer) {
			t.Errorf("%s: %s", state, got.body)
		}
		if l := r.list(token, "up"); strings.Contains(l.body, `"echo"`) {
			t.Errorf("%s: listed %s", state, l.body)
		}
	}
	if u.count() != 0 {
		t.Errorf("%d calls reached a server that is not sanctioned", u.count())
	}
}

// A state this version does not know, written by another, denies and hides.
func TestStateOfAnotherVersionDenies(t *testing.T) {
	u := newUpstream(t)
	data := t.TempDir()
	r := rigAt(t, data, "127.0.0.1:0")
	addr := strings.TrimPrefix(r.d.AgentsURL, "http://") // tokens name it
	r.apply(botAndServer(u.URL+"/mcp", `["up/*"]`), "up")
	token := r.token("bot", "up")
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil {
		t.Fatalf("answered %s", got.body)
	}
	r.stop()
	before := u.count()
	for _, set := range [][2]string{{"approved", "floating"}, {"sanctioned", "levitating"}, {"active", "hovers"}} {
		restore := rewriteState(t, data, set[0], set[1])
		r := rigAt(t, data, addr)
		got := r.call(token, "up", "echo", `{}`)
		if got.status == 200 && got.msg.Result != nil {
			denied(t, got)
		} else if got.status != 401 && got.msg.code() == 0 {
			t.Errorf("%s: answered %d %s", set[1], got.status, got.body)
		}
		if l := r.list(token, "up"); strings.Contains(l.body, `"echo"`) {
			t.Errorf("%s: listed %s", set[1], l.body)
		}
		r.stop()
		restore()
	}
	if u.count() != before {
		t.Error("a call reached the upstream under an unknown state")
	}
}

func TestExpiredAgentIsRefused(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := governed(t, u)
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil || strings.Contains(got.body, "isError") {
		t.Fatalf("answered %s", got.body)
	}
	old := r.legacy(token, "up", v2511, `{}`)
	r.apply(strings.Replace(botAndServer(u.URL+"/mcp", `["up/*"]`), "riskTier: 1", "riskTier: 1\nexpires: "+time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly), 1))
	refusedAgent(t, r, token, old, u)
	if _, err := r.d.Admin.IssueDevelopmentToken(t.Context(), operator, tokenFor("bot", "up")); err == nil {
		t.Error("an expired agent got a token")
	}
}

func TestSuspendedAgentIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := governed(t, u)
	old := r.legacy(token, "up", v2511, `{}`)
	for range 3 { // the token is in the cache
		if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil || strings.Contains(got.body, "isError") {
			t.Fatalf("answered %s", got.body)
		}
	}
	if _, err := r.d.Admin.ChangeAgent(t.Context(), operator, "bot", registry.VerbSuspend, "test"); err != nil {
		t.Fatal(err)
	}
	refusedAgent(t, r, token, old, u)
	if _, err := r.d.Admin.ChangeAgent(t.Context(), operator, "bot", registry.VerbResume, "test"); err != nil {
		t.Fatal(err)
	}
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil || strings.Contains(got.body, "isError") {
		t.Errorf("after it was resumed: %d %s", got.status, got.body)
	}
}

// refusedAgent requires that nothing works any more with a token that did.
func refusedAgent(t *testing.T, r *rig, token string, old *oldClient, u *upstream) {
	t.Helper()
	before := u.count()
	for name, got := range map[string]reply{
		"call": r.call(token, "up", "echo", `{}`), "list": r.list(token, "up"),
		"legacy call": old.call("echo", `{}`), "legacy ping": old.request("ping", `{}`),
	} {
		if got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s answered %d %s", name, got.status, got.body)
		}
	}
	get := stream(t, http.MethodGet, r.url("up"), old.headers(), "")
	if get.status != 401 {
		t.Errorf("GET answered %d", get.status)
	}
	if u.count() != before {
		t.Error("a call of a refused agent reached the upstream")
	}
}

func tokenFor(agent, server string) admin.TokenRequest {
	return admin.TokenRequest{Agent: agent, Server: server}
}

// rewriteState changes a word in every row of a stopped daemon's store to one of
// the same length, which the store itself would refuse, and returns how to undo
// it. The schema's own words stand in single quotes.
func rewriteState(t *testing.T, data, word, other string) (restore func()) {
	t.Helper()
	file := filepath.Join(data, "rutile.db")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if wal, err := os.Stat(file + "-wal"); err == nil && wal.Size() > 0 {
		t.Fatal("the stopped store still has a write-ahead log")
	}
	after := regexp.MustCompile(`([^'])`+word+`([^'A-Z])`).ReplaceAll(before, []byte("${1}"+other+"${2}"))
	if len(other) != len(word) || bytes.Equal(before, after) {
		t.Fatalf("no row holds %q", word)
	}
	put := func(b []byte) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(after)
	return func() { put(before) }
}
