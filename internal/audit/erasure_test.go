package audit_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// shredder is a memory whose keys can be destroyed. Its step-th step fails, once.
type shredder struct {
	*memory
	book   sync.Mutex // what is below: the log's own goroutines call as well
	orders []audit.Erasure
	done   map[string]map[string]bool // by origin
	step   int
	failAt int
}

var errKilled = errors.New("killed")

func newShredder() *shredder {
	return &shredder{memory: newMemory(), done: map[string]map[string]bool{}}
}

// killAt has the at-th step from now fail.
func (s *shredder) killAt(at int) {
	s.book.Lock()
	defer s.book.Unlock()
	s.step, s.failAt = 0, at
}

func (s *shredder) dies() error {
	s.book.Lock()
	defer s.book.Unlock()
	s.step++
	if s.step == s.failAt {
		return errKilled
	}
	return nil
}

func (s *shredder) PutErasure(_ context.Context, e audit.Erasure) error {
	if err := s.dies(); err != nil {
		return err
	}
	s.book.Lock()
	defer s.book.Unlock()
	for _, o := range s.orders {
		if o.ID == e.ID {
			return nil
		}
	}
	s.orders = append(s.orders, e)
	return nil
}

func (s *shredder) Erasures(context.Context) ([]audit.Erasure, error) {
	s.book.Lock()
	defer s.book.Unlock()
	return slices.Clone(s.orders), nil
}

func (s *shredder) DestroyKeys(_ context.Context, wrapped map[string][]byte) error {
	if err := s.dies(); err != nil {
		return err
	}
	s.mu.Lock()
	for name, w := range wrapped {
		if string(s.keys[name]) == string(w) {
			delete(s.keys, name)
		}
	}
	s.mu.Unlock()
	return s.dies()
}

func (s *shredder) ErasedIn(_ context.Context, id, origin string) error {
	if err := s.dies(); err != nil {
		return err
	}
	s.book.Lock()
	defer s.book.Unlock()
	if s.done[origin] == nil {
		s.done[origin] = map[string]bool{}
	}
	s.done[origin][id] = true
	return nil
}

func (s *shredder) ErasedBy(_ context.Context, origin string) (map[string]bool, error) {
	s.book.Lock()
	defer s.book.Unlock()
	return maps.Clone(s.done[origin]), nil
}

func (s *shredder) DropRows(ctx context.Context, origin string) error {
	if err := s.memory.DropRows(ctx, origin); err != nil {
		return err
	}
	return s.dies()
}

func (s *shredder) start(t *testing.T, cfg audit.Config) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), cfg, s, newSealer(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(context.Background()) })
	return l
}

var order = audit.ErasureOrder{Person: "alice", Actor: "user:root", Reason: "request 4711"}

