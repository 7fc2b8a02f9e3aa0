//go:build unix

package mcpproxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/mcpproxy"
)

const stdioPatience = 20 * time.Second // the machine may be busy

// notebook is a log that can be read while it is written.
type notebook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (n *notebook) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.Write(b)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.String()
}

// child starts the test binary in a part and sees to its end.
func child(t *testing.T, part string, change func(*mcpproxy.StdioConfig)) (p *mcpproxy.StdioProcess, log *notebook, notes string) {
	t.Helper()
	log, notes = new(notebook), filepath.Join(t.TempDir(), "notes")
	cfg := mcpproxy.StdioConfig{
		Command: os.Args[0], Env: childEnv(part), StopGrace: 2 * time.Second,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	cfg.Env[childNotes] = notes
	if change != nil {
		change(&cfg)
	}
	p, err := mcpproxy.StartStdio(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(canceled()); err != nil {
			t.Error(err)
		}
	})
	return p, log, notes
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func receive(t *testing.T, p *mcpproxy.StdioProcess) string {
	t.Helper()
	select {
	case line, ok := <-p.Messages():
		if !ok {
			t.Fatalf("no more messages: %v", p.Err())
		}
		return string(line)
	case <-time.After(stdioPatience):
		t.Fatal("no message")
		return ""
	}
}

func send(t *testing.T, p *mcpproxy.StdioProcess, msg string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stdioPatience)
	defer cancel()
	if err := p.Send(ctx, []byte(msg)); err != nil {
		t.Fatalf("sending %s: %v", msg, err)
	}
}

// ending receives what is left and returns why the process ended.
func ending(t *testing.T, p *mcpproxy.StdioProcess) (rest []string, err error) {
	t.Helper()
	timeout := time.After(stdioPatience)
	for messages := p.Messages(); messages != nil; {
		select {
		case line, ok := <-messages:
			if !ok {
				messages = nil
				break
			}
			rest = append(rest, string(line))
		case <-timeout:
			t.Fatal("the messages do not end")
		}
	}
	select {
	case <-p.Done():
	case <-timeout:
		t.Fatal("the process does not end")
	}
	if p.Err() == nil {
		t.Fatal("the process ended without a reason")
	}
	return rest, p.Err()
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(stdioPatience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		_, state, _ := bytes.Cut(stat, []byte(") "))
		return len(state) > 0 && state[0] != 'Z' && state[0] != 'X'
	}
	return runtime.GOOS != "linux" && syscall.Kill(pid, 0) == nil
}

