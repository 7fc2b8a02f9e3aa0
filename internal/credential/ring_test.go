package credential_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// cutStore fails at a step: before it, or after it was done so that its answer
// is lost.
type cutStore struct {
	*memory
	at    int // the write that fails; 0: none
	after bool
	mu    sync.Mutex
	n     int
}

var errCut = errors.New("the store was cut off")

func (c *cutStore) step(do func() error) error {
	c.mu.Lock()
	c.n++
	cut := c.n == c.at
	c.mu.Unlock()
	if cut && !c.after {
		return errCut
	}
	if err := do(); err != nil {
		return err
	}
	if cut {
		return errCut
	}
	return nil
}

func (c *cutStore) PutSecret(ctx context.Context, s credential.Secret) error {
	return c.step(func() error { return c.memory.PutSecret(ctx, s) })
}

func (c *cutStore) PutRing(ctx context.Context, version int, sealed []byte) error {
	return c.step(func() error { return c.memory.PutRing(ctx, version, sealed) })
}

// two are a vault's configurations before and after its key was changed.
func two(t *testing.T) (before, after credential.Config) {
	t.Helper()
	dir := t.TempDir()
	before = credential.Config{Tenant: "t1", Dir: dir, KeySource: credential.KeySource{KeyFile: filepath.Join(dir, "old.key")}}
	after = before
	after.KeyFile = filepath.Join(dir, "new.key")
	after.Previous = &credential.KeySource{KeyFile: before.KeyFile}
	after.Sealed = true
	return before, after
}

func opens(t *testing.T, cfg credential.Config, store credential.Store, want map[string]string, boxes map[string][]byte) error {
	t.Helper()
	v, err := credential.New(t.Context(), cfg, store)
	if err != nil {
		return err
	}
	for id, value := range want {
		l, err := v.Lease(t.Context(), credential.LeaseRequest{Ref: id, Header: "Authorization", Server: "up", Origin: "https://up.example", Outcome: access.Permit})
		if err != nil {
			return err
		}
		_, got, err := l.Header()
		l.Release()
		if err != nil || got != value {
			return fmt.Errorf("credential %s holds another value: %v", id, err)
		}
	}
	for purpose, box := range boxes {
		if got, err := v.Open(t.Context(), purpose, box); err != nil || string(got) != canary {
			return fmt.Errorf("what was sealed for %s: %w", purpose, err)
		}
	}
	return nil
}

// TestRewrapCutAtAnyStepLosesNothing cuts the store off at each write of a
// rewrapping, before and after it is done. All that was ever sealed opens with
// what the operator has configured, and after a second run without the old key.
func TestRewrapCutAtAnyStepLosesNothing(t *testing.T) {
	const secrets = 3
	for at := 1; at <= secrets+1; at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d,%v", at, after), func(t *testing.T) {
				old, next := two(t)
				m := &memory{rows: map[string]credential.Secret{}}
				v, err := credential.New(t.Context(), old, m)
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]string{}
				for i := range secrets {
					id := fmt.Sprintf("key-%d", i)
					want[id] = canary + id
					if _, err := v.Set(t.Context(), credential.Secret{ID: id, Origins: []string{"https://up.example"}, MaxTier: 3}, []byte(want[id])); err != nil {
						t.Fatal(err)
					}
				}
				box, err := v.Seal(t.Context(), "before", []byte(canary))
				if err != nil {
					t.Fatal(err)
				}
				boxes := map[string][]byte{"before": box}

				cut := &cutStore{memory: m, at: at, after: after}
				v, err = credential.New(t.Context(), next, cut)
				if err != nil {
					t.Fatal(err)
				}
				if !v.Pending() {
					t.Error("it does not say that it needs the old key")
				}
				if _, err := v.Rewrap(t.Context()); !errors.Is(err, errCut) {
					t.Fatalf("the cut was not seen: %v", err)
				}
				if boxes["during"], err = v.Seal(t.Context(), "during", []byte(canary)); err != nil {
					t.Fatal(err)
				}
				if err := opens(t, next, m, want, boxes); err != nil {
					t.Fatalf("after the cut: %v", err)
				}
				// The process that saw the cut goes on.
				if n, err := v.Rewrap(t.Context()); err != nil || n != secrets {
					t.Fatalf("%d sealed again: %v", n, err)
				}
				if boxes["after"], err = v.Seal(t.Context(), "after", []byte(canary)); err != nil {
					t.Fatal(err)
				}
				alone := next
				alone.Previous = nil
				if err := os.Remove(old.KeyFile); err != nil {
					t.Fatal(err)
				}
				if err := opens(t, alone, m, want, boxes); err != nil {
					t.Errorf("without the old key: %v", err)
				}
			})
		}
	}
}

