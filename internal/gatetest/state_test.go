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

// statedCall is a call that waits for its client, at a server of one era; other
// is a server beside it that asks the same.
type statedCall struct {
	r         *rig
	up, other *peer
	turn      turn
	in        input // what the client was asked
	good      turn  // the retry that answers it
}

func newStatedCall(t *testing.T, era string) *statedCall {
	t.Helper()
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
	c := &statedCall{r: r, up: p, other: o}
	c.turn = turn{r: r, token: r.token("bot", "up"), server: "up", id: "1", tool: "echo", args: `{"text":"a","n":1.0}`, caps: allCaps}
	c.in = asked(t, c.turn.send())
	c.good = c.turn.answering(c.in, accept)
	return c
}

// with is the good retry, changed.
func (c *statedCall) with(f func(*turn)) turn {
	changed := c.good
	f(&changed)
	return changed
}

// heard is how many calls and answers reached a server.
func (c *statedCall) heard() (n int) {
	for _, s := range []*peer{c.up, c.other} {
		n += len(s.got("tools/call")) + len(s.got("POST"))
	}
	return n
}

// refused requires that every retry is refused and that no server hears of one.
func (c *statedCall) refused(t *testing.T, retries map[string]turn) {
	t.Helper()
	before := c.heard()
	for name, retry := range retries {
		if got := retry.send(); got.msg.code() != -32602 {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	}
	if c.heard() != before {
		t.Error("a refused retry reached a server")
	}
}

func TestRequestStateOtherPrincipal(t *testing.T) {
	t.Parallel()
	for _, era := range []string{v2511, v2026} {
		t.Run(era, func(t *testing.T) {
			c := newStatedCall(t, era)
			c.refused(t, map[string]turn{
				"another agent":  c.with(func(x *turn) { x.token = c.r.token("eve", "up") }),
				"another person": c.with(func(x *turn) { x.token = c.r.subjectToken("bot", "ann") }),
				"another server": c.with(func(x *turn) { x.server, x.token = "other", c.r.token("bot", "other") }),
			})
			if got := c.good.send(); !strings.Contains(got.body, "the client said") {
				t.Errorf("the one it was given to was answered %s", got.body)
			}
		})
	}
}

func TestRequestStateTampered(t *testing.T) {
	t.Parallel()
	for _, era := range []string{v2511, v2026} {
		t.Run(era, func(t *testing.T) {
			c := newStatedCall(t, era)
			state := c.in.State
			flipped := []byte(state)
			if flipped[len(flipped)/2]++; flipped[len(flipped)/2] > 'z' {
				flipped[len(flipped)/2] = 'A'
			}
			said := func(old, now string) turn {
				return c.with(func(x *turn) { x.more = strings.Replace(x.more, old, now, 1) })
			}
			c.refused(t, map[string]turn{
				"another tool":        c.with(func(x *turn) { x.tool = "second" }),
				"other arguments":     c.with(func(x *turn) { x.args = `{"text":"b","n":1.0}` }),
				"more arguments":      c.with(func(x *turn) { x.args = `{"text":"a","n":1.0,"m":null}` }),
				"another number":      c.with(func(x *turn) { x.args = `{"text":"a","n":1.1}` }),
				"a flipped bit":       said(state, string(flipped)),
				"cut short":           said(state, state[:len(state)-4]),
				"no text":             said(`"`+state+`"`, `{"a":1}`),
				"empty":               said(state, ""),
				"invented":            said(state, "eyJrIjoicGFyayJ9"),
				"answers in an array": c.with(func(x *turn) { x.more = `,"inputResponses":[],"requestState":"` + state + `"` }),
			})
			heard := c.heard()
			for key := range c.in.Requests {
				if got := said(`"`+key+`"`, `"`+strings.ToUpper(key)+`"`).send(); got.status != 400 || got.msg.code() != -32600 {
					t.Errorf("a key in another case: answered %d %s", got.status, got.body)
				}
			}
			if c.heard() != heard {
				t.Error("a refused retry reached the server")
			}
			// Without its state an answer answers nothing that was asked here: a
			// legacy server asks again, a modern one gets it as one nobody asked for.
			posts := len(c.up.got("POST"))
			got := c.with(func(x *turn) { x.more, _, _ = strings.Cut(x.more, `,"requestState"`) }).send()
			if era == v2026 {
				holds(t, c.up.last("tools/call").params, "inputResponses", "!requestState")
			} else if fresh := asked(t, got); fresh.State == state || len(c.up.got("POST")) != posts || strings.Contains(c.up.last("tools/call").params, "inputResponses") {
				t.Errorf("stripped of its state an answer reached the server: %s", c.up.last("tools/call").params)
			}
			// Written otherwise it is the same call, and a key nobody asked for is
			// dropped.
			same := c.with(func(x *turn) {
				x.args, x.more = ` {"n":1.00, "\u0074ext":"a"}`, strings.Replace(x.more, `{`, `{"invented":{"action":"accept"},`, 1)
			})
			got = same.send()
			if !strings.Contains(got.body, "the client said") || strings.Contains(got.body, "invented") {
				t.Errorf("the good retry answered %s", got.body)
			}
			if last := c.up.last("tools/call").params; era == v2026 && (!strings.Contains(last, `"requestState":"s\u0074ate"`) || !strings.Contains(last, `"a":`+accept)) {
				t.Errorf("the server got %s", last)
			}
		})
	}
}

// A call that waits takes one answer, in parallel too. Where nothing waits, with
// a server of 2026-07-28, using a state twice is the server's to judge.
func TestRequestStateReplay(t *testing.T) {
	t.Parallel()
	c := newStatedCall(t, v2511)
	if got := c.good.send(); !strings.Contains(got.body, "the client said") {
		t.Fatalf("the first use answered %s", got.body)
	}
	c.refused(t, map[string]turn{"a second use": c.good})
	again := c.turn.answering(asked(t, c.turn.send()), accept)
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for i := range 8 {
		one := again
		one.id = fmt.Sprint(100 + i)
		wg.Go(func() {
			got := one.send()
			mu.Lock()
			defer mu.Unlock()
			codes[got.msg.code()]++
		})
	}
	wg.Wait()
	if codes[0] != 1 || codes[-32602] != 7 {
		t.Errorf("eight at once: %v", codes)
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
