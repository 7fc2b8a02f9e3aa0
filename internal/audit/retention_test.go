package audit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// times are the clock of a machine and how long a process runs on it.
type times struct {
	now atomic.Pointer[time.Time]
	up  atomic.Int64
}

func newTimes(at time.Time) *times {
	c := &times{}
	c.now.Store(&at)
	return c
}

// set sets the clock; no time passes.
func (c *times) set(at time.Time) { c.now.Store(&at) }

// pass lets time pass.
func (c *times) pass(d time.Duration) {
	at := c.now.Load().Add(d)
	c.now.Store(&at)
	c.up.Add(int64(d))
}

const day = 24 * time.Hour

// kept is the configuration of a log with a policy, on a clock.
func keptFor(dir string, c *times) audit.Config {
	cfg := config(dir)
	cfg.Now = func() time.Time { return *c.now.Load() }
	cfg.Uptime = func() time.Duration { return time.Duration(c.up.Load()) }
	cfg.Retention = audit.RetentionPolicy{Payload: 30, Decision: 400}
	return cfg
}

func startKept(t *testing.T, cfg audit.Config, s *shredder) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), cfg, s, newSealer(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(context.Background()) })
	return l
}

func retain(t *testing.T, l *audit.Log, o audit.RetentionOrder) audit.RetentionPlan {
	t.Helper()
	p, err := l.Retain(t.Context(), o)
	if err != nil {
		t.Fatalf("retaining: %v", err)
	}
	return p
}

// excerpt reports whether the excerpt of a leaf can be read, and when it went.
func excerpt(t *testing.T, l *audit.Log, index uint64) (there bool, gone time.Time) {
	t.Helper()
	r, err := l.Reveal(t.Context(), index)
	if err != nil {
		t.Fatalf("revealing leaf %d: %v", index, err)
	}
	if r.Erased {
		t.Errorf("leaf %d counts as erased", index)
	}
	return r.Payload != nil, r.Gone
}

func packs(t *testing.T, cfg audit.Config, class string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cfg.Dir, "payload", class, "*", "*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func monthKeys(s *shredder) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for name := range s.keys {
		if strings.HasPrefix(name, "pay.") {
			n++
		}
	}
	return n
}

var september = time.Date(2026, 9, 20, 12, 0, 0, 0, time.UTC)

// Excerpts go by whole months, their key with them, and not a day before the last of
// them is old enough. What is proven, who called what, and what was changed stay.
func TestExcerptsGoWithTheirMonth(t *testing.T) {
	clock, s := newTimes(september), newShredder()
	cfg := keptFor(t.TempDir(), clock)
	l := startKept(t, cfg, s)
	old, ended := call(t, l, 1)
	change, err := l.Admin(t.Context(), audit.Admin{ID: "chg_1", Actor: "user:root", Verb: "apply", Kind: "server", Object: "files", Detail: []byte(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		clock.pass(day)
		retain(t, l, audit.RetentionOrder{})
	} // 30 October, midday
	if there, _ := excerpt(t, l, old.Index); !there {
		t.Fatal("an excerpt went with the 30 days of its month not over")
	}
	young, _ := call(t, l, 2)
	clock.pass(day)
	plan, err := l.PlanRetention(t.Context(), audit.RetentionOrder{})
	if err != nil || len(plan.Months) != 1 || plan.Months[0] != 202609 || plan.Packs != 1 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if got := retain(t, l, audit.RetentionOrder{}); len(got.Gone) != 1 || got.Gone[0].Month != 202609 {
		t.Fatalf("%+v", got)
	}
	for range 2 {
		for _, i := range []uint64{old.Index, ended.Index} {
			if there, gone := excerpt(t, l, i); there || gone.IsZero() {
				t.Errorf("the excerpt of leaf %d is there (%t), gone %v", i, there, gone)
			}
		}
		for _, i := range []uint64{young.Index, change.Index} {
			if there, gone := excerpt(t, l, i); !there || !gone.IsZero() {
				t.Errorf("the excerpt of leaf %d is there (%t), gone %v", i, there, gone)
			}
		}
		if n := monthKeys(s); n != 1 {
			t.Errorf("%d keys of months", n)
		}
		r, err := l.Reveal(t.Context(), old.Index)
		if err != nil || r.Row.Subject != "alice" || r.Sealed["task"] != "ship it" {
			t.Errorf("who called what is gone: %+v, %v", r, err)
		}
		if _, err := l.Prove(t.Context(), old.Index); err != nil {
			t.Error(err)
		}
		stop(t, l)
		if r := verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true}); r.Missing != 2 {
			t.Errorf("%+v", r)
		}
		l = startKept(t, cfg, s)
	}
}

