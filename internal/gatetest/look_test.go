package gatetest_test

import (
	"context"
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
