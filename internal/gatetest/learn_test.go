package gatetest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// heldList serves what u does, and holds the first answer to tools/list that
// comes after hold.
func heldList(t *testing.T, u *upstream) (hold *atomic.Bool, held chan struct{}, free chan struct{}) {
	t.Helper()
	hold, held, free = &atomic.Bool{}, make(chan struct{}), make(chan struct{})
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte(`"tools/list"`)) || !hold.CompareAndSwap(true, false) {
			u.ServeHTTP(w, r)
			return
		}
		made := httptest.NewRecorder()
		u.ServeHTTP(made, r)
		close(held)
		<-free
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(made.Body.Bytes())
	}))
	t.Cleanup(u.Close)
	return hold, held, free
}

// A look at a server that runs may be past what changed since: who asks for one
// now, or is told that something changed, is not served with it.
func TestChangesDuringALook(t *testing.T) {
	knows := func(r *rig) bool {
		_, ok := r.d.Admin.Current().View.Tool("up", "other")
		return ok
	}
	for name, ask := range map[string]func(t *testing.T, r *rig, u *upstream, token string) (wait func()){
		"it is asked for": func(t *testing.T, r *rig, _ *upstream, _ string) func() {
			done := make(chan error, 1)
			go func() { done <- r.d.Proxy.Learn(t.Context(), "up") }()
			time.Sleep(50 * time.Millisecond) // it asks, or is late and looks anew
			return func() {
				if err := <-done; err != nil || !knows(r) {
					t.Errorf("the server was looked at, %v, and what it lists is not known", err)
				}
			}
		},
		"the server says so": func(t *testing.T, r *rig, u *upstream, token string) func() {
			time.Sleep(300 * time.Millisecond) // a look that began less than 250 ms ago is followed by another anyway
			u.onCall(func(w http.ResponseWriter, _ *http.Request, id json.RawMessage, _ []byte) bool {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n"+
					"data: {\"jsonrpc\":\"2.0\",\"id\":"+string(id)+",\"result\":{\"resultType\":\"complete\",\"content\":[]}}\n\n")
				return true
			})
			if got := r.call(token, "up", "echo", `{}`); got.msg.Error != nil {
				t.Fatalf("the call: %s", got.body)
			}
			return func() { eventually(t, "what changed is known", func() bool { return knows(r) }) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := &upstream{tools: []string{echoTool}}
			hold, held, free := heldList(t, u)
			r, token := governed(t, u)
			hold.Store(true)
			first := make(chan error, 1)
			go func() { first <- r.d.Proxy.Learn(t.Context(), "up") }()
			<-held
			u.setTools(echoTool, otherTool)
			wait := ask(t, r, u, token)
			close(free)
			if err := <-first; err != nil {
				t.Fatal(err)
			}
			wait()
		})
	}
}
