package witness_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/audit/witness"
	"rutile/internal/credential"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// node is a real log in a real store.
type node struct {
	*testing.T
	dir string
	db  *store.Store
	log *audit.Log
	cfg audit.Config
}

func (n *node) config(dir string, keys []string, quorum int) {
	n.dir = dir
	n.cfg = audit.Config{Dir: filepath.Join(dir, "evidence"), Node: "n1", Tenant: "default", Origin: "example.com/rutile/default/n1/1", Witnesses: keys, Quorum: quorum}
}

func (n *node) open() error {
	n.Helper()
	var err error
	if n.db, err = store.Open(n.Context(), store.Config{DSN: "sqlite", Dir: n.dir}); err != nil {
		n.Fatal(err)
	}
	vault, err := credential.New(n.Context(), credential.Config{Tenant: "default", Dir: n.dir}, n.db)
	if err != nil {
		n.Fatal(err)
	}
	if n.log, err = audit.Open(n.Context(), n.cfg, n.db, vault, n.db); err != nil {
		return err
	}
	return nil
}

func (n *node) close() {
	n.Helper()
	_ = n.log.Close(context.WithoutCancel(n.Context())) // one that died says so
	if err := n.db.Close(); err != nil {
		n.Fatal(err)
	}
}

func newNode(t *testing.T, quorum int, keys ...string) *node {
	t.Helper()
	n := &node{T: t}
	n.config(storetest.Dir(t), keys, quorum)
	if err := n.open(); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) write(what string) uint64 {
	n.Helper()
	ref, err := n.log.Admin(n.Context(), audit.Admin{ID: "chg_1", Actor: "user:ann", Verb: "approve", Kind: "Server", Object: what})
	if err != nil {
		n.Fatal(err)
	}
	return ref.Index
}

// asking asks peers for the log of n until the test ends or stop is called.
func asking(n *node, now func() time.Time, trouble func(string), peers ...witness.Peer) (s *witness.Submitter) {
	n.Helper()
	s, err := witness.NewSubmitter(witness.SubmitterConfig{Log: n.log, Peers: peers, Transport: &http.Transport{DisableKeepAlives: true}, Logger: slog.New(slog.DiscardHandler), Now: now, Trouble: trouble})
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(s.Close)
	return s
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came that %s", what)
		}
	}
}

// started is a witness that is served under a key that is known before the log's.
type started struct {
	*witness.Witness
	handler atomic.Pointer[http.Handler]
	url     string
	dir     string
}

func start(t *testing.T) *started {
	s := &started{dir: t.TempDir()}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := s.handler.Load(); h != nil {
			(*h).ServeHTTP(w, r)
			return
		}
		http.Error(w, "not yet", http.StatusServiceUnavailable)
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	// Its key does not depend on whom it witnesses.
	w := openWitness(t, s.dir, newLog(t).vkey)
	s.Witness = w
	return s
}

func (s *started) serve(t *testing.T, logKey string) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Witness = openWitness(t, s.dir, logKey)
	t.Cleanup(func() { s.Witness.Close() })
	h := s.Handler(slog.New(slog.DiscardHandler))
	s.handler.Store(&h)
}

func (s *started) peer() witness.Peer { return witness.Peer{URL: s.url + "/", Key: s.Key()} }

