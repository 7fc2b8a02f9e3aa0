package mcpproxy

import (
	"bytes"
	"net/http/httptest"
	"testing"
	"time"

	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// answering is a client that answers the second of two questions at once.
type answering struct {
	*httptest.ResponseRecorder
	s *session
}

func (w answering) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(`"id":2,`)) {
		w.s.asked["2"].got <- []byte(`{"action":"accept","content":{"n":1}}`)
	}
	return w.ResponseRecorder.Write(b)
}

// A question nobody answers costs no answer to another one.
func TestOneOfTwoQuestionsAnswered(t *testing.T) {
	p := &Proxy{cfg: Config{ParkTime: 5 * time.Millisecond}}
	s := &session{p: p, version: version2511, asked: map[string]*asked{}}
	c := &call{
		in: &inbound{p: p}, sess: s, d: &gate.Dispatch{}, timer: time.NewTimer(time.Hour), latest: time.Now().Add(time.Hour),
		ans: &answer{w: answering{httptest.NewRecorder(), s}},
	}
	params, err := rawjson.Parse([]byte(`{"message":"how many?","requestedSchema":{"type":"object","properties":{}}}`), rawjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	open := []*ask{
		{key: "a", kind: "elicitation", method: "elicitation/create", params: params},
		{key: "b", kind: "elicitation", method: "elicitation/create", params: params},
	}
	got, err := c.gather(t.Context(), open, []byte{'{'})
	want := `{"a":{"action":"cancel"},"b":{"action":"accept","content":{"n":1}}`
	if err != nil || string(got) != want {
		t.Errorf("the server is told %s, %v", got, err)
	}
}
