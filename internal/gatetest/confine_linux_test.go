package gatetest_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/confine"
	"rutile/internal/gatetest"
	"rutile/internal/grant"
)

// hostileManifest registers the hostile Node program as server id, with more
// members of its transport.
func hostileManifest(npm gatetest.NPM, id, script, more string) string {
	return fmt.Sprintf(`
kind: Agent
id: %[1]s-bot
owner: team
purpose: test
riskTier: 1
tools: ["%[1]s/*"]
---
kind: Server
id: %[1]s
owner: team
transport: {stdio: {command: %[2]q, args: [%[3]q]%[4]s}}
state: sanctioned
---
`, id, npm.Node, script, more)
}

// takenOverRig is a rig with two hostile servers, "up" and "other", of which only
// the first is confined, with more members of its transport.
func takenOverRig(t *testing.T, more string) (r *rig, ask func(server, what, arg string) string) {
	t.Helper()
	npm := gatetest.NewNPM(t)
	source, err := os.ReadFile("testdata/hostile.mjs")
	if err != nil {
		t.Fatal(err)
	}
	script := gatetest.TempFile(t, "hostile.mjs", string(source))
	if more == "" {
		more = fmt.Sprintf(", confine: {bestEffort: true, read: [%q]}", script)
	}
	more = strings.ReplaceAll(more, "SCRIPT", script)
	r = newRig(t)
	r.apply(strings.TrimSuffix(hostileManifest(npm, "up", script, more)+hostileManifest(npm, "other", script, ", confine: off"), "---\n"), "up", "other")
	return r, func(server, what, arg string) string {
		t.Helper()
		got := r.call(r.token(server+"-bot", server), server, "do", do(what, arg))
		var result struct {
			Content []struct{ Text string }
		}
		if err := json.Unmarshal(got.msg.Result, &result); err != nil || len(result.Content) != 1 {
			t.Fatalf("%s %s: answered %d %s", what, arg, got.status, got.body)
		}
		return result.Content[0].Text
	}
}

// lacks reports whether this machine cannot take a measure. What it lacks must
// be said where an operator looks.
func lacks(t *testing.T, r *rig, m confine.Measure) bool {
	t.Helper()
	s, ok := r.d.Admin.Current().View.Server("up")
	if !ok {
		t.Fatal("no server")
	}
	st, ok := r.d.Proxy.Processes(s)
	lacking := slices.ContainsFunc(st.Holds.Lacks, func(l confine.Lack) bool { return l.Measure == m && l.Why != "" })
	if !ok || !st.Confined || lacking == slices.Contains(st.Holds.Held, m) {
		t.Errorf("%s: the state must name it once: %+v", m, st)
	}
	return lacking
}

