package gatetest_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// A client that does not send what it announced, with a token or without one,
// holds no connection: it is answered, and then the connection ends.
func TestSlowClientsAreLetGo(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r := startRig(t, []func(*daemon.Options){func(o *daemon.Options) { o.MCP.BodyTimeout = 300 * time.Millisecond }})
	r.apply(botAndServer(u.URL+"/mcp", `["up/*"]`), "up")
	token := r.token("bot", "up")
	addr := strings.TrimPrefix(r.d.AgentsURL, "http://")
	head := func(more string) string {
		return "POST /mcp/up HTTP/1.1\r\nHost: " + addr + "\r\nContent-Type: application/json\r\nAccept: */*\r\n" + more + "\r\n"
	}
	auth := "Authorization: Bearer " + token + "\r\n"
	for name, tt := range map[string]struct {
		head   string
		drip   string
		status int
	}{
		"no body, no token":               {head("Content-Length: 1000\r\n"), "", 401},
		"drips, no token":                 {head("Content-Length: 1000\r\n"), "x", 401},
		"no chunk, no token":              {head("Transfer-Encoding: chunked\r\n"), "", 401},
		"no body, foreign host":           {strings.Replace(head("Content-Length: 1000\r\n"), addr, "evil.example", 1), "", 403},
		"no body, no such path":           {strings.Replace(head("Content-Length: 1000\r\n"), "/mcp/up", "/mcp/x/y", 1), "", 404},
		"no body, another verb":           {strings.Replace(head(auth+"Content-Length: 1000\r\n"), "POST", "PUT", 1), "", 405},
		"no body, no such page":           {strings.Replace(head("Content-Length: 1000\r\n"), "/mcp/up", "/nowhere", 1), "", 404},
		"no body, a document":             {strings.Replace(head("Content-Length: 1000\r\n"), "/mcp/up", "/oauth/jwks", 1), "", 405},
		"no body, another type of form":   {strings.Replace(head("Content-Length: 1000\r\n"), "/mcp/up", "/oauth/token", 1), "", 400},
		"no body, another type":           {strings.Replace(head(auth+"Content-Length: 1000\r\n"), "/json", "/xml", 1), "", 415},
		"no body":                         {head(auth + "Content-Length: 1000\r\n"), "", 400},
		"drips":                           {head(auth + "Content-Length: 1000\r\n"), " ", 400},
		"drips chunks":                    {head(auth + "Transfer-Encoding: chunked\r\n"), "1\r\n \r\n", 400},
		"a body over the bound, no bytes": {head(auth + "Content-Length: 99999999\r\n"), "", 413},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(c, tt.head); err != nil {
				t.Fatal(err)
			}
			if tt.drip != "" {
				go func() {
					for { // until the connection ends
						if _, err := io.WriteString(c, tt.drip); err != nil {
							return
						}
						time.Sleep(20 * time.Millisecond)
					}
				}()
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			if resp.StatusCode != tt.status {
				t.Errorf("answered %d, want %d", resp.StatusCode, tt.status)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Errorf("reading the answer: %v", err)
			}
			if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection stays open: %d, %v", n, err)
			}
		})
	}
	if u.count() != 0 {
		t.Errorf("%d calls reached the upstream", u.count())
	}
}
