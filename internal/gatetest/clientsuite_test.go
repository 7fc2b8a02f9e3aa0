package gatetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"rutile/internal/credential"
	"rutile/internal/gatetest"
)

// agentRevisions are the revisions agents speak in front of the client suite:
// every scenario is driven by an agent of the server's own era and by one of the
// other.
var agentRevisions = []string{v2511, v2026}

// TestConformanceUpstreamFace runs the suites' client side against the face that
// Rutile shows servers: the suite is the server, an agent drives the scenario
// through the gateway.
func TestConformanceUpstreamFace(t *testing.T) {
	npm := gatetest.NewNPM(t)
	want, err := gatetest.ReadClientTable()
	if err != nil {
		t.Fatal(err)
	}
	inapt := map[string]bool{}
	for _, suite := range []string{"0.1", "0.2"} {
		scenarios, err := gatetest.ClientScenarios(t.Context(), npm, suite)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range scenarios {
			if pattern, ok := want.Applies(s); !ok {
				inapt[pattern] = true
				continue
			}
			expected := want.Expected[s]
			delete(want.Expected, s)
			if len(expected) != len(agentRevisions) {
				t.Errorf("client-suite.txt has %d lines of %v, not %d", len(expected), s, len(agentRevisions))
			}
			for _, agent := range agentRevisions {
				if testing.Short() && agent != v2026 {
					continue // as long again
				}
				t.Run(s.String()+" from "+agent, func(t *testing.T) {
					t.Parallel()
					upstreamFace(t, npm, s, agent, expected)
				})
			}
		}
	}
	for s := range want.Expected {
		t.Errorf("client-suite.txt names %v, which the suite does not have", s)
	}
	for pattern := range want.Inapt {
		if !inapt[pattern] {
			t.Errorf("client-suite.txt names %s, which no suite has", pattern)
		}
	}
}

func upstreamFace(t *testing.T, npm gatetest.NPM, s gatetest.ClientScenario, agent string, expected map[string]gatetest.Tally) {
	t.Helper()
	arrivals, end := make(chan gatetest.Arrival), make(chan bool)
	waiting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var a gatetest.Arrival
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			t.Errorf("the client said nothing to be understood: %v", err)
		}
		arrivals <- a
		<-end
		w.WriteHeader(http.StatusNoContent)
	}))
	defer waiting.Close()
	type outcome struct {
		gatetest.Result
		err error
	}
	done := make(chan outcome, 1)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	go func() {
		r, err := s.Run(t.Context(), npm, dir, strings.Join([]string{self, gatetest.ClientCommand, waiting.URL}, " "))
		done <- outcome{r, err}
	}()
	select {
	case a := <-arrivals:
		func() {
			defer close(end)
			r := facing(t, s.Name, a)
			drive(t, r, s.Name, agent, a)
			r.stop() // the suite waits for the connections to its server
		}()
	case got := <-done:
		t.Fatalf("the suite did not start its client: %v %+v", got.err, got.Result)
	}
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	tally := gatetest.Tally{Passed: got.Passed, Failed: got.Failed + got.Warnings}
	t.Logf("%s  %s  %2d %d  %-36s %s", s.Suite, agent, tally.Passed, tally.Failed, s.Name, s.Revision)
	if want, ok := expected[agent]; !ok || tally != want {
		t.Errorf("%v, the table says %v (it has the run: %v)\nfailed checks:\n%s", tally, want, ok, strings.Join(got.Failures, "\n"))
	}
}

// facing is a rig in front of the suite's server, with the credential a scenario
// gives for it.
func facing(t *testing.T, scenario string, a gatetest.Arrival) *rig {
	t.Helper()
	if !strings.HasPrefix(scenario, "auth/") {
		return conformanceRig(t, map[string]string{"up": overHTTP(a.URL)})
	}
	var c struct {
		ClientID string `json:"client_id"`
		Secret   string `json:"client_secret"`
		Key      string `json:"private_key_pem"`
	}
	if err := json.Unmarshal(a.Context, &c); err != nil || c.ClientID == "" {
		t.Fatalf("the scenario gives no client: %s %v", a.Context, err)
	}
	auth, seed := "client_secret_basic", c.Secret
	if c.Key != "" {
		auth, seed = "private_key_jwt", c.Key
	}
	r := conformanceRig(t, nil)
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "seed", MaxTier: 3}, []byte(seed)); err != nil {
		t.Fatal(err)
	}
	r.apply(fmt.Sprintf(`kind: Server
id: up
owner: team
state: sanctioned
pinning: observe
transport: {http: {url: %q}}
credential: {ref: suite, header: Authorization, value: "Bearer {secret}"}
---
kind: Credential
id: suite
owner: team
servers: [up]
source:
  clientCredentials: {clientID: %q, secret: seed, auth: %s}
`, a.URL, c.ClientID, auth), "up")
	return r
}