func TestMessagesPassBothWays(t *testing.T) {
	p, log, _ := child(t, "echo", nil)
	big := `{"s":"` + strings.Repeat("é", 1<<20) + `"}`
	done := make(chan error, 1)
	go func() { done <- p.Send(t.Context(), []byte(big)) }()
	if got := receive(t, p); got != big {
		t.Errorf("a message of %d bytes came back as %d", len(big), len(got))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for range 3 {
		send(t, p, `{"jsonrpc":"2.0","id":1}`)
		if got := receive(t, p); got != `{"jsonrpc":"2.0","id":1}` {
			t.Errorf("got %q", got)
		}
	}
	if p.Err() != nil {
		t.Errorf("Err of a living process = %v", p.Err())
	}
	ctx, cancel := context.WithTimeout(t.Context(), stdioPatience)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := ending(t, p); err.Error() != "the process was closed: exit status 0" {
		t.Errorf("Err = %v", err)
	}
	if err := p.Send(t.Context(), []byte(`{}`)); !errors.Is(err, mcpproxy.ErrStdioUnsent) || !errors.Is(err, mcpproxy.ErrStdioEnded) {
		t.Errorf("sending to a closed process: %v", err)
	}
	if s := log.String(); s != "" {
		t.Errorf("log of an orderly process:\n%s", s)
	}
}

func TestMessageIsOneLine(t *testing.T) {
	p, _, _ := child(t, "echo", nil)
	send(t, p, "{\n \"a\" :\r\n\t\"x\\n\" }\n")
	if got, want := receive(t, p), "{  \"a\" :  \t\"x\\n\" } "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for name, msg := range map[string]string{
		"two messages":         "{}\n{}",
		"line break in string": "{\"a\":\"x\ny\"}",
		"return in string":     "{\"a\":\"x\ry\"}",
		"no JSON":              "hello\n",
		"empty":                "",
		"blank":                " \t",
	} {
		if err := p.Send(t.Context(), []byte(msg)); !errors.Is(err, mcpproxy.ErrStdioUnsent) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	send(t, p, `{"last":1}`)
	if got := receive(t, p); got != `{"last":1}` {
		t.Errorf("after refused messages: got %q", got)
	}
}

func TestConcurrentMessagesDoNotMix(t *testing.T) {
	p, _, _ := child(t, "echo", nil)
	const senders, each = 8, 20
	seen := map[string]int{}
	var work sync.WaitGroup
	for s := range senders {
		work.Go(func() {
			for i := range each {
				if err := p.Send(t.Context(), fmt.Appendf(nil, `{"k":"%d/%d","pad":"%s"}`, s, i, strings.Repeat("p", 3000*s))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range senders * each {
		var m struct{ K string }
		if err := json.Unmarshal([]byte(receive(t, p)), &m); err != nil {
			t.Fatal(err)
		}
		seen[m.K]++
	}
	work.Wait()
	if len(seen) != senders*each {
		t.Errorf("%d different messages of %d", len(seen), senders*each)
	}
}

func TestNoiseStrikesStopProcess(t *testing.T) {
	p, log, _ := child(t, "noise", nil)
	rest, err := ending(t, p)
	if diff := cmp.Diff([]string{`{"n":1}`, `{"n":2}`}, rest); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if !strings.Contains(err.Error(), "too many lines that are no messages: signal: killed") {
		t.Errorf("Err = %v", err)
	}
	for _, want := range []string{"rule syntax", "rule duplicate, byte", "not an object", "strike=3"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	if strings.Contains(log.String(), "three") {
		t.Errorf("the log quotes noise:\n%s", log)
	}
}

func TestTwoStrikesAreForgiven(t *testing.T) {
	p, log, _ := child(t, "chatter", nil)
	for _, want := range []string{`{"n":1}`, "{\"n\":3}\r"} {
		if got := receive(t, p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	send(t, p, `{"still":"there"}`)
	if got := receive(t, p); got != `{"still":"there"}` {
		t.Errorf("got %q", got)
	}
	if got := strings.Count(log.String(), "dropped a line"); got != 2 {
		t.Errorf("%d lines dropped, want 2:\n%s", got, log)
	}
}

func TestLongLineIsDropped(t *testing.T) {
	for size, want := range map[int]string{8191: `{"n":1}`, 8192 + len(`{"s":""}`): `{"s":"` + strings.Repeat("x", 8192) + `"}`} {
		p, log, _ := child(t, "long", func(c *mcpproxy.StdioConfig) { c.MaxLine = size })
		if got := receive(t, p); got != want {
			t.Errorf("cap %d: got %d bytes, want %d", size, len(got), len(want))
		}
		if got := strings.Contains(log.String(), "too long"); got != (size == 8191) {
			t.Errorf("cap %d: log:\n%s", size, log)
		}
	}
}

func TestEndlessLineStopsProcess(t *testing.T) {
	p, _, _ := child(t, "endless", func(c *mcpproxy.StdioConfig) { c.MaxLine = 64 << 10 })
	if rest, err := ending(t, p); len(rest) != 0 || !strings.Contains(err.Error(), "no messages") {
		t.Errorf("%d messages, Err = %v", len(rest), err)
	}
}

func TestDeathMidMessage(t *testing.T) {
	p, log, _ := child(t, "half", func(c *mcpproxy.StdioConfig) {
		c.Scrub = func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(childSecret), []byte("***")) }
	})
	rest, err := ending(t, p)
	if diff := cmp.Diff([]string{`{"n":1}`}, rest); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if want := `the process ended by itself: exit status 3; last line on standard error: "panic: *** is bad\x1b[31m"`; err.Error() != want {
		t.Errorf("Err = %v, want %s", err, want)
	}
	if !strings.Contains(log.String(), "unfinished last line") || strings.Contains(log.String(), childSecret) {
		t.Errorf("log:\n%s", log)
	}
}

func TestStandardErrorIsScrubbedAndBounded(t *testing.T) {
	p, log, _ := child(t, "errors", func(c *mcpproxy.StdioConfig) {
		c.Scrub = func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(childSecret), []byte("***")) }
	})
	eventually(t, "the last line is logged", func() bool { return strings.Contains(log.String(), "line=last") })
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := log.String()
	if !strings.Contains(s, `token=***`) || strings.Contains(s, childSecret[:8]) {
		t.Errorf("a secret, or the part of it before a cut, is in the log:\n%.200s", s)
	}
	for line := range strings.Lines(s) {
		if len(line) > 9<<10 {
			t.Errorf("a log line has %d bytes", len(line))
		}
	}
	if !strings.Contains(p.Err().Error(), `"last"`) {
		t.Errorf("Err = %v", p.Err())
	}
}

func TestMuteProcessIsStopped(t *testing.T) {
	p, _, _ := child(t, "mute", func(c *mcpproxy.StdioConfig) { c.StopGrace = 50 * time.Millisecond })
	if _, err := ending(t, p); !strings.Contains(err.Error(), "closed its standard output") {
		t.Errorf("Err = %v", err)
	}
}

func TestSlowReceiverHoldsProcessBack(t *testing.T) {
	p, _, notes := child(t, "flood", nil)
	count := func() int {
		b, _ := os.ReadFile(notes) // may be empty for a moment
		n, _ := strconv.Atoi(string(b))
		return n
	}
	last, quiet := -1, 0
	eventually(t, "the process has to wait", func() bool {
		n := count()
		if quiet++; n != last || n == 0 {
			last, quiet = n, 0
		}
		return quiet > 60
	})
	if last > 400 {
		t.Errorf("%d messages of 1 KiB were taken while nobody received", last)
	}
	for i := range 3 * last {
		if got := receive(t, p); !strings.HasPrefix(got, fmt.Sprintf(`{"n":%d,`, i)) {
			t.Fatalf("message %d is %.20s", i, got)
		}
	}
	if err := p.Close(t.Context()); err != nil { // with messages that nobody will receive
		t.Fatal(err)
	}
}

func TestSendHonoursContext(t *testing.T) {
	p, _, _ := child(t, "deaf", nil)
	receive(t, p)
	if err := p.Send(canceled(), []byte(`{}`)); !errors.Is(err, mcpproxy.ErrStdioUnsent) || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled before: %v", err)
	}
	big := []byte(`{"s":"` + strings.Repeat("x", 1<<20) + `"}`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // long enough to begin
	defer cancel()
	if err := p.Send(ctx, big); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, mcpproxy.ErrStdioUnsent) {
		t.Errorf("a write the process does not read: %v", err)
	}
	ctx2, cancel2 := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel2()
	if err := p.Send(ctx2, []byte(`{}`)); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, mcpproxy.ErrStdioUnsent) {
		t.Errorf("a message behind it: %v", err)
	}
	blocked := make(chan error, 1)
	go func() { blocked <- p.Send(context.Background(), big) }()
	time.Sleep(20 * time.Millisecond)
	if err := p.Close(canceled()); err != nil {
		t.Fatal(err)
	}
	if err := <-blocked; !errors.Is(err, mcpproxy.ErrStdioEnded) {
		t.Errorf("a send during Close: %v", err)
	}
}

func TestInterruptedMessageIsCompleted(t *testing.T) {
	p, _, notes := child(t, "late", nil)
	receive(t, p)
	big := `{"s":"` + strings.Repeat("x", 1<<20) + `"}`
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // long enough to begin
	defer cancel()
	if err := p.Send(ctx, []byte(big)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error = %v, want that of the context", err)
	}
	if err := os.WriteFile(notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Send(t.Context(), []byte(`{"next":1}`)) }()
	if got := receive(t, p); got != big {
		t.Errorf("the interrupted message has %d bytes, want %d", len(got), len(big))
	}
	if got := receive(t, p); got != `{"next":1}` {
		t.Errorf("then came %.40q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestEveryMessageBeforeTheEndArrives(t *testing.T) {
	p, _, _ := child(t, "answers", nil)
	time.Sleep(300 * time.Millisecond) // most are still in the pipe when it ends
	rest, err := ending(t, p)
	if len(rest) != 200 || rest[199] != `{"n":199}` {
		t.Errorf("%d messages of 200", len(rest))
	}
	if err.Error() != "the process ended by itself: exit status 0" {
		t.Errorf("Err = %v", err)
	}
}
