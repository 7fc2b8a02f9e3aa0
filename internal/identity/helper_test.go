package identity_test

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
	"rutile/internal/identity"
)

const (
	issuer   = "https://mcp.example.com"
	files    = issuer + "/mcp/files"
	releases = issuer + "/mcp/releases"
)

// memory is a Store in memory. Its contents outlive an Authority, as a
// database does.
type memory struct {
	mu       sync.Mutex
	keys     map[string]identity.SigningKey
	families map[string]identity.Family
	used     map[[2]string]time.Time
	down     error
	loads    atomic.Int64 // of families
}

func newMemory() *memory {
	return &memory{keys: map[string]identity.SigningKey{}, families: map[string]identity.Family{}, used: map[[2]string]time.Time{}}
}

func (m *memory) LoadSigningKeys(context.Context) ([]identity.SigningKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []identity.SigningKey
	for k := range maps.Values(m.keys) {
		keys = append(keys, k)
	}
	return keys, m.down
}

func (m *memory) SaveSigningKey(_ context.Context, k identity.SigningKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down == nil {
		m.keys[k.ID] = k
	}
	return m.down
}

func (m *memory) JoinFamily(_ context.Context, f identity.Family, idle time.Duration) (identity.Family, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return identity.Family{}, m.down
	}
	for id, o := range m.families {
		if o.Agent == f.Agent && o.Subject == f.Subject && o.Proof == f.Proof && o.Task == f.Task &&
			f.Last.Sub(o.Last) <= idle && f.Last.Before(o.Absolute) {
			o.Last = f.Last
			m.families[id] = o
			return o, nil
		}
	}
	m.families[f.ID] = f
	return f, nil
}

func (m *memory) UseAssertion(_ context.Context, issuer, jti string, expires time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return false, m.down
	}
	k := [2]string{issuer, jti}
	if _, again := m.used[k]; again {
		return false, nil
	}
	m.used[k] = expires
	return true, nil
}

func (m *memory) LoadFamily(_ context.Context, id string) (identity.Family, bool, error) {
	m.loads.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.families[id]
	return f, ok && m.down == nil, m.down
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

func (m *memory) change(id string, edit func(*identity.Family)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.families[id]
	edit(&f)
	m.families[id] = f
}

// gcm is a Sealer with a key of its own.
type gcm struct{ aead cipher.AEAD }

func newSealer(t testing.TB) gcm {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm{aead}
}

func (s gcm) Seal(_ context.Context, purpose string, plaintext []byte) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize())
	rand.Read(nonce)
	return s.aead.Seal(nonce, nonce, plaintext, []byte(purpose)), nil
}

func (s gcm) Open(_ context.Context, purpose string, sealed []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("too short")
	}
	return s.aead.Open(nil, sealed[:n], sealed[n:], []byte(purpose))
}

// revoked is what was revoked.
type revoked struct {
	position atomic.Uint64
	last     sync.Map // "kind id" to a position
}

func (r *revoked) Position() uint64 { return r.position.Load() }

func (r *revoked) Since(agent, subject, session string) uint64 {
	var n uint64
	for _, key := range []string{"agent " + agent, "user " + subject, "session " + session} {
		if p, ok := r.last.Load(key); ok {
			n = max(n, p.(uint64))
		}
	}
	return n
}

// revoke revokes what key names.
func (r *revoked) revoke(key string) { r.last.Store(key, r.position.Add(1)) }

// agents is a registry of agents.
type agents struct {
	mu      sync.Mutex
	keys    map[string][]json.RawMessage
	refused map[string]error
	gen     atomic.Uint64
}

func (a *agents) AgentKeys(id string) ([]json.RawMessage, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys, ok := a.keys[id]
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "no agent %s", id)
	}
	return keys, a.refused[id]
}

func (a *agents) Generation() uint64 { return a.gen.Load() }

func (a *agents) set(id string, keys ...any) {
	var raw []json.RawMessage
	for _, k := range keys {
		raw = append(raw, publicJWK(k, ""))
	}
	a.mu.Lock()
	a.keys[id] = raw
	a.mu.Unlock()
	a.gen.Add(1)
}

func (a *agents) refuse(id string, why error) {
	a.mu.Lock()
	a.refused[id] = why
	a.mu.Unlock()
	a.gen.Add(1)
}

type known map[string]bool

func (k known) Known(uri string) bool { return k[uri] }

// clock is set by hand.
type clock struct{ unix atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(c.unix.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.unix.Add(int64(d / time.Second)) }

// world is an Authority with everything around it.
type world struct {
	*identity.Authority
	t       testing.TB
	cfg     identity.Config
	store   *memory
	sealer  gcm
	agents  *agents
	revoked revoked
	clock   *clock
	key     ed25519.PrivateKey // of release-bot
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, store: newMemory(), sealer: newSealer(t), clock: &clock{}, key: newEd25519(t)}
	w.agents = &agents{keys: map[string][]json.RawMessage{}, refused: map[string]error{}}
	w.clock.unix.Store(1_800_000_000)
	w.cfg = identity.Config{Issuer: issuer, Now: w.clock.now}
	w.agents.set("release-bot", w.key)
	w.agents.set("other-bot", newEd25519(t))
	w.restart()
	return w
}

