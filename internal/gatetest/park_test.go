package gatetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/audit"
	"rutile/internal/daemon"
	"rutile/internal/registry"
)

const allCaps = `{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{}}`

// asker makes a legacy peer's tools ask the client one request after the other
// and end with what came back.
type asker struct {
	p    *peer
	mu   sync.Mutex
	n    int
	wait map[string]chan string // by id of the request
	gone chan string            // calls that were cancelled: the raw id
}

func newAsker(p *peer, requests ...string) *asker {
	a := &asker{p: p, wait: map[string]chan string{}, gone: make(chan string, 64)}
	p.handle("", func(x *exchange) {
		var m struct{ ID string }
		p.mu.Lock()
		body := p.seen[len(p.seen)-1].body
		for _, s := range p.seen { // the one with this id: others may have come meanwhile
			if s.method == "" && s.verb == http.MethodPost && s.id == x.id {
				body = s.body
			}
		}
		p.mu.Unlock()
		_ = json.Unmarshal([]byte(body), &m)
		a.mu.Lock()
		w := a.wait[m.ID]
		a.mu.Unlock()
		if w != nil {
			w <- body
		}
		x.w.WriteHeader(http.StatusAccepted)
	})
	p.handle("notifications/cancelled", func(x *exchange) {
		var params struct{ RequestID json.RawMessage }
		_ = json.Unmarshal([]byte(x.params), &params)
		a.gone <- string(params.RequestID)
		x.w.WriteHeader(http.StatusAccepted)
	})
	p.handle("tools/call", func(x *exchange) {
		x.sse()
		said := ""
		for _, request := range requests {
			a.mu.Lock()
			a.n++
			id, w := fmt.Sprintf("server-%d", a.n), make(chan string, 1)
			a.wait[id] = w
			a.mu.Unlock()
			x.event(`{"jsonrpc":"2.0","id":"` + id + `",` + request + `}`)
			select {
			case answer := <-w:
				said += answer
			case <-x.r.Context().Done():
				return
			case <-time.After(patience):
				return
			}
		}
		if token := strings.Index(x.params, `"progressToken":`); token >= 0 {
			rest, _, _ := strings.Cut(x.params[token:], "}")
			rest, _, _ = strings.Cut(rest, ",")
			x.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{` + rest + `,"progress":1}}`)
		}
		x.event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"late"}}`)
		x.text("the client said " + said + " " + x.r.Header.Get("X-Key"))
	})
	return a
}

// input is an answer that asks for input.
type input struct {
	Type     string `json:"resultType"`
	Requests map[string]struct {
		Method string
		Params json.RawMessage
	} `json:"inputRequests"`
	State string `json:"requestState"`
}

// asked requires that the answer asks for input.
func asked(t *testing.T, got reply) input {
	t.Helper()
	var in input
	if err := json.Unmarshal(got.msg.Result, &in); err != nil || in.Type != "input_required" || in.State == "" {
		t.Fatalf("not asked for input: %d %s", got.status, got.body)
	}
	return in
}

// turn is one request of a modern client that can be asked.
type turn struct {
	r             *rig
	token, server string
	id            string
	tool, args    string
	caps, meta    string // meta: more members of _meta
	more          string // more members of params
}

func (u turn) body() string {
	return `{"jsonrpc":"2.0","id":` + u.id + `,"method":"tools/call","params":{"name":"` + u.tool + `","arguments":` + u.args + u.more +
		`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":` + u.caps + u.meta + `}}}`
}

func (u turn) send() reply {
	u.r.t.Helper()
	return post(u.r.t, u.r.url(u.server), modernHeaders(u.token, "tools/call", u.tool), u.body())
}

// answering is the retry that answers every request with answer.
func (u turn) answering(in input, answer string) turn {
	responses := map[string]json.RawMessage{}
	for k := range in.Requests {
		responses[k] = json.RawMessage(answer)
	}
	raw, _ := json.Marshal(responses)
	return u.with(string(raw), in.State)
}

