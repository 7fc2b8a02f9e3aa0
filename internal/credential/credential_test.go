package credential_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// memory keeps sealed secrets as package store does.
type memory struct {
	mu      sync.Mutex
	rows    map[string]credential.Secret
	version int
	ring    []byte
}

func (m *memory) LoadRing(context.Context) (int, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version, m.ring, nil
}

func (m *memory) PutRing(_ context.Context, version int, sealed []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.version+1 != version {
		return access.Errorf(access.CodeConflict, "version %d is not the next", version)
	}
	m.version, m.ring = version, sealed
	return nil
}

func (m *memory) LoadSecrets(context.Context) ([]credential.Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []credential.Secret
	for _, s := range m.rows {
		out = append(out, s)
	}
	return out, nil
}

func (m *memory) PutSecret(_ context.Context, s credential.Secret) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows[s.ID].Version+1 != s.Version {
		return access.Errorf(access.CodeConflict, "version %d is not the next", s.Version)
	}
	m.rows[s.ID] = s
	return nil
}

func (m *memory) DeleteSecret(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.rows[id]
	delete(m.rows, id)
	return ok, nil
}

const canary = `s3cr3t/canary+"value"=&%42`

func vault(t *testing.T, dir string, m *memory) *credential.Vault {
	t.Helper()
	v, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: dir}, m)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func request(id string) credential.LeaseRequest {
	return credential.LeaseRequest{
		Ref: id, Header: "Authorization", Template: "Bearer {secret}", Server: "up", Origin: "https://up.example",
		Decision: "dec_1", Outcome: access.Permit,
	}
}

func stored(t *testing.T) (*credential.Vault, *memory, string) {
	t.Helper()
	dir, m := t.TempDir(), &memory{rows: map[string]credential.Secret{}}
	v := vault(t, dir, m)
	if _, err := v.Set(t.Context(), credential.Secret{ID: "key", MaxTier: 3}, []byte(canary)); err != nil {
		t.Fatal(err)
	}
	return v, m, dir
}

func TestLeaseRevealsOnlyInTheHeader(t *testing.T) {
	v, _, _ := stored(t)
	l, err := v.Lease(t.Context(), request("key"))
	if err != nil {
		t.Fatal(err)
	}
	name, value, err := l.Header()
	if err != nil || name != "Authorization" || value != "Bearer "+canary {
		t.Fatalf("header %q %q %v", name, value, err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "lease", l)
	js, err := json.Marshal(map[string]any{"lease": l})
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"%v": fmt.Sprintf("%v", l), "%+v": fmt.Sprintf("%+v", l), "%#v": fmt.Sprintf("%#v", l), "%s": fmt.Sprintf("%s", l), "%x": fmt.Sprintf("%x", l),
		"%q": fmt.Sprintf("%q", l), "%d": fmt.Sprintf("%d", l), "slog": log.String(), "json": string(js),
	} {
		if strings.Contains(text, "canary") || strings.Contains(text, hex.EncodeToString([]byte("canary"))) {
			t.Errorf("%s shows the value", what)
		}
	}
	l.Release()
	if _, _, err := l.Header(); err == nil {
		t.Error("a released lease still gives the header")
	}
}

func TestNoPermitNoLease(t *testing.T) {
	v, _, _ := stored(t)
	r := request("key")
	r.Outcome = access.Deny
	if _, err := v.Lease(t.Context(), r); access.CodeOf(err) != access.CodeDenied {
		t.Fatalf("got %v, want denied", err)
	}
}

// TestSecretIsBoundToItsOrigin: the first origin is kept in the store, and no
// other gets it, also after a restart.
func TestSecretIsBoundToItsOrigin(t *testing.T) {
	v, m, dir := stored(t)
	l, err := v.Lease(t.Context(), request("key"))
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	other := request("key")
	other.Origin = "https://evil.example"
	for name, v := range map[string]*credential.Vault{"same process": v, "after a restart": vault(t, dir, m)} {
		if _, err := v.Lease(t.Context(), other); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("%s: another origin got %v, want denied", name, err)
		}
		if l, err := v.Lease(t.Context(), request("key")); err != nil {
			t.Errorf("%s: its own origin: %v", name, err)
		} else {
			l.Release()
		}
	}
}

