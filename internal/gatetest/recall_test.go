package gatetest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/grant"
)

// Who revokes a grant is told how many calls that cut off: those under it and under
// what was handed on from it, not one under another.
func TestRevokingAGrantSaysWhatItCut(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r := mayAsk(t, u, "")
	began := make(chan struct{}, 3)
	goOn := make(chan struct{})
	u.onCall(func(w http.ResponseWriter, req *http.Request, id json.RawMessage, _ []byte) bool {
		began <- struct{}{}
		select {
		case <-req.Context().Done():
		case <-goOn:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(id)+`,"result":{"resultType":"complete","content":[{"type":"text","text":"done"}]}}`)
		}
		return true
	})
	give := func(prefix string) grant.Grant {
		args, err := grant.ParseConstraints([]byte(`[{"at":"/text","prefix":"` + prefix + `"}]`))
		if err != nil {
			t.Fatal(err)
		}
		g, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: "up", Tool: "echo", Args: args, Seconds: 600})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	taken, kept := give("a"), give("b")
	token := r.token("bot", "up")
	answers := map[string]chan reply{}
	for _, text := range []string{"a1", "a2", "b1"} {
		answers[text] = make(chan reply, 1)
		go func() { answers[text] <- r.call(token, "up", "echo", `{"text":"`+text+`"}`) }()
		<-began
	}
	got, err := r.d.Desk.RevokeGrant(t.Context(), operator, taken.ID, "enough")
	if err != nil || got.State != grant.GrantRevoked || got.Calls != 2 || len(got.Parts) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"a1", "a2"} {
		if a := <-answers[text]; !strings.Contains(a.body, "taken back") && !strings.Contains(a.body, "was revoked") {
			t.Errorf("%s ended with %s", text, a.body)
		}
	}
	close(goOn)
	if a := <-answers["b1"]; !strings.Contains(a.body, "done") {
		t.Errorf("the call under another grant ended with %s", a.body)
	}
	if got, err := r.d.Desk.RevokeGrant(t.Context(), operator, kept.ID, ""); err != nil || got.Calls != 0 {
		t.Errorf("nothing runs any more: %+v, %v", got, err)
	}
	if n := strings.Count(r.written("echo"), `"cut.grant"`); n != 2 {
		t.Errorf("the evidence has %d calls that were cut", n)
	}
}