// A server that has been taken over reaches nothing of the gateway, of another
// server or of a person; the same program unconfined does.
func TestHostileServerIsConfined(t *testing.T) {
	t.Parallel()
	r, ask := takenOverRig(t, "")
	data := r.d.Config.Data
	person := gatetest.TempFile(t, "id_ed25519", "PRIVATE KEY of a person")
	theirs := filepath.Join(strings.TrimPrefix(ask("other", "where", ""), "DONE "), "token")
	if got := ask("other", "write", theirs); got != "DONE written" {
		t.Fatalf("another server in its home: %s", got)
	}
	if !strings.HasPrefix(theirs, filepath.Join(data, "servers", "other")+"/") {
		t.Fatalf("the home of another server is %s", theirs)
	}
	for _, what := range []string{"read", "read as a child", "read by link", "read by root"} {
		for _, file := range []string{
			person, theirs, filepath.Join(data, "vault.key"), filepath.Join(data, "operator.token"), filepath.Join(data, "rutile.db"),
			filepath.Join(data, "evidence-signing.key"), fmt.Sprintf("/proc/%d/cmdline", os.Getpid()),
		} {
			if got := ask("other", what, file); !strings.HasPrefix(got, "DONE") {
				t.Fatalf("unconfined, %s %s: %s", what, file, got)
			}
			if got := ask("up", what, file); !strings.HasPrefix(got, "STOPPED") && !lacks(t, r, confine.Files) {
				t.Errorf("confined, %s %s: %s", what, file, got)
			}
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, c := range []struct {
		what, arg string
		by        confine.Measure
	}{
		{"list", data, confine.Files},
		{"list", filepath.Join(data, "servers"), confine.Files},
		{"list", filepath.Dir(person), confine.Files},
		{"write", filepath.Join(data, "planted"), confine.Files},
		{"write", filepath.Join(data, "servers", "other", "planted"), confine.Files},
		{"connect", filepath.Join(data, "rutile.sock"), confine.Sockets},
		{"signal", fmt.Sprint(os.Getpid()), confine.Signals},
		{"listen", "", confine.Listen},
	} {
		if got := ask("other", c.what, c.arg); !strings.HasPrefix(got, "DONE") {
			t.Fatalf("unconfined, %s %s: %s", c.what, c.arg, got)
		}
		if got := ask("up", c.what, c.arg); !strings.HasPrefix(got, "STOPPED") && !lacks(t, r, c.by) {
			t.Errorf("confined, %s %s: %s", c.what, c.arg, got)
		}
	}
	if os.Getuid() == 0 {
		if got := ask("up", "read", "/etc/shadow"); !strings.HasPrefix(got, "STOPPED") && !lacks(t, r, confine.Files) {
			t.Errorf("confined, read /etc/shadow: %s", got)
		}
	}
	// Its own place, the system's and the network are there.
	home := strings.TrimPrefix(ask("up", "where", ""), "DONE ")
	for _, c := range [][2]string{
		{"write", filepath.Join(home, "mine")}, {"read", filepath.Join(home, "mine")}, {"list", home}, {"list", "/usr/lib"}, {"read", "/etc/hosts"},
		{"connect", listener.Addr().String()[len("127.0.0.1:"):]},
	} {
		if got := ask("up", c[0], c[1]); !strings.HasPrefix(got, "DONE") {
			t.Errorf("%s %s: %s", c[0], c[1], got)
		}
	}
	// What it has open is its three pipes.
	for fd := range strings.SplitSeq(strings.TrimPrefix(ask("up", "fds", ""), "DONE "), " ") {
		if n, to, _ := strings.Cut(fd, "="); strings.HasPrefix(to, data) || strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/proc/") && !strings.HasPrefix(to, "/dev/null") && !strings.HasPrefix(to, "/sys/") {
			t.Errorf("descriptor %s is %s", n, to)
		}
	}
}

// A grant does what it says and no more.
func TestManifestGrants(t *testing.T) {
	t.Parallel()
	docs, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(docs, "note"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, ask := takenOverRig(t, fmt.Sprintf(`, confine: {bestEffort: true, read: ["SCRIPT", %q], write: [%q], network: none}`, docs, out))
	for _, c := range []struct{ what, arg, want string }{
		{"read", filepath.Join(docs, "note"), "DONE hello"},
		{"write", filepath.Join(docs, "note"), "STOPPED EACCES"},
		{"write", filepath.Join(docs, "new"), "STOPPED EACCES"},
		{"write", filepath.Join(out, "new"), "DONE written"},
		{"read", filepath.Join(out, "new"), "DONE changed"},
		{"read", filepath.Join(filepath.Dir(filepath.Dir(docs)), "x"), "STOPPED"},
		{"connect", "1", "STOPPED EACCES"},
		{"listen", "", "STOPPED EACCES"},
	} {
		if got := ask("up", c.what, c.arg); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %s: %s, want %s", c.what, c.arg, got, c.want)
		}
	}
}

// What a manifest demands and cannot have keeps the server from starting, and
// the answer says so without showing the machine to the agent.
func TestUnfitConfinementStartsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct{ confine, agent, operator string }{
		"a path is missing":     {`{read: [/nowhere/at/all]}`, "does not exist", "/nowhere/at/all"},
		"our data":              {`{read: [DATA]}`, "cannot be started", "the gateway's own"},
		"a part of our data":    {`{read: [DATA/vault.key]}`, "cannot be started", "the gateway's own"},
		"the place of our data": {`{write: [ABOVE]}`, "cannot be started", "the gateway's own"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			doc := strings.NewReplacer("DATA", r.d.Config.Data, "ABOVE", filepath.Dir(r.d.Config.Data)).Replace(c.confine)
			r.apply(strings.Replace(stdioManifest("modern", file, "sanctioned"), childConfine(dir), "confine: "+doc, 1))
			if err := r.d.Proxy.Learn(t.Context(), "up"); err == nil {
				t.Fatal("it was started")
			}
			s, _ := r.d.Admin.Current().View.Server("up")
			st, _ := r.d.Proxy.Processes(s)
			if !strings.Contains(st.Last, c.operator) || st.Running != 0 || st.NextTry.IsZero() {
				t.Errorf("an operator sees %+v", st)
			}
			got := r.list(r.token("bot", "up"), "up")
			if got.msg.kind() != "upstream_unavailable" || strings.Contains(got.body, r.d.Config.Data) || strings.Contains(got.body, "/nowhere") {
				t.Errorf("the agent sees %s", got.body)
			}
			if _, err := os.Stat(file); err == nil {
				t.Error("it ran")
			}
		})
	}
}

