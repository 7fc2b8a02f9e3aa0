package gatetest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/daemon"
)

const legacyHello = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"peer","version":"1"}}`

// later calls a tool beside and returns where its answer comes.
func (r *rig) later(token, tool, args string) chan reply {
	answer := make(chan reply, 1)
	go func() { answer <- r.call(token, "up", tool, args) }()
	return answer
}

// One principal's slow start of a conversation delays no other principal's, and
// who shares the conversation waits for the same start.
func TestSlowStartDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	t.Run("handshake", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t, v2511)
		r, token := governPeer(t, p, "")
		held, open := make(chan bool, 1), make(chan bool)
		defer close(open)
		var slow atomic.Bool
		slow.Store(true)
		p.handle("initialize", func(x *exchange) {
			if slow.Swap(false) {
				held <- true
				<-open
			}
			x.result(legacyHello)
		})
		n := len(p.got("initialize"))
		first := r.later(token, "echo", `{}`)
		<-held
		second := r.later(token, "echo", `{}`)
		if got := r.call(r.subjectToken("bot", "ann"), "up", "echo", `{}`); got.msg.Result == nil {
			t.Errorf("another principal was answered %d %s", got.status, got.body)
		}
		select {
		case got := <-second:
			t.Errorf("who shares the conversation was answered before it is open: %s", got.body)
		default:
		}
		open <- true
		for _, answer := range []chan reply{first, second} {
			if got := <-answer; got.msg.Result == nil {
				t.Errorf("answered %d %s", got.status, got.body)
			}
		}
		if n := len(p.got("initialize")) - n; n != 2 {
			t.Errorf("%d conversations were opened for two principals", n)
		}
	})
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		r, token, notes := stdioRig(t, "legacy held", "sanctioned", "")
		hold := r.childHold()
		if err := os.WriteFile(hold, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		first := r.later(token, "do", do("", "mine"))
		eventually(t, "the process is starting", func() bool { return len(notes("held")) == 1 })
		if got := r.call(r.subjectToken("bot", "ann"), "up", "do", do("", "ann's")); !strings.Contains(got.body, "ann's") {
			t.Errorf("another principal was answered %d %s", got.status, got.body)
		}
		if err := os.Remove(hold + ".taken"); err != nil {
			t.Fatal(err)
		}
		if got := <-first; !strings.Contains(got.body, "mine") {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	})
}

// A start has a time of its own. One that hangs is told as that and held against
// the server, though the time of the call that started the process is over sooner
// or at the same moment; one that is only slow is not lost with that call.
func TestHangingStartIsToldAsAStart(t *testing.T) {
	t.Parallel()
	for name, times := range map[string]struct{ call, start time.Duration }{
		"the call's time is shorter": {200 * time.Millisecond, time.Second},
		"both are the same":          {time.Second, time.Second},
		"the start's time is over":   {time.Minute, time.Second},
	} {
		for _, client := range []string{"modern", "legacy", "listen"} {
			t.Run(name+" "+client, func(t *testing.T) {
				t.Parallel()
				r, token, _ := stdioRig(t, "legacy silent", "triaged", "", func(o *daemon.Options) {
					o.MCP.CallTimeout, o.MCP.StartTime = times.call, times.start
				})
				r.apply(stdioManifest("legacy silent", r.childNotes(), "sanctioned"))
				var got reply
				switch client {
				case "modern":
					got = r.list(token, "up")
				case "legacy":
					c := oldClient{t: t, r: r, token: token, server: "up", version: v2511}
					got = post(t, r.url("up"), c.headers(), `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
				case "listen":
					got = post(t, r.url("up"), modernHeaders(token, "subscriptions/listen", ""), modernBody(`"s"`, "subscriptions/listen", `"notifications":`+wantsA))
				}
				if got.msg.kind() != "upstream_unavailable" || !strings.Contains(got.body, "did not answer within 1s") {
					t.Errorf("answered %d %s", got.status, got.body)
				}
				s, _ := r.d.Admin.Current().View.Server("up")
				if st, _ := r.d.Proxy.Processes(s); st.Failed != 1 || !strings.Contains(st.Last, "in time") {
					t.Errorf("an operator sees %+v", st)
				}
			})
		}
	}
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		r, token, notes := stdioRig(t, "legacy held", "sanctioned", "", func(o *daemon.Options) { o.MCP.CallTimeout = time.Second })
		hold := r.childHold()
		if err := os.WriteFile(hold, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		first := r.later(token, "do", do("", "mine"))
		eventually(t, "the process is starting", func() bool { return len(notes("held")) == 1 })
		<-time.After(time.Second) // the time of the call is over
		if err := os.Remove(hold + ".taken"); err != nil {
			t.Fatal(err)
		}
		if got := <-first; got.msg.kind() != "upstream_timeout" {
			t.Errorf("answered %d %s", got.status, got.body)
		}
		if got := r.call(token, "up", "do", do("", "again")); !strings.Contains(got.body, "again") {
			t.Errorf("the next call: %d %s", got.status, got.body)
		}
		if n := len(notes("start")); n != 2 { // and the one that lists
			t.Errorf("%d processes were started", n)
		}
	})
}

