package gatetest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

const eveAgent = `---
kind: Agent
id: eve
owner: team
purpose: test
riskTier: 1
tools: ["up/*", "other/*"]
`

// A retry is a request like any other: its state is good for the principal, the
// call and the time it was given for, once, and for nothing else.
func TestRequestStateIsBound(t *testing.T) {
	t.Parallel()
	for _, era := range []string{v2511, v2026} {
		t.Run(era, func(t *testing.T) {
			p, o := newPeer(t, era), newPeer(t, era)
			for _, s := range []*peer{p, o} {
				s.list("tools/list", toolList(echoTool, strings.Replace(echoTool, "echo", "second", 1)))
				if era == v2026 {
					s.handle("tools/call", func(x *exchange) {
						if strings.Contains(x.params, "inputResponses") || strings.Contains(x.params, "requestState") {
							x.text("the client said " + x.params)
							return
						}
						x.result(`{"resultType":"input_required","inputRequests":{"a":{` + elicit + `}},"requestState":"s\u0074ate"}`)
					})
				} else {
					newAsker(s, elicit)
				}
			}
			r := newRig(t)
			r.apply(botAndServer(p.URL+"/mcp", `["up/*", "other/*"]`)+eveAgent+"---\nkind: Server\nid: other\nowner: team\ntransport: {http: {url: \""+o.URL+"/mcp\"}}\nstate: sanctioned\n"+askPolicy("elicitation")+strings.NewReplacer("ask-", "ask-other-", "up/", "other/").Replace(askPolicy("elicitation")), "up", "other")
			token := r.token("bot", "up")
			u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{"text":"a","n":1.0}`, caps: allCaps}
			said := func() int { return len(p.got("POST")) + len(o.got("POST")) }
			in := asked(t, u.send())
			calls := len(p.got("tools/call")) + len(o.got("tools/call"))
			good := u.answering(in, accept)
			n := said()
			change := func(f func(*turn)) turn {
				c := good
				f(&c)
				return c
			}
			parallel := strings.Replace(good.more, in.State, asked(t, u.send()).State, 1)
			flipped := []byte(in.State)
			if flipped[len(flipped)/2]++; flipped[len(flipped)/2] > 'z' {
				flipped[len(flipped)/2] = 'A'
			}
			for name, c := range map[string]turn{
				"another agent":       change(func(c *turn) { c.token = r.token("eve", "up") }),
				"another server":      change(func(c *turn) { c.server, c.token = "other", r.token("bot", "other") }),
				"another tool":        change(func(c *turn) { c.tool = "second" }),
				"other arguments":     change(func(c *turn) { c.args = `{"text":"b","n":1.0}` }),
				"more arguments":      change(func(c *turn) { c.args = `{"text":"a","n":1.0,"m":null}` }),
				"another number":      change(func(c *turn) { c.args = `{"text":"a","n":1.1}` }),
				"a flipped bit":       change(func(c *turn) { c.more = strings.Replace(c.more, in.State, string(flipped), 1) }),
				"cut short":           change(func(c *turn) { c.more = strings.Replace(c.more, in.State, in.State[:len(in.State)-4], 1) }),
				"no text":             change(func(c *turn) { c.more = strings.Replace(c.more, `"`+in.State+`"`, `{"a":1}`, 1) }),
				"empty":               change(func(c *turn) { c.more = strings.Replace(c.more, in.State, "", 1) }),
				"invented":            change(func(c *turn) { c.more = strings.Replace(c.more, in.State, "eyJrIjoicGFyayJ9", 1) }),
				"answers in an array": change(func(c *turn) { c.more = `,"inputResponses":[],"requestState":"` + in.State + `"` }),
			} {
				if got := c.send(); got.msg.code() != -32602 {
					t.Errorf("%s: answered %d %s", name, got.status, got.body)
				}
			}
			for key := range in.Requests {
				c := change(func(c *turn) { c.more = strings.Replace(c.more, `"`+key+`"`, `"`+strings.ToUpper(key)+`"`, 1) })
				if got := c.send(); got.status != 400 || got.msg.code() != -32600 {
					t.Errorf("a key in another case: answered %d %s", got.status, got.body)
				}
			}
			if said() != n || len(p.got("tools/call"))+len(o.got("tools/call")) != calls+1 {
				t.Errorf("a refused retry reached a server")
			}
			// Without its state an answer answers nothing that was asked here: a
			// legacy server asks again, a modern one gets it as one nobody asked for.
			got := change(func(c *turn) { c.more, _, _ = strings.Cut(c.more, `,"requestState"`) }).send()
			if era == v2026 {
				holds(t, p.last("tools/call").params, "inputResponses", "!requestState")
			} else if fresh := asked(t, got); fresh.State == in.State || said() != n || strings.Contains(p.last("tools/call").params, "inputResponses") {
				t.Errorf("stripped of its state an answer reached the server: %s", p.last("tools/call").params)
			}
			// Written otherwise it is the same call, and a key nobody asked for is
			// dropped.
			same := change(func(c *turn) {
				c.args, c.more = ` {"n":1.00, "\u0074ext":"a"}`, strings.Replace(c.more, `{`, `{"invented":{"action":"accept"},`, 1)
			})
			got = same.send()
			if !strings.Contains(got.body, "the client said") || strings.Contains(got.body, "invented") {
				t.Errorf("the good retry answered %s", got.body)
			}
			if era == v2026 {
				last := p.last("tools/call").params
				if !strings.Contains(last, `"requestState":"s\u0074ate"`) || !strings.Contains(last, `"a":`+accept) {
					t.Errorf("the server got %s", last)
				}
				return // nothing waits here: using a state twice is the server's to judge
			}
			if got := good.send(); got.msg.code() != -32602 {
				t.Errorf("a second use answered %s", got.body)
			}
			// In parallel one is taken.
			var wg sync.WaitGroup
			var mu sync.Mutex
			codes := map[int]int{}
			for i := range 8 {
				c := good
				c.more, c.id = parallel, fmt.Sprint(100+i)
				wg.Go(func() {
					got := c.send()
					mu.Lock()
					defer mu.Unlock()
					codes[got.msg.code()]++
				})
			}
			wg.Wait()
			if codes[0] != 1 || codes[-32602] != 7 {
				t.Errorf("eight at once: %v", codes)
			}
		})
	}
}

// A state given at one endpoint is not one at the other, in neither direction,
// and the call that waits goes on all the same.
func TestRequestStateKeepsToItsEndpoint(t *testing.T) {
	t.Parallel()
	for _, era := range []string{v2511, v2026} {
		t.Run(era, func(t *testing.T) {
			p := newPeer(t, era)
			if era == v2026 {
				p.handle("tools/call", func(x *exchange) {
					if strings.Contains(x.params, "inputResponses") {
						x.text("the client said so")
						return
					}
					x.result(`{"resultType":"input_required","inputRequests":{"a":{` + elicit + `}},"requestState":"s"}`)
				})
			} else {
				newAsker(p, elicit)
			}
			r := newRig(t)
			r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`)+askPolicy("elicitation"), "up")
			at := turn{r: r, token: r.token("bot", "up"), server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
			all := at
			all.token, all.server, all.tool = r.token("bot", "*"), "", "up__echo"
			for name, c := range map[string][2]turn{"of a server's at the aggregate": {at, all}, "of the aggregate at a server": {all, at}} {
				in := asked(t, c[0].send())
				moved := c[1].answering(in, accept)
				if got := moved.send(); got.msg.code() != -32602 {
					t.Errorf("a state %s: %s", name, got.body)
				}
				if got := c[0].answering(in, accept).send(); got.msg.Result == nil || strings.Contains(got.body, "input_required") {
					t.Errorf("a state %s, where it was given: %s", name, got.body)
				}
			}
		})
	}
}
