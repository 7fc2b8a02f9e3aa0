package probe_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// seen is one request as the probed server got it.
type seen struct {
	method, path, rpc string
	header            http.Header
	session           string // that the answer opened
	status            int
}

// recorder is a probed server's own log.
type recorder struct {
	*httptest.Server
	mu       sync.Mutex
	requests []seen
	accepted []time.Time
}

func (r *recorder) log() []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// listenAt listens on an address of the network tests may probe.
func listenAt(t *testing.T, host string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("this system has no address %s: %v", host, err)
	}
	return l
}

// serve runs a handler at a loopback address and records what it is asked.
func serve(t *testing.T, host string, secure bool, h http.Handler) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		q.Body = io.NopCloser(bytes.NewReader(body))
		var m struct{ Method string }
		_ = json.Unmarshal(body, &m)
		s := seen{method: q.Method, path: q.URL.Path, rpc: m.Method, header: q.Header.Clone()}
		cw := &codeWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			s.session, s.status = w.Header().Get("Mcp-Session-Id"), cw.status
			r.mu.Lock()
			r.requests = append(r.requests, s)
			r.mu.Unlock()
		}()
		h.ServeHTTP(cw, q)
	}))
	_ = r.Listener.Close()
	r.Listener = listenAt(t, host)
	r.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			r.mu.Lock()
			r.accepted = append(r.accepted, time.Now())
			r.mu.Unlock()
		}
	}
	if secure {
		r.StartTLS()
	} else {
		r.Start()
	}
	t.Cleanup(r.Close)
	return r
}

type codeWriter struct {
	http.ResponseWriter
	status int
}

func (w *codeWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *codeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *codeWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// front records what a real server behind it is asked.
func front(t *testing.T, host, upstream string) *recorder {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = ""
	p := httputil.NewSingleHostReverseProxy(u)
	p.FlushInterval = -1
	p.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // the probe closed a stream
	return serve(t, host, false, p)
}

// rpc answers JSON-RPC requests by method at one path; others are not found.
func rpc(path string, answers map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &m)
		answer, ok := answers[m.Method]
		if r.Method != http.MethodPost || path != "" && r.URL.Path != path || !ok {
			http.NotFound(w, r)
			return
		}
		status := http.StatusOK
		_, _ = fmt.Sscanf(answer, "%d ", &status)
		answer = strings.TrimLeft(answer, "0123456789 ")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,`+answer+`}`)
	})
}

const (
	discovered  = `"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"mini","version":"1.0"}}}`
	initialized = `"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"mini","version":"1.0"}}`
	listed      = `"result":{"tools":[{"name":"add","inputSchema":{"type":"object"}}]}`
)
