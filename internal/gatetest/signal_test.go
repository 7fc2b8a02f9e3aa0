package gatetest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"rutile/internal/credential"
	"rutile/internal/finding"
	"rutile/internal/registry"
	"rutile/internal/signal"
	"rutile/internal/webhook"
)

// TestSignalsEndWhatTheyAreAbout: what a source says is acted on while it waits, as far
// as its manifest lets it, with a receipt; what it may not is a finding.
func TestSignalsEndWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	r, _ := governed(t, u)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	}))
	t.Cleanup(keys.Close)
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "edr-key"}, []byte("0123456789abcdef")); err != nil {
		t.Fatal(err)
	}
	r.apply("kind: User\nid: ann\nroles: [viewer]\nsubjects: [{issuer: \"https://idp.example.com\", subject: \"4711\"}]\n---\nkind: User\nid: bob\nroles: [viewer]\n" +
		"---\nkind: Signal\nid: idp\nowner: team\nissuer: \"" + keys.URL + "\"\njwks: \"" + keys.URL + "/jwks\"\naudience: rutile\nmay: [session, suspend, user]\nsubjects: [{subject: \"email:bob@example.com\", user: bob}, {subject: \"opaque:laptop-7\", agent: bot}]\n" +
		"---\nkind: Signal\nid: edr\nowner: team\nform: webhook\nsecret: {ref: edr-key}\nmay: [agent]\n")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, (&jose.SignerOptions{}).WithType("secevent+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	post := func(source, typ, body string, h http.Header) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.d.AgentsURL+"/signals/"+source, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range h {
			req.Header[k] = v
		}
		req.Header.Set("Content-Type", typ)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		return resp.StatusCode, b.String()
	}
	n := 0
	tell := func(event string, about, data any) {
		t.Helper()
		n++
		raw, err := jwt.Signed(signer).Claims(map[string]any{"iss": keys.URL, "aud": []string{"rutile"}, "jti": fmt.Sprintf("set-%d", n), "iat": time.Now().Unix(), "sub_id": about, "events": map[string]any{signal.TypeOf(event): data}}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		if status, body := post("idp", "application/secevent+jwt", raw, nil); status != http.StatusAccepted {
			t.Fatalf("%s: %d %s", event, status, body)
		}
	}
	type m = map[string]any
	works := func(token string) bool { return strings.Contains(r.call(token, "up", "echo", `{}`).body, `"result"`) }
	ann, bob := r.forSomebody("bot", "up", "ann"), r.forSomebody("bot", "up", "bob")
	if !works(ann) || !works(bob) {
		t.Fatal("they cannot call before anything is told")
	}
	tell(signal.SessionRevoked, m{"format": "complex", "user": m{"format": "iss_sub", "iss": "https://idp.example.com", "sub": "4711"}, "session": m{"format": "opaque", "id": "of-theirs"}}, m{})
	if works(ann) || !works(bob) {
		t.Error("a person whose session was revoked is served, or another is not")
	}
	tell(signal.SessionRevoked, m{"format": "email", "email": "stranger@example.com"}, m{})
	if !works(bob) {
		t.Error("what is told of nobody ends somebody")
	}
	tell(signal.DeviceCompliance, m{"format": "opaque", "id": "laptop-7"}, m{"current_status": "not-compliant"})
	found := func(rule string) int {
		t.Helper()
		list, err := r.d.Findings.List(t.Context(), finding.Filter{Rule: rule})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if !works(bob) || found("signal.may-not") != 1 || found("signal.device") != 1 {
		t.Errorf("a source that may not end agents: works %t, findings %d and %d", works(bob), found("signal.may-not"), found("signal.device"))
	}
	tell(signal.DeviceCompliance, m{"format": "opaque", "id": "laptop-7"}, m{"current_status": "compliant"})
	if found("signal.device") != 0 {
		t.Error("a device that is compliant again is a finding still")
	}
	tell(signal.AccountDisabled, m{"format": "email", "email": "Bob@Example.com"}, m{"reason": "hijacking"})
	if b, _ := r.d.Admin.Current().View.User("bob"); b.State != registry.UserSuspended || works(bob) {
		t.Errorf("an account that was disabled is %s", b.State)
	}
	cat := r.token("bot", "up")
	body := `{"type":"revoke","data":{"kind":"agent","id":"bot"}}`
	now := time.Now()
	mac, err := webhook.Sign([]byte("0123456789abcdef"), "msg_1", now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {fmt.Sprint(now.Unix())}, "Webhook-Signature": {mac}}
	if status, said := post("edr", "application/json", strings.Replace(body, "bot", "cat", 1), h); status != http.StatusBadRequest || !strings.Contains(said, `"err":"authentication_failed"`) {
		t.Errorf("a changed webhook: %d %s", status, said)
	}
	if status, said := post("edr", "application/json", body, h); status != http.StatusAccepted || works(cat) {
		t.Errorf("a webhook that revokes the agent: %d %s, works %t", status, said, works(cat))
	}
	list, err := r.d.Effects.Receipts(t.Context(), 0, 10)
	if err != nil || len(list) != 3 || list[0].Actor != "signal:edr" || !strings.Contains(list[0].Cause, "msg_1") || list[2].Actor != "signal:idp" {
		t.Errorf("receipts: %+v, %v", list, err)
	}
	accepted, refused := 0, 0
	for _, l := range r.leaves(0) {
		if strings.Contains(l.raw, `"Signal"`) {
			accepted += strings.Count(l.raw, `"accept"`)
			refused += strings.Count(l.raw, `"refuse"`)
		}
	}
	if accepted != n+1 || refused != 1 {
		t.Errorf("evidence of %d signals: %d accepted, %d refused", n+2, accepted, refused)
	}
}
