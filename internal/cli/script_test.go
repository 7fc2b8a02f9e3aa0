package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"rutile/internal/api"
	"rutile/internal/cli"
	"rutile/internal/daemon"
	"rutile/internal/gatetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"rutile": func() {
			os.Exit(cli.Main(context.Background(), "v-test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestScripts runs the command line as its users do: each script against a
// daemon of its own, with an upstream server it can turn hostile.
func TestScripts(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) { // else gateways would take it that they run under nohup, as the test does
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		t.Cleanup(func() { signal.Ignore(syscall.SIGHUP) })
	}
	npm := gatetest.NewNPM(t)
	path := quick(t) + string(os.PathListSeparator)
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			up := &upstream{description: "Read one note."}
			srv := httptest.NewServer(up)
			e.Defer(srv.Close)
			e.Values["upstream"] = up
			e.Setenv("UPSTREAM", srv.URL+"/mcp")
			e.Setenv("PATH", path+e.Getenv("PATH"))
			e.Setenv("XDG_DATA_HOME", filepath.Join(e.WorkDir, "xdg"))
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("CLIENTS", filepath.Join(gatetest.Root(t), "internal", "discovery", "clientconfig", "testdata", "home.txtar"))
			e.Setenv("NODE", npm.Node)
			e.Setenv("PACKAGES", filepath.Join(npm.Dir, "node_modules"))
			e.Setenv("FILES", npm.Package("@modelcontextprotocol/server-filesystem", "dist/index.js"))
			// With the race detector every process waits a second at its end.
			e.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
			return os.WriteFile(filepath.Join(e.WorkDir, "m.yaml"), []byte(strings.ReplaceAll(manifests, "UPSTREAM", srv.URL+"/mcp")), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ends": ends, "ready": ready, "poison": poison, "call": call, "holds": holds, "capture": capture, "tamper": tamper, "terminate": terminate,
			"completes": completes, "becomes": becomes, "crash": crash,
			"unpack": unpack,
			"everything": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Setenv("EVERYTHING", gatetest.EverythingNPM(t, npm))
			},
		},
	})
}

// quick returns a directory with a rutile for the PATH of the scripts. The race
// detector watches what goes on until it is ended (gateways, witnesses, tails,
// connections), clients that are made to start one, and what does several things at
// once. The many commands that ask one thing and end are of a build without it,
// which starts in a third of the time.
func quick(t *testing.T) string {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version=v-test", "-o", filepath.Join(dir, "plain"), "./cmd/rutile")
	build.Dir = gatetest.Root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	watched, err := exec.LookPath("rutile") // this test, as TestMain makes it
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nfor word; do\n\tcase $word in up|connect|tail|watch|witness|wrap|discover|eval|doctor) exec %q \"$@\" ;; esac\ndone\nexec %q \"$@\"\n", watched, filepath.Join(dir, "plain"))
	if err := os.WriteFile(filepath.Join(dir, "rutile"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

const manifests = `kind: Team
id: team
---
kind: Agent
id: reader
owner: team
purpose: read notes
riskTier: 1
expires: 2099-12-31
tools: ["notes/read_note"]
---
kind: Server
id: notes
owner: team
transport: {http: {url: "UPSTREAM"}}
state: sanctioned
`

// ends STATUS ARGS… runs rutile and demands an exit status.
func ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: ends STATUS ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec("rutile", args[1:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("rutile %s ended with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// ready DIR waits until the gateway on DIR answers and keeps its addresses.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	c := api.NewSocketClient(filepath.Join(ts.MkAbs(args[0]), daemon.SocketName), "")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		s, err := c.Status(ctx)
		cancel()
		if err == nil {
			ts.Setenv("AGENTS", s.Agents)
			ts.Setenv("OPERATORS", s.Operators)
			return
		}
	}
	ts.Fatalf("no gateway answers on %s", args[0])
}

// terminate DIR [hangup] asks the gateway on DIR to stop as a service manager
// does, or as a terminal that closes does. The signal comes twice, as from
// timeout(1), and still stops it in order.
func terminate(ts *testscript.TestScript, _ bool, args []string) {
	s, err := api.NewSocketClient(filepath.Join(ts.MkAbs(args[0]), daemon.SocketName), "").Status(context.Background())
	ts.Check(err)
	p, err := os.FindProcess(s.PID)
	ts.Check(err)
	sig := syscall.SIGTERM
	if len(args) > 1 && args[1] == "hangup" {
		sig = syscall.SIGHUP
	}
	ts.Check(p.Signal(sig))
	_ = p.Signal(sig) // it may have ended
}

// crash DIR ends the gateway on DIR as a loss of power does.
func crash(ts *testscript.TestScript, _ bool, args []string) {
	s, err := api.NewSocketClient(filepath.Join(ts.MkAbs(args[0]), daemon.SocketName), "").Status(context.Background())
	ts.Check(err)
	p, err := os.FindProcess(s.PID)
	ts.Check(err)
	ts.Check(p.Kill())
}

// poison TEXT changes the description of the upstream's tool: a rug pull.
func poison(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + args[0] + `"`)
	ts.Check(err)
	up := ts.Value("upstream").(*upstream)
	up.mu.Lock()
	defer up.mu.Unlock()
	up.description = text
}

// call FILE TOOL ARGUMENTS calls a tool with the token in FILE and prints the
// answer.
func call(ts *testscript.TestScript, _ bool, args []string) {
	token := strings.TrimSpace(ts.ReadFile(args[0]))
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{
		"name": args[1], "arguments": json.RawMessage(args[2]),
		"_meta": map[string]any{
			"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": map[string]any{},
			"io.modelcontextprotocol/clientInfo": map[string]any{"name": "test", "version": "1"},
		},
	}})
	ts.Check(err)
	req, err := http.NewRequest("POST", ts.Getenv("AGENTS")+"/mcp/notes", bytes.NewReader(body))
	ts.Check(err)
	for k, v := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": "Bearer " + token,
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": args[1],
	} {
		req.Header.Set(k, v)
	}
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	ts.Check(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), string(b))
}

