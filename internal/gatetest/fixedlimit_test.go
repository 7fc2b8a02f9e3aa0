package gatetest_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A request's headers are bounded, in bytes and in the time they may take.
func TestRequestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	addr := strings.TrimPrefix(r.d.AgentsURL, "http://")
	send := func(text string) string {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(c, text) // it may be refused before all of it is sent
		b := make([]byte, 12)
		n, err := io.ReadFull(c, b)
		if n == 0 && err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
	head := "GET /mcp HTTP/1.1\r\nHost: " + addr + "\r\nX: "
	if got := send(head + strings.Repeat("x", 32<<10) + "\r\n\r\n"); got != "HTTP/1.1 401" {
		t.Errorf("32 KiB of headers were answered %q", got)
	}
	if got := send(head + strings.Repeat("x", 80<<10) + "\r\n\r\n"); got != "HTTP/1.1 431" {
		t.Errorf("80 KiB of headers were answered %q", got)
	}
	if got := send(head); !strings.Contains(got, "EOF") && !strings.Contains(got, "reset") {
		t.Errorf("headers that do not end were answered %q", got)
	}
}

// A subscription names so many tasks and no more.
func TestTasksOfAListenAreBounded(t *testing.T) {
	t.Parallel()
	r, _ := taskRig(t, "")
	token := r.token("bot", "up")
	body := func(n int) string {
		ids := strings.TrimSuffix(strings.Repeat(`"t-unknown",`, n), ",")
		return `{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{"notifications":{"taskIds":[` + ids + `]},` + taskMembers + `}}`
	}
	h := modernHeaders(token, "subscriptions/listen", "")
	if got := post(t, r.url("up"), h, body(257)); got.msg.code() != -32602 || !strings.Contains(got.body, "256") {
		t.Errorf("257 tasks were answered %d %s", got.status, got.body)
	}
	s := stream(t, http.MethodPost, r.url("up"), h, body(256))
	defer s.cancel()
	if e := s.next(); !strings.Contains(e, "acknowledged") {
		t.Errorf("256 tasks were answered %s", e)
	}
}

// A form whose words are too many to be read is shown to nobody.
func TestFormsAreBounded(t *testing.T) {
	t.Parallel()
	for size, shown := range map[int]bool{32 << 10: true, 65 << 10: false} {
		p := newPeer(t, v2511)
		newAsker(p, `"method":"elicitation/create","params":{"message":"`+strings.Repeat("how ", size/4)+`","requestedSchema":{"type":"object","properties":{}}}`)
		r, token := governPeer(t, p, askPolicy("elicitation"))
		u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
		if got := u.send(); strings.Contains(got.body, "input_required") != shown {
			t.Errorf("a form of %d bytes was answered %.300s", size, got.body)
		}
	}
}

// A server that asks a call again and again without waiting has so many of its
// requests looked at and no more; the rest are refused.
func TestRequestsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	var refused atomic.Int32
	p.handle("", func(x *exchange) {
		refused.Add(1)
		x.w.WriteHeader(http.StatusAccepted)
	})
	const asks, most = 48, 32
	p.handle("tools/call", func(x *exchange) {
		x.sse()
		var all strings.Builder
		for i := range asks { // at once
			fmt.Fprintf(&all, `data: {"jsonrpc":"2.0","id":"q-%d",%s}`+"\n\n", i, elicit)
		}
		_, _ = io.WriteString(x.w, all.String())
		x.w.(http.Flusher).Flush()
		<-x.r.Context().Done()
	})
	r, token := governPeer(t, p, askPolicy("elicitation"))
	u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
	if in := asked(t, u.send()); len(in.Requests) > most || len(in.Requests) == 0 {
		t.Errorf("of %d requests %d are asked", asks, len(in.Requests))
	}
	// Our answers on their way at once are bounded too, so that some are lost.
	eventually(t, "what is over is refused", func() bool { return refused.Load() > 0 })
}

