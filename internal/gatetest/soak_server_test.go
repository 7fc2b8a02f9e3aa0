package gatetest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// soakPart makes the test binary play the servers of a soak in a process of its
// own, so that what they hold is not taken for the gateway's.
const soakPart = "GATETEST_SOAK"

// TestSoakServer is not a test: it is the servers the soak starts.
func TestSoakServer(t *testing.T) {
	if os.Getenv(soakPart) == "" {
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("http://" + ln.Addr().String())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	_ = http.Serve(ln, &soakServer{sessions: map[string]bool{}, waits: map[string]chan bool{}})
}

// soakServers starts the servers: a modern one at /modern, a legacy one at
// /legacy.
func soakServers(t *testing.T) (url string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSoakServer$")
	cmd.Env = append(os.Environ(), soakPart+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it ends with its input
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the servers do not start: %v", err)
	}
	return strings.TrimSpace(line)
}

// soakServer is a server that keeps nothing but its sessions.
type soakServer struct {
	mu       sync.Mutex
	n        int
	sessions map[string]bool
	waits    map[string]chan bool // by id of a request of ours
}

func (s *soakServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	_ = json.NewDecoder(r.Body).Decode(&m) // a GET has none
	modern, id := r.URL.Path == "/modern", r.Header.Get("Mcp-Session-Id")
	x := &exchange{w: w, r: r, id: string(m.ID), method: m.Method, params: string(m.Params), modern: modern}
	s.mu.Lock()
	alive := s.sessions[id]
	s.mu.Unlock()
	switch {
	case r.URL.Path == "/count":
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprint(w, len(s.sessions))
	case modern && !strings.Contains(x.params, "io.modelcontextprotocol/protocolVersion"), !modern && strings.Contains(x.params, "io.modelcontextprotocol/protocolVersion"):
		x.status(http.StatusBadRequest, `{"jsonrpc":"2.0","id":`+x.idOr("null")+`,"error":{"code":-32600,"message":"another era"}}`)
	case m.Method == "initialize":
		s.mu.Lock()
		s.n++
		id = fmt.Sprint("session-", s.n)
		s.sessions[id] = true
		s.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", id)
		x.result(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"soak","version":"1"}}`)
	case !modern && !alive:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		delete(s.sessions, id)
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case m.Method == "":
		s.answered(string(m.ID))
		w.WriteHeader(http.StatusAccepted)
	case x.id == "":
		w.WriteHeader(http.StatusAccepted)
	default:
		s.serve(x)
	}
}

func (s *soakServer) serve(x *exchange) {
	stamp := ""
	if x.modern {
		stamp = `"resultType":"complete",`
	}
	switch {
	case x.method == "server/discover":
		x.result(`{` + stamp + `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"ttlMs":0,"cacheScope":"private"}`)
	case x.method == "tools/list":
		if x.modern {
			stamp += `"ttlMs":0,"cacheScope":"private",`
		}
		x.result(`{` + stamp + `"tools":[` + echoTool + `]}`)
	case x.method == "subscriptions/listen":
		x.sse()
		x.event(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/subscriptionId":` + x.id + `}}}`)
		<-x.r.Context().Done()
	case x.method == "tools/call" && strings.Contains(x.params, "ask me"):
		s.ask(x)
	case x.method == "tools/call":
		x.text("done")
	default:
		x.fault(-32601, "no", "")
	}
}

// ask asks the client and waits for what it says.
func (s *soakServer) ask(x *exchange) {
	said := make(chan bool, 1)
	s.mu.Lock()
	s.n++
	id := fmt.Sprintf(`"ask-%d"`, s.n)
	s.waits[id] = said
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waits, id)
		s.mu.Unlock()
	}()
	x.sse()
	x.event(`{"jsonrpc":"2.0","id":` + id + `,` + elicit + `}`)
	select {
	case <-said:
		x.text("done")
	case <-x.r.Context().Done():
	}
}

func (s *soakServer) answered(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.waits[id]; w != nil {
		w <- true
		delete(s.waits, id)
	}
}
