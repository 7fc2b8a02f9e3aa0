package mcpproxy

// This test is inside the package: what is forwarded is made in one place, and
// that is where every message has to pass.

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/gate"
	"rutile/internal/inspect"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// undecided is a gate that knows nobody and permits nothing.
type undecided struct {
	gate.Evidence
	gate.Leaser
	gate.Grants
	gate.Ledger
	gate.Placeholders
	gate.Labels
	gate.Effects
}

func (undecided) Refusal(*access.Identity) (access.Outcome, string) { return access.Deny, "" }

func (undecided) State() *pdp.State                                                           { return nil }
func (undecided) Start(ctx context.Context, _ *access.Request) context.Context                { return ctx }
func (undecided) End(context.Context, *access.Request, *access.Decision, audit.Status, error) {}
func (undecided) Forward(ctx context.Context, _ *access.Request, _ *registry.Server) context.Context {
	return ctx
}
func (undecided) Forwarded(context.Context, *access.Request, audit.Status, time.Duration) {}

// FuzzJudgedEqualsForwarded: whatever a client sends and whatever is changed for
// the server (id, token, _meta, an era), a reader that has nothing of ours reads
// in what is forwarded exactly what was judged.
func FuzzJudgedEqualsForwarded(f *testing.F) {
	for line := range bytes.Lines(traffic(f, "client.jsonl")) {
		for path := range byte(8) {
			f.Add(line, path)
		}
	}
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"arguments":{ "a" : 1.0 },"name":"\u0065cho","_meta":{"progressToken":1,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"sampling":{},"extensions":{"x/y":{}}}}}}`,
		`{"params":{"_meta":{},"uri":"test://a"},"method":"resources/read","id":"\"","jsonrpc":"2.0"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"_meta":{"id":2}},"inputResponses":{"a":{}},"x":{"arguments":1}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`,
	} {
		for path := range byte(8) {
			f.Add([]byte(seed), path)
		}
	}
	scanner, err := inspect.New()
	if err != nil {
		f.Fatal(err)
	}
	g, err := gate.New(undecided{}, undecided{}, undecided{}, undecided{}, undecided{}, undecided{}, scanner, undecided{}, undecided{}, undecided{}, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte, path byte) {
		p := &Proxy{gate: g, cfg: Config{MaxBody: 1 << 20}, log: slog.New(slog.DiscardHandler)}
		in := &inbound{p: p, r: httptest.NewRequest("POST", "/mcp/up", nil)}
		if in.msg.parse(raw, rawjson.Limits{Bytes: 1 << 16}) != nil || in.msg.kind != isRequest || in.msg.method == nil {
			return
		}
		c := &call{in: in, modern: path&1 == 0, peer: &peer{modern: path&2 == 0}, req: &access.Request{}, link: &httpLegacy{}}
		if path&4 == 0 && c.peer.modern {
			c.link = httpModern{}
		}
		if c.members() != nil {
			return
		}
		body, err := c.outbound()
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		judged, forwarded := plainly(t, raw), plainly(t, body)
		if forwarded.Method != judged.Method || forwarded.JSONRPC != "2.0" || !bytes.Equal(forwarded.ID, c.sent) {
			t.Fatalf("%s was forwarded as %s", raw, body)
		}
		for name, v := range judged.Params {
			if name != "_meta" && name != "inputResponses" && !bytes.Equal(v, forwarded.Params[name]) {
				t.Fatalf("%s was forwarded as %s: %s differs", raw, body, name)
			}
		}
		for name := range forwarded.Params {
			if _, ok := judged.Params[name]; !ok && name != "_meta" {
				t.Fatalf("%s was forwarded as %s, with %s", raw, body, name)
			}
		}
	})
}

type plainMessage struct {
	JSONRPC string
	ID      json.RawMessage
	Method  string
	Params  map[string]json.RawMessage
}

// plainly reads a message with the standard library, which takes the last of
// two members and any case of a name.
func plainly(t *testing.T, raw []byte) (p plainMessage) {
	t.Helper()
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return p
}
