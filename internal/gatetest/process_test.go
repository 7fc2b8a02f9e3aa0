package gatetest_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/grant"
)

// Where every session has a process of its own, a principal has as many as it
// has sessions.
func TestProcessOfASessionStaysItsOwn(t *testing.T) {
	t.Parallel()
	r, _, _ := stdioRig(t, "legacy", "triaged", "")
	manifest := strings.Replace(stdioManifest("legacy", t.TempDir()+"/notes", "sanctioned"), "{stdio: {", "{stdio: {process: session, ", 1)
	r.apply(manifest, "up")
	pid := regexp.MustCompile(`pid \d+`)
	var tokens, pids []string
	seen := map[string]bool{}
	for i := range 6 {
		task, err := r.d.Desk.OpenTask(t.Context(), operator, grant.Party{Agent: "bot"}, grant.TaskSpec{Purpose: fmt.Sprint("task ", i)})
		if err != nil {
			t.Fatal(err)
		}
		tk, err := r.d.Admin.IssueDevelopmentToken(t.Context(), operator, admin.TokenRequest{Agent: "bot", Server: "up", Task: task.ID})
		if err != nil {
			t.Fatal(err)
		}
		token := tk.Value
		got := pid.FindString(r.call(token, "up", "do", do("who", "")).body)
		if got == "" || seen[got] {
			t.Fatalf("%q after %v", got, pids)
		}
		seen[got] = true
		tokens, pids = append(tokens, token), append(pids, got)
	}
	for i, token := range tokens {
		if got := pid.FindString(r.call(token, "up", "do", do("who", "")).body); got != pids[i] {
			t.Errorf("session %d was at %s and is at %s", i, pids[i], got)
		}
	}
}

// A stream of the aggregate starts no process besides the one that is listed.
func TestAggregateStreamStartsNoProcess(t *testing.T) {
	t.Parallel()
	r, _, notes := stdioRig(t, "legacy", "sanctioned", "")
	c := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
	s := stream(t, "GET", r.all(), c.headers(), "")
	defer s.cancel()
	time.Sleep(time.Second)
	if n := len(notes("start")); n != 1 {
		t.Errorf("%d processes were started", n)
	}
}

// A server that says again and again that it speaks another revision does not
// leave processes behind.
func TestDoubtsLeaveNoProcesses(t *testing.T) {
	t.Parallel()
	r, token, _ := stdioRig(t, "modern", "sanctioned", askPolicy("elicitation"))
	u := turn{r: r, token: token, server: "up", id: "1", tool: "do", args: do("doubt", ""), caps: allCaps}
	for range 5 {
		if got := u.send(); got.msg.Result != nil {
			t.Fatalf("answered %s", got.body)
		}
	}
	server, _ := r.d.Admin.Current().View.Server("up")
	running := func() int {
		st, _ := r.d.Proxy.Processes(server)
		return st.Running
	}
	eventually(t, "the processes nobody can reach end", func() bool { return running() <= 2 })
}
