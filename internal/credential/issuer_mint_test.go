package credential_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// minted is a Mint over the issuers of one source.
type minted struct {
	*credential.Mint
	mu     sync.Mutex
	events []credential.Event
	log    bytes.Buffer
}

func mintOf(t *testing.T, s credential.Source, seeds map[string]string) *minted {
	t.Helper()
	v := vault(t, t.TempDir(), &memory{rows: map[string]credential.Secret{}})
	for id, value := range seeds {
		if _, err := v.Set(t.Context(), credential.Secret{ID: id, MaxTier: 3}, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	i, err := credential.NewIssuers(v, way, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	s.Origins = []string{"https://up.example"}
	m := &minted{}
	m.Mint, err = credential.NewMint(credential.MintConfig{
		Sources: func(id string) (credential.Source, bool) { return s, id == s.ID }, Minters: i.Minters(),
		Record: func(_ context.Context, e credential.Event) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.events = append(m.events, e)
			return nil
		},
		Log: slog.New(slog.NewTextHandler(&m.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Wait: func(context.Context, time.Duration) error { return nil },
	}, v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// lease leases for a call and mints.
func (m *minted) lease(ctx context.Context, s credential.Source, tool, arguments string) (*credential.Lease, error) {
	r := callOf(s, tool, arguments).LeaseRequest
	r.Header, r.Recorded = "Authorization", tool != ""
	l, err := m.Lease(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := l.Ready(ctx); err != nil {
		l.Release()
		return nil, err
	}
	return l, nil
}

func header(t *testing.T, l *credential.Lease) string {
	t.Helper()
	var got string
	if err := l.Headers(func(_, value string) { got = value }); err != nil {
		t.Error(err)
	}
	return got
}

func baoDeclared(b *baoServer) credential.Source {
	s := baoSource(b)
	s.Rules = append(s.Rules, credential.BaoRule{For: credential.For{Discovery: true}, Role: "reader"})
	return credential.Source{ID: "db", Servers: []string{"up"}, MaxTier: 3, Vault: &s}
}

// TestConcurrentCallsShareNothing: each call has a lease and a login of its own,
// and all of them are gone after it.
func TestConcurrentCallsShareNothing(t *testing.T) {
	b := newBao(t)
	s := baoDeclared(b)
	m := mintOf(t, s, map[string]string{"seed": baoSecretID})
	const calls = 8
	seen := map[string]bool{}
	var mu sync.Mutex
	var work sync.WaitGroup
	var leases [calls]*credential.Lease
	for i := range calls {
		work.Go(func() {
			l, err := m.lease(t.Context(), s, "read_rows", `{}`)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			leases[i], seen[header(t, l)] = l, true
		})
	}
	work.Wait()
	if n, _ := b.left(); len(seen) != calls || n != calls {
		t.Errorf("%d calls had %d credentials under %d leases", calls, len(seen), n)
	}
	for _, l := range leases {
		if l != nil {
			l.Release()
		}
	}
	m.Close() // waits for what is being revoked
	if n, logins := b.left(); n != 0 || logins != 0 {
		t.Errorf("%d leases and %d logins live on", n, logins)
	}
}

// TestDiscoveryCredentialIsKeptAndRevoked: lists and processes of one agent and
// subject share one, others do not, and it ends with the gateway.
func TestDiscoveryCredentialIsKeptAndRevoked(t *testing.T) {
	b := newBao(t)
	s := baoDeclared(b)
	m := mintOf(t, s, map[string]string{"seed": baoSecretID})
	var got []string
	for range 3 {
		l, err := m.lease(t.Context(), s, "", "")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, header(t, l))
		l.Release()
	}
	if n, _ := b.left(); got[0] != got[2] || n != 1 {
		t.Errorf("%v under %d leases", got, n)
	}
	call, err := m.lease(t.Context(), s, "read_rows", `{}`)
	if err != nil {
		t.Fatal(err)
	}
	if header(t, call) == got[0] {
		t.Error("a call was given what lists are looked at with")
	}
	call.Release()
	if len(m.events) != 1 || m.events[0].Verb != "mint" || !strings.HasPrefix(m.events[0].Version, "database/creds/reader/") {
		t.Errorf("recorded %+v", m.events)
	}
	m.Close()
	if n, logins := b.left(); n != 0 || logins != 0 {
		t.Errorf("%d leases and %d logins live on", n, logins)
	}
}

// TestCancelledCallIsRevokedAllTheSame: the caller goes away while the credential
// is used.
func TestCancelledCallIsRevokedAllTheSame(t *testing.T) {
	g := newGitHub(t)
	gs := githubSource(g.URL)
	s := credential.Source{ID: "gh", Servers: []string{"up"}, MaxTier: 3, GitHubApp: &gs}
	m := mintOf(t, s, map[string]string{"key": g.pem()})
	ctx, cancel := context.WithCancel(t.Context())
	l, err := m.lease(ctx, s, "get_file", `{"repository":"site"}`)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	l.Release()
	m.Close()
	if n := g.left(); n != 0 {
		t.Errorf("%d tokens live on", n)
	}
}

// TestRevocationThatNeverWorksIsRecordedWithWhatRemains: it is tried four times.
func TestRevocationThatNeverWorksIsRecordedWithWhatRemains(t *testing.T) {
	g := newGitHub(t)
	gs := githubSource(g.URL)
	s := credential.Source{ID: "gh", Servers: []string{"up"}, MaxTier: 3, GitHubApp: &gs}
	m := mintOf(t, s, map[string]string{"key": g.pem()})
	l, err := m.lease(t.Context(), s, "get_file", `{"repository":"site"}`)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete {
			githubAnswer(w, 502, map[string]any{"message": "canary"})
		}
		return r.Method == http.MethodDelete
	}
	g.mu.Unlock()
	l.Release()
	m.Close()
	if n := strings.Count(strings.Join(g.log(), "\n"), "DELETE"); n != 4 {
		t.Errorf("it was tried %d times", n)
	}
	if len(m.events) != 1 || m.events[0].Verb != "revoke-failed" || time.Until(m.events[0].Expires) < 50*time.Minute || m.events[0].Version == "" {
		t.Errorf("recorded %+v", m.events)
	}
	if strings.Contains(m.log.String(), "canary") || strings.Contains(m.log.String(), "ghs_") {
		t.Errorf("the log holds %s", m.log.String())
	}
}

// TestWhatIsTooShortIsRevoked: a value that could not be kept out of answers is
// not used, and does not live on.
func TestWhatIsTooShortIsRevoked(t *testing.T) {
	b := newBao(t)
	b.change = func(path string, a map[string]any) {
		if strings.HasPrefix(path, "database/") {
			a["data"].(map[string]any)["password"] = "short"
		}
	}
	s := baoDeclared(b)
	m := mintOf(t, s, map[string]string{"seed": baoSecretID})
	if _, err := m.lease(t.Context(), s, "read_rows", `{}`); access.CodeOf(err) != access.CodeUpstream {
		t.Errorf("got %v", err)
	}
	if n, logins := b.left(); n != 0 || logins != 0 {
		t.Errorf("%d leases and %d logins live on", n, logins)
	}
}

// TestEveryMintedValueIsScrubbedInEveryForm takes each value of a session, in
// each form servers commonly repeat one in, and base64 at each alignment.
func TestEveryMintedValueIsScrubbedInEveryForm(t *testing.T) {
	a := newSTS(t)
	as := stsSource(a.URL)
	s := credential.Source{ID: "aws", Servers: []string{"up"}, MaxTier: 3, AWSSTS: &as}
	m := mintOf(t, s, map[string]string{"seed": stsSecret})
	l, err := m.lease(t.Context(), s, "get_object", `{"bucket":"docs","prefix":"a"}`)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if l.Repeated() {
		t.Error("it is said to be repeated before anything was")
	}
	if out, n := l.Scrub([]byte(`{"key":"ASIAIOSFODNN7EXAMPL1","text":"canary"}`)); n != 0 || l.Repeated() {
		t.Errorf("what is no secret was removed: %s", out)
	}
	for _, value := range []string{"canarySecretAccessKey1/x+y", "canarySessionToken1//AQoDYXdzEPT"} {
		quoted, _ := json.Marshal(value)
		forms := map[string]string{
			"plain": value, "hex": hex.EncodeToString([]byte(value)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(value))),
			"query": url.QueryEscape(value), "path": url.PathEscape(value), "slashes": strings.ReplaceAll(strings.Trim(string(quoted), `"`), "/", `\/`),
			"unicode": strings.ReplaceAll(value, "/", "\\u002f"), "html": strings.ReplaceAll(value, "/", "&#47;"),
		}
		for i := range 3 {
			text := []byte(strings.Repeat("u", i) + value + "tail")
			forms[fmt.Sprint("base64 ", i)] = base64.StdEncoding.EncodeToString(text)
			forms[fmt.Sprint("base64url ", i)] = base64.RawURLEncoding.EncodeToString(text)
		}
		for name, form := range forms {
			out, n := l.Scrub([]byte(`{"error":{"message":"` + form + `"}}`))
			if n == 0 || bytes.Contains(out, []byte(form)) {
				t.Errorf("%s of %s stays: %s", name, value, out)
			}
		}
	}
	if !l.Repeated() {
		t.Error("it is not said that the server repeats what it was given")
	}
}

// TestNothingIsMintedForWhatASourceIsNotFor: neither another server, nor a higher
// tier, nor a seed that is for another server.
func TestNothingIsMintedForWhatASourceIsNotFor(t *testing.T) {
	b := newBao(t)
	s := baoDeclared(b)
	m := mintOf(t, s, map[string]string{"seed": baoSecretID})
	for name, change := range map[string]func(r *credential.LeaseRequest){
		"another server": func(r *credential.LeaseRequest) { r.Server = "other" },
		"a denial":       func(r *credential.LeaseRequest) { r.Outcome = access.Deny },
	} {
		r := callOf(s, "read_rows", `{}`).LeaseRequest
		change(&r)
		if _, err := m.Lease(t.Context(), r); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(b.log()); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}
