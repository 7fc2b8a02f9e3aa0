package gatetest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/daemon"
	"rutile/internal/registry"
)

// ruled is governed with policies on top.
func ruled(t *testing.T, u *upstream, cedar string, change ...func(*daemon.Config)) (*rig, string) {
	t.Helper()
	r, token := governed(t, u, change...)
	r.apply("kind: Policy\nid: rules\ncedar: |\n  " + strings.ReplaceAll(cedar, "\n", "\n  ") + "\n")
	return r, token
}

const onEcho = ` (principal, action == Mcp::Action::"up/echo", resource)`

// denialOf is the structured denial of a tool call.
func denialOf(t *testing.T, got reply) (outcome, class string) {
	t.Helper()
	var v struct {
		Meta map[string]struct{ Outcome, Class string } `json:"_meta"`
	}
	if err := json.Unmarshal(got.msg.Result, &v); err != nil {
		t.Fatalf("%d %s: %v", got.status, got.body, err)
	}
	d := v.Meta["io.rutile/denial"]
	return d.Outcome, d.Class
}

func (r *rig) written(text string) string {
	r.t.Helper()
	rows, err := r.d.Evidence.Search(r.t.Context(), audit.Query{Text: text, Limit: 200})
	if err != nil {
		r.t.Fatal(err)
	}
	var out strings.Builder
	for _, row := range rows {
		for _, i := range row.Leaves() {
			leaf, err := r.d.Evidence.Leaf(r.t.Context(), i)
			if err != nil {
				r.t.Fatal(err)
			}
			out.Write(leaf)
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// Masked arguments are what the server gets, whole and in headers; masked results
// are what the agent gets, in both of their forms; what cannot be masked is withheld.
func TestMaskedBytesAreForwarded(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, `{"name":"echo","description":"Say it back.","inputSchema":{"type":"object","properties":{"text":{"type":"string","x-mcp-header":"Text"},"path":{"type":"string"}}},"annotations":{"readOnlyHint":true}}`)
	u.keep = true
	r, token := ruled(t, u, `@id("args") @outcome("mask") @mask("args/text") forbid`+onEcho+` when { context.input has text };
@id("rows") @outcome("mask") @mask("result/rows/*/ssn") forbid`+onEcho+` when { context has output && context.input has path };`)
	post := func(args string) reply {
		h := modernHeaders(token, "tools/call", "echo")
		if strings.Contains(args, "s3cret") {
			h.Set("Mcp-Param-Text", "s3cret-7")
		}
		h.Set("Mcp-Param-Other", "s3cret-7")
		return post(t, r.url("up"), h, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":`+args+`,`+meta+`}}`)
	}
	got := post(`{ "t\u0065xt":"s3cret-7" , "n": 1.50}`)
	if !strings.Contains(got.body, `[masked]`) || !strings.Contains(got.body, "1.50") || strings.Contains(got.body, "s3cret") {
		t.Errorf("the agent read %s", got.body)
	}
	last := len(u.bodies) - 1
	if sent := string(u.bodies[last]) + fmt.Sprint(u.heads[last]); strings.Contains(sent, "s3cret") || !strings.Contains(sent, `{ "t\u0065xt":"[masked]" , "n": 1.50}`) {
		t.Errorf("the server got %s", sent)
	}
	if leaves := r.written("echo"); !strings.Contains(leaves, `"masks":["args"]`) {
		t.Errorf("the evidence says %s", leaves)
	}
	for name, tt := range map[string]struct{ result, want, not string }{
		"both forms": {`{"content":[{"type":"text","text":"{\"rows\":[{\"ssn\":\"123\",\"n\":1}]}"},{"type":"text","text":"the ssn is 123"},{"type":"image","data":"MTIz","mimeType":"a/b"}],"structuredContent":{"rows":[{"ssn":"123","n":1}]}}`,
			`"structuredContent":{"rows":[{"ssn":"[masked]","n":1}]}`, "123"},
		"text alone": {`{"content":[{"type":"text","text":"{\"rows\":[{\"ssn\":\"123\"}]}"}]}`, `\"ssn\":\"[masked]\"`, "123"},
		"beside it": {`{"content":[{"type":"text","text":"{\"rows\":[{\"ssn\":\"123\"}]}","_meta":{"of":"123"}}],"structuredContent":{"rows":[{"ssn":"123","n":1}]},"_meta":{"raw":"123"},"rows":[{"ssn":"123"}]}`,
			`"structuredContent":{"rows":[{"ssn":"[masked]","n":1}]}`, "123"},
		"no array":        {`{"content":"123","structuredContent":{"rows":[{"ssn":"123"}]}}`, `"ssn":"[masked]"`, "123"},
		"no rows":         {`{"content":[],"structuredContent":{"rows":[]}}`, `"rows":[]`, "withheld"},
		"another member":  {`{"content":[],"structuredContent":{"rows":[{"social":"123"}]}}`, "withheld", "123"},
		"only prose":      {`{"content":[{"type":"text","text":"123"}]}`, "withheld", "123"},
		"hidden in case":  {`{"content":[],"structuredContent":{"rows":[{"ssn":"1","SSN":"123"}]}}`, "withheld", "123"},
		"of another form": {`{"content":[{"type":"text","text":"{\"rows\":[{\"ssn\":\"123\"}]}"}],"structuredContent":{"ssn":"123"}}`, "withheld", "123"},
	} {
		u.onCall(func(w http.ResponseWriter, _ *http.Request, id json.RawMessage, _ []byte) bool {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(id)+`,"result":`+strings.Replace(tt.result, "{", `{"resultType":"complete",`, 1)+`}`)
			return true
		})
		got := post(`{"path":"x"}`)
		if !strings.Contains(got.body, tt.want) || strings.Contains(got.body, tt.not) {
			t.Errorf("%s: the agent read %s", name, got.body)
		}
	}
	leaves := r.written("echo")
	if !strings.Contains(leaves, `"release":{"masks":["rows"]}`) || !strings.Contains(leaves, `"st":"withheld"`) {
		t.Errorf("the evidence says %s", leaves)
	}
}

// What comes back is judged before the agent reads it, and messages before the
// final one too.
func TestReleaseIsDecided(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := ruled(t, u, `@id("large") forbid`+onEcho+` when { context has output && context.output.bytes > 400 };`)
	u.onCall(func(w http.ResponseWriter, _ *http.Request, id json.RawMessage, body []byte) bool {
		if !strings.Contains(string(body), "streamed") {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 9 {
			_, _ = fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":\"p\",\"progress\":%d,\"message\":\"piece%d%s\"}}\n\n", i, i, strings.Repeat("x", 60))
		}
		_, _ = io.WriteString(w, `data: {"jsonrpc":"2.0","id":`+string(id)+`,"result":{"resultType":"complete","content":[{"type":"text","text":"end-of-it"}]}}`+"\n\n")
		return true
	})
	if got := r.call(token, "up", "echo", `{"text":"short"}`); !strings.Contains(got.body, "short") {
		t.Errorf("a short answer: %s", got.body)
	}
	got := r.call(token, "up", "echo", `{"text":"`+strings.Repeat("y", 500)+`"}`)
	if outcome, class := denialOf(t, got); outcome != "deny" || class != "policy" || strings.Contains(got.body, "yyy") || !strings.Contains(got.body, "what came back is withheld") {
		t.Errorf("a long answer: %s", got.body)
	}
	got = post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"),
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"streamed"},`+strings.Replace(meta, `"_meta":{`, `"_meta":{"progressToken":"p",`, 1)+`}}`)
	if n := strings.Count(got.body, "piece"); n == 0 || n > 4 || strings.Contains(got.body, "end-of-it") {
		t.Errorf("%d pieces were relayed of %s", n, got.body)
	}
	if n := u.count(); n != 3 {
		t.Errorf("%d calls reached the server, want 3", n)
	}
	if leaves := r.written("echo"); strings.Count(leaves, `"st":"withheld"`) != 2 || !strings.Contains(leaves, `"forbids":["large"],"out":"deny"`) || !strings.Contains(leaves, `"release":{"dropped":[{"by":["large"],"first":`) ||
		!strings.Contains(leaves, `"last":9,"n":`) {
		t.Errorf("the evidence says %s", leaves)
	}
}

// A rule terminates a session: what runs in it is cut, nothing of it passes any
// more, and the agent may sign in anew. Every call that triggers it is denied, and it
// happens once.
func TestTerminatedSessionIsCutOff(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, token := ruled(t, u, `@id("end") @outcome("terminate") @target("session") forbid`+onEcho+` when { context.input has text && context.input.text == "canary" };`)
	began, freed := make(chan struct{}), make(chan struct{})
	u.onCall(func(w http.ResponseWriter, req *http.Request, _ json.RawMessage, body []byte) bool {
		if !strings.Contains(string(body), "waits") {
			return false
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": open\n\n")
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-req.Context().Done()
		close(freed)
		return true
	})
	long := make(chan reply, 1)
	go func() { long <- r.call(token, "up", "echo", `{"text":"waits"}`) }()
	<-began
	listening := stream(t, http.MethodPost, r.url(""), modernHeaders(r.token("bot", "*"), "subscriptions/listen", ""), modernBody("7", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
	listening.next()
	const parallel = 100
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			got := r.call(token, "up", "echo", `{"text":"canary"}`)
			if got.status == http.StatusUnauthorized { // it came after the others
				return
			}
			if outcome, _ := denialOf(t, got); outcome != "terminate" {
				t.Errorf("a call that triggers it: %d %s", got.status, got.body)
			}
		})
	}
	wg.Wait()
	if got := <-long; strings.Contains(got.body, "waits") {
		t.Errorf("the call that ran: %d %s", got.status, got.body)
	} else if outcome, _ := denialOf(t, got); outcome != "terminate" {
		t.Errorf("the call that ran ended with %s", got.body)
	}
	<-freed
	for range listening.events { // until it has ended
	}
	if got := r.call(token, "up", "echo", `{"text":"fine"}`); got.status != http.StatusUnauthorized {
		t.Errorf("afterwards: %d %s", got.status, got.body)
	}
	calls := u.count()
	if calls != 1 {
		t.Errorf("%d calls reached the server", calls)
	}
	if got := r.call(r.token("bot", "up"), "up", "echo", `{"text":"fine"}`); !strings.Contains(got.body, "fine") || got.status != http.StatusOK {
		t.Errorf("signed in anew: %d %s", got.status, got.body)
	}
	if n := strings.Count(r.written("terminate"), `"verb":"terminate"`); n != 1 {
		t.Errorf("it is recorded %d times", n)
	}
	if leaves := r.written("echo"); !strings.Contains(leaves, `"st":"revoked"`) {
		t.Errorf("the evidence says %s", leaves)
	}
}

// What a rule quarantined stays so over a restart until a person lets it go.
func TestQuarantineSurvivesARestart(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	dir := t.TempDir()
	at := func(c *daemon.Config) { c.Data = dir }
	for _, target := range []string{"session", "agent", "server", "tool"} {
		t.Run(target, func(t *testing.T) {
			dir = t.TempDir()
			var session string
			func() {
				r, token := ruled(t, u, `@id("iso") @outcome("quarantine") @target("`+target+`") forbid`+onEcho+` when { context.input has text && context.input.text == "odd" };`, at)
				if got := r.call(token, "up", "echo", `{"text":"fine"}`); !strings.Contains(got.body, "fine") {
					t.Fatalf("before: %s", got.body)
				}
				if outcome, _ := denialOf(t, r.call(token, "up", "echo", `{"text":"odd"}`)); outcome != "quarantine" {
					t.Errorf("the call that triggers it: %s", outcome)
				}
				if got := r.call(token, "up", "echo", `{"text":"fine"}`); strings.Contains(got.body, `fine\"`) {
					t.Errorf("the next call: %d %s", got.status, got.body)
				}
				list, err := r.d.Effects.List(t.Context(), "", 10, true)
				if err != nil || target == "session" && (len(list) != 1 || !strings.Contains(list[0].Why, "rule iso, decision dec_")) {
					t.Fatalf("%+v %v", list, err)
				}
				if target == "session" {
					session = list[0].ID
				}
				http.DefaultClient.CloseIdleConnections()
				if err := r.d.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}()
			r := newRig(t, at)
			before := u.count()
			token, err := r.d.Admin.IssueDevelopmentToken(t.Context(), operator, admin.TokenRequest{Agent: "bot", Server: "up"})
			switch target {
			case "session", "agent":
				if err == nil {
					t.Error("a token is issued beside the quarantine")
				}
			default:
				if got := r.call(token.Value, "up", "echo", `{"text":"fine"}`); u.count() != before {
					t.Errorf("after the restart: %d %s", got.status, got.body)
				}
			}
			switch target {
			case "session":
				_, err = r.d.Effects.Release(t.Context(), operator, session, "looked at")
			case "agent":
				_, err = r.d.Admin.ChangeAgent(t.Context(), operator, "bot", registry.VerbResume, "looked at")
			default:
				return // docs/upstreams.md: approved again by a person
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := r.call(r.token("bot", "up"), "up", "echo", `{"text":"fine"}`); !strings.Contains(got.body, "fine") || got.status != http.StatusOK {
				t.Errorf("released: %d %s", got.status, got.body)
			}
		})
	}
}
