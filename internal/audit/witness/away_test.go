package witness_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/audit"
	"rutile/internal/audit/witness"
	"rutile/internal/store/storetest"
)

// copied is a data directory as somebody keeps it.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(storetest.Dir(t), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.Walk(to, func(path string, fi os.FileInfo, err error) error {
		if err != nil || fi.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestManyProofsWaitOnceForAWitness: who exports much while a witness is away does not
// wait for each leaf.
func TestManyProofsWaitOnceForAWitness(t *testing.T) {
	t.Parallel()
	w := start(t)
	n := newNode(t, 0, w.Key())
	defer n.close()
	for range 4 {
		n.write("files")
	}
	var waited atomic.Int32
	go func() {
		for {
			select {
			case <-n.log.Unwitnessed():
				waited.Add(1)
			case <-t.Context().Done():
				return
			}
		}
	}()
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := n.log.Export(t.Context(), audit.Query{}, dir, audit.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	proofs, err := os.ReadDir(filepath.Join(dir, "proofs"))
	if err != nil || len(proofs) < 4 || waited.Load() != 1 {
		t.Errorf("%d waits for %d proofs, %v", waited.Load(), len(proofs), err)
	}
	if p, err := n.log.ProveCall(t.Context(), "chg_1"); err != nil || len(p) != 4 || waited.Load() != 2 {
		t.Errorf("%d waits for two times, %d proofs, %v", waited.Load(), len(p), err)
	}
}

// paced is a log for which the test says when a round begins.
type paced struct {
	*audit.Log
	round chan struct{}
}

func (p paced) Unwitnessed() <-chan struct{} { return p.round }

// TestWhoDidNotCosignStaysNamed: a quorum without it is no reason to forget one that
// is away, and it is asked until it answers.
func TestWhoDidNotCosignStaysNamed(t *testing.T) {
	one, two := start(t), start(t)
	n := newNode(t, 1, one.Key(), two.Key())
	defer n.close()
	one.serve(t, n.log.VerifierKey())
	p := paced{n.log, make(chan struct{})}
	s, err := witness.NewSubmitter(witness.SubmitterConfig{
		Log: p, Peers: []witness.Peer{one.peer(), two.peer()}, Transport: &http.Transport{DisableKeepAlives: true},
		Logger: slog.New(slog.DiscardHandler), Now: time.Now, Trouble: func(string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 { // the last begins after the one before is over
		p.round <- struct{}{}
	}
	if _, whys := s.Status(); len(whys) != 1 || !strings.Contains(whys[0], two.url) {
		t.Errorf("while it is away: %q", whys)
	}
	two.serve(t, n.log.VerifierKey())
	for range 3 {
		p.round <- struct{}{}
	}
	if _, whys := s.Status(); len(whys) != 0 {
		t.Errorf("when it is back: %q", whys)
	}
}

// TestAnotherHistoryHidesBehindNoCheckpoint: whoever has the log's key signs a second
// history and puts the cosignatures of the first beside it.
func TestAnotherHistoryHidesBehindNoCheckpoint(t *testing.T) {
	w := start(t)
	n := newNode(t, 0, w.Key())
	w.serve(t, n.log.VerifierKey())
	n.close()
	other := copied(t, n.dir)

	if err := n.open(); err != nil {
		t.Fatal(err)
	}
	s := asking(n, time.Now, func(string) {}, w.peer())
	if _, err := n.log.Prove(t.Context(), n.write("what was done")); err != nil {
		t.Fatal(err)
	}
	c, signed := n.log.Witnessed()
	s.Close()
	n.close()

	n.config(other, nil, 0)
	if err := n.open(); err != nil {
		t.Fatal(err)
	}
	p, err := n.log.Prove(t.Context(), n.write("what is told"))
	if err != nil {
		t.Fatal(err)
	}
	if size, _ := n.log.Head(); size != c.Size {
		t.Fatalf("%d leaves, not %d", size, c.Size)
	}
	if err := n.log.ExportProofs([]*audit.Proof{p}, filepath.Join(t.TempDir(), "b")); err != nil {
		t.Fatal(err)
	}
	key := n.log.VerifierKey()
	n.close()
	if err := os.WriteFile(filepath.Join(n.cfg.Dir, "log", "witnessed"), signed, 0o600); err != nil {
		t.Fatal(err)
	}
	policy := fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", key, w.Key())
	if r, err := audit.Verify(n.cfg.Dir, audit.VerifyOptions{Policy: policy}); err != nil || r.ExitStatus() != audit.ExitProblems || !strings.Contains(strings.Join(r.Problems, " "), "two histories") {
		t.Errorf("%+v %v", r, err)
	}
}
