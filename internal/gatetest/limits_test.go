package gatetest_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// limits is a section of a configuration as an operator writes it.
func limits(t *testing.T, text string) func(*daemon.Config) {
	t.Helper()
	cfg, err := daemon.ParseConfig([]byte("limits: {"+text+"}\n"), "rutile.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return func(c *daemon.Config) { c.Limits = cfg.Limits }
}

// metric is the line of a metric that begins so, "" if there is none.
func (r *rig) metric(name string) string {
	r.t.Helper()
	resp, err := http.Get(r.d.OperatorsURL + "/metrics") //nolint:noctx // a test's own daemon
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		if strings.HasPrefix(line, name) {
			return line
		}
	}
	return ""
}

// Who opens more connections than it may, in all or from its address, has the
// rest closed at once, and one that ends makes room; operators are not shut out.
func TestAgentsConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	for key, text := range map[string]string{
		"connectionsPerAddress": "connections: 5, connectionsPerAddress: 3",
		"connections":           "connections: 3",
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, limits(t, text))
			addr := strings.TrimPrefix(r.d.AgentsURL, "http://")
			dial := func() net.Conn {
				t.Helper()
				c, err := net.Dial("tcp", addr)
				if errors.Is(err, syscall.ECONNRESET) { // it was closed as soon as it was there
					return nil
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				return c
			}
			// served asks over the connection and reports whether it was answered.
			served := func(c net.Conn) bool {
				if c == nil {
					return false
				}
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				_, _ = io.WriteString(c, "GET /mcp HTTP/1.1\r\nHost: "+addr+"\r\n\r\n") // it may be closed by now
				_, err := io.ReadFull(c, make([]byte, 12))
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a connection is neither served nor closed")
				}
				return err == nil
			}
			open := make([]net.Conn, 3)
			for i := range open {
				if open[i] = dial(); !served(open[i]) {
					t.Fatalf("connection %d of 3 is closed", i+1)
				}
			}
			const over = 20
			for range over {
				if served(dial()) {
					t.Fatal("a fourth of three is served")
				}
			}
			want := `rutile_connections_refused_total{bound="` + key + `",listener="agents"} 20`
			eventually(t, "every refusal is counted", func() bool { return r.metric("rutile_connections_refused_total") == want })
			if got := r.metric("rutile_agents_connections"); got != "rutile_agents_connections 3" {
				t.Errorf("the metric says %q", got)
			}
			if n := strings.Count(r.logs.String(), "connections are closed at once"); n == 0 || n >= over {
				t.Errorf("the log tells of it %d times", n)
			}
			open[0].Close()
			eventually(t, "there is room again", func() bool { return served(dial()) })
		})
	}
}
