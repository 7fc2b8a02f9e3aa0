package gatetest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"rutile/internal/grant"
)

const echoRight = `---
kind: Entitlement
id: say
owner: team
agents: [bot]
tools: ["up/echo"]
maxTTL: 1h
maxUses: 5
`

// mayAsk is a rig whose agent "bot" may only ask for the tool echo of "up".
func mayAsk(t *testing.T, u *upstream, more string) *rig {
	t.Helper()
	r := newRig(t)
	r.apply(strings.NewReplacer(`tools: ["up/*"]`, `tools: ["up/else"]`, "UP", u.URL+"/mcp").Replace(governs)+echoRight+more, "up")
	return r
}

// caller calls a tool and returns the raw result.
type caller func(tool, args string) json.RawMessage

// rawCaller is a client of 2026-07-28 at both endpoints.
func rawCaller(r *rig) caller {
	tokens := map[string]string{"rutile": r.token("bot", "rutile"), "up": r.token("bot", "up")}
	return func(tool, args string) json.RawMessage {
		at := "up"
		if strings.HasPrefix(tool, "rutile_") {
			at = "rutile"
		}
		return r.call(tokens[at], at, tool, args).msg.Result
	}
}

// sdkCaller is the official client at the aggregate.
func sdkCaller(t *testing.T, r *rig, version string) caller {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	cs, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: r.url(""), HTTPClient: &http.Client{Transport: bearer{r.token("bot", "*")}}},
		&mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(func() { _ = cs.Close() })
	return func(tool, args string) json.RawMessage {
		if !strings.HasPrefix(tool, "rutile_") {
			tool = "up__" + tool
		}
		res, err := cs.CallTool(context.Background(), &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(args)})
		if err != nil {
			t.Fatalf("calling %s: %v", tool, err)
		}
		out, err := json.Marshal(res)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// An agent that lacks a right opens a task, asks, is granted what it asked for
// and no more, and loses it with the task.
func TestAnAgentAsksAndIsGranted(t *testing.T) {
	t.Parallel()
	clients := map[string]func(*testing.T, *rig) caller{"raw": func(_ *testing.T, r *rig) caller { return rawCaller(r) }}
	for _, version := range []string{v2026, v2511, v2506, v2503} {
		clients["Go SDK "+version] = func(t *testing.T, r *rig) caller { return sdkCaller(t, r, version) }
	}
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			r := mayAsk(t, u, "")
			from := r.d.Evidence.Size()
			call := client(t, r)
			refused := func(what, args string) {
				t.Helper()
				if got := problemOf(call("echo", args)); !strings.Contains(got, "asks for an approval") {
					t.Errorf("%s answered %q", what, got)
				}
			}
			passes := func(what, args string) {
				t.Helper()
				n := u.count()
				if got := call("echo", args); problemOf(got) != "" || u.count() != n+1 {
					t.Errorf("%s answered %s", what, got)
				}
			}
			refused("a call nobody approved", `{"text":"hi"}`)
			task := readTold(t, call("rutile_task_open", `{"purpose":"say it"}`)).Task
			asked := readTold(t, call("rutile_access_request", `{"server":"up","tool":"echo","scope":"once","arguments":{"text":"hi"},"reason":"they wait"}`))
			if asked.State != "pending" || asked.Request.Task != task.ID || task.ID == "" || !strings.Contains(asked.Next, "same arguments") {
				t.Fatalf("asking answered %+v in task %+v", asked, task)
			}
			refused("a call nobody approved yet", `{"text":"hi"}`)
			approve(t, r, asked.Request.ID)
			if got := readTold(t, call("rutile_access_status", `{"request":"`+asked.Request.ID+`"}`)); len(got.Requests) != 1 || got.Requests[0].State != "issued" || len(got.Grants) != 1 || got.Grants[0].State != "active" {
				t.Errorf("the request stands as %+v", got)
			}
			refused("another call", `{"text":"ho"}`)
			passes("the approved call", `{"text":"hi"}`)
			refused("the same call again", `{"text":"hi"}`)

			wide := readTold(t, call("rutile_access_request", `{"server":"up","tool":"echo","scope":"task","constraints":[{"at":"/text","prefix":"h"}],"uses":3,"ttlSeconds":600,"reason":"they wait"}`))
			approve(t, r, wide.Request.ID)
			passes("a call within the constraints", `{"text":"hi"}`)
			passes("another one", `{"text":"ho"}`)
			refused("a call beyond them", `{"text":"no"}`)
			if got := readTold(t, call("rutile_task_close", `{"reason":"said"}`)); got.Task.ID != task.ID || got.Task.State != "closed" {
				t.Errorf("closing answered %+v", got)
			}
			refused("a call after the task", `{"text":"hi"}`)
			if got := readTold(t, call("rutile_access_status", `{}`)); len(got.Tasks)+len(got.Grants) != 0 {
				t.Errorf("after the task there is %+v", got)
			}
			recorded(t, r, from, "rutile_task_open", "rutile_access_request", "rutile_access_status", "rutile_task_close")
		})
	}
}

