package gatetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rutile/internal/daemon"
	"rutile/internal/registry"
)

// stdioRig is a rig with a child as server "up"; notes returns what it noted.
func stdioRig(t *testing.T, part, state, more string, opts ...func(*daemon.Options)) (r *rig, token string, notes func(prefix string) []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "notes")
	r = startRig(t, opts)
	r.apply(stdioManifest(part, file, state) + more)
	if state == "sanctioned" {
		learn(t, r)
	}
	return r, r.token("bot", "up"), func(prefix string) []string {
		t.Helper()
		return noted(t, file, prefix)
	}
}

// noted are the lines of a child's notes with a prefix.
func noted(t *testing.T, file, prefix string) (out []string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		if strings.HasPrefix(line, prefix) && line != "" {
			out = append(out, line)
		}
	}
	return out
}

func stdioManifest(part, notes, state string) string {
	// Without the setting the race detector makes the end of every process take
	// a second.
	return fmt.Sprintf(`
kind: Agent
id: bot
owner: team
purpose: test
riskTier: 1
tools: ["up/*"]
---
kind: Server
id: up
owner: team
transport: {stdio: {command: %q, args: ["-test.run=^TestChild$", "--", "a b", "$HOME;id", "*"], env: {%s: %q, %s: %q, GORACE: "atexit_sleep_ms=0"}, %s}}
state: %s
`, os.Args[0], childPart, part, childNotes, notes, childConfine(filepath.Dir(notes)), state)
}

// childConfine lets a child write its notes. The race detector reserves more
// memory than there is.
func childConfine(dir string) string {
	return fmt.Sprintf("confine: {bestEffort: true, write: [%q], limits: {memory: unlimited}}", dir)
}

func do(what, text string) string { return `{"do":"` + what + `","text":"` + text + `"}` }

// A process comes from an approved entry, exactly as the entry says, and from
// nothing an agent sends.
func TestSpawnOnlyFromRegistry(t *testing.T) {
	t.Setenv("GATETEST_OUTSIDE", "environment-canary")
	r, token, notes := stdioRig(t, "modern", "triaged", "")
	attack := func() {
		for _, server := range []string{"up", "nowhere", "..", "up%2f..%2fup", "sh"} {
			for _, body := range []string{
				modernBody("1", "tools/call", `"name":"do","arguments":{"command":"touch","args":["/tmp/x"],"env":{"A":"agent-canary"}},"command":"sh","transport":{"stdio":{"command":"sh"}}`),
				`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"experimental":{"command":"agent-canary"}},"clientInfo":{"name":"agent-canary","version":"1","command":"sh"},"command":"sh"}}`,
			} {
				h := modernHeaders(token, "tools/call", "do")
				if strings.Contains(body, "initialize") {
					h = (&oldClient{token: token}).headers()
				}
				h.Set("X-Command", "sh")
				post(t, r.d.AgentsURL+"/mcp/"+server+"?command=sh", h, body)
			}
		}
	}
	attack()
	if n := notes("start"); len(n) != 0 {
		t.Fatalf("a server that is not sanctioned was started: %v", n)
	}
	if _, err := r.d.Admin.ChangeServer(t.Context(), operator, "up", registry.VerbApprove, "test"); err != nil {
		t.Fatal(err)
	}
	learn(t, r)
	attack()
	got := r.call(token, "up", "do", do("who", ""))
	if got.msg.Result == nil {
		t.Fatalf("answered %s", got.body)
	}
	for _, canary := range []string{"environment-canary", "agent-canary", token} {
		if strings.Contains(got.body, canary) {
			t.Errorf("the process knows %q: %s", canary, got.body)
		}
	}
	starts := notes("start")
	for _, s := range starts {
		if !strings.HasSuffix(s, ` -test.run=^TestChild$ -- a b $HOME;id *`) {
			t.Errorf("started as %q", s)
		}
	}
	if _, err := r.d.Admin.ChangeServer(t.Context(), operator, "up", registry.VerbQuarantine, "test"); err != nil {
		t.Fatal(err)
	}
	attack()
	if got := r.call(token, "up", "do", do("who", "")); denied(t, got).Class != "server" {
		t.Errorf("a quarantined server answered %s", got.body)
	}
	if n := notes("start"); len(n) != len(starts) {
		t.Errorf("a quarantined server was started: %v", n)
	}
}

