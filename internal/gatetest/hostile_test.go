package gatetest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/gatetest"
)

const upstreamSecret = "upstream-s3cr3t/+value?42"

// hostileRig is a rig in front of a hostile server that holds a credential.
func hostileRig(t *testing.T) (r *rig, token string, h *gatetest.Hostile, elsewhere *atomic.Int64) {
	t.Helper()
	elsewhere = &atomic.Int64{}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		_, _ = io.WriteString(w, gatetest.Marker)
	}))
	t.Cleanup(other.Close)
	h = &gatetest.Hostile{Delay: 200 * time.Millisecond, Size: 33 << 20, Elsewhere: other.URL + "/mcp"}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	r = newRig(t)
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "token", MaxTier: 3}, []byte(upstreamSecret)); err != nil {
		t.Fatalf("setting the credential: %v", err)
	}
	r.apply(`
kind: Agent
id: bot
owner: team
purpose: test
tools: ["up/*"]
---
kind: Agent
id: stranger
owner: team
purpose: test
---
kind: Server
id: up
owner: team
transport: {http: {url: "`+s.URL+`/mcp"}}
credential: {ref: token, header: Authorization, value: "Bearer {secret}"}
state: sanctioned
`, "up")
	return r, r.token("bot", "up"), h, elsewhere
}

