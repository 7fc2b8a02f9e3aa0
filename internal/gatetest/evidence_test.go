package gatetest_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/daemon"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// denial is what a refused tool call says of itself.
type denial struct {
	Decision string `json:"decision"`
	Outcome  string `json:"outcome"`
	Class    string `json:"class"`
	Reason   string `json:"reason"`
}

// denied requires that a tool call was refused and returns how.
func denied(t *testing.T, got reply) denial {
	t.Helper()
	var res struct {
		IsError bool `json:"isError"`
		Meta    struct {
			Denial denial `json:"io.rutile/denial"`
		} `json:"_meta"`
	}
	if got.msg.Result == nil {
		t.Fatalf("not a denial: %d %s", got.status, got.body)
	}
	if err := json.Unmarshal(got.msg.Result, &res); err != nil || !res.IsError || res.Meta.Denial.Decision == "" {
		t.Fatalf("not a denial: %v %s", err, got.body)
	}
	return res.Meta.Denial
}

// leaf is what of a leaf of evidence these tests look at.
type leaf struct {
	Type string `json:"type"`
	Dec  struct {
		Out     string   `json:"out"`
		Forbids []string `json:"forbids"`
	} `json:"dec"`
	What struct {
		Tool   string `json:"tool"`
		Server string `json:"server"`
		Method string `json:"method"`
	} `json:"what"`
	Status  string `json:"st"`
	Reached string `json:"reached"`
	raw     string
}

// leaves returns the evidence from an index on.
func (r *rig) leaves(from uint64) []leaf {
	r.t.Helper()
	size := r.d.Evidence.Size()
	if from >= size {
		return nil
	}
	var out []leaf
	for e, err := range r.d.Evidence.Follow(r.t.Context(), from) {
		if err != nil {
			r.t.Fatalf("reading the evidence: %v", err)
		}
		l := leaf{raw: string(e.Leaf)}
		if err := json.Unmarshal(e.Leaf, &l); err != nil {
			r.t.Fatalf("leaf %d: %v", e.Index, err)
		}
		if out = append(out, l); e.Index+1 >= size {
			break
		}
	}
	return out
}

// since returns the verdicts, intents and outcomes of calls from an index on.
// Lists and handshakes are recorded behind, so they may come in between.
func (r *rig) since(from uint64) []leaf {
	r.t.Helper()
	var out []leaf
	for _, l := range r.leaves(from) {
		call := slices.Contains([]string{"tools/call", "prompts/get", "resources/read"}, l.What.Method)
		if l.Type == "outcome" || (call && (l.Type == "intent" || l.Type == "verdict")) {
			out = append(out, l)
		}
	}
	return out
}

// opened is what since returns, with what only the holder of the keys sees: reasons,
// sessions, and excerpts of what was sent.
func (r *rig) opened(from uint64) []*audit.Revealed {
	r.t.Helper()
	var out []*audit.Revealed
	for i := from; i < r.d.Evidence.Size(); i++ {
		l, err := r.d.Evidence.Reveal(r.t.Context(), i)
		if err != nil {
			r.t.Fatalf("leaf %d: %v", i, err)
		}
		if l.Row.Type == "outcome" || l.Row.Method == "tools/call" && (l.Row.Type == "intent" || l.Row.Type == "verdict") {
			out = append(out, l)
		}
	}
	return out
}

// A denial is in the log before it is answered, in every form it can have.
func TestDenialIsRecorded(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, echoTool, `{"name":"other","inputSchema":{"type":"object"}}`)
	r := newRig(t)
	r.apply(botAndServer(u.URL+"/mcp", `["up/echo"]`)+"---\nkind: Policy\nid: no-etc\ncedar: |\n"+
		"  forbid (principal, action == Mcp::Action::\"up/echo\", resource) when { context.input has path && context.input.path like \"/etc/*\" };\n", "up")
	token := r.token("bot", "up")
	old := r.legacy(token, "up", v2511, `{}`)
	for _, tt := range []struct {
		name string
		do   func() reply
		tool string
	}{
		{"a forbid", func() reply { return r.call(token, "up", "echo", `{"path":"/etc/passwd"}`) }, "echo"},
		{"nothing permits", func() reply { return r.call(token, "up", "other", `{}`) }, "other"},
		{"no such tool", func() reply { return r.call(token, "up", "nope", `{}`) }, "nope"},
		{"legacy", func() reply { return old.call("other", `{}`) }, "other"},
		{"a prompt", func() reply { return r.modern(token, "prompts/get", "p", `"name":"p"`) }, "p"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := r.d.Evidence.Size()
			got := tt.do()
			if got.msg.Error == nil {
				denied(t, got)
			}
			verdicts := r.since(from)
			if len(verdicts) != 1 || verdicts[0].Type != "verdict" || verdicts[0].Dec.Out != "deny" || verdicts[0].What.Tool != tt.tool || verdicts[0].What.Server != "up" {
				t.Fatalf("recorded %+v", verdicts)
			}
			if strings.Contains(verdicts[0].raw, "/etc/passwd") {
				t.Error("the leaf holds an argument in clear")
			}
		})
	}
	if u.count() != 0 {
		t.Errorf("%d denied calls reached the upstream", u.count())
	}
}

