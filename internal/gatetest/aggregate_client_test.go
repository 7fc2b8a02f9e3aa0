package gatetest_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"rutile/internal/gatetest"
)

// Real clients over several real servers at once, through one address: both
// lines of the TypeScript SDK, the Go SDK at every revision, and the Inspector's
// command line.
func TestAggregateWithRealClientsAndServers(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	file := gatetest.TempFile(t, "note.txt", "the launch is on Thursday")
	dir := t.TempDir()
	memory, env := npm.MemoryServer(dir + "/graph.jsonl")
	rig := conformanceRig(t, map[string]string{
		"files":  granting(overStdio(npm.FilesystemServer(strings.TrimSuffix(file, "/note.txt"))...), fmt.Sprintf("{bestEffort: true, read: [%q, %q]}", npm.Dir, strings.TrimSuffix(file, "/note.txt")), ""),
		"demo":   granting(overStdio(npm.EverythingServer()...), fmt.Sprintf("{bestEffort: true, read: [%q]}", npm.Dir), ""),
		"memory": granting(overStdio(memory...), fmt.Sprintf("{bestEffort: true, read: [%q], write: [%q]}", npm.Dir, dir), fmt.Sprintf(", env: {MEMORY_FILE_PATH: %q}", env["MEMORY_FILE_PATH"])),
		"both":   overHTTP(gatetest.DualEra(t)),
		"modern": overHTTP(gatetest.EverythingHTTP(t, true)),
		"legacy": overHTTP(gatetest.EverythingHTTP(t, false)),
	})
	calls := map[string]struct {
		call gatetest.Call
		want string
	}{
		"files":  {gatetest.Call{Tool: "files__read_text_file", Arguments: map[string]any{"path": file}}, "the launch is on Thursday"},
		"demo":   {gatetest.Call{Tool: "demo__echo", Arguments: map[string]any{"message": "hello"}}, "hello"},
		"memory": {gatetest.Call{Tool: "memory__read_graph", Arguments: map[string]any{}}, "entities"},
		"both":   {gatetest.Call{Tool: "both__test_simple_text", Arguments: map[string]any{}}, "simple text"},
		"modern": {gatetest.Call{Tool: "modern__test_simple_text", Arguments: map[string]any{}}, "simple text"},
		"legacy": {gatetest.Call{Tool: "legacy__test_simple_text", Arguments: map[string]any{}}, "simple text"},
	}
	for i, server := range slices.Sorted(maps.Keys(calls)) {
		c := calls[server]
		visits := map[string]func() (gatetest.Visit, error){
			"TypeScript 1": func() (gatetest.Visit, error) { return npm.Visit(t.Context(), rig.all(), "", c.call) },
			"TypeScript 2": func() (gatetest.Visit, error) { return npm.VisitModern(t.Context(), rig.all(), c.call) },
		}
		for _, revision := range []string{v2503, v2506, v2511, v2026} {
			visits["Go "+revision] = func() (gatetest.Visit, error) {
				return gatetest.VisitWithGo(t.Context(), rig.all(), "", revision, c.call)
			}
		}
		for j, name := range slices.Sorted(maps.Keys(visits)) {
			if !crossed(i, j, len(visits)) {
				continue
			}
			t.Run(server+" "+name, func(t *testing.T) {
				v, err := visits[name]()
				if err != nil {
					t.Fatal(err)
				}
				if v.Server != "rutile" || v.IsError || !strings.Contains(v.Text, c.want) {
					t.Errorf("saw %+v, want %q in the answer", v, c.want)
				}
				for _, c := range calls {
					if !slices.Contains(v.Tools, c.call.Tool) {
						t.Errorf("%s is not listed", c.call.Tool)
					}
				}
			})
		}
	}
	inspect(t, npm, rig, "", map[string]inspection{
		"tools":     {[]string{"--method", "tools/list"}, []string{`"files__read_text_file"`, `"demo__echo"`, `"memory__read_graph"`}},
		"a call":    {[]string{"--method", "tools/call", "--tool-name", "demo__echo", "--tool-arg", "message=hello"}, []string{"Echo: hello"}},
		"resources": {[]string{"--method", "resources/list"}, []string{`"rutile+demo:demo://`}},
		"a read":    {[]string{"--method", "resources/read", "--uri", "rutile+both:test://static-text"}, []string{`"rutile+both:test://static-text"`}},
		"templates": {[]string{"--method", "resources/templates/list"}, []string{`"rutile+demo:demo://`}},
		"prompts":   {[]string{"--method", "prompts/list"}, []string{`"both__test_simple_prompt"`}},
		"a prompt":  {[]string{"--method", "prompts/get", "--prompt-name", "both__test_simple_prompt"}, []string{`"messages"`}},
	})
	inspect(t, npm, rig, "demo", map[string]inspection{
		"tools":  {[]string{"--method", "tools/list"}, []string{`"echo"`}},
		"a call": {[]string{"--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hello"}, []string{"Echo: hello"}},
	})
}

