package gatetest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/registry"
	"rutile/internal/signal"
	"rutile/internal/sink"
)

// What receivers show here.
const tokenOfPeer, tokenOfOne, tokenOfTwo = "Zk3vQ9sYt1LbX0wCq7RmUe", "b1946ac92492d2347c6235b4d2611184", "591785b794601e212b260e25925636fd"

// tells is a gateway that tells another, with ann and bob at both.
func tells(t *testing.T, how string) (from, to *rig) {
	t.Helper()
	u := newUpstream(t)
	from, _ = governed(t, u)
	to, _ = governed(t, u)
	from.secret("shown", tokenOfPeer)
	to.secret("shown", tokenOfPeer)
	people := "kind: User\nid: ann\nroles: [viewer]\nsubjects: [{issuer: \"https://idp.example.com\", subject: \"4711\"}]\n---\nkind: User\nid: bob\nroles: [viewer]\n---\n"
	url, source := "poll:", "poll: \""+from.d.AgentsURL+"/ssf/poll/peer\"\nsecret: {ref: shown}\n"
	if how == "push" {
		url, source = to.d.AgentsURL+"/signals/peer", ""
	}
	from.apply(people + "kind: Sink\nid: peer\nowner: team\nfrom: start\nform: ssf\nurl: \"" + url + "\"\naudience: https://peer.example.com\nreceiver: {ref: shown}\n")
	to.apply(people + "kind: Signal\nid: peer\nowner: team\nissuer: \"" + from.d.AgentsURL + "\"\naudience: https://peer.example.com\nmay: [agent, session, suspend, user]\n" + source +
		"subjects: [{subject: \"iss_sub:" + from.d.AgentsURL + "|bob\", user: bob}, {subject: \"iss_sub:" + from.d.AgentsURL + "|bot\", agent: bot}]\n")
	return from, to
}

// TestOneGatewayEndsSessionsAtAnother: what is revoked here is told, and a second gateway
// takes it, by push and by poll, and ends there what that person and that agent do.
func TestOneGatewayEndsSessionsAtAnother(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"push", "poll"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			from, to := tells(t, how)
			works := func(token string) bool { return strings.Contains(to.call(token, "up", "echo", `{}`).body, `"result"`) }
			ann, bob, bot := to.forSomebody("bot", "up", "ann"), to.forSomebody("bot", "up", "bob"), to.token("bot", "up")
			if !works(ann) || !works(bob) || !works(bot) {
				t.Fatal("they cannot call before anything is told")
			}
			from.revoke("user", "ann")
			eventually(t, "ann's calls end at the other gateway", func() bool { return !works(ann) })
			if !works(bob) || !works(bot) {
				t.Error("another's calls ended too")
			}
			if _, err := from.d.Admin.ChangeUser(t.Context(), operator, "bob", registry.VerbSuspend, "left"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "bob is suspended at the other gateway", func() bool {
				b, _ := to.d.Admin.Current().View.User("bob")
				return b.State == registry.UserSuspended && !works(bob)
			})
			from.revoke("agent", "bot")
			eventually(t, "the agent's calls end at the other gateway", func() bool { return !works(bot) })
			list, err := to.d.Effects.Receipts(t.Context(), 0, 100)
			if err != nil || len(list) != 3 {
				t.Errorf("%d receipts of three things that were told, %v", len(list), err)
			}
			for _, r := range list {
				if r.Actor != "signal:peer" {
					t.Errorf("a receipt is of %s", r.Actor)
				}
			}
		})
	}
}