// The log says in clear what the policy is and what went, once each.
func TestRetentionStandsInTheLog(t *testing.T) {
	clock, s := newTimes(september), newShredder()
	cfg := keptFor(t.TempDir(), clock)
	l := startKept(t, cfg, s)
	call(t, l, 1)
	for range 45 {
		clock.pass(day)
		retain(t, l, audit.RetentionOrder{})
	}
	rows, err := l.Search(t.Context(), audit.Query{Types: []string{"retention"}, Ascending: true})
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d leaves of retention, %v", len(rows), err)
	}
	for i, want := range []string{`"retention":{"decision":400,"payload":30}`, `"months":[202609]`} {
		leaf, err := l.Leaf(t.Context(), rows[i].Index)
		if err != nil || !strings.Contains(string(leaf), want) {
			t.Errorf("leaf %d lacks %s: %s, %v", rows[i].Index, want, leaf, err)
		}
	}
	stop(t, l)
	cfg.Retention.Payload = 60
	l = startKept(t, cfg, s)
	retain(t, l, audit.RetentionOrder{})
	if n, err := l.Count(t.Context(), audit.Query{Types: []string{"retention"}}, 10); err != nil || n != 3 {
		t.Errorf("%d leaves after the policy changed, %v", n, err)
	}
}

// A hold stops it, also what began before: the months that an interrupted run named
// in the log keep what they have left.
func TestAHoldStopsRetention(t *testing.T) {
	clock, s := newTimes(september), newShredder()
	cfg := keptFor(t.TempDir(), clock)
	l := startKept(t, cfg, s)
	old, _ := call(t, l, 1)
	for range 39 {
		clock.pass(day)
		retain(t, l, audit.RetentionOrder{})
	}
	clock.pass(3 * day)
	s.killAt(1) // destroying the key
	if _, err := l.Retain(t.Context(), audit.RetentionOrder{}); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	stop(t, l)
	cfg.Retention.Hold = true
	l = startKept(t, cfg, s)
	for range 3 {
		clock.pass(day)
		if p := retain(t, l, audit.RetentionOrder{Actor: "user:root", Clock: true}); len(p.Months) != 0 {
			t.Errorf("due under a hold: %v", p.Months)
		}
	}
	if there, _ := excerpt(t, l, old.Index); !there {
		t.Error("an excerpt went under a hold")
	}
	stop(t, l)
	cfg.Retention.Hold = false
	l = startKept(t, cfg, s)
	retain(t, l, audit.RetentionOrder{})
	if there, _ := excerpt(t, l, old.Index); there {
		t.Error("an excerpt stayed after the hold was lifted")
	}
}

// A clock that jumps makes nothing old, whether the gateway runs meanwhile or starts
// with it; one that stays there for a week does, and so does a person's word.
func TestAClockThatJumpsDeletesNothing(t *testing.T) {
	for _, how := range []string{"while it runs", "before a start", "in steps"} {
		for _, then := range []string{"it goes back", "it stays", "a person says so"} {
			t.Run(how+", "+then, func(t *testing.T) {
				clock, s := newTimes(september), newShredder()
				cfg := keptFor(t.TempDir(), clock)
				l := startKept(t, cfg, s)
				old, _ := call(t, l, 1)
				retain(t, l, audit.RetentionOrder{})
				far := september.AddDate(5, 0, 0)
				switch how {
				case "before a start":
					stop(t, l)
					clock.set(far)
					l = startKept(t, cfg, s)
				case "in steps":
					for at := september; at.Before(september.AddDate(0, 3, 0)); at = at.Add(2 * day) {
						clock.set(at)
						retain(t, l, audit.RetentionOrder{})
					}
					clock.set(far)
				default:
					clock.set(far)
				}
				if p := retain(t, l, audit.RetentionOrder{}); !p.Doubted || len(p.Months) > 0 {
					t.Fatalf("%+v", p)
				}
				if there, _ := excerpt(t, l, old.Index); !there {
					t.Fatal("the excerpt went with the clock")
				}
				switch then {
				case "it goes back":
					clock.set(september)
					for range 9 {
						clock.pass(day)
						if p := retain(t, l, audit.RetentionOrder{}); p.Doubted {
							t.Errorf("%+v", p)
						}
					}
				case "it stays":
					for range 10 {
						clock.pass(day)
						retain(t, l, audit.RetentionOrder{})
					}
				default:
					retain(t, l, audit.RetentionOrder{Actor: "user:root", Clock: true})
				}
				if there, _ := excerpt(t, l, old.Index); there != (then == "it goes back") {
					t.Errorf("the excerpt is there: %t", there)
				}
			})
		}
	}
}

// Two logs that share the keys have keys of months of their own: one that holds keeps
// what the other deletes.
func TestLogsThatShareKeysDeleteTheirOwn(t *testing.T) {
	clock, s := newTimes(september), newShredder()
	one := keptFor(t.TempDir(), clock)
	two := keptFor(t.TempDir(), clock)
	two.Origin, two.Node, two.Retention.Hold = "example.org/rutile/main/n2/1", "n2", true
	a := startKept(t, one, s)
	other := newShredder()
	other.keys = s.keys
	b, err := audit.Open(t.Context(), two, s, newSealer(), other)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	x, _ := call(t, a, 1)
	y, _ := call(t, b, 2)
	for range 45 {
		clock.pass(day)
		retain(t, a, audit.RetentionOrder{})
		retain(t, b, audit.RetentionOrder{})
	}
	if there, _ := excerpt(t, a, x.Index); there {
		t.Error("the first log kept its excerpt")
	}
	if there, _ := excerpt(t, b, y.Index); !there {
		t.Error("the first log's run took the excerpt of the second, which is under a hold")
	}
}

