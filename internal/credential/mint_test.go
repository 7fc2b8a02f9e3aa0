package credential_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// fake mints numbered tokens and counts what it is asked.
type fake struct {
	mu      sync.Mutex
	minted  int
	revoked []string
	reuse   func(credential.Need) string
	life    time.Duration
	err     error
	revoke  func(n int) error // n-th attempt
	tries   int
	before  func()        // before minting
	gate    chan struct{} // closed when minting may go on; nil: at once
	now     func() time.Time
}

func (f *fake) ReuseKey(n credential.Need) string { return f.reuse(n) }

func (f *fake) Mint(ctx context.Context, n credential.Need) (credential.Minted, error) {
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return credential.Minted{}, ctx.Err()
		}
	}
	if f.before != nil {
		f.before()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return credential.Minted{}, f.err
	}
	f.minted++
	v := fmt.Sprintf("v%d", f.minted)
	return credential.Minted{
		Values: map[string][]byte{"secret": []byte("minted-token-" + v), "second": []byte("other/secret+" + v)}, Plain: map[string]string{"username": "u-" + v},
		Version: v, Expires: f.now().Add(f.life), Reuse: f.reuse(n), Narrowed: "to " + n.Tool,
		Revoke: func(context.Context) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.tries++
			if f.revoke != nil {
				if err := f.revoke(f.tries); err != nil {
					return err
				}
			}
			f.revoked = append(f.revoked, v)
			return nil
		},
	}, nil
}

// minting is a Mint over a fake, with the clock in hand.
type minting struct {
	*credential.Mint
	fake   *fake
	source credential.Source
	events []credential.Event
	log    bytes.Buffer
	at     time.Time
	record error
	mu     sync.Mutex

	minters  map[string]credential.Minter
	removed  bool   // the source is not declared any more
	recorded func() // after a minting was; nil: nothing
}

