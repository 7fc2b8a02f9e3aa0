package flow_test

import (
	"fmt"
	"strings"
	"testing"

	"rutile/internal/flow"
	"rutile/internal/rawjson"
)

// resultOf is a typical result of about 2 KB: records and prose.
func resultOf(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < 2048; i++ {
		fmt.Fprintf(&b, "- id: %d\n  from: person%d@team%d.example\n  subject: Figures of week %d\n  body: Here are the numbers you wanted; the page https://wiki.example/w/%d/%d has more. Please send the draft to review%d@team.example before Friday.\n", n*100+i, i, n, i, n, i, n)
	}
	return b.String()[:2048]
}

func BenchmarkIngest(b *testing.B) {
	for _, untrusted := range []bool{false, true} {
		b.Run(fmt.Sprintf("2KB/untrusted=%v", untrusted), func(b *testing.B) {
			texts := make([]any, 64)
			for i := range texts {
				texts[i] = value(b, resultOf(i))
			}
			x := index(b)
			x.User("Send the figures of week 3 to anna@holt.example")
			b.ReportAllocs()
			b.SetBytes(2048)
			i := 0
			for b.Loop() {
				x.Ingest(flow.Origin{Call: "c", Server: "mail", Tool: "search", Untrusted: untrusted, Scopes: []string{"mail"}}, value64(texts, i))
				i++
			}
		})
	}
}

func BenchmarkLook(b *testing.B) {
	x := index(b)
	x.User("Send the figures of week 3 to anna@holt.example")
	for i := range 60 {
		x.Ingest(flow.Origin{Call: "c", Server: "mail", Tool: "search", Untrusted: true, Scopes: []string{"mail"}}, value(b, resultOf(i)))
	}
	c := flow.Call{Server: "mail", Tool: "send_mail", Traits: flow.Traits{Sends: true}, Arguments: value(b, map[string]any{
		"to": []string{"review7@team.example"}, "subject": "Figures of week 3", "body": "Here are the numbers you wanted; they are on the page. Have a look before Friday, and tell me what you think of them.", "priority": 2})}
	b.ReportAllocs()
	for b.Loop() {
		x.Look(c)
	}
}

func value64(texts []any, i int) rawjson.Value { return texts[i%len(texts)].(rawjson.Value) }
