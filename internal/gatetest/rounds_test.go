package gatetest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// scripted answers the calls of a modern peer one after the other, the last one
// for ever; "" echoes the params.
func scripted(p *peer, results ...string) {
	var mu sync.Mutex
	n := 0
	p.handle("tools/call", func(x *exchange) {
		mu.Lock()
		result := results[min(n, len(results)-1)]
		n++
		mu.Unlock()
		if result == "" {
			x.text("the server got " + x.params)
			return
		}
		x.result(result)
	})
}

func needs(members string) string { return `{"resultType":"input_required",` + members + `}` }

// client answers what a legacy session is asked, in order, and returns what it
// was asked and how the call ended.
func (c *oldClient) answering(tool, args string, answers ...string) (asked []string, end string) {
	c.t.Helper()
	c.next++
	s := stream(c.t, "POST", c.r.url(c.server), c.headers(), fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":{"progressToken":"t"}}}`, c.next, tool, args))
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				c.t.Fatalf("the stream ended after %q", asked)
			}
			var m struct {
				ID     json.RawMessage
				Method string
			}
			if err := json.Unmarshal([]byte(e), &m); err != nil {
				c.t.Fatalf("read %q", e)
			}
			if m.Method == "" {
				return asked, e
			}
			asked = append(asked, e)
			if m.ID == nil {
				continue
			}
			if len(answers) == 0 {
				c.t.Fatalf("asked once more: %s", e)
			}
			if got := c.post(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,` + answers[0] + `}`); got.status != 202 {
				c.t.Fatalf("the answer was answered %d %s", got.status, got.body)
			}
			answers = answers[1:]
		case <-time.After(patience):
			c.t.Fatalf("the stream does not end; it said %q", asked)
		}
	}
}

// What a modern server asks reaches a legacy client as a request in the form of
// its revision, and the answers go back with the exact state.
func TestModernServerAsksLegacyClient(t *testing.T) {
	t.Parallel()
	form := `{"method":"elicitation/create","params":{"mode":"form","message":"how?","requestedSchema":{"type":"object","properties":{"n":{"type":"number"}}}}}`
	link := `{"method":"elicitation/create","params":{"mode":"url","message":"there","url":"https://a.example/x"}}`
	policies := askPolicy("elicitation") + askPolicy("roots") + askPolicy("sampling")
	const ok, no = `"result":{"action":"accept","content":{"n":1.0}}`, `"error":{"code":-32603,"message":"no"}`
	for name, tt := range map[string]struct {
		version, caps string
		results       []string
		answers       []string
		asked         []string // of every request, parts
		end           []string // of the end, parts; "!x" must not be there
	}{
		"two rounds": {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + form + `},"requestState":"s\u0074 1"`), needs(`"inputRequests":{"b":{"method":"roots/list"}},"requestState":"2"`), ""},
			[]string{ok, `"result":{"roots":[]}`}, []string{`"mode":"form"`, `"method":"roots/list"`}, []string{`\"requestState\":\"2\"`, `\"b\":{\"roots\":[]}`, `!\"a\":`}},
		"the exact state":        {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + form + `},"requestState":"s\u0074 1"`), ""}, []string{ok}, []string{"how?"}, []string{`\"requestState\":\"s\\u0074 1\"`, `\"a\":{\"action\":\"accept\",\"content\":{\"n\":1.0}}`}},
		"no state":               {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + form + `}`), ""}, []string{ok}, []string{"how?"}, []string{`!requestState`}},
		"2025-06-18":             {v2506, allCaps, []string{needs(`"inputRequests":{"a":` + form + `}`), ""}, []string{ok}, []string{`!"mode"`}, []string{"accept"}},
		"2025-06-18 and a url":   {v2506, allCaps, []string{needs(`"inputRequests":{"a":` + link + `}`), ""}, nil, nil, []string{"-32603", "!a.example"}},
		"2025-03-26 and a form":  {v2503, allCaps, []string{needs(`"inputRequests":{"a":` + form + `}`), ""}, nil, nil, []string{"-32603", "!how?"}},
		"a url":                  {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + link + `}`), ""}, []string{`"result":{"action":"accept"}`}, []string{`"elicitationId":"`, "notifications/elicitation/complete"}, []string{`{\"action\":\"accept\"}`}},
		"a url that takes time":  {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + link + `},"requestState":"1"`), needs(`"inputRequests":{"a":` + link + `},"requestState":"2"`), ""}, []string{`"result":{"action":"accept"}`}, []string{`"url":"https://a.example/x"`, "notifications/elicitation/complete"}, []string{`\"requestState\":\"2\"`}},
		"an address not to open": {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + strings.Replace(link, "https://a.example/x", "javascript:alert(1)", 1) + `}`), ""}, nil, nil, []string{`{\"action\":\"decline\"}`}},
		"an error":               {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + form + `}`), ""}, []string{no}, []string{"how?"}, []string{`{\"action\":\"cancel\"}`}},
		"no answer":              {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + form + `}`), ""}, []string{`"result":{"action":"perhaps"}`}, []string{"how?"}, []string{`{\"action\":\"cancel\"}`}},
		"no sample":              {v2511, allCaps, []string{needs(`"inputRequests":{"a":{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}}`), ""}, []string{no}, []string{"createMessage"}, []string{"did not give the server the sampling", `"isError":true`}},
		"no roots":               {v2511, allCaps, []string{needs(`"inputRequests":{"a":{"method":"roots/list"}}`), ""}, []string{`"result":{"roots":"none"}`}, []string{"roots/list"}, []string{"did not give the server the roots"}},
		"two at once":            {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + form + `,"b":` + form + `}`), ""}, []string{ok, `"result":{"action":"decline"}`}, []string{"how?", "how?"}, []string{`\"a\":{\"action\":\"accept\"`, `\"b\":{\"action\":\"decline\"`}},
		"not declared":           {v2511, `{"roots":{}}`, []string{needs(`"inputRequests":{"a":` + form + `}`), ""}, nil, nil, []string{"-32603", "!how?"}},
		"only a state":           {v2511, allCaps, []string{needs(`"requestState":"busy"`), ""}, nil, nil, []string{`\"requestState\":\"busy\"`, `!inputResponses`}},
		"only states":            {v2511, allCaps, []string{needs(`"requestState":"busy"`)}, nil, nil, []string{"too busy", `"isError":true`}},
		"eleven rounds":          {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + form + `}`)}, slices.Repeat([]string{ok}, 10), slices.Repeat([]string{"how?"}, 10), []string{"more than 10 times"}},
		"a secret":               {v2511, allCaps, []string{needs(`"inputRequests":{"a":` + strings.Replace(form, `"n":{"type":"number"}`, `"apiKey":{"type":"string"}`, 1) + `}`), ""}, nil, nil, []string{`{\"action\":\"decline\"}`, "!apiKey"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, v2026)
			scripted(p, tt.results...)
			r, token := governPeer(t, p, policies)
			from := r.d.Evidence.Size()
			c := r.legacy(token, "up", tt.version, tt.caps)
			asked, end := c.answering("echo", `{"text":"a"}`, tt.answers...)
			if len(asked) != len(tt.asked) {
				t.Fatalf("asked %q, ended with %s", asked, end)
			}
			for i, want := range tt.asked {
				holds(t, asked[i], want)
			}
			holds(t, end, tt.end...)
			calls := p.got("tools/call")
			ids := map[string]bool{}
			for _, s := range calls {
				holds(t, s.params, `"name":"echo"`, `"arguments":{"text":"a"}`, `"progressToken":`)
				ids[s.id] = true
			}
			if len(ids) != len(calls) {
				t.Errorf("%d calls under %d ids", len(calls), len(ids))
			}
			if tt.version == v2503 && strings.Contains(calls[0].params, "elicitation") || tt.version == v2506 && strings.Contains(calls[0].params, `"url":{}`) {
				t.Errorf("the server was told of what %s has not: %s", tt.version, calls[0].params)
			}
			intents, outcomes := 0, 0
			for _, l := range r.since(from) {
				if l.Type == "intent" {
					intents++
				}
				if l.Type == "outcome" {
					outcomes++
				}
			}
			if intents != 1 || outcomes != 1 {
				t.Errorf("%d intents, %d outcomes", intents, outcomes)
			}
		})
	}
}

