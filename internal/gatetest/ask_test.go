package gatetest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The server's requests to the client, as a legacy server makes them.
const (
	elicit = `"method":"elicitation/create","params":{"message":"how?","requestedSchema":{"type":"object","properties":{}}}`
	sample = `"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}`
	roots  = `"method":"roots/list"`
)

// askUpstream makes a tool call ask the client with the given request under an
// id of the server's, and answer the call with what came back.
func askUpstream(p *peer, request string) {
	answers := make(chan string, 4)
	p.handle("", func(x *exchange) { // responses have no method
		p.mu.Lock()
		answers <- p.seen[len(p.seen)-1].body
		p.mu.Unlock()
		x.w.WriteHeader(http.StatusAccepted)
	})
	p.handle("tools/call", func(x *exchange) {
		x.sse()
		x.event(`{"jsonrpc":"2.0","id":"server-7",` + request + `}`)
		select {
		case a := <-answers:
			x.text("the client said " + a)
		case <-time.After(patience):
			x.text("the client said nothing")
		case <-x.r.Context().Done():
		}
	})
}

// A server's request reaches the client of the session that called, if policy
// permits it and the client declared it, and only that client's answer goes
// back.
func TestServerRequestsAreRelayed(t *testing.T) {
	t.Parallel()
	for kind, tt := range map[string]struct{ request, answer string }{
		"elicitation": {elicit, `{"action":"accept","content":{}}`}, "sampling": {sample, `{"role":"assistant","content":{"type":"text","text":"hm"},"model":"m"}`}, "roots": {roots, `{"roots":[{"uri":"file:///w"}]}`},
	} {
		t.Run(kind, func(t *testing.T) {
			p := newPeer(t, v2511)
			askUpstream(p, tt.request)
			r, token := governPeer(t, p, askPolicy(kind)+eve)
			c := r.legacy(token, "up", v2511, `{"`+kind+`":{}}`)
			other, stranger := r.legacy(token, "up", v2511, `{"`+kind+`":{}}`), r.legacy(r.token("eve", "up"), "up", v2511, `{"`+kind+`":{}}`)
			if init := p.got("initialize"); !strings.Contains(init[len(init)-1].params, kind) {
				t.Errorf("the upstream was not told of the capability: %s", init[len(init)-1].params)
			}
			s := stream(t, "POST", r.url("up"), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`)
			asked := s.next()
			var m struct {
				ID     json.RawMessage `json:"id"`
				Method string          `json:"method"`
			}
			if err := json.Unmarshal([]byte(asked), &m); err != nil || !strings.Contains(tt.request, m.Method) || m.ID == nil || string(m.ID) == `"server-7"` {
				t.Fatalf("the client was asked %s", asked)
			}
			answer := func(c *oldClient, id, member string) reply {
				return c.post(`{"jsonrpc":"2.0","id":` + id + `,` + member + `}`)
			}
			id, good := string(m.ID), `"result":`+tt.answer
			for name, wrong := range map[string]func() reply{
				"another session":   func() reply { return answer(other, id, good) },
				"another principal": func() reply { return answer(stranger, id, good) },
				"another type":      func() reply { return answer(c, `"`+id+`"`, good) },
				"another id":        func() reply { return answer(c, id+"0", good) },
				"the server's id":   func() reply { return answer(c, `"server-7"`, good) },
				"both":              func() reply { return answer(c, id, good+`,"error":{"code":1,"message":"x"}`) },
				"another case":      func() reply { return answer(c, id, `"Result":`+tt.answer) },
			} {
				if got := wrong(); got.status != 400 {
					t.Errorf("%s was answered %d %s", name, got.status, got.body)
				}
			}
			if got := answer(c, id, good); got.status != 202 || got.body != "" {
				t.Errorf("the answer was answered %d %s", got.status, got.body)
			}
			end := s.rest()
			if len(end) != 1 || !strings.Contains(end[0], `the client said {\"jsonrpc\":\"2.0\",\"id\":\"server-7\"`) {
				t.Errorf("the call ended with %q", end)
			}
			if got := answer(c, id, good); got.status != 400 {
				t.Errorf("the same answer again: %d", got.status)
			}
			if n := len(p.got("POST")); n != 1 {
				t.Errorf("%d answers reached the server, want 1", n)
			}
		})
	}
}

// Without a permit the client is not asked, and the server cannot tell a client
// that is not permitted from one that cannot.
func TestServerRequestsNeedAPermit(t *testing.T) {
	t.Parallel()
	for kind, tt := range map[string]struct{ request, declined string }{
		"elicitation": {elicit, `{\"action\":\"decline\"}`}, "sampling": {sample, `\"code\":-1`}, "roots": {roots, `-32601`},
	} {
		for name, setup := range map[string]struct{ more, caps string }{
			"no policy": {"", `{"` + kind + `":{}}`}, "not declared": {askPolicy(kind), `{}`}, "forbidden": {askPolicy(kind) + strings.NewReplacer("ask-", "no-", "permit", "forbid").Replace(askPolicy(kind)), `{"` + kind + `":{}}`},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				p := newPeer(t, v2511)
				askUpstream(p, tt.request)
				r, token := governPeer(t, p, setup.more)
				c := r.legacy(token, "up", v2511, setup.caps)
				if init := p.last("initialize"); strings.Contains(init.params, `"`+kind+`"`) {
					t.Errorf("the upstream was told of it: %s", init.params)
				}
				for era, got := range map[string]reply{"legacy": c.call("echo", `{}`), "modern": r.call(token, "up", "echo", `{}`)} {
					if strings.Contains(got.body, "elicitation/create") || strings.Contains(got.body, "sampling/createMessage") || strings.Contains(got.body, "roots/list") {
						t.Errorf("%s: the client was asked: %s", era, got.body)
					}
					if !strings.Contains(got.body, "-32601") {
						t.Errorf("%s: the server was told %s", era, got.body)
					}
				}
			})
		}
		t.Run(kind+" permitted no more", func(t *testing.T) {
			p := newPeer(t, v2511)
			askUpstream(p, tt.request)
			r, token := governPeer(t, p, askPolicy(kind))
			c := r.legacy(token, "up", v2511, `{"`+kind+`":{}}`)
			r.apply(strings.Replace(strings.NewReplacer("ask-", "no-", "permit", "forbid").Replace(askPolicy(kind)), "---\n", "", 1))
			if got := c.call("echo", `{}`); !strings.Contains(got.body, tt.declined) || strings.Contains(got.body, "createMessage") {
				t.Errorf("answered %s", got.body)
			}
		})
	}
}