// What was approved for later tells the agent from when on it is, and is not asked
// anew until then.
func TestAnAgentIsToldWhenItsRightBegins(t *testing.T) {
	t.Parallel()
	r := mayAsk(t, newUpstream(t), "")
	call := rawCaller(r)
	const ask = `{"server":"up","tool":"echo","scope":"once","arguments":{"text":"hi"},"reason":"tonight"}`
	asked := readTold(t, call("rutile_access_request", ask))
	from := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	if _, err := r.d.Desk.Approve(t.Context(), operator, asked.Request.ID, grant.Answer{Method: "api", NotBefore: from}); err != nil {
		t.Fatal(err)
	}
	when := from.Format(time.RFC3339)
	again := readTold(t, call("rutile_access_request", ask))
	if again.Request.ID != asked.Request.ID || again.Request.NotBefore != when || again.Grant.State != "scheduled" || again.Grant.NotBefore != when || !strings.Contains(again.Next, "approved from "+when+" on") {
		t.Errorf("asking again answered %+v", again)
	}
	if got := readTold(t, call("rutile_access_status", `{"request":"`+asked.Request.ID+`"}`)); len(got.Grants) != 1 || got.Grants[0].NotBefore != when || got.Requests[0].NotBefore != when {
		t.Errorf("the request stands as %+v", got)
	}
	if got := readTold(t, call("rutile_access_status", `{}`)); len(got.Grants) != 1 || got.Grants[0].State != "scheduled" || got.Grants[0].NotBefore != when {
		t.Errorf("the agent has %+v", got)
	}
	if got := problemOf(call("echo", `{"text":"hi"}`)); !strings.Contains(got, when) {
		t.Errorf("the call before its time answered %q", got)
	}
}

func approve(t *testing.T, r *rig, request string) {
	t.Helper()
	if got, err := r.d.Desk.Approve(t.Context(), operator, request, grant.Answer{Method: "api"}); err != nil || got.State != grant.RequestIssued {
		t.Fatalf("approving %q: %v %+v", request, err, got)
	}
}

// recorded requires that each call of these tools is kept with how it ended, and
// that every step of a request, a grant and a task is kept.
func recorded(t *testing.T, r *rig, from uint64, tools ...string) {
	t.Helper()
	began, open, steps := map[string]int{}, map[uint64]bool{}, map[string]int{}
	for i, l := range r.leaves(from) {
		var x struct {
			Verb   string
			Object struct{ Kind string }
			Intent struct{ I uint64 }
		}
		if err := json.Unmarshal([]byte(l.raw), &x); err != nil {
			t.Fatal(err)
		}
		switch l.Type {
		case "intent":
			open[from+uint64(i)] = true
			if l.What.Server == "rutile" {
				began[l.What.Tool]++
			}
		case "outcome":
			delete(open, x.Intent.I)
		case "admin":
			steps[x.Verb+" "+x.Object.Kind]++
		}
	}
	for _, tool := range tools {
		if began[tool] == 0 {
			t.Errorf("no call of %s is kept: %v", tool, began)
		}
	}
	if len(open) != 0 {
		t.Errorf("%d calls have no outcome", len(open))
	}
	for _, step := range []string{"open Task", "open Request", "approve Request", "issue Grant", "exhaust Grant", "close Task", "complete Grant", "withdraw Request"} {
		if steps[step] == 0 {
			t.Errorf("%q is not kept: %v", step, steps)
		}
	}
}