// holds requires the parts in s; "!x" must not be in it.
func holds(t *testing.T, s string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if no, ok := strings.CutPrefix(part, "!"); ok == strings.Contains(s, strings.TrimPrefix(part, "!")) {
			t.Errorf("%q in %s (%q)", part, s, no)
		}
	}
}

// Between two rounds of a legacy client's call policy is asked again.
func TestPolicyRunsOnEveryRound(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, askPolicy("elicitation"))
	p.handle("tools/call", func(x *exchange) {
		if strings.Contains(x.params, "inputResponses") {
			x.text("too far")
			return
		}
		r.apply("kind: Policy\nid: no\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/echo\", resource);\n")
		x.result(needs(`"inputRequests":{"a":{` + elicit + `}}`))
	})
	c := r.legacy(token, "up", v2511, allCaps)
	asked, end := c.answering("echo", `{}`, `"result":{"action":"accept","content":{}}`)
	if len(asked) != 1 || !strings.Contains(end, "Denied by the gateway") || len(p.got("tools/call")) != 1 {
		t.Errorf("asked %q, ended with %s", asked, end)
	}
	if l := r.since(0); l[len(l)-1].Status != "revoked" {
		t.Errorf("recorded %+v", l[len(l)-1])
	}
}

// A legacy client that cancels while it is asked ends the call: the server is not
// called again, and the answer that comes too late is nobody's.
func TestCancelledWhileAsked(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	scripted(p, needs(`"inputRequests":{"a":{`+elicit+`}}`), "")
	r, token := governPeer(t, p, askPolicy("elicitation"))
	c := r.legacy(token, "up", v2511, allCaps)
	s := stream(t, "POST", r.url("up"), c.headers(), `{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{"name":"echo","arguments":{}}}`)
	var m struct{ ID json.RawMessage }
	if err := json.Unmarshal([]byte(s.next()), &m); err != nil || m.ID == nil {
		t.Fatalf("not asked: %v", err)
	}
	if got := c.post(`{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{"name":"echo","arguments":{}}}`); got.status != 400 {
		t.Errorf("the same id again: %d %s", got.status, got.body)
	}
	c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"mine"}}`)
	if end := s.rest(); len(end) != 0 {
		t.Errorf("a cancelled call ended with %q", end)
	}
	if got := c.post(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{"action":"accept"}}`); got.status != 202 || len(p.got("tools/call")) != 1 {
		t.Errorf("the late answer was answered %d, %d calls", got.status, len(p.got("tools/call")))
	}
}

