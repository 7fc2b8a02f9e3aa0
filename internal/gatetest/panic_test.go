package gatetest_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// brittleLog panics on the goroutine that logs a text, once; the panic quotes
// what a log must not hold.
type brittleLog struct {
	lockedBuffer
	on     string
	broken atomic.Bool
}

func (l *brittleLog) Write(p []byte) (int, error) {
	if strings.Contains(string(p), l.on) && !l.broken.Swap(true) {
		panic("a payload of somebody")
	}
	return l.lockedBuffer.Write(p)
}

// brittle makes a daemon's log one that panics on a text.
func brittle(on string) (*brittleLog, func(*daemon.Options)) {
	l := &brittleLog{on: on}
	return l, func(o *daemon.Options) { o.Log = l }
}

// contained requires that a panic happened and was logged, with where it was and
// without what it quoted.
func (l *brittleLog) contained(t *testing.T) {
	t.Helper()
	const said = "level=ERROR msg=\"a panic was contained\""
	if !l.broken.Load() {
		t.Error("nothing panicked")
	}
	// Who waits is let go first.
	eventually(t, "the panic is logged", func() bool { return strings.Contains(l.String(), said) })
	text := l.String()
	if n := strings.Count(text, said); n != 1 || !strings.Contains(text, "mcpproxy.") || strings.Contains(text, "payload of somebody") {
		t.Errorf("it is logged %d times: %s", n, tail(text, 4000))
	}
}

// unknownOnce requires one intent and one outcome, unknown, of calls since from.
func (r *rig) unknownOnce(from uint64) {
	r.t.Helper()
	var said []string
	for _, l := range r.leaves(from) {
		if l.Type == "intent" || l.Type == "outcome" {
			said = append(said, l.Type+" "+l.Status)
		}
	}
	if len(said) != 2 || said[0] != "intent " || said[1] != "outcome unknown" {
		r.t.Errorf("recorded is %q", said)
	}
}

// A panic on a goroutine of the gateway ends what ran on it, and no more.
func TestPanicIsContained(t *testing.T) {
	t.Parallel()
	t.Run("the reader of an event stream", func(t *testing.T) {
		t.Parallel()
		p := newStreamPeer(t, func(*streamPeer) string { return atMessages })
		log, opt := brittle("dropped a message of a server")
		r := startRig(t, []func(*daemon.Options){opt})
		r.apply(sseServer(p.URL+"/sse"), "up")
		token := r.token("bot", "up")
		p.answers(func(s *eventStream, m streamPost) bool {
			if m.method == "tools/call" && !log.broken.Load() {
				s.say(`{"jsonrpc":"1.0","method":"x"}`)
				return true
			}
			return false
		})
		from := r.d.Evidence.Size()
		if got := r.call(token, "up", "echo", `{"text":"x"}`); got.msg.code() != -32603 {
			t.Errorf("answered %d %s", got.status, got.body)
		}
		log.contained(t)
		r.unknownOnce(from)
		if got := r.call(token, "up", "echo", `{"text":"x"}`); !strings.Contains(got.body, "mine") {
			t.Errorf("the next call: %d %s", got.status, got.body)
		}
	})
	t.Run("the reader of a process", func(t *testing.T) {
		t.Parallel()
		log, opt := brittle("dropped a message of a server")
		r, token, notes := stdioRig(t, "legacy", "sanctioned", "", opt)
		from := r.d.Evidence.Size()
		if got := r.call(token, "up", "do", do("garble", "")); got.msg.code() != -32603 {
			t.Errorf("answered %d %s", got.status, got.body)
		}
		log.contained(t)
		r.unknownOnce(from)
		if got := r.call(token, "up", "do", do("", "again")); !strings.Contains(got.body, "again") {
			t.Errorf("the next call: %d %s", got.status, got.body)
		}
		if n := len(notes("start")); n != 3 { // the one that lists, bot's, and the one after it
			t.Errorf("%d processes were started", n)
		}
		server, _ := r.d.Admin.Current().View.Server("up")
		eventually(t, "the process nobody reads ends", func() bool {
			st, _ := r.d.Proxy.Processes(server)
			return st.Running == 2
		})
	})
	t.Run("a call that may ask", func(t *testing.T) {
		t.Parallel()
		log, opt := brittle("a conversation ended with a call in flight")
		r, token, _ := stdioRig(t, "legacy", "sanctioned", askPolicy("elicitation"), opt)
		from := r.d.Evidence.Size()
		u := turn{r: r, token: token, server: "up", id: "1", tool: "do", args: do("die", ""), caps: allCaps}
		if got := u.send(); got.msg.code() != -32603 || !strings.Contains(got.body, "internal error") {
			t.Errorf("answered %d %s", got.status, got.body)
		}
		log.contained(t)
		r.unknownOnce(from)
		u.args = do("", "again")
		if got := u.send(); !strings.Contains(got.body, "again") {
			t.Errorf("the next call: %d %s", got.status, got.body)
		}
	})
	t.Run("a look at a server", func(t *testing.T) {
		t.Parallel()
		log, opt := brittle("a server's tools could not be listed")
		r, _, _ := stdioRig(t, "stillborn", "triaged", "", opt)
		r.apply(stdioManifest("stillborn", t.TempDir()+"/notes", "sanctioned"))
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			err := r.d.Proxy.Learn(ctx, "up")
			if err == nil || ctx.Err() != nil {
				t.Errorf("looking ends with %v", err)
			}
			cancel()
		}
		log.contained(t)
	})
	t.Run("the stream of a session", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t, v2511)
		log, opt := brittle("an upstream's stream ended")
		r, token := governPeer(t, p, "", opt)
		c := r.legacy(token, "up", v2511, `{}`)
		s := stream(t, "GET", r.url("up"), c.headers(), "")
		defer s.cancel()
		eventually(t, "the upstream's stream is open", func() bool { return len(p.got("GET")) == 1 })
		p.CloseClientConnections()
		select {
		case <-s.events: // closed
		case <-time.After(patience):
			t.Error("the stream goes on although nothing is relayed to it any more")
		}
		log.contained(t)
	})
}