// TestRewrapShutsTheOldKeyOut: whoever has the old key and the store opens no
// credential of it.
func TestRewrapShutsTheOldKeyOut(t *testing.T) {
	old, next := two(t)
	m := &memory{rows: map[string]credential.Secret{}}
	v, err := credential.New(t.Context(), old, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "key", Origins: []string{"https://up.example"}, MaxTier: 3}, []byte(canary)); err != nil {
		t.Fatal(err)
	}
	if v, err = credential.New(t.Context(), next, m); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Rewrap(t.Context()); err != nil || v.Pending() {
		t.Fatalf("pending %v: %v", v.Pending(), err)
	}
	if err := opens(t, old, m, nil, nil); err == nil {
		t.Error("the old key opens the vault")
	}
	// Nor with the ring taken away, as if it had never been rewrapped.
	m.version, m.ring = 0, nil
	if err := opens(t, old, m, nil, nil); err == nil {
		t.Error("the old key opens a credential")
	}
}

func TestAnotherNodeTakesTheNewRootsOver(t *testing.T) {
	old, next := two(t)
	m := &memory{rows: map[string]credential.Secret{}}
	v, err := credential.New(t.Context(), old, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "key", Origins: []string{"https://up.example"}, MaxTier: 3}, []byte(canary)); err != nil {
		t.Fatal(err)
	}
	var nodes [2]*credential.Vault
	for i := range nodes {
		if nodes[i], err = credential.New(t.Context(), next, m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nodes[0].Rewrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[1].Rewrap(t.Context()); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("a node that has not seen the change: %v", err)
	}
	for i, n := range nodes { // the refused one looked again
		if l, err := n.Lease(t.Context(), request("key")); err != nil {
			t.Errorf("node %d: %v", i, err)
		} else {
			l.Release()
		}
	}
	if _, err := nodes[1].Rewrap(t.Context()); err != nil {
		t.Error(err)
	}
	if err := nodes[0].Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRingRowCannotBeChanged: whoever writes the store can neither go back to
// earlier roots nor bring their own.
func TestRingRowCannotBeChanged(t *testing.T) {
	m := &memory{rows: map[string]credential.Secret{}}
	cfg := credential.Config{Tenant: "t1", Dir: t.TempDir()}
	v, err := credential.New(t.Context(), cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Rewrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := m.ring
	if _, err := v.Rewrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := m.ring
	if strings.Contains(string(second), "roots") {
		t.Error("the roots stand in clear")
	}
	m.version, m.ring = 1, first
	if err := v.Reload(t.Context()); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("an older row was taken: %v", err)
	}
	for name, row := range map[string][]byte{"an older one as newer": first, "one of another": []byte("canary"), "none": {}} {
		m.version, m.ring = 3, row
		if err := v.Reload(t.Context()); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	m.version, m.ring = 2, second
	if err := v.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTransitHoldsTheKey(t *testing.T) {
	b := newBao(t)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(baoStatic+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &memory{rows: map[string]credential.Secret{}}
	cfg := credential.Config{
		Tenant: "t1", Dir: dir, Way: way,
		KeySource: credential.KeySource{Transit: &credential.Transit{Address: b.URL, Key: "rutile", TokenFile: token}},
	}
	v, err := credential.New(t.Context(), cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "key", Origins: []string{"https://up.example"}, MaxTier: 3}, []byte(canary)); err != nil {
		t.Fatal(err)
	}
	asked := len(b.log())
	if err := opens(t, cfg, m, map[string]string{"key": canary}, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(b.log()) - asked; n != 1 {
		t.Errorf("the service was asked %d times for a start and a lease", n)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("a key was made in the data directory: %v", entries)
	}
	b.Close()
	if err := opens(t, cfg, m, nil, nil); access.CodeOf(err) != access.CodeUnavailable {
		t.Errorf("without the service: code %q of %v", access.CodeOf(err), err)
	}
	if err := os.Chmod(token, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := opens(t, cfg, m, nil, nil); access.CodeOf(err) != access.CodeInvalid {
		t.Errorf("with a token anybody reads: code %q of %v", access.CodeOf(err), err)
	}
}

// TestKeyMovesToTransitAndBack: any kind of key can follow any other.
func TestKeyMovesToTransitAndBack(t *testing.T) {
	b := newBao(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"token": baoStatic, "file.key": hex.EncodeToString([]byte(strings.Repeat("k", 32)))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kinds := []credential.KeySource{
		{}, {Transit: &credential.Transit{Address: b.URL, Key: "rutile", TokenFile: filepath.Join(dir, "token")}},
		{KeyFile: filepath.Join(dir, "file.key")},
	}
	m := &memory{rows: map[string]credential.Secret{}}
	cfg := credential.Config{Tenant: "t1", Dir: dir, Way: way}
	v, err := credential.New(t.Context(), cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "key", Origins: []string{"https://up.example"}, MaxTier: 3}, []byte(canary)); err != nil {
		t.Fatal(err)
	}
	box, err := v.Seal(t.Context(), "first", []byte(canary))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Sealed = true
	for i := 1; i < len(kinds); i++ {
		cfg.KeySource, cfg.Previous = kinds[i], &kinds[i-1]
		if v, err = credential.New(t.Context(), cfg, m); err != nil {
			t.Fatalf("kind %d: %v", i, err)
		}
		if _, err := v.Rewrap(t.Context()); err != nil {
			t.Fatalf("kind %d: %v", i, err)
		}
		cfg.Previous = nil
		if err := opens(t, cfg, m, map[string]string{"key": canary}, map[string][]byte{"first": box}); err != nil {
			t.Fatalf("kind %d alone: %v", i, err)
		}
	}
}
