package store

import (
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/rawjson"
)

// appendDoc appends the document of a row, which is what package json makes of
// it, member by member: a row is written for every call.
func appendDoc(b []byte, r *audit.Row) ([]byte, error) {
	if !keepable(r.At) || !keepable(r.Ended) {
		return nil, access.Errorf(access.CodeInvalid, "the row of leaf %d holds a time that cannot be kept", r.Index)
	}
	text := func(name, v string) {
		if v != "" {
			b = rawjson.AppendString(append(append(append(b, ',', '"'), name...), '"', ':'), v)
		}
	}
	b = rawjson.AppendString(append(b, `{"origin":`...), r.Origin)
	b = strconv.AppendUint(append(b, `,"index":`...), r.Index, 10)
	for i, end := range r.Ends {
		if i == 0 {
			b = append(b, `,"ends":[`...)
		} else {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, end, 10)
	}
	if len(r.Ends) > 0 {
		b = append(b, ']')
	}
	if !r.Ended.IsZero() {
		b = appendInstant(append(b, `,"ended":`...), r.Ended)
	}
	b = rawjson.AppendString(append(b, `,"leaf":`...), r.LeafID)
	b = rawjson.AppendString(append(b, `,"type":`...), r.Type)
	b = appendInstant(append(b, `,"at":`...), r.At)
	text("decision", r.Decision)
	text("outcome", r.Outcome)
	text("would", r.Would)
	text("status", r.Status)
	text("agent", r.Agent)
	text("subject", r.Subject)
	text("session", r.Session)
	text("task", r.Task)
	text("server", r.Server)
	text("method", r.Method)
	text("tool", r.Tool)
	b = appendList(b, "policies", r.Policies)
	text("trace", r.TraceID)
	text("grant", r.Grant)
	b = appendList(b, "labels", r.Labels)
	b = strconv.AppendInt(append(b, `,"intent":`...), r.Intent, 10)
	text("actor", r.Actor)
	text("object", r.Object)
	text("text", r.Text)
	if r.Erased {
		b = append(b, `,"erased":true`...)
	}
	return append(b, '}'), nil
}

// appendList appends a member that is a list of texts, unless it is empty.
func appendList(b []byte, name string, list []string) []byte {
	for i, p := range list {
		if i == 0 {
			b = append(append(append(b, `,"`...), name...), `":[`...)
		} else {
			b = append(b, ',')
		}
		b = rawjson.AppendString(b, p)
	}
	if len(list) > 0 {
		b = append(b, ']')
	}
	return b
}

// keepable reports whether a time has the four digits of a year a document has.
func keepable(t time.Time) bool { return t.Year() >= 0 && t.Year() <= 9999 }

func appendInstant(b []byte, t time.Time) []byte {
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
