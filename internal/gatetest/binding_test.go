package gatetest_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rutile/internal/credential"
	"rutile/internal/daemon"
)

// withCredential gives server "up" a credential in a header.
func withCredential(manifests, ref string) string {
	return strings.Replace(manifests, "\nstate:", "\ncredential: {ref: "+ref+", header: X-Key}\nstate:", 1)
}

func (r *rig) secret(id, value string) {
	r.t.Helper()
	if _, err := r.d.Admin.SetCredential(r.t.Context(), operator, credential.Secret{ID: id, MaxTier: 3}, []byte(value)); err != nil {
		r.t.Fatal(err)
	}
}

// A conversation that was opened before a server's entry changed gets nothing
// of the new entry: neither its credential nor its calls.
func TestMovedServerKeepsItsCredential(t *testing.T) {
	t.Parallel()
	const oldKey, newKey = "old-place-secret", "new-place-secret"
	before, after := newPeer(t, v2511), newPeer(t, v2511)
	before.streams, after.streams = true, true
	r := newRig(t)
	r.secret("old-key", oldKey)
	r.secret("new-key", newKey)
	r.apply(withCredential(botAndServer(before.URL+"/mcp", `["up/*"]`), "old-key"), "up")
	token := r.token("bot", "up")
	old, idle, open := r.legacy(token, "up", v2511, `{}`), r.legacy(token, "up", v2511, `{}`), r.legacy(token, "up", v2511, `{}`)
	if got := old.call("echo", `{}`); got.msg.Result == nil {
		t.Fatalf("answered %s", got.body)
	}
	s := stream(t, http.MethodGet, r.url("up"), open.headers(), "")
	r.apply(withCredential(botAndServer(after.URL+"/mcp", `["up/*"]`), "new-key"), "up")
	sent := len(before.got("tools/call"))

	if got := old.post(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`); got.status != 404 {
		t.Errorf("a notification was answered %d %s", got.status, got.body)
	}
	if got := old.call("echo", `{}`); got.status != 404 {
		t.Errorf("a call was answered %d %s", got.status, got.body)
	}
	if s := stream(t, http.MethodGet, r.url("up"), idle.headers(), ""); s.status != 404 {
		t.Errorf("GET answered %d", s.status)
	}
	s.rest() // an open stream ends
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil {
		t.Errorf("a modern client got %d %s", got.status, got.body)
	}
	if got := r.legacy(token, "up", v2511, `{}`).call("echo", `{}`); got.msg.Result == nil {
		t.Errorf("a new session got %d %s", got.status, got.body)
	}
	if n := len(before.got("tools/call")); n != sent {
		t.Errorf("%d calls went to where the server was", n-sent)
	}
	for _, s := range before.all() {
		if k := s.header.Get("X-Key"); k != "" && k != oldKey {
			t.Errorf("%s %s: the old place got %q", s.verb, s.method, k)
		}
	}
	for _, s := range after.all() {
		if k := s.header.Get("X-Key"); k != newKey && s.verb != http.MethodDelete {
			t.Errorf("%s %s: the new place got %q", s.verb, s.method, k)
		}
	}
}

// The same in a session of the aggregate, which outlives the change: its next
// call goes where the server is, and its stream comes from there.
func TestMovedServerLeavesTheAggregate(t *testing.T) {
	t.Parallel()
	const oldKey, newKey = "old-place-secret", "new-place-secret"
	before, after := newPeer(t, v2511), newPeer(t, v2511)
	before.streams, after.streams = true, true
	r := newRig(t)
	r.secret("old-key", oldKey)
	r.secret("new-key", newKey)
	r.apply(withCredential(botAndServer(before.URL+"/mcp", `["up/*"]`), "old-key"), "up")
	c := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
	if got := c.call("up__echo", `{}`); got.msg.Result == nil {
		t.Fatalf("answered %s", got.body)
	}
	stream(t, http.MethodGet, r.all(), c.headers(), "")
	// Other streams of the gateway's own may come and go meanwhile.
	followed := func(p *peer, session string) bool {
		return slices.ContainsFunc(p.got(http.MethodGet), func(s seen) bool { return s.session == session })
	}
	was := before.last("tools/call").session
	eventually(t, "the server's stream is followed", func() bool { return followed(before, was) })
	r.apply(withCredential(botAndServer(after.URL+"/mcp", `["up/*"]`), "new-key"), "up")
	eventually(t, "the stream from where the server was ends", func() bool {
		before.mu.Lock()
		defer before.mu.Unlock()
		return before.ended[was]
	})
	if got := c.call("up__echo", `{}`); got.msg.Result == nil || len(after.got("tools/call")) != 1 {
		t.Fatalf("the next call answered %d %s", got.status, got.body)
	}
	eventually(t, "the server's stream is followed where it is", func() bool { return followed(after, after.last("tools/call").session) })
	for _, s := range before.all() {
		if strings.Contains(s.header.Get("X-Key"), newKey) {
			t.Errorf("%s %s: the old place got the new credential", s.verb, s.method)
		}
	}
}

// What a call says to its server when it is given up carries the credential too,
// although the call and its lease have ended.
func TestCancellationCarriesTheCredential(t *testing.T) {
	t.Parallel()
	const key = "cancelling-secret"
	p, r := newPeer(t, v2511), newRig(t)
	r.secret("key", key)
	r.apply(withCredential(botAndServer(p.URL+"/mcp", `["up/*"]`), "key"), "up")
	c := r.legacy(r.token("bot", "up"), "up", v2511, `{}`)
	reached := make(chan bool, 1)
	p.handle("tools/call", func(x *exchange) { reached <- true; x.gone() })
	for i := range 20 {
		id := fmt.Sprint(100 + i)
		answered := make(chan reply, 1)
		go func() { answered <- c.post(legacyProgressing(id)) }()
		<-reached
		c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`)
		<-answered
	}
	eventually(t, "every cancellation arrived", func() bool { return len(p.got("notifications/cancelled")) == 20 })
	for _, s := range p.got("notifications/cancelled") {
		if s.header.Get("X-Key") != key {
			t.Errorf("a cancellation came with %v", s.header)
		}
	}
}

