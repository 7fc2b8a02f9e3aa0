package signal_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"rutile/internal/signal"
)

func push(r *signal.Receiver, t *testing.T, body string) error {
	t.Helper()
	return r.Push(t.Context(), "idp", http.Header{"Content-Type": {"application/secevent+jwt"}}, []byte(body))
}

func codeOf(err error) string {
	if no := (*signal.Refused)(nil); errors.As(err, &no) {
		return no.Code
	}
	return ""
}

// TestASecurityEventTokenIsHeldToItsSpecification: whatever is not so is refused with the
// code of RFC 8935, and nothing is done.
func TestASecurityEventTokenIsHeldToItsSpecification(t *testing.T) {
	x := newTransmitter(t)
	r, a := receiver(t, newInbox(), x.source())
	now := time.Now()
	event := signal.TypeOf(signal.SessionRevoked)
	for name, c := range map[string]struct {
		changes map[string]any
		code    string
	}{
		"another issuer":             {map[string]any{"iss": "https://evil.example"}, signal.ErrIssuer},
		"no issuer":                  {map[string]any{"iss": nil}, signal.ErrIssuer},
		"another audience":           {map[string]any{"aud": "https://gw/signals2"}, signal.ErrAudience},
		"no audience":                {map[string]any{"aud": nil}, signal.ErrAudience},
		"no id":                      {map[string]any{"jti": nil}, signal.ErrRequest},
		"a long id":                  {map[string]any{"jti": strings.Repeat("x", 300)}, signal.ErrRequest},
		"no time":                    {map[string]any{"iat": nil}, signal.ErrRequest},
		"of tomorrow":                {map[string]any{"iat": now.Add(time.Hour).Unix()}, signal.ErrRequest},
		"of last month":              {map[string]any{"iat": now.Add(-31 * 24 * time.Hour).Unix()}, signal.ErrRequest},
		"a time that is none":        {map[string]any{"iat": "yesterday"}, signal.ErrRequest},
		"a time beyond all":          {map[string]any{"iat": 1e300}, signal.ErrRequest},
		"an end, so another token":   {map[string]any{"exp": now.Add(time.Hour).Unix()}, signal.ErrRequest},
		"a sub, so another token":    {map[string]any{"sub": "4711"}, signal.ErrRequest},
		"no events":                  {map[string]any{"events": nil}, signal.ErrRequest},
		"events that are a list":     {map[string]any{"events": []string{event}}, signal.ErrRequest},
		"an event that is text":      {map[string]any{"events": map[string]any{event: "x"}}, signal.ErrRequest},
		"no subject":                 {map[string]any{"sub_id": nil}, signal.ErrRequest},
		"a subject of no format":     {map[string]any{"sub_id": map[string]any{"format": "shoe_size", "id": "1"}}, signal.ErrRequest},
		"a subject without its word": {map[string]any{"sub_id": map[string]any{"format": "iss_sub", "iss": "https://idp"}}, signal.ErrRequest},
		"a hidden subject":           {map[string]any{"sub_id": map[string]any{"format": "opaque", "id": "a\u202eb"}}, signal.ErrRequest},
		"aliases of aliases":         {map[string]any{"sub_id": map[string]any{"format": "aliases", "identifiers": []any{map[string]any{"format": "aliases", "identifiers": []any{}}}}}, signal.ErrRequest},
	} {
		if err := push(r, t, x.set("secevent+jwt", c.changes)); codeOf(err) != c.code {
			t.Errorf("%s: %v, not %s", name, err, c.code)
		}
	}
	honest := x.set("secevent+jwt", nil)
	parts := strings.Split(honest, ".")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := jose.JSONWebKey{Key: other, KeyID: "k"}
	embedded, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: other}, (&jose.SignerOptions{EmbedJWK: true}).WithType("secevent+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := embedded.Sign([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	withKey, err := jwk.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ raw, code string }{
		"nothing":             {"", signal.ErrRequest},
		"no token":            {"a.b.c", signal.ErrRequest},
		"no type":             {x.set("", nil), signal.ErrRequest},
		"an access token":     {x.set("at+jwt", nil), signal.ErrRequest},
		"a logout token":      {x.set("logout+jwt", nil), signal.ErrRequest},
		"no algorithm":        {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"secevent+jwt"}`)) + "." + parts[1] + ".", signal.ErrRequest},
		"a shared secret":     {sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: []byte("0123456789abcdef0123456789abcdef")}, "secevent+jwt", x.claims(nil)), signal.ErrRequest},
		"another key":         {sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: own}, "secevent+jwt", x.claims(nil)), signal.ErrKey},
		"its own key with it": {withKey, signal.ErrKey},
		"a changed body":      {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+x.URL+`"}`)) + "." + parts[2], signal.ErrKey},
	} {
		if err := push(r, t, c.raw); codeOf(err) != c.code {
			t.Errorf("%s: %v, not %s", name, err, c.code)
		}
	}
	if err := r.Push(t.Context(), "idp", http.Header{"Content-Type": {"application/json"}}, []byte(honest)); codeOf(err) != signal.ErrRequest {
		t.Errorf("another content type: %v", err)
	}
	if err := r.Push(t.Context(), "nobody", http.Header{"Content-Type": {"application/secevent+jwt"}}, []byte(honest)); codeOf(err) != signal.ErrAccess {
		t.Errorf("another source: %v", err)
	}
	if len(a.did) > 0 || len(a.refused) < 25 {
		t.Errorf("done %v, refused %d", a.did, len(a.refused))
	}
	for range 3 { // what is sent again is taken, and done once
		if err := push(r, t, honest); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"session-revoked j1"}, a.did); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.asked > 2 {
		t.Errorf("its keys were asked for %d times: a flood of unknown keys is one of questions", x.asked)
	}
}

