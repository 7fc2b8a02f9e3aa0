package gatetest_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"rutile/internal/admin"
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
		if n, ok := a.Value.Value.(*commonv1.AnyValue_IntValue); ok {
			m[a.Key] = strconv.FormatInt(n.IntValue, 10)
			continue
		}
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
	body := `{"jsonrpc":"2.0","id":"seven","method":"tools/call","params":{"name":"echo","arguments":{"text":"canary-argument"},` +
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
		"mcp.protocol.version": "2026-07-28", "jsonrpc.request.id": "seven", "rutile.decision": "permit", "client.address": "127.0.0.1",
		"network.transport": "tcp", "network.protocol.name": "http", "network.protocol.version": "1.1", "rutile.server": "up", "rutile.policy.ids": "",
	} {
		if got, ok := attributes(server)[key]; got != want || !ok {
			t.Errorf("attribute %s is %q, want %q", key, got, want)
		}
	}
	if leaf, err := strconv.ParseUint(attributes(server)["rutile.evidence.leaf"], 10, 64); err != nil || leaf == 0 || leaf >= r.d.Evidence.Size() {
		t.Errorf("the server span is about leaf %d, %v", leaf, err)
	}
	address, err := url.Parse(u.URL)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"mcp.method.name": "tools/call", "gen_ai.tool.name": "echo", "network.transport": "tcp", "network.protocol.version": "1.1",
		"server.address": address.Hostname(), "server.port": address.Port(),
	} {
		if got := attributes(client)[key]; got != want {
			t.Errorf("attribute %s of the client span is %q, want %q", key, got, want)
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

// An error a server answers with is named by its code on both spans, and one
// call's is not another's.
func TestSpansNameTheServersError(t *testing.T) {
	for _, era := range []string{v2026, v2511} {
		rec, p := newReceiver(t), newPeer(t, era)
		r := startRig(t, nil, func(c *daemon.Config) { c.Telemetry.OTLP = rec.URL })
		r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`), "up")
		token := r.token("bot", "up")
		p.handle("tools/call", func(x *exchange) { x.fault(-32050, "no", "") })
		if got := r.call(token, "up", "echo", `{}`); got.msg.code() != -32050 {
			t.Fatalf("answered %s", got.body)
		}
		r.modern(token, "prompts/get", "hi", `"name":"hi"`)
		if err := r.d.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []tracev1.Span_SpanKind{tracev1.Span_SPAN_KIND_SERVER, tracev1.Span_SPAN_KIND_CLIENT} {
			if s := rec.find("tools/call echo", kind); s == nil || attributes(s)["rpc.response.status_code"] != "-32050" || attributes(s)["error.type"] != "protocol_error" {
				t.Errorf("%s: the span of the error: %v", era, s)
			}
			if s := rec.find("prompts/get hi", kind); s == nil || attributes(s)["rpc.response.status_code"] != "" || attributes(s)["network.protocol.version"] != "1.1" {
				t.Errorf("%s: the span beside it: %v", era, s)
			}
		}
	}
}

// The span of a call under a grant names it; that of a call without says nothing.
func TestSpansNameTheGrant(t *testing.T) {
	rec := newReceiver(t)
	r, token := needing(t, newUpstream(t).URL, "", func(c *daemon.Config) { c.Telemetry.OTLP = rec.URL })
	g, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "echo", Uses: 1, Seconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil || strings.Contains(got.body, "isError") {
		t.Fatalf("answered %s", got.body)
	}
	r.list(token, "up")
	if err := r.d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"tools/call echo": g.ID, "tools/list": ""} {
		if s := rec.find(name, tracev1.Span_SPAN_KIND_SERVER); s == nil || attributes(s)["rutile.grant.id"] != want {
			t.Errorf("%s: %v, want grant %q", name, s, want)
		}
	}
}

// TestSessionsAreMeasured: how long sessions last on both sides, and which one a
// span belongs to.
func TestSessionsAreMeasured(t *testing.T) {
	rec, p := newReceiver(t), newPeer(t, v2511)
	r := startRig(t, nil, func(c *daemon.Config) { c.Telemetry.OTLP = rec.URL })
	r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`), "up")
	old := r.legacy(r.token("bot", "up"), "up", v2511, `{}`)
	if got := old.request("resources/read", `{"uri":"test://a"}`); got.msg.Result == nil {
		t.Fatalf("answered %s", got.body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, r.url("up"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = old.headers()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	eventually(t, "both sessions are measured", func() bool {
		_, m := r.operators("/metrics")
		return strings.Contains(m, `mcp_server_session_duration_seconds_count{mcp_protocol_version="2025-11-25",network_transport="tcp"} 1`) &&
			strings.Contains(m, `mcp_client_session_duration_seconds_count{mcp_protocol_version="2025-11-25",network_transport="tcp"}`)
	})
	http.DefaultClient.CloseIdleConnections()
	if err := r.d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	span := rec.find("resources/read", tracev1.Span_SPAN_KIND_SERVER)
	if span == nil || attributes(span)["mcp.session.id"] != old.session || attributes(span)["mcp.resource.uri"] != "test://a" {
		t.Errorf("the read's span: %v", span)
	}
}

// TestDeadReceiverCostsOnlySpans: a receiver that refuses or never answers holds
// up neither calls nor the stop, and is said once, in the log's own form.
func TestDeadReceiverCostsOnlySpans(t *testing.T) {
	var elsewhere lockedBuffer // what libraries write by themselves
	log.SetOutput(&elsewhere)
	defer log.SetOutput(os.Stderr)
	never := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-never }))
	defer silent.Close()
	defer close(never)
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, tt := range map[string]struct{ url, says string }{
		"refused": {gone.URL, "level=WARN msg=\"spans cannot be sent"},
		"silent":  {silent.URL, "level=WARN msg=\"the last spans were not sent\""},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			r, token := governed(t, u, func(c *daemon.Config) { c.Telemetry.OTLP = tt.url })
			if got := r.call(token, "up", "echo", `{}`); got.msg.Result == nil {
				t.Errorf("answered %s", got.body)
			}
			http.DefaultClient.CloseIdleConnections()
			began := time.Now()
			if err := r.d.Close(context.Background()); err != nil {
				t.Errorf("the stop: %v", err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("the stop took %v", took)
			}
			if n := strings.Count(r.logs.String(), tt.says); n != 1 {
				t.Errorf("the log says it %d times:\n%s", n, r.logs.String())
			}
		})
	}
	if s := elsewhere.String(); s != "" {
		t.Errorf("written past the log: %s", s)
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

// operators asks the operators' listener.
func (r *rig) operators(path string) (int, string) {
	r.t.Helper()
	resp, err := http.Get(r.d.OperatorsURL + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestMetricsAndHealth: the operators' listener answers probes and publishes
// the conventions' histograms; names an agent made up are not in them.
func TestMetricsAndHealth(t *testing.T) {
	u := newUpstream(t)
	r, token := governed(t, u)
	r.call(token, "up", "echo", `{}`)
	r.call(token, "up", "made-up-by-the-agent", `{}`)
	for path, want := range map[string]string{"/healthz": `"status":"ok"`, "/readyz": `"evidence":"ok"`} {
		if status, body := r.operators(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s answered %d %s", path, status, body)
		}
	}
	_, metrics := r.operators("/metrics")
	for _, want := range []string{
		`mcp_server_operation_duration_seconds_bucket{`, `gen_ai_tool_name="echo"`, `rutile_server="up"`, `mcp_client_operation_duration_seconds_count`,
		`rutile_decisions_total{`, `rutile_evidence_size`, `rutile_mcp_sessions`,
		`rutile_decision_duration_seconds_count`, `rutile_evidence_commit_duration_seconds_count`, `rutile_evidence_queue 0`, `rutile_evidence_healthy 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(metrics, "made-up") {
		t.Error("the metrics hold a name an agent made up")
	}
}
