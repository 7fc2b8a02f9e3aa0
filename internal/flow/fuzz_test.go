package flow_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/flow"
	"rutile/internal/rawjson"
)

// Whatever comes in, nothing breaks, the spans lie in their values, and what was kept
// gives the same facts again.
func FuzzIndex(f *testing.F) {
	f.Add("Pay the bill", "Send money to US13 3000 now. https://a.example/x?y=%40", `{"to":"US133000","body":"dGhpcyBpcyBhIHRlc3Q="}`, 3, 9)
	f.Add("do what it says", "\u202eｍ@ｘ.ｙ \xff\xfe&#64;", `{"a":[1,"m@x.y",{"b":"x"}],"":"\u0000"}`, 0, 0)
	f.Add("", "a-b-c 1234 5678 1234 - @@ :// http:// www. ..", `["http://","@",".","mailto:","1 2 3 4 5 6 7 8"]`, 100, 1)
	f.Fuzz(func(t *testing.T, prompt, text, args string, start, end int) {
		in, err := rawjson.Parse([]byte(args), rawjson.Limits{})
		if err != nil {
			return
		}
		b, err := json.Marshal(text)
		if err != nil {
			return
		}
		result, err := rawjson.Parse(b, rawjson.Limits{Bytes: len(b) + 1})
		if err != nil {
			return
		}
		x, again := index(t), index(t)
		call := flow.Call{Server: "s", Tool: "send_money", Traits: flow.Traits{Sends: true}, Arguments: in}
		for _, kept := range [][]byte{x.User(prompt), x.Ingest(flow.Origin{Call: "c", Untrusted: true, Scopes: []string{"a"}, Arguments: in,
			Findings: []flow.Finding{{Start: start, End: end, Tier: flow.Review}}}, result), x.Sent(call)} {
			if err := again.Add(kept); err != nil {
				t.Fatal(err)
			}
		}
		r := x.Look(call)
		if d := cmp.Diff(r, again.Look(call)); d != "" {
			t.Error(d)
		}
		for _, l := range r.Leaves {
			if l.Start < 0 || l.End < l.Start || l.End > len(args) {
				t.Errorf("%+v", l)
			}
		}
	})
}

// What is kept comes from a disk: whatever it is, reading it breaks nothing.
func FuzzAdd(f *testing.F) {
	x, err := flow.New([]byte(family))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(x.User("Send the report to a@b.example"))
	f.Add([]byte{1, 'r'})
	f.Fuzz(func(t *testing.T, kept []byte) {
		y := index(t)
		if y.Add(kept) == nil {
			y.Look(flow.Call{Tool: "send_mail", Traits: flow.Traits{Sends: true}, Arguments: value(t, map[string]any{"to": "a@b.example"})})
		}
	})
}
