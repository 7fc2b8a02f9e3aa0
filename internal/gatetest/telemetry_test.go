package gatetest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"rutile/internal/daemon"
)

// receiver is an OTLP/HTTP receiver that keeps the spans it is sent.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracev1.Span
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var m collector.ExportTraceServiceRequest
		if err != nil || req.URL.Path != "/v1/traces" || proto.Unmarshal(body, &m) != nil {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, rs := range m.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				r.spans = append(r.spans, ss.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) find(name string, kind tracev1.Span_SpanKind) *tracev1.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.Name == name && s.Kind == kind {
			return s
		}
	}
	return nil
}

func attributes(s *tracev1.Span) map[string]string {
	m := map[string]string{}
	for _, a := range s.Attributes {
		m[a.Key] = a.Value.GetStringValue()
	}
	return m
}

// TestSpansFollowTheConventions: one server span and one client span below it
// per call, with the names of the MCP semantic conventions and without content.
func TestSpansFollowTheConventions(t *testing.T) {
	rec := newReceiver(t)
	u := newUpstream(t)
	r, token := governed(t, u, func(c *daemon.Config) { c.Telemetry.OTLP = rec.URL })
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	body := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"canary-argument"},` +
		strings.Replace(meta, `{"io`, `{"traceparent":"00-`+trace+`-`+parent+`-01","io`, 1) + `}}`
	if got := post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), body); got.msg.code() != 0 {
		t.Fatal(got.body)
	}
	r.call(token, "up", "absent", `{}`)
	if err := r.d.Close(context.Background()); err != nil { // flushes
		t.Fatal(err)
	}
	server, client := rec.find("tools/call echo", tracev1.Span_SPAN_KIND_SERVER), rec.find("tools/call echo", tracev1.Span_SPAN_KIND_CLIENT)
	if server == nil || client == nil {
		t.Fatalf("spans of the call are missing: server %v, client %v", server, client)
	}
	if string(client.ParentSpanId) != string(server.SpanId) || string(client.TraceId) != string(server.TraceId) {
		t.Error("the client span is not below the server span")
	}
	if got := strings.ToLower(hexOf(server.TraceId)); got != trace || hexOf(server.ParentSpanId) != parent {
		t.Errorf("the client's trace context was not taken: %s", got)
	}
	for key, want := range map[string]string{
		"mcp.method.name": "tools/call", "gen_ai.tool.name": "echo", "gen_ai.operation.name": "execute_tool",
		"mcp.protocol.version": "2026-07-28", "jsonrpc.request.id": "7", "rutile.decision": "permit", "client.address": "127.0.0.1",
	} {
		if got := attributes(server)[key]; got != want {
			t.Errorf("attribute %s is %q, want %q", key, got, want)
		}
	}
	denied := rec.find("tools/call absent", tracev1.Span_SPAN_KIND_SERVER)
	if denied == nil || attributes(denied)["rutile.decision"] != "deny" || denied.Status.GetCode() != tracev1.Status_STATUS_CODE_ERROR {
		t.Errorf("the denial's span: %v", denied)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, s := range rec.spans {
		if strings.Contains(s.String(), "canary") {
			t.Errorf("span %s holds an argument", s.Name)
		}
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

// TestMetricsAndHealth: the operators' listener answers probes and publishes
// the conventions' histograms; names an agent made up are not in them.
func TestMetricsAndHealth(t *testing.T) {
	u := newUpstream(t)
	r, token := governed(t, u)
	r.call(token, "up", "echo", `{}`)
	r.call(token, "up", "made-up-by-the-agent", `{}`)
	get := func(path string) (int, string) {
		resp, err := http.Get(r.d.OperatorsURL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for path, want := range map[string]string{"/healthz": `"status":"ok"`, "/readyz": `"evidence":"ok"`} {
		if status, body := get(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s answered %d %s", path, status, body)
		}
	}
	_, metrics := get("/metrics")
	for _, want := range []string{
		`mcp_server_operation_duration_seconds_bucket{`, `gen_ai_tool_name="up/echo"`, `mcp_client_operation_duration_seconds_count`,
		`rutile_decisions_total{`, `rutile_evidence_size`, `rutile_mcp_sessions`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(metrics, "made-up") {
		t.Error("the metrics hold a name an agent made up")
	}
}
