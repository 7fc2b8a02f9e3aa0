package shim_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/shim"
)

// FuzzFraming gives the shim any bytes as standard input and any bytes as the
// gateway's answers. Standard output holds whole JSON messages, a line each;
// each request that can be read ends exactly once; nothing hangs.
func FuzzFraming(f *testing.F) {
	for _, in := range []string{
		modern("1", "tools/list", "") + "\n" + modern(`"a"`, "tools/call", `"name":"x"`),
		initialize + "\n" + initialized + "\n" + `{"jsonrpc":"2.0","id":1,"method":"ping"}` + "\r\n\n",
		"{\n" + `{"id":1,"id":2}` + "\n" + strings.Repeat("x", 5000) + "\n[]\n[1]\n",
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		"\xff\xfe\x00\n\"\n",
	} {
		f.Add([]byte(in), []byte(`{"jsonrpc":"2.0","id":1,"result":{}}`), false)
		f.Add([]byte(in), []byte("data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":1,\"result\":{}}\r\r: x\n\nid: 3\n\n"), true)
	}
	f.Fuzz(func(t *testing.T, in, answer []byte, sse bool) {
		var out bytes.Buffer
		p, err := shim.NewProfile("bot", "http://127.0.0.1:1", "")
		if err != nil {
			t.Fatal(err)
		}
		s, err := shim.New(shim.Config{
			Profile: p, Server: "up", In: bytes.NewReader(in), Out: &out, Log: slog.New(slog.DiscardHandler),
			MaxLine: 4 << 10, MaxAnswer: 4 << 10, Patience: time.Millisecond, Grace: 2 * time.Second, CallMax: time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.SetTransport(canned{answer, sse})
		began := time.Now()
		if err := s.Run(t.Context()); err != nil {
			t.Fatalf("it ended with %v", err)
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("it hangs")
		}
		ended := map[string]int{}
		for line := range strings.Lines(out.String()) {
			var m struct{ ID, Method json.RawMessage }
			raw, ok := strings.CutSuffix(line, "\n")
			if !ok || strings.ContainsAny(raw, "\r\n") || !json.Valid([]byte(raw)) {
				t.Fatalf("standard output holds %q", line)
			}
			if json.Unmarshal([]byte(raw), &m) == nil && m.Method == nil && m.ID != nil {
				ended[string(m.ID)]++
			}
		}
		asked := map[string]int{}
		for line := range bytes.Lines(in) {
			var m struct {
				ID     json.RawMessage
				Method *string
			}
			if json.Unmarshal(line, &m) == nil && m.ID != nil && m.Method != nil {
				asked[string(m.ID)]++
			}
		}
		for id, n := range ended {
			if n > asked[id] {
				t.Fatalf("%d answers for %d requests with id %s", n, asked[id], id)
			}
		}
	})
}

// canned answers every request with the same bytes.
type canned struct {
	body []byte
	sse  bool
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	h, body := http.Header{"Content-Type": {"application/json"}, "Mcp-Session-Id": {"s"}}, c.body
	if c.sse {
		h.Set("Content-Type", "text/event-stream")
	}
	if strings.HasSuffix(r.URL.Path, "/oauth/token") {
		h.Set("Content-Type", "application/json")
		body = []byte(`{"access_token":"t","token_type":"Bearer","expires_in":300}`)
	}
	return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}