// A process that dies takes the call in flight with it, no other, and is
// started again for the next.
func TestProcessCrashAndRestart(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"modern", "legacy"} {
		t.Run(part, func(t *testing.T) {
			r, token, notes := stdioRig(t, part, "sanctioned", "")
			for _, way := range []string{"die", "die mid-answer"} {
				from := r.d.Evidence.Size()
				if got := r.call(token, "up", "do", do(way, "")); got.msg.code() != -32603 || got.msg.kind() != "upstream_unavailable" {
					t.Errorf("%s: answered %d %s", way, got.status, got.body)
				}
				if l := r.since(from); len(l) != 2 || l[1].Status != "unknown" || l[1].Reached == "no" {
					t.Errorf("%s: recorded %s %s", way, l[len(l)-1].Status, l[len(l)-1].Reached)
				}
				if log := r.logs.String(); strings.Count(log, "with a call in flight") == 0 || strings.Contains(log, "error=<nil>") {
					t.Errorf("%s: the log does not say why:\n%s", way, log)
				}
				if got := r.call(token, "up", "do", do("", "again")); !strings.Contains(got.body, "again") {
					t.Errorf("%s: the next call answered %d %s", way, got.status, got.body)
				}
			}
			// One that dies while nobody calls is not noticed by the next caller.
			r.call(token, "up", "do", do("later", "x"))
			server, _ := r.d.Admin.Current().View.Server("up")
			eventually(t, "it has died", func() bool {
				st, _ := r.d.Proxy.Processes(server)
				return st.Crashes == 3
			})
			if got := r.call(token, "up", "do", do("", "after idle death")); !strings.Contains(got.body, "after idle death") {
				t.Errorf("after it died idle: %d %s", got.status, got.body)
			}
			if n := len(notes("start")); n != 5 { // one that looked at the tools, four that served
				t.Errorf("it was started %d times, want 5", n)
			}
			old := r.legacy(token, "up", v2511, `{}`)
			if got := old.call("do", do("die", "")); got.msg.kind() != "upstream_unavailable" {
				t.Errorf("a legacy client got %d %s", got.status, got.body)
			}
		})
	}
}

// A process that never gets up is not started again and again.
func TestProcessStartBacksOff(t *testing.T) {
	t.Parallel()
	r, token, notes := stdioRig(t, "modern stillborn", "triaged", "")
	if _, err := r.d.Admin.ChangeServer(t.Context(), operator, "up", registry.VerbApprove, "test"); err != nil {
		t.Fatal(err)
	}
	var waits bool
	for range 20 {
		got := r.list(token, "up")
		if got.msg.code() != -32603 || got.msg.kind() != "upstream_unavailable" {
			t.Fatalf("answered %d %s", got.status, got.body)
		}
		waits = waits || strings.Contains(got.body, "the next try is in")
	}
	if n := len(notes("start")); n < 1 || n > 3 || !waits {
		t.Errorf("20 requests started it %d times", n)
	}
	if strings.Contains(r.list(token, "up").body, os.Args[0]) {
		t.Error("the answer shows the command")
	}
}

