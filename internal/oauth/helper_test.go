package oauth_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"rutile/internal/access"
	"rutile/internal/identity"
	"rutile/internal/oauth"
)

// memory is an identity.Store without persistence. What it must remember is
// tested with identity; here every session is a new one.
type memory struct {
	mu       sync.Mutex
	keys     []identity.SigningKey
	families map[string]identity.Family
	used     map[string]bool
	down     error
}

func (m *memory) LoadSigningKeys(context.Context) ([]identity.SigningKey, error) { return m.keys, nil }

func (m *memory) SaveSigningKey(_ context.Context, k identity.SigningKey) error {
	m.keys = append(m.keys, k)
	return nil
}

func (m *memory) JoinFamily(_ context.Context, f identity.Family, _ time.Duration) (identity.Family, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.families[f.ID] = f
	return f, nil
}

func (m *memory) UseAssertion(_ context.Context, issuer, jti string, _ time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	again := m.used[issuer+" "+jti]
	m.used[issuer+" "+jti] = true
	return !again, m.down
}

func (m *memory) LoadFamily(_ context.Context, id string) (identity.Family, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.families[id]
	return f, ok, nil
}

// open seals nothing: no secret is at stake here.
type open struct{}

func (open) Seal(_ context.Context, _ string, b []byte) ([]byte, error) { return bytes.Clone(b), nil }
func (open) Open(_ context.Context, _ string, b []byte) ([]byte, error) { return bytes.Clone(b), nil }

type agents map[string]json.RawMessage

func (a agents) AgentKeys(id string) ([]json.RawMessage, error) {
	if k, ok := a[id]; ok {
		return []json.RawMessage{k}, nil
	}
	return nil, access.Errorf(access.CodeNotFound, "no agent %s", id)
}

func (agents) Generation() uint64 { return 1 }

// known holds server ids; the value says whether the server is visible.
type known struct {
	base    string
	servers map[string]bool
}

func (k known) Known(uri string) bool {
	server, ok := identity.ParseResource(k.base, uri)
	return ok && (server == "" || k.servers[server])
}

// gateway is the agents' listener: the endpoints under test and, behind
// Verify, servers that answer with the agent's id.
type gateway struct {
	*identity.Authority
	t     *testing.T
	url   string
	store *memory
	key   ed25519.PrivateKey // of release-bot
	other ed25519.PrivateKey // of other-bot
	log   *bytes.Buffer
}

func newGateway(t *testing.T, cfg oauth.Config) *gateway {
	t.Helper()
	g := &gateway{t: t, store: &memory{families: map[string]identity.Family{}, used: map[string]bool{}}, log: &bytes.Buffer{}}
	registered := agents{}
	for id, key := range map[string]*ed25519.PrivateKey{"release-bot": &g.key, "other-bot": &g.other} {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		*key = private
		if registered[id], err = json.Marshal(jose.JSONWebKey{Key: public}); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	g.url = srv.URL
	servers := known{g.url, map[string]bool{"files": true, "secret": false}}
	var err error
	g.Authority, err = identity.New(t.Context(), identity.Config{Issuer: g.url}, g.store, open{}, registered, servers, nothing{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h, err := oauth.New(cfg, g.Authority, servers)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/oauth/", h)
	mux.Handle("/.well-known/", h)
	mux.HandleFunc("/mcp/", g.call)
	return g
}

// call answers as the proxy does: with a challenge, or with who called.
func (g *gateway) call(w http.ResponseWriter, r *http.Request) {
	resource := g.url + r.URL.Path
	bearer, err := identity.BearerToken(r.Header["Authorization"])
	if err == nil {
		var who access.Identity
		if who, err = g.Verify(r.Context(), bearer, resource); err == nil {
			io.WriteString(w, who.Actor.Agent)
			return
		}
	}
	status, challenge := identity.Challenge(err, identity.ResourceMetadataURL(resource), identity.Scope)
	w.Header().Set("WWW-Authenticate", challenge)
	w.WriteHeader(status)
}

// assertion is a good assertion of an agent.
func (g *gateway) assertion(agent string, key ed25519.PrivateKey) string {
	g.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		g.t.Fatal(err)
	}
	now := time.Now()
	s, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: agent, Subject: agent, Audience: jwt.Audience{g.TokenEndpoint()}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

// good is a token request that succeeds.
func (g *gateway) good() url.Values {
	g.t.Helper()
	return url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {identity.AssertionType},
		"client_assertion":      {g.assertion("release-bot", g.key)},
		"resource":              {g.url + "/mcp/files"},
		"scope":                 {"mcp"},
	}
}

// answer is what the token endpoint answers.
type answer struct {
	status int
	header http.Header
	body   []byte
	fields struct {
		Token       string `json:"access_token"`
		Type        string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		Scope       string `json:"scope"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
}

func (g *gateway) do(r *http.Request) answer {
	g.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		g.t.Fatal(err)
	}
	if len(a.body) > 0 && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(a.body, &a.fields); err != nil {
			g.t.Fatalf("%s: %v", a.body, err)
		}
	}
	return a
}

func (g *gateway) request(method, target, body string) *http.Request {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.url+target, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (g *gateway) post(body string) answer {
	g.t.Helper()
	return g.do(g.request(http.MethodPost, "/oauth/token", body))
}

var errDown = errors.New("disk on fire")

// nothing was ever revoked.
type nothing struct{}

func (nothing) Position() uint64            { return 0 }
func (nothing) Since(_, _, _ string) uint64 { return 0 }
