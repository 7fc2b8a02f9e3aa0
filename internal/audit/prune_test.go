package audit_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// aged is a log with 300 calls of 400 days ago and some of now. Its process started anew
// in between, and its policy stands in it since the beginning.
type aged struct {
	clock  *times
	s      *shredder
	cfg    audit.Config
	l      *audit.Log
	change audit.Ref // of then
	young  audit.Ref
}

func newAged(t *testing.T, fs audit.FS) *aged {
	t.Helper()
	return newAgedOf(t, fs, 150)
}

func newAgedOf(t *testing.T, fs audit.FS, calls int) *aged {
	t.Helper()
	a := &aged{clock: newTimes(september), s: newShredder()}
	a.cfg = keptFor(t.TempDir(), a.clock)
	if fs != nil {
		a.cfg.FS = fs
	}
	a.l = startKept(t, a.cfg, a.s)
	retain(t, a.l, audit.RetentionOrder{})
	for i := range calls {
		call(t, a.l, i)
	}
	var err error
	a.change, err = a.l.Admin(t.Context(), audit.Admin{ID: "chg_1", Actor: "user:root", Verb: "apply", Kind: "server", Object: "files"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range calls {
		call(t, a.l, 200+i)
	}
	a.restart(t)
	a.clock.pass(399 * day)
	a.young, _ = call(t, a.l, 500)
	return a
}

// copied is a log that went on from a copy of the directory of a, which is stopped.
func (a *aged) copied(t *testing.T, fs audit.FS) *aged {
	t.Helper()
	b := &aged{clock: newTimes(*a.clock.now.Load()), s: newShredder(), change: a.change, young: a.young}
	b.cfg = keptFor(filepath.Join(t.TempDir(), "copy"), b.clock)
	b.cfg.Retention, b.cfg.FS = a.cfg.Retention, fs
	copyTree(t, filepath.Dir(a.cfg.Dir), filepath.Dir(b.cfg.Dir))
	b.s.keys = maps.Clone(a.s.keys)
	b.l = startKept(t, b.cfg, b.s)
	return b
}

func (a *aged) restart(t *testing.T) {
	t.Helper()
	stop(t, a.l)
	a.l = startKept(t, a.cfg, a.s)
}

func (a *aged) bundles(t *testing.T) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(a.cfg.Dir, "log", "tile", "entries", "[0-9][0-9][0-9]"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// pruned is an aged log after its leaves went.
func pruned(t *testing.T) *aged {
	t.Helper()
	a := newAged(t, nil)
	a.clock.pass(2 * day)
	if p := retain(t, a.l, audit.RetentionOrder{}); p.Next != 512 || p.Minimum != 0 {
		t.Fatalf("%+v", p)
	}
	return a
}

// Leaves of calls go once they are too old, and what was proven of them verifies still:
// by the log, by a proof and a bundle of before, and with checkpoints of before.
func TestPrunedLeavesStayProven(t *testing.T) {
	a := newAged(t, nil)
	var before []*audit.Proof
	for _, i := range []uint64{4, 5} {
		p, err := a.l.Prove(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, p)
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	if err := a.l.ExportProofs(before, bundle); err != nil {
		t.Fatal(err)
	}
	old, _ := a.l.Sealed()
	if p := retain(t, a.l, audit.RetentionOrder{}); p.Next != 0 || a.bundles(t) < 2 {
		t.Fatalf("leaves went a day too early: %+v", p)
	}
	a.clock.pass(2 * day)
	retain(t, a.l, audit.RetentionOrder{})
	if n := a.bundles(t); n != 0 {
		t.Errorf("%d bundles are left", n)
	}
	now, _ := a.l.Sealed()
	if _, err := a.l.Consistency(old.Size, now.Size); err != nil {
		t.Errorf("the checkpoint of before is not continued: %v", err)
	}
	for range 2 {
		if _, err := a.l.Leaf(t.Context(), 5); access.CodeOf(err) != access.CodeNotFound || !strings.Contains(err.Error(), "pruned by retention on 2027-10-26") {
			t.Errorf("a leaf that went: %v", err)
		}
		if _, err := a.l.Reveal(t.Context(), 6); !strings.Contains(err.Error(), "pruned by retention") {
			t.Errorf("a leaf that went: %v", err)
		}
		for _, i := range []uint64{0, a.change.Index, a.young.Index} {
			if _, err := a.l.Prove(t.Context(), i); err != nil {
				t.Errorf("leaf %d: %v", i, err)
			}
		}
		r := verifyOK(t, a.cfg.Dir, audit.VerifyOptions{Complete: true})
		if r.Pruned+r.Leaves != r.Size || r.Pruned < 500 {
			t.Errorf("%+v", r)
		}
		copied := filepath.Join(t.TempDir(), "log")
		copyTree(t, filepath.Join(a.cfg.Dir, "log"), copied)
		verifyOK(t, copied, audit.VerifyOptions{Complete: true})
		verifyOK(t, bundle, audit.VerifyOptions{Keys: []string{a.l.VerifierKey()}})
		a.restart(t)
	}
}

// The index has what the log has: a rebuild finds the same, and of what went nothing.
func TestPrunedRowsGoAndStayGone(t *testing.T) {
	a := pruned(t)
	if err := a.l.AwaitIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := a.s.all()
	for _, r := range before {
		if r.Index < 512 && r.Type != "admin" && r.Type != "retention" && r.Type != "log.open" {
			t.Errorf("the row of leaf %d, %s, is left", r.Index, r.Type)
		}
	}
	if err := a.l.Reindex(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := a.s.all()
	if len(before) != len(after) {
		t.Errorf("%d rows before a rebuild, %d after", len(before), len(after))
	}
	for i := range min(len(before), len(after)) {
		if before[i].Index != after[i].Index || before[i].Type != after[i].Type {
			t.Fatalf("row %d is of leaf %d, a rebuild makes it of %d", i, before[i].Index, after[i].Index)
		}
	}
}

// What an administrator does by hand is found: each of these is one bypass.
func TestAForgedPruningIsFound(t *testing.T) {
	kept := func(a *aged, index int) string {
		return filepath.Join(a.cfg.Dir, "log", "kept", strconv.Itoa(index)+".json")
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("untouched", func(t *testing.T) {
		a := pruned(t)
		stop(t, a.l)
		verifyOK(t, a.cfg.Dir, audit.VerifyOptions{Complete: true})
	})
	for name, forge := range map[string]struct {
		prune bool
		do    func(t *testing.T, a *aged)
		says  string
	}{
		"a bundle nobody pruned": {false, func(t *testing.T, a *aged) {
			must(t, os.Remove(filepath.Join(a.cfg.Dir, "log", "tile", "entries", "001")))
		}, "no leaf says that it was pruned"},
		"a bundle beyond the minimum": {true, func(t *testing.T, a *aged) {
			for i := range 200 {
				call(t, a.l, 600+i)
			}
			stop(t, a.l)
			must(t, os.Remove(filepath.Join(a.cfg.Dir, "log", "tile", "entries", "002")))
		}, "no leaf says that it was pruned"},
		"a kept leaf that says something else": {true, func(t *testing.T, a *aged) {
			b, err := os.ReadFile(kept(a, int(a.change.Index)))
			must(t, err)
			must(t, os.WriteFile(kept(a, int(a.change.Index)), bytes.Replace(b, []byte(`"verb":"apply"`), []byte(`"verb":"admit"`), 1), 0o600))
		}, "is not leaf"},
		"a kept leaf of another place": {true, func(t *testing.T, a *aged) {
			b, err := os.ReadFile(kept(a, int(a.change.Index)))
			must(t, err)
			must(t, os.WriteFile(kept(a, 7), b, 0o600))
		}, "kept/7.json is not leaf 7"},
		"a kept leaf that is missing": {true, func(t *testing.T, a *aged) { must(t, os.Remove(kept(a, int(a.change.Index)))) }, "are missing"},
		"the leaf of the policy":      {true, func(t *testing.T, a *aged) { must(t, os.Remove(kept(a, 1))) }, "no leaf says how long"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAged(t, nil)
			if forge.prune {
				a.clock.pass(2 * day)
				retain(t, a.l, audit.RetentionOrder{})
			}
			if err := a.l.AwaitIndex(t.Context()); err != nil {
				t.Fatal(err)
			}
			forge.do(t, a)
			if err := a.l.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			r, err := audit.Verify(a.cfg.Dir, audit.VerifyOptions{})
			if err != nil || r.ExitStatus() != audit.ExitProblems || !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, forge.says) }) {
				t.Errorf("%v, %v", r.Problems, err)
			}
		})
	}
}

// Leaves wait: 30 days for a policy that is new, for a hold, for a reader that is behind,
// and for the next start.
func TestLeavesWait(t *testing.T) {
	t.Run("a new policy", func(t *testing.T) {
		a := newAged(t, nil)
		stop(t, a.l)
		a.cfg.Retention.Decision = 200
		a.l = startKept(t, a.cfg, a.s)
		for range 29 {
			retain(t, a.l, audit.RetentionOrder{Actor: "user:root", Clock: true})
			a.clock.pass(day)
		}
		if p := retain(t, a.l, audit.RetentionOrder{}); p.Next != 0 || !strings.Contains(p.Waits, "30 days first") {
			t.Fatalf("%+v", p)
		}
		a.clock.pass(day)
		if p := retain(t, a.l, audit.RetentionOrder{}); p.Next != 512 {
			t.Fatalf("%+v", p)
		}
		stop(t, a.l)
		verifyOK(t, a.cfg.Dir, audit.VerifyOptions{Complete: true})
	})
	t.Run("a new policy and a clock that was set back for it", func(t *testing.T) {
		a := newAged(t, nil)
		retain(t, a.l, audit.RetentionOrder{Actor: "user:root", Clock: true})
		stop(t, a.l)
		now := *a.clock.now.Load()
		a.clock.set(now.Add(-40 * day))
		a.cfg.Retention.Decision = 200
		a.l = startKept(t, a.cfg, a.s)
		retain(t, a.l, audit.RetentionOrder{})
		a.clock.set(now)
		if p := retain(t, a.l, audit.RetentionOrder{}); p.Next != 0 || p.Doubted || !strings.Contains(p.Waits, "30 days first") {
			t.Fatalf("%+v", p)
		}
	})
	t.Run("a hold set and lifted", func(t *testing.T) {
		a := newAged(t, nil)
		a.clock.pass(2 * day)
		for _, hold := range []bool{true, false} {
			stop(t, a.l)
			a.cfg.Retention.Hold = hold
			a.l = startKept(t, a.cfg, a.s)
			if p := retain(t, a.l, audit.RetentionOrder{}); p.Next != p.Minimum {
				t.Fatalf("hold %t: %+v", hold, p)
			}
		}
		if a.bundles(t) == 0 {
			t.Error("leaves went when the hold was lifted, without notice")
		}
	})
	t.Run("a reader", func(t *testing.T) {
		a := newAged(t, nil)
		a.clock.pass(2 * day)
		next := uint64(300)
		a.l.HoldFor(func(context.Context) (string, uint64, bool, error) { return "siem", next, true, nil })
		if p := retain(t, a.l, audit.RetentionOrder{}); p.Next != 256 || !strings.Contains(p.Waits, "siem") {
			t.Errorf("%+v", p)
		}
		next = 100 // it was set back
		if p := retain(t, a.l, audit.RetentionOrder{}); p.Next != 256 {
			t.Errorf("%+v", p)
		}
		told, to, err := a.l.Teller().Next(t.Context(), next, 5)
		if err != nil || to <= 256 || len(told) == 0 || told[0].Index < 256 {
			t.Errorf("a reader that is behind the minimum is told %+v up to %d, %v", told, to, err)
		}
		told, _, err = a.l.Teller().Next(t.Context(), 0, 2)
		if err != nil || len(told) != 2 || told[0].Index != 0 || told[1].Index != 1 {
			t.Errorf("a reader that begins is told %+v, %v: what is kept is left out", told, err)
		}
	})
	t.Run("a start", func(t *testing.T) {
		clock, s := newTimes(september), newShredder()
		l := startKept(t, keptFor(t.TempDir(), clock), s)
		retain(t, l, audit.RetentionOrder{})
		for i := range 300 {
			call(t, l, i)
		}
		clock.pass(500 * day)
		if p := retain(t, l, audit.RetentionOrder{}); p.Next != 0 {
			t.Errorf("%+v", p)
		}
	})
}

// A call whose outcome lies behind the minimum stays with it.
func TestACallIsNotCutInTwo(t *testing.T) {
	clock, s := newTimes(september), newShredder()
	cfg := keptFor(t.TempDir(), clock)
	l := startKept(t, cfg, s)
	retain(t, l, audit.RetentionOrder{})
	r := request(t, 1)
	intent, err := l.Intent(t.Context(), audit.Intent{Request: r, Decision: permit(r)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 140 {
		call(t, l, 10+i)
	}
	if _, err := l.Outcome(t.Context(), outcomeOf(r, intent)); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	l = startKept(t, cfg, s)
	clock.pass(401 * day)
	if p := retain(t, l, audit.RetentionOrder{}); p.Next != 256 {
		t.Fatalf("%+v", p)
	}
	if _, err := l.Prove(t.Context(), intent.Index); err != nil {
		t.Error(err)
	}
	if err := l.Reindex(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
}

// One that asked for input and got it behind the minimum is not cut either; one that never
// got it goes.
func TestACallThatAskedIsNotCutInTwo(t *testing.T) {
	clock, s := newTimes(september), newShredder()
	cfg := keptFor(t.TempDir(), clock)
	l := startKept(t, cfg, s)
	retain(t, l, audit.RetentionOrder{})
	var asked [2]audit.Ref
	for i := range asked {
		r := request(t, i)
		var err error
		if asked[i], err = l.Intent(t.Context(), audit.Intent{Request: r, Decision: permit(r)}); err != nil {
			t.Fatal(err)
		}
		o := outcomeOf(r, asked[i])
		o.Status = audit.StatusInputRequired
		if _, err := l.Outcome(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 140 {
		call(t, l, 10+i)
	}
	if _, err := l.Outcome(t.Context(), outcomeOf(request(t, 1), asked[1])); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	l = startKept(t, cfg, s)
	clock.pass(401 * day)
	if p := retain(t, l, audit.RetentionOrder{}); p.Next != 256 {
		t.Fatalf("%+v", p)
	}
	for i, ref := range asked {
		if _, err := l.Leaf(t.Context(), ref.Index); (err == nil) != (i == 1) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// However far pruning came before the process was killed, the directory verifies, and
// the next run finishes it. What it keeps is not lost with its state either.
func TestPruningThatIsKilledIsFinished(t *testing.T) {
	whole := newAgedOf(t, nil, 65)
	retain(t, whole.l, audit.RetentionOrder{}) // the clock is known to have got that far
	stop(t, whole.l)
	finished := false
	for at := int64(0); !finished; at += everyStep() {
		if at > 200 {
			t.Fatal("it never gets through")
		}
		disk := &mortal{}
		disk.left.Store(1 << 40)
		a := whole.copied(t, disk)
		a.clock.pass(2 * day)
		disk.left.Store(at)
		_, err := a.l.Retain(t.Context(), audit.RetentionOrder{})
		finished = err == nil && disk.left.Load() > 0
		a.l.Close(t.Context())
		disk.left.Store(1 << 40)
		if r, err := audit.Verify(a.cfg.Dir, audit.VerifyOptions{}); err != nil || r.ExitStatus() == audit.ExitProblems {
			t.Errorf("killed at step %d: %v, %v", at, r.Problems, err)
		}
		a.l = startKept(t, a.cfg, a.s)
		retain(t, a.l, audit.RetentionOrder{})
		if n := a.bundles(t); n != 0 {
			t.Errorf("killed at step %d: %d bundles are left", at, n)
		}
		if finished { // without its state the log finds where it begins
			stop(t, a.l)
			if err := os.Remove(filepath.Join(a.cfg.Dir, "retention.json")); err != nil {
				t.Fatal(err)
			}
			a.l = startKept(t, a.cfg, a.s)
			if _, err := a.l.Leaf(t.Context(), 5); access.CodeOf(err) != access.CodeNotFound {
				t.Errorf("a leaf that went: %v", err)
			}
			if err := a.l.Reindex(t.Context()); err != nil {
				t.Error(err)
			}
			retain(t, a.l, audit.RetentionOrder{}) // writes it anew
		}
		stop(t, a.l)
		verifyOK(t, a.cfg.Dir, audit.VerifyOptions{Complete: true})
	}
}