// A process keeps the credential it was started with. After a rotation no call
// goes to it, and nothing it still says shows what it holds.
func TestRotatedCredentialEndsItsProcesses(t *testing.T) {
	t.Parallel()
	const first, second = "first-key-canary", "second-key-canary"
	for _, part := range []string{"modern", "legacy"} {
		t.Run(part, func(t *testing.T) {
			r := newRig(t)
			notes := filepath.Join(t.TempDir(), "notes")
			r.secret("key", first)
			manifests := strings.Replace(stdioManifest(part, notes, "sanctioned"), "\nstate:", "\ncredential: {ref: key, env: GATETEST_KEY}\nstate:", 1)
			r.apply(manifests, "up")
			token := r.token("bot", "up")
			said := []string{r.call(token, "up", "do", do("key", "before")).body}
			var old *oldClient
			if part == "legacy" {
				old = r.legacy(token, "up", v2511, `{}`)
				said = append(said, old.call("do", do("key", "before")).body)
			}
			running := make(chan string, 1)
			go func() { running <- r.call(token, "up", "do", do("key", "slow")).body }()
			eventually(t, "a call runs", func() bool { return strings.Contains(readNotes(t, notes), `"slow"`) })
			if _, err := r.d.Admin.RotateCredential(t.Context(), operator, "key", []byte(second)); err != nil {
				t.Fatal(err)
			}
			after := r.call(token, "up", "do", do("key", "after")).body
			if old != nil {
				if got := old.call("do", do("key", "never")); got.msg.kind() != "upstream_unavailable" {
					t.Errorf("a session with the old credential answered %s", got.body)
				}
				if got := old.call("do", do("key", "never")); got.status != 404 {
					t.Errorf("and then %d %s", got.status, got.body)
				}
			}
			said = append(said, after, <-running)
			for _, body := range said {
				if strings.Contains(body, first) || strings.Contains(body, second) || !strings.Contains(body, "removed") {
					t.Errorf("answered %s", body)
				}
			}
			got := readNotes(t, notes)
			if !strings.Contains(got, "key after "+second) || !strings.Contains(got, "key before "+first) || strings.Contains(got, "key never") {
				t.Errorf("the processes noted %s", got)
			}
			eventually(t, "the old process ended", func() bool { return strings.Contains(readNotes(t, notes), "end ") })
			noneHolds(t, []string{r.logs.String()}, first)
			noneHolds(t, []string{r.logs.String()}, second)
		})
	}
}