// TestProofsLeadToACosignedCheckpoint: whoever demands the witness's word gets it
// with the proof, offline, and a copy of the log carries it.
func TestProofsLeadToACosignedCheckpoint(t *testing.T) {
	w := start(t)
	n := newNode(t, 0, w.Key())
	defer n.close()
	w.serve(t, n.log.VerifierKey())
	asking(n, time.Now, func(string) {}, w.peer())
	index := n.write("files")
	p, err := n.log.Prove(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	policy := fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", n.log.VerifierKey(), w.Key())
	r, err := audit.VerifyProof(p.Text(), p.Leaf, audit.VerifyOptions{Policy: policy})
	if err != nil || r.ExitStatus() != audit.ExitVerified {
		t.Errorf("a proof: %+v %v", r, err)
	}
	bundle := filepath.Join(t.TempDir(), "b")
	if err := n.log.ExportProofs([]*audit.Proof{p}, bundle); err != nil {
		t.Fatal(err)
	}
	if r, err = audit.Verify(bundle, audit.VerifyOptions{}); err != nil || r.ExitStatus() != audit.ExitVerified {
		t.Errorf("a bundle: %+v %v", r, err)
	}
	if r, err = audit.Verify(n.cfg.Dir, audit.VerifyOptions{Policy: policy}); err != nil || r.ExitStatus() != audit.ExitVerified || r.Witnessed <= index {
		t.Errorf("the log: %+v %v", r, err)
	}
	other := start(t)
	policy = fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", n.log.VerifierKey(), other.Key())
	if r, err = audit.Verify(n.cfg.Dir, audit.VerifyOptions{Policy: policy}); err != nil || r.ExitStatus() != audit.ExitLacking {
		t.Errorf("with another witness demanded: %+v %v", r, err)
	}
}

// TestWhatIsNewerThanTheWitnessIsSaid: and a cosigned checkpoint of another history
// does not verify.
func TestWhatIsNewerThanTheWitnessIsSaid(t *testing.T) {
	w := start(t)
	n := newNode(t, 0, w.Key())
	w.serve(t, n.log.VerifierKey())
	s := asking(n, time.Now, func(string) {}, w.peer())
	if _, err := n.log.Prove(t.Context(), n.write("files")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	n.write("later")
	n.close()
	policy := fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", n.log.VerifierKey(), w.Key())
	r, err := audit.Verify(n.cfg.Dir, audit.VerifyOptions{Policy: policy})
	if err != nil || r.ExitStatus() != audit.ExitLacking || !strings.Contains(strings.Join(r.Lacking, " "), "leaves are newer") {
		t.Errorf("%+v %v", r, err)
	}
	name := filepath.Join(n.cfg.Dir, "log", "witnessed")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(b), "\n", "x\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err = audit.Verify(n.cfg.Dir, audit.VerifyOptions{Policy: policy}); err != nil || r.ExitStatus() != audit.ExitProblems {
		t.Errorf("altered: %+v %v", r, err)
	}
	if err := n.open(); access.CodeOf(err) != access.CodeEvidence {
		t.Errorf("a log goes on beside it: %v", err)
	}
	n.db.Close()
}

// TestAnOldDirectoryIsGivenUp: evidence and database are put back together to a state
// before; only the witness knows better, and nothing more is written.
func TestAnOldDirectoryIsGivenUp(t *testing.T) {
	for _, more := range []int{0, 2, 3, 9} { // leaves the copy writes before it asks: fewer, as many and more than were lost
		t.Run(fmt.Sprint(more), func(t *testing.T) {
			t.Parallel()
			w := start(t)
			n := newNode(t, 0, w.Key())
			w.serve(t, n.log.VerifierKey())
			s := asking(n, time.Now, func(string) {}, w.peer())
			if _, err := n.log.Prove(t.Context(), n.write("first")); err != nil {
				t.Fatal(err)
			}
			s.Close()
			n.close()
			old := copied(t, n.dir)
			if err := n.open(); err != nil {
				t.Fatal(err)
			}
			s = asking(n, time.Now, func(string) {}, w.peer())
			n.write("will be denied")
			if _, err := n.log.Prove(t.Context(), n.write("the second")); err != nil {
				t.Fatal(err)
			}
			s.Close()
			n.close()

			n.config(old, []string{w.Key()}, 0)
			if err := n.open(); err != nil {
				t.Fatal(err)
			}
			defer n.close()
			for range more {
				n.write("another story")
			}
			var mu sync.Mutex
			said := ""
			asking(n, time.Now, func(why string) {
				mu.Lock()
				defer mu.Unlock()
				said = why
			}, w.peer())
			until(t, "there is trouble", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return said != ""
			})
			if n.log.Healthy() == nil {
				t.Errorf("it is written to: %s", said)
			}
			if _, err := n.log.Admin(t.Context(), audit.Admin{ID: "chg_2", Actor: "user:ann", Verb: "approve", Kind: "Server", Object: "x"}); err == nil {
				t.Error("a change was recorded in a second history")
			}
		})
	}
}

