package oauthclient_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient"
	"rutile/internal/credential/oauthclient/astest"
)

// memory keeps everything links and the vault keep, as package store does.
type memory struct {
	mu      sync.Mutex
	secrets map[string]credential.Secret
	version int
	ring    []byte
	links   map[string]credential.Link
	flows   map[string]credential.Flow
	clients map[string]credential.Registration
	putErr  func(l credential.Link) error
	deleted func() // after a link was; nil: nothing
}

func (m *memory) LoadSecrets(context.Context) ([]credential.Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []credential.Secret
	for _, s := range m.secrets {
		out = append(out, s)
	}
	return out, nil
}

func (m *memory) PutSecret(_ context.Context, s credential.Secret) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.secrets[s.ID] = s
	return nil
}

func (m *memory) DeleteSecret(_ context.Context, id string) (bool, error) { return false, nil }

func (m *memory) LoadRing(context.Context) (int, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version, m.ring, nil
}

func (m *memory) PutRing(_ context.Context, version int, sealed []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version, m.ring = version, sealed
	return nil
}

func (m *memory) Links(context.Context) ([]credential.Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []credential.Link
	for _, l := range m.links {
		out = append(out, l)
	}
	return out, nil
}

func (m *memory) Link(_ context.Context, id string) (credential.Link, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.links[id]
	return l, ok, nil
}

func (m *memory) PutLink(_ context.Context, l credential.Link) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.putErr != nil {
		if err := m.putErr(l); err != nil {
			return err
		}
	}
	if m.links[l.ID].Rev != l.Rev-1 {
		return access.Errorf(access.CodeConflict, "changed")
	}
	m.links[l.ID] = l
	return nil
}

func (m *memory) DeleteLink(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.links[id]
	delete(m.links, id)
	if m.deleted != nil {
		m.deleted()
	}
	return ok, nil
}

func (m *memory) PutFlow(_ context.Context, f credential.Flow, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flows[f.ID] = f
	return nil
}

func (m *memory) TakeFlow(_ context.Context, id string) (credential.Flow, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.flows[id]
	delete(m.flows, id)
	return f, ok, nil
}

func (m *memory) Registration(_ context.Context, id string) (credential.Registration, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.clients[id]
	return r, ok, nil
}

func (m *memory) PutRegistration(_ context.Context, r credential.Registration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients[r.ID] = r
	return nil
}

const secretValue = "hunter2+hunter2/seed"

// world is minters over a server, with the clock in hand.
type world struct {
	t       *testing.T
	as      *astest.Server
	store   *memory
	vault   *credential.Vault
	minters *oauthclient.Minters
	links   *oauthclient.Links
	source  credential.Source
	up      string // URL of the upstream
	mu      sync.Mutex
	at      time.Time
	events  []credential.Event
	record  func(ctx context.Context) error // nil: it is kept
	forgot  int
	tag     string // of the address the last person was sent back to
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, "")
}

// newWorldWith is one with a client id metadata document.
func newWorldWith(t *testing.T, document string) *world {
	t.Helper()
	w := &world{t: t, as: astest.New(t), at: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), up: "https://up.example/mcp"}
	w.store = &memory{secrets: map[string]credential.Secret{}, links: map[string]credential.Link{}, flows: map[string]credential.Flow{}, clients: map[string]credential.Registration{}}
	v, err := credential.New(t.Context(), credential.Config{Tenant: "t", Dir: t.TempDir()}, w.store)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "seed", MaxTier: 3}, []byte(secretValue)); err != nil {
		t.Fatal(err)
	}
	w.vault = v
	rt := &http.Transport{DisableKeepAlives: true}
	w.minters = oauthclient.New(oauthclient.HTTP{Transport: rt}, v, w.now)
	w.links, err = w.minters.NewLinks(oauthclient.LinksConfig{
		Links: w.store, Flows: w.store, Clients: w.store, Seal: v, Redirect: "https://ops.example/approve/connected", ClientDocument: document,
		Record: func(ctx context.Context, e credential.Event) error {
			if w.record != nil {
				if err := w.record(ctx); err != nil {
					return err
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
			return nil
		},
		Target: func(string, string) (credential.Source, string, error) { return w.source, w.up, nil },
		Forget: func(string, access.Subject) { w.mu.Lock(); defer w.mu.Unlock(); w.forgot++ },
		Wait:   func(ctx context.Context, _ time.Duration) error { time.Sleep(time.Millisecond); return ctx.Err() },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// client declares a source of client credentials.
func (w *world) client(auth string) {
	w.source = credential.Source{ID: "crm", Servers: []string{"up"}, MaxTier: 3, ClientCredentials: &credential.ClientCredentials{
		Client: credential.Client{Issuer: w.as.URL, ClientID: "rutile", Auth: auth, Secret: "seed", Scopes: []string{"a", "b"}},
	}}
}

// user declares a source people link.
func (w *world) user() {
	w.source = credential.Source{ID: "mail", Servers: []string{"up"}, MaxTier: 3, UserOAuth: &credential.UserOAuth{
		Client: credential.Client{Issuer: w.as.URL, ClientID: "rutile", Auth: credential.AuthNone, Scopes: []string{"mail.read"}},
	}}
}

var (
	ann = access.Subject{Issuer: "https://us.example", ID: "ann"}
	bob = access.Subject{Issuer: "https://us.example", ID: "bob"}
)

func (w *world) need(who access.Subject) credential.Need {
	s := w.source
	return credential.Need{Source: &s, LeaseRequest: credential.LeaseRequest{
		Ref: s.ID, Server: "up", URL: w.up, Origin: "https://up.example", Decision: "dec_1", Outcome: access.Permit,
		Who: access.Identity{Actor: access.Actor{Agent: "bot"}, Subject: who},
	}}
}

// begin starts a connection and has the server send its person back.
func (w *world) begin(who access.Subject) url.Values {
	w.t.Helper()
	at, err := w.links.Start(w.t.Context(), who, "mail", "up")
	if err != nil {
		w.t.Fatal(err)
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Get(at)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	back, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.tag = strings.Trim(strings.TrimPrefix(back.Path, "/approve/connected"), "/")
	return back.Query()
}

// finish takes the answer of whom begin sent last, at the address they were sent to.
func (w *world) finish(who access.Subject, answer url.Values) (credential.Link, error) {
	w.t.Helper()
	return w.links.Finish(w.t.Context(), who, w.tag, answer)
}

// link connects a person.
func (w *world) link(who access.Subject) {
	w.t.Helper()
	if _, err := w.finish(who, w.begin(who)); err != nil {
		w.t.Fatal(err)
	}
}

// upstream is a server that says which authorization server it trusts.
func upstream(t *testing.T, doc func(base string) string, challenge func(base string) string) *httptest.Server {
	t.Helper()
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/.well-known/oauth-protected-resource"), r.URL.Path == "/meta":
			if body := doc(s.URL); body != "" {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(body))
				return
			}
			w.WriteHeader(http.StatusNotFound)
		default:
			if challenge != nil {
				w.Header().Set("WWW-Authenticate", challenge(s.URL))
			}
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// quiet requires an error that tells no secret.
func quiet(t *testing.T, err error, want access.Code, secrets ...string) {
	t.Helper()
	if access.CodeOf(err) != want {
		t.Errorf("got %v, want code %q", err, want)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, s := range secrets {
			if strings.Contains(e.Error(), s) {
				t.Errorf("the error tells a secret: %v", e)
			}
		}
	}
}
