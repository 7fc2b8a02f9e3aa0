package gatetest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"rutile/internal/registry"
)

// Who suspends an agent ends what it runs: the call in flight, here and at the
// server, and its streams; the result that comes too late is nobody's.
func TestSuspendingAnAgentEndsWhatItRuns(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := governed(t, u)
	began, freed := make(chan struct{}), make(chan struct{})
	u.onCall(func(w http.ResponseWriter, req *http.Request, id json.RawMessage, body []byte) bool {
		if !strings.Contains(string(body), "waits") {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": open\n\n")
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-req.Context().Done()
		_, _ = io.WriteString(w, `data: {"jsonrpc":"2.0","id":`+string(id)+`,"result":{"resultType":"complete","content":[{"type":"text","text":"too late"}]}}`+"\n\n")
		close(freed)
		return true
	})
	long := make(chan reply, 1)
	go func() { long <- r.call(token, "up", "echo", `{"text":"waits"}`) }()
	<-began
	listening := stream(t, http.MethodPost, r.url(""), modernHeaders(r.token("bot", "*"), "subscriptions/listen", ""), modernBody("7", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
	listening.next()
	if _, err := r.d.Admin.ChangeAgent(t.Context(), operator, "bot", registry.VerbSuspend, "it runs wild"); err != nil {
		t.Fatal(err)
	}
	got := <-long
	if outcome, class := denialOf(t, got); outcome != "deny" || class != "agent" || strings.Contains(got.body, "too late") || !strings.Contains(got.body, "suspended") {
		t.Errorf("the call that ran ended with %s", got.body)
	}
	<-freed
	for range listening.events { // until it has ended
	}
	if leaves := r.written("echo"); !strings.Contains(leaves, `"st":"revoked"`) || !strings.Contains(leaves, `"cut.agent"`) {
		t.Errorf("the evidence says %s", leaves)
	}
}
