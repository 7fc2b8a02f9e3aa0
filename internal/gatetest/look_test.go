package gatetest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// A look at a server's lists has a time of its own: one that never ends is given
// up, the server is told, and the next look finds what is there by then.
func TestLookAtAServerIsBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, _ := governPeer(t, p, "", func(o *daemon.Options) { o.MCP.LookTime = time.Second })
	hung, gone := make(chan bool, 8), make(chan bool, 8)
	p.handle("tools/list", func(x *exchange) {
		hung <- true
		<-x.r.Context().Done()
		gone <- true
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.d.Proxy.Learn(ctx, "up"); err == nil || ctx.Err() != nil {
		t.Fatalf("a look that hangs ended with %v", err)
	}
	<-hung
	select {
	case <-gone:
	case <-ctx.Done():
		t.Error("the server was left with the request")
	}
	p.handle("tools/list", nil)
	if err := r.d.Proxy.Learn(ctx, "up"); err != nil {
		t.Errorf("the next look: %v", err)
	}
}

// A server that was down when it was applied is known soon after it is up,
// without anybody's doing.
func TestServerThatComesUpIsLookedAt(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	var up atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			panic(http.ErrAbortHandler)
		}
		u.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	r := newRig(t)
	r.apply(botAndServer(server.URL+"/mcp", `["up/*"]`))
	if err := r.d.Proxy.Learn(t.Context(), "up"); err == nil {
		t.Fatal("a server that is down was listed")
	}
	up.Store(true)
	eventually(t, "its tool is known", func() bool {
		_, ok := r.d.Admin.Current().View.Tool("up", "echo")
		return ok
	})
	if got := r.call(r.token("bot", "up"), "up", "echo", `{"text":"x"}`); got.msg.Error != nil {
		t.Errorf("the call: %s", got.body)
	}
}
