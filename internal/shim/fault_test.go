package shim_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/shim"
)

// TestNoAnswerOfAGatewayHangsTheClient gives every bad answer there is. The
// request ends in an error, and the next one works.
func TestNoAnswerOfAGatewayHangsTheClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   string
	}{
		"garbage":           {func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"jsonrpc"`) }, "gateway_malformed"},
		"nothing":           {func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, ``) }, "gateway_malformed"},
		"duplicate keys":    {func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"id":1,"id":1,"result":{}}`) }, "gateway_malformed"},
		"no object":         {func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `"x"`) }, "gateway_malformed"},
		"another id":        {func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"jsonrpc":"2.0","id":2,"result":{}}`) }, "gateway_malformed"},
		"an id's look":      {func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"jsonrpc":"2.0","id":"1","result":{}}`) }, "gateway_malformed"},
		"neither":           {func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"jsonrpc":"2.0","id":1}`) }, "gateway_malformed"},
		"a page":            {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, "gateway_malformed"},
		"202 for a request": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }, "gateway_malformed"},
		"500":               {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "gateway_unavailable"},
		"413":               {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(413) }, "too_large"},
		"huge":              {func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, strings.Repeat(" ", 64<<10)) }, "too_large"},
		"huge event": {func(w http.ResponseWriter, _ *http.Request) {
			stream(w)(`{"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("x", 64<<10) + `"}`)
		}, "too_large"},
		"endless line": {func(w http.ResponseWriter, r *http.Request) {
			stream(w)
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, ": "+strings.Repeat("x", 4<<10)); err != nil {
					return
				}
			}
		}, "too_large"},
		"stream of others": {func(w http.ResponseWriter, _ *http.Request) { stream(w)(`{"jsonrpc":"2.0","id":5,"result":{}}`) }, "gateway_lost"},
		"cut stream": {func(w http.ResponseWriter, _ *http.Request) {
			stream(w)
			panic(http.ErrAbortHandler)
		}, "gateway_lost"},
		"cut connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "gateway_unavailable"},
		"never":          {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "gateway_timeout"},
		"never ends": {func(w http.ResponseWriter, r *http.Request) {
			stream(w)
			<-r.Context().Done()
		}, "gateway_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) > 1 {
					echo(w, r)
					return
				}
				c.answer(w, r)
			})
			r := start(t, g.URL, func(cfg *shim.Config) {
				cfg.MaxAnswer, cfg.CallMax = 16<<10, patient
				if strings.HasPrefix(name, "never") {
					cfg.CallMax = 2 * time.Second // the next request has no more
				}
			})
			r.send(modern("1", "tools/call", `"name":"x"`))
			if f := r.refused("1", c.kind); f.Error.Message == "" {
				t.Error("it says nothing")
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("the call was made %d times", n)
			}
			r.send(modern("2", "tools/list", ""))
			if got := r.next(); !strings.Contains(got, `"result"`) {
				t.Errorf("then: %s", got)
			}
		})
	}
}

func TestASilentListenEnds(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(http.ResponseWriter){
		"begun": func(w http.ResponseWriter) { stream(w) }, "never begun": func(http.ResponseWriter) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
				begin(w)
				<-r.Context().Done()
			})
			r := start(t, g.URL, func(c *shim.Config) { c.Silence = 200 * time.Millisecond })
			r.send(modern("1", "subscriptions/listen", ""))
			r.refused("1", "gateway_timeout")
		})
	}
}

// TestErrorsWithoutAnIDGetTheRequests gives the client an answer where the
// gateway could not say whose it is.
func TestErrorsWithoutAnIDGetTheRequests(t *testing.T) {
	t.Parallel()
	for _, id := range []string{``, `"id":null,`} {
		g := newGateway(t, func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 400, `{"jsonrpc":"2.0",`+id+`"error":{"code":-32600,"message":"bad","data":[1.0]}}`)
		})
		r := start(t, g.URL)
		r.send(modern(`"q"`, "tools/list", ""))
		if got := r.next(); got != `{"jsonrpc":"2.0","id":"q","error":{"code":-32600,"message":"bad","data":[1.0]}}` {
			t.Errorf("got %s", got)
		}
	}
}

func TestTheTokenGoesToTheEnrolledGatewayOnly(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		g := newGateway(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/mcp/up", status) })
		r := start(t, g.URL)
		r.send(modern("1", "tools/call", ""))
		r.refused("1", "gateway_unavailable")
		g.set(func(g *gateway) {
			g.token = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) }
		})
		r = start(t, g.URL)
		r.send(modern("1", "tools/call", ""))
		r.refused("1", "gateway_unavailable")
	}
	if reached.Load() != 0 {
		t.Error("another host was reached")
	}
}

func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if strings.HasSuffix(r.Header.Get("Authorization"), "-1") {
			w.WriteHeader(401)
			return
		}
		echo(w, r)
	})
	r := start(t, g.URL)
	r.send(modern("1", "tools/call", ""))
	if got := r.next(); !strings.Contains(got, "result") || g.issued() != 2 || calls.Load() != 2 {
		t.Errorf("%s with %d tokens and %d attempts", got, g.issued(), calls.Load())
	}
	g.set(func(g *gateway) {
		g.answer = func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="the session was revoked"`)
			w.WriteHeader(401)
		}
	})
	r.send(modern("2", "tools/call", ""))
	if f := r.refused("2", "unauthenticated"); !strings.Contains(f.Error.Message, "the session was revoked") || calls.Load() != 4 {
		t.Errorf("%q after %d attempts", f.Error.Message, calls.Load())
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status     int
		head, body string
		kind, text string
		code       int
	}{
		{403, `Bearer error="insufficient_scope", error_description="ask the owner"`, "", "denied", "ask the owner", 4030},
		{403, "", `{"jsonrpc":"2.0","error":{"code":-32600,"message":"the origin is not allowed"}}`, "denied", "the origin is not allowed", 4030},
		{429, "", `{"jsonrpc":"2.0","error":{"code":4290,"message":"too many streams are open"}}`, "rate_limited", "too many streams are open", 4290},
	} {
		g := newGateway(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.head != "" {
				w.Header().Set("WWW-Authenticate", c.head)
			}
			reply(w, c.status, c.body)
		})
		r := start(t, g.URL, func(c *shim.Config) { c.Patience = 50 * time.Millisecond })
		r.send(modern("1", "tools/call", ""))
		if f := r.refused("1", c.kind); f.Error.Code != c.code || !strings.Contains(f.Error.Message, c.text) {
			t.Errorf("%d: %+v", c.status, f.Error)
		}
	}
}