// drive does as an agent what a scenario wants of a client.
func drive(t *testing.T, r *rig, scenario, agent string, a gatetest.Arrival) {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{Elicitation: &mcp.ElicitationCapabilities{Form: &mcp.FormElicitationCapabilities{}}},
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			content := map[string]any{}
			if scenario == "sep-2322-client-request-state" {
				content["confirmed"] = true
			}
			return &mcp.ElicitResult{Action: "accept", Content: content}, nil // the client adds the defaults
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cs, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: r.url("up"), HTTPClient: &http.Client{}}, &mcp.ClientSessionOptions{ProtocolVersion: agent})
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer cs.Close()
	if scenario == "initialize" || scenario == "request-metadata" {
		return // a server without tools: the gateway has met it already
	}
	tools, err := cs.ListTools(ctx, nil)
	if err != nil {
		t.Fatalf("listing tools: %v", err)
	}
	call := func(name string, args any) {
		t.Helper()
		if res, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: args}); err != nil || res.IsError {
			t.Errorf("calling %s: %+v %v", name, res, err)
		}
	}
	switch scenario {
	case "json-schema-ref-no-deref": // listing is all there is
	case "auth/client-credentials-jwt", "auth/client-credentials-basic":
		for _, tool := range tools.Tools {
			call(tool.Name, map[string]any{})
		}
	case "tools_call":
		call("add_numbers", map[string]any{"a": 5, "b": 3})
	case "elicitation-sep1034-client-defaults":
		call("test_client_elicitation_defaults", map[string]any{})
	case "sse-retry":
		call("test_reconnection", map[string]any{})
	case "json-schema-2020-12-preservation":
		for _, tool := range tools.Tools {
			if tool.Name == "json_schema_2020_12_tool" {
				call("json_schema_echo", map[string]any{"schema": tool.InputSchema})
			}
		}
	case "sep-2322-client-request-state":
		for _, name := range []string{"echo_state", "no_state", "unrelated", "no_result_type"} {
			call("test_mrtr_"+name, map[string]any{})
		}
	case "http-standard-headers":
		for _, tool := range tools.Tools {
			call(tool.Name, map[string]any{})
		}
		res, err := cs.ListResources(ctx, nil)
		if err != nil || len(res.Resources) == 0 {
			t.Fatalf("listing resources: %+v %v", res, err)
		}
		for _, x := range res.Resources {
			if _, err := cs.ReadResource(ctx, &mcp.ReadResourceParams{URI: x.URI}); err != nil {
				t.Errorf("reading %s: %v", x.URI, err)
			}
		}
		prompts, err := cs.ListPrompts(ctx, nil)
		if err != nil || len(prompts.Prompts) == 0 {
			t.Fatalf("listing prompts: %+v %v", prompts, err)
		}
		if _, err := cs.GetPrompt(ctx, &mcp.GetPromptParams{Name: prompts.Prompts[0].Name}); err != nil {
			t.Errorf("getting a prompt: %v", err)
		}
	case "http-custom-headers":
		var c struct {
			ToolCalls []struct {
				Name      string          `json:"name"`
				Arguments json.RawMessage `json:"arguments"`
			} `json:"toolCalls"`
		}
		if err := json.Unmarshal(a.Context, &c); err != nil || len(c.ToolCalls) == 0 {
			t.Fatalf("the scenario asks for no calls: %s %v", a.Context, err)
		}
		for _, x := range c.ToolCalls {
			call(x.Name, x.Arguments)
		}
	case "http-invalid-tool-headers":
		call("valid_tool", map[string]any{"region": "us-west1"})
		// An agent that knows no better, or means harm, calls the others too.
		for _, name := range []string{"empty_header", "object_header", "array_header", "null_header", "number_header", "duplicate_same_case",
			"duplicate_diff_case", "space_in_name", "colon_in_name", "non_ascii_name", "control_char_name"} {
			name = "invalid_" + name
			if agent == v2026 {
				r.call("", "up", name, `{"region":"x"}`)
			} else {
				r.legacy("", "up", agent, "{}").call(name, `{"region":"x"}`)
			}
		}
	default:
		t.Fatalf("nobody wrote how to drive %s", scenario)
	}
}