// A stream that ends and is resumed does so a hundred times in one call.
func TestResumedStreamsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	var resumed atomic.Int32
	const again = "id: e\nretry: 0\n\n"
	p.handle("tools/call", func(x *exchange) {
		x.sse()
		_, _ = io.WriteString(x.w, again)
	})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.Header.Get("Last-Event-Id") == "e" {
			resumed.Add(1)
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, again)
			return
		}
		p.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	r := newRig(t)
	r.apply(botAndServer(front.URL+"/mcp", `["up/*"]`), "up")
	if got := r.call(r.token("bot", "up"), "up", "echo", `{}`); got.msg.kind() != "upstream_malformed" {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	if n := resumed.Load(); n != 100 {
		t.Errorf("it was resumed %d times, want 100", n)
	}
}

// A session over a process subscribes to so many resources and no more; one that
// is given up makes room.
func TestSubscribedResourcesAreBounded(t *testing.T) {
	t.Parallel()
	r, token, _ := stdioRig(t, "legacy resources", "sanctioned", "")
	c := r.legacy(token, "up", v2511, `{}`)
	subscribe := func(verb string, i int) reply {
		return c.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":"%s-%d","method":"resources/%s","params":{"uri":"test://%d"}}`, verb, i, verb, i))
	}
	const most = 1024
	next := make(chan int)
	done := make(chan bool)
	for range 16 {
		go func() {
			for i := range next {
				if got := subscribe("subscribe", i); got.msg.Result == nil {
					t.Errorf("subscription %d was answered %d %s", i, got.status, got.body)
				}
			}
			done <- true
		}()
	}
	for i := range most {
		next <- i
	}
	close(next)
	for range 16 {
		<-done
	}
	if got := subscribe("subscribe", most); got.msg.code() != -32603 {
		t.Errorf("one over was answered %d %s", got.status, got.body)
	}
	if got := subscribe("unsubscribe", 0); got.msg.Result == nil {
		t.Errorf("giving one up was answered %d %s", got.status, got.body)
	}
	if got := subscribe("subscribe", most); got.msg.Result == nil {
		t.Errorf("afterwards one more was answered %d %s", got.status, got.body)
	}
}

// One listen of the aggregate subscribes to so many resources and no more.
func TestResourcesOfAListenAreBounded(t *testing.T) {
	t.Parallel()
	a := newPeer(t, v2026)
	asked := make(chan int, 8)
	a.handle("subscriptions/listen", func(x *exchange) {
		if n := strings.Count(x.params, `"test://`); n > 0 {
			asked <- n
		}
		x.gone()
	})
	r := newRig(t)
	token := aggregate(t, r, map[string]string{"a": a.URL}, "")
	var uris []string
	for i := range 1100 {
		uris = append(uris, fmt.Sprintf(`"rutile+a:test://%d"`, i))
	}
	s := stream(t, http.MethodPost, r.all(), modernHeaders(token, "subscriptions/listen", ""),
		modernBody("1", "subscriptions/listen", `"notifications":{"resourceSubscriptions":[`+strings.Join(uris, ",")+`]}`))
	defer s.cancel()
	select {
	case n := <-asked:
		if n != 1024 {
			t.Errorf("the server is asked for %d resources, want 1024", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("the server is not asked")
	}
}

// What a server announces costs nothing before it comes: many answers that
// announce the most and send none of it hold little.
func TestAnnouncedAnswersHoldNothing(t *testing.T) {
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, "")
	const n = 20
	var announced atomic.Int32
	p.handle("tools/call", func(x *exchange) {
		x.w.Header().Set("Content-Type", "application/json")
		x.w.Header().Set("Content-Length", fmt.Sprint(30<<20))
		x.w.WriteHeader(http.StatusOK)
		x.w.(http.Flusher).Flush()
		announced.Add(1)
		<-x.r.Context().Done()
	})
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before, held := heap(), 0
	for range n {
		defer startPost(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), modernBody("1", "tools/call", `"name":"echo","arguments":{}`))()
	}
	eventually(t, "every answer is announced", func() bool { return announced.Load() == n })
	for range 20 { // until each is being read
		held = max(held, heap()-before)
		time.Sleep(10 * time.Millisecond)
	}
	if held > n*(3<<20) {
		t.Errorf("%d announced answers hold %d MiB", n, held>>20)
	}
}
