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

// TestConfiguredLimitsHold: every key of limits is in force through the daemon,
// as an operator writes it.
func TestConfiguredLimitsHold(t *testing.T) {
	t.Parallel()
	// with is a daemon with these limits before p.
	with := func(t *testing.T, p *peer, text string) (*rig, string) {
		t.Helper()
		r := newRig(t, limits(t, text))
		r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`)+eveAgent+askPolicy("elicitation"), "up")
		return r, r.token("bot", "up")
	}
	const hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`
	for _, c := range []struct {
		name, limits string
		era          string
		test         func(t *testing.T, p *peer, r *rig, token string)
	}{
		{"inFlight", "inFlight: 1", v2026, func(t *testing.T, p *peer, r *rig, token string) {
			hang(t, p, r, token)
			refusedInFlight(t, r, r.subjectToken("bot", "ann"))
		}},
		{"inFlightPerPrincipal", "inFlight: 2, inFlightPerPrincipal: 1", v2026, func(t *testing.T, p *peer, r *rig, token string) {
			hang(t, p, r, token)
			refusedInFlight(t, r, token)
			if got := r.list(r.subjectToken("bot", "ann"), "up"); got.msg.Result == nil {
				t.Errorf("another principal was answered %d %s", got.status, got.body)
			}
		}},
		{"sessions", "sessions: 1, sessionsPerPrincipal: 1", v2511, func(t *testing.T, _ *peer, r *rig, token string) {
			r.legacy(token, "up", v2511, `{}`)
			other := &oldClient{t: t, r: r, token: r.token("eve", "up"), server: "up", version: v2511}
			if got := other.post(hello); !strings.Contains(got.body, "too many sessions are open") {
				t.Errorf("a second of one was answered %d %s", got.status, got.body)
			}
		}},
		{"sessionsPerPrincipal", "sessionsPerPrincipal: 1", v2511, func(t *testing.T, _ *peer, r *rig, token string) {
			first := r.legacy(token, "up", v2511, `{}`)
			second := r.legacy(token, "up", v2511, `{}`)
			r.legacy(r.token("eve", "up"), "up", v2511, `{}`)
			if got := first.call("echo", `{}`); got.status != http.StatusNotFound {
				t.Errorf("the first of one answered %d %s", got.status, got.body)
			}
			if got := second.call("echo", `{}`); got.msg.Result == nil {
				t.Errorf("the second answered %d %s", got.status, got.body)
			}
		}},
		{"parked", "parked: 1, parkedPerPrincipal: 1", v2511, func(t *testing.T, p *peer, r *rig, token string) {
			newAsker(p, elicit)
			u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
			asked(t, u.send())
			u.token = r.token("eve", "up")
			if got := u.send(); !strings.Contains(got.body, "too many calls wait") {
				t.Errorf("a second of one was answered %s", got.body)
			}
		}},
		{"parkedPerPrincipal", "parkedPerPrincipal: 1", v2511, func(t *testing.T, p *peer, r *rig, token string) {
			newAsker(p, elicit)
			u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
			asked(t, u.send())
			if got := u.send(); !strings.Contains(got.body, "too many calls wait") {
				t.Errorf("a second of one was answered %s", got.body)
			}
			u.token = r.token("eve", "up")
			asked(t, u.send())
		}},
		{"body", "body: 2KiB", v2026, func(t *testing.T, _ *peer, r *rig, token string) {
			if got := r.call(token, "up", "echo", `{"text":"`+strings.Repeat("x", 1<<10)+`"}`); got.msg.Result == nil {
				t.Errorf("a smaller body was answered %d %s", got.status, got.body)
			}
			if got := r.call(token, "up", "echo", `{"text":"`+strings.Repeat("x", 2<<10)+`"}`); got.status != http.StatusRequestEntityTooLarge || !strings.Contains(got.body, "2048 bytes") {
				t.Errorf("a larger body was answered %d %s", got.status, got.body)
			}
		}},
		{"callTimeout", "callTimeout: 1s", v2026, func(t *testing.T, p *peer, r *rig, token string) {
			p.handle("tools/call", func(x *exchange) { <-x.r.Context().Done() })
			if got := r.call(token, "up", "echo", `{}`); got.msg.kind() != "upstream_timeout" {
				t.Errorf("a silent server was answered %d %s", got.status, got.body)
			}
		}},
		{"callMax", "callMax: 1s", v2026, func(t *testing.T, p *peer, r *rig, token string) {
			p.handle("tools/call", func(x *exchange) { talk(x) })
			body := strings.Replace(modernBody("1", "tools/call", `"name":"echo","arguments":{}`), `"_meta":{`, `"_meta":{"progressToken":1,`, 1)
			if got := post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), body); got.msg.kind() != "upstream_timeout" {
				t.Errorf("a talkative server was answered %d %.300s", got.status, got.body)
			}
		}},
		{"idle", "idle: 1s", v2511, func(t *testing.T, p *peer, r *rig, token string) {
			c := r.legacy(token, "up", v2511, `{}`)
			eventually(t, "the unused session ends", func() bool { return r.d.Proxy.Sessions() == 0 && p.open() == 0 })
			if got := c.call("echo", `{}`); got.status != http.StatusNotFound {
				t.Errorf("it answered %d %s", got.status, got.body)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, c.era)
			r, token := with(t, p, c.limits)
			c.test(t, p, r, token)
		})
	}
}

// hang leaves a call in flight until the test ends.
func hang(t *testing.T, p *peer, r *rig, token string) {
	t.Helper()
	busy := make(chan bool, 1)
	p.handle("tools/call", func(x *exchange) {
		busy <- true
		<-x.r.Context().Done()
	})
	t.Cleanup(startPost(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), modernBody("1", "tools/call", `"name":"echo","arguments":{}`)))
	<-busy
}

func refusedInFlight(t *testing.T, r *rig, token string) {
	t.Helper()
	if got := r.list(token, "up"); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("one request too many was answered %d %s", got.status, got.body)
	}
}

// talk makes progress until the gateway gives the call up.
func talk(x *exchange) {
	x.sse()
	for x.r.Context().Err() == nil {
		x.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`)
		time.Sleep(20 * time.Millisecond)
	}
}
