package gatetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// progressing is the params of a call that wants progress.
const progressing = `"name":"echo","arguments":{},"_meta":{"progressToken":"tok"`

func modernProgressing() string {
	return `{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{` + progressing + `,` + strings.TrimPrefix(meta, `"_meta":{`) + `}}`
}

func legacyProgressing(id string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{` + progressing + `}}}`
}

// tokenOf is the raw progress token a request reached the upstream with.
func (x *exchange) tokenOf() string {
	var m struct {
		Meta struct {
			Token json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	}
	_ = json.Unmarshal([]byte(x.params), &m)
	return string(m.Meta.Token)
}

func (x *exchange) progress(n int) {
	x.event(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d}}`, x.tokenOf(), n))
}

// Each event reaches the client when it comes, not when the call ends.
func TestEventsAreRelayedOneByOne(t *testing.T) {
	t.Parallel()
	for up, revisions := range map[string][]string{"modern": {v2026}, "legacy": {v2511}} {
		t.Run(up, func(t *testing.T) {
			p := newPeer(t, revisions...)
			step := make(chan bool)
			p.handle("tools/call", func(x *exchange) {
				x.sse()
				for i := 1; i <= 3; i++ {
					x.progress(i)
					<-step
				}
				x.text("end")
			})
			r, token := governPeer(t, p, "")
			old := r.legacy(token, "up", v2511, `{}`)
			for era, open := range map[string]func() *streamed{
				"modern": func() *streamed {
					return stream(t, "POST", r.url("up"), modernHeaders(token, "tools/call", "echo"), modernProgressing())
				},
				"legacy": func() *streamed { return stream(t, "POST", r.url("up"), old.headers(), legacyProgressing("1")) },
			} {
				s := open()
				if ct := s.header.Get("Content-Type"); ct != "text/event-stream" || s.header.Get("X-Accel-Buffering") != "no" {
					t.Errorf("%s: headers %v", era, s.header)
				}
				for i := 1; i <= 3; i++ {
					if e := s.next(); !strings.Contains(e, `"progressToken":"tok"`) || !strings.Contains(e, fmt.Sprintf(`"progress":%d`, i)) {
						t.Errorf("%s: event %d is %s", era, i, e)
					}
					step <- true
				}
				if rest := s.rest(); len(rest) != 1 || !strings.Contains(rest[0], `"end"`) {
					t.Errorf("%s: the stream ended with %q", era, rest)
				}
			}
		})
	}
}

// An answer that comes as JSON stays JSON.
func TestRepresentationFollowsTheServer(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026, v2511)
	r, token := governPeer(t, p, "")
	old := r.legacy(token, "up", v2511, `{}`)
	for want, f := range map[string]func(*exchange){"application/json": func(x *exchange) { x.text("x") }, "text/event-stream": func(x *exchange) { x.sse(); x.text("x") }} {
		p.handle("tools/call", f)
		for era, got := range map[string]reply{"modern": r.call(token, "up", "echo", `{}`), "legacy": old.call("echo", `{}`)} {
			if got.header.Get("Content-Type") != want || got.msg.Result == nil {
				t.Errorf("%s: %s for %s: %s", era, got.header.Get("Content-Type"), want, got.body)
			}
		}
	}
}