// A handler that panicked has no response any more: nothing that comes later
// writes to it.
func TestNothingIsWrittenBehindAPanic(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	p.handle("tools/call", func(x *exchange) { x.sse() }) // and no answer
	log, opt := brittle("a call did not complete")
	r, token := governPeer(t, p, "", opt)
	from := r.d.Evidence.Size()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url("up"), strings.NewReader(modernBody("1", "tools/call", `"name":"echo","arguments":{}`)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = modernHeaders(token, "tools/call", "echo")
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("answered %d", resp.StatusCode)
	}
	time.Sleep(1500 * time.Millisecond) // the answer would begin now
	if text := log.String(); !log.broken.Load() || strings.Contains(text, "a panic was contained") {
		t.Errorf("the log says %s", tail(text, 4000))
	}
	for _, l := range r.leaves(from) {
		if l.Type == "outcome" && l.Status != "protocol_error" {
			t.Errorf("recorded is %s", l.raw)
		}
	}
}

// A panic between the opening of a conversation and its use leaves no process
// behind that nobody would end.
func TestPanicBehindAStartEndsItsProcess(t *testing.T) {
	t.Parallel()
	for _, era := range []string{"legacy", "modern"} {
		t.Run(era, func(t *testing.T) {
			t.Parallel()
			log, opt := brittle("a conversation with a server is open")
			log.broken.Store(true) // not while it is listed
			r, token, notes := stdioRig(t, era, "sanctioned", "", opt)
			log.broken.Store(false)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url("up"), strings.NewReader(modernBody("1", "tools/call", `"name":"do","arguments":{}`)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = modernHeaders(token, "tools/call", "do")
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				t.Errorf("a call that panicked answered %d", resp.StatusCode)
			}
			if !log.broken.Load() {
				t.Fatal("nothing panicked")
			}
			eventually(t, "the process nobody uses ends", func() bool { return len(notes("end")) == 1 })
			if got := r.call(token, "up", "do", do("", "again")); !strings.Contains(got.body, "again") {
				t.Errorf("the next call: %d %s", got.status, got.body)
			}
			if n := len(notes("start")); n != 3 { // the one that lists, the one of the panic, and the one after it
				t.Errorf("%d processes were started", n)
			}
		})
	}
}

// A panic in the handshake on an event stream leaves no stream behind that nobody
// would end, and the next call opens another.
func TestPanicInAHandshakeEndsItsStream(t *testing.T) {
	t.Parallel()
	for _, client := range []string{"modern", "legacy"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			s := newSDKSSE(t)
			log, opt := brittle("the event stream of a server is open")
			log.broken.Store(true) // not while it is listed
			r := startRig(t, []func(*daemon.Options){opt})
			r.apply(sseServer(s.URL+"/sse"), "up")
			token := r.token("bot", "up")
			rest := s.open.Load()
			log.broken.Store(false)
			h, body := modernHeaders(token, "tools/call", "echo"), modernBody("1", "tools/call", `"name":"echo","arguments":{"text":"x"}`)
			if client == "legacy" {
				c := oldClient{t: t, r: r, token: token, server: "up", version: v2511}
				h, body = c.headers(), `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url("up"), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = h
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				t.Errorf("a call that panicked answered %d", resp.StatusCode)
			}
			if !log.broken.Load() || s.streams.Load() != 2 {
				t.Fatalf("nothing panicked on a stream: %d were opened", s.streams.Load())
			}
			eventually(t, "the stream nobody uses ends", func() bool { return s.open.Load() == rest })
			if client == "legacy" {
				if got := r.legacy(token, "up", v2511, `{}`).call("echo", `{"text":"again"}`); !strings.Contains(got.body, "again") {
					t.Errorf("the next session: %d %s", got.status, got.body)
				}
			} else if got := r.call(token, "up", "echo", `{"text":"again"}`); !strings.Contains(got.body, "again") {
				t.Errorf("the next call: %d %s", got.status, got.body)
			}
		})
	}
}

// A panic while a call joins its session leaves its id free: the client may send
// the call again as it was.
func TestPanicWhileJoiningFreesTheID(t *testing.T) {
	t.Parallel()
	log, opt := brittle("starting a server's process")
	log.broken.Store(true) // not while it is listed
	r, _, _ := stdioRig(t, "legacy", "sanctioned", "", opt)
	c := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
	log.broken.Store(false)
	call := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"up__do","arguments":` + do("", "again") + `}}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.all(), strings.NewReader(call))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = c.headers()
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("answered %d", resp.StatusCode)
	}
	if !log.broken.Load() {
		t.Fatal("nothing panicked")
	}
	if got := c.post(call); !strings.Contains(got.body, "again") {
		t.Errorf("sent again it was answered %d %s", got.status, got.body)
	}
}
