package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/identity"
	"rutile/internal/store"
)

const idle = 30 * time.Minute

func family(id string, seconds int) identity.Family {
	return identity.Family{
		ID: id, Parent: "ses_0", Agent: "release-bot", Subject: "https://idp.example|zoë", Proof: "thumb", Source: "private_key_jwt", Task: "t1",
		Opened: at(seconds), Last: at(seconds), Absolute: at(seconds).Add(12 * time.Hour),
	}
}

func TestFamilyIsJoinedWhileItIsOpen(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		first := family("ses_1", 0)
		if diff := cmp.Diff(first, must[identity.Family](t)(s.JoinFamily(t.Context(), first, idle))); diff != "" {
			t.Fatalf("a new family differs (-want +got):\n%s", diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		want := first
		want.Last = at(1800)
		if diff := cmp.Diff(want, must[identity.Family](t)(s.JoinFamily(t.Context(), family("ses_2", 1800), idle))); diff != "" {
			t.Errorf("joined after exactly the idle time (-want +got):\n%s", diff)
		}
		// A clock that went back neither shortens nor lengthens the session.
		if diff := cmp.Diff(want, must[identity.Family](t)(s.JoinFamily(t.Context(), family("ses_3", 10), idle))); diff != "" {
			t.Errorf("joined by a clock that went back (-want +got):\n%s", diff)
		}
		got, ok, err := s.LoadFamily(t.Context(), "ses_1")
		if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
			t.Errorf("loaded %v, %v (-want +got):\n%s", ok, err, diff)
		}
		if got := must[identity.Family](t)(s.JoinFamily(t.Context(), family("ses_4", 1800+1801), idle)); got.ID != "ses_4" {
			t.Errorf("joined %s after it was idle too long", got.ID)
		}
		if got := must[identity.Family](t)(s.JoinFamily(t.Context(), family("ses_5", 1800+1802), idle)); got.ID != "ses_4" {
			t.Errorf("joined %s, want the newest", got.ID)
		}
	})
}

func TestFamilyEndsAbsolutely(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		f := family("ses_1", 0)
		f.Absolute = at(60)
		must[identity.Family](t)(s.JoinFamily(t.Context(), f, idle))
		if got := must[identity.Family](t)(s.JoinFamily(t.Context(), family("ses_2", 59), idle)); got.ID != "ses_1" {
			t.Errorf("joined %s before the end", got.ID)
		}
		if got := must[identity.Family](t)(s.JoinFamily(t.Context(), family("ses_3", 60), idle)); got.ID != "ses_3" {
			t.Errorf("joined %s at its end", got.ID)
		}
	})
}

// No two principals, proofs or tasks ever share a family, however their words
// run into one another.
func TestFamilyIsOfOneAgentSubjectProofAndTask(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		seen := map[string]bool{}
		for i, words := range [][4]string{{"a", "b", "c", "d"}, {"ab", "", "c", "d"}, {"", "ab", "c", "d"}, {"a", "bc", "", "d"}, {"a", "b", "c", ""}, {"a", "b", "cd", ""}, {"A", "b", "c", "d"}} {
			f := family(fmt.Sprintf("ses_%d", i), i)
			f.Agent, f.Subject, f.Proof, f.Task = words[0], words[1], words[2], words[3]
			got := must[identity.Family](t)(s.JoinFamily(t.Context(), f, idle))
			if seen[got.ID] {
				t.Errorf("%q joined the family of another", words)
			}
			seen[got.ID] = true
		}
	})
}

func TestRacingJoinsMakeOneFamily(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for round := range 5 {
			var ids sync.Map
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					// After the first round there is an old family to be succeeded.
					f := family(fmt.Sprintf("ses_%d_%d", round, i), round*4000)
					got, err := s.JoinFamily(t.Context(), f, idle)
					if err != nil {
						t.Error(err)
					}
					ids.Store(got.ID, true)
				})
			}
			wg.Wait()
			n := 0
			ids.Range(func(any, any) bool { n++; return true })
			if n != 1 {
				t.Errorf("round %d made %d families", round, n)
			}
		}
	})
}

func TestUnknownFamilyIsNotThere(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for _, id := range []string{"", "ses_9", "ses_\x00", "\xff", "' OR 1=1 --"} {
			if _, ok, err := s.LoadFamily(t.Context(), id); ok || err != nil {
				t.Errorf("LoadFamily(%q): %v, %v", id, ok, err)
			}
		}
		bad := family("ses_1", 0)
		bad.Task = "\x00"
		if _, err := s.JoinFamily(t.Context(), bad, idle); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("a task with NUL: got %v, want invalid", err)
		}
	})
}

