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

// What a server asks outside every stream, while a call is in flight that is not on
// its way yet, is of no call: it is refused, and takes nothing down.
func TestWhatIsAskedBesideACallNotYetUnderWayIsOfNone(t *testing.T) {
	p := &Proxy{cfg: Config{ParkTime: time.Millisecond}}
	msg := []byte(`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}`)
	v, err := rawjson.Parse(msg, rawjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	calls := methods["tools/call"]
	for name, c := range map[string]*call{
		"not decided yet":    {in: &inbound{p: p, msg: message{method: calls}}, ans: &answer{w: httptest.NewRecorder()}},
		"nowhere to ask":     {in: &inbound{p: p, msg: message{method: calls}}, d: &gate.Dispatch{}},
		"of no known method": {in: &inbound{p: p}, d: &gate.Dispatch{}, ans: &answer{w: httptest.NewRecorder()}},
	} {
		s := &session{p: p, version: version2511, asked: map[string]*asked{}, inflight: map[string]*call{"1": c}}
		c.sess = s
		if s.askedBeside(msg, v) {
			t.Errorf("%s: it was asked", name)
		}
	}
}
