package gatetest_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"rutile/internal/daemon"
)

// BenchmarkHotPath measures one tools/call of 1 KB through a whole daemon with
// everything on, beside the same upstream reached directly and through a plain
// reverse proxy that reads the body first. Client, proxy and upstream share the
// process: read the ratios.
func BenchmarkHotPath(b *testing.B) {
	u := &upstream{tools: []string{echoTool}}
	u.Server = httptest.NewServer(u)
	defer u.Close()
	u.onCall(nil)
	d, err := daemon.New(b.Context(), daemon.Config{
		Mode: "enforce", Data: b.TempDir(), Log: daemon.Log{Level: "error"}, Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"},
	}, daemon.Options{Log: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close(b.Context())
	token := benchGovern(b, d, u.URL)
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"` + strings.Repeat("a", 1000) + `"},` + meta + `}}`
	rp := httptest.NewServer(reverseProxy(b, u.URL))
	defer rp.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	for _, target := range []struct{ name, url string }{
		{"direct", u.URL + "/mcp"}, {"reverse-proxy", rp.URL + "/mcp"}, {"rutile", d.AgentsURL + "/mcp/up"},
	} {
		b.Run(target.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, err := http.NewRequest(http.MethodPost, target.url, strings.NewReader(body))
					if err != nil {
						b.Fatal(err)
					}
					req.Header = modernHeaders(token, "tools/call", "echo")
					resp, err := client.Do(req)
					if err != nil {
						b.Fatal(err)
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != 200 || !bytes.Contains(got, []byte("aaaa")) {
						b.Fatalf("%d %v %s", resp.StatusCode, err, got)
					}
				}
			})
		})
	}
}

func reverseProxy(tb testing.TB, target string) http.Handler {
	u, err := url.Parse(target)
	if err != nil {
		tb.Fatal(err)
	}
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		p.ServeHTTP(w, r)
	})
}