// TestFirstOriginRace: of many first users with different origins one wins.
func TestFirstOriginRace(t *testing.T) {
	v, _, _ := stored(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[string]bool{}
	for i := range 16 {
		wg.Go(func() {
			r := request("key")
			r.Origin = fmt.Sprintf("https://%d.example", i)
			if l, err := v.Lease(context.Background(), r); err == nil {
				l.Release()
				mu.Lock()
				won[r.Origin] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d origins got the secret, want 1", len(won))
	}
}

func TestServerAndTierBound(t *testing.T) {
	v, _, _ := stored(t)
	if _, err := v.Set(t.Context(), credential.Secret{ID: "narrow", Servers: []string{"other"}, MaxTier: 3}, []byte("longenough1")); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "low", MaxTier: 1}, []byte("longenough2")); err != nil {
		t.Fatal(err)
	}
	high := request("low")
	high.Tier = 2
	for _, r := range []credential.LeaseRequest{request("narrow"), high} {
		if _, err := v.Lease(t.Context(), r); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("%s: got %v, want denied", r.Ref, err)
		}
	}
	if _, err := v.Lease(t.Context(), request("absent")); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("an absent secret: %v", err)
	}
}

// TestRowsCannotBeSwapped: a sealed value opens only as its own version of its
// own secret, under its own key.
func TestRowsCannotBeSwapped(t *testing.T) {
	v, m, dir := stored(t)
	if _, err := v.Set(t.Context(), credential.Secret{ID: "cheap", MaxTier: 3}, []byte("worth nothing")); err != nil {
		t.Fatal(err)
	}
	old := m.rows["key"]
	if _, err := v.Rotate(t.Context(), "key", []byte("the new value")); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(s *credential.Secret){
		"another secret's row": func(s *credential.Secret) { s.Sealed = m.rows["cheap"].Sealed },
		"an older version":     func(s *credential.Secret) { s.Sealed = old.Sealed },
		"truncated":            func(s *credential.Secret) { s.Sealed = s.Sealed[:len(s.Sealed)-1] },
		"empty":                func(s *credential.Secret) { s.Sealed = nil },
		"one bit":              func(s *credential.Secret) { s.Sealed = bytes.Clone(s.Sealed); s.Sealed[len(s.Sealed)/2] ^= 1 },
	} {
		copied := &memory{rows: map[string]credential.Secret{}}
		s := m.rows["key"]
		change(&s)
		copied.rows["key"] = s
		_, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: dir}, copied)
		if err == nil {
			t.Errorf("%s: the vault opened", name)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error shows the value", name)
		}
	}
	if _, err := credential.New(t.Context(), credential.Config{Tenant: "t2", Dir: dir}, m); err == nil {
		t.Error("another tenant opened the vault")
	}
	if _, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: t.TempDir()}, m); err == nil {
		t.Error("another key opened the vault")
	}
	m.rows["key"] = old
	if err := v.Reload(t.Context()); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("an old row put back: %v, want a conflict", err)
	}
}

func TestSealerBindsThePurpose(t *testing.T) {
	v, _, _ := stored(t)
	sealed, err := v.Seal(t.Context(), "token-key", []byte(canary))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("canary")) {
		t.Error("sealed bytes show the value")
	}
	if got, err := v.Open(t.Context(), "token-key", sealed); err != nil || string(got) != canary {
		t.Errorf("opening: %q %v", got, err)
	}
	if _, err := v.Open(t.Context(), "evidence", sealed); err == nil {
		t.Error("it opened for another purpose")
	}
}