// A server may refuse what one client says of itself, which is no reason to start
// nothing for others. Who is refused again and again waits alone.
func TestRefusedHandshakeHoldsBackNobodyElse(t *testing.T) {
	t.Parallel()
	r, token, notes := stdioRig(t, "legacy", "sanctioned", eve)
	hello := func(token, name string) reply {
		h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer " + token}}
		return post(t, r.url("up"), h, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"`+name+`","version":"1"}}}`)
	}
	waits := false
	for range 10 {
		got := hello(token, "refused by this server")
		if got.msg.Error == nil {
			t.Fatalf("answered %d %s", got.status, got.body)
		}
		if waits = strings.Contains(got.body, "the next try is in"); waits {
			break
		}
		if got := hello(r.token("eve", "up"), "good"); got.msg.Result == nil {
			t.Fatalf("another agent is answered %d %s", got.status, got.body)
		}
	}
	if !waits {
		t.Errorf("%d processes were started in vain", len(notes("start")))
	}
	if got := hello(r.token("eve", "up"), "good"); got.msg.Result == nil {
		t.Errorf("another agent is answered %d %s", got.status, got.body)
	}
}

// No two principals, and no two legacy sessions, share a process.
func TestPrincipalsShareNoProcess(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"modern", "legacy"} {
		t.Run(part, func(t *testing.T) {
			r, token, _ := stdioRig(t, part, "sanctioned", eve)
			pid := regexp.MustCompile(`pid (\d+)`)
			home := regexp.MustCompile(`HOME=([^"\\]+)`)
			owner, homes := map[string]string{}, map[string]string{}
			use := func(who, principal string, got reply) {
				t.Helper()
				p, h := pid.FindStringSubmatch(got.body), home.FindStringSubmatch(got.body)
				if p == nil || h == nil {
					t.Fatalf("%s: answered %d %s", who, got.status, got.body)
				}
				if o := owner[p[1]]; o != "" && o != who {
					t.Errorf("%s uses the process of %s", who, o)
				}
				if o := homes[h[1]]; o != "" && o != principal {
					t.Errorf("%s uses the home of %s", who, o)
				}
				owner[p[1]], homes[h[1]] = who, principal
			}
			for range 2 {
				for who, tk := range map[string]string{"bot": token, "bot for ann": r.subjectToken("bot", "ann"), "bot for bob": r.subjectToken("bot", "bob"), "eve for ann": r.subjectToken("eve", "ann")} {
					use(who, who, r.call(tk, "up", "do", do("who", "")))
				}
			}
			if len(owner) != 4 {
				t.Errorf("four principals used %d processes", len(owner))
			}
			if part == "legacy" {
				for i := range 2 {
					c := r.legacy(token, "up", v2511, `{}`)
					use(fmt.Sprint("session ", i), "bot", c.call("do", do("who", "")))
					use(fmt.Sprint("session ", i), "bot", c.call("do", do("who", "")))
				}
			}
		})
	}
}

// Calls of one principal run side by side in its process whatever ids they
// have, and each gets its own answer and progress.
func TestProcessKeepsCallsApart(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"modern", "legacy"} {
		t.Run(part, func(t *testing.T) {
			r, token, notes := stdioRig(t, part, "sanctioned", "")
			answers := make(chan [2]string, 4)
			for i := range 4 {
				text := fmt.Sprint("text-", i)
				go func() { answers <- [2]string{text, r.call(token, "up", "do", do("wait", text)).body} }() // all with id 1
			}
			eventually(t, "all calls arrived", func() bool { return strings.Count(strings.Join(notes("got"), "\n"), `"wait"`) == 4 })
			r.call(token, "up", "do", do("release", ""))
			for range 4 {
				if a := <-answers; !strings.Contains(a[1], a[0]) || !strings.Contains(a[1], `"id":1,`) {
					t.Errorf("the call %s was answered %s", a[0], a[1])
				}
			}
			for _, id := range []string{`"1"`, `1`, `9007199254740993`} {
				got := post(t, r.url("up"), modernHeaders(token, "tools/call", "do"), `{"jsonrpc":"2.0","id":`+id+`,"method":"tools/call","params":{"name":"do","arguments":`+do("progress", "x")+`,"_meta":{"progressToken":`+id+`,`+strings.TrimPrefix(meta, `"_meta":{`)+`}}`)
				if !strings.Contains(got.body, `"progressToken":`+id+`,`) || !strings.Contains(got.body, `"id":`+id+`,`) {
					t.Errorf("id and token %s: %s", id, got.body)
				}
			}
		})
	}
}