func (u turn) with(responses, state string) turn {
	u.id += "1"
	u.more = `,"inputResponses":` + responses + `,"requestState":"` + state + `"`
	return u
}

func parkTime(d time.Duration) func(*daemon.Options) {
	return func(o *daemon.Options) { o.MCP.ParkTime = d }
}

const accept = `{"action":"accept","content":{"n":1.0}}`

// A call of a legacy server waits while a modern client is asked, and goes on
// with the client's next request: on its stream, under its id, with its token.
func TestParkedCallIsResumed(t *testing.T) {
	t.Parallel()
	for kind, tt := range map[string]struct{ request, answer, sent string }{
		"elicitation": {elicit, accept, accept}, "roots": {roots, `{"roots":[{"uri":"file:///w"}]}`, `{"roots":[{"uri":"file:///w"}]}`},
		"sampling": {sample, `{"resultType":"complete","role":"assistant","content":{"type":"text","text":"hm"},"model":"m"}`, `{"role":"assistant","content":{"type":"text","text":"hm"},"model":"m"}`},
		"url":      {`"method":"elicitation/create","params":{"mode":"url","message":"there","url":"https://a.example/x","elicitationId":"secret-id"}`, `{"action":"accept"}`, `{"action":"accept"}`},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, v2511)
			newAsker(p, tt.request)
			r, token := governPeer(t, p, askPolicy("elicitation")+askPolicy("roots")+askPolicy("sampling"))
			from := r.d.Evidence.Size()
			u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{"text":"a"}`, caps: allCaps, meta: `,"progressToken":"first"`}
			in := asked(t, u.send())
			if len(in.Requests) != 1 || strings.Contains(fmt.Sprint(in.Requests), "secret-id") {
				t.Errorf("asked %v", in.Requests)
			}
			for key, q := range in.Requests {
				if !strings.Contains(tt.request, q.Method) || strings.HasPrefix(key, "server") {
					t.Errorf("asked %s under %s", q.Method, key)
				}
			}
			u.meta = `,"progressToken":"second","io.modelcontextprotocol/logLevel":"info"`
			got := u.answering(in, tt.answer).send()
			if !strings.Contains(got.body, `"id":11`) || !strings.Contains(got.body, "the client said") || !strings.Contains(got.body, `"resultType":"complete"`) {
				t.Fatalf("ended with %d %s", got.status, got.body)
			}
			if !strings.Contains(got.body, `"progressToken":"second"`) || !strings.Contains(got.body, `"data":"late"`) {
				t.Errorf("the stream held %s", got.body)
			}
			answers := p.got("POST")
			if len(answers) != 1 || answers[0].body != `{"jsonrpc":"2.0","id":"server-1","result":`+tt.sent+`}` {
				t.Errorf("the server got %v", answers)
			}
			if n := len(p.got("tools/call")); n != 1 {
				t.Errorf("%d calls reached the server", n)
			}
			var states []string
			for _, l := range r.since(from) {
				states = append(states, l.Type+" "+l.Status)
			}
			if want := []string{"intent ", "outcome input_required", "intent ", "outcome ok"}; !slices.Equal(states, want) {
				t.Errorf("recorded %q, want %q", states, want)
			}
			if got := u.answering(in, tt.answer).send(); got.msg.code() != -32602 || len(p.got("POST")) != 1 {
				t.Errorf("the same answer again: %s", got.body)
			}
		})
	}
}

// A server that asks more than once is answered more than once, and not for
// ever; what it asks at once is asked at once.
func TestParkedCallAsksAgain(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	requests := slices.Repeat([]string{elicit}, 12)
	a := newAsker(p, requests...)
	r, token := governPeer(t, p, askPolicy("elicitation"))
	u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
	in := asked(t, u.send())
	seen := map[string]bool{}
	for round := 2; round <= 10; round++ {
		for key := range in.Requests {
			if seen[key] {
				t.Errorf("the key %s was used twice", key)
			}
			seen[key] = true
		}
		in = asked(t, u.answering(in, accept).send())
	}
	got := u.answering(in, accept).send()
	if !strings.Contains(got.body, "more than 10 times") || !strings.Contains(got.body, `"isError":true`) {
		t.Errorf("the eleventh round answered %s", got.body)
	}
	select {
	case <-a.gone:
	case <-time.After(patience):
		t.Error("the server is not told that the call is over")
	}
	// An answer that is missing is asked for again; one that is no answer is an
	// error that costs nothing.
	in = asked(t, u.send())
	again := asked(t, u.with(`{}`, in.State).send())
	if again.State == in.State || !maps.EqualFunc(again.Requests, in.Requests, func(a, b struct {
		Method string
		Params json.RawMessage
	}) bool {
		return a.Method == b.Method && string(a.Params) == string(b.Params)
	}) {
		t.Errorf("asked again: %v, first %v", again.Requests, in.Requests)
	}
	n := len(p.got("POST"))
	for name, answer := range map[string]string{
		"no action": `{"content":{}}`, "another action": `{"action":"yes"}`, "another case": `{"Action":"accept"}`, "a string": `"accept"`, "null": `null`,
		"no object": `{"action":"accept","content":[1]}`, "both cases": `{"action":"accept","ACTION":"decline"}`,
	} {
		if got := u.answering(again, answer).send(); got.msg.code() != -32602 || len(p.got("POST")) != n {
			t.Errorf("%s: answered %s", name, got.body)
		}
	}
	if got := asked(t, u.answering(again, accept).send()); len(got.Requests) != 1 {
		t.Errorf("after wrong answers the right one got %v", got)
	}
}

// What a parked call waits for may not come, or must not count any more.
func TestParkedCallEnds(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, opts ...func(*daemon.Options)) (*peer, *asker, *rig, turn, input) {
		p := newPeer(t, v2511)
		a := newAsker(p, elicit)
		r, token := governPeer(t, p, askPolicy("elicitation"), opts...)
		u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
		return p, a, r, u, asked(t, u.send())
	}
	cancelled := func(t *testing.T, a *asker) {
		t.Helper()
		select {
		case <-a.gone:
		case <-time.After(patience):
			t.Error("the server is not told that the call is over")
		}
	}
	outcomes := func(r *rig, want string) func() bool {
		return func() bool {
			l := r.leaves(0)
			return slices.ContainsFunc(l, func(l leaf) bool {
				return l.Type == "outcome" && (l.Status == want || l.Status == "abandoned" && strings.Contains(l.raw, `"ended.`+want+`"`))
			})
		}
	}
	t.Run("nobody answers", func(t *testing.T) {
		p, a, r, u, in := start(t, parkTime(300*time.Millisecond))
		cancelled(t, a)
		eventually(t, "a recorded timeout", outcomes(r, "timeout"))
		if got := u.answering(in, accept).send(); got.msg.code() != -32602 || len(p.got("POST")) != 0 {
			t.Errorf("too late: %s", got.body)
		}
	})
	t.Run("the agent is suspended", func(t *testing.T) {
		p, _, r, u, in := start(t)
		if _, err := r.d.Admin.ChangeAgent(t.Context(), operator, "bot", registry.VerbSuspend, "test"); err != nil {
			t.Fatal(err)
		}
		if got := u.answering(in, accept).send(); got.status == 200 && got.msg.Error == nil && !strings.Contains(got.body, "Denied") || len(p.got("POST")) != 0 {
			t.Errorf("answered %d %s", got.status, got.body)
		}
		if got := u.send(); strings.Contains(got.body, "input_required") {
			t.Errorf("answered %s", got.body)
		}
	})
	t.Run("the server is quarantined", func(t *testing.T) {
		p, a, r, u, in := start(t)
		if _, err := r.d.Admin.ChangeServer(t.Context(), operator, "up", registry.VerbQuarantine, "test"); err != nil {
			t.Fatal(err)
		}
		if got := denied(t, u.answering(in, accept).send()); got.Class != "server" || len(p.got("POST")) != 0 {
			t.Errorf("denied as %+v", got)
		}
		cancelled(t, a)
		eventually(t, "a recorded revocation", outcomes(r, "revoked"))
		if _, err := r.d.Admin.ChangeServer(t.Context(), operator, "up", registry.VerbApprove, "test"); err != nil {
			t.Fatal(err)
		}
		if got := u.answering(in, accept).send(); got.msg.code() != -32602 || len(p.got("POST")) != 0 {
			t.Errorf("approved again, the old state answered %s", got.body)
		}
	})
	t.Run("policy forbids the call", func(t *testing.T) {
		p, a, r, u, in := start(t)
		r.apply("kind: Policy\nid: no\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/echo\", resource);\n")
		denied(t, u.answering(in, accept).send())
		cancelled(t, a)
		if len(p.got("POST")) != 0 {
			t.Error("the answer reached the server")
		}
	})
	t.Run("the server ends the call", func(t *testing.T) {
		p, _, _, u, in := start(t)
		p.CloseClientConnections()
		got := u.answering(in, accept).send()
		if got.msg.kind() != "upstream_unavailable" {
			t.Errorf("answered %s", got.body)
		}
	})
	t.Run("the gateway restarts", func(t *testing.T) {
		p := newPeer(t, v2511)
		a := newAsker(p, elicit)
		data := t.TempDir()
		r := rigAt(t, data, "127.0.0.1:0")
		r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`)+askPolicy("elicitation"), "up")
		u := turn{r: r, token: r.token("bot", "up"), server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
		in := asked(t, u.send())
		r.stop()
		if len(a.gone) == 0 && len(p.got("DELETE")) == 0 {
			t.Error("the server is not told that the call is over")
		}
		if report, err := audit.Verify(filepath.Join(data, "evidence"), audit.VerifyOptions{Complete: true}); err != nil || len(report.Problems)+len(report.Lacking) != 0 {
			t.Errorf("the evidence does not verify: %v %+v", err, report)
		}
		u.r = rigAt(t, data, "127.0.0.1:0")
		u.token = u.r.token("bot", "up")
		if got := u.answering(in, accept).send(); got.msg.code() != -32602 || !strings.Contains(got.body, "restarted") {
			t.Errorf("after a restart: %s", got.body)
		}
		if !outcomes(u.r, "unknown")() {
			t.Error("how the call ended is not recorded")
		}
	})
	t.Run("the client goes away", func(t *testing.T) {
		p := newPeer(t, v2511)
		a := newAsker(p)
		p.handle("tools/call", func(x *exchange) { x.sse(); x.gone() })
		r, token := governPeer(t, p, askPolicy("elicitation"))
		u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
		s := stream(t, "POST", r.url("up"), modernHeaders(token, "tools/call", "echo"), u.body())
		eventually(t, "the call arrives", func() bool { return len(p.got("tools/call")) == 1 })
		s.cancel()
		cancelled(t, a)
		eventually(t, "a recorded cancellation", outcomes(r, "cancelled"))
	})
	t.Run("the client goes away with its retry", func(t *testing.T) {
		p := newPeer(t, v2511)
		a := newAsker(p, elicit)
		hold := make(chan bool)
		p.handle("", func(x *exchange) { // takes the answer and says nothing more
			x.w.WriteHeader(http.StatusAccepted)
			close(hold)
		})
		r, token := governPeer(t, p, askPolicy("elicitation"))
		u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
		in := asked(t, u.send())
		retry := u.answering(in, accept)
		cancel := startPost(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), retry.body())
		<-hold
		cancel()
		cancelled(t, a)
		eventually(t, "a recorded cancellation", outcomes(r, "cancelled"))
	})
}

