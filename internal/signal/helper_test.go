package signal_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"rutile/internal/signal"
	"rutile/internal/webhook"
)

// transmitter is a source that tells what a test wants.
type transmitter struct {
	*httptest.Server
	t   *testing.T
	key *ecdsa.PrivateKey
	mux *http.ServeMux

	mu    sync.Mutex
	asked int // for its keys

	publish *jose.JSONWebKey // in place of its key
}

func newTransmitter(t *testing.T) *transmitter {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &transmitter{t: t, key: key, mux: http.NewServeMux()}
	x.mux.HandleFunc("GET /.well-known/ssf-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": x.URL, "jwks_uri": x.URL + "/jwks"})
	})
	x.mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.asked++
		if x.publish != nil {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{*x.publish}})
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: x.key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	x.Server = httptest.NewServer(x.mux)
	t.Cleanup(x.Close)
	return x
}

// claims are honest ones with changes; nil removes one.
func (x *transmitter) claims(changes map[string]any) map[string]any {
	c := map[string]any{"iss": x.URL, "aud": "https://gw/signals", "jti": "j1", "iat": time.Now().Unix(), "sub_id": map[string]any{"format": "iss_sub", "iss": "https://idp", "sub": "4711"},
		"events": map[string]any{signal.TypeOf(signal.SessionRevoked): map[string]any{"event_timestamp": 1}}}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (x *transmitter) set(typ string, changes map[string]any) string {
	return sign(x.t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: x.key, KeyID: "k"}}, typ, x.claims(changes))
}

func sign(t *testing.T, with jose.SigningKey, typ string, claims any) string {
	t.Helper()
	opts := &jose.SignerOptions{}
	if typ != "" {
		opts = opts.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(with, opts)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (x *transmitter) source() signal.Source {
	return signal.Source{ID: "idp", Form: signal.FormSSF, Issuer: x.URL, Audience: "https://gw/signals", Events: signal.Events(), May: signal.Mays(), State: signal.Active}
}

// inbox is one in memory.
type inbox struct {
	mu   sync.Mutex
	kept map[string]*signal.Told
	down bool
}

var errDown = errors.New("the store is down")

func (b *inbox) TakeSignal(_ context.Context, t signal.Told) (signal.Told, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return signal.Told{}, false, errDown
	}
	if have := b.kept[t.Source+" "+t.ID]; have != nil {
		return *have, false, nil
	}
	b.kept[t.Source+" "+t.ID] = &t
	return t, true, nil
}

func (b *inbox) SignalDone(_ context.Context, source, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept[source+" "+id].Done = true
	return nil
}

func (b *inbox) SignalsWaiting(_ context.Context, source string, limit int) ([]signal.Told, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []signal.Told
	for _, t := range b.kept {
		if !t.Done && t.Source == source && len(out) < limit {
			out = append(out, signal.Told{Source: t.Source, Doc: t.Doc, At: t.At})
		}
	}
	return out, nil
}

func (b *inbox) SignalsKept(context.Context) (map[string]signal.Kept, error) {
	return map[string]signal.Kept{}, nil
}

// acts notes what it is told.
type acts struct {
	mu      sync.Mutex
	did     []string // type and jti
	refused []string
	fails   bool
	told    chan struct{}
}

func (a *acts) Act(_ context.Context, _ *signal.Source, e *signal.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fails {
		return errDown
	}
	a.did = append(a.did, e.Type+" "+e.ID)
	select {
	case a.told <- struct{}{}:
	default:
	}
	return nil
}

func (a *acts) Refuse(_ context.Context, _ *signal.Source, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = append(a.refused, why)
}
func (a *acts) Trouble(context.Context, *signal.Source, string) {}

// one is the only secret.
type one string

func (s one) Use(_ context.Context, _, _ string, use func([]byte) error) error { return use([]byte(s)) }
func (s one) Compare(_ context.Context, _, _ string, is func([]byte) bool) error {
	is([]byte(s))
	return nil
}

// receiver is one over sources, with what it keeps and does.
func receiver(t *testing.T, box *inbox, sources ...signal.Source) (*signal.Receiver, *acts) {
	t.Helper()
	a := &acts{told: make(chan struct{}, 100)}
	r, err := signal.New(config(box, a, sources...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, a
}

func config(box *inbox, a *acts, sources ...signal.Source) signal.Config {
	of := map[string]signal.Source{}
	for _, s := range sources {
		of[s.ID] = s
	}
	return signal.Config{Sources: func() map[string]signal.Source { return of }, Inbox: box, Keys: signal.NewFetched(http.DefaultTransport, time.Now), Secrets: one("0123456789abcdef"), Origin: "https://gw",
		Transport: http.DefaultTransport, Actor: a, Hook: webhook.Verify, Log: slog.New(slog.DiscardHandler), Now: time.Now}
}

func newInbox() *inbox { return &inbox{kept: map[string]*signal.Told{}} }