// What a manifest names is demanded; with bestEffort it is wanted.
func TestManifestDemands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRig(t)
	with := func(file, confine string) string {
		return strings.Replace(stdioManifest("modern", filepath.Join(dir, file), "sanctioned"), childConfine(dir), "confine: "+confine, 1)
	}
	// Of the measures, a bound of processes is what a machine lacks most often:
	// for root.
	granted := fmt.Sprintf("write: [%q], limits: {memory: unlimited, processes: 100000}", dir)
	r.apply(with("wanted", "{bestEffort: true, "+granted+"}"), "up")
	lacking := lacks(t, r, confine.Processes)
	r.apply(with("demanded", "{"+granted+"}"))
	err := r.d.Proxy.Learn(t.Context(), "up")
	if (err != nil) != lacking {
		t.Errorf("a bound of processes is demanded, lacking: %t, and starting gives %v", lacking, err)
	}
	if _, serr := os.Stat(filepath.Join(dir, "demanded")); lacking == (serr == nil) {
		t.Errorf("lacking: %t, and it ran: %v", lacking, serr)
	}
	if got := r.list(r.token("bot", "up"), "up"); lacking && !strings.Contains(got.body, "failed to start") && !strings.Contains(got.body, "demands a confinement") {
		t.Errorf("the agent sees %s", got.body)
	}
}

