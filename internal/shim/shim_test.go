package shim_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/shim"
)

func TestBytesPassUnchanged(t *testing.T) {
	t.Parallel()
	const answer = `{ "result" : {"n":1.0e2,"big":12345678901234567890,"s":"\u00e9\/é","x":{"b":1,"a":2}},"id":"\u0061","jsonrpc":"2.0","unknown":[] }`
	g := newGateway(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, answer) })
	r := start(t, g.URL)
	line := `{"id":"\u0061", "method":"tools/list",  "params":{"x":1.50,` + meta + `},"jsonrpc":"2.0"}`
	r.send(line)
	if got := r.next(); got != answer {
		t.Errorf("the client got %s", got)
	}
	if _, bodies, _ := g.seen(); len(bodies) != 1 || bodies[0] != line {
		t.Errorf("the gateway got %q", bodies)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

func TestAMessageIsOneLine(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, "{\"jsonrpc\":\"2.0\",\r\n\"id\":1,\n\"result\":{\"a\":\"b\\n\"}}\n")
	})
	r := start(t, g.URL)
	r.send(modern("1", "tools/list", ""))
	if got := r.next(); strings.TrimRight(got, " ") != `{"jsonrpc":"2.0",  "id":1, "result":{"a":"b\n"}}` {
		t.Errorf("got %q", got)
	}
	r.quiet()
}

func TestUnreadableLinesAreAnsweredAndGoNowhere(t *testing.T) {
	t.Parallel()
	g := newGateway(t, echo)
	r := start(t, g.URL, func(c *shim.Config) { c.MaxLine = 4 << 10 })
	for _, c := range []struct {
		line string
		code int
	}{
		{`{`, -32700}, {`nonsense`, -32700}, {"{\"a\":\"\xff\"}", -32700}, {"\ufeff{}", -32700}, {`{} {}`, -32700},
		{`{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, -32600},
		{`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1,"\u0061":2}}`, -32600},
		{strings.Repeat("[", 1000) + strings.Repeat("]", 1000), -32600},
		{`1`, -32600}, {`{}`, -32600}, {`{"jsonrpc":"2.0","id":null,"method":"ping"}`, -32600},
		{`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, -32600}, {`{"jsonrpc":"2.0","id":{},"method":"ping"}`, -32600},
		{`{"jsonrpc":"2.0","id":1,"method":"a\r\nAuthorization: x"}`, -32600},
		{`{"jsonrpc":"2.0","id":1,"method":"ping","x":"` + strings.Repeat("x", 8<<10) + `"}`, -32600},
	} {
		r.send(c.line)
		kind := "invalid"
		if len(c.line) > 4<<10 {
			kind = "too_large"
		}
		if f := r.refused("", kind); f.Error.Code != c.code {
			t.Errorf("%.60s: code %d, want %d", c.line, f.Error.Code, c.code)
		}
	}
	r.send("", "  \t", modern("2", "tools/list", "")+"\r")
	if got := r.next(); got != `{"jsonrpc":"2.0","id":2,"result":{}}` {
		t.Errorf("after all of that: %s", got)
	}
	if _, bodies, _ := g.seen(); len(bodies) != 1 {
		t.Errorf("the gateway got %q", bodies)
	}
}

func TestHeadersMirrorTheBody(t *testing.T) {
	t.Parallel()
	g := newGateway(t, echo)
	r := start(t, g.URL)
	for _, c := range []struct{ method, params, name string }{
		{"tools/call", `"name":"plain tool"`, "plain tool"},
		{"tools/call", `"name":" näme"`, "=?base64?" + base64.StdEncoding.EncodeToString([]byte(" näme")) + "?="},
		{"tools/call", `"name":"=?base64?QQ==?="`, "=?base64?" + base64.StdEncoding.EncodeToString([]byte("=?base64?QQ==?=")) + "?="},
		{"tools/call", `"name":"a\r\nX-Evil: 1"`, "=?base64?" + base64.StdEncoding.EncodeToString([]byte("a\r\nX-Evil: 1")) + "?="},
		{"prompts/get", `"name":"p"`, "p"}, {"resources/read", `"uri":"file:///a"`, "file:///a"}, {"tasks/get", `"taskId":"t1"`, "t1"},
		{"tools/list", `"name":"not mirrored"`, ""},
	} {
		r.send(modern("1", c.method, c.params))
		r.next()
		heads, _, _ := g.seen()
		h := heads[len(heads)-1]
		if h.Get("Mcp-Method") != c.method || h.Get("Mcp-Name") != c.name || h.Get("Mcp-Protocol-Version") != "2026-07-28" || h.Get("X-Evil") != "" {
			t.Errorf("%s %s: headers %v", c.method, c.params, h)
		}
		if !strings.HasPrefix(h.Get("Authorization"), "Bearer "+canaryToken) || h.Get("Accept") != "application/json, text/event-stream" || h.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", h)
		}
	}
}

