package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// Whoever can delete evidence can delete or write retention.json with it. What no leaf of
// the log says went is a problem to who verifies, and stays one: the log goes on, nothing
// more is deleted, and no later leaf covers it.
func TestAGapThatNoLeafSaysIsNeverCovered(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	state := func(a *aged) string { return filepath.Join(a.cfg.Dir, "retention.json") }
	bundle := func(a *aged, name string) string { return filepath.Join(a.cfg.Dir, "log", "tile", "entries", name) }
	edit := func(t *testing.T, a *aged, old, new string) {
		t.Helper()
		b, err := os.ReadFile(state(a))
		must(t, err)
		changed := bytes.Replace(b, []byte(old), []byte(new), 1)
		if bytes.Equal(b, changed) {
			t.Fatalf("%s has no %s", b, old)
		}
		must(t, os.WriteFile(state(a), changed, 0o600))
	}
	const first, after = `"raised":null`, `"minimum":512`
	for name, forge := range map[string]struct {
		prune bool
		do    func(t *testing.T, a *aged)
		says  string
	}{
		"bundles and the state": {false, func(t *testing.T, a *aged) {
			must(t, os.Remove(bundle(a, "000")))
			must(t, os.Remove(bundle(a, "001")))
			must(t, os.Remove(state(a)))
		}, "bundle tile/entries/000 is gone, and no leaf says"},
		"bundles alone": {false, func(t *testing.T, a *aged) {
			must(t, os.Remove(bundle(a, "000")))
		}, "bundle tile/entries/000 is gone, and no leaf says"},
		"bundles, and the state says so": {false, func(t *testing.T, a *aged) {
			must(t, os.Remove(bundle(a, "000")))
			edit(t, a, first, `"raised":[{"minimum":256,"at":"2026-09-20T12:00:00Z","leaf":1}]`)
		}, "bundle tile/entries/000 is gone, and no leaf says"},
		"the state says more, and retention is to delete it": {false, func(t *testing.T, a *aged) {
			edit(t, a, first, `"raised":[{"minimum":512,"at":"2026-09-20T12:00:00Z","leaf":1}]`)
		}, "retention.json is not what the log wrote"},
		"the state says that the policy is older": {false, func(t *testing.T, a *aged) {
			edit(t, a, `"since":"2026-09-20`, `"since":"2025-09-20`)
		}, "retention.json is not what the log wrote"},
		"the state believes another clock": {false, func(t *testing.T, a *aged) {
			edit(t, a, `"clock":"20`, `"clock":"21`)
		}, "retention.json is not what the log wrote"},
		"the state is torn": {false, func(t *testing.T, a *aged) {
			must(t, os.WriteFile(state(a), []byte("{"), 0o600))
		}, "retention.json is not what the log wrote"},
		"the state has no signature": {false, func(t *testing.T, a *aged) {
			edit(t, a, `"signature":"`, `"sig":"`)
		}, "retention.json is not what the log wrote"},
		"the state of another log": {false, func(t *testing.T, a *aged) {
			clock, s := newTimes(september), newShredder()
			cfg := keptFor(t.TempDir(), clock)
			l := startKept(t, cfg, s)
			retain(t, l, audit.RetentionOrder{})
			stop(t, l)
			b, err := os.ReadFile(filepath.Join(cfg.Dir, "retention.json"))
			must(t, err)
			must(t, os.WriteFile(state(a), b, 0o600))
		}, "retention.json is not what the log wrote"},
		"the state says more than the log, of one that was pruned": {true, func(t *testing.T, a *aged) {
			must(t, os.Remove(bundle(a, "002")))
			edit(t, a, after, `"minimum":768`)
		}, "bundle tile/entries/002 is gone, and no leaf says"},
		"a change that was kept": {true, func(t *testing.T, a *aged) {
			must(t, os.Remove(filepath.Join(a.cfg.Dir, "log", "kept", "302.json")))
		}, "are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAged(t, nil)
			if a.change.Index != 302 {
				t.Fatalf("the change is leaf %d", a.change.Index)
			}
			if forge.prune {
				a.clock.pass(2 * day)
				retain(t, a.l, audit.RetentionOrder{})
			}
			for i := range 200 { // the third bundle is full
				call(t, a.l, 600+i)
			}
			stop(t, a.l)
			forge.do(t, a)
			found := func() {
				t.Helper()
				r, err := audit.Verify(a.cfg.Dir, audit.VerifyOptions{})
				if err != nil || r.ExitStatus() != audit.ExitProblems || !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, forge.says) }) {
					t.Errorf("%v, %v", r.Problems, err)
				}
			}
			found()
			a.l = startKept(t, a.cfg, a.s)
			for range 3 { // at once, after the notice of a policy, and when more is too old
				before := a.l.Size()
				_, err := a.l.Retain(t.Context(), audit.RetentionOrder{Actor: "user:root", Clock: true})
				if access.CodeOf(err) != access.CodeEvidence || !strings.Contains(err.Error(), "nothing more is deleted") {
					t.Errorf("retention goes on: %v", err)
				}
				if n := a.l.Size(); n != before {
					t.Errorf("%d leaves were written of it", n-before)
				}
				if access.CodeOf(a.l.CheckRetention(t.Context())) != access.CodeEvidence {
					t.Error("it is not told")
				}
				a.clock.pass(401 * day)
				call(t, a.l, 900) // what happens is recorded
			}
			stop(t, a.l)
			found()
		})
	}
}

// An older copy of the state, put back, is told by the leaves it does not know.
func TestAnOlderCopyOfTheStateIsFound(t *testing.T) {
	a := newAged(t, nil)
	name := filepath.Join(a.cfg.Dir, "retention.json")
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, hold := range []bool{true, false} { // a hold that was set and lifted begins the notice anew
		stop(t, a.l)
		a.cfg.Retention.Hold = hold
		a.l = startKept(t, a.cfg, a.s)
		retain(t, a.l, audit.RetentionOrder{})
	}
	stop(t, a.l)
	verifyOK(t, a.cfg.Dir, audit.VerifyOptions{})
	if err := os.WriteFile(name, old, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify(a.cfg.Dir, audit.VerifyOptions{})
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "retention.json is an older copy") {
		t.Errorf("%v, %v", r.Problems, err)
	}
	a.l = startKept(t, a.cfg, a.s)
	a.clock.pass(2 * day)
	if _, err := a.l.Retain(t.Context(), audit.RetentionOrder{}); err == nil || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("retention goes on: %v", err)
	}
	if a.bundles(t) == 0 {
		t.Error("leaves went")
	}
	// The way out of it: without the file, what is due waits anew, and the log says why.
	stop(t, a.l)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	r, err = audit.Verify(a.cfg.Dir, audit.VerifyOptions{})
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "retention.json is missing") {
		t.Errorf("%v, %v", r.Problems, err)
	}
	a.l = startKept(t, a.cfg, a.s)
	if p := retain(t, a.l, audit.RetentionOrder{Actor: "user:root", Clock: true}); p.Lost.IsZero() || p.Next != 0 || !strings.Contains(p.Waits, "30 days first") {
		t.Errorf("%+v", p)
	}
	a.clock.pass(30 * day)
	if p := retain(t, a.l, audit.RetentionOrder{Actor: "user:root", Clock: true}); p.Next != 512 {
		t.Errorf("%+v", p)
	}
	stop(t, a.l)
	verifyOK(t, a.cfg.Dir, audit.VerifyOptions{})
}