// hangsUp is a client that closes its connection the moment it has been asked.
type hangsUp struct {
	*httptest.ResponseRecorder
	cancel func()
}

func (w hangsUp) Write(b []byte) (int, error) {
	n, err := w.ResponseRecorder.Write(b)
	if strings.Contains(w.Body.String(), "input_required") {
		w.cancel()
	}
	return n, err
}

// A client that closes its connection once it has the question cancels nothing:
// many make one connection for each request.
func TestParkedCallOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	newAsker(p, elicit)
	r, token := governPeer(t, p, askPolicy("elicitation"))
	u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, r.url("up"), strings.NewReader(u.body()))
	req.Header = modernHeaders(token, "tools/call", "echo")
	w := hangsUp{httptest.NewRecorder(), cancel}
	r.d.Proxy.ServeHTTP(w, req)
	_, event, _ := strings.Cut(w.Body.String(), "data: ")
	var got reply
	if err := json.Unmarshal([]byte(event), &got.msg); err != nil || ctx.Err() == nil {
		t.Fatalf("answered %s", w.Body)
	}
	if got := u.answering(asked(t, got), accept).send(); !strings.Contains(got.body, "the client said") {
		t.Errorf("the retry answered %s", got.body)
	}
}

// startPost sends a request that is not awaited and returns what cancels it.
func startPost(t *testing.T, url string, h http.Header, body string) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			return
		}
		req.Header = h
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	return cancel
}