func newMinting(t *testing.T) *minting {
	t.Helper()
	m := &minting{at: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	m.source = credential.Source{ID: "crm", Servers: []string{"up"}, Origins: []string{"https://elsewhere.example", "https://up.example"}, MaxTier: 2, ClientCredentials: &credential.ClientCredentials{}}
	now := func() time.Time { m.mu.Lock(); defer m.mu.Unlock(); return m.at }
	m.fake = &fake{reuse: func(n credential.Need) string { return "tool " + n.Tool }, life: time.Hour, now: now}
	v, _, _ := stored(t)
	m.minters = map[string]credential.Minter{credential.SourceClientCredentials: m.fake}
	var err error
	m.Mint, err = credential.NewMint(credential.MintConfig{
		Sources: func(id string) (credential.Source, bool) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.source, id == m.source.ID && !m.removed
		},
		Minters: m.minters,
		Record: func(_ context.Context, e credential.Event) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.events = append(m.events, e)
			if m.recorded != nil && e.Verb == "mint" {
				m.mu.Unlock()
				m.recorded()
				m.mu.Lock()
			}
			return m.record
		},
		Log: slog.New(slog.NewTextHandler(&m.log, nil)), Now: now,
		Wait: func(context.Context, time.Duration) error { return nil },
	}, v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func need(agent, subject, tool string) credential.LeaseRequest {
	return credential.LeaseRequest{
		Ref: "crm", Header: "Authorization", Template: "Bearer {secret}", Also: map[string]string{"X-User": "{username}"}, Server: "up", Origin: "https://up.example",
		Decision: "dec_1", Outcome: access.Permit, Tier: 1, Tool: tool, Recorded: true,
		Who: access.Identity{Actor: access.Actor{Agent: agent}, Subject: access.Subject{Issuer: "i", ID: subject}},
	}
}

// ready leases and mints, and returns the version.
func (m *minting) ready(t *testing.T, r credential.LeaseRequest) (*credential.Lease, string) {
	t.Helper()
	l, err := m.Lease(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, l.Unlocks()[0].Minted
}

func TestNothingIsMintedBeforeReady(t *testing.T) {
	m := newMinting(t)
	l, err := m.Lease(t.Context(), need("a", "p", "t"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Headers(func(string, string) { t.Error("a header was given") }); err == nil {
		t.Error("a lease that is not ready gave a header")
	}
	if got, n := l.Scrub([]byte("x")); string(got) != "x" || n != 0 {
		t.Errorf("scrubbed to %q", got)
	}
	if l.Unlocks() != nil || m.fake.minted != 0 {
		t.Error("it was minted")
	}
	l.Release()
	if m.fake.minted != 0 {
		t.Error("it was minted")
	}
}

func TestMintedIsUsedAgainOnlyForTheSame(t *testing.T) {
	m := newMinting(t)
	_, first := m.ready(t, need("a", "p", "t"))
	for name, c := range map[string]struct {
		req  credential.LeaseRequest
		same bool
	}{
		"the same":        {need("a", "p", "t"), true},
		"another tool":    {need("a", "p", "u"), false},
		"another person":  {need("a", "q", "t"), false},
		"another agent":   {need("b", "p", "t"), false},
		"nobody's behalf": {need("a", "", "t"), false},
	} {
		if _, v := m.ready(t, c.req); (v == first) != c.same {
			t.Errorf("%s: got %s after %s", name, v, first)
		}
	}
	m.source.PerCall = true
	_, x := m.ready(t, need("a", "p", "t"))
	if _, y := m.ready(t, need("a", "p", "t")); x == y || x == first {
		t.Errorf("per call: %s, then %s", x, y)
	}
}

func TestMintedIsNotUsedInItsLastMinute(t *testing.T) {
	m := newMinting(t)
	_, first := m.ready(t, need("a", "p", "t"))
	m.mu.Lock()
	m.at = m.at.Add(time.Hour - 2*time.Minute)
	m.mu.Unlock()
	if _, v := m.ready(t, need("a", "p", "t")); v != first {
		t.Errorf("minted anew two minutes before the end")
	}
	m.mu.Lock()
	m.at = m.at.Add(time.Minute)
	m.mu.Unlock()
	if _, v := m.ready(t, need("a", "p", "t")); v == first {
		t.Errorf("used again in its last minute")
	}
}

func TestMintedForOneCallIsRevokedAfterIt(t *testing.T) {
	m := newMinting(t)
	m.source.PerCall = true
	l, v := m.ready(t, need("a", "p", "t"))
	second, err := l.Share()
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	if len(m.fake.revoked) != 0 {
		t.Error("revoked while it was in use")
	}
	second.Release()
	m.Close() // waits
	if len(m.fake.revoked) != 1 || m.fake.revoked[0] != v {
		t.Errorf("revoked %v, want %s", m.fake.revoked, v)
	}
}

func TestRevocationThatFailsIsAFinding(t *testing.T) {
	m := newMinting(t)
	m.source.PerCall = true
	m.fake.revoke = func(int) error { return errors.New("no: minted-token-v1") }
	l, v := m.ready(t, need("a", "p", "t"))
	l.Release()
	m.Close()
	if m.fake.tries != 4 {
		t.Errorf("%d attempts, want 4", m.fake.tries)
	}
	if len(m.events) != 1 || m.events[0].Verb != "revoke-failed" || m.events[0].Version != v || m.events[0].Expires.IsZero() {
		t.Errorf("recorded %+v", m.events)
	}
	if log := m.log.String(); !strings.Contains(log, "credential.not-revoked") || strings.Contains(log, "minted-token") {
		t.Errorf("log: %s", log)
	}
}

func TestRevocationIsTriedAgain(t *testing.T) {
	m := newMinting(t)
	m.source.PerCall = true
	m.fake.revoke = func(n int) error {
		if n < 3 {
			return errors.New("busy")
		}
		return nil
	}
	l, _ := m.ready(t, need("a", "p", "t"))
	l.Release()
	m.Close()
	if len(m.fake.revoked) != 1 || len(m.events) != 0 {
		t.Errorf("revoked %v, recorded %v", m.fake.revoked, m.events)
	}
}

func TestManyWaitForOneMinting(t *testing.T) {
	m := newMinting(t)
	m.fake.gate = make(chan struct{})
	var wg sync.WaitGroup
	versions := make([]string, 16)
	gone, cancel := context.WithCancel(t.Context())
	for i := range versions {
		wg.Go(func() {
			l, err := m.Lease(t.Context(), need("a", "p", "t"))
			if err != nil {
				t.Error(err)
				return
			}
			ctx := t.Context()
			if i == 0 {
				ctx = gone
			}
			if err := l.Ready(ctx); err != nil {
				if i != 0 {
					t.Error(err)
				}
				return
			}
			versions[i] = l.Unlocks()[0].Minted
		})
	}
	cancel() // whoever came first going away ends nobody else's
	close(m.fake.gate)
	wg.Wait()
	for i, v := range versions[1:] {
		if v != "v1" {
			t.Errorf("call %d got %q", i+1, v)
		}
	}
	if m.fake.minted != 1 {
		t.Errorf("minted %d times", m.fake.minted)
	}
}

func TestSourceBoundsWhatIsLeased(t *testing.T) {
	m := newMinting(t)
	for name, change := range map[string]func(*credential.LeaseRequest){
		"no permit":      func(r *credential.LeaseRequest) { r.Outcome = access.Deny },
		"another server": func(r *credential.LeaseRequest) { r.Server = "other" },
		"higher tier":    func(r *credential.LeaseRequest) { r.Tier = 3 },
	} {
		r := need("a", "p", "t")
		change(&r)
		if _, err := m.Lease(t.Context(), r); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("%s: got %v, want denied", name, err)
		}
	}
	m.source.ID = "key" // a sealed credential of stored()
	r := need("a", "p", "t")
	r.Ref = "key"
	if _, err := m.Lease(t.Context(), r); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("both declared and sealed: got %v, want a conflict", err)
	}
}

func TestMintingThatFailsRefusesAndTellsNothing(t *testing.T) {
	m := newMinting(t)
	m.fake.err = errors.New("issuer said hunter2-hunter2")
	l, err := m.Lease(t.Context(), need("a", "p", "t"))
	if err != nil {
		t.Fatal(err)
	}
	err = l.Ready(t.Context())
	var shown *access.Error
	if !errors.As(err, &shown) || shown.Code != access.CodeUnavailable || strings.Contains(shown.Msg, "hunter2") {
		t.Errorf("got %v", err)
	}
	m.fake.err = nil
	m.record = errors.New("no evidence")
	r := need("a", "p", "t")
	r.Recorded = false
	if l, err = m.Lease(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(t.Context()); err == nil {
		t.Error("what could not be recorded was given")
	}
	m.Close()
	if len(m.fake.revoked) != 1 {
		t.Errorf("revoked %v, want what could not be recorded", m.fake.revoked)
	}
}

func TestMintedValuesAreScrubbedAndRendered(t *testing.T) {
	m := newMinting(t)
	l, _ := m.ready(t, need("a", "p", "t"))
	got := map[string]string{}
	if err := l.Headers(func(n, v string) { got[n] = v }); err != nil {
		t.Fatal(err)
	}
	if got["Authorization"] != "Bearer minted-token-v1" || got["X-User"] != "u-v1" {
		t.Errorf("headers %v", got)
	}
	out, n := l.Scrub([]byte(`{"a":"minted-token-v1","b":"other%2Fsecret%2Bv1"}`))
	if n != 2 || bytes.Contains(out, []byte("token-v1")) || bytes.Contains(out, []byte("other")) {
		t.Errorf("scrubbed to %s, %d", out, n)
	}
	for _, s := range []string{fmt.Sprint(l), fmt.Sprintf("%+v", l), fmt.Sprintf("%#v", l)} {
		if strings.Contains(s, "minted-token") {
			t.Errorf("a lease prints %s", s)
		}
	}
}

func TestChangedSourceMintsAnewAndRevokesTheOld(t *testing.T) {
	m := newMinting(t)
	l, first := m.ready(t, need("a", "p", "t"))
	l.Release()
	m.source.ClientCredentials = &credential.ClientCredentials{Client: credential.Client{Scopes: []string{"less"}}}
	if _, v := m.ready(t, need("a", "p", "t")); v == first {
		t.Error("what was minted of the earlier form was used")
	}
	m.Close()
	if len(m.fake.revoked) != 1 || m.fake.revoked[0] != first {
		t.Errorf("revoked %v, want %s", m.fake.revoked, first)
	}
}

// TestWhatWasMintedStaysWhereTheServerWas: a server whose entry names another
// address is given what is minted for that one, and nothing that is kept.
func TestWhatWasMintedStaysWhereTheServerWas(t *testing.T) {
	m := newMinting(t)
	m.source.Origins = []string{"https://evil.example", "https://up.example"}
	r := need("bot", "ann", "read")
	_, first := m.ready(t, r)
	if _, again := m.ready(t, r); again != first {
		t.Fatal("it is not used again at all")
	}
	r.Origin, r.URL = "https://evil.example", "https://evil.example/mcp"
	if _, moved := m.ready(t, r); moved == first {
		t.Error("a token of one origin was given to another")
	}
}

// TestMintedGoesOnlyWhereItIsBound: an origin that is not among a credential's is
// refused before anything is minted, however it is written, and so is one of a
// credential that is bound to none.
func TestMintedGoesOnlyWhereItIsBound(t *testing.T) {
	for name, c := range map[string]struct {
		bound  []string
		origin string
		ok     bool
	}{
		"the same":           {[]string{"https://up.example"}, "https://up.example", true},
		"a default port":     {[]string{"https://up.example"}, "https://UP.example:443", true},
		"one of two":         {[]string{"https://a.example", "https://up.example"}, "https://up.example", true},
		"another host":       {[]string{"https://up.example"}, "https://evil.example", false},
		"a host that ends":   {[]string{"https://up.example"}, "https://up.example.evil.example", false},
		"another port":       {[]string{"https://up.example"}, "https://up.example:8443", false},
		"in clear":           {[]string{"https://up.example"}, "http://up.example", false},
		"a process":          {[]string{"https://up.example"}, "stdio:up", false},
		"another process":    {[]string{"stdio:up"}, "stdio:down", false},
		"bound to none":      {nil, "https://up.example", false},
		"no origin at all":   {[]string{"https://up.example"}, "", false},
		"a user before it":   {[]string{"https://up.example"}, "https://x@up.example", false},
		"an address in path": {[]string{"https://up.example"}, "https://up.example/mcp", false},
		"a name like it":     {[]string{"https://api.example"}, "https://ap\u0130.example", false}, // İ is no i to DNS
		"one like it, so":    {[]string{"https://api.example"}, "https://ap%C4%B0.example", false},
	} {
		m := newMinting(t)
		m.source.Origins = c.bound
		r := need("bot", "ann", "get")
		r.Origin = c.origin
		l, err := m.Lease(t.Context(), r)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (access.CodeOf(err) == "" || m.fake.minted != 0) {
			t.Errorf("%s: %v, minted %d times", name, err, m.fake.minted)
		}
		if l != nil {
			l.Release()
		}
	}
}