// The public servers as a newcomer would write them down: through node and
// through npx, with nothing granted but what they are to work on.
func TestPublicServersWorkConfined(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	npx, err := exec.LookPath("npx")
	if err != nil {
		gatetest.Lack(t, "there is no npx: install npm")
	}
	docs := t.TempDir()
	if err := os.WriteFile(filepath.Join(docs, "note.txt"), []byte("the launch is on Thursday"), 0o600); err != nil {
		t.Fatal(err)
	}
	// npx finds what is installed in the directory it is started in.
	run := func(program string, args ...string) string {
		raw, _ := json.Marshal(append([]string{"--no-install", program}, args...)) // strings always can
		return fmt.Sprintf("{stdio: {command: %q, args: %s, dir: %q", npx, raw, npm.Dir)
	}
	node := func(argv []string) string { return strings.TrimSuffix(overStdio(argv...), "}}") }
	memory, _ := npm.MemoryServer("")
	// What node loads is read, what npx starts is executed.
	grant := func(how, more string) string {
		return fmt.Sprintf(", confine: {bestEffort: true, %s: [%q]%s}", how, npm.Dir, more)
	}
	graph := func(name string) string {
		return fmt.Sprintf(", env: {MEMORY_FILE_PATH: %q}", filepath.Join(docs, name))
	}
	reading, writing := fmt.Sprintf(", read: [%q]", docs), fmt.Sprintf(", write: [%q]", docs)
	rig := conformanceRig(t, map[string]string{
		"files-node":  node(npm.FilesystemServer(docs)) + fmt.Sprintf(", confine: {bestEffort: true, read: [%q, %q]}}}", npm.Dir, docs),
		"files-npx":   run("mcp-server-filesystem", docs) + grant("exec", reading) + "}}",
		"demo-node":   node(npm.EverythingServer()) + grant("read", "") + "}}",
		"demo-npx":    run("mcp-server-everything", "stdio") + grant("exec", "") + "}}",
		"memory-node": node(memory) + grant("read", writing) + graph("node.jsonl") + "}}",
		"memory-npx":  run("mcp-server-memory") + grant("exec", writing) + graph("npx.jsonl") + "}}",
	})
	for _, c := range []struct {
		server string
		call   gatetest.Call
		want   string
	}{
		{"files", gatetest.Call{Tool: "read_text_file", Arguments: map[string]any{"path": filepath.Join(docs, "note.txt")}}, "the launch is on Thursday"},
		{"demo", gatetest.Call{Tool: "echo", Arguments: map[string]any{"message": "hello"}}, "hello"},
		{"memory", gatetest.Call{Tool: "create_entities", Arguments: map[string]any{"entities": []any{map[string]any{"name": "a", "entityType": "b", "observations": []string{}}}}}, "entityType"},
	} {
		for _, by := range []string{"node", "npx"} {
			v, err := gatetest.VisitWithGo(t.Context(), rig.url(c.server+"-"+by), "", "2026-07-28", c.call)
			if err != nil || v.IsError || !strings.Contains(v.Text, c.want) {
				t.Errorf("%s through %s: %+v, %v", c.server, by, v, err)
			}
		}
	}
}

// A process scope says who shares a process.
func TestProcessScopes(t *testing.T) {
	t.Parallel()
	pid := regexp.MustCompile(`pid (\d+)`)
	for scope, want := range map[string]int{"principal": 3, "session": 4, "server": 1} {
		for _, part := range []string{"modern", "legacy"} {
			t.Run(scope+" "+part, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "notes")
				r := newRig(t)
				r.apply(strings.Replace(stdioManifest(part, file, "sanctioned"), ", confine:", ", process: "+scope+", confine:", 1)+eve, "up")
				seen := map[string]bool{}
				use := func(got reply) {
					t.Helper()
					p := pid.FindStringSubmatch(got.body)
					if p == nil {
						t.Fatalf("answered %d %s", got.status, got.body)
					}
					seen[p[1]] = true
				}
				// Two sessions of one principal, and two other principals.
				task, err := r.d.Desk.OpenTask(t.Context(), operator, grant.Party{Agent: "bot"}, grant.TaskSpec{Purpose: "another"})
				if err != nil {
					t.Fatal(err)
				}
				second, err := r.d.Admin.IssueDevelopmentToken(t.Context(), operator, admin.TokenRequest{Agent: "bot", Server: "up", Task: task.ID})
				if err != nil {
					t.Fatal(err)
				}
				for _, tk := range []string{r.token("bot", "up"), second.Value, r.token("eve", "up"), r.subjectToken("bot", "ann")} {
					use(r.call(tk, "up", "do", do("who", "")))
					use(r.call(tk, "up", "do", do("who", "")))
				}
				if len(seen) != want {
					t.Errorf("%d processes, want %d", len(seen), want)
				}
				if scope != "server" {
					return
				}
				// A legacy client's session is one more that shares.
				c := r.legacy(r.token("eve", "up"), "up", v2511, `{}`)
				use(c.call("do", do("who", "")))
				if len(seen) != want {
					t.Errorf("a legacy session has a process of its own: %d", len(seen))
				}
			})
		}
	}
}

