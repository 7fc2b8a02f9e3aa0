package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/gate"
	"rutile/internal/mcpproxy"
	"rutile/internal/registry"
)

// telemetry measures requests with the names of the MCP semantic conventions
// (evidence.md 11) and, where a receiver is configured, traces them. Argument
// and result content is never recorded.
type telemetry struct {
	log      *slog.Logger
	registry *prometheus.Registry
	meters   *sdkmetric.MeterProvider
	traces   *sdktrace.TracerProvider // nil without a receiver
	tracer   trace.Tracer

	server   metric.Float64Histogram
	client   metric.Float64Histogram
	decision metric.Float64Histogram
	commit   metric.Float64Histogram
	ours     metric.Float64Histogram // sessions of agents
	theirs   metric.Float64Histogram // sessions at servers
	outcomes metric.Int64Counter
	refused  metric.Int64Counter // connections
	sets     sync.Map            // setKey → metric.MeasurementOption
	count    int
	mu       sync.Mutex
}

// durationBounds are the conventions' bucket bounds in seconds.
var durationBounds = []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300}

func newTelemetry(ctx context.Context, cfg Telemetry, version string, log *slog.Logger) (*telemetry, error) {
	t := &telemetry{registry: prometheus.NewRegistry(), log: log}
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprom.New(otelprom.WithRegisterer(t.registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("building the metrics exporter: %w", err)
	}
	res := resource.NewSchemaless(attribute.String("service.name", "rutile"), attribute.String("service.version", version))
	t.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(res))
	m := t.meters.Meter("rutile")
	histogram := func(name, what string, bounds []float64) metric.Float64Histogram {
		h, herr := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(bounds...))
		if herr != nil && err == nil {
			err = herr
		}
		return h
	}
	t.server = histogram("mcp.server.operation.duration", "Duration of requests agents made.", durationBounds)
	t.client = histogram("mcp.client.operation.duration", "Duration of requests sent to upstream servers.", durationBounds)
	t.ours = histogram("mcp.server.session.duration", "Duration of agents' legacy sessions.", durationBounds)
	t.theirs = histogram("mcp.client.session.duration", "Duration of legacy sessions at upstream servers, and of their processes.", durationBounds)
	t.decision = histogram("rutile.decision.duration", "Duration of decisions.", []float64{1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2})
	t.commit = histogram("rutile.evidence.commit.duration", "Time until a record was durable.", []float64{1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 1e-1, 1})
	if err != nil {
		return nil, fmt.Errorf("building the metrics: %w", err)
	}
	if t.outcomes, err = m.Int64Counter("rutile.decisions", metric.WithDescription("Decisions by outcome.")); err != nil {
		return nil, fmt.Errorf("building the metrics: %w", err)
	}
	if t.refused, err = m.Int64Counter("rutile.connections.refused", metric.WithDescription("Connections closed at once because too many were open.")); err != nil {
		return nil, fmt.Errorf("building the metrics: %w", err)
	}
	if cfg.OTLP == "" {
		return t, nil
	}
	exp, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(strings.TrimSuffix(cfg.OTLP, "/")+"/v1/traces"))
	if err != nil {
		return nil, fmt.Errorf("building the trace exporter: %w", err)
	}
	t.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(&sender{SpanExporter: exp, log: log}), sdktrace.WithResource(res))
	t.tracer = t.traces.Tracer("rutile")
	return t, nil
}

// gauge publishes a value that is read when metrics are scraped.
func (t *telemetry) gauge(name, what string, read func() float64) {
	t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: what}, read))
}

// connectionRefused counts a connection over a bound of a listener.
func (t *telemetry) connectionRefused(listener, bound string) {
	t.refused.Add(context.Background(), 1, metric.WithAttributes(attribute.String("listener", listener), attribute.String("bound", bound)))
}

func (t *telemetry) handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{})
}

// close sends what is left. A receiver that does not answer loses the last spans
// and does not hold up the stop.
func (t *telemetry) close(ctx context.Context) error {
	if t.traces != nil {
		ctx, cancel := context.WithTimeout(ctx, flushTimeout)
		defer cancel()
		if err := t.traces.Shutdown(ctx); err != nil {
			t.log.Warn("the last spans were not sent", "error", err)
		}
	}
	return t.meters.Shutdown(ctx)
}

// flushTimeout bounds how long the last spans may take to be sent.
const flushTimeout = 2 * time.Second