// Who gives up says nothing about the process: a start ends with its client, and is
// held against nobody.
func TestStartEndsWithWhoGaveUp(t *testing.T) {
	t.Parallel()
	r, token, notes := stdioRig(t, "legacy silent", "triaged", "")
	r.apply(stdioManifest("legacy silent", r.childNotes(), "sanctioned"))
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url("up"), strings.NewReader(modernBody("1", "tools/list", "")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = modernHeaders(token, "tools/list", "")
	gone := make(chan bool)
	go func() {
		defer close(gone)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	eventually(t, "the process is asked what it is", func() bool { return len(notes("got")) > 0 })
	leave()
	<-gone
	s, _ := r.d.Admin.Current().View.Server("up")
	eventually(t, "the process ended", func() bool {
		st, _ := r.d.Proxy.Processes(s)
		return st.Running == 0
	})
	if st, _ := r.d.Proxy.Processes(s); st.Failed != 0 || st.Crashes != 0 || !st.NextTry.IsZero() {
		t.Errorf("an operator sees %+v", st)
	}
}

// childHold is the file that makes one start of the child of "up" wait.
func (r *rig) childHold() string { return r.childNotes() + ".hold" }

// childNotes is the file the child of "up" writes its notes to.
func (r *rig) childNotes() string {
	s, _ := r.d.Admin.Current().View.Server("up")
	return s.Transport.Stdio.Env[childNotes]
}

// waitHeld makes a child that finds the file wait until the test lets it go.
func (c *child) waitHeld() {
	hold := os.Getenv(childNotes) + ".hold"
	if os.Rename(hold, hold+".taken") != nil {
		return
	}
	c.note("held %d", os.Getpid())
	for {
		if _, err := os.Stat(hold + ".taken"); errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Conversations that are being opened count as open ones: however many start at
// once, a server has no more of them than it may.
func TestStartsAreBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want     string
		perAgent, most int
		caller         func(r *rig, token string, i int) turn
	}{
		{"of a server", "too many conversations open", 1, 4, func(r *rig, _ string, i int) turn {
			return turn{token: r.subjectToken("bot", fmt.Sprint("person-", i)), caps: `{}`}
		}},
		{"of a principal", "differ in what its client can be asked", 8, 4, func(_ *rig, token string, i int) turn {
			return turn{token: token, caps: []string{
				`{}`, `{"elicitation":{}}`, `{"sampling":{}}`, `{"roots":{}}`, `{"elicitation":{},"sampling":{}}`, `{"elicitation":{},"roots":{}}`,
				`{"sampling":{},"roots":{}}`, `{"elicitation":{},"sampling":{},"roots":{}}`,
			}[i]}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, v2511)
			r, token := governPeer(t, p, askPolicy("elicitation")+askPolicy("sampling")+askPolicy("roots"), func(o *daemon.Options) { o.MCP.PerAgent = tt.perAgent })
			open := make(chan bool)
			release := sync.OnceFunc(func() { close(open) })
			t.Cleanup(release)
			p.handle("initialize", func(x *exchange) {
				<-open
				x.result(legacyHello)
			})
			before := len(p.got("initialize"))
			const callers = 8
			answers := make(chan reply, callers)
			for i := range callers {
				u := tt.caller(r, token, i)
				u.r, u.server, u.id, u.tool, u.args = r, "up", "1", "echo", `{}`
				go func() { answers <- u.send() }()
			}
			eventually(t, "every caller starts a conversation or is refused", func() bool {
				return len(p.got("initialize"))-before+len(answers) == callers
			})
			if n := len(p.got("initialize")) - before; n != tt.most {
				t.Errorf("%d conversations are being opened, want %d", n, tt.most)
			}
			release()
			served := 0
			for range callers {
				switch got := <-answers; {
				case got.msg.Result != nil:
					served++
				case !strings.Contains(got.body, tt.want):
					t.Errorf("answered %d %s", got.status, got.body)
				}
			}
			if served != tt.most {
				t.Errorf("%d callers were served, want %d", served, tt.most)
			}
		})
	}
}

// Who waits for a start by somebody who gives up, or whose start panics, starts
// anew.
func TestStartIsTakenOver(t *testing.T) {
	t.Parallel()
	t.Run("given up", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t, v2511)
		r, token := governPeer(t, p, "")
		held := make(chan bool, 1)
		var slow atomic.Bool
		slow.Store(true)
		p.handle("initialize", func(x *exchange) {
			if slow.Swap(false) {
				held <- true
				x.gone()
				return
			}
			x.result(legacyHello)
		})
		end := startPost(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), modernBody("1", "tools/call", `"name":"echo","arguments":{}`))
		<-held
		second := r.later(token, "echo", `{}`)
		end()
		if got := <-second; got.msg.Result == nil {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	})
	t.Run("panicked", func(t *testing.T) {
		t.Parallel()
		log, opt := brittle("starting a server's process")
		log.broken.Store(true) // not while it is listed
		r, token, _ := stdioRig(t, "legacy", "sanctioned", "", opt)
		log.broken.Store(false)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url("up"), strings.NewReader(modernBody("1", "tools/call", `"name":"do","arguments":{}`)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = modernHeaders(token, "tools/call", "do")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("a start that panicked answered %d", resp.StatusCode)
		}
		if got := r.call(token, "up", "do", do("", "again")); !strings.Contains(got.body, "again") {
			t.Errorf("the next call: %d %s", got.status, got.body)
		}
	})
}
