package gatetest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// gathered is an aggregate over a legacy server, a modern one and one of both
// eras.
func gathered(t *testing.T, more string) (r *rig, token string, old, modern, both *peer) {
	t.Helper()
	old, modern, both = newPeer(t, v2511), newPeer(t, v2026), newPeer(t, v2026, v2511)
	r = newRig(t)
	token = aggregate(t, r, map[string]string{"old": old.URL, "modern": modern.URL, "both": both.URL}, more)
	return r, token, old, modern, both
}

// A session of the aggregate asks no server to begin with and opens each where
// it is first used, with the client's own capabilities; its end ends them all.
func TestAggregateSessionOpensServersLazily(t *testing.T) {
	t.Parallel()
	r, token, old, modern, both := gathered(t, strings.ReplaceAll(askPolicy("roots"), "up/", "old/"))
	before := len(old.got("initialize")) + len(both.got("initialize"))
	c := r.legacyAll(token, v2506, `{"roots":{},"sampling":{}}`)
	var init struct {
		ProtocolVersion string
		ServerInfo      struct{ Name string }
		Capabilities    map[string]any
	}
	if err := json.Unmarshal(c.init.Result, &init); err != nil || init.ProtocolVersion != v2506 || init.ServerInfo.Name != "rutile" || init.Capabilities["tools"] == nil {
		t.Errorf("initialized with %s", c.init.Result)
	}
	if got := names(t, c.request("tools/list", `{}`), "tools"); fmt.Sprint(got) != "[both__echo modern__echo old__echo]" {
		t.Errorf("listed %v", got)
	}
	if n := len(old.got("initialize")) + len(both.got("initialize")); n != before {
		t.Errorf("%d servers were initialized for an initialize and a list", n-before)
	}
	for _, name := range []string{"old__echo", "both__echo", "modern__echo", "old__echo"} {
		if got := c.call(name, `{"text":"x"}`); got.msg.Result == nil || !strings.Contains(got.body, `{\"text\":\"x\"}`) || strings.Contains(got.body, "resultType") {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	}
	inits := old.got("initialize")
	if last := inits[len(inits)-1]; !strings.Contains(last.params, `"roots"`) || strings.Contains(last.params, "sampling") || !strings.Contains(last.params, v2506) || !strings.Contains(last.params, `"name":"old"`) {
		t.Errorf("the server was told %s", last.params)
	}
	if n := len(old.got("initialize")) + len(both.got("initialize")); n != before+2 {
		t.Errorf("%d sessions were opened, want 2", n-before)
	}
	calls := old.got("tools/call")
	if calls[0].session == "" || calls[0].session != calls[1].session {
		t.Errorf("two calls used the sessions %q and %q", calls[0].session, calls[1].session)
	}
	if got := modern.last("tools/call").params; !strings.Contains(got, v2026) || !strings.Contains(got, `"name":"old"`) {
		t.Errorf("the modern server was sent %s", got)
	}
	// Another session is another, also of the same principal.
	other := r.legacyAll(token, v2506, `{}`)
	if other.call("old__echo", `{}`); old.last("tools/call").session == calls[0].session {
		t.Error("two sessions of the aggregate share one upstream")
	}
	open := old.open()
	resp := stream(t, "DELETE", r.all(), c.headers(), "")
	if resp.status != 204 {
		t.Errorf("the end was answered %d", resp.status)
	}
	eventually(t, "the server's session ends with it", func() bool { return old.open() == open-1 })
	if got := c.call("old__echo", `{}`); got.status != 404 {
		t.Errorf("a session that ended answered %d", got.status)
	}
}

// A server that lost its session gets another at the next call; the client's
// own session goes on.
func TestAggregateSessionSurvivesAServersRestart(t *testing.T) {
	t.Parallel()
	r, token, old, _, _ := gathered(t, "")
	c := r.legacyAll(token, v2511, `{}`)
	for range 3 {
		got := c.call("old__echo", `{}`)
		if got.msg.Result == nil { // one call may learn of it
			got = c.call("old__echo", `{}`)
		}
		if got.msg.Result == nil || got.status != 200 {
			t.Errorf("after a restart: %d %s", got.status, got.body)
		}
		old.forget()
	}
}

// What servers ask inside calls reaches the client under ids that do not meet,
// and each answer goes back to the server that asked.
func TestAggregateSessionCarriesServerRequests(t *testing.T) {
	t.Parallel()
	var policies strings.Builder
	for _, id := range []string{"old", "both"} {
		policies.WriteString(strings.NewReplacer("up/", id+"/", "ask-", "ask-"+id+"-").Replace(askPolicy("elicitation")))
	}
	r, token, old, _, both := gathered(t, policies.String())
	askUpstream(old, elicit)
	askUpstream(both, elicit)
	c := r.legacyAll(token, v2511, `{"elicitation":{}}`)
	stranger := r.legacyAll(token, v2511, `{"elicitation":{}}`)
	ids := map[string]string{}
	streams := map[string]*streamed{}
	for i, name := range []string{"old", "both"} {
		s := stream(t, "POST", r.all(), c.headers(), fmt.Sprintf(`{"jsonrpc":"2.0","id":"call-%d","method":"tools/call","params":{"name":"%s__echo","arguments":{}}}`, i, name))
		var m struct{ ID json.RawMessage }
		if err := json.Unmarshal([]byte(s.next()), &m); err != nil || m.ID == nil {
			t.Fatalf("%s asked %v", name, err)
		}
		ids[name], streams[name] = string(m.ID), s
	}
	if ids["old"] == ids["both"] {
		t.Fatalf("two servers ask under the id %s", ids["old"])
	}
	for name, id := range ids {
		answer := `{"jsonrpc":"2.0","id":` + id + `,"result":{"action":"accept","content":{"from":"` + name + `"}}}`
		if got := stranger.post(answer); got.status != 400 {
			t.Errorf("another session's answer: %d", got.status)
		}
		if got := c.post(answer); got.status != 202 {
			t.Errorf("the answer was answered %d %s", got.status, got.body)
		}
		if end := streams[name].rest(); len(end) != 1 || !strings.Contains(end[0], `\"from\":\"`+name+`\"`) || !strings.Contains(end[0], `"id":"call-`) {
			t.Errorf("%s: the call ended with %q", name, end)
		}
	}
}

// One id is one request in the whole session, and a cancellation finds it.
func TestAggregateSessionIDs(t *testing.T) {
	t.Parallel()
	r, token, old, modern, _ := gathered(t, "")
	gone := make(chan bool, 2)
	wait := func(x *exchange) { gone <- x.gone() }
	old.handle("tools/call", wait)
	modern.handle("tools/call", wait)
	c := r.legacyAll(token, v2511, `{}`)
	for _, name := range []string{"old", "modern"} {
		before := len(old.got("tools/call")) + len(modern.got("tools/call"))
		answered := make(chan reply, 1)
		go func() {
			answered <- post(t, r.all(), c.headers(), `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"`+name+`__echo","arguments":{}}}`)
		}()
		eventually(t, "the call runs", func() bool { return len(old.got("tools/call"))+len(modern.got("tools/call")) > before })
		if got := c.post(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"both__echo","arguments":{}}}`); got.status != 400 || got.msg.code() != -32600 {
			t.Errorf("the same id at another server: %d %s", got.status, got.body)
		}
		if got := c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"7"}}`); got.status != 202 {
			t.Errorf("a cancellation was answered %d", got.status)
		}
		select {
		case <-answered:
			t.Error("an id of another type cancelled the call")
		case <-time.After(50 * time.Millisecond):
		}
		c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)
		select {
		case <-answered:
		case <-time.After(patience):
			t.Fatalf("%s: the cancelled call does not end", name)
		}
	}
	if n := len(old.got("notifications/cancelled")); n != 1 {
		t.Errorf("the legacy server was told %d times", n)
	}
}