// sender sends spans, and says once when they cannot be sent and once when they
// can again. The batch they were in is dropped: traces are no evidence.
type sender struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	down atomic.Bool
}

// ExportSpans never returns an error: the library would write it to standard
// error in a form of its own.
func (s *sender) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := s.SpanExporter.ExportSpans(ctx, spans)
	switch down := err != nil; {
	case down == s.down.Swap(down):
	case down:
		s.log.Warn("spans cannot be sent and are dropped until the receiver of telemetry.otlp answers", "error", err)
	default:
		s.log.Info("spans are sent again")
	}
	return nil
}

// setKey is what distinguishes one series from another. Names an agent made up
// are not in it: a tool is named only once it was permitted.
type setKey struct{ method, version, server, target, outcome, failure string }

// maxSeries bounds the series of one daemon.
const maxSeries = 10_000

func (t *telemetry) set(k setKey, kind access.Kind) metric.MeasurementOption {
	if o, ok := t.sets.Load(k); ok {
		return o.(metric.MeasurementOption)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count >= maxSeries {
		k.server, k.target = "", ""
		if o, ok := t.sets.Load(k); ok {
			return o.(metric.MeasurementOption)
		}
	}
	kv := []attribute.KeyValue{attribute.String("mcp.method.name", k.method)}
	add := func(name, v string) {
		if v != "" {
			kv = append(kv, attribute.String(name, v))
		}
	}
	add("mcp.protocol.version", k.version)
	add("rutile.server", k.server)
	add("rutile.decision", k.outcome)
	add("error.type", k.failure)
	switch kind {
	case access.KindTool:
		add("gen_ai.tool.name", k.target)
		add("gen_ai.operation.name", "execute_tool")
	case access.KindPrompt:
		add("gen_ai.prompt.name", k.target)
	}
	o := metric.WithAttributeSet(attribute.NewSet(kv...))
	t.sets.Store(k, o)
	t.count++
	return o
}

// Start begins the server span, where there is a tracer.
func (t *telemetry) Start(ctx context.Context, r *access.Request) context.Context {
	if t.tracer == nil {
		return ctx
	}
	carrier := propagation.MapCarrier{"traceparent": r.Trace.Parent, "tracestate": r.Trace.State}
	ctx = propagation.TraceContext{}.Extract(ctx, carrier)
	ctx, _ = t.tracer.Start(ctx, spanName(r), trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(r.At), trace.WithAttributes(spanAttributes(r)...),
		trace.WithAttributes(overHTTP(r.Wire.HTTP)...))
	if r.Client.IsValid() {
		trace.SpanFromContext(ctx).SetAttributes(attribute.String("client.address", r.Client.Addr().String()), attribute.Int("client.port", int(r.Client.Port())))
	}
	return ctx
}

// overHTTP says that something travelled in this version of HTTP.
func overHTTP(version string) []attribute.KeyValue {
	kv := []attribute.KeyValue{attribute.String("network.transport", "tcp"), attribute.String("network.protocol.name", "http")}
	if version != "" {
		kv = append(kv, attribute.String("network.protocol.version", version))
	}
	return kv
}

// sessionEnded records how long a session lasted.
func (t *telemetry) sessionEnded(e mcpproxy.Ended) {
	kv := []attribute.KeyValue{attribute.String("network.transport", "tcp")}
	if e.Pipe {
		kv[0] = attribute.String("network.transport", "pipe")
	}
	if e.Version != "" {
		kv = append(kv, attribute.String("mcp.protocol.version", e.Version))
	}
	h := t.ours
	if e.Upstream {
		h = t.theirs
	}
	h.Record(context.Background(), e.Took.Seconds(), metric.WithAttributes(kv...))
}

// Forward begins the client span.
func (t *telemetry) Forward(ctx context.Context, r *access.Request, server *registry.Server) context.Context {
	if t.tracer == nil {
		return ctx
	}
	ctx, _ = t.tracer.Start(ctx, spanName(r), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(append(spanAttributes(r), reachedAt(server)...)...))
	return ctx
}

// reachedAt says where the server is.
func reachedAt(s *registry.Server) []attribute.KeyValue {
	if s.ID == access.OwnServer {
		return nil // within this process
	}
	if s.Transport.HTTP == nil {
		return []attribute.KeyValue{attribute.String("network.transport", "pipe")}
	}
	kv := overHTTP("") // which version is known once it answers
	u, err := url.Parse(s.Transport.HTTP.URL)
	if err != nil {
		return kv
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443}[u.Scheme]
	}
	return append(kv, attribute.String("server.address", u.Hostname()), attribute.Int("server.port", port))
}