// TestALiarStopsNothing: what a witness says alone, without our signature under it,
// neither ends the log nor counts as a cosignature, and a deaf one holds up nothing.
func TestALiarStopsNothing(t *testing.T) {
	honest := start(t)
	l := newLog(t, leaves...)
	answers := map[string]func(w http.ResponseWriter, r *http.Request){
		"another's signature": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "— w.example.com/w1 %s\n", strings.Repeat("A", 100))
		},
		"a size of its own, and a checkpoint of another log": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_, _ = w.Write(l.checkpoint(7))
				return
			}
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, "1000000\n")
		},
		"no size":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) },
		"too much": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) },
		"away":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(answer))
			defer srv.Close()
			n := newNode(t, 0, honest.Key())
			defer n.close()
			var clock atomic.Int64
			clock.Store(1_800_000_000)
			var said atomic.Pointer[string]
			s := asking(n, func() time.Time { return time.Unix(clock.Load(), 0) }, func(why string) { said.Store(&why) }, witness.Peer{URL: srv.URL, Key: honest.Key()})
			until(t, "it is asked", func() bool { _, whys := s.Status(); return len(whys) == 1 })
			if said.Load() != nil {
				t.Errorf("trouble at once: %s", *said.Load())
			}
			clock.Add(700)
			before := time.Now()
			p, err := n.log.Prove(t.Context(), n.write("files"))
			if err != nil || n.log.Healthy() != nil {
				t.Fatalf("after %v: %v, %v", time.Since(before), err, n.log.Healthy())
			}
			if c, _ := n.log.Witnessed(); c.Size != 0 || strings.Count(string(p.Checkpoint), "—") != 1 {
				t.Errorf("it counts as cosigned: %d\n%s", c.Size, p.Checkpoint)
			}
			until(t, "there is trouble", func() bool { return said.Load() != nil && *said.Load() != "" })
		})
	}
}

// TestAQuorumIsEnough: one of two that is away is named and holds up nothing.
func TestAQuorumIsEnough(t *testing.T) {
	one, two := start(t), start(t)
	// Two witnesses need two names: a key belongs to one.
	n := newNode(t, 1, one.Key(), two.Key())
	defer n.close()
	one.serve(t, n.log.VerifierKey())
	s := asking(n, time.Now, func(string) {}, one.peer(), two.peer())
	p, err := n.log.Prove(t.Context(), n.write("files"))
	if err != nil || strings.Count(string(p.Checkpoint), "—") != 2 {
		t.Fatalf("%v\n%s", err, p.Checkpoint)
	}
	if _, whys := s.Status(); len(whys) != 1 || !strings.Contains(whys[0], two.url) || !strings.Contains(whys[0], "503") {
		t.Errorf("whys: %v", whys)
	}
	for _, bad := range []audit.Config{{Witnesses: []string{one.Key(), one.Key()}}, {Witnesses: []string{one.Key()}, Quorum: 2}, {Quorum: 1}, {Witnesses: []string{n.log.VerifierKey()}}} {
		cfg := n.cfg
		cfg.Dir, cfg.Witnesses, cfg.Quorum = filepath.Join(t.TempDir(), "evidence"), bad.Witnesses, bad.Quorum
		if _, err := audit.Open(t.Context(), cfg, n.db, refusing{}, n.db); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

type refusing struct{}

func (refusing) Seal(context.Context, string, []byte) ([]byte, error) {
	return nil, fmt.Errorf("nothing is sealed")
}

func (refusing) Open(context.Context, string, []byte) ([]byte, error) {
	return nil, fmt.Errorf("nothing is opened")
}
