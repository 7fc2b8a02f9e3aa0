package shim_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/shim"
)

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"c","version":"1"}}}`

const initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`

// sessions is a gateway with sessions, as a legacy client sees one.
type sessions struct {
	mu      sync.Mutex
	n       int // of the newest session
	live    bool
	caps    string
	version string
	on      func(w http.ResponseWriter, r *http.Request, body string) bool
	deleted chan string
	streams chan chan string // an open stream of a session: what goes in comes out
	noted   chan string      // bodies of notifications and answers
}

func newSessions(t *testing.T) (*sessions, *gateway) {
	s := &sessions{caps: `{"tools":{}}`, deleted: make(chan string, 8), streams: make(chan chan string, 8), noted: make(chan string, 64)}
	return s, newGateway(t, s.serve)
}

func (s *sessions) serve(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	body := string(b)
	s.mu.Lock()
	id, live, on, caps, version := fmt.Sprintf("s%d", s.n), s.live, s.on, s.caps, s.version
	s.mu.Unlock()
	if strings.Contains(body, `"initialize"`) {
		s.mu.Lock()
		s.n, s.live = s.n+1, true
		id = fmt.Sprintf("s%d", s.n)
		s.mu.Unlock()
		if version == "" {
			_, rest, _ := strings.Cut(body, `"protocolVersion":"`)
			version = rest[:10]
		}
		w.Header().Set("Mcp-Session-Id", id)
		reply(w, 200, `{"jsonrpc":"2.0","id":`+idOf(body)+`,"result":{"protocolVersion":"`+version+`","capabilities":`+caps+`,"serverInfo":{"name":"s","version":"1"}}}`)
		return
	}
	if !live || r.Header.Get("Mcp-Session-Id") != id {
		reply(w, 404, `{"jsonrpc":"2.0","error":{"code":-32600,"message":"this session has ended; initialize again"}}`)
		return
	}
	switch {
	case r.Method == http.MethodDelete:
		s.deleted <- id
		w.WriteHeader(204)
	case r.Method == http.MethodGet:
		event, lines := stream(w), make(chan string, 8)
		s.streams <- lines
		for {
			select {
			case l := <-lines:
				event(l)
			case <-r.Context().Done():
				return
			}
		}
	case on != nil && on(w, r, body):
	case idOf(body) == "" || !strings.Contains(body, `"method"`):
		s.noted <- body
		w.WriteHeader(202)
	default:
		reply(w, 200, `{"jsonrpc":"2.0","id":`+idOf(body)+`,"result":{"session":"`+id+`"}}`)
	}
}

func (s *sessions) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *sessions) note(t *testing.T) string {
	t.Helper()
	select {
	case b := <-s.noted:
		return b
	case <-time.After(patient):
		t.Fatal("the gateway is told nothing")
	}
	return ""
}

// open makes a session.
func open(t *testing.T, opts ...func(*shim.Config)) (*sessions, *gateway, *run) {
	t.Helper()
	s, g := newSessions(t)
	r := start(t, g.URL, opts...)
	r.send(initialize)
	if got := r.next(); !strings.Contains(got, `"2025-11-25"`) {
		t.Fatalf("got %s", got)
	}
	r.send(initialized)
	if got := s.note(t); got != initialized {
		t.Fatalf("the gateway was told %s", got)
	}
	return s, g, r
}

