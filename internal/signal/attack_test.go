package signal_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/signal"
	"rutile/internal/webhook"
)

// TestNoSourceSpeaksForAnother: a token of one is none of another, whatever its header and
// its claims say, and what one told under an id takes none from another.
func TestNoSourceSpeaksForAnother(t *testing.T) {
	a, b := newTransmitter(t), newTransmitter(t) // both call their key k
	one, other := a.source(), b.source()
	one.ID, other.ID = "a", "b"
	box := newInbox()
	r, did := receiver(t, box, one, other)
	push := func(source, raw string) error {
		return r.Push(t.Context(), source, http.Header{"Content-Type": {"application/secevent+jwt"}}, []byte(raw))
	}
	der, err := x509.MarshalPKIXPublicKey(a.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for name, c := range map[string]struct{ source, raw, code string }{
		"sent to another":                  {"b", a.set("secevent+jwt", nil), signal.ErrKey},
		"sent to another in its name":      {"b", a.set("secevent+jwt", map[string]any{"iss": b.URL}), signal.ErrKey},
		"in the name of another":           {"a", a.set("secevent+jwt", map[string]any{"iss": b.URL}), signal.ErrIssuer},
		"by the key of another, in a name": {"a", b.set("secevent+jwt", map[string]any{"iss": a.URL}), signal.ErrKey},
		"the public key as a secret":       {"a", sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: public}, "secevent+jwt", a.claims(nil)), signal.ErrRequest},
	} {
		if err := push(c.source, c.raw); codeOf(err) != c.code {
			t.Errorf("%s: %v, not %s", name, err, c.code)
		}
	}
	for _, x := range []struct {
		source string
		from   *transmitter
	}{{"a", a}, {"b", b}} { // the same jti of two is two
		if err := push(x.source, x.from.set("secevent+jwt", nil)); err != nil {
			t.Fatal(err)
		}
	}
	if len(did.did) != 2 {
		t.Errorf("done: %v", did.did)
	}
	node, again := receiver(t, box, one, other) // another node, and after a restart
	if err := node.Push(t.Context(), "a", http.Header{"Content-Type": {"application/secevent+jwt"}}, []byte(a.set("secevent+jwt", nil))); err != nil || len(again.did) != 0 {
		t.Errorf("what was done is done again by another node: %v, %v", again.did, err)
	}
}

// TestAnAddressThatLooksTheSameIsAnother: letters that only become those of ASCII in lower
// case, and words that a | would move into each other.
func TestAnAddressThatLooksTheSameIsAnother(t *testing.T) {
	email := func(a string) string {
		s := signal.Subject{Format: "email", Words: map[string]string{"email": a}}
		return strings.Join(s.Keys(), " ")
	}
	if got := email("Kim@Example.COM"); got != "email:kim@example.com" {
		t.Errorf("in another case: %q", got)
	}
	if email("Änn@example.com") != email("änn@example.com") {
		t.Error("letters that are not of ASCII in another case are another address")
	}
	for _, a := range []string{"\u212aim@example.com", "K\u0130m@example.com", "ｋim@example.com", "kim@example.com."} {
		if got := email(a); got == "email:kim@example.com" {
			t.Errorf("%+q is kim", a)
		}
	}
	moved := signal.Subject{Format: "iss_sub", Words: map[string]string{"iss": "https://idp|saml", "sub": "7"}}
	meant := signal.Subject{Format: "iss_sub", Words: map[string]string{"iss": "https://idp", "sub": "saml|7"}}
	if !slices.Equal(meant.Keys(), []string{"iss_sub:https://idp|saml|7"}) || slices.Equal(moved.Keys(), meant.Keys()) {
		t.Errorf("two subjects are one: %v and %v", moved.Keys(), meant.Keys())
	}
}

