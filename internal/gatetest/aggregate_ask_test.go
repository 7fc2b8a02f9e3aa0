package gatetest_test

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestInputIsAskedForThroughTheAggregate(t *testing.T) {
	r, token, old, modern, _ := gathered(t, strings.ReplaceAll(askPolicy("elicitation"), "up/", "old/")+strings.NewReplacer("up/", "modern/", "ask-", "ask2-").Replace(askPolicy("elicitation")))
	askUpstream(old, elicit)
	d := door{r, token, nil, true}
	q := request{"tools/call", "old", "echo", `,"arguments":{}`}
	got := d.send(q)
	var st struct {
		ResultType, RequestState string
		InputRequests            map[string]any
	}
	_ = json.Unmarshal(got.msg.Result, &st)
	if st.ResultType != "input_required" || len(st.InputRequests) != 1 {
		t.Fatalf("answered %s", got.body)
	}
	for k := range st.InputRequests {
		q.rest += `,"inputResponses":{"` + k + `":{"action":"accept","content":{"x":1}}},"requestState":"` + st.RequestState + `"`
	}
	if got := d.send(q); !strings.Contains(got.body, "the client said") || !strings.Contains(got.body, "accept") {
		t.Fatalf("the retry answered %s", got.body)
	}
	// bridge B
	modern.handle("tools/call", func(x *exchange) {
		if !strings.Contains(x.params, "inputResponses") {
			x.result(`{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{"type":"object","properties":{}}}}},"requestState":"s"}`)
			return
		}
		x.text("got " + x.params)
	})
	c := r.legacyAll(token, v2511, `{"elicitation":{}}`)
	s := stream(t, "POST", r.all(), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"modern__echo","arguments":{}}}`)
	var m struct{ ID json.RawMessage }
	if e := s.next(); json.Unmarshal([]byte(e), &m) != nil || m.ID == nil {
		t.Fatalf("asked %s", e)
	}
	if got := c.post(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{"action":"accept","content":{"y":2}}}`); got.status != 202 {
		t.Fatalf("answer: %d %s", got.status, got.body)
	}
	if end := s.rest(); len(end) != 1 || !strings.Contains(end[0], `\"y\":2`) {
		t.Fatalf("ended %q", end)
	}
}