// A legacy client has no answers and states to send: a server would take them
// for answers to questions nobody judged.
func TestLegacyClientSendsNoState(t *testing.T) {
	t.Parallel()
	for _, era := range []string{v2026, v2511} {
		p := newPeer(t, era)
		r, token := governPeer(t, p, askPolicy("elicitation"))
		c := r.legacy(token, "up", v2511, allCaps)
		for _, more := range []string{`"inputResponses":{"a":{"action":"accept"}}`, `"requestState":"s"`} {
			if got := c.request("tools/call", `{"name":"echo","arguments":{},`+more+`}`); got.msg.code() != -32602 || len(p.got("tools/call")) != 0 {
				t.Errorf("%s: %s answered %s", era, more, got.body)
			}
		}
	}
}

// Of what a modern server asks a modern client, the client sees what is
// permitted; the rest is answered for it, and it cannot answer that itself.
func TestGatewayAnswersForTheClient(t *testing.T) {
	t.Parallel()
	secret := `{"method":"elicitation/create","params":{"message":"how?","requestedSchema":{"type":"object","properties":{"password":{"type":"string"}}}}}`
	form := `{` + elicit + `}`
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, askPolicy("elicitation"))
	u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
	scripted(p, needs(`"inputRequests":{"a":`+form+`,"b":`+secret+`},"requestState":"s"`), "")
	in := asked(t, u.send())
	if len(in.Requests) != 1 || in.Requests["a"].Method == "" {
		t.Errorf("asked %v", in.Requests)
	}
	got := u.with(`{"a":`+accept+`,"b":{"action":"accept","content":{"password":"x"}},"c":{"action":"accept"}}`, in.State).send()
	holds(t, got.body, `\"a\":`+strings.ReplaceAll(accept, `"`, `\"`), `\"b\":{\"action\":\"decline\"}`, `!password`, `!\"c\"`, `\"requestState\":\"s\"`)
	// Nothing left to ask: the server is answered at once, under a new id.
	scripted(p, needs(`"inputRequests":{"b":`+secret+`},"requestState":"t"`), "")
	from := r.d.Evidence.Size()
	got = u.send()
	holds(t, got.body, `\"b\":{\"action\":\"decline\"}`, `\"requestState\":\"t\"`, `!input_required`, `"id":1,`)
	calls := p.got("tools/call")
	if a, b := calls[len(calls)-2], calls[len(calls)-1]; a.id == b.id {
		t.Errorf("two calls under the id %s", a.id)
	}
	found := false
	for _, l := range r.since(from) {
		found = found || l.Type == "outcome" && strings.Contains(l.raw, `"ask.secret"`)
	}
	if !found {
		t.Error("the finding is not in the evidence")
	}
	// For ever asking what is declined ends too.
	scripted(p, needs(`"inputRequests":{"b":`+secret+`},"requestState":"t"`))
	holds(t, u.send().body, "more than 10 times", `"isError":true`)
	// Sampling is declared to nobody and permitted to nobody without a policy.
	scripted(p, needs(`"inputRequests":{"a":{`+sample+`}}`))
	if got := u.send(); got.msg.kind() != "upstream_malformed" {
		t.Errorf("sampling answered %s", got.body)
	}
	holds(t, p.last("tools/call").params, `!sampling`, `"elicitation"`)
	// A state alone is wrapped too, and comes back exactly.
	scripted(p, needs(`"requestState":"busy\u0021"`), "")
	in = asked(t, u.send())
	u.more = `,"requestState":"` + in.State + `"`
	holds(t, u.send().body, `\"requestState\":\"busy\\u0021\"`, `!inputResponses`)
}