// A principal holds eight calls waiting, no more, and takes nobody else's room.
func TestParkedCallsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	newAsker(p, elicit)
	r := newRig(t)
	r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`)+eveAgent+askPolicy("elicitation"), "up")
	u := turn{r: r, token: r.token("bot", "up"), server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
	var first input
	for i := range 8 {
		in := asked(t, u.send())
		if i == 0 {
			first = in
		}
	}
	got := u.send()
	if !strings.Contains(got.body, "too many calls wait") || !strings.Contains(got.body, `"isError":true`) {
		t.Errorf("the ninth answered %s", got.body)
	}
	if n := p.got("POST"); len(n) != 1 || !strings.Contains(n[0].body, `{"action":"decline"}`) {
		t.Errorf("the server was told %v", n)
	}
	other := u
	other.token = r.token("eve", "up")
	asked(t, other.send())
	if got := u.answering(first, accept).send(); !strings.Contains(got.body, "the client said") {
		t.Errorf("one of the eight answered %s", got.body)
	}
	asked(t, u.send())
}

// Over stdio nothing tells which call a request belongs to, so a process that
// may ask works on one call at a time; lists and other clients do not wait.
func TestAskingProcessTakesTurns(t *testing.T) {
	t.Parallel()
	r, token, _ := stdioRig(t, "legacy", "sanctioned", askPolicy("elicitation"))
	u := turn{r: r, token: token, server: "up", id: "1", tool: "do", args: do("ask", ""), caps: allCaps}
	in := asked(t, u.send())
	second := u
	second.id, second.args = "2", do("", "second")
	done := make(chan string, 1)
	go func() { done <- second.send().body }()
	if got := r.list(token, "up"); got.msg.Result == nil {
		t.Errorf("a list answered %s", got.body)
	}
	if got := r.call(token, "up", "do", do("", "not asked")); !strings.Contains(got.body, "not asked") {
		t.Errorf("a client that cannot be asked got %s", got.body)
	}
	select {
	case body := <-done:
		t.Errorf("the second call did not wait: %s", body)
	case <-time.After(100 * time.Millisecond):
	}
	holds(t, u.answering(in, accept).send().body, `answered {\"action\":\"accept\",\"content\":{\"n\":1.0}}`)
	select {
	case body := <-done:
		holds(t, body, "second")
	case <-time.After(patience):
		t.Error("the second call does not end")
	}
}