// TestScrubFindsCommonForms: an answer that repeats the secret in any usual
// encoding, inside other text and at any alignment, comes back without it.
func TestScrubFindsCommonForms(t *testing.T) {
	v, _, _ := stored(t)
	l, err := v.Lease(t.Context(), request("key"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	html, _ := json.Marshal(canary)
	forms := map[string]string{
		"plain": canary, "json": string(html), "hex": hex.EncodeToString([]byte(canary)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(canary))),
		"query": url.QueryEscape(canary), "path": url.PathEscape(canary), "lower query": strings.ToLower(url.QueryEscape("x")) + url.QueryEscape(canary),
	}
	for i := range 6 {
		text := strings.Repeat("u", i) + canary + strings.Repeat("v", i%3)
		forms[fmt.Sprintf("base64 std %d", i)] = base64.StdEncoding.EncodeToString([]byte(text))
		forms[fmt.Sprintf("base64 url %d", i)] = base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	for name, form := range forms {
		got, n := l.Scrub([]byte(`{"text":"before ` + form + ` after"}`))
		if n == 0 || bytes.Contains(got, []byte(form)) {
			t.Errorf("%s: %d found, still there: %s", name, n, got)
		}
		if !bytes.Contains(got, []byte("before ")) || !bytes.Contains(got, []byte(" after")) {
			t.Errorf("%s: the text around it changed: %s", name, got)
		}
	}
	clean := []byte(strings.Repeat("nothing to see here ", 100))
	if got, n := l.Scrub(clean); n != 0 || &got[0] != &clean[0] {
		t.Error("clean text was copied or changed")
	}
}

func TestShortOrHugeValuesAreRefused(t *testing.T) {
	v, _, _ := stored(t)
	for _, value := range []string{"", "short", strings.Repeat("x", credential.MaxValue+1)} {
		if _, err := v.Set(t.Context(), credential.Secret{ID: "x"}, []byte(value)); err == nil {
			t.Errorf("a value of %d bytes was accepted", len(value))
		}
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "key"}, []byte("another value")); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("set over an existing secret: %v, want a conflict", err)
	}
}