// TestMirroredArgumentsAreLearned calls a tool whose argument must be mirrored
// without having listed it: the shim lists, and tries once more, and only once.
func TestMirroredArgumentsAreLearned(t *testing.T) {
	t.Parallel()
	var calls, lists, always atomic.Int32
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("Mcp-Method") == "tools/list" && lists.Add(1)%2 == 1:
			reply(w, 200, `{"jsonrpc":"2.0","id":`+idOf(string(b))+`,"result":{"tools":[{"name":"other"}],"nextCursor":"2"}}`)
		case r.Header.Get("Mcp-Method") == "tools/list":
			reply(w, 200, `{"jsonrpc":"2.0","id":`+idOf(string(b))+`,"result":{"tools":[{"name":"t","inputSchema":{"properties":{"a":{"properties":{"b":{"type":"string","x-mcp-header":"Deep"}}},"n":{"x-mcp-header":"N"},"gone":{"x-mcp-header":"Gone"}}}}]}}`)
		case calls.Add(1) > 0 && (r.Header.Get("Mcp-Param-Deep") != "v" || r.Header.Get("Mcp-Param-N") != "42" || always.Load() == 1):
			reply(w, 400, `{"jsonrpc":"2.0","id":`+idOf(string(b))+`,"error":{"code":-32020,"message":"no"}}`)
		default:
			reply(w, 200, `{"jsonrpc":"2.0","id":`+idOf(string(b))+`,"result":{}}`)
		}
	})
	r := start(t, g.URL)
	call := modern("1", "tools/call", `"name":"t","arguments":{"a":{"b":"v"},"n":42}`)
	r.send(call)
	if got := r.next(); !strings.Contains(got, `"result"`) || calls.Load() != 2 || lists.Load() != 2 {
		t.Errorf("%s after %d calls and %d listings", got, calls.Load(), lists.Load())
	}
	r.send(call)
	if r.next(); calls.Load() != 3 || lists.Load() != 2 {
		t.Errorf("what is known is asked for again: %d calls, %d listings", calls.Load(), lists.Load())
	}
	always.Store(1)
	r.send(call)
	if got := r.next(); !strings.Contains(got, "-32020") || calls.Load() != 5 {
		t.Errorf("%s after %d calls", got, calls.Load())
	}
}

func TestModernCancellationClosesTheStream(t *testing.T) {
	t.Parallel()
	gone := make(chan bool, 2)
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
		event := stream(w)
		event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}`)
		<-r.Context().Done()
		gone <- true
	})
	r := start(t, g.URL)
	for _, method := range []string{"tools/call", "subscriptions/listen"} {
		r.send(modern(`"x"`, method, `"name":"slow"`))
		if got := r.next(); !strings.Contains(got, "progress") {
			t.Fatalf("got %s", got)
		}
		r.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}`)
		select {
		case <-gone:
		case <-time.After(patient):
			t.Fatal("the stream stays open")
		}
		r.quiet()
	}
	if _, bodies, _ := g.seen(); len(bodies) != 2 {
		t.Errorf("the gateway got %q", bodies)
	}
	// The id is free again.
	g.set(func(g *gateway) { g.answer = echo })
	eventually(t, "the id is free", func() bool {
		r.send(modern(`"x"`, "tools/list", ""))
		return strings.Contains(r.next(), "result")
	})
}

func TestAnIDInFlightIsNotTakenTwice(t *testing.T) {
	t.Parallel()
	begun, release := make(chan bool, 1), make(chan bool)
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-release
		echo(w, r)
	})
	r := start(t, g.URL)
	r.send(modern("7", "tools/call", `"name":"a"`))
	<-begun
	r.send(modern("7", "tools/call", `"name":"b"`))
	r.refused("", "invalid") // an answer with the id would be the first one's
	close(release)
	if got := r.next(); got != `{"jsonrpc":"2.0","id":7,"result":{}}` {
		t.Errorf("got %s", got)
	}
}