// No file of the evidence names an agent, a person or a session, or shows what
// was said: not by a call, a denial, a list, a handshake or a change.
func TestEvidenceNamesNobody(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	data := t.TempDir()
	r := startRig(t, nil, func(c *daemon.Config) { c.Data = data })
	r.apply(strings.ReplaceAll(botAndServer(p.URL+"/mcp", `["up/*"]`), "id: bot", "id: marlene-bot"), "up")
	task, err := r.d.Desk.OpenTask(t.Context(), operator, grant.Party{Agent: "marlene-bot", Subject: "wolfgang@example.org"}, grant.TaskSpec{Purpose: "letters for Hildegard"})
	if err != nil {
		t.Fatal(err)
	}
	tk, err := r.d.Admin.IssueDevelopmentToken(t.Context(), admin.Actor{Kind: "user", ID: "heinrich", Host: true}, admin.TokenRequest{
		Agent: "marlene-bot", Server: "up", Subject: "wolfgang@example.org", Task: task.ID,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dispatched {
		if got := r.modern(tk.Value, d[0], d[1], d[2]); got.msg.Result == nil {
			t.Fatalf("%s answered %s", d[0], got.body)
		}
	}
	old := r.legacy(tk.Value, "up", v2511, `{}`)
	r.list(tk.Value, "up")
	r.call(tk.Value, "up", "echo", `{"text":"Waldtraut is ill"}`)
	r.call(tk.Value, "up", "tell Waldtraut", `{}`)
	r.modern(tk.Value, "resources/read", "file:///home/waldtraut/x", `"uri":"file:///home/waldtraut/x"`)
	if _, err := r.d.Admin.ChangeAgent(t.Context(), operator, "marlene-bot", registry.VerbSuspend, "asked for by Heinrich"); err != nil {
		t.Fatal(err)
	}
	r.call(tk.Value, "up", "echo", `{}`)
	r.apply("kind: User\nid: adelheid\nname: Adelheid Beispiel\nemail: adelheid@example.org\nroles: [viewer]\nlocalUsers: [adelheid]\n---\nkind: Team\nid: people\nmembers: [adelheid]\n")
	made, err := r.d.Admin.CreateUserToken(t.Context(), operator, "adelheid", "Adelheid's own", 0)
	if err != nil {
		t.Fatal(err)
	}
	who, err := r.d.Admin.Authenticate(t.Context(), made.Token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.d.Admin.ChangeUser(t.Context(), who, "adelheid", registry.VerbSuspend, "asked by Adelheid"); err == nil {
		t.Fatal("a viewer changed a user")
	}
	r.stop()
	said := files(t, filepath.Join(data, "evidence"))
	if !strings.Contains(strings.Join(said, ""), `"type":"intent"`) {
		t.Fatal("no intent is among the files")
	}
	for _, name := range []string{"marlene", "olfgang", "einrich", "ildegard", "aldtraut", "tester", "delheid", made.Token[35:], old.session} {
		noneHolds(t, said, name)
	}
}

// Every dispatched call has one intent and one outcome that says how it ended.
func TestEveryIntentEndsInAnOutcome(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, "")
	for status, answer := range map[string]func(x *exchange){
		"ok":             func(x *exchange) { x.text("fine") },
		"tool_error":     func(x *exchange) { x.result(`{"resultType":"complete","content":[],"isError":true}`) },
		"protocol_error": func(x *exchange) { x.fault(-32000, "no", "") },
	} {
		t.Run(status, func(t *testing.T) {
			p.handle("tools/call", answer)
			from := r.d.Evidence.Size()
			r.call(token, "up", "echo", `{}`)
			got := r.since(from)
			if len(got) != 2 || got[0].Type != "intent" || got[1].Type != "outcome" || got[1].Status != status || got[1].Reached != "yes" {
				t.Errorf("recorded %+v", got)
			}
		})
	}
}

// A call that was dispatched and has no outcome can be seen: it is counted, and
// it is found.
func TestUnansweredCallIsVisible(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	r, token := governPeer(t, p, "")
	busy, finish := make(chan bool), make(chan bool)
	p.handle("tools/call", func(x *exchange) {
		busy <- true
		<-finish
		x.text("fine")
	})
	open := func() (n int) {
		t.Helper()
		rows, err := r.d.Evidence.Search(t.Context(), audit.Query{Status: string(audit.StatusOpen)})
		if err != nil {
			t.Fatal(err)
		}
		counted := httpGet(t, r.d.OperatorsURL+"/metrics")
		if !strings.Contains(counted, fmt.Sprintf("\nrutile_evidence_open_intents %d\n", len(rows))) {
			t.Errorf("%d are found and the metrics say %s", len(rows), regexp.MustCompile(`(?m)^rutile_evidence_o.*$`).FindAllString(counted, -1))
		}
		return len(rows)
	}
	if n := open(); n != 0 {
		t.Errorf("%d calls are open before any", n)
	}
	done := make(chan reply)
	go func() { done <- r.call(token, "up", "echo", `{}`) }()
	<-busy
	if n := open(); n != 1 {
		t.Errorf("%d calls are open during one", n)
	}
	close(finish)
	<-done
	if n := open(); n != 0 {
		t.Errorf("%d calls are open after it", n)
	}
}