func TestAssertionIsAcceptedOnce(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		use := func(issuer, jti string) bool {
			t.Helper()
			return must[bool](t)(s.UseAssertion(t.Context(), issuer, jti, time.Now().Add(time.Minute)))
		}
		// What comes from outside may be anything: each is one of its own.
		for _, jti := range []string{"j1", "J1", "", "j\x00", "\xff\xfe", unicode, fmt.Sprintf("%05000d", 1)} {
			if !use("bot", jti) {
				t.Errorf("jti %.20q is new and was refused", jti)
			}
			if use("bot", jti) {
				t.Errorf("jti %.20q was accepted twice", jti)
			}
		}
		if !use("botj", "1") || !use("other", "j1") {
			t.Error("the assertion of another agent was taken for a replay")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if use("bot", "j1") {
			t.Error("a restart forgot an assertion")
		}
	})
}

func TestOfRacingAssertionsExactlyOneIsAccepted(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for round := range 10 {
			var fresh atomic.Int32
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					ok, err := s.UseAssertion(t.Context(), "bot", fmt.Sprint(round), time.Now().Add(time.Minute))
					if err != nil {
						t.Error(err)
					}
					if ok {
						fresh.Add(1)
					}
				})
			}
			wg.Wait()
			if fresh.Load() != 1 {
				t.Errorf("round %d accepted %d", round, fresh.Load())
			}
		}
	})
}

// What ended is removed, but not before a clock that is set back could need it.
func TestEndedRowsAreRemovedLate(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		now := at(0)
		cfg.Now = func() time.Time { return now }
		s = open(t, cfg)
		use := func(jti string) bool {
			t.Helper()
			return must[bool](t)(s.UseAssertion(t.Context(), "bot", jti, at(60)))
		}
		rows := func(table string) (n int) {
			t.Helper()
			if err := s.Writer().QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		use("old")
		f := family("ses_1", 0)
		f.Absolute = at(60)
		must[identity.Family](t)(s.JoinFamily(t.Context(), f, idle))
		now = at(60 + 3000)
		use("next")
		now = at(0)
		if use("old") {
			t.Error("a replay was accepted after the clock went back")
		}
		now = at(60 + 3700)
		if !use("last") || rows("assertions") != 1 {
			t.Errorf("%d assertions are left, want the last one", rows("assertions"))
		}
		if _, ok, err := s.LoadFamily(t.Context(), "ses_1"); !ok || err != nil {
			t.Errorf("the family is gone too early: %v, %v", ok, err)
		}
		now = at(60 + 25*3600)
		use("more")
		if rows("families") != 0 || rows("family_heads") != 0 {
			t.Errorf("%d families and %d heads are left", rows("families"), rows("family_heads"))
		}
		if got := must[identity.Family](t)(s.JoinFamily(t.Context(), family("ses_2", 0), idle)); got.ID != "ses_2" {
			t.Errorf("joined %s", got.ID)
		}
	})
}

func TestSigningKeysAreKept(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		old := identity.SigningKey{ID: "k2", Alg: "EdDSA", Sealed: []byte{0, 1, 255}, Created: at(0)}
		next := identity.SigningKey{ID: "k1", Alg: "EdDSA", Sealed: []byte("b"), Created: at(1)}
		for _, k := range []identity.SigningKey{next, old} {
			if err := s.SaveSigningKey(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
		got := must[[]identity.SigningKey](t)(s.LoadSigningKeys(t.Context()))
		if diff := cmp.Diff([]identity.SigningKey{old, next}, got); diff != "" {
			t.Errorf("keys differ (-want +got):\n%s", diff)
		}
		live := old
		old.Retired, old.Sealed = at(2), []byte("public")
		if err := s.SaveSigningKey(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if err := s.SaveSigningKey(t.Context(), live); access.CodeOf(err) != access.CodeConflict {
			t.Errorf("a retired key came back to life: %v", err)
		}
		got = must[[]identity.SigningKey](t)(s.LoadSigningKeys(t.Context()))
		if diff := cmp.Diff([]identity.SigningKey{old, next}, got); diff != "" {
			t.Errorf("keys differ after one retired (-want +got):\n%s", diff)
		}
		for _, bad := range []identity.SigningKey{{ID: "", Sealed: []byte("x")}, {ID: "k"}, {ID: "k\x00", Sealed: []byte("x")}} {
			if err := s.SaveSigningKey(t.Context(), bad); access.CodeOf(err) != access.CodeInvalid {
				t.Errorf("SaveSigningKey(%+v): got %v, want invalid", bad, err)
			}
		}
	})
}

func BenchmarkCallPath(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		s := must[*store.Store](b)(store.Open(b.Context(), config(b, dialect)))
		defer s.Close()
		must[identity.Family](b)(s.JoinFamily(b.Context(), family("ses_1", 0), idle))
		b.Run(dialect+"/load family", func(b *testing.B) {
			for b.Loop() {
				if _, ok, err := s.LoadFamily(b.Context(), "ses_1"); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
		b.Run(dialect+"/join family", func(b *testing.B) {
			for b.Loop() {
				if f, err := s.JoinFamily(b.Context(), family("ses_2", 1), idle); err != nil || f.ID != "ses_1" {
					b.Fatal(f.ID, err)
				}
			}
		})
		b.Run(dialect+"/use assertion", func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				if _, err := s.UseAssertion(b.Context(), "bot", fmt.Sprint(n), at(0)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
