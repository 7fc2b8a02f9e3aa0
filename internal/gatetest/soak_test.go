package gatetest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// What the gateway may hold, in bytes: one session or parked call at rest, and
// each session that has come and gone. Noise does not depend on how many there
// were. Of a parked call 8 KiB are the stack of its goroutine, 16 where the race
// detector makes its frames larger.
const (
	idleBound    = 40 << 20
	sessionBound = 8 << 10
	parkedBound  = 18 << 10 * instrumented
	growthBound  = 128
	heapNoise    = 3 << 19
	restNoise    = 32 // goroutines and descriptors: connections kept for the next call
)

// held is what this process holds at rest.
type held struct {
	heap, stacks, goroutines, files int
}

func (h held) bytes() int { return h.heap + h.stacks }

func (h held) String() string {
	return fmt.Sprintf("heap %d KiB, stacks %d KiB, %d goroutines, %d descriptors", h.heap>>10, h.stacks>>10, h.goroutines, h.files)
}

// atRest waits until nothing runs that will end by itself.
func atRest(t *testing.T) held {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	last, still := runtime.NumGoroutine(), 0
	for end := time.Now().Add(20 * time.Second); still < 15 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		if n := runtime.NumGoroutine(); n == last {
			still++
		} else {
			last, still = n, 0
		}
	}
	for range 3 { // what a pool keeps goes with the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/dev/fd") // where there is none, none are counted
	return held{int(m.HeapAlloc), int(m.StackInuse), runtime.NumGoroutine(), len(files)}
}

// soak is a gateway in front of servers of both eras and of both transports.
type soak struct {
	*rig
	tokens map[string]string // by server, "" is the aggregate

	answered atomic.Int64 // parked calls that were answered in time
}