// Forwarded ends the client span and records its duration.
func (t *telemetry) Forwarded(ctx context.Context, r *access.Request, status audit.Status, took time.Duration) {
	k := setKey{method: r.Method, version: r.Version, server: r.Server, target: metricTarget(r)}
	if status != audit.StatusOK {
		k.failure = string(status)
	}
	t.client.Record(ctx, took.Seconds(), t.set(k, r.Kind))
	if t.tracer != nil {
		span := trace.SpanFromContext(ctx)
		if r.Wire.Upstream != "" {
			span.SetAttributes(attribute.String("network.protocol.version", r.Wire.Upstream))
		}
		setCode(span, r)
		endSpan(span, string(status), status == audit.StatusOK)
	}
}

// End records the decision and ends the server span.
func (t *telemetry) End(ctx context.Context, r *access.Request, d *access.Decision, status audit.Status, err error) {
	k := setKey{method: r.Method, version: r.Version, outcome: d.Outcome.String()}
	if d.Allowed() {
		k.server, k.target = r.Server, metricTarget(r)
	}
	switch {
	case err != nil:
		k.failure = string(access.CodeOf(err))
	case status != "" && status != audit.StatusOK:
		k.failure = string(status)
	}
	o := t.set(k, r.Kind)
	t.server.Record(ctx, time.Since(r.At).Seconds(), o)
	if d.Duration > 0 { // else nothing was decided
		t.decision.Record(ctx, d.Duration.Seconds())
	}
	t.outcomes.Add(ctx, 1, t.set(setKey{method: r.Method, outcome: k.outcome}, ""))
	if t.tracer == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attribute.String("rutile.decision", d.Outcome.String()), attribute.String("rutile.decision.id", d.ID))
	if ids := append(append([]string(nil), d.Permits...), d.Forbids...); len(ids) > 0 {
		span.SetAttributes(attribute.StringSlice("rutile.policy.ids", ids))
	}
	if d.Grant != "" {
		span.SetAttributes(attribute.String("rutile.grant.id", d.Grant))
	}
	setCode(span, r)
	endSpan(span, k.failure, k.failure == "" && d.Allowed())
}

// setCode names the error a server answered with, which its client is told.
func setCode(span trace.Span, r *access.Request) {
	if r.Wire.Code != 0 {
		span.SetAttributes(attribute.String("rpc.response.status_code", strconv.FormatInt(r.Wire.Code, 10)))
	}
}

func endSpan(span trace.Span, failure string, ok bool) {
	if !ok {
		if failure == "" {
			failure = "denied"
		}
		span.SetAttributes(attribute.String("error.type", failure))
		span.SetStatus(codes.Error, failure)
	}
	span.End()
}

// metricTarget is the name of a tool or prompt. Resource URIs are unbounded and
// may hold personal data, so they are never a label.
func metricTarget(r *access.Request) string {
	if r.Kind == access.KindTool || r.Kind == access.KindPrompt {
		return r.Target
	}
	return ""
}

func spanName(r *access.Request) string {
	if t := metricTarget(r); t != "" {
		return r.Method + " " + t
	}
	return r.Method
}

func spanAttributes(r *access.Request) []attribute.KeyValue {
	kv := []attribute.KeyValue{attribute.String("mcp.method.name", r.Method), attribute.String("rutile.server", r.Server)}
	add := func(name, v string) {
		if v != "" {
			kv = append(kv, attribute.String(name, v))
		}
	}
	add("mcp.protocol.version", r.Version)
	add("mcp.session.id", r.Session)
	add("jsonrpc.request.id", idText(r.RPC))
	switch r.Kind {
	case access.KindTool:
		add("gen_ai.tool.name", r.Target)
		add("gen_ai.operation.name", "execute_tool")
	case access.KindPrompt:
		add("gen_ai.prompt.name", r.Target)
	case access.KindResource:
		add("mcp.resource.uri", r.Target)
	}
	return kv
}

// idText is a JSON-RPC id as text: the conventions have strings without quotes.
func idText(raw string) string {
	var s string
	if json.Unmarshal([]byte(raw), &s) == nil {
		return s
	}
	return raw
}

var _ gate.Meter = (*telemetry)(nil)