// TestAFloodWhileASourceIsAwayAsksItOnce: also where whoever floods goes away at once, and
// where the source publishes nothing.
func TestAFloodWhileASourceIsAwayAsksItOnce(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
		refuse bool
	}{"an outage": {http.StatusServiceUnavailable, "", false}, "no keys": {http.StatusOK, `{"keys":[]}`, true}, "nonsense": {http.StatusOK, `[`, false}} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			var now atomic.Int64
			now.Store(time.Now().Unix())
			good := atomic.Bool{}
			x := newTransmitter(t)
			keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				if good.Load() {
					_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: x.key.Public(), KeyID: "k"}}})
					return
				}
				w.WriteHeader(answer.status)
				_, _ = w.Write([]byte(answer.body))
			}))
			t.Cleanup(keys.Close)
			f := signal.NewFetched(http.DefaultTransport, func() time.Time { return time.Unix(now.Load(), 0) })
			s := x.source()
			s.JWKS = keys.URL
			raw := []byte(x.set("secevent+jwt", nil))
			var all sync.WaitGroup
			for i := range 50 {
				all.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if i%2 == 1 {
						cancel() // gone before it is answered
					}
					if _, err := signal.ReadSET(ctx, &s, f, raw, time.Now()); err == nil || ctx.Err() == nil && (codeOf(err) == signal.ErrKey) != answer.refuse {
						t.Errorf("it is answered with %v", err)
					}
				})
			}
			all.Wait()
			if n := asked.Load(); n != 1 {
				t.Errorf("a flood of 50 asked %d times", n)
			}
			good.Store(true)
			now.Add(31)
			if _, err := signal.ReadSET(t.Context(), &s, f, raw, time.Now()); err != nil {
				t.Errorf("when it is back: %v", err)
			}
		})
	}
}

// TestKeysAreNotFetchedElsewhere: a source that sends on to an address of somebody else's
// is not followed, nor does its metadata speak for another.
func TestKeysAreNotFetchedElsewhere(t *testing.T) {
	reached := atomic.Bool{}
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	t.Cleanup(inner.Close)
	mux := http.NewServeMux()
	mux.Handle("/keys", http.RedirectHandler(inner.URL+"/latest/meta-data/", http.StatusTemporaryRedirect))
	mux.Handle("/poll", http.RedirectHandler(inner.URL+"/latest/meta-data/", http.StatusTemporaryRedirect))
	mux.HandleFunc("/.well-known/ssf-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": "https://somebody.example", "jwks_uri": inner.URL})
	})
	x := httptest.NewServer(mux)
	t.Cleanup(x.Close)
	f := signal.NewFetched(http.DefaultTransport, time.Now)
	for _, jwks := range []string{x.URL + "/keys", ""} {
		if list, err := f.Keys(t.Context(), &signal.Source{Issuer: x.URL, JWKS: jwks}, true); err == nil {
			t.Errorf("keys by %q: %v", jwks, list)
		}
	}
	r, _ := receiver(t, newInbox(), signal.Source{ID: "idp", Form: signal.FormSSF, Issuer: x.URL, Audience: "a", Poll: x.URL + "/poll", Secret: "s", State: signal.Active})
	for r.Why("idp") == "" && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if why := r.Why("idp"); !strings.Contains(why, "307") || reached.Load() {
		t.Errorf("polling: %q, followed %t", why, reached.Load())
	}
}

// lies is a transport that answers every poll the same, in a bubble of synctest.
type lies struct {
	answer func() string
	asked  atomic.Int64
}

func (l *lies) RoundTrip(*http.Request) (*http.Response, error) {
	l.asked.Add(1)
	w := httptest.NewRecorder()
	_, _ = w.WriteString(l.answer())
	return w.Result(), nil
}

// fixed are keys that are known.
type fixed []jose.JSONWebKey

func (k fixed) Keys(context.Context, *signal.Source, bool) ([]jose.JSONWebKey, error) { return k, nil }

// TestASourceThatLiesIsNotAskedWithoutEnd: one that says it has more for ever, tells the
// same or what does not count again and again, or more than is asked for.
func TestASourceThatLiesIsNotAskedWithoutEnd(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, sets := range map[string]func(x *transmitter) map[string]string{
		"more, for ever": func(*transmitter) map[string]string { return map[string]string{} },
		"the same again": func(x *transmitter) map[string]string {
			return map[string]string{"j1": x.set("secevent+jwt", nil)}
		},
		"what does not count": func(*transmitter) map[string]string { return map[string]string{"j": "no token"} },
		"by another name":     func(x *transmitter) map[string]string { return map[string]string{"j2": x.set("secevent+jwt", nil)} },
		"very many": func(*transmitter) map[string]string {
			m := map[string]string{}
			for i := range 20000 {
				m[fmt.Sprint(i)] = "x"
			}
			return m
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &transmitter{t: t, key: key, Server: &httptest.Server{URL: "https://idp"}}
				l := &lies{answer: func() string {
					b, err := json.Marshal(map[string]any{"sets": sets(x), "moreAvailable": true})
					if err != nil {
						t.Error(err)
					}
					return string(b)
				}}
				s := x.source()
				s.Poll = "https://idp/poll"
				cfg := config(newInbox(), &acts{}, s)
				cfg.Keys, cfg.Transport = fixed{{Key: key.Public(), KeyID: "k"}}, l
				r, err := signal.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				r.Close()
				if n := l.asked.Load(); n < 2 || n > 20 {
					t.Errorf("it is asked %d times in a minute", n)
				}
			})
		})
	}
}