// A call that waited for its client while its server's credential was replaced,
// or its server moved, does not go on: it is of what was.
func TestParkedCallOfAnEarlierEntryEnds(t *testing.T) {
	t.Parallel()
	const first, second = "first-parked-canary", "second-parked-canary"
	for name, tt := range map[string]struct {
		stdio, moves bool
	}{"http rotated": {}, "http moved": {moves: true}, "stdio rotated": {stdio: true}, "not changed": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, other, r := newPeer(t, v2511), newPeer(t, v2511), newRig(t)
			newAsker(p, elicit)
			r.secret("key", first)
			r.secret("other", second)
			manifests := withCredential(botAndServer(p.URL+"/mcp", `["up/*"]`), "key")
			u := turn{r: r, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
			if tt.stdio {
				manifests = strings.Replace(stdioManifest("legacy", filepath.Join(t.TempDir(), "notes"), "sanctioned"), "\nstate:", "\ncredential: {ref: key, env: GATETEST_KEY}\nstate:", 1)
				u.tool, u.args = "do", do("ask", "")
			}
			r.apply(manifests+askPolicy("elicitation"), "up")
			u.token = r.token("bot", "up")
			in := asked(t, u.send())
			switch {
			case name == "not changed":
			case tt.moves:
				r.apply(withCredential(botAndServer(other.URL+"/mcp", `["up/*"]`), "other"))
			default:
				if _, err := r.d.Admin.RotateCredential(t.Context(), operator, "key", []byte(second)); err != nil {
					t.Fatal(err)
				}
			}
			got := u.answering(in, accept).send()
			// Whether the retry or whoever ends what was comes first is open.
			if (got.msg.Result != nil) != (name == "not changed") || got.msg.Result == nil && got.msg.kind() != "upstream_unavailable" && got.msg.code() != -32602 {
				t.Errorf("answered %d %s", got.status, got.body)
			}
			if strings.Contains(got.body, first) || strings.Contains(got.body, second) {
				t.Errorf("the client was shown a credential: %s", got.body)
			}
			for _, s := range p.all() {
				if strings.Contains(s.header.Get("X-Key"), second) && tt.moves {
					t.Errorf("%s %s: the old place got the new credential", s.verb, s.method)
				}
			}
			if got := u.answering(in, accept).send(); got.msg.code() != -32602 {
				t.Errorf("and then %d %s", got.status, got.body)
			}
		})
	}
}

// What a process says besides its answers, on either output, shows its
// credential to nobody, and neither do its arguments or what is known of it.
func TestProcessShowsItsCredentialToNobody(t *testing.T) {
	t.Parallel()
	const secret = "process-secret-canary-4711" // nothing in it is escaped anywhere
	for _, part := range []string{"modern", "legacy"} {
		t.Run(part, func(t *testing.T) {
			data := t.TempDir()
			r := startRig(t, nil, func(c *daemon.Config) { c.Data = data })
			notes := filepath.Join(t.TempDir(), "notes")
			r.secret("key", secret)
			r.apply(strings.Replace(stdioManifest(part, notes, "sanctioned"), "\nstate:", "\ncredential: {ref: key, env: GATETEST_KEY}\nstate:", 1), "up")
			token := r.token("bot", "up")
			said := []string{r.call(token, "up", "do", do("leak", "")).body, r.call(token, "up", "do", do("who", "")).body}
			if !strings.Contains(said[0], "holds [credential removed]") || !strings.Contains(said[1], "GATETEST_KEY=") {
				t.Fatalf("answered %s", said)
			}
			if part == "legacy" {
				old := r.legacy(token, "up", v2511, `{"elicitation":{}}`)
				said = append(said, old.call("do", do("leak", "")).body)
			}
			if got := readNotes(t, notes); strings.Contains(got[:strings.Index(got, "\n")], secret) {
				t.Errorf("started as %s", got)
			}
			eventually(t, "what it said was read", func() bool { return strings.Contains(r.logs.String(), "cannot use [credential removed]") })
			for _, s := range r.leaves(0) {
				said = append(said, s.raw)
			}
			said = append(said, httpGet(t, r.d.OperatorsURL+"/metrics"), processes(t))
			r.stop()
			noneHolds(t, append(append(said, r.logs.String()), files(t, data)...), secret)
		})
	}
}

// processes are the command lines of this process and of all it has started,
// and its own environment.
func processes(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/self/environ"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			raw, _ := os.ReadFile(f) // one of another user, or that ended
			out.Write(raw)
		}
	}
	return out.String()
}

func readNotes(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
