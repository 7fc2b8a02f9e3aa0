package gatetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/daemon"
	"rutile/internal/gatetest"
	"rutile/internal/store/storetest"
)

// conformanceRig is a rig for clients that cannot send a token: its handler
// sets one for the server in the path. Agent "tester" may do everything,
// answering what servers ask included, and definitions are observed, because
// the fixture changes them while the suites run.
func conformanceRig(t *testing.T, transports map[string]string) *rig {
	t.Helper()
	r := &rig{t: t, logs: &lockedBuffer{}}
	tokens := &issuer{rig: r}
	d, err := daemon.New(t.Context(), daemon.Config{
		Mode: "enforce", Data: storetest.Dir(t), Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"},
	}, daemon.Options{
		Version: "test", Log: r.logs,
		Agents: func(h http.Handler) http.Handler { return gatetest.Authorize(h, tokens.token) },
	})
	if err != nil {
		t.Fatalf("starting the daemon: %v", err)
	}
	r.d = d
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Errorf("stopping the daemon: %v", err)
		}
		if t.Failed() {
			t.Logf("daemon log:\n%s", tail(r.logs.String(), 6000))
		}
	})
	var b strings.Builder
	b.WriteString("kind: Agent\nid: tester\nowner: team\npurpose: conformance\n---\n")
	b.WriteString("kind: Policy\nid: everything\ncedar: |\n  permit (principal == Mcp::Agent::\"tester\", action, resource);\n")
	var servers []string
	for id, transport := range transports {
		fmt.Fprintf(&b, "---\nkind: Server\nid: %s\nowner: team\nstate: sanctioned\npinning: observe\ntransport: %s\n", id, transport)
		servers = append(servers, id)
	}
	r.apply(b.String(), servers...)
	return r
}

func overHTTP(url string) string { return fmt.Sprintf("{http: {url: %q}}", url) }

func overSSE(url string) string { return fmt.Sprintf("{http: {url: %q, sse: true}}", url) }

func overStdio(argv ...string) string {
	args, _ := json.Marshal(argv[1:]) // strings always can; JSON is YAML
	return fmt.Sprintf("{stdio: {command: %q, args: %s}}", argv[0], args)
}

// granting adds what a process is granted, and more, to overStdio's.
func granting(transport, confine, more string) string {
	return strings.TrimSuffix(transport, "}}") + ", confine: " + confine + more + "}}"
}

// issuer issues a token per server and renews it before it ends.
type issuer struct {
	rig *rig

	mu     sync.Mutex
	tokens map[string]issued
}

type issued struct {
	value string
	until time.Time
}