// crossed reports whether the i-th server meets the j-th client: every one in the long
// form, every n-th in the short one, where each of both is still met.
func crossed(i, j, n int) bool { return !testing.Short() || (i+j)%n == 0 }

// inspection is one run of the Inspector and what it prints.
type inspection struct{ args, want []string }

// inspect runs the Inspector's command line in both eras.
func inspect(t *testing.T, npm gatetest.NPM, r *rig, server string, runs map[string]inspection) {
	t.Helper()
	for name, c := range runs {
		for _, era := range []string{"legacy", "modern"} {
			if testing.Short() && c.args[1] != "tools/call" {
				continue // a start of it takes seconds
			}
			t.Run("Inspector "+server+" "+name+" "+era, func(t *testing.T) {
				got, err := npm.Inspect(t.Context(), t.TempDir(), r.url(server), append([]string{"--protocol-era", era}, c.args...)...)
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range c.want {
					if !strings.Contains(got, want) {
						t.Errorf("printed %s, want %s in it", got, want)
					}
				}
			})
		}
	}
}

// TestAggregateSDKClient runs the official client against two official servers
// behind the aggregate, in every pair of eras: notifications of changes,
// progress, cancellation, resources and prompts.
func TestAggregateSDKClient(t *testing.T) {
	t.Parallel()
	for _, version := range []string{v2026, v2511, v2506, v2503} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			stateless, stateful := newSDKServer(t, true), newSDKServer(t, false)
			r := newRig(t)
			token := aggregate(t, r, map[string]string{"one": stateless.url, "two": stateful.url}, "")
			progress, changed := make(chan float64, 8), make(chan bool, 8)
			client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, &mcp.ClientOptions{
				ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
				ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- true },
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cs, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: r.all(), HTTPClient: &http.Client{Transport: bearer{token}}},
				&mcp.ClientSessionOptions{ProtocolVersion: version})
			if err != nil {
				t.Fatalf("connecting: %v", err)
			}
			defer cs.Close()
			if got := cs.InitializeResult(); got.ProtocolVersion != version || got.ServerInfo.Name != "rutile" {
				t.Errorf("connected to %+v", got)
			}
			for i, s := range []*sdkServer{stateless, stateful} {
				id := []string{"one", "two"}[i]
				res, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: id + "__steps", Arguments: map[string]any{"text": "x"}, Meta: mcp.Meta{"progressToken": "tok"}})
				if err != nil || res.Content[0].(*mcp.TextContent).Text != "steps x" {
					t.Errorf("%s: %v %v", id, res, err)
				}
				for want := range 3 {
					select {
					case got := <-progress:
						if got != float64(want+1) {
							t.Errorf("%s: progress %v, want %d", id, got, want+1)
						}
					case <-time.After(patience):
						t.Fatalf("%s: progress %d does not come", id, want)
					}
				}
				if res, err := cs.GetPrompt(ctx, &mcp.GetPromptParams{Name: id + "__hi"}); err != nil || len(res.Messages) != 1 {
					t.Errorf("%s: the prompt: %v %v", id, res, err)
				}
				uri := "rutile+" + id + ":test://a"
				if res, err := cs.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri}); err != nil || res.Contents[0].URI != uri || res.Contents[0].Text != "content of a" {
					t.Errorf("%s: the resource: %v %v", id, res, err)
				}
				if res, err := cs.Complete(ctx, &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: id + "__hi"}, Argument: mcp.CompleteParamsArgument{Name: "a", Value: "b"}}); err != nil || res.Completion.Values[0] != "done" {
					t.Errorf("%s: completion: %v %v", id, res, err)
				}
				if _, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: id + "__absent"}); err == nil || !strings.Contains(err.Error(), "Unknown tool") {
					t.Errorf("%s: an absent tool: %v", id, err)
				}
				call, stop := context.WithCancel(ctx)
				go func() {
					<-s.waiting
					stop()
				}()
				if _, err := cs.CallTool(call, &mcp.CallToolParams{Name: id + "__slow", Arguments: map[string]any{"text": ""}}); err == nil {
					t.Errorf("%s: a cancelled call answered", id)
				}
				if i == 0 && version != v2026 {
					continue // in a stateless server of the SDK there is no session to cancel in
				}
				select {
				case ok := <-s.cancelled:
					if !ok {
						t.Errorf("%s: the server's call was not cancelled", id)
					}
				case <-time.After(2 * patience):
					t.Errorf("%s: the server does not learn of the cancellation", id)
				}
			}
			if version == v2026 {
				return // its listen is tested on the wire: the client opens none by itself
			}
			r.apply("---\nkind: Policy\nid: no\ncedar: |\n  forbid (principal, action == Mcp::Action::\"one/echo\", resource);\n")
			select {
			case <-changed:
			case <-time.After(patience):
				t.Error("the client is not told that its list changed")
			}
			tools, err := cs.ListTools(ctx, nil)
			if err != nil || slices.ContainsFunc(tools.Tools, func(x *mcp.Tool) bool { return x.Name == "one__echo" }) {
				t.Errorf("listed %v %v", tools, err)
			}
		})
	}
}
