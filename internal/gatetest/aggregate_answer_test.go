package gatetest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// A sampling message of a server with its own resources wherever content may have
// them, and the answer of a client that has seen it through the aggregate.
const (
	linkedMessages = `"messages":[{"role":"user","content":{"type":"resource_link","uri":"test://l","name":"see test://l"}},` +
		`{"role":"user","content":[{"type":"resource","resource":{"uri":"test://e","text":"see test://e"}},{"type":"tool_result","toolUseId":"1","content":[{"type":"tool_result","toolUseId":"2","content":[{"type":"resource_link","uri":"test://deep","name":"d"}]}]}]}],"maxTokens":1`
	linkedAnswer = `{"role":"assistant","model":"rutile+SERVER:test://m","content":[{"type":"text","text":"rutile+SERVER:test://t"},{"type":"resource_link","uri":"rutile+SERVER:test://l","name":"rutile+SERVER:test://n"},` +
		`{"type":"resource","resource":{"uri":"rutile+SERVER:test://e","text":"x"}},{"type":"resource_link","uri":"rutile+elsewhere:test://o","name":"o"},{"type":"resource_link","uri":"test://plain","name":"p"},` +
		`{"type":"tool_use","id":"1","name":"t","input":{"uri":"rutile+SERVER:test://i"}},{"type":"tool_result","toolUseId":"1","content":[{"type":"resource_link","uri":"rutile+SERVER:test://deep","name":"d"}]}]}`
)

// ownAnswer is that answer as its server gets it.
func ownAnswer(server string) string {
	own := linkedAnswer
	for _, place := range []string{`"resource_link","uri":"`, `"resource":{"uri":"`} {
		own = strings.ReplaceAll(own, place+"rutile+SERVER:", place)
	}
	return strings.ReplaceAll(own, "SERVER", server)
}

// saw requires that the client was asked with the aggregate's URIs.
func saw(t *testing.T, server, asked string) {
	t.Helper()
	for _, want := range []string{`"uri":"rutile+` + server + `:test://l","name":"see test://l"`, `"uri":"rutile+` + server + `:test://e","text":"see test://e"`, `"uri":"rutile+` + server + `:test://deep"`} {
		if !strings.Contains(asked, want) {
			t.Errorf("the client is asked %s\nwithout %s", asked, want)
		}
	}
}

// got requires that a server was sent the answer under its own URIs.
func got(t *testing.T, what, server, sent string) {
	t.Helper()
	if !strings.Contains(sent, ownAnswer(server)) {
		t.Errorf("%s: the server is sent %s\nwant %s", what, sent, ownAnswer(server))
	}
}