// Answers nobody asked for reach a modern server as far as the client could be
// asked for their kind, whatever the question: a server may take them for answers
// to what policy keeps from being asked.
func TestAnswersNobodyAskedFor(t *testing.T) {
	t.Parallel()
	const more = `,"inputResponses":{"a":{"action":"accept"},"r":{"roots":[]},"s":{"role":"assistant","model":"m","content":{"type":"text","text":""}},"x":{"what":1},"y":1,"z":{"action":"perhaps"}}`
	for name, tt := range map[string]struct {
		policies, caps string
		want           []string
	}{
		"all":                   {askPolicy("elicitation") + askPolicy("roots") + askPolicy("sampling"), allCaps, []string{`"a":{`, `"r":{`, `"s":{`, `!"x"`, `!"y"`, `!"z"`}},
		"one kind":              {askPolicy("roots"), allCaps, []string{`!"a":{`, `"r":{`, `!"s":{`}},
		"not declared":          {askPolicy("roots") + askPolicy("elicitation"), `{"roots":{}}`, []string{`!"a":{`, `"r":{`}},
		"none":                  {"", allCaps, []string{`!inputResponses`}},
		"what is asked decides": {strings.Replace(askPolicy("elicitation"), ", resource);", `, resource) when { context.input.message != "x" };`, 1), allCaps, []string{`!inputResponses`}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, v2026)
			r, token := governPeer(t, p, tt.policies)
			u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: tt.caps, more: more}
			if got := u.send(); got.msg.Result == nil {
				t.Fatalf("answered %s", got.body)
			}
			holds(t, p.last("tools/call").params, tt.want...)
		})
	}
}