func TestRetryAfterIsRespectedWithinThePatience(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 503} {
		var calls atomic.Int32
		var first atomic.Int64
		g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				first.Store(time.Now().UnixNano())
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(status)
				return
			}
			if waited := time.Now().UnixNano() - first.Load(); waited < int64(900*time.Millisecond) {
				t.Errorf("%d: again after %v", status, time.Duration(waited))
			}
			echo(w, r)
		})
		r := start(t, g.URL, func(c *shim.Config) { c.Patience = patient })
		r.send(modern("1", "tools/call", ""))
		if got := r.next(); !strings.Contains(got, "result") {
			t.Errorf("%d: %s", status, got)
		}
		g.set(func(g *gateway) {
			g.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(status)
			}
		})
		r.send(modern("2", "tools/call", ""))
		kind := map[int]string{429: "rate_limited", 503: "gateway_unavailable"}[status]
		if f := r.refused("2", kind); f.Error.Data.RetryAfter != 3600 {
			t.Errorf("%d: %+v", status, f.Error)
		}
	}
}

// closedPort is an address nothing listens on, outside of the range the system
// gives to whoever asks for any: other tests do all the time.
func closedPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.N(10000))
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

func TestAGatewayThatIsAwayIsAnErrorThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	r := start(t, "http://"+closedPort(t), func(c *shim.Config) { c.Patience = 100 * time.Millisecond })
	r.send(modern("1", "server/discover", ""))
	if f := r.refused("1", "gateway_unavailable"); !strings.Contains(f.Error.Message, "rutile up") || !strings.Contains(f.Error.Message, "rutile doctor") {
		t.Errorf("%q", f.Error.Message)
	}
	r.send(`{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}`)
	r.refused("2", "gateway_unavailable")
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