func TestALegacySessionLivesAsLongAsItsClient(t *testing.T) {
	t.Parallel()
	s, g, r := open(t)
	events := <-s.streams
	events <- `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	if got := r.next(); got != `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}` {
		t.Errorf("got %s", got)
	}
	events <- `{"jsonrpc":"2.0","id":1,"result":{"forged":true}}`
	events <- `garbage`
	r.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if got := r.next(); got != `{"jsonrpc":"2.0","id":1,"result":{"session":"s1"}}` {
		t.Errorf("got %s", got)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if id := <-s.deleted; id != "s1" {
		t.Errorf("%s was ended", id)
	}
	heads, bodies, _ := g.seen()
	for i, h := range heads {
		if strings.Contains(bodies[i], `"initialize"`) {
			if h.Get("Mcp-Session-Id") != "" || h.Get("Mcp-Protocol-Version") != "" {
				t.Errorf("initialize has %v", h)
			}
		} else if h.Get("Mcp-Session-Id") != "s1" || h.Get("Mcp-Protocol-Version") != "2025-11-25" || h.Get("Mcp-Method") != "" {
			t.Errorf("%s has %v", bodies[i], h)
		}
	}
}

func TestAServersRequestsReachTheClientAndItsAnswersTheServer(t *testing.T) {
	t.Parallel()
	s, _, r := open(t)
	answered := make(chan bool)
	s.set(func() {
		s.on = func(w http.ResponseWriter, _ *http.Request, body string) bool {
			if !strings.Contains(body, "tools/call") {
				return false
			}
			event := stream(w)
			event(`{"jsonrpc":"2.0","id":900,"method":"elicitation/create","params":{}}`)
			<-answered
			event(`{"jsonrpc":"2.0","id":3,"result":{}}`)
			return true
		}
	})
	r.send(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"x"}}`)
	if got := r.next(); !strings.Contains(got, "elicitation/create") {
		t.Errorf("got %s", got)
	}
	const answer = `{"jsonrpc":"2.0","id":900,"result":{ "action":"decline" }}`
	r.send(answer)
	if got := s.note(t); got != answer {
		t.Errorf("the server was told %s", got)
	}
	close(answered)
	if got := r.next(); got != `{"jsonrpc":"2.0","id":3,"result":{}}` {
		t.Errorf("got %s", got)
	}
}

func TestALegacyCancellationIsPassedOnAndEndsInSilence(t *testing.T) {
	t.Parallel()
	s, _, r := open(t)
	begun, cancelled := make(chan bool, 1), make(chan bool)
	s.set(func() {
		s.on = func(w http.ResponseWriter, _ *http.Request, body string) bool {
			if !strings.Contains(body, "tools/call") {
				return false
			}
			begun <- true
			<-cancelled
			w.WriteHeader(202) // as the gateway does with a call that is not wanted any more
			return true
		}
	})
	r.send(`{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{}}`)
	<-begun
	const cancel = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}`
	r.send(cancel)
	if got := s.note(t); got != cancel {
		t.Errorf("the gateway was told %s", got)
	}
	close(cancelled)
	r.quiet()
	r.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"unknown"}}`)
	r.send(`{"jsonrpc":"2.0","id":"d","method":"ping"}`)
	if got := r.next(); !strings.Contains(got, `"d"`) {
		t.Errorf("got %s", got)
	}
}