// Progress and log messages of a server reach the call they belong to, under the
// client's token; the log level goes to every server in use, and to those used
// later.
func TestAggregateSessionProgressAndLogs(t *testing.T) {
	t.Parallel()
	r, token, old, modern, both := gathered(t, "")
	for _, p := range []*peer{old, modern, both} {
		p.handle("tools/call", func(x *exchange) {
			var params struct {
				Meta map[string]json.RawMessage `json:"_meta"`
			}
			_ = json.Unmarshal([]byte(x.params), &params) // scripted below
			x.sse()
			x.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + string(params.Meta["progressToken"]) + `,"progress":1}}`)
			x.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"stolen","progress":2}}`)
			x.event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"d"}}`)
			x.event(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
			x.text("done")
		})
	}
	c := r.legacyAll(token, v2511, `{}`)
	use := func(name string) {
		t.Helper()
		for _, tok := range []string{`"t"`, `5`} {
			got := post(t, r.all(), c.headers(), `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"`+name+`__echo","arguments":{},"_meta":{"progressToken":`+tok+`}}}`)
			if !strings.Contains(got.body, `"progressToken":`+tok+`,`) || strings.Contains(got.body, "stolen") || !strings.Contains(got.body, `"data":"d"`) || strings.Contains(got.body, "list_changed") || !strings.Contains(got.body, "done") {
				t.Errorf("%s: the client saw %s", name, got.body)
			}
		}
	}
	use("old")
	if got := c.request("logging/setLevel", `{"level":"loud"}`); got.msg.code() != -32602 {
		t.Errorf("a level nobody knows: %s", got.body)
	}
	if got := c.request("logging/setLevel", `{"level":"warning"}`); got.msg.Result == nil {
		t.Errorf("setLevel answered %s", got.body)
	}
	eventually(t, "the open server is told", func() bool { return len(old.got("logging/setLevel")) == 1 })
	use("both")
	if got := both.got("logging/setLevel"); len(got) != 1 || !strings.Contains(got[0].params, "warning") {
		t.Errorf("a server used later was told %v", got)
	}
	use("modern")
	if got := modern.last("tools/call").params; !strings.Contains(got, `"io.modelcontextprotocol/logLevel":"warning"`) {
		t.Errorf("the modern server was told %s", got)
	}
}