// A legacy server that sends people to an address first makes a modern client
// be asked; the retry makes the call afresh. A legacy client gets the error.
func TestURLElicitationRequired(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	demand := func(url string) func(x *exchange) {
		return func(x *exchange) {
			x.fault(-32042, "first", `{"elicitations":[{"mode":"url","message":"there","url":"`+url+`","elicitationId":"secret-id"}]}`)
		}
	}
	r, token := governPeer(t, p, askPolicy("elicitation")+eveAgent+"---\nkind: Policy\nid: not-eve\ncedar: |\n  forbid (principal == Mcp::Agent::\"eve\", action == Mcp::Action::\"up/requests/elicitation\", resource);\n")
	p.handle("tools/call", demand("https://a.example/x"))
	u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
	first := u.send()
	in := asked(t, first)
	holds(t, first.body, `"url":"https://a.example/x"`, `!secret-id`)
	p.handle("tools/call", nil)
	got := u.answering(in, `{"action":"accept"}`).send()
	if got.msg.Result == nil || strings.Contains(p.last("tools/call").params, "requestState") || strings.Contains(p.last("tools/call").params, "inputResponses") {
		t.Errorf("the retry answered %s, the server got %s", got.body, p.last("tools/call").params)
	}
	p.handle("tools/call", demand("https://a.example/x"))
	none := u
	none.caps = `{"elicitation":{}}`
	if got := none.send(); got.status != 400 || got.msg.code() != -32021 {
		t.Errorf("not declared: %d %s", got.status, got.body)
	}
	denied := u
	denied.token = r.token("eve", "up")
	if got := denied.send(); got.msg.code() != 4030 {
		t.Errorf("not permitted: %d %s", got.status, got.body)
	}
	old := r.legacy(token, "up", v2511, allCaps)
	if got := old.call("echo", `{}`); got.msg.code() != -32042 {
		t.Errorf("a legacy client got %s", got.body)
	}
	p.handle("tools/call", demand("file:///etc/passwd"))
	for _, got := range []reply{u.send(), old.call("echo", `{}`)} {
		holds(t, got.body, "not permitted", "!passwd")
	}
	eve := r.legacy(r.token("eve", "up"), "up", v2511, allCaps)
	p.handle("tools/call", demand("https://a.example/x"))
	holds(t, eve.call("echo", `{}`).body, "!a.example")
}

// A form that asks for a secret reaches nobody, whatever speaks with whatever.
func TestFormElicitationSecretRefused(t *testing.T) {
	t.Parallel()
	secret := `"method":"elicitation/create","params":{"message":"로그인하려면 비밀번호를 입력하세요","requestedSchema":{"type":"object","properties":{"value":{"type":"string"}}}}`
	for _, era := range []string{v2511, v2026} {
		p := newPeer(t, era)
		if era == v2026 {
			scripted(p, needs(`"inputRequests":{"a":{`+secret+`}}`), "")
		} else {
			newAsker(p, secret)
		}
		r, token := governPeer(t, p, askPolicy("elicitation"))
		u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
		for client, do := range map[string]func() string{
			"modern": func() string { return u.send().body },
			"legacy": func() string { return r.legacy(token, "up", v2511, allCaps).call("echo", `{}`).body },
		} {
			if era == v2026 {
				scripted(p, needs(`"inputRequests":{"a":{`+secret+`}}`), "")
			}
			from := r.d.Evidence.Size()
			body := do()
			holds(t, body, `\"action\":\"decline\"`, "!비밀번호")
			verdict, found := false, false
			for _, l := range r.leaves(from) {
				verdict = verdict || l.Type == "verdict" && l.What.Method == "elicitation/create" && l.Dec.Out == "deny"
				found = found || l.Type == "outcome" && strings.Contains(l.raw, `"ask.secret"`)
			}
			if !verdict || !found {
				t.Errorf("%s before %s: verdict %v, finding %v", client, era, verdict, found)
			}
		}
	}
}