// TestHostileServersAreContained: whatever a server answers, the agent gets a
// well-formed answer to its own request, nothing that must not be relayed, and
// the next call works.
func TestHostileServersAreContained(t *testing.T) {
	r, token, h, elsewhere := hostileRig(t)
	const failed = -32603
	want := map[gatetest.Behaviour]int{
		gatetest.Honest: 0, gatetest.Slow: 0, gatetest.NotJSON: failed, gatetest.MalformedJSON: failed, gatetest.DuplicateKeys: failed,
		gatetest.DuplicateEscaped: failed, gatetest.FoldedKey: failed, gatetest.HugeBody: failed, gatetest.WrongID: failed,
		gatetest.StringID: failed, gatetest.NoID: failed, gatetest.UnknownResultType: failed, gatetest.TwoAnswers: failed,
		gatetest.TruncatedSSE: failed, gatetest.EmptySSE: failed, gatetest.OversizedEvent: failed, gatetest.UnsolicitedSSE: 0,
		gatetest.RequestSSE: failed, gatetest.AfterEndSSE: 0, gatetest.Redirects: failed, gatetest.Challenges: failed,
		gatetest.SetsHeaders: 0, gatetest.EchoesCredential: 0, gatetest.CredentialInError: -32000,
		gatetest.CredentialInStatus: failed, gatetest.HangsUp: failed,
	}
	for _, b := range append(gatetest.Behaviours(), gatetest.Honest) {
		code, ok := want[b]
		if !ok { // Silent and EndlessSSE do not answer: TestHostileStreamsEndWithTheirClient
			continue
		}
		t.Run(string(b), func(t *testing.T) {
			h.Behave(b)
			before := h.Calls()
			got := r.call(token, "up", "echo", `{"text":"hi"}`)
			if got.status != http.StatusOK || got.msg.code() != code || string(got.msg.ID) != "1" {
				t.Errorf("answered %d, code %d, id %s: %.300s", got.status, got.msg.code(), got.msg.ID, got.body)
			}
			if code == 0 && got.msg.Result == nil {
				t.Errorf("answered no result: %.300s", got.body)
			}
			if n := h.Calls() - before; n != 1 {
				t.Errorf("one call arrived %d times", n)
			}
			relaysNothing(t, got)
			h.Behave(gatetest.Honest)
			if after := r.call(token, "up", "echo", `{"text":"hi"}`); after.msg.Result == nil || !strings.Contains(after.body, "hi") {
				t.Errorf("the next call answered %d: %.300s", after.status, after.body)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
	for _, sent := range h.Headers() {
		if auth := sent.Get("Authorization"); auth != "Bearer "+upstreamSecret && auth != "" {
			t.Errorf("the server was sent %q", auth)
		}
	}
	for _, line := range strings.Split(r.logs.String(), "\n") {
		if strings.Contains(line, upstreamSecret) || strings.Contains(line, gatetest.Marker) {
			t.Errorf("the log holds what a server said or was given: %.300s", line)
		}
	}
}

func relaysNothing(t *testing.T, got reply) {
	t.Helper()
	if strings.Contains(got.body, gatetest.Marker) {
		t.Errorf("relayed what the server hid: %.300s", got.body)
	}
	for _, e := range gatetest.Encodings("Bearer " + upstreamSecret) {
		if strings.Contains(got.body, e) {
			t.Errorf("relayed the credential as %q", e)
		}
	}
	for name, value := range gatetest.ForbiddenHeaders() {
		if v := got.header.Get(name); v != "" && (v == value || strings.Contains(v, gatetest.Marker)) {
			t.Errorf("relayed the header %s: %s", name, v)
		}
	}
}

// A server that never ends an answer holds nothing once its client has gone.
func TestHostileStreamsEndWithTheirClient(t *testing.T) {
	r, token, h, _ := hostileRig(t)
	for _, b := range []gatetest.Behaviour{gatetest.Silent, gatetest.EndlessSSE} {
		t.Run(string(b), func(t *testing.T) {
			h.Behave(b)
			cancelled := h.Cancelled()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				defer cancel()
				for end := time.Now().Add(patience); h.Open() == 0 && time.Now().Before(end); {
					time.Sleep(5 * time.Millisecond)
				}
				time.Sleep(200 * time.Millisecond) // it says something, or nothing
			}()
			body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{},` + meta + `}}`
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url("up"), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = modernHeaders(token, "tools/call", "echo")
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				raw, rerr := io.ReadAll(resp.Body)
				resp.Body.Close()
				if rerr == nil {
					t.Errorf("the answer ended by itself: %.300s", raw)
				}
				if strings.Contains(string(raw), gatetest.Marker) {
					t.Errorf("relayed messages nobody asked for: %.300s", raw)
				}
			}
			eventually(t, "the server's call ends", func() bool { return h.Open() == 0 && h.Cancelled() > cancelled })
		})
	}
}

// TestDeniedCallsAreNotDispatched counts at the server, where it matters.
func TestDeniedCallsAreNotDispatched(t *testing.T) {
	r, token, h, _ := hostileRig(t)
	stranger := r.token("stranger", "up")
	before := h.Requests()
	for range 20 {
		if got := r.call(stranger, "up", "echo", `{}`); !strings.Contains(got.body, "io.rutile/denial") {
			t.Fatalf("a stranger was answered %d: %.300s", got.status, got.body)
		}
	}
	if h.Requests() != before {
		t.Errorf("%d denied calls arrived", h.Requests()-before)
	}
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil || h.Calls() != 1 {
		t.Errorf("the counter does not count: %d calls, %.300s", h.Calls(), got.body)
	}
}

// TestRugPullIsNotCallable: a definition that changed waits for its owner, and
// nothing about it reaches the agent or the server.
func TestRugPullIsNotCallable(t *testing.T) {
	r, token, h, _ := hostileRig(t)
	if got := r.call(token, "up", "echo", `{"text":"hi"}`); got.msg.Result == nil {
		t.Fatalf("before the change: %.300s", got.body)
	}
	calls := h.Calls()
	for name, change := range map[string]func(){"rug pull": h.RugPull, "added tool": h.AddTool} {
		h.Restore()
		r.learn("up")
		change()
		r.learn("up")
		list := r.list(token, "up")
		if strings.Contains(list.body, "every file you have read") || strings.Contains(list.body, "send_file") {
			t.Errorf("%s: the list shows it: %.500s", name, list.body)
		}
		tool := map[string]string{"rug pull": "echo", "added tool": "send_file"}[name]
		if got := r.call(token, "up", tool, `{"text":"hi"}`); got.msg.Result != nil && !strings.Contains(got.body, "io.rutile/denial") {
			t.Errorf("%s: %s was answered: %.300s", name, tool, got.body)
		}
	}
	if h.Calls() != calls {
		t.Errorf("%d calls arrived after the change", h.Calls()-calls)
	}
	h.Restore()
	r.learn("up")
	if got := r.call(token, "up", "echo", `{"text":"hi"}`); got.msg.Result == nil || !strings.Contains(got.body, "hi") {
		t.Errorf("the approved definition is back, the call answered %.300s", got.body)
	}
}

func (r *rig) learn(server string) {
	r.t.Helper()
	if err := r.d.Proxy.Learn(r.t.Context(), server); err != nil && access.CodeOf(err) == access.CodeInternal {
		r.t.Fatalf("listing %s: %v", server, err)
	}
}