func TestTooManyRequestsAreRefusedAndAnswersStillPass(t *testing.T) {
	t.Parallel()
	release, begun := make(chan bool), make(chan bool, 8)
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-release
		echo(w, r)
	})
	r := start(t, g.URL, func(c *shim.Config) { c.InFlight, c.MaxHeld = 2, 2000 })
	r.send(modern("1", "tools/call", ""), modern("2", "tools/call", ""))
	<-begun
	<-begun
	r.send(modern("3", "tools/call", ""))
	r.refused("3", "busy")
	r.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	eventually(t, "there is room again", func() bool {
		r.send(modern("4", "tools/call", ""))
		select {
		case <-begun:
			return true
		case <-r.lines:
			return false
		}
	})
	r.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`)
	eventually(t, "large messages are refused while others are in flight", func() bool {
		r.send(modern("5", "tools/call", `"x":"`+strings.Repeat("x", 1900)+`"`))
		return r.refused("5", "busy").Error.Code == -32603
	})
	close(release)
	r.next()
}

func TestTheEndOfInputLetsAnswersThrough(t *testing.T) {
	t.Parallel()
	begun, release := make(chan bool, 1), make(chan bool)
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		select {
		case <-release:
		case <-r.Context().Done():
		}
		echo(w, r)
	})
	r := start(t, g.URL)
	r.send(modern("1", "tools/call", ""))
	<-begun
	r.in.Close()
	close(release)
	if got := r.next(); !strings.Contains(got, `"result"`) {
		t.Errorf("got %s", got)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

func TestTheEndOfInputWaitsNoLongerThanTheGrace(t *testing.T) {
	t.Parallel()
	begun, gone := make(chan bool, 1), make(chan bool, 1)
	g := newGateway(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- true
		<-r.Context().Done()
		gone <- true
	})
	r := start(t, g.URL, func(c *shim.Config) { c.Grace = 50 * time.Millisecond })
	r.send(modern("1", "tools/call", ""))
	<-begun
	if err := r.end(); err != nil {
		t.Error(err)
	}
	r.refused("1", "closed")
	<-gone
}

func TestASignalEndsIt(t *testing.T) {
	t.Parallel()
	begun := make(chan bool, 1)
	g := newGateway(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- true
		<-r.Context().Done()
	})
	r := start(t, g.URL)
	r.send(modern("1", "tools/call", ""))
	<-begun
	r.stop()
	select {
	case err := <-r.done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patient):
		t.Error("it does not end")
	}
}

func TestAClientThatStopsReadingEndsIt(t *testing.T) {
	t.Parallel()
	g := newGateway(t, echo)
	r := start(t, g.URL, func(c *shim.Config) { c.Out = brokenPipe{} })
	r.send(modern("1", "tools/call", ""))
	select {
	case err := <-r.done:
		if err == nil || !strings.Contains(err.Error(), "does not read") {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patient):
		t.Error("it does not end")
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestAClientThatReadsNothingCanBeEnded floods a client that never reads; a
// signal must still end the program.
func TestAClientThatReadsNothingCanBeEnded(t *testing.T) {
	t.Parallel()
	g := newGateway(t, echo)
	_, stuck := io.Pipe()
	r := start(t, g.URL, func(c *shim.Config) { c.Out = stuck })
	flooded := make(chan bool, 50)
	go func() {
		for range 50 {
			if _, err := io.WriteString(r.in, "nonsense\n"); err != nil {
				return
			}
			flooded <- true
		}
	}()
	<-flooded
	r.stop()
	select {
	case <-r.done:
	case <-time.After(patient):
		t.Error("it does not end")
	}
}

func TestBatchesAreAnsweredWhole(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, `[{"jsonrpc":"2.0","id":2,"result":{}},{"jsonrpc":"2.0","id":1,"result":{}}]`)
	})
	r := start(t, g.URL)
	r.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`)
	if got := r.next(); !strings.HasPrefix(got, "[") {
		t.Errorf("got %s", got)
	}
	g.set(func(g *gateway) {
		g.answer = func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `[{"jsonrpc":"2.0","id":9,"result":{}}]`) }
	})
	r.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`)
	r.refused("1", "gateway_malformed")
	r.refused("2", "gateway_malformed")
	r.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"ping"}]`)
	r.refused("", "invalid")
}

func TestNoSecretIsSaid(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/?"+r.Header.Get("Authorization"))
		reply(w, 403, `{}`)
	})
	r := start(t, g.URL)
	r.send(modern("1", "tools/call", ""))
	f := r.refused("1", "denied")
	g.set(func(g *gateway) {
		g.token = func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, `{"access_token":"`+canaryToken+` bad","token_type":"Bearer"}`)
		}
	})
	if err := r.end(); err != nil {
		t.Error(err)
	}
	r2 := start(t, g.URL)
	r2.send(modern("1", "tools/call", ""))
	f2 := r2.refused("1", "gateway_unavailable")
	for _, s := range []string{f.Error.Message, f2.Error.Message, r.logs.String(), r2.logs.String()} {
		if strings.Contains(s, canaryToken) || strings.Contains(s, "eyJ") {
			t.Errorf("a token is said: %s", s)
		}
	}
}