func (i *issuer) token(path string) string {
	server, ok := strings.CutPrefix(path, "/mcp/")
	if path == "/mcp" {
		server, ok = "*", true
	}
	if !ok {
		return ""
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if t := i.tokens[server]; time.Now().Before(t.until) {
		return t.value
	}
	tk, err := i.rig.d.Admin.IssueDevelopmentToken(context.Background(), operator, admin.TokenRequest{Agent: "tester", Server: server, TTL: time.Hour})
	if err != nil {
		return "" // the gateway then says what is wrong
	}
	if i.tokens == nil {
		i.tokens = map[string]issued{}
	}
	i.tokens[server] = issued{tk.Value, time.Now().Add(time.Minute)}
	return tk.Value
}

// TestConformanceGatewayReachesCeiling is the claim: through the gateway both
// suites see what they see without it.
func TestConformanceGatewayReachesCeiling(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	r := conformanceRig(t, map[string]string{"up": overHTTP(gatetest.DualEra(t))})
	conform(t, npm, func(*testing.T) string { return r.url("up") })
}

// TestConformanceAcrossEras measures the gateway as a bridge: one client era in
// front of a server of the other, over HTTP and stdio. No ceiling is known for
// these cells; the table holds what was measured, with a reason for every
// scenario that fails, and any change of it is a finding.
func TestConformanceAcrossEras(t *testing.T) { // alone: a suite counts what arrives within its waits
	npm := gatetest.NewNPM(t)
	everything := gatetest.Everything(t)
	r := conformanceRig(t, map[string]string{
		"stateless": overHTTP(gatetest.EverythingHTTP(t, true)),
		"stateful":  overHTTP(gatetest.EverythingHTTP(t, false)),
		"stdio":     overStdio(everything),
	})
	cells, err := gatetest.CrossCells()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cells {
		if testing.Short() && c.Name() != "0.2 spec 2025-11-25" && c.Name() != "0.2 spec 2026-07-28" {
			continue
		}
		t.Run(c.Upstream+" "+c.Name(), func(t *testing.T) {
			got, err := c.Run(t.Context(), npm, r.url(c.Upstream), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%-9s %-24s %8v  table %8v  %v", c.Upstream, c.Name(), got.Tally, c.Tally, got.Took.Round(1e7))
			if short := c.Differences(got); len(short) > 0 {
				t.Errorf("%s\nfailed checks:\n%s", strings.Join(short, "\n"), strings.Join(got.Failures, "\n"))
			}
		})
	}
}

// Real clients, real servers: what a newcomer would try first.
func TestRealClientsReachRealServers(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	dir := t.TempDir()
	file := gatetest.TempFile(t, "note.txt", "the launch is on Thursday")
	memory, env := npm.MemoryServer(dir + "/graph.jsonl")
	rig := conformanceRig(t, map[string]string{
		"files":  granting(overStdio(npm.FilesystemServer(strings.TrimSuffix(file, "/note.txt"))...), fmt.Sprintf("{bestEffort: true, read: [%q, %q]}", npm.Dir, strings.TrimSuffix(file, "/note.txt")), ""),
		"demo":   granting(overStdio(npm.EverythingServer()...), fmt.Sprintf("{bestEffort: true, read: [%q]}", npm.Dir), ""),
		"memory": granting(overStdio(memory...), fmt.Sprintf("{bestEffort: true, read: [%q], write: [%q]}", npm.Dir, dir), fmt.Sprintf(", env: {MEMORY_FILE_PATH: %q}", env["MEMORY_FILE_PATH"])),
		"modern": overHTTP(gatetest.EverythingHTTP(t, true)),
		"legacy": overHTTP(gatetest.EverythingHTTP(t, false)),
	})
	for i, c := range []struct {
		server string
		call   gatetest.Call
		want   string
	}{
		{"files", gatetest.Call{Tool: "read_text_file", Arguments: map[string]any{"path": file}}, "the launch is on Thursday"},
		{"demo", gatetest.Call{Tool: "echo", Arguments: map[string]any{"message": "hello"}}, "hello"},
		{"memory", gatetest.Call{Tool: "read_graph", Arguments: map[string]any{}}, "entities"},
		{"modern", gatetest.Call{Tool: "test_simple_text", Arguments: map[string]any{}}, "simple text"},
		{"legacy", gatetest.Call{Tool: "test_simple_text", Arguments: map[string]any{}}, "simple text"},
	} {
		visits := map[string]func() (gatetest.Visit, error){
			"TypeScript 1": func() (gatetest.Visit, error) { return npm.Visit(t.Context(), rig.url(c.server), "", c.call) },
			"TypeScript 2": func() (gatetest.Visit, error) { return npm.VisitModern(t.Context(), rig.url(c.server), c.call) },
		}
		for _, revision := range []string{v2503, v2506, v2511, v2026} {
			visits["Go "+revision] = func() (gatetest.Visit, error) {
				return gatetest.VisitWithGo(t.Context(), rig.url(c.server), "", revision, c.call)
			}
		}
		for j, name := range slices.Sorted(maps.Keys(visits)) {
			if !crossed(i, j, 3) {
				continue
			}
			t.Run(c.server+" "+name, func(t *testing.T) {
				v, err := visits[name]()
				if err != nil {
					t.Fatal(err)
				}
				if v.IsError || !strings.Contains(v.Text, c.want) {
					t.Errorf("saw %+v, want %q in the answer", v, c.want)
				}
			})
		}
	}
	for _, server := range []string{"modern", "legacy"} {
		inspect(t, npm, rig, server, map[string]inspection{
			"tools":     {[]string{"--method", "tools/list"}, []string{`"test_simple_text"`}},
			"a call":    {[]string{"--method", "tools/call", "--tool-name", "test_simple_text"}, []string{"simple text"}},
			"resources": {[]string{"--method", "resources/list"}, []string{`"test://static-text"`}},
			"a read":    {[]string{"--method", "resources/read", "--uri", "test://static-text"}, []string{`"test://static-text"`}},
			"a prompt":  {[]string{"--method", "prompts/get", "--prompt-name", "test_simple_prompt"}, []string{`"messages"`}},
		})
	}
}

// TestNoTruncatedStreams holds mcp.md 7.5: a proxy that dials before it has read
// the request cuts off a share of the answers.
func TestNoTruncatedStreams(t *testing.T) {
	rig := conformanceRig(t, map[string]string{"up": overHTTP(gatetest.EverythingHTTP(t, true))})
	calls := 5000
	if testing.Short() {
		calls = 1000
	}
	const workers = 8
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_simple_text","arguments":{},` + meta + `}}`)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range calls / workers {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, rig.url("up"), bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header = modernHeaders("", "tools/call", "test_simple_text")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Errorf("sending: %v", err)
					return
				}
				var got bytes.Buffer
				_, err = got.ReadFrom(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(got.String(), "This is a simple text response") {
					t.Errorf("answered %d, %v: %s", resp.StatusCode, err, got.String())
					return
				}
			}
		})
	}
	wg.Wait()
}