func TestAGatewayThatComesUpIsWaitedFor(t *testing.T) {
	t.Parallel()
	addr := closedPort(t)
	r := start(t, "http://"+addr, func(c *shim.Config) { c.Patience = patient })
	r.send(modern("1", "tools/list", ""))
	time.Sleep(300 * time.Millisecond)
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err) // somebody else took the port
	}
	g := &gateway{answer: echo, life: 300}
	g.Server = &httptest.Server{Listener: ln, Config: &http.Server{Handler: g}}
	g.Start()
	t.Cleanup(g.Close)
	if got := r.next(); !strings.Contains(got, "result") {
		t.Errorf("got %s", got)
	}
}

func TestTokensAreRenewedAheadOfTheirEnd(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	g := newGateway(t, echo)
	r := start(t, g.URL, func(c *shim.Config) { c.Now = func() time.Time { return time.Unix(0, now.Load()) } })
	ask := func() string {
		r.send(modern("1", "tools/list", ""))
		return r.next()
	}
	ask()
	ask()
	if g.issued() != 1 {
		t.Errorf("%d tokens for two requests", g.issued())
	}
	now.Add(int64(4 * time.Minute))
	ask()
	if g.issued() != 2 {
		t.Errorf("%d tokens a minute before the end of the first", g.issued())
	}
	// The endpoint fails while the token still lives: the token is used.
	now.Add(int64(4 * time.Minute))
	g.set(func(g *gateway) { g.token = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) } })
	if got := ask(); !strings.Contains(got, "result") {
		t.Errorf("a living token is not used: %s", got)
	}
	now.Add(int64(2 * time.Minute))
	r.send(modern("1", "tools/list", ""))
	r.refused("1", "gateway_unavailable")
}

func TestAWrongClockIsNamed(t *testing.T) {
	t.Parallel()
	for ahead, text := range map[time.Duration]string{time.Hour: "ahead of the gateway's", -time.Hour: "behind the gateway's", 0: "enroll again"} {
		g := newGateway(t, echo)
		g.set(func(g *gateway) {
			g.token = func(w http.ResponseWriter, _ *http.Request) {
				reply(w, 401, `{"error":"invalid_client","error_description":"the client_assertion is dated in the future; check the clock"}`)
			}
		})
		r := start(t, g.URL, func(c *shim.Config) { c.Now = func() time.Time { return time.Now().Add(ahead) } })
		r.send(modern("1", "tools/list", ""))
		if f := r.refused("1", "unauthenticated"); !strings.Contains(f.Error.Message, text) || !strings.Contains(f.Error.Message, "dated in the future") {
			t.Errorf("%v: %s", ahead, f.Error.Message)
		}
	}
}

func TestATokenEndpointThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	g := newGateway(t, echo)
	g.set(func(g *gateway) {
		g.token = func(_ http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm() // a server sees the client go once the body is read
			<-r.Context().Done()
		}
	})
	r := start(t, g.URL, func(c *shim.Config) { c.CallMax = 300 * time.Millisecond })
	r.send(modern("1", "tools/list", ""), modern("2", "tools/list", ""))
	for range 2 {
		if got := r.next(); !strings.Contains(got, "gateway_") {
			t.Errorf("got %s", got)
		}
	}
}

func TestAnUnknownServerIsNamed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, echo)
	g.set(func(g *gateway) {
		g.token = func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 400, fmt.Sprintf(`{"error":"invalid_target","error_description":%q}`, "the resource is not known here"))
		}
	})
	r := start(t, g.URL)
	r.send(modern("1", "tools/list", ""))
	if f := r.refused("1", "unknown_server"); !strings.Contains(f.Error.Message, "rutile server list") {
		t.Error(f.Error.Message)
	}
}