// A database that is put back has the key of a month again: it is destroyed anew, and a
// copy of a pack cannot be opened meanwhile longer than until the next run.
func TestAKeyThatIsBackIsDestroyedAgain(t *testing.T) {
	clock, s := newTimes(september), newShredder()
	cfg := keptFor(t.TempDir(), clock)
	l := startKept(t, cfg, s)
	old, _ := call(t, l, 1)
	retain(t, l, audit.RetentionOrder{})
	backup, err := s.EvidenceKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	pack := packs(t, cfg, "decision")
	stolen, err := os.ReadFile(pack[0])
	if err != nil {
		t.Fatal(err)
	}
	l = startKept(t, cfg, s)
	for range 45 {
		clock.pass(day)
		retain(t, l, audit.RetentionOrder{})
	}
	stop(t, l)
	s.mu.Lock()
	s.keys = backup
	s.mu.Unlock()
	l = startKept(t, cfg, s)
	retain(t, l, audit.RetentionOrder{})
	if n := monthKeys(s); n != 0 {
		t.Fatalf("%d keys of months are back", n)
	}
	if err := os.MkdirAll(filepath.Dir(pack[0]), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pack[0], stolen, 0o600); err != nil {
		t.Fatal(err)
	}
	if there, _ := excerpt(t, l, old.Index); there {
		t.Error("a pack that was put back can be opened without its key")
	}
	retain(t, l, audit.RetentionOrder{})
	if left := packs(t, cfg, "decision"); len(left) != 0 {
		t.Errorf("a pack that was put back stays: %v", left)
	}
}

// mortal is a file system that fails for good from a step on, as one does under a
// process that is killed.
type mortal struct {
	audit.OS
	left atomic.Int64 // steps; below 0 it is dead
}

func (m *mortal) step() error {
	if m.left.Add(-1) < 0 {
		return errKilled
	}
	return nil
}

func (m *mortal) Open(name string, create bool) (audit.File, error) {
	if create {
		if err := m.step(); err != nil {
			return nil, err
		}
	}
	return m.OS.Open(name, create)
}

func (m *mortal) Rename(from, to string) error {
	return errors.Join(m.step(), m.alive(func() error { return m.OS.Rename(from, to) }))
}
func (m *mortal) Remove(name string) error {
	return errors.Join(m.step(), m.alive(func() error { return m.OS.Remove(name) }))
}
func (m *mortal) SyncDir(dir string) error {
	return errors.Join(m.step(), m.alive(func() error { return m.OS.SyncDir(dir) }))
}

func (m *mortal) alive(f func() error) error {
	if m.left.Load() < 0 {
		return errKilled
	}
	return f()
}

// everyStep is how many steps apart tests kill, each if there is time.
func everyStep() int64 {
	if testing.Short() {
		return 4
	}
	return 1
}

// However far a run came before the process was killed, the next one finishes it.
func TestRetentionThatIsKilledIsFinished(t *testing.T) {
	finished := false
	for at := int64(0); !finished; at += everyStep() {
		if at > 200 {
			t.Fatal("it never gets through")
		}
		clock, s, disk := newTimes(september), newShredder(), &mortal{}
		disk.left.Store(1 << 40)
		cfg := keptFor(t.TempDir(), clock)
		cfg.FS = disk
		l := startKept(t, cfg, s)
		old, _ := call(t, l, 1)
		retain(t, l, audit.RetentionOrder{})
		clock.pass(42 * day)
		disk.left.Store(at)
		_, err := l.Retain(t.Context(), audit.RetentionOrder{})
		finished = err == nil && disk.left.Load() > 0
		l.Close(context.Background())
		disk.left.Store(1 << 40)
		l = startKept(t, cfg, s)
		retain(t, l, audit.RetentionOrder{})
		if there, gone := excerpt(t, l, old.Index); there || gone.IsZero() {
			t.Errorf("killed at step %d: the excerpt is there (%t), gone %v", at, there, gone)
		}
		if left := packs(t, cfg, "decision"); len(left) != 0 || monthKeys(s) != 0 {
			t.Errorf("killed at step %d: %v and %d keys are left", at, left, monthKeys(s))
		}
		stop(t, l)
		verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
	}
}

func TestPoliciesThatCannotBe(t *testing.T) {
	for _, p := range []audit.RetentionPolicy{{Payload: 30, Decision: 183}, {Payload: -1, Decision: 400}, {Payload: 401, Decision: 400}, {Decision: 400}, {Payload: 30}} {
		cfg := config(t.TempDir())
		cfg.Retention = p
		s := newShredder()
		if l, err := audit.Open(t.Context(), cfg, s, newSealer(), s); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%+v: %v", p, err)
			if l != nil {
				l.Close(context.Background())
			}
		}
	}
}