func newSoak(t *testing.T, opts ...func(*daemon.Options)) *soak {
	t.Helper()
	url := soakServers(t)
	s := &soak{rig: startRig(t, opts, func(c *daemon.Config) { c.Log.Level = "error" }), tokens: map[string]string{}}
	text := "kind: Agent\nid: bot\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"*/*\"]\n" + strings.ReplaceAll(askPolicy("elicitation"), "up/", "legacy/")
	for _, id := range []string{"modern", "legacy"} {
		text += fmt.Sprintf("---\nkind: Server\nid: %s\nowner: team\nstate: sanctioned\ntransport: {http: {url: %q}}\n", id, url+"/"+id)
	}
	text += fmt.Sprintf(`---
kind: Server
id: pipe
owner: team
state: sanctioned
transport: {stdio: {command: %q, args: ["-test.run=^TestChild$"], env: {%s: legacy, GORACE: "atexit_sleep_ms=0"}, confine: {bestEffort: true, limits: {memory: unlimited}}}}
`, os.Args[0], childPart)
	s.apply(text, "modern", "legacy", "pipe")
	for _, server := range []string{"modern", "legacy", "pipe", "*"} {
		s.tokens[strings.TrimPrefix(server, "*")] = s.token("bot", server)
	}
	return s
}

func (s *soak) open(server string) *oldClient {
	s.t.Helper()
	return s.legacy(s.tokens[server], server, v2511, `{"elicitation":{}}`)
}

// does requires a result.
func (s *soak) does(what string, got reply) {
	s.t.Helper()
	if got.msg.Result == nil || strings.Contains(got.body, "io.rutile/denial") {
		s.t.Errorf("%s answered %d %.300s", what, got.status, got.body)
	}
}

func (s *soak) end(c *oldClient) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodDelete, s.url(c.server), nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	req.Header = c.headers()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusNoContent {
		s.t.Errorf("the end of a session of %q was answered %d", c.server, resp.StatusCode)
	}
}

// asks is a call whose server asks the client.
func (s *soak) asks() turn {
	return turn{r: s.rig, token: s.tokens["legacy"], server: "legacy", id: "1", tool: "echo", args: `{"text":"ask me"}`, caps: allCaps}
}

// round is one of everything that comes and goes; it returns how many sessions.
func (s *soak) round(n int) int {
	sessions := 0
	for server, tool := range map[string]string{"legacy": "echo", "modern": "echo", "": "legacy__echo"} {
		c := s.open(server)
		s.does("a list of "+server, c.request("tools/list", `{}`))
		s.does("a call of "+server, c.call(tool, `{"text":"x"}`))
		if server == "" {
			s.does("a call of another", c.call("modern__echo", `{}`))
		}
		h := c.headers()
		h.Del("Content-Type")
		s.streams(http.MethodGet, server, h, "", "")
		s.end(c)
		s.open(server) // nobody ends this one
		s.does("a modern call", s.rig.call(s.tokens[server], server, tool, `{}`))
		s.does("a modern list", s.list(s.tokens[server], server))
		sessions += 2
	}
	for _, server := range []string{"modern", ""} {
		s.streams(http.MethodPost, server, modernHeaders(s.tokens[server], "subscriptions/listen", ""),
			modernBody("7", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`), "subscriptions/acknowledged")
	}
	u := s.asks()
	in := asked(s.t, u.send())
	// On a busy machine the answer may come too late, which is an end too.
	if got := u.answering(in, accept).send(); got.msg.code() != -32602 {
		s.does("an answer", got)
		s.answered.Add(1)
	}
	if n%4 == 0 {
		asked(s.t, u.send()) // nobody answers this one
	}
	return sessions
}

// streams opens a stream, waits until it says first, and leaves it. What helps
// elsewhere keeps something until the test ends.
func (s *soak) streams(verb, server string, h http.Header, body, first string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, verb, s.url(server), strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return
	}
	req.Header = h
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || ct != "text/event-stream" {
		s.t.Errorf("a stream of %q was answered %d %s", server, resp.StatusCode, ct)
		return
	}
	lines := bufio.NewScanner(resp.Body)
	for first != "" && lines.Scan() {
		if strings.Contains(lines.Text(), first) {
			return
		}
	}
	if first != "" {
		s.t.Errorf("a stream of %q never said %s", server, first)
	}
}

// processes opens sessions that each have a process and ends them.
func (s *soak) processes(n int) int {
	for range n {
		c := s.open("pipe")
		s.does("a call of a process", c.call("do", do("", "x")))
		s.end(c)
		c = s.open("")
		s.does("a call of a process", c.call("pipe__do", do("", "x")))
		s.end(c)
	}
	return 2 * n
}

// beside runs do n times, some side by side.
func (s *soak) beside(n int, do func(i int)) {
	s.t.Helper()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 6 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				do(int(i))
			}
		})
	}
	wg.Wait()
	if s.t.Failed() {
		s.t.FailNow() // what is measured then means nothing
	}
}

// churn runs rounds and returns how many sessions came and went.
func (s *soak) churn(rounds, processes int) int {
	s.t.Helper()
	var sessions atomic.Int64
	s.beside(rounds+1, func(i int) {
		if i == 1 {
			sessions.Add(int64(s.processes(processes)))
		} else {
			sessions.Add(int64(s.round(i)))
		}
	})
	return int(sessions.Load())
}

// TestSoak lets sessions, calls, streams and parked calls of every kind come and
// go: what is held afterwards does not depend on how many there were.
func TestSoak(t *testing.T) {
	rounds, processes := 40, 3
	if !testing.Short() {
		rounds, processes = 1500, 60
	}
	s := newSoak(t, func(o *daemon.Options) {
		o.MCP.PerAgent, o.MCP.Parked, o.MCP.ParkTime = 40, 1024, time.Second
	})
	s.churn(30, 2) // what is made once is made, and the bounds are reached
	settled := func() { eventually(t, "no call is parked", func() bool { return s.d.Proxy.Waiting() == 0 }) }
	settled()
	before := atRest(t)
	t.Logf("before: %s", before)
	// What is made once may be made late on a busy machine. What is left behind
	// by each session is left behind by as many more as well.
	for try := 1; ; try++ {
		sessions := s.churn(rounds, processes)
		settled()
		after := atRest(t)
		grown := after.bytes() - before.bytes()
		t.Logf("after %d sessions: %s; %d bytes for each", sessions, after, grown/sessions)
		heap := grown > heapNoise+growthBound*sessions
		rest := after.goroutines > before.goroutines+restNoise || after.files > before.files+restNoise
		if !heap && !rest {
			break
		}
		if try == 2 {
			t.Errorf("%d sessions left %d KiB (of %d bytes each), %d goroutines and %d descriptors behind, twice", sessions, grown>>10, growthBound,
				after.goroutines-before.goroutines, after.files-before.files)
			break
		}
		before = after
	}
	if s.answered.Load() == 0 {
		t.Error("no parked call was answered")
	}
}

// TestAtRest measures what one session and one parked call hold while nothing
// happens in them.
func TestAtRest(t *testing.T) {
	n := 200
	if !testing.Short() {
		n = 2000
	}
	s := newSoak(t, func(o *daemon.Options) {
		o.MCP.PerAgent, o.MCP.Parked, o.MCP.ParkedAll = 10*n, 2*n, 2*n
	})
	s.churn(6, 1)
	idle := atRest(t)
	t.Logf("idle: %s", idle)
	if idle.bytes() > idleBound {
		t.Errorf("an idle gateway holds %d KiB", idle.bytes()>>10)
	}
	each := func(what string, bound int, do func(int)) {
		before := atRest(t)
		s.beside(n, do)
		after := atRest(t)
		per := func(b, a int) float64 { return float64(a-b) / float64(n) }
		t.Logf("%d × %s, each: %.0f bytes of heap, %.0f of stacks, %.2f goroutines, %.2f descriptors", n, what, per(before.heap, after.heap), per(before.stacks, after.stacks),
			per(before.goroutines, after.goroutines), per(before.files, after.files))
		if grown := after.bytes() - before.bytes(); grown > heapNoise+n*bound {
			t.Errorf("%d × %s hold %d KiB, more than %d bytes each", n, what, grown>>10, bound)
		}
	}
	for server, tool := range map[string]string{"legacy": "echo", "modern": "echo", "": "legacy__echo"} {
		each("legacy session at /mcp/"+server, sessionBound, func(int) { s.does("a call", s.open(server).call(tool, `{}`)) })
	}
	each("parked call", parkedBound, func(int) { asked(t, s.asks().send()) })
}
