package audit

import (
	"slices"
	"strings"

	"rutile/internal/access"
)

// The rows built here while a leaf is written and the rows Reindex derives from
// the leaf (reindex.go) MUST be equal; both are made of the same functions.

// callRow is the row of an intent or a verdict but for its text.
func callRow(r *access.Request, dec *access.Decision) Row {
	target := maxTarget
	if r.Kind != access.KindResource && plain(r.Target) {
		target = maxText
	}
	row := Row{
		Decision: cut(r.ID, maxText),
		Agent:    r.Who.Actor.Agent,
		Subject:  r.Who.Subject.ID,
		Session:  cut(r.Who.Session, maxText),
		Task:     cut(r.Who.Task, maxText),
		Server:   cut(r.Server, maxText),
		Method:   cut(r.Method, maxText),
		Tool:     cut(r.Target, target),
		TraceID:  traceID(r.Trace.Parent),
		Outcome:  dec.Outcome.String(),
		Grant:    cut(dec.Grant, maxText),
		Labels:   touchedLabels(r.Touched),
		Policies: policies(dec.Permits, dec.Forbids, dec.Errors, maskers(dec), shadowOf(dec)),
		Intent:   -1,
	}
	if dec.Monitor {
		row.Would = dec.Would.String()
	}
	return row
}

// shadowOf are the policies that are only tried and matched: the index finds them
// as it finds those that decided.
func shadowOf(dec *access.Decision) []string {
	if dec.Shadow == nil {
		return nil
	}
	return dec.Shadow.By
}

// outcomeRow is what an outcome adds to the row of its call.
func outcomeRow(intent uint64, status string, findings, labels, masks []string) Row {
	return Row{Status: status, Intent: int64(intent), Labels: labels, Text: joinText(append([]string{status, maskedWord(masks)}, findings...)...)}
}

// maskedWord is the word that finds calls of which rules had parts masked.
func maskedWord(rules []string) string {
	if len(rules) == 0 {
		return ""
	}
	return "masked"
}

// end adds an outcome to the row of its call, unless it has it.
func (r *Row) end(o *Row) {
	if o.Index <= r.Last() {
		return
	}
	r.Ends, r.Ended, r.Status = append(slices.Clip(r.Ends), o.Index), o.At, o.Status
	r.Text = joinText(r.Text, o.Text)
	r.Labels = union(r.Labels, o.Labels)
}

// of adds to the row of an outcome what identifies its call.
func (r *Row) of(call *Row) {
	r.Decision, r.Agent, r.Subject, r.Session, r.Task = call.Decision, call.Agent, call.Subject, call.Session, call.Task
	r.Server, r.Method, r.Tool, r.TraceID, r.Grant = call.Server, call.Method, call.Tool, call.TraceID, call.Grant
	r.Text = joinText(call.Server, call.Method, call.Tool, call.Agent, call.Subject, r.Text)
}

func callText(row *Row, masks []string, class, reason string) string {
	var room [16]string
	parts := append(room[:0], row.Server, row.Method, row.Tool, row.Agent, row.Subject, row.Outcome, row.Would, maskedWord(masks), class, reason)
	return joinText(append(parts, row.Policies...)...)
}

func adminText(row *Row, verb, kind, reason string) string {
	return joinText(verb, kind, row.Object, row.Actor, reason)
}

// touchedLabels are the labels a leaf says the session of a call had touched.
func touchedLabels(t *access.Touched) []string {
	if t.Clean() {
		return nil
	}
	return union(nil, cutList(t.Labels))
}

// union returns the labels of both, sorted, each once; nil if there are none.
func union(a, b []string) []string {
	if len(a)+len(b) == 0 {
		return nil
	}
	all := append(slices.Clip(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// kindGrant is how changes call what they are about if it is a grant.
const kindGrant = "Grant"

// grantOf is the grant a change is about, "" if it is about something else.
func grantOf(kind, object string) string {
	if kind != kindGrant {
		return ""
	}
	return object
}

func joinText(parts ...string) string {
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, " ")
}

func policies(lists ...[]string) []string {
	var out []string
	for _, l := range lists {
		out = append(out, cutList(l)...)
	}
	return out
}

// cutList is what of vs a leaf keeps.
func cutList(vs []string) []string {
	if len(vs) == 0 {
		return nil
	}
	out := make([]string, 0, min(len(vs), maxList))
	for _, v := range vs[:min(len(vs), maxList)] {
		out = append(out, cut(v, maxItem))
	}
	return out
}

// traceID returns the trace id of a W3C traceparent, "" if it is not one. It is
// a label a client chose.
func traceID(parent string) string {
	if len(parent) < 55 || parent[2] != '-' || parent[35] != '-' {
		return ""
	}
	id := parent[3:35]
	for i := 0; i < len(id); i++ {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return id
}
