package shim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/shim"
)

const canaryToken = "canary-token-5f1d"

// gateway is a scripted gateway: an honest token endpoint, and whatever the
// test wants behind it.
type gateway struct {
	*httptest.Server

	mu      sync.Mutex
	tokens  int
	life    int
	token   http.HandlerFunc // instead of the honest one
	answer  http.HandlerFunc
	heads   []http.Header
	bodies  []string
	methods []string
}

func newGateway(t *testing.T, answer http.HandlerFunc) *gateway {
	t.Helper()
	g := &gateway{answer: answer, life: 300}
	g.Server = httptest.NewServer(g)
	t.Cleanup(func() {
		g.CloseClientConnections()
		g.Close()
	})
	return g
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/oauth/token" {
		g.mu.Lock()
		g.tokens++
		n, life, other := g.tokens, g.life, g.token
		g.mu.Unlock()
		if other != nil {
			other(w, r)
			return
		}
		if r.FormValue("resource") == "" || r.FormValue("client_assertion") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"%s-%d","token_type":"Bearer","expires_in":%d}`, canaryToken, n, life)
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.mu.Lock()
	g.heads, g.bodies, g.methods = append(g.heads, r.Header.Clone()), append(g.bodies, string(body)), append(g.methods, r.Method)
	answer := g.answer
	g.mu.Unlock()
	answer(w, r)
}

func (g *gateway) seen() (heads []http.Header, bodies, methods []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]http.Header(nil), g.heads...), append([]string(nil), g.bodies...), append([]string(nil), g.methods...)
}

func (g *gateway) issued() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tokens
}

func (g *gateway) set(f func(*gateway)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
}

// run is a shim in the hands of a test: lines in, lines out.
type run struct {
	t     *testing.T
	in    *io.PipeWriter
	lines chan string
	logs  *buffer
	done  chan error
	stop  context.CancelFunc
}

// start runs a shim for agent "bot" at server "up" of the gateway.
func start(t *testing.T, url string, change ...func(*shim.Config)) *run {
	t.Helper()
	p, err := shim.NewProfile("bot", url, "")
	if err != nil {
		t.Fatal(err)
	}
	in, to := io.Pipe()
	from, out := io.Pipe()
	r := &run{t: t, in: to, lines: make(chan string, 1024), logs: &buffer{}, done: make(chan error, 1)}
	cfg := shim.Config{Profile: p, Server: "up", In: in, Out: out, Log: slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), Patience: 2 * time.Second, Grace: 5 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	s, err := shim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() {
		scan := bufio.NewScanner(from)
		scan.Buffer(nil, 64<<20)
		for scan.Scan() {
			r.lines <- scan.Text()
		}
		close(r.lines)
	}()
	go func() {
		r.done <- s.Run(ctx)
		out.Close()
	}()
	t.Cleanup(func() {
		stop()
		to.Close()
		if t.Failed() {
			t.Logf("diagnostics:\n%s", r.logs)
		}
	})
	return r
}

func (r *run) send(lines ...string) {
	r.t.Helper()
	for _, l := range lines {
		if _, err := io.WriteString(r.in, l+"\n"); err != nil {
			r.t.Fatalf("sending: %v", err)
		}
	}
}

const patient = 20 * time.Second // the machine may be busy

// next returns the next line of standard output.
func (r *run) next() string {
	r.t.Helper()
	select {
	case l, ok := <-r.lines:
		if !ok {
			r.t.Fatal("standard output has ended")
		}
		return l
	case <-time.After(patient):
		r.t.Fatal("nothing on standard output")
	}
	return ""
}

// quiet demands that nothing comes.
func (r *run) quiet() {
	r.t.Helper()
	select {
	case l, ok := <-r.lines:
		if ok {
			r.t.Fatalf("there is something on standard output: %s", l)
		}
	case <-time.After(100 * time.Millisecond):
	}
}

// end closes the client's end and waits.
func (r *run) end() error {
	r.t.Helper()
	r.in.Close()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patient):
		r.t.Fatal("it does not end")
	}
	return nil
}

type failure struct {
	ID    json.RawMessage
	Error struct {
		Code    int
		Message string
		Data    struct {
			Kind, Ref  string
			RetryAfter int
		}
	}
}

// refused reads the next line as an error for id and of a kind.
func (r *run) refused(id, kind string) failure {
	r.t.Helper()
	var f failure
	l := r.next()
	if err := json.Unmarshal([]byte(l), &f); err != nil {
		r.t.Fatalf("%s: %v", l, err)
	}
	if string(f.ID) != id || f.Error.Data.Kind != kind {
		r.t.Fatalf("got %s, want an error for id %s of kind %s", l, id, kind)
	}
	if f.Error.Data.Ref == "" || !strings.Contains(r.logs.String(), f.Error.Data.Ref) {
		r.t.Errorf("the diagnostics do not hold the reference of %s", l)
	}
	return f
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// modern is a request of the stateless revision.
func modern(id, method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + meta + `}}`
}

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func idOf(body string) string {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	_ = json.Unmarshal([]byte(body), &m)
	return string(m.ID)
}

// echo answers every request with an empty result.
func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	reply(w, http.StatusOK, `{"jsonrpc":"2.0","id":`+idOf(string(b))+`,"result":{}}`)
}

// stream begins a stream of events and returns how to add one.
func stream(w http.ResponseWriter) func(string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	return func(msg string) {
		_, _ = io.WriteString(w, "event: message\ndata: "+msg+"\n\n")
		_ = http.NewResponseController(w).Flush()
	}
}