// A cancelled call is cancelled in the process, under the id it has there.
func TestProcessIsToldOfCancellation(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"modern", "legacy"} {
		t.Run(part, func(t *testing.T) {
			r, token, notes := stdioRig(t, part, "sanctioned", "")
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, "POST", r.url("up"), strings.NewReader(modernBody(`"mine"`, "tools/call", `"name":"do","arguments":`+do("wait", "never"))))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = modernHeaders(token, "tools/call", "do")
			go func() {
				if resp, err := http.DefaultClient.Do(req); err == nil {
					resp.Body.Close()
				}
			}()
			arrived := func() string {
				for _, l := range notes("got") {
					if strings.Contains(l, "never") {
						return l
					}
				}
				return ""
			}
			eventually(t, "the call arrived", func() bool { return arrived() != "" })
			cancel()
			var m struct {
				ID json.RawMessage `json:"id"`
			}
			if err := json.Unmarshal([]byte(strings.TrimPrefix(arrived(), "got ")), &m); err != nil || string(m.ID) == `"mine"` {
				t.Fatalf("the process saw %s", arrived())
			}
			eventually(t, "the process is told", func() bool {
				all := strings.Join(notes("got"), "\n")
				return strings.Contains(all, `notifications/cancelled`) && strings.Contains(all, `"requestId":`+string(m.ID))
			})
			if got := r.call(token, "up", "do", do("", "next")); !strings.Contains(got.body, "next") {
				t.Errorf("the next call answered %s", got.body)
			}
		})
	}
}

// Every process ends with its daemon, and a changed entry ends the old ones.
func TestProcessesEnd(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "notes")
	r := startRig(t, nil)
	r.apply(stdioManifest("modern", file, "sanctioned"), "up")
	token := r.token("bot", "up")
	r.call(token, "up", "do", do("", "x"))
	other := filepath.Join(t.TempDir(), "other")
	r.apply(stdioManifest("modern", other, "sanctioned"))
	if got := r.call(token, "up", "do", do("", "changed")); !strings.Contains(got.body, "changed") {
		t.Errorf("after the entry changed: %d %s", got.status, got.body)
	}
	count := func(file, prefix string) int {
		raw, _ := os.ReadFile(file)
		return strings.Count("\n"+string(raw), "\n"+prefix)
	}
	eventually(t, "the processes of the old entry ended", func() bool { return count(file, "start") > 0 && count(file, "end") == count(file, "start") })
	r.stop()
	if s, e := count(other, "start"), count(other, "end"); s == 0 || s != e {
		t.Errorf("after the stop %d of %d processes have ended", e, s)
	}
}

// A process asks the client of the session it belongs to.
func TestProcessAsksItsClient(t *testing.T) {
	t.Parallel()
	r, token, notes := stdioRig(t, "legacy", "sanctioned", askPolicy("elicitation"))
	c := r.legacy(token, "up", v2511, `{"elicitation":{}}`)
	s := stream(t, "POST", r.url("up"), c.headers(), `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"do","arguments":`+do("ask", "")+`}}`)
	var asked struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if e := s.next(); json.Unmarshal([]byte(e), &asked) != nil || asked.Method != "elicitation/create" || string(asked.ID) == `"ask-1"` {
		t.Fatalf("the client was asked %s", e)
	}
	if got := c.post(`{"jsonrpc":"2.0","id":` + string(asked.ID) + `,"result":{"action":"accept","content":{}}}`); got.status != 202 {
		t.Errorf("the answer was answered %d %s", got.status, got.body)
	}
	if end := s.rest(); len(end) != 1 || !strings.Contains(end[0], `"id":"a"`) || !strings.Contains(end[0], "accept") {
		t.Errorf("the call ended with %q", end)
	}
	if !slices.ContainsFunc(notes("got"), func(l string) bool { return strings.Contains(l, `"id":"ask-1","result"`) }) {
		t.Error("the process did not get the answer under its own id")
	}
}