// TestTheEndOfInputWaitsForNothingCancelled: clients that close their end give
// a process little time.
func TestTheEndOfInputWaitsForNothingCancelled(t *testing.T) {
	t.Parallel()
	s, _, r := open(t, func(c *shim.Config) { c.Grace = time.Hour })
	begun, gone := make(chan bool, 1), make(chan bool, 1)
	s.set(func() {
		s.on = func(_ http.ResponseWriter, r *http.Request, body string) bool {
			if !strings.Contains(body, "tools/call") {
				return false
			}
			begun <- true
			<-r.Context().Done()
			gone <- true
			return true
		}
	})
	r.send(`{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{}}`)
	<-begun
	const cancel = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}`
	r.send(cancel)
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if got := s.note(t); got != cancel {
		t.Errorf("the gateway was told %s", got)
	}
	<-gone
}

// TestWhatFollowsInitializeWaitsForIt sends everything at once, as a script does.
func TestWhatFollowsInitializeWaitsForIt(t *testing.T) {
	t.Parallel()
	s, g := newSessions(t)
	r := start(t, g.URL)
	r.send(initialize, initialized, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	r.next()
	if got := r.next(); got != `{"jsonrpc":"2.0","id":1,"result":{"session":"s1"}}` {
		t.Errorf("got %s", got)
	}
	_, bodies, methods := g.seen()
	var posts []string
	for i, m := range methods {
		if m == http.MethodPost {
			posts = append(posts, bodies[i])
		}
	}
	if len(posts) != 3 || posts[0] != initialize || posts[1] != initialized {
		t.Errorf("the gateway got %q", posts)
	}
	_ = s
}

func TestALostSessionIsOpenedAgainOnce(t *testing.T) {
	t.Parallel()
	s, g, r := open(t)
	<-s.streams
	s.set(func() { s.live = false })
	for i := range 8 {
		r.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{}}`, i+1))
	}
	for range 8 {
		if got := r.next(); !strings.Contains(got, `"session":"s2"`) {
			t.Errorf("got %s", got)
		}
	}
	if got := s.note(t); got != initialized {
		t.Errorf("the gateway was told %s", got)
	}
	_, bodies, _ := g.seen()
	inits := 0
	for _, b := range bodies {
		if b == initialize {
			inits++
		}
	}
	if inits != 2 {
		t.Errorf("%d times initialized", inits)
	}
	(<-s.streams) <- `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	if got := r.next(); !strings.Contains(got, "list_changed") {
		t.Errorf("the new session's stream is not read: %s", got)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if id := <-s.deleted; id != "s2" {
		t.Errorf("%s was ended", id)
	}
}

func TestALostSessionBeforeAnotherServerIsAnError(t *testing.T) {
	t.Parallel()
	s, g, r := open(t)
	s.set(func() { s.live, s.caps = false, `{"prompts":{}}` })
	for i := range 3 {
		r.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{}}`, i+1))
		r.refused(fmt.Sprint(i+1), "session_changed")
	}
	_, bodies, _ := g.seen()
	if n := strings.Count(strings.Join(bodies, "\n"), `"initialize"`); n > 2 {
		t.Errorf("%d times initialized", n)
	}
}

func TestTheOldestRevisionIsServedByTheNext(t *testing.T) {
	t.Parallel()
	_, g := newSessions(t)
	r := start(t, g.URL)
	r.send(strings.Replace(initialize, "2025-11-25", "2024-11-05", 1))
	if got := r.next(); !strings.Contains(got, `"protocolVersion":"2024-11-05"`) {
		t.Errorf("got %s", got)
	}
	r.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	r.next()
	heads, bodies, _ := g.seen()
	if !strings.Contains(bodies[0], `"2025-03-26"`) || heads[len(heads)-1].Get("Mcp-Protocol-Version") != "2025-03-26" {
		t.Errorf("the gateway got %q and %v", bodies[0], heads[len(heads)-1])
	}
}

// TestMessagesTheGatewayCannotTakeHoldUpNothing sends many while it is away, and
// then a request: it waits for one of them at most.
func TestMessagesTheGatewayCannotTakeHoldUpNothing(t *testing.T) {
	t.Parallel()
	s, g, r := open(t)
	<-s.streams
	g.CloseClientConnections()
	g.Listener.Close()
	began := time.Now()
	for range 50 {
		r.send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`)
	}
	r.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	r.refused("1", "gateway_unavailable")
	if took := time.Since(began); took > patient {
		t.Errorf("it took %v with a patience of 2s", took)
	}
}

func TestNotificationsOutsideOfASessionGoNowhere(t *testing.T) {
	t.Parallel()
	g := newGateway(t, echo)
	r := start(t, g.URL)
	r.send(initialized, `{"jsonrpc":"2.0","id":5,"result":{}}`, modern("1", "tools/list", ""))
	r.next()
	if _, bodies, _ := g.seen(); len(bodies) != 1 {
		t.Errorf("the gateway got %q", bodies)
	}
}