// callOf records a call for somebody and returns its intent.
func callOf(t *testing.T, l *audit.Log, n int, who string) audit.Ref {
	t.Helper()
	r := request(t, n)
	r.Who.Subject.ID, r.Who.Session, r.Who.Task = who, "ses_of_"+who, "task of "+who
	ref, err := l.Intent(t.Context(), audit.Intent{Request: r, Decision: permit(r)})
	if err == nil {
		_, err = l.Outcome(t.Context(), outcomeOf(r, ref))
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// gone fails unless nothing of alice's call is known and all of bob's is.
func gone(t *testing.T, l *audit.Log, m *memory, alice, bob audit.Ref) {
	t.Helper()
	ctx := t.Context()
	if err := l.AwaitIndex(ctx); err != nil {
		t.Fatal(err)
	}
	for _, r := range m.all() {
		if r.Index == alice.Index && (!r.Erased || r.Status != "ok" || r.Tool != "read_file" || r.Agent == "") {
			t.Errorf("the call's row is %+v", r)
		}
		if strings.Contains(r.Subject+r.Session+r.Task+r.Text+r.Object+r.Actor, "alice") {
			t.Errorf("a row names who is erased: %+v", r)
		}
	}
	a, err := l.Reveal(ctx, alice.Index)
	if err != nil || !a.Erased || a.Payload != nil || a.Sealed != nil || a.Row.Subject != "" {
		t.Errorf("the erased call opens: %+v, %v", a, err)
	}
	if _, err := l.Disclose(ctx, alice.Index, "arguments", []byte(`{"path":"/srv/docs/1","secret":"s3cr3t-value"}`)); err == nil {
		t.Error("a commitment of the erased call opens")
	}
	b, err := l.Reveal(ctx, bob.Index)
	if err != nil || b.Erased || b.Payload == nil || b.Row.Subject != "bob" {
		t.Errorf("somebody else's call does not open: %+v, %v", b, err)
	}
}

// verified fails unless the directory and an older proof verify.
func verified(t *testing.T, dir string) {
	t.Helper()
	res, err := audit.Verify(dir, audit.VerifyOptions{})
	if err != nil || res.ExitStatus() != 0 {
		t.Errorf("%s does not verify: %+v, %v", dir, res, err)
	}
}

func TestAnErasureLeavesEveryProofAndNothingElse(t *testing.T) {
	s, cfg := newShredder(), config(t.TempDir())
	l := s.start(t, cfg)
	alice, bob := callOf(t, l, 1, "alice"), callOf(t, l, 2, "bob")
	old, err := l.Prove(t.Context(), alice.Index)
	if err != nil {
		t.Fatal(err)
	}
	tell := l.Teller() // a sink that has read the intent when the key goes
	if _, _, err := tell.Next(t.Context(), 0, 1000); err != nil {
		t.Fatal(err)
	}
	plan, err := l.PlanErasure(t.Context(), "alice", "")
	if err != nil || plan.Keys != 2 || len(plan.Months) != 1 {
		t.Fatalf("the plan is %+v, %v", plan, err)
	}
	if r, err := l.Reveal(t.Context(), alice.Index); err != nil || r.Erased {
		t.Fatalf("a plan erased: %+v, %v", r, err)
	}
	e, _, err := l.Erase(t.Context(), order)
	if err != nil {
		t.Fatal(err)
	}
	gone(t, l, s.memory, alice, bob)
	told, _, err := tell.Next(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range told {
		if strings.Contains(x.Subject+x.Session+x.Text, "alice") {
			t.Errorf("a sink is told of who is erased: %+v", x.Row)
		}
	}
	if rows, err := l.ByDecision(t.Context(), e.ID); err != nil || len(rows) != 2 || rows[0].Type != "erasure" {
		t.Errorf("the erasure's leaves are %+v, %v", rows, err)
	}
	if _, _, err := l.Erase(t.Context(), order); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("a second erasure: %v", err)
	}
	if err := l.Reindex(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone(t, l, s.memory, alice, bob)

	// Who comes back is somebody new, under the same names of keys.
	again := callOf(t, l, 3, "alice")
	if r, err := l.Reveal(t.Context(), again.Index); err != nil || r.Erased || r.Row.Subject != "alice" || r.Payload == nil {
		t.Errorf("the new call does not open: %+v, %v", r, err)
	}
	if r, err := l.Reveal(t.Context(), alice.Index); err != nil || !r.Erased || r.Row.Subject != "" {
		t.Errorf("the old call opens under the new key: %+v, %v", r, err)
	}
	stop(t, l)
	verified(t, cfg.Dir)
	if r, err := audit.VerifyProof(old.Text(), old.Leaf, audit.VerifyOptions{Keys: []string{l.VerifierKey()}}); err != nil || r.ExitStatus() != 0 {
		t.Errorf("a proof from before does not verify: %+v, %v", r, err)
	}
	for _, b := range readTree(t, cfg.Dir) {
		if strings.Contains(b, "alice") {
			t.Error("the directory names who is erased")
		}
	}
}

func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name := range listing(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	return out
}

// The process ends at each step of an erasure in turn; the next start finishes it.
func TestAnErasureIsFinishedWhereverItWasInterrupted(t *testing.T) {
	for at := 2; ; at++ {
		s, cfg := newShredder(), config(t.TempDir())
		l := s.start(t, cfg)
		alice, bob := callOf(t, l, 1, "alice"), callOf(t, l, 2, "bob")
		if err := l.AwaitIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.killAt(at)
		_, _, err := l.Erase(t.Context(), order)
		if err == nil {
			if at < 6 {
				t.Fatalf("only %d steps were tried", at)
			}
			return
		}
		// A kill -9 leaves the directory as it is now.
		cfg2 := config(t.TempDir())
		if err := os.MkdirAll(filepath.Dir(cfg2.Dir), 0o700); err != nil {
			t.Fatal(err)
		}
		copyTree(t, cfg.Dir, cfg2.Dir)
		key, err := os.ReadFile(cfg.Dir + "-signing.key")
		if err == nil {
			err = os.WriteFile(cfg2.Dir+"-signing.key", key, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.killAt(0)
		s.mu.Lock()
		rows, mark, heads := maps.Clone(s.rows), s.mark, slices.Clone(s.heads)
		s.mu.Unlock()
		stop(t, l)
		s.rows, s.mark, s.put, s.heads = rows, mark, mark, heads
		l = s.start(t, cfg2)
		if err := l.ResumeErasures(t.Context()); err != nil {
			t.Fatalf("step %d: resuming: %v", at, err)
		}
		gone(t, l, s.memory, alice, bob)
		stop(t, l)
		verified(t, cfg2.Dir)
	}
}

// A database that is put back has the keys again, and may not know of the erasure.
func TestARestoredDatabaseIsErasedAgain(t *testing.T) {
	for name, forget := range map[string]bool{"with the order": false, "from before it": true} {
		t.Run(name, func(t *testing.T) {
			s, cfg := newShredder(), config(t.TempDir())
			l := s.start(t, cfg)
			alice, bob := callOf(t, l, 1, "alice"), callOf(t, l, 2, "bob")
			backup := maps.Clone(s.keys)
			if _, _, err := l.Erase(t.Context(), order); err != nil {
				t.Fatal(err)
			}
			stop(t, l)
			maps.Copy(s.keys, backup)
			if forget {
				s.orders, s.done = nil, map[string]map[string]bool{}
			}
			l = s.start(t, cfg)
			if err := l.Reindex(t.Context()); err != nil {
				t.Fatal(err)
			}
			if r, err := l.Reveal(t.Context(), alice.Index); err != nil || r.Erased {
				t.Fatalf("the test restores nothing: %+v, %v", r, err)
			}
			if err := l.ResumeErasures(t.Context()); err != nil {
				t.Fatal(err)
			}
			gone(t, l, s.memory, alice, bob)
		})
	}
}

func TestWhatAnErasureRefuses(t *testing.T) {
	s, cfg := newShredder(), config(t.TempDir())
	l := s.start(t, cfg)
	callOf(t, l, 1, "alice")
	r := request(t, 2)
	r.Who.Subject.Issuer = "https://other.example"
	if _, err := l.Verdict(t.Context(), audit.Intent{Request: r, Decision: deny(r)}); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		o    audit.ErasureOrder
		code access.Code
	}{
		"no reason":           {audit.ErasureOrder{Person: "alice", Issuer: "https://idp.example.org"}, access.CodeInvalid},
		"a reason that names": {audit.ErasureOrder{Person: "alice", Issuer: "https://idp.example.org", Reason: "Alice asked"}, access.CodeInvalid},
		"nobody":              {audit.ErasureOrder{Reason: "r"}, access.CodeInvalid},
		"two of that id":      {audit.ErasureOrder{Person: "alice", Reason: "r"}, access.CodeConflict},
		"an unknown one":      {audit.ErasureOrder{Person: "carol", Reason: "r"}, access.CodeNotFound},
		"another issuer":      {audit.ErasureOrder{Person: "alice", Issuer: "https://third.example", Reason: "r"}, access.CodeNotFound},
		"an operator":         {audit.ErasureOrder{Person: "user:root", Reason: "r"}, access.CodeNotFound},
		"an agent":            {audit.ErasureOrder{Person: "release-bot", Reason: "r"}, access.CodeNotFound},
	}
	if _, err := l.Admin(t.Context(), audit.Admin{ID: "chg_1", Actor: "user:root", Verb: "apply", Kind: "Agent", Object: "x", Reason: "because"}); err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(s.keys)
	for name, c := range cases {
		c.o.Actor = "user:root"
		if _, _, err := l.Erase(t.Context(), c.o); access.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop(t, l)
	cfg.Retention.Hold = true
	l = s.start(t, cfg)
	o := order
	o.Issuer = "https://idp.example.org"
	if _, _, err := l.Erase(t.Context(), o); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("under a legal hold: %v", err)
	}
	after := maps.Clone(s.keys)
	maps.DeleteFunc(after, func(name string, _ []byte) bool { return strings.HasPrefix(name, "hold.") }) // the log says so there
	if !maps.EqualFunc(after, before, bytes.Equal) || len(s.keys) != len(before)+1 || len(s.orders) != 0 {
		t.Errorf("what was refused changed something: %d keys of %d, %+v", len(after), len(before), s.orders)
	}
}

// Calls of a person go on while they are erased: no row may show what its leaf no
// longer opens, however a call and the destruction of its key fall together.
func TestCallsDuringAnErasureAreOneOrTheOther(t *testing.T) {
	s, cfg := newShredder(), config(t.TempDir())
	l := s.start(t, cfg)
	callOf(t, l, 0, "alice")
	quit, done := make(chan struct{}), make(chan struct{})
	var refs []audit.Ref
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			select {
			case <-quit:
				return
			default:
			}
			r := request(t, n)
			ref, err := l.Verdict(context.Background(), audit.Intent{Request: r, Decision: deny(r)})
			if err != nil {
				t.Error(err)
				return
			}
			refs = append(refs, ref)
		}
	}()
	for range 3 {
		if _, _, err := l.Erase(t.Context(), order); err != nil && access.CodeOf(err) != access.CodeNotFound {
			t.Error(err)
		}
	}
	close(quit)
	<-done
	if err := l.AwaitIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := map[uint64]audit.Row{}
	for _, r := range s.all() {
		rows[r.Index] = r
	}
	erased := 0
	for i := 0; i < len(refs); i += 1 + len(refs)/200 { // to open one costs as much as there are
		ref := refs[i]
		r, err := l.Reveal(t.Context(), ref.Index)
		if err != nil {
			t.Fatal(err)
		}
		row := rows[ref.Index]
		if r.Erased != row.Erased || r.Erased && strings.Contains(row.Subject+row.Session+row.Task+row.Text, "alice") {
			t.Fatalf("leaf %d: opens %t, and its row is %+v", ref.Index, !r.Erased, row)
		}
		if r.Erased {
			erased++
		}
	}
	if erased == 0 {
		t.Error("no call was erased: the test shows nothing")
	}
}
