package gatetest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/daemon"
)

// BenchmarkListThousand measures the list of a thousand tools: from the server
// directly, through a plain reverse proxy, through /mcp/{server}, and at the
// aggregate.
func BenchmarkListThousand(b *testing.B) {
	var defs []string
	for i := range 1000 {
		defs = append(defs, tool(fmt.Sprintf("t%04d", i)))
	}
	u := &upstream{tools: defs}
	u.Server = httptest.NewServer(u)
	defer u.Close()
	d, err := daemon.New(b.Context(), daemon.Config{
		Mode: "enforce", Data: b.TempDir(), Log: daemon.Log{Level: "error"}, Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"},
	}, daemon.Options{Log: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close(b.Context())
	one := benchGovern(b, d, u.URL)
	all, err := d.Admin.IssueDevelopmentToken(b.Context(), operator, admin.TokenRequest{Agent: "bot", Server: "*", TTL: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	body := modernBody("1", "tools/list", "")
	rp := httptest.NewServer(reverseProxy(b, u.URL))
	defer rp.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	for _, target := range []struct{ name, url, token string }{
		{"direct", u.URL + "/mcp", one}, {"reverse-proxy", rp.URL + "/mcp", one}, {"server", d.AgentsURL + "/mcp/up", one}, {"aggregate", d.AgentsURL + "/mcp", all.Value},
	} {
		b.Run(target.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, err := http.NewRequest(http.MethodPost, target.url, strings.NewReader(body))
					if err != nil {
						b.Fatal(err)
					}
					req.Header = modernHeaders(target.token, "tools/list", "")
					resp, err := client.Do(req)
					if err != nil {
						b.Fatal(err)
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != 200 || !bytes.Contains(got, []byte("t0999")) {
						b.Fatalf("%d %v %.200s", resp.StatusCode, err, got)
					}
				}
			})
		})
	}
}