// TestTwoGatewaysThatTellEachOtherComeToRest: what a signal did is not told on.
func TestTwoGatewaysThatTellEachOtherComeToRest(t *testing.T) {
	t.Parallel()
	from, to := tells(t, "push")
	to.apply("kind: Sink\nid: back\nowner: team\nfrom: start\nform: ssf\nurl: \"" + from.d.AgentsURL + "/signals/back\"\naudience: https://first.example.com\n")
	from.apply("kind: Signal\nid: back\nowner: team\nissuer: \"" + to.d.AgentsURL + "\"\naudience: https://first.example.com\nmay: [agent, session, suspend, user]\n")
	from.revoke("user", "ann")
	told := func(r *rig) int {
		list, err := r.d.Effects.Receipts(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	eventually(t, "it is told", func() bool { return told(to) == 1 })
	// What comes after it in the log of the second is told after it: once bob's has come
	// back, ann's would have.
	to.apply("kind: User\nid: bob\nroles: [viewer]\nsubjects: [{issuer: \"https://idp.example.com\", subject: \"4712\"}]\n")
	from.apply("kind: User\nid: bob\nroles: [viewer]\nsubjects: [{issuer: \"https://idp.example.com\", subject: \"4712\"}]\n")
	to.revoke("user", "bob")
	eventually(t, "bob's comes back", func() bool { return told(from) >= 2 })
	if n, m := told(from), told(to); n != 2 || m != 2 {
		t.Errorf("%d and %d receipts of two things", n, m)
	}
}

// receives asks as the receiver of a stream does.
func (r *rig) receives(token, method, path, body string) (int, map[string]any) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.d.AgentsURL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	var out map[string]any
	if len(raw) > 0 && raw[0] == '{' {
		if err := json.Unmarshal(raw, &out); err != nil {
			r.t.Fatal(err)
		}
	}
	return resp.StatusCode, out
}

// TestAStreamIsSeenToByItsReceiverAlone: every endpoint, with the token of another, with
// none, and as its receiver.
func TestAStreamIsSeenToByItsReceiverAlone(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, _ := governed(t, u)
	r.secret("one", tokenOfOne)
	r.secret("two", tokenOfTwo)
	r.apply("kind: User\nid: ann\nroles: [viewer]\nemail: ann@example.com\n---\nkind: User\nid: bob\nroles: [viewer]\nemail: bob@example.com\n" +
		"---\nkind: Sink\nid: one\nowner: team\nfrom: start\nform: ssf\nurl: \"poll:\"\naudience: https://one.example.com\nnaming: email\nreceiver: {ref: one}\n" +
		"---\nkind: Sink\nid: two\nowner: team\nfrom: start\nform: ssf\nurl: \"poll:\"\naudience: https://two.example.com\nreceiver: {ref: two}\n")
	for name, token := range map[string]string{"nobody": "", "another's": tokenOfTwo, "an access token": r.token("bot", "up"), "a part of its own": tokenOfOne[:len(tokenOfOne)-1]} {
		for _, x := range [][3]string{
			{"GET", "/ssf/streams?stream_id=one", ""}, {"PATCH", "/ssf/streams", `{"stream_id":"one"}`}, {"PUT", "/ssf/streams", `{"stream_id":"one"}`}, {"DELETE", "/ssf/streams?stream_id=one", ""},
			{"GET", "/ssf/status?stream_id=one", ""}, {"POST", "/ssf/status", `{"stream_id":"one","status":"disabled"}`}, {"POST", "/ssf/verify", `{"stream_id":"one"}`},
			{"POST", "/ssf/subjects/remove", `{"stream_id":"one","subject":{"format":"email","email":"ann@example.com"}}`}, {"POST", "/ssf/subjects/add", `{"stream_id":"one","subject":{"format":"email","email":"ann@example.com"}}`},
			{"POST", "/ssf/poll/one", `{"returnImmediately":true}`},
		} {
			want := http.StatusUnauthorized
			if name == "another's" {
				want = http.StatusNotFound
			}
			if code, _ := r.receives(token, x[0], x[1], x[2]); code != want {
				t.Errorf("%s %s as %s: %d", x[0], x[1], name, code)
			}
		}
	}
	as := func(want int, method, path, body string) map[string]any {
		t.Helper()
		code, out := r.receives(tokenOfOne, method, path, body)
		if code != want {
			t.Fatalf("%s %s: %d %v", method, path, code, out)
		}
		return out
	}
	revoked, disabled := sink.EventType(signal.SessionRevoked), sink.EventType(signal.AccountDisabled)
	if out := as(201, "POST", "/ssf/streams", `{"events_requested":["`+revoked+`","`+disabled+`","urn:unknown"],"delivery":{"method":"urn:ietf:rfc:8936"},"description":"ours"}`); out["stream_id"] != "one" || len(out["events_delivered"].([]any)) != 2 || out["aud"] != "https://one.example.com" || out["iss"] != r.d.AgentsURL {
		t.Errorf("created: %v", out)
	}
	as(409, "POST", "/ssf/streams", `{}`)
	as(400, "PATCH", "/ssf/streams", `{"stream_id":"one","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"http://169.254.169.254/latest"}}`)
	as(400, "PATCH", "/ssf/streams", `{"stream_id":"one","delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"http://169.254.169.254/latest"}}`)
	as(400, "PATCH", "/ssf/streams", `{"stream_id":"one","delivery":{"method":"urn:ietf:rfc:8936","authorization_header":"Bearer x"}}`)
	as(400, "POST", "/ssf/status", `{"stream_id":"one","status":"gone"}`)
	as(400, "POST", "/ssf/status", `{"stream_id":"one","status":"paused","reason":"a\u001b[2Jb"}`)
	as(204, "POST", "/ssf/subjects/remove", `{"stream_id":"one","subject":{"format":"email","email":"Bob@Example.com"}}`)
	as(204, "POST", "/ssf/verify", `{"stream_id":"one","state":"s 1"}`)
	as(429, "POST", "/ssf/verify", `{"stream_id":"one"}`)

	sets := map[string]map[string]any{}
	fetch := func(body string) int {
		t.Helper()
		out := as(200, "POST", "/ssf/poll/one", body)
		n := 0
		for id, raw := range out["sets"].(map[string]any) {
			sets[id] = payloadOf(t, raw.(string))
			n++
		}
		return n
	}
	if n := fetch(`{"returnImmediately":true}`); n != 1 {
		t.Fatalf("%d events where one verifies the stream", n)
	}
	for id, c := range sets {
		if c["events"].(map[string]any)[signal.TypeOf(signal.Verification)].(map[string]any)["state"] != "s 1" || c["aud"] != "https://one.example.com" || c["jti"] != id {
			t.Errorf("the verification: %v", c)
		}
		fetch(`{"maxEvents":0,"ack":["` + id + `"]}`)
	}
	clear(sets)
	as(200, "POST", "/ssf/status", `{"stream_id":"one","status":"paused"}`)
	r.revoke("user", "bob") // who is taken out
	r.revoke("user", "ann")
	r.revoke("agent", "bot")
	eventually(t, "the other stream has all three", func() bool {
		_, out := r.receives(tokenOfTwo, "POST", "/ssf/poll/two", `{"returnImmediately":true}`)
		return len(out["sets"].(map[string]any)) == 3
	})
	if n := fetch(`{"returnImmediately":true}`); n != 0 {
		t.Errorf("%d events of a stream that is paused", n)
	}
	as(200, "POST", "/ssf/status", `{"stream_id":"one","status":"enabled"}`)
	fetch(`{"maxEvents":1}`)
	eventually(t, "what happened meanwhile is told", func() bool { return fetch(`{"returnImmediately":true}`) == 2 })
	text, err := json.Marshal(sets)
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) != 2 || !strings.Contains(string(text), "ann@example.com") || strings.Contains(string(text), "bob@example.com") || strings.Contains(string(text), `"sub":"ann"`) {
		t.Errorf("told: %s", text)
	}
	for id := range sets { // again and again, until it is acknowledged
		if n := fetch(`{"returnImmediately":true,"ack":["` + id + `","unknown"]}`); n != 1 {
			t.Errorf("%d are left", n)
		}
		break
	}
	as(204, "DELETE", "/ssf/streams?stream_id=one", "")
	as(404, "GET", "/ssf/streams?stream_id=one", "")
	if n := fetch(`{"returnImmediately":true}`); n != 0 {
		t.Errorf("%d events of a stream that was deleted", n)
	}
	as(201, "POST", "/ssf/streams", `{}`)
	if n := fetch(`{"returnImmediately":true}`); n != 0 {
		t.Error("what waited when it was deleted is told after all")
	}
	if code, out := r.receives("", "GET", "/.well-known/ssf-configuration", ""); code != 200 || out["issuer"] != r.d.AgentsURL || out["spec_version"] != "1_0" || out["configuration_endpoint"] != r.d.AgentsURL+"/ssf/streams" {
		t.Errorf("metadata: %d %v", code, out)
	}
}

// payloadOf reads the claims of a token without looking at its signature.
func payloadOf(t *testing.T, raw string) map[string]any {
	t.Helper()
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}