// A client of 2025-03-26 may send batches, each part to another server.
func TestAggregateSessionBatch(t *testing.T) {
	t.Parallel()
	r, token, old, modern, _ := gathered(t, "")
	c := r.legacyAll(token, v2503, `{}`)
	got := c.post(`[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"old__echo","arguments":{"n":1}}},` +
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"modern__echo","arguments":{"n":2}}},` +
		`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"old__absent","arguments":{}}},` +
		`{"jsonrpc":"2.0","id":4,"method":"tools/list"}]`)
	var answers []rpcMessage
	if err := json.Unmarshal([]byte(got.body), &answers); err != nil || len(answers) != 4 {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	if answers[0].Result == nil || answers[1].Result == nil || answers[2].code() != -32602 || !strings.Contains(string(answers[3].Result), "both__echo") {
		t.Errorf("answered %s", got.body)
	}
	if len(old.got("tools/call")) != 1 || len(modern.got("tools/call")) != 1 {
		t.Error("the parts did not reach their servers")
	}
}

// Somebody else's session looks like none, here too.
func TestAggregateSessionIsThePrincipals(t *testing.T) {
	t.Parallel()
	r, token, _, _, _ := gathered(t, "---\nkind: Agent\nid: eve\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"*/*\"]\n")
	c := r.legacyAll(token, v2511, `{}`)
	at := r.legacy(r.token("bot", "old"), "old", v2511, `{}`)
	for name, h := range map[string]*oldClient{
		"another agent":               {t: t, r: r, token: r.token("eve", "*"), version: v2511, session: c.session},
		"a server's session":          {t: t, r: r, token: token, version: v2511, session: at.session},
		"the aggregate's at a server": {t: t, r: r, token: r.token("bot", "old"), server: "old", version: v2511, session: c.session},
	} {
		if got := h.request("tools/list", `{}`); got.status != 404 {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	}
}

// An answer that comes when its call is over is taken and dropped: nothing the
// client did is wrong. Only once, and only from the session that was asked.
func TestLateAnswersAreDropped(t *testing.T) {
	t.Parallel()
	r, token, old, _, _ := gathered(t, strings.ReplaceAll(askPolicy("roots"), "up/", "old/"))
	old.handle("tools/call", func(x *exchange) {
		x.sse()
		x.event(`{"jsonrpc":"2.0","id":"server-7",` + roots + `}`)
		x.text("done")
	})
	for name, c := range map[string]*oldClient{"aggregate": r.legacyAll(token, v2511, `{"roots":{}}`), "server": r.legacy(r.token("bot", "old"), "old", v2511, `{"roots":{}}`)} {
		s := stream(t, "POST", r.url(c.server), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+map[string]string{"": "old__"}[c.server]+`echo","arguments":{}}}`)
		events := s.rest()
		var m struct{ ID json.RawMessage }
		if len(events) != 2 || json.Unmarshal([]byte(events[0]), &m) != nil || m.ID == nil {
			t.Fatalf("%s: the call said %q", name, events)
		}
		answer := `{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{"roots":[]}}`
		before := len(old.got("POST"))
		for i, want := range []int{202, 400} {
			if got := c.post(answer); got.status != want {
				t.Errorf("%s: answer %d was answered %d", name, i+1, got.status)
			}
		}
		if n := len(old.got("POST")) - before; n != 0 {
			t.Errorf("%s: a late answer reached the server", name)
		}
	}
}