// TestWhatCannotBeKeptStopsNothing: an event with bytes that are no text is refused, and
// not told to come again for ever.
func TestWhatCannotBeKeptStopsNothing(t *testing.T) {
	x := newTransmitter(t)
	r, a := receiver(t, newInbox(), x.source())
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: x.key, KeyID: "k"}}, (&jose.SignerOptions{}).WithType("secevent+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(x.claims(map[string]any{"events": map[string]any{signal.TypeOf(signal.SessionRevoked): map[string]any{"reason": "HERE"}}}))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(strings.Replace(string(claims), "HERE", "\xff\xfe", 1)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if err := push(r, t, raw); codeOf(err) != signal.ErrRequest || len(a.did) != 0 {
		t.Errorf("%v, done %v", err, a.did)
	}
}

// TestOneSourceDelaysNoOther: however much waits of a source whose signals cannot be acted
// on, that is retired or that is no source, what another told is done.
func TestOneSourceDelaysNoOther(t *testing.T) {
	x := newTransmitter(t)
	box := newInbox()
	retired := x.source()
	retired.ID, retired.State = "old", signal.Retired
	r, a := receiver(t, box, x.source(), retired)
	for i := range 300 {
		for _, source := range []string{"old", "gone"} {
			if _, _, err := box.TakeSignal(t.Context(), signal.Told{Source: source, ID: fmt.Sprint(i), Doc: []byte(`[{"jti":"x","type":"session-revoked"}]`)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, _, err := box.TakeSignal(t.Context(), signal.Told{Source: "idp", ID: "j", Doc: []byte(`[{"jti":"j","type":"session-revoked"}]`), At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := r.Again(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(slices.Compact(a.did), []string{"session-revoked j"}) {
		t.Errorf("done: %v", a.did)
	}
}

// TestAWebhookIsOneThatIsDone: an id that is no text would never be marked as done, so it
// is none; and nothing follows what a webhook says.
func TestAWebhookIsOneThatIsDone(t *testing.T) {
	box := newInbox()
	r, a := receiver(t, box, signal.Source{ID: "idp", Form: signal.FormWebhook, Secret: "edr", May: signal.Mays(), State: signal.Active})
	now := time.Now()
	send := func(id, body string, more http.Header) error {
		mac, err := webhook.Sign([]byte("0123456789abcdef"), id, now, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{"Content-Type": {"application/json"}, "Webhook-Id": {id}, "Webhook-Timestamp": {fmt.Sprint(now.Unix())}, "Webhook-Signature": {mac}}
		for k, v := range more {
			h[k] = append(h[k], v...)
		}
		return r.Push(t.Context(), "idp", h, []byte(body))
	}
	const good = `{"type":"revoke","data":{"kind":"agent","id":"bot"}}`
	for name, err := range map[string]error{
		"an id that is no text": send("m\xff", good, nil),
		"an id that hides":      send("m\u202e", good, nil),
		"a brace after it":      send("m1", good+"}", nil),
		"a bracket after it":    send("m1", good+"] more", nil),
		"too large":             send("m1", good+strings.Repeat(" ", signal.MaxSET), nil),
		"two times":             send("m1", good, http.Header{"Webhook-Timestamp": {fmt.Sprint(now.Unix())}}),
		"two signatures":        send("m1", good, http.Header{"Webhook-Signature": {"v1,AAAA"}}),
	} {
		if codeOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := send("m1", good, nil); err != nil {
		t.Fatal(err)
	}
	other, b := receiver(t, box, signal.Source{ID: "idp", Form: signal.FormWebhook, Secret: "edr", May: signal.Mays(), State: signal.Active})
	r = other // another node, or after a restart
	if err := errors.Join(send("m1", good, nil), send("m1", strings.Replace(good, "bot", "cat", 1), nil), other.Again(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	if len(a.did) != 1 || len(b.did) != 0 {
		t.Errorf("done %v, and of what was sent again %v", a.did, b.did)
	}
}