func TestHeaderRefusesControlCharacters(t *testing.T) {
	v, _, _ := stored(t)
	if _, err := v.Set(t.Context(), credential.Secret{ID: "crlf", MaxTier: 3}, []byte("value\r\nX-Evil: 1")); err != nil {
		t.Fatal(err)
	}
	l, err := v.Lease(t.Context(), request("crlf"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if _, value, err := l.Header(); err == nil {
		t.Errorf("header %q was given", value)
	}
}

// TestRotateWhileLeased: a lease keeps its version; the next one has the new.
func TestRotateWhileLeased(t *testing.T) {
	v, _, _ := stored(t)
	old, err := v.Lease(t.Context(), request("key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Rotate(t.Context(), "key", []byte("the new value")); err != nil {
		t.Fatal(err)
	}
	next, err := v.Lease(t.Context(), request("key"))
	if err != nil {
		t.Fatal(err)
	}
	_, a, err := old.Header()
	if err != nil || a != "Bearer "+canary {
		t.Errorf("the old lease gives %q %v", a, err)
	}
	if _, b, err := next.Header(); err != nil || b != "Bearer the new value" || next.Version() <= old.Version() {
		t.Errorf("the new lease gives %q version %d %v", b, next.Version(), err)
	}
	if got, n := old.Scrub([]byte("Bearer " + canary + " or Bearer the new value")); n != 2 || string(got) != "Bearer [credential removed] or Bearer [credential removed]" {
		t.Errorf("the old lease leaves %s", got)
	}
	if !old.Same(old) || old.Same(next) || next.Same(old) {
		t.Error("leases of two versions pass for one another's")
	}
	old.Release()
	next.Release()
	if ok, err := v.Remove(t.Context(), "key"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, err := v.Lease(t.Context(), request("key")); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("a removed secret: %v", err)
	}
}

// TestSecretSetAgainIsAnother: one that was removed and set again starts at the
// same version, and its leases are not those of the first.
func TestSecretSetAgainIsAnother(t *testing.T) {
	now := time.Now()
	v, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: t.TempDir(), Now: func() time.Time { now = now.Add(time.Second); return now }}, &memory{rows: map[string]credential.Secret{}})
	if err != nil {
		t.Fatal(err)
	}
	var leases []*credential.Lease
	for range 2 {
		if _, err := v.Set(t.Context(), credential.Secret{ID: "key", MaxTier: 3}, []byte(canary)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			l, err := v.Lease(t.Context(), request("key"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Release()
			leases = append(leases, l)
		}
		if ok, err := v.Remove(t.Context(), "key"); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	if leases[0].Version() != leases[2].Version() {
		t.Fatalf("versions %d and %d: this shows nothing", leases[0].Version(), leases[2].Version())
	}
	if !leases[0].Same(leases[1]) || !leases[2].Same(leases[3]) || leases[0].Same(leases[2]) {
		t.Error("a secret set again passes for the one before")
	}
}

func TestConcurrentRotateAndLease(t *testing.T) {
	v, _, _ := stored(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				l, err := v.Lease(context.Background(), request("key"))
				if err != nil {
					t.Error(err)
					return
				}
				if _, value, err := l.Header(); err != nil || !strings.HasPrefix(value, "Bearer ") || strings.ContainsRune(value, 0) {
					t.Errorf("a lease gave %q %v", value, err)
				}
				l.Release()
			}
		})
	}
	wg.Go(func() {
		for i := range 20 {
			if _, err := v.Rotate(context.Background(), "key", []byte(fmt.Sprintf("value number %d", i))); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

// TestKeyFileIsPrivate: it is made owner-only, and one that others can read is
// refused with how to mend it.
func TestKeyFileIsPrivate(t *testing.T) {
	_, m, dir := stored(t)
	path := filepath.Join(dir, "vault.key")
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("the key file: %v %v", fi, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: dir}, m); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v, want a refusal that says chmod 600", err)
	}
	if err := os.WriteFile(path, []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: dir}, m); err == nil {
		t.Error("a broken key file was accepted")
	}
}

func TestPassphraseOpensWhatItSealed(t *testing.T) {
	dir, m := t.TempDir(), &memory{rows: map[string]credential.Secret{}}
	file := filepath.Join(t.TempDir(), "phrase")
	write := func(phrase string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(phrase+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("correct horse battery")
	cfg := credential.Config{Tenant: "t1", Dir: dir, KeySource: credential.KeySource{PassphraseFile: file}}
	v, err := credential.New(t.Context(), cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "key", MaxTier: 3}, []byte(canary)); err != nil {
		t.Fatal(err)
	}
	if _, err := credential.New(t.Context(), cfg, m); err != nil {
		t.Errorf("the same passphrase: %v", err)
	}
	write("another horse battery")
	if _, err := credential.New(t.Context(), cfg, m); err == nil {
		t.Error("another passphrase opened the vault")
	}
	write("short")
	if _, err := credential.New(t.Context(), cfg, m); err == nil {
		t.Error("a short passphrase was accepted")
	}
}

func BenchmarkLease(b *testing.B) {
	m := &memory{rows: map[string]credential.Secret{}}
	v, err := credential.New(b.Context(), credential.Config{Tenant: "t1", Dir: b.TempDir()}, m)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := v.Set(b.Context(), credential.Secret{ID: "key", MaxTier: 3}, []byte(canary)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := v.Lease(b.Context(), request("key"))
		if err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}

func BenchmarkScrubClean(b *testing.B) {
	m := &memory{rows: map[string]credential.Secret{}}
	v, err := credential.New(b.Context(), credential.Config{Tenant: "t1", Dir: b.TempDir()}, m)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := v.Set(b.Context(), credential.Secret{ID: "key", MaxTier: 3}, []byte("ghp_16C7e42F292c6912E7710c838347Ae178B4a")); err != nil {
		b.Fatal(err)
	}
	l, err := v.Lease(b.Context(), request("key"))
	if err != nil {
		b.Fatal(err)
	}
	plain := `{"name":"value","list":[1,2,3],"text":"The quick brown fox."}`
	for name, text := range map[string][]byte{
		"plain":   []byte(strings.Repeat(plain, 1000)),
		"escapes": []byte(strings.Repeat(plain+` \u00e9 %C3 &amp;`, 1000)),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				l.Scrub(text)
			}
		})
	}
}