// What a client answers through the aggregate names the resources of the server
// that asked as that server does, where the protocol has them and nowhere else,
// whichever eras they speak; and what it is asked names them as the aggregate does.
func TestAggregateAnswersNameTheServersResources(t *testing.T) {
	t.Parallel()
	policies := ""
	for _, server := range []string{"old", "modern"} {
		for _, kind := range []string{"sampling", "roots"} {
			policies += strings.NewReplacer("up/", server+"/", "ask-", server+"-").Replace(askPolicy(kind))
		}
	}
	r, token, old, modern, _ := gathered(t, policies)
	askUpstream(old, `"method":"sampling/createMessage","params":{`+linkedMessages+`}`)
	ask := `{"resultType":"input_required","requestState":"st","inputRequests":{"k":{"method":"sampling/createMessage","params":{` + linkedMessages + `}},"no":{"method":"elicitation/create","params":{"message":"how?","requestedSchema":{"type":"object","properties":{}}}}}}`
	modern.handle("tools/call", func(x *exchange) {
		if strings.Contains(x.params, "inputResponses") {
			x.text("done")
			return
		}
		if !strings.Contains(x.params, `"elicitation":{}`) { // nothing else is asked
			i := strings.Index(ask, `,"no"`)
			x.result(ask[:i] + `}}`)
			return
		}
		x.result(ask)
	})
	const caps = `{"sampling":{"tools":{}}}`
	with := func(body, caps string) string {
		return strings.Replace(body, `clientCapabilities":{}`, `clientCapabilities":`+caps, 1)
	}
	params := func(server string) string { return `"name":"` + server + `__echo","arguments":{}` }
	for _, server := range []string{"old", "modern"} {
		answer := strings.ReplaceAll(linkedAnswer, "SERVER", server)
		sent := func() string {
			if server == "modern" {
				return modern.last("tools/call").params
			}
			last := ""
			for _, s := range old.got("POST") { // answers have no method
				last = s.body
			}
			return last
		}
		t.Run("legacy client of "+server, func(t *testing.T) {
			c := r.legacyAll(token, v2511, caps)
			s := stream(t, http.MethodPost, r.all(), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{`+params(server)+`}}`)
			asked := s.soon()
			saw(t, server, asked)
			var m struct{ ID json.RawMessage }
			if err := json.Unmarshal([]byte(asked), &m); err != nil {
				t.Fatal(err)
			}
			if got := c.post(`{"result":` + answer + `,"jsonrpc":"2.0","id":` + string(m.ID) + `}`); got.status != http.StatusAccepted {
				t.Fatalf("the answer is answered %d %s", got.status, got.body)
			}
			s.rest()
			got(t, "legacy client", server, sent())
		})
		t.Run("modern client of "+server, func(t *testing.T) {
			for _, caps := range []string{caps, `{"sampling":{"tools":{}},"elicitation":{}}`} {
				if server == "modern" && strings.Contains(caps, "elicitation") {
					// Permitted in general and declined in this case: the rest is asked.
					r.apply(strings.NewReplacer("up/", "modern/", "ask-", "modern-").Replace(strings.TrimPrefix(askPolicyIf("elicitation", `context.input.message == "never"`), "---\n")))
				}
				asked := post(t, r.all(), modernHeaders(token, "tools/call", server+"__echo"), with(modernBody("1", "tools/call", params(server)), caps))
				saw(t, server, asked.body)
				var res struct {
					RequestState  string
					InputRequests map[string]any
				}
				_ = json.Unmarshal(asked.msg.Result, &res)
				if len(res.InputRequests) != 1 {
					t.Fatalf("asked %s", asked.body)
				}
				for key := range res.InputRequests {
					retry := params(server) + `,"requestState":"` + res.RequestState + `","inputResponses":{"` + key + `":` + answer + `}`
					end := post(t, r.all(), modernHeaders(token, "tools/call", server+"__echo"), with(modernBody("2", "tools/call", retry), caps))
					if end.msg.Result == nil {
						t.Fatalf("the retry is answered %s", end.body)
					}
				}
				got(t, "modern client "+caps, server, sent())
			}
		})
	}
	t.Run("volunteered", func(t *testing.T) {
		post(t, r.all(), modernHeaders(token, "tools/call", "modern__echo"), with(modernBody("1", "tools/call", params("modern")+`,"inputResponses":{"k":`+strings.ReplaceAll(linkedAnswer, "SERVER", "modern")+`}`), caps))
		got(t, "volunteered", "modern", modern.last("tools/call").params)
	})
	t.Run("roots", func(t *testing.T) {
		askUpstream(old, roots)
		c := r.legacyAll(token, v2511, `{"roots":{}}`)
		s := stream(t, http.MethodPost, r.all(), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{`+params("old")+`}}`)
		var m struct{ ID json.RawMessage }
		if err := json.Unmarshal([]byte(s.soon()), &m); err != nil {
			t.Fatal(err)
		}
		c.post(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{"roots":[{"uri":"file:///w"},{"uri":"rutile+old:test://r"},{"uri":"rutile+modern:test://r"}]}}`)
		if end := strings.Join(s.rest(), ""); !strings.Contains(end, `\"roots\":[{\"uri\":\"file:///w\"},{\"uri\":\"test://r\"},{\"uri\":\"rutile+modern:test://r\"}]`) {
			t.Errorf("the server says %s", end)
		}
	})
	t.Run("at the server itself", func(t *testing.T) {
		askUpstream(old, `"method":"sampling/createMessage","params":{`+linkedMessages+`}`)
		c := r.legacy(r.token("bot", "old"), "old", v2511, caps)
		s := stream(t, http.MethodPost, r.url("old"), c.headers(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`)
		var m struct{ ID json.RawMessage }
		asked := s.soon()
		if err := json.Unmarshal([]byte(asked), &m); err != nil || !strings.Contains(asked, linkedMessages) {
			t.Fatalf("asked %s", asked)
		}
		answer := strings.ReplaceAll(linkedAnswer, "SERVER", "old")
		c.post(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":` + answer + `}`)
		s.rest()
		last := old.got("POST")
		if sent := last[len(last)-1].body; !strings.Contains(sent, answer) {
			t.Errorf("an answer is changed: %s", sent)
		}
	})
}

// The answers to what a task asks, which travel without a state, are mapped too.
func TestAggregateAnswersToTasksNameTheServersResources(t *testing.T) {
	t.Parallel()
	r, up := taskRig(t, "")
	token := r.token("bot", "*")
	id := r.startTask(token, "", "up__slow_compute", `{"seconds":1}`)
	r.about(token, "", "tasks/update", id, `,"inputResponses":{"a":{"action":"accept","content":{"uri":"rutile+up:test://x"}},"b":`+strings.ReplaceAll(linkedAnswer, "SERVER", "up")+`}`)
	sent := ""
	for _, q := range up.Seen() {
		if q.Method == "tasks/update" {
			sent = string(q.Params)
		}
	}
	got(t, "an update", "up", sent)
	if !strings.Contains(sent, `{"action":"accept","content":{"uri":"rutile+up:test://x"}}`) {
		t.Errorf("a form is changed: %s", sent)
	}
}