// holds FILE TEXT waits until a file that a background command writes holds
// TEXT.
func holds(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if b, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(b), args[1]) {
			return
		}
	}
	ts.Fatalf("%s never held %q: %s", args[0], args[1], ts.ReadFile(args[0]))
}

// completes WORD ARGS… waits until a completion offers WORD: one that takes
// longer than a person would wait offers nothing, and the machine may be busy.
func completes(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		ts.Check(ts.Exec("rutile", append([]string{"__complete"}, args[1:]...)...))
		if slices.Contains(strings.Fields(ts.ReadFile("stdout")), args[0]) {
			return
		}
	}
	ts.Fatalf("%q is never offered", args[0])
}

// becomes PATTERN ARGS… runs rutile until its output has the pattern, with ! until
// it has it no more.
func becomes(ts *testscript.TestScript, neg bool, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		ts.Check(ts.Exec("rutile", args[1:]...))
		if pattern.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
	}
	ts.Fatalf("rutile %s stays\n%s", strings.Join(args[1:], " "), ts.ReadFile("stdout"))
}

// unpack FILE ROOT HOME writes the files of an archive below HOME, those whose name
// begins with / below ROOT; @HOME@ in them is HOME.
func unpack(ts *testscript.TestScript, _ bool, args []string) {
	a, err := txtar.ParseFile(ts.MkAbs(args[0]))
	ts.Check(err)
	root, home := ts.MkAbs(args[1]), ts.MkAbs(args[2])
	for _, f := range a.Files {
		name := filepath.Join(home, f.Name)
		if strings.HasPrefix(f.Name, "/") {
			name = filepath.Join(root, f.Name)
		}
		ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
		ts.Check(os.WriteFile(name, bytes.ReplaceAll(f.Data, []byte("@HOME@"), []byte(home)), 0o600))
	}
}

// capture NAME PREFIX sets a variable to the first word of stdout that begins
// with PREFIX.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	for w := range strings.FieldsFuncSeq(ts.ReadFile("stdout"), func(r rune) bool { return strings.ContainsRune(" \n\t\",:.", r) }) {
		if strings.HasPrefix(w, args[1]) {
			ts.Setenv(args[0], w)
			return
		}
	}
	ts.Fatalf("stdout has no word that begins with %s: %s", args[1], ts.ReadFile("stdout"))
}

// tamper FILE changes one letter in the middle of a file.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	i := len(b) / 2
	for b[i] < 'b' || b[i] > 'y' {
		i++
	}
	b[i]++
	ts.Check(os.WriteFile(name, b, 0o600))
}

// upstream is an MCP server of the 2026-07-28 revision with two tools.
type upstream struct {
	mu          sync.Mutex
	description string
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&m) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	u.mu.Lock()
	description := u.description
	u.mu.Unlock()
	define := func(name, text string, readOnly bool) map[string]any {
		return map[string]any{"name": name, "description": text, "annotations": map[string]any{"readOnlyHint": readOnly, "openWorldHint": false},
			"inputSchema": map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}}
	}
	reply := map[string]any{"jsonrpc": "2.0", "id": m.ID}
	status := http.StatusOK
	switch m.Method {
	case "server/discover":
		reply["result"] = map[string]any{"resultType": "complete", "supportedVersions": []string{"2026-07-28"}, "capabilities": map[string]any{"tools": map[string]any{}}, "ttlMs": 0, "cacheScope": "private",
			"_meta": map[string]any{"io.modelcontextprotocol/serverInfo": map[string]any{"name": "notes", "version": "1"}}}
	case "tools/list":
		reply["result"] = map[string]any{"resultType": "complete", "tools": []any{define("read_note", description, true), define("delete_note", "Delete one note.", false)}, "ttlMs": 0, "cacheScope": "public"}
	case "tools/call":
		reply["result"] = map[string]any{"resultType": "complete", "content": []any{map[string]any{"type": "text", "text": "Launch is on Thursday."}}}
	default:
		reply["error"] = map[string]any{"code": -32601, "message": "not known here"}
		status = http.StatusNotFound
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(reply) // the caller may have gone
}
