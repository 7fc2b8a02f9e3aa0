package gatetest_test

import (
	"fmt"
	"testing"

	"rutile/internal/daemon"
)

// A server with as many conversations as it may have takes those of another
// principal: the one not used for longest ends, and none that is in use.
func TestConversationsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2511)
	r, token := governPeer(t, p, "", func(o *daemon.Options) { o.MCP.PerAgent = 1 }) // four conversations with a server
	busy, release := make(chan bool), make(chan bool)
	p.handle("tools/call", func(x *exchange) {
		select {
		case busy <- true:
			<-release
		default:
		}
		x.text("done")
	})
	startPost(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), modernBody("1", "tools/call", `"name":"echo","arguments":{}`))
	<-busy
	inUse := p.last("tools/call").session
	for i := range 12 {
		if got := r.call(r.subjectToken("bot", fmt.Sprint("person-", i)), "up", "echo", `{}`); got.msg.Result == nil {
			t.Errorf("person %d was answered %d %s", i, got.status, got.body)
		}
	}
	eventually(t, "no more than four are open", func() bool { return p.open() <= 4 })
	p.mu.Lock()
	alive := p.sessions[inUse]
	p.mu.Unlock()
	if !alive {
		t.Error("the conversation in use was ended")
	}
	close(release)
}