// restart makes a new Authority over the same store.
func (w *world) restart() {
	w.t.Helper()
	a, err := identity.New(w.t.Context(), w.cfg, w.store, w.sealer, w.agents, known{files: true, releases: true, issuer + "/mcp": true}, &w.revoked)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Authority = a
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// object is a JSON object whose members a test sets and removes.
type object = map[string]any

// with returns a copy of o with changes; a nil value removes the member.
func with(o, changes object) object {
	o = maps.Clone(o)
	for k, v := range changes {
		if v == nil {
			delete(o, k)
		} else {
			o[k] = v
		}
	}
	return o
}

// assertion returns the claims of a good assertion of release-bot.
func (w *world) assertion() object {
	now := w.clock.now().Unix()
	return object{"iss": "release-bot", "sub": "release-bot", "aud": issuer + "/oauth/token", "iat": now, "exp": now + 60, "jti": rand.Text()}
}

// authenticate signs claims with key and presents them.
func (w *world) authenticate(claims object, key any) (identity.Client, error) {
	return w.present(compact(w.t, object{"alg": algorithm(key), "typ": "JWT"}, claims, key))
}

// It also runs inside fuzz targets, where the outer test has no context.
func (w *world) present(jwt string) (identity.Client, error) {
	return w.Authenticate(context.Background(), identity.Assertion{Type: identity.AssertionType, JWT: jwt})
}

// token returns a token of release-bot for files.
func (w *world) token() identity.Token {
	w.t.Helper()
	return w.tokenFor(files)
}

func (w *world) tokenFor(resource string) identity.Token {
	w.t.Helper()
	c, err := w.authenticate(w.assertion(), w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	tok, err := w.ClientCredentials(w.t.Context(), c, resource, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

// signer returns the private key that signs access tokens now and its id, read
// from the store the way an attacker cannot: with the sealer.
func (w *world) signer() (ed25519.PrivateKey, string) {
	w.t.Helper()
	stored, err := w.store.LoadSigningKeys(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	kid := header(w.t, w.token().Value)["kid"]
	for _, s := range stored {
		if s.ID != kid {
			continue
		}
		plain, err := w.sealer.Open(w.t.Context(), "token-key", s.Sealed)
		if err != nil {
			w.t.Fatal(err)
		}
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(plain); err != nil {
			w.t.Fatal(err)
		}
		return jwk.Key.(ed25519.PrivateKey), s.ID
	}
	w.t.Fatalf("no stored key %v", kid)
	return nil, ""
}

func header(t testing.TB, token string) object { return segment(t, token, 0) }
func payload(t testing.TB, token string) object {
	return segment(t, token, 1)
}

func segment(t testing.TB, token string, n int) object {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(split(token)[n])
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// compact signs by hand, so that a test can write what no library would. A
// header or claims of type string are used as they are.
func compact(t testing.TB, header, claims, key any) string {
	t.Helper()
	input := encode(t, header) + "." + encode(t, claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(signature(t, key, algOf(header), []byte(input)))
}

func algOf(header any) string {
	if o, ok := header.(object); ok {
		alg, _ := o["alg"].(string)
		return alg
	}
	return ""
}

func encode(t testing.TB, v any) string {
	t.Helper()
	if s, ok := v.(string); ok {
		return base64.RawURLEncoding.EncodeToString([]byte(s))
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func signature(t testing.TB, key any, alg string, input []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(input)
	switch k := key.(type) {
	case nil:
		return []byte{}
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write(input)
		return mac.Sum(nil)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, input)
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		n := (k.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = crypto.SHA256
		if alg == "PS256" {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		}
		b, err := k.Sign(rand.Reader, sum[:], opts)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Fatalf("cannot sign with %T", key)
	return nil
}

func algorithm(key any) string {
	switch key.(type) {
	case *ecdsa.PrivateKey:
		return "ES256"
	case *rsa.PrivateKey:
		return "RS256"
	}
	return "EdDSA"
}

func publicJWK(key any, kid string) json.RawMessage {
	if s, ok := key.(crypto.Signer); ok {
		key = s.Public()
	}
	b, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid})
	if err != nil {
		panic(err)
	}
	return b
}

func newEC(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0") // to make the weak key that must be refused
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// problem returns the problem of a refused token, "" if err is something else.
func problem(err error) identity.Problem {
	var b *identity.BearerError
	if errors.As(err, &b) {
		return b.Problem
	}
	return ""
}

// code returns the code of a refused token request, "" if err is something else.
func code(err error) identity.ErrorCode {
	var e *identity.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
