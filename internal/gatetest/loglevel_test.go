package gatetest_test

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A legacy server has one log level for all calls of a modern client: it is told
// the most verbose wanted, once, and a call gets what it opted in to itself.
func TestLogLevelOfModernClients(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	p.handle("tools/call", func(x *exchange) {
		x.sse()
		for _, level := range []string{"debug", "info", "error"} {
			x.event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"` + level + `","data":"x"}}`)
		}
		x.result(`{"content":[]}`)
	})
	r, token := governPeer(t, p, "")
	if got := r.modern(token, "server/discover", "", ""); !strings.Contains(got.body, `"logging":{}`) {
		t.Errorf("discovered %s", got.body)
	}
	for i, c := range []struct {
		level string
		told  int // levels the server was told so far
		heard []string
	}{
		{"", 0, nil}, {"error", 1, []string{"error"}}, {"critical", 1, nil}, {"debug", 2, []string{"debug", "info", "error"}},
		{"info", 2, []string{"info", "error"}}, {"", 2, nil}, {"loud", 2, nil},
	} {
		body := modernBody("1", "tools/call", `"name":"echo","arguments":{}`)
		if c.level != "" {
			body = strings.Replace(body, `"_meta":{`, `"_meta":{"io.modelcontextprotocol/logLevel":"`+c.level+`",`, 1)
		}
		got := post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), body)
		if got.msg.Result == nil || strings.Count(got.body, "notifications/message") != len(c.heard) {
			t.Errorf("call %d at %q answered %s", i, c.level, got.body)
		}
		for _, level := range c.heard {
			if !strings.Contains(got.body, `"level":"`+level+`"`) {
				t.Errorf("call %d at %q did not hear %s: %s", i, c.level, level, got.body)
			}
		}
		if n := len(p.got("logging/setLevel")); n != c.told {
			t.Errorf("after call %d at %q the server was told %d levels, want %d", i, c.level, n, c.told)
		}
		if sent := p.last("tools/call").params; strings.Contains(sent, "logLevel") {
			t.Errorf("the server was sent %s", sent)
		}
	}
	if got := p.last("logging/setLevel").params; got != `{"level":"debug"}` {
		t.Errorf("told %s", got)
	}
	eve := newPeer(t, v2511)
	eve.caps = `{"tools":{}}`
	r, token = governPeer(t, eve, "")
	body := strings.Replace(modernBody("1", "tools/call", `"name":"echo","arguments":{}`), `"_meta":{`, `"_meta":{"io.modelcontextprotocol/logLevel":"debug",`, 1)
	if got := post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), body); got.msg.Result == nil || len(eve.got("logging/setLevel")) != 0 {
		t.Errorf("a server without logging: %s", got.body)
	}
}

// What was decided or filtered for one principal is private, whatever the server
// says of it; a time to live is bounded where something was filtered.
func TestCachingHintsArePrivate(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, "")
	for _, c := range []struct {
		method, name, params string
		most                 int
	}{
		{"tools/list", "", "", 60_000}, {"prompts/list", "", "", 60_000}, {"resources/list", "", "", 60_000},
		{"resources/templates/list", "", "", 60_000}, {"resources/read", "test://a", `"uri":"test://a"`, 60_000}, {"server/discover", "", "", 60_000},
	} {
		var res struct {
			TTL   *int   `json:"ttlMs"`
			Scope string `json:"cacheScope"`
		}
		got := r.modern(token, c.method, c.name, c.params)
		if err := json.Unmarshal(got.msg.Result, &res); err != nil || res.Scope != "private" || res.TTL == nil || *res.TTL > c.most || *res.TTL < 0 {
			t.Errorf("%s answered %s", c.method, got.body)
		}
	}
	if got := r.modern(token, "tools/call", "echo", `"name":"echo","arguments":{}`); strings.Contains(got.body, "ttlMs") || strings.Contains(got.body, "cacheScope") {
		t.Errorf("a call is said to be cacheable: %s", got.body)
	}
}

// The trace context in _meta reaches a server of either era as it is, at either
// endpoint; of the headers only ours do.
func TestTraceContextTravels(t *testing.T) {
	t.Parallel()
	const trace = `"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"a=1","baggage":"k=v","vendor.example/x":9007199254740993`
	for _, era := range []string{v2026, v2511} {
		p := newPeer(t, era)
		r, _ := governPeer(t, p, "")
		for server, name := range map[string]string{"up": "echo", "": "up__echo"} {
			body := strings.Replace(modernBody("1", "tools/call", `"name":"`+name+`","arguments":{}`), `"_meta":{`, `"_meta":{`+trace+`,`, 1)
			at := server
			if at == "" {
				at = "*"
			}
			h := modernHeaders(r.token("bot", at), "tools/call", name)
			h.Set("Traceparent", "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01")
			if got := post(t, r.url(server), h, body); got.msg.Result == nil {
				t.Fatalf("%s at %q answered %s", era, server, got.body)
			}
			sent := p.last("tools/call")
			for member := range strings.SplitSeq(trace, ",") {
				if !strings.Contains(sent.params, member) {
					t.Errorf("%s at %q: %s is not in %s", era, server, member, sent.params)
				}
			}
			if strings.Contains(sent.header.Get("Traceparent"), "ffff") {
				t.Errorf("%s at %q: the agent's header travelled", era, server)
			}
		}
	}
}

// A form with titled or multiple choices is not shown to a client whose revision
// has none; the same form without them is, and a newer client gets either.
func TestNewerFormsAreNotShownToOlderClients(t *testing.T) {
	t.Parallel()
	for field, newer := range map[string]bool{
		`{"type":"string","enum":["a","b"],"enumNames":["A","B"]}`:                       false,
		`{"type":"string","oneOf":[{"const":"a","title":"A"}]}`:                          true,
		`{"type":"array","items":{"type":"string","enum":["a","b"]}}`:                    true,
		`{"type":"array","items":{"anyOf":[{"const":"a","title":"A"}]},"default":["a"]}`: true,
	} {
		p := newPeer(t, v2026)
		p.handle("tools/call", func(x *exchange) {
			x.result(`{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"form","message":"Pick.","requestedSchema":{"type":"object","properties":{"pick":` + field + `}}}}},"requestState":"s"}`)
		})
		r, token := governPeer(t, p, askPolicy("elicitation"))
		for _, version := range []string{v2506, v2511} {
			c := r.legacy(token, "up", version, `{"elicitation":{}}`)
			s := stream(t, "POST", r.url("up"), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`)
			first, shown := s.next(), !newer || version == v2511
			if strings.Contains(first, "elicitation/create") != shown || !shown && !strings.Contains(first, `"isError":true`) {
				t.Errorf("a %s client and the field %s: %s", version, field, first)
			}
			c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`) // a disconnect cancels nothing
		}
	}
}

// loud calls the tool of "up" and opts in to log messages.
func (r *rig) loud(token, level string) reply {
	body := modernBody("1", "tools/call", `"name":"echo","arguments":{}`)
	if level != "" {
		body = strings.Replace(body, `"_meta":{`, `"_meta":{"io.modelcontextprotocol/logLevel":"`+level+`",`, 1)
	}
	return post(r.t, r.url("up"), modernHeaders(token, "tools/call", "echo"), body)
}

// A server that did not take a log level is told it again by the next call that
// wants it, until it takes it; the call is served all the same.
func TestLogLevelIsToldUntilTaken(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "")
	var refused atomic.Int32
	p.handle("logging/setLevel", func(x *exchange) {
		if refused.Add(1) <= 2 {
			x.fault(-32603, "not now", "")
			return
		}
		x.result(`{}`)
	})
	for i, want := range []struct {
		level string
		told  int
	}{{"debug", 1}, {"", 1}, {"info", 2}, {"debug", 3}, {"debug", 3}, {"info", 3}} {
		if got := r.loud(token, want.level); got.msg.Result == nil {
			t.Errorf("call %d was answered %d %s", i, got.status, got.body)
		}
		if n := len(p.got("logging/setLevel")); n != want.told {
			t.Errorf("after call %d at %q the server was told %d times, want %d", i, want.level, n, want.told)
		}
	}
}

// Calls side by side tell a server one level after another, each once, so that
// what it took last is the most verbose.
func TestLogLevelsAreToldInTurn(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "")
	hold := make(chan bool)
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	p.handle("logging/setLevel", func(x *exchange) {
		<-hold
		x.result(`{}`)
	})
	answers := make(chan reply, 8)
	begin := func(level string) { go func() { answers <- r.loud(token, level) }() }
	begin("info")
	eventually(t, "the server is told", func() bool { return len(p.got("logging/setLevel")) == 1 })
	for range 6 {
		begin("debug")
	}
	if got := r.loud(token, ""); got.msg.Result == nil {
		t.Errorf("a call that wants none was answered %s", got.body)
	}
	release()
	for range 7 {
		if got := <-answers; got.msg.Result == nil {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	}
	if told := p.got("logging/setLevel"); len(told) != 2 || told[1].params != `{"level":"debug"}` {
		t.Errorf("told %d levels, the last %s", len(told), p.last("logging/setLevel").params)
	}
}

// A server that never answers a log level delays a call now and then, not each.
func TestSilentLogLevelDelaysFewCalls(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "")
	p.handle("logging/setLevel", func(x *exchange) { <-x.r.Context().Done() })
	for i := range 5 {
		if got := r.loud(token, "debug"); got.msg.Result == nil {
			t.Errorf("call %d was answered %d %s", i, got.status, got.body)
		}
	}
	if n := len(p.got("logging/setLevel")); n != 1 {
		t.Errorf("five calls waited for it %d times", n)
	}
}
