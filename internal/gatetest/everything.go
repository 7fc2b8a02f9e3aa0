package gatetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
)

const everythingPackage = "github.com/modelcontextprotocol/go-sdk/conformance/everything-server"

// Everything builds the SDK's conformance server and returns the program. As a
// stdio server it is run without arguments.
func Everything(tb testing.TB) string {
	tb.Helper()
	bin, err := buildEverything(filepath.Join(Root(tb), ".cache", "bin"))
	if err != nil {
		tb.Fatalf("building the conformance server: %v", err)
	}
	return bin
}

// building serialises builds: the program is one file for all tests.
var building sync.Mutex

func buildEverything(dir string) (string, error) {
	building.Lock()
	defer building.Unlock()
	name := "everything-server"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	bin := filepath.Join(dir, name)
	out, err := exec.Command("go", "build", "-trimpath", "-o", bin, everythingPackage).CombinedOutput() // quick where it is up to date
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return bin, nil
}

// EverythingHTTP runs the SDK's conformance server over HTTP in one of its modes
// and returns its URL. Stateless it speaks 2026-07-28 in full and the legacy
// revisions without requests to the client; stateful it speaks the legacy
// revisions in full and no other.
func EverythingHTTP(tb testing.TB, stateless bool) string {
	tb.Helper()
	bin := Everything(tb)
	return "http://" + startServer(tb, func(addr string) []string {
		return []string{bin, "-http=" + addr, fmt.Sprintf("-stateless=%t", stateless)}
	})
}

// EverythingNPM runs the public demonstration server over HTTP and returns its
// URL. It is not the conformance fixture (see Everything).
func EverythingNPM(tb testing.TB, n NPM) string {
	tb.Helper()
	return everythingNPM(tb, n, "streamableHttp") + "/mcp"
}

// EverythingSSE is EverythingNPM over the two-endpoint transport of 2024-11-05.
func EverythingSSE(tb testing.TB, n NPM) string {
	tb.Helper()
	return everythingNPM(tb, n, "sse") + "/sse"
}

func everythingNPM(tb testing.TB, n NPM, transport string) string {
	tb.Helper()
	program := n.Package("@modelcontextprotocol/server-everything", "dist/index.js")
	return "http://" + startServer(tb, func(addr string) []string {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			tb.Fatal(err)
		}
		return []string{"env", "PORT=" + port, n.Node, program, transport}
	})
}

// DualEra runs the SDK's conformance server in both of its modes behind one
// address and returns its URL: every revision in full.
func DualEra(tb testing.TB) string {
	tb.Helper()
	s := httptest.NewServer(Dispatcher{Modern: EverythingHTTP(tb, true), Legacy: EverythingHTTP(tb, false)})
	tb.Cleanup(s.Close)
	return s.URL
}

// Dispatcher sends a request to the server of its era. It is a fixture, not a
// gateway: it looks at the version a request claims and checks nothing.
type Dispatcher struct{ Modern, Legacy string }

var legacyRevisions = []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}

func (d Dispatcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Read before anything is dialled: a server that answers before it has read
	// everything closes the body under a transport that still reads it.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	target := d.Legacy
	if modern(r.Header, body) {
		target = d.Modern
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, target, bytes.NewReader(body))
	if err != nil {
		http.Error(w, "no target", http.StatusInternalServerError)
		return
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Connection")
	out.Host = r.Host // the fixture itself refuses foreign names
	resp, err := dispatch.RoundTrip(out)
	if err != nil {
		http.Error(w, "the fixture does not answer", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	copyFlushing(w, resp.Body)
}

var dispatch = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}

func modern(h http.Header, body []byte) bool {
	var m struct {
		Params struct {
			Meta map[string]json.RawMessage `json:"_meta"`
		} `json:"params"`
	}
	if json.Unmarshal(body, &m) == nil && m.Params.Meta["io.modelcontextprotocol/protocolVersion"] != nil {
		return true
	}
	v := h.Get("Mcp-Protocol-Version")
	return v != "" && !slices.Contains(legacyRevisions, v)
}

func copyFlushing(w http.ResponseWriter, r io.Reader) {
	rc, buf := http.NewResponseController(w), make([]byte, 32<<10)
	_ = rc.Flush() // a stream may be silent for long
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			_ = rc.Flush() // a client that went away is noticed by Write
		}
		if err == io.EOF {
			return
		}
		if err != nil { // a reply that broke off must break off here too
			panic(http.ErrAbortHandler)
		}
	}
}

// Authorize sets the Authorization header of every request in-process. The
// conformance suites cannot send a token themselves; this adds no hop, and the
// gateway has no mode without authentication.
func Authorize(h http.Handler, token func(path string) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if t := token(r.URL.Path); t != "" {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+t)
		}
		h.ServeHTTP(w, r)
	})
}

// TempFile writes a file into a directory of the test.
func TempFile(tb testing.TB, name, content string) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}