// Resources are subscribed to at their server and updates come on the session's
// one stream, under the aggregate's URIs; one used after the stream was opened
// joins it.
func TestAggregateSessionSubscribesToResources(t *testing.T) {
	t.Parallel()
	a, b := newPeer(t, v2511), newPeer(t, v2511)
	a.streams, b.streams = true, true
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"a": a.URL, "b": b.URL}, "")
	c := r.legacyAll(token, v2511, `{}`)
	subscribe := func(id string, p *peer) {
		t.Helper()
		if got := c.request("resources/subscribe", `{"uri":"rutile+`+id+`:test://a"}`); got.msg.Result == nil {
			t.Fatalf("subscribing answered %d %s", got.status, got.body)
		}
		if got := p.last("resources/subscribe").params; !strings.Contains(got, `"uri":"test://a"`) {
			t.Errorf("the server was sent %s", got)
		}
	}
	subscribe("a", a)
	s := stream(t, "GET", r.all(), c.headers(), "")
	subscribe("b", b)
	for id, p := range map[string]*peer{"a": a, "b": b} {
		session := p.last("resources/subscribe").session
		eventually(t, "the session's stream is open at the server", func() bool {
			for _, g := range p.got("GET") {
				if g.session == session {
					return true
				}
			}
			return false
		})
		eventually(t, "the update comes", func() bool {
			// It may be the gateway's own stream that takes it.
			p.push <- `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}`
			select {
			case got := <-s.events:
				return got == `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"rutile+`+id+`:test://a"}}`
			case <-time.After(100 * time.Millisecond):
				return false
			}
		})
		if got := c.request("resources/unsubscribe", `{"uri":"rutile+`+id+`:test://a"}`); got.msg.Result == nil || !strings.Contains(p.last("resources/unsubscribe").params, `"uri":"test://a"`) {
			t.Errorf("%s: unsubscribing answered %d %s", id, got.status, got.body)
		}
	}
	if got := c.request("resources/subscribe", `{"uri":"test://a"}`); got.msg.code() != -32602 {
		t.Errorf("a URI of no server: %d %s", got.status, got.body)
	}
	if got := stream(t, "GET", r.all(), c.headers(), ""); got.status != 409 {
		t.Errorf("a second stream was answered %d", got.status)
	}
}

// What is recorded of a call is what is recorded at its server, and a list is
// one decision for every server it shows.
func TestAggregateEvidence(t *testing.T) {
	t.Parallel()
	r, token, _, _, _ := gathered(t, "---\nkind: Policy\nid: no\ncedar: |\n  forbid (principal, action == Mcp::Action::\"both/echo\", resource);\n")
	from := r.d.Evidence.Size()
	r.ask(token, "tools/list", "", "")
	r.ask(token, "tools/call", "old__echo", `"name":"old__echo","arguments":{}`)
	r.ask(token, "tools/call", "both__echo", `"name":"both__echo","arguments":{}`)
	r.ask(token, "tools/call", "nowhere__echo", `"name":"nowhere__echo","arguments":{}`)
	got := map[string]int{}
	for _, l := range r.leaves(from) {
		if l.What.Method != "" {
			got[l.Type+" "+l.What.Method+" "+l.What.Server+" "+l.What.Tool]++
		}
	}
	want := map[string]int{
		"verdict tools/list modern ": 1, "verdict tools/list old ": 1, "verdict tools/list rutile ": 1, // both has nothing to show
		"intent tools/call old echo": 1, "verdict tools/call both echo": 1, "verdict tools/call nowhere echo": 1,
	}
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%q is recorded %d times, want %d: %v", k, got[k], n, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("recorded %v", got)
	}
}

// No extension but tasks is offered to a server through the aggregate, so that
// none answers in a form that is not carried.
func TestAggregateOffersNoExtensionButTasks(t *testing.T) {
	t.Parallel()
	r, token, _, modern, _ := gathered(t, "")
	body := strings.Replace(modernBody("1", "tools/call", `"name":"modern__echo","arguments":{}`), `clientCapabilities":{}`, `clientCapabilities":{"extensions":{"com.example/x":{},"io.modelcontextprotocol/tasks":{}},"experimental":{"x":{}}}`, 1)
	if got := post(t, r.all(), modernHeaders(token, "tools/call", "modern__echo"), body); got.msg.Result == nil {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	if got := modern.last("tools/call").params; strings.Contains(got, "com.example") || !strings.Contains(got, "modelcontextprotocol/tasks") || !strings.Contains(got, `"experimental":{"x":{}}`) {
		t.Errorf("the server was sent %s", got)
	}
	if got := r.ask(token, "server/discover", "", ""); !strings.Contains(got.body, `"extensions":{"io.modelcontextprotocol/tasks":{}}`) || !strings.Contains(got.body, `"name":"rutile"`) || !strings.Contains(got.body, `"listChanged":true`) {
		t.Errorf("discovered %s", got.body)
	}
	for _, method := range []string{"tasks/list", "logging/setLevel", "resources/subscribe", "ping", "vendor/x"} {
		if got := r.ask(token, method, "x", `"uri":"x","taskId":"x"`); got.status != 404 || got.msg.code() != -32601 {
			t.Errorf("%s: answered %d %s", method, got.status, got.body)
		}
	}
}
