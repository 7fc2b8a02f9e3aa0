package sink

import (
	"encoding/hex"
	"strings"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"rutile/internal/audit"
)

// otlp puts events into one ExportLogsServiceRequest (OTLP 1, protobuf). Names of
// attributes are those of the semantic conventions for generative AI and MCP where
// they have one.
func (e encoder) otlp(list []audit.Told) (batch, error) {
	scope := &logs.ScopeLogs{Scope: &common.InstrumentationScope{Name: "rutile/evidence", Version: e.version}}
	size := 0
	for i := range list {
		rec := logRecord(&list[i])
		if size += proto.Size(rec) + 8; size > e.size && len(scope.LogRecords) > 0 {
			break
		}
		scope.LogRecords = append(scope.LogRecords, rec)
	}
	req := &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource:  &resource.Resource{Attributes: []*common.KeyValue{text("service.name", "rutile"), text("service.version", e.version), text("rutile.evidence.origin", list[0].Origin)}},
		ScopeLogs: []*logs.ScopeLogs{scope},
	}}}
	body, err := proto.Marshal(req)
	return batch{body: body, mime: "application/x-protobuf", n: len(scope.LogRecords)}, err
}

func logRecord(x *audit.Told) *logs.LogRecord {
	r := recordOf(x)
	at := uint64(r.At.UnixNano())
	severity := map[int]logs.SeverityNumber{1: logs.SeverityNumber_SEVERITY_NUMBER_INFO, 2: logs.SeverityNumber_SEVERITY_NUMBER_INFO2, 3: logs.SeverityNumber_SEVERITY_NUMBER_WARN, 4: logs.SeverityNumber_SEVERITY_NUMBER_ERROR}[r.severity()]
	out := &logs.LogRecord{TimeUnixNano: at, ObservedTimeUnixNano: at, SeverityNumber: severity, EventName: "rutile." + r.Kind}
	if id, err := hex.DecodeString(r.Trace); err == nil && len(id) == 16 {
		out.TraceId = id
	}
	add := func(name, v string) {
		if v != "" {
			out.Attributes = append(out.Attributes, text(name, v))
		}
	}
	number := func(name string, v int64) { out.Attributes = append(out.Attributes, integer(name, v)) }
	add("rutile.evidence.leaf", r.ID)
	number("rutile.evidence.index", int64(r.Index))
	add("rutile.evidence.hash", r.Hash)
	add("rutile.decision.id", r.Decision)
	add("rutile.decision", r.decided())
	add("rutile.decision.would", r.Would)
	add("rutile.decision.class", r.Class)
	out.Attributes = append(out.Attributes, texts("rutile.policy.ids", r.Policies)...)
	add("rutile.grant.id", r.Grant)
	add("gen_ai.agent.id", r.Agent)
	add("enduser.id", r.Subject)
	add("mcp.session.id", r.Session)
	add("rutile.task.id", r.Task)
	add("rutile.server", r.Server)
	add("mcp.method.name", r.Method)
	add("mcp.protocol.version", r.Version)
	switch r.TargetKind {
	case "tool":
		add("gen_ai.tool.name", r.Target)
		add("gen_ai.operation.name", "execute_tool")
	case "prompt":
		add("gen_ai.prompt.name", r.Target)
	case "resource":
		add("mcp.resource.uri", r.Target)
	}
	if r.Tier != nil {
		number("rutile.tier", int64(*r.Tier))
	}
	add("rutile.status", r.Status)
	if r.failed() {
		add("error.type", either(either(r.Status, r.Class), r.Verb))
	}
	if r.Kind == KindCall {
		number("rutile.duration_us", r.Micros)
	}
	out.Attributes = append(out.Attributes, texts("rutile.finding.rules", r.Findings)...)
	add("rutile.actor", r.Actor)
	add("rutile.verb", r.Verb)
	add("rutile.object.kind", r.ObjectKind)
	add("rutile.object.id", r.Object)
	add("rutile.reason", either(r.Reason, r.Why))
	return out
}

func text(name, v string) *common.KeyValue {
	return &common.KeyValue{Key: name, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(v, "\ufffd")}}} // else protobuf refuses it for ever
}

func integer(name string, v int64) *common.KeyValue {
	return &common.KeyValue{Key: name, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: v}}}
}

// texts is none or one attribute with a list.
func texts(name string, list []string) []*common.KeyValue {
	if len(list) == 0 {
		return nil
	}
	var values []*common.AnyValue
	for _, v := range list {
		values = append(values, text("", v).Value)
	}
	return []*common.KeyValue{{Key: name, Value: &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: values}}}}}
}