// TestASignalIsKeptBeforeItIsTaken: where it cannot be kept the source is to send it
// again; where it cannot be acted on it is, later.
func TestASignalIsKeptBeforeItIsTaken(t *testing.T) {
	x := newTransmitter(t)
	box := newInbox()
	r, a := receiver(t, box, x.source())
	box.down = true
	if err := push(r, t, x.set("secevent+jwt", nil)); !errors.Is(err, errDown) {
		t.Errorf("while nothing can be kept: %v", err)
	}
	box.down, a.fails = false, true
	if err := push(r, t, x.set("secevent+jwt", nil)); err != nil || len(a.did) > 0 {
		t.Errorf("while nothing can be done: %v, %v", err, a.did)
	}
	r.Close()
	again, b := receiver(t, box, x.source()) // another process
	if err := again.Again(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := again.Again(t.Context(), 0); err != nil || !slices.Equal(b.did, []string{"session-revoked j1"}) {
		t.Errorf("after a restart: %v, %v", b.did, err)
	}
}

// TestASourceThatPushesHasItsToken: where its manifest names one.
func TestASourceThatPushesHasItsToken(t *testing.T) {
	x := newTransmitter(t)
	s := x.source()
	s.Secret = "idp-token"
	r, a := receiver(t, newInbox(), s)
	for _, h := range []string{"", "Bearer x", "0123456789abcdef", "bearer 0123456789abcdef"} {
		if err := r.Push(t.Context(), "idp", http.Header{"Content-Type": {"application/secevent+jwt"}, "Authorization": {h}}, []byte(x.set("secevent+jwt", nil))); codeOf(err) != signal.ErrAuth {
			t.Errorf("%q: %v", h, err)
		}
	}
	if err := r.Push(t.Context(), "idp", http.Header{"Content-Type": {"application/secevent+jwt"}, "Authorization": {"Bearer 0123456789abcdef"}}, []byte(x.set("secevent+jwt", nil))); err != nil || len(a.did) != 1 {
		t.Errorf("with it: %v, %v", err, a.did)
	}
}

// TestEventsMeanWhatIsDocumented holds the table of docs/signals.md.
func TestEventsMeanWhatIsDocumented(t *testing.T) {
	for _, c := range []struct{ event, data, does, rule string }{
		{signal.SessionRevoked, `{}`, signal.Revoke, ""},
		{signal.CredentialChange, `{"change_type":"revoke"}`, signal.Revoke, ""},
		{signal.CredentialChange, `{"change_type":"delete"}`, signal.Revoke, ""},
		{signal.CredentialChange, `{"change_type":"create"}`, signal.Note, ""},
		{signal.CredentialChange, `{"change_type":7}`, signal.Revoke, ""}, // what is not said is the worse
		{signal.ClaimsChange, `{}`, signal.Revoke, ""},
		{signal.AssuranceChange, `{"change_direction":"increase"}`, signal.Note, ""},
		{signal.AssuranceChange, `{"change_direction":"decrease"}`, signal.Revoke, ""},
		{signal.DeviceCompliance, `{"current_status":"not-compliant"}`, signal.Revoke, "signal.device"},
		{signal.DeviceCompliance, `{"current_status":"compliant"}`, signal.Clear, "signal.device"},
		{signal.RiskChange, `{"current_level":"HIGH"}`, signal.Revoke, "signal.risk"},
		{signal.RiskChange, `{"current_level":"MEDIUM"}`, signal.Raise, "signal.risk"},
		{signal.RiskChange, `{"current_level":"LOW"}`, signal.Clear, "signal.risk"},
		{signal.RiskChange, `{}`, signal.Revoke, "signal.risk"},
		{signal.AccountDisabled, `{}`, signal.Suspend, ""},
		{signal.AccountPurged, `{}`, signal.Suspend, ""},
		{signal.AccountEnabled, `{}`, signal.Raise, "signal.account"},
		{signal.SessionsRevoked, `{}`, signal.Revoke, ""},
		{signal.ChangeRequired, `{}`, signal.Revoke, ""},
		{signal.Compromised, `{}`, signal.Revoke, "signal.credential"},
		{signal.IdentifierChanged, `{}`, signal.Raise, "signal.identifier"},
		{signal.RecoveryActivated, `{}`, signal.Raise, "signal.recovery"},
		{signal.Verification, `{}`, signal.Note, ""},
		{"", `{}`, signal.Note, ""},
	} {
		if m := signal.MeaningOf(&signal.Event{Type: c.event, Data: []byte(c.data)}); m.Does != c.does || m.Rule != c.rule {
			t.Errorf("%s %s: %+v", c.event, c.data, m)
		}
	}
}