// One process for everybody holds nobody's credential.
func TestSharedProcessHoldsNoCredential(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	docs, err := admin.ParseReader("m.yaml", t.TempDir(), strings.NewReader("kind: Server\nid: up\nowner: team\ntransport: {stdio: {command: x, process: server}}\ncredential: {ref: token, env: TOKEN}\n"))
	if err == nil {
		_, err = r.d.Admin.Apply(t.Context(), operator, docs, false)
	}
	if err == nil || !strings.Contains(err.Error(), "process that everybody shares") || !strings.Contains(err.Error(), "m.yaml:5") {
		t.Errorf("applying: %v", err)
	}
}

// A process that ends again and again is held back, for whoever makes it end and
// for nobody else, and an operator sees it.
func TestCrashLoopIsHeldBackAndSeen(t *testing.T) {
	t.Parallel()
	r, token, notes := stdioRig(t, "modern", "sanctioned", eve)
	held := false
	for range 20 {
		got := r.call(token, "up", "do", do("die", ""))
		if got.msg.kind() != "upstream_unavailable" {
			t.Fatalf("answered %s", got.body)
		}
		held = held || strings.Contains(got.body, "ended by itself") && strings.Contains(got.body, "the next try is in")
	}
	starts := len(notes("start"))
	if !held || starts > 12 {
		t.Errorf("20 deaths started it %d times; held back: %t", starts, held)
	}
	s, _ := r.d.Admin.Current().View.Server("up")
	st, ok := r.d.Proxy.Processes(s)
	if !ok || st.Crashes < 6 || st.NextTry.IsZero() || !strings.Contains(st.Last, "exit status 3") {
		t.Errorf("an operator sees %+v", st)
	}
	if got := r.call(r.token("eve", "up"), "up", "do", do("", "mine lives")); !strings.Contains(got.body, "mine lives") {
		t.Errorf("another agent pays for it: %s", got.body)
	}
}

// The times of a manifest bound the start and the idle life of its processes.
func TestManifestTimes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRig(t)
	with := func(part, file, more string) string {
		return strings.Replace(stdioManifest(part, file, "sanctioned"), ", confine:", ", "+more+", confine:", 1)
	}
	silent := filepath.Join(dir, "silent")
	r.apply(with("modern silent", silent, "startTimeout: 1s"))
	got := r.list(r.token("bot", "up"), "up")
	if got.msg.kind() != "upstream_unavailable" || !strings.Contains(got.body, "did not answer within 1s") || !strings.Contains(got.body, "rutile server show up") {
		t.Errorf("a process that says nothing: %s", got.body)
	}
	s, _ := r.d.Admin.Current().View.Server("up")
	if st, _ := r.d.Proxy.Processes(s); st.Failed != 1 || st.NextTry.IsZero() || !strings.Contains(st.Last, "in time") {
		t.Errorf("an operator sees %+v", st)
	}
	idle := filepath.Join(dir, "idle")
	r.apply(with("modern", idle, "idleTimeout: 1s"), "up")
	if got := r.call(r.token("bot", "up"), "up", "do", do("", "hello")); !strings.Contains(got.body, "hello") {
		t.Fatalf("answered %s", got.body)
	}
	eventually(t, "the idle processes ended", func() bool {
		raw, err := os.ReadFile(idle)
		return err == nil && strings.Count("\n"+string(raw), "\nend ") == 2
	})
	s, _ = r.d.Admin.Current().View.Server("up")
	if st, _ := r.d.Proxy.Processes(s); st.Crashes != 0 || st.Last != "" {
		t.Errorf("an idle end counts as a crash: %+v", st)
	}
	if got := r.call(r.token("bot", "up"), "up", "do", do("", "again")); !strings.Contains(got.body, "again") {
		t.Errorf("after it: %s", got.body)
	}
}