// A modern server may ask for what the request declared and policy carries, and
// for nothing else.
func TestUndeclaredElicitationRefused(t *testing.T) {
	t.Parallel()
	const form = `{"method":"elicitation/create","params":{"mode":"form","message":"how?","requestedSchema":{"type":"object","properties":{}}}}`
	const link = `{"method":"elicitation/create","params":{"mode":"url","message":"there","url":"https://a.example","elicitationId":"1"}}`
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, askPolicy("elicitation")+askPolicy("roots"))
	call := func(caps string) reply {
		return post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":`+caps+`}}}`)
	}
	for name, tt := range map[string]struct {
		result, caps string
		ok           bool
	}{
		"declared":                {`"inputRequests":{"a":` + form + `}`, `{"elicitation":{}}`, true},
		"declared by mode":        {`"inputRequests":{"a":` + form + `},"requestState":"s"`, `{"elicitation":{"form":{}}}`, true},
		"url declared":            {`"inputRequests":{"a":` + link + `}`, `{"elicitation":{"url":{}}}`, true},
		"two declared":            {`"inputRequests":{"a":` + form + `,"b":{"method":"roots/list"}}`, `{"elicitation":{},"roots":{}}`, true},
		"only a state":            {`"requestState":"s"`, `{}`, true},
		"nothing declared":        {`"inputRequests":{"a":` + form + `}`, `{}`, false},
		"another kind":            {`"inputRequests":{"a":{"method":"roots/list"}}`, `{"elicitation":{}}`, false},
		"one of two":              {`"inputRequests":{"a":` + form + `,"b":{"method":"roots/list"}}`, `{"elicitation":{}}`, false},
		"url not declared":        {`"inputRequests":{"a":` + link + `}`, `{"elicitation":{}}`, false},
		"form not declared":       {`"inputRequests":{"a":` + form + `}`, `{"elicitation":{"url":{}}}`, false},
		"two modes":               {`"inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"form","Mode":"url","message":"how?"}}}`, `{"elicitation":{}}`, false},
		"two methods":             {`"inputRequests":{"a":{"method":"elicitation/create","method\u017f":1,"METHOD":"sampling/createMessage","params":{}}}`, `{"elicitation":{}}`, false},
		"a mode in another case":  {`"inputRequests":{"a":{"method":"elicitation/create","params":{"MODE":"url","message":"how?"}}}`, `{"elicitation":{}}`, false},
		"an unknown mode":         {`"inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"voice"}}}`, `{"elicitation":{"form":{},"url":{}}}`, false},
		"not permitted":           {`"inputRequests":{"a":{"method":"sampling/createMessage","params":{}}}`, `{"sampling":{}}`, false},
		"no kind":                 {`"inputRequests":{"a":{"method":"tools/call","params":{}}}`, `{"elicitation":{},"tools":{}}`, false},
		"neither":                 {`"x":1`, `{"elicitation":{}}`, false},
		"requests no object":      {`"inputRequests":[` + form + `]`, `{"elicitation":{}}`, false},
		"a state that is no text": {`"requestState":{"a":1}`, `{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			p.handle("tools/call", func(x *exchange) { x.result(`{"resultType":"input_required",` + tt.result + `}`) })
			got := call(tt.caps)
			if tt.ok != strings.Contains(got.body, "input_required") || !tt.ok && got.msg.kind() != "upstream_malformed" {
				t.Errorf("answered %d %s", got.status, got.body)
			}
			if strings.Contains(p.last("tools/call").params, "sampling") {
				t.Errorf("a capability that is not carried was declared: %s", p.last("tools/call").params)
			}
		})
	}
	p.handle("tools/list", func(x *exchange) {
		x.result(`{"resultType":"input_required","inputRequests":{"a":` + form + `},` + toolList(echoTool) + `}`)
	})
	if got := r.list(token, "up"); got.msg.kind() != "upstream_malformed" {
		t.Errorf("a list that asks answered %s", got.body)
	}
	p.handle("tools/call", func(x *exchange) { x.result(`{"resultType":"input_required","inputRequests":{"a":` + form + `}}`) })
	if got := r.legacy(token, "up", v2511, `{}`).call("echo", `{}`); got.msg.code() != -32603 || strings.Contains(got.body, "how?") {
		t.Errorf("a legacy client that declared nothing got %s", got.body)
	}
	// Answers and state belong to three methods only.
	p.handle("tools/call", nil)
	const answers = `"inputResponses":{"a":{"action":"accept","content":{"n":1.0}}},"requestState":"s"`
	n := len(p.all())
	if got := r.modern(token, "completion/complete", "", `"ref":{"type":"ref/prompt","name":"hi"},"argument":{"name":"a","value":"b"},`+answers); got.msg.code() != -32602 || len(p.all()) != n {
		t.Errorf("a completion with answers was answered %s", got.body)
	}
	if got := r.modern(token, "prompts/list", "", answers); got.msg.code() != -32602 || len(p.all()) != n {
		t.Errorf("a list with answers was answered %s", got.body)
	}
}

// A subscription says what it honours, carries what was asked for and is
// permitted, under the id of its request, and ends with its client.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r := newRig(t)
	r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`)+"---\nkind: Policy\nid: secret\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/resources/read\", resource) when { context.input.uri like \"test://secret*\" };\n", "up")
	token := r.token("bot", "up")
	ended := make(chan bool, 1)
	p.handle("subscriptions/listen", func(x *exchange) {
		x.sse()
		for _, name := range []string{"subscriptions/acknowledged", "tools/list_changed", "prompts/list_changed", "vendor"} {
			x.event(`{"jsonrpc":"2.0","method":"notifications/` + name + `","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":` + x.id + `},"notifications":{"toolsListChanged":true}}}`)
		}
		for _, uri := range []string{"test://a", "test://secret"} {
			x.event(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `","_meta":{"io.modelcontextprotocol/subscriptionId":` + x.id + `}}}`)
		}
		ended <- x.gone()
	})
	for _, id := range []string{`"s"`, `7`, `9007199254740993`} {
		s := stream(t, "POST", r.url("up"), modernHeaders(token, "subscriptions/listen", ""),
			modernBody(id, "subscriptions/listen", `"notifications":{"toolsListChanged":true,"resourceSubscriptions":["test://a","test://secret"]}`))
		for _, want := range []string{"subscriptions/acknowledged", "tools/list_changed", `"uri":"test://a"`} {
			if e := s.next(); !strings.Contains(e, want) || !strings.Contains(e, `"io.modelcontextprotocol/subscriptionId":`+id) {
				t.Errorf("%s: got %s, want %s", id, e, want)
			}
		}
		if got := p.last("subscriptions/listen").params; strings.Contains(got, "secret") {
			t.Errorf("the server was asked for what is not permitted: %s", got)
		}
		s.quiet(50 * time.Millisecond)
		s.cancel()
		if !<-ended {
			t.Fatalf("%s: the upstream's stream does not end", id)
		}
	}
	for name, first := range map[string]string{
		"no acknowledgement": `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}`,
		"another's":          `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"t"}}}`,
		"no tag":             `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}`,
	} {
		p.handle("subscriptions/listen", func(x *exchange) { x.sse(); x.event(first); x.gone() })
		for _, id := range []string{`"s"`, `9007199254740993`} { // the second travels under another
			got := post(t, r.url("up"), modernHeaders(token, "subscriptions/listen", ""), modernBody(id, "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
			if got.msg.kind() != "upstream_malformed" || strings.Contains(got.body, "notifications/") {
				t.Errorf("%s: %s answered %s", name, id, got.body)
			}
		}
	}
}

// What a server says while it asks is part of what comes back: where that is
// withheld the client is not asked, in either era of the server.
func TestAQuestionIsReleasedLikeAResult(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]string{"legacy": v2511, "modern": v2026} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, version)
			if version == v2026 {
				p.list("tools/list", toolList(echoTool))
				p.handle("tools/call", func(x *exchange) {
					x.result(`{"resultType":"input_required","inputRequests":{"a":{` + elicit + `}},"requestState":"s"}`)
				})
			} else {
				askUpstream(p, elicit)
			}
			r := newRig(t)
			r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`)+askPolicy("elicitation")+"---\nkind: Policy\nid: out\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/echo\", resource) when { context has output };\n", "up")
			c := r.legacy(r.token("bot", "up"), "up", v2511, `{"elicitation":{}}`)
			s := stream(t, "POST", r.url("up"), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`)
			if got := s.next(); strings.Contains(got, "elicitation/create") || !strings.Contains(got, "isError") {
				t.Errorf("the client got %s", got)
			}
		})
	}
}