// A modern client only gets what it asked for on a call's stream.
func TestOnlyAskedForNotifications(t *testing.T) {
	t.Parallel()
	for up, revisions := range map[string][]string{"modern": {v2026}, "legacy": {v2511}} {
		t.Run(up, func(t *testing.T) {
			p := newPeer(t, revisions...)
			p.handle("tools/call", func(x *exchange) {
				x.sse()
				for _, level := range []string{"debug", "warning", "error"} {
					x.event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"` + level + `","data":"log-` + level + `"}}`)
				}
				for _, other := range []string{"notifications/tools/list_changed", "notifications/resources/updated", "notifications/vendor", "notifications/cancelled"} {
					x.event(`{"jsonrpc":"2.0","method":"` + other + `","params":{"x":"other"}}`)
				}
				x.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"tok2","progress":1}}`)
				x.text("end")
			})
			r, token := governPeer(t, p, "")
			call := func(more string) string {
				return post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{},`+strings.TrimSuffix(meta, "}")+more+`}}}`).body
			}
			if got := call(""); strings.Contains(got, "log-") || strings.Contains(got, "other") || strings.Contains(got, "tok2") || !strings.Contains(got, "end") {
				t.Errorf("without a level: %s", got)
			}
			got := call(`,"io.modelcontextprotocol/logLevel":"warning","progressToken":"tok"`)
			if strings.Contains(got, "log-debug") || !strings.Contains(got, "log-warning") || !strings.Contains(got, "log-error") || strings.Contains(got, "other") || strings.Contains(got, "tok2") {
				t.Errorf("from warning up: %s", got)
			}
		})
	}
}

// A modern client that closes its stream cancels the call, before the first
// event and after it, and the upstream learns it in its own way.
func TestModernClientCancels(t *testing.T) {
	t.Parallel()
	for up, revisions := range map[string][]string{"modern": {v2026}, "legacy": {v2511}} {
		for _, started := range []bool{false, true} {
			t.Run(fmt.Sprint(up, " streaming ", started), func(t *testing.T) {
				p := newPeer(t, revisions...)
				reached, ended := make(chan bool, 1), make(chan bool, 1)
				p.handle("tools/call", func(x *exchange) {
					if started {
						x.sse()
						x.progress(1)
					}
					reached <- true
					ended <- x.gone()
				})
				r, token := governPeer(t, p, "")
				from := r.d.Evidence.Size()
				ctx, cancel := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, "POST", r.url("up"), strings.NewReader(modernProgressing()))
				if err != nil {
					t.Fatal(err)
				}
				req.Header = modernHeaders(token, "tools/call", "echo")
				go func() {
					if resp, err := http.DefaultClient.Do(req); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}()
				<-reached
				cancel()
				if !<-ended {
					t.Fatal("the upstream's request does not end")
				}
				if up == "legacy" {
					eventually(t, "the upstream is told", func() bool { return len(p.got("notifications/cancelled")) == 1 })
					call, told := p.last("tools/call"), p.last("notifications/cancelled")
					if !strings.Contains(told.params, `"requestId":`+call.id) || told.session != call.session {
						t.Errorf("call %s in %s was cancelled with %s in %s", call.id, call.session, told.params, told.session)
					}
				}
				eventually(t, "the outcome is recorded", func() bool {
					got := r.since(from)
					return len(got) == 2 && got[1].Status == "cancelled"
				})
			})
		}
	}
}

// A legacy client cancels with a notification; leaving is not cancelling.
func TestLegacyClientCancels(t *testing.T) {
	t.Parallel()
	for up, revisions := range map[string][]string{"modern": {v2026}, "legacy": {v2511}} {
		for _, started := range []bool{false, true} {
			t.Run(fmt.Sprint(up, " streaming ", started), func(t *testing.T) {
				p := newPeer(t, revisions...)
				reached, ended := make(chan bool, 1), make(chan bool, 1)
				p.handle("tools/call", func(x *exchange) {
					if started {
						x.sse()
						x.progress(1)
					}
					reached <- true
					ended <- x.gone()
				})
				r, token := governPeer(t, p, "")
				c := r.legacy(token, "up", v2511, `{}`)
				from := r.d.Evidence.Size()
				answered := make(chan reply, 1)
				go func() { answered <- c.post(legacyProgressing(`"call-1"`)) }()
				<-reached
				// Another id, and the same text as a number, mean another call.
				for _, id := range []string{`"call-2"`, `1`} {
					if n := c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`); n.status != 202 {
						t.Errorf("answered %d", n.status)
					}
				}
				select {
				case <-ended:
					t.Fatal("the call ended by another's cancellation")
				case <-time.After(50 * time.Millisecond):
				}
				c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"call-1","reason":"enough"}}`)
				if !<-ended {
					t.Fatal("the upstream's request does not end")
				}
				if got := <-answered; strings.Contains(got.body, `"id":"call-1"`) {
					t.Errorf("a cancelled request was answered %s", got.body)
				}
				if up == "legacy" {
					eventually(t, "the upstream is told", func() bool { return len(p.got("notifications/cancelled")) == 1 })
					if call, told := p.last("tools/call"), p.last("notifications/cancelled"); !strings.Contains(told.params, `"requestId":`+call.id) {
						t.Errorf("call %s was cancelled with %s", call.id, told.params)
					}
				}
				eventually(t, "the outcome is recorded", func() bool {
					got := r.since(from)
					return len(got) == 2 && got[1].Status == "cancelled"
				})
			})
			t.Run(fmt.Sprint(up, " leaves, streaming ", started), func(t *testing.T) {
				p := newPeer(t, revisions...)
				reached, left := make(chan bool, 1), make(chan bool)
				p.handle("tools/call", func(x *exchange) {
					if started {
						x.sse()
						x.progress(1)
					}
					reached <- true
					<-left
					if started {
						for i := 2; i < 6; i++ {
							x.progress(i)
							time.Sleep(20 * time.Millisecond)
						}
					}
					if x.r.Context().Err() == nil {
						x.text("finished anyway")
					}
				})
				r, token := governPeer(t, p, "")
				c := r.legacy(token, "up", v2511, `{}`)
				from := r.d.Evidence.Size()
				ctx, cancel := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, "POST", r.url("up"), strings.NewReader(legacyProgressing("7")))
				if err != nil {
					t.Fatal(err)
				}
				req.Header = c.headers()
				gone := make(chan bool)
				go func() {
					defer close(gone)
					if resp, err := http.DefaultClient.Do(req); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}()
				<-reached
				cancel()
				<-gone
				time.Sleep(50 * time.Millisecond) // the gateway sees the connection end
				close(left)
				eventually(t, "the outcome is recorded", func() bool { return len(r.since(from)) == 2 })
				if got := r.since(from); got[1].Status != "ok" || got[1].Reached != "yes" {
					t.Errorf("the call ended %s, reached %s", got[1].Status, got[1].Reached)
				}
				if n := len(p.got("notifications/cancelled")); n != 0 {
					t.Error("leaving was taken for a cancellation")
				}
			})
		}
	}
}

// Of a server's events only messages are read, and of its reconnection times
// those that are one.
func TestOnlyMessageEventsAreRead(t *testing.T) {
	t.Parallel()
	for up, revisions := range map[string][]string{"modern": {v2026}, "legacy": {v2511}} {
		t.Run(up, func(t *testing.T) {
			p := newPeer(t, revisions...)
			p.handle("tools/call", func(x *exchange) {
				x.sse()
				for _, name := range []string{"endpoint", "ping", "Message", "message2", "error"} {
					_, _ = io.WriteString(x.w, "event: "+name+"\ndata: {\"jsonrpc\":\"2.0\",\"id\":"+x.id+",\"result\":{\"resultType\":\"complete\",\"content\":[{\"type\":\"text\",\"text\":\"canary\"}]}}\n\n")
				}
				_, _ = io.WriteString(x.w, "retry: "+strings.Repeat("9", 1<<20)+"\n\nretry: -1\n\nretry: 1e3\n\nretry: 250\n\n: comment\n\nunknown: field\n\ndata:\n\n")
				_, _ = io.WriteString(x.w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\r\ndata:\"id\":"+x.id+",\rdata: \"result\":{\"resultType\":\"complete\",\"content\":[]}}\n\n")
			})
			r, token := governPeer(t, p, "")
			old := r.legacy(token, "up", v2511, `{}`)
			for era, got := range map[string]reply{"modern": r.call(token, "up", "echo", `{}`), "legacy": old.call("echo", `{}`)} {
				if strings.Contains(got.body, "canary") || !strings.Contains(got.body, `"content":[]`) {
					t.Errorf("%s: answered %.500s", era, got.body)
				}
				if retry := strings.Count(got.body, "retry:"); strings.Contains(got.body, "retry: 250") != (era == "legacy") || retry > 1 {
					t.Errorf("%s: relayed %d reconnection times: %.500s", era, retry, got.body)
				}
			}
		})
	}
}
