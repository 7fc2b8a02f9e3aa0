package audit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

func isSegment(name string) bool {
	return strings.HasSuffix(name, ".wal") || filepath.Base(name) == "next" && strings.Contains(name, "wal")
}

func TestFsyncError(t *testing.T) {
	var broken atomic.Bool
	var after atomic.Int64
	fsys := &hookFS{}
	fsys.sync = func(name string) error {
		if broken.Load() && isSegment(name) {
			after.Add(1)
			return syscall.EIO
		}
		return nil
	}
	fsys.write = func(name string, _ int64, _ []byte) error {
		if broken.Load() && after.Load() > 0 {
			t.Errorf("%s is written after a sync failed", name)
		}
		return nil
	}
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS = fsys
	l := start(t, cfg, m)
	first, _ := call(t, l, 1)
	before := l.Size()
	broken.Store(true)
	r := request(t, 2)
	for i := range 3 {
		_, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: permit(r)})
		if access.CodeOf(err) != access.CodeEvidence {
			t.Fatalf("intent %d: %v, want an evidence error", i, err)
		}
	}
	if err := l.Listed(context.Background(), audit.Intent{Request: r, Decision: permit(r)}); access.CodeOf(err) != access.CodeEvidence {
		t.Errorf("listed: %v, want an evidence error", err)
	}
	if access.CodeOf(l.Healthy()) != access.CodeEvidence {
		t.Errorf("healthy: %v", l.Healthy())
	}
	if n := after.Load(); n != 1 {
		t.Errorf("the descriptor was synced %d times after it failed once", n-1)
	}
	if l.Size() != before {
		t.Errorf("%d leaves are said to be durable, want %d", l.Size(), before)
	}
	if _, err := l.Leaf(context.Background(), first.Index); err != nil {
		t.Errorf("what was durable cannot be read: %v", err)
	}
	l.Close(context.Background())
	broken.Store(false)
	after.Store(0)
	l = start(t, cfg, m)
	call(t, l, 3)
	stop(t, l)
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
}

func TestWriteErrorKillsTheLog(t *testing.T) {
	var broken atomic.Bool
	fsys := &hookFS{write: func(name string, off int64, _ []byte) error {
		if broken.Load() && isSegment(name) && off > 0 {
			return syscall.ENOSPC
		}
		return nil
	}}
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS = fsys
	l := start(t, cfg, m)
	broken.Store(true)
	r := request(t, 1)
	if _, err := l.Verdict(context.Background(), audit.Intent{Request: r, Decision: deny(r)}); access.CodeOf(err) != access.CodeEvidence || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("verdict: %v, want an evidence error that wraps ENOSPC", err)
	}
	if l.Healthy() == nil {
		t.Error("the log lives on after a write failed")
	}
}

// A log that finds no room when it is opened says how much it needs.
func TestFullDiskAtTheStartSaysWhatToFree(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	cfg.WALBytes = 4 << 20
	cfg.FS = &hookFS{write: func(name string, _ int64, _ []byte) error {
		if filepath.Base(name) == "next" {
			return syscall.ENOSPC
		}
		return nil
	}}
	_, err := audit.Open(t.Context(), cfg, m, newSealer(), m)
	if access.CodeOf(err) != access.CodeEvidence || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free 4 MiB") || !strings.Contains(err.Error(), cfg.Dir) {
		t.Errorf("opened with %v", err)
	}
}

// A full disk is met when the next segment is to be made: nothing is taken any
// more, nothing that was taken is lost, and with room again the log goes on.
func TestDiskFull(t *testing.T) {
	var full atomic.Bool
	fsys := &hookFS{write: func(name string, off int64, _ []byte) error {
		if full.Load() && (filepath.Base(name) == "next" && off == 0 || !isSegment(name)) {
			return syscall.ENOSPC
		}
		return nil
	}}
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS, cfg.WALBytes = fsys, 64<<10
	l := start(t, cfg, m)
	full.Store(true)
	r := request(t, 1)
	i := audit.Intent{Request: r, Decision: deny(r)}
	var taken []audit.Ref
	var err error
	for len(taken) < 1000 {
		var ref audit.Ref
		if ref, err = l.Verdict(context.Background(), i); err != nil {
			break
		}
		taken = append(taken, ref)
	}
	if access.CodeOf(err) != access.CodeEvidence || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d leaves: %v, want an evidence error that wraps ENOSPC", len(taken), err)
	}
	if l.Healthy() != nil {
		t.Fatalf("a full disk killed the log: %v", l.Healthy())
	}
	if err := l.Listed(context.Background(), i); err != nil { // queued, not dropped
		t.Fatalf("listed: %v", err)
	}
	full.Store(false)
	for deadline := time.Now().Add(10 * time.Second); l.Size() < uint64(len(taken)+2); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d leaves, want %d: what was listed is lost", l.Size(), len(taken)+2)
		}
	}
	ref, err := l.Verdict(context.Background(), i)
	if err != nil {
		t.Fatalf("with room again: %v", err)
	}
	for _, r := range append(taken, ref) {
		mustHave(t, l, r)
	}
	stop(t, l)
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
}

// A failing sealer is an alarm; what is durable stays, and it is sealed later.
func TestSealingIsTriedAgain(t *testing.T) {
	var full atomic.Bool
	fsys := &hookFS{write: func(name string, _ int64, _ []byte) error {
		if full.Load() && !isSegment(name) {
			return syscall.ENOSPC
		}
		return nil
	}}
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS = fsys
	l := start(t, cfg, m)
	full.Store(true)
	intent, _ := call(t, l, 1)
	if _, err := l.Prove(context.Background(), intent.Index); err == nil {
		t.Fatal("proved a leaf that could not be sealed")
	}
	full.Store(false)
	if _, err := l.Prove(context.Background(), intent.Index); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	verifyOK(t, cfg.Dir, audit.VerifyOptions{})
}

// Sealing that fails again and again writes its payloads over, so that it does
// not fill the disk it waits for.
func TestFailedSealingGrowsNoPack(t *testing.T) {
	var full atomic.Bool
	fsys := &hookFS{write: func(name string, _ int64, _ []byte) error {
		if full.Load() && filepath.Base(name) == "tile" {
			return syscall.ENOSPC
		}
		return nil
	}}
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS = fsys
	l := start(t, cfg, m)
	size := func() (n int64) {
		packs, err := filepath.Glob(filepath.Join(cfg.Dir, "payload", "decision", "*", "*.pack"))
		if err != nil || len(packs) != 1 {
			t.Fatalf("packs %v, %v", packs, err)
		}
		info, err := os.Stat(packs[0])
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	first, _ := call(t, l, 1)
	if _, err := l.Prove(context.Background(), first.Index); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	before := size()
	last, _ := call(t, l, 2)
	var grown []int64
	for range 3 {
		if _, err := l.Prove(context.Background(), last.Index); err == nil {
			t.Fatal("proved a leaf that could not be sealed")
		}
		grown = append(grown, size()-before)
	}
	if grown[0] == 0 || grown[0] != grown[1] || grown[1] != grown[2] {
		t.Errorf("the pack grew by %v with each attempt", grown)
	}
	full.Store(false)
	call(t, l, 3)
	stop(t, l)
	if r := verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true}); r.Payloads != 6 {
		t.Errorf("%d payloads verify", r.Payloads)
	}
}

func TestSealerSyncErrorKillsTheLog(t *testing.T) {
	var broken atomic.Bool
	fsys := &hookFS{sync: func(name string) error {
		if broken.Load() && filepath.Base(filepath.Dir(name)) == "tmp" {
			return syscall.EIO
		}
		return nil
	}}
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS = fsys
	l := start(t, cfg, m)
	broken.Store(true)
	intent, _ := call(t, l, 1)
	if _, err := l.Prove(context.Background(), intent.Index); err == nil {
		t.Error("proved a leaf whose tile may not be on disk")
	}
	if l.Healthy() == nil {
		t.Error("the log lives on after a sync failed")
	}
}

func mustHave(tb testing.TB, l *audit.Log, ref audit.Ref) {
	tb.Helper()
	leaf, err := l.Leaf(context.Background(), ref.Index)
	if err != nil {
		tb.Fatalf("leaf %d was acknowledged: %v", ref.Index, err)
	}
	if hashLeaf(leaf) != ref.Hash {
		tb.Fatalf("leaf %d is not the one that was acknowledged", ref.Index)
	}
}

// syncGate holds every sync of a segment until it is opened, at the latest when
// the test ends; held is told of each.
func syncGate(t *testing.T) (fsys *hookFS, hold func(), release func(), held chan struct{}) {
	var gate atomic.Pointer[chan struct{}]
	held = make(chan struct{}, 1)
	fsys = &hookFS{sync: func(name string) error {
		if c := gate.Load(); c != nil && isSegment(name) {
			select {
			case held <- struct{}{}:
			default:
			}
			<-*c
		}
		return nil
	}}
	release = func() {
		if c := gate.Swap(nil); c != nil {
			close(*c)
		}
	}
	hold = func() {
		c := make(chan struct{})
		gate.Store(&c)
		t.Cleanup(release) // before the log is stopped, which waits for the sync
	}
	return fsys, hold, release, held
}

func TestIntentWaitsForTheSync(t *testing.T) {
	fsys, hold, release, _ := syncGate(t)
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS = fsys
	l := start(t, cfg, m)
	hold()
	r := request(t, 1)
	got := make(chan error, 1)
	go func() {
		_, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: permit(r)})
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("the intent returned (%v) before the sync", err)
	case <-time.After(50 * time.Millisecond):
	}
	release()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestRelaxedReadsDoNotWait(t *testing.T) {
	fsys, hold, release, _ := syncGate(t)
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS, cfg.Durability = fsys, audit.DurabilityRelaxed
	l := start(t, cfg, m)
	ctx := context.Background()
	r := request(t, 1)
	read := permit(r)
	read.Tier = 0
	intent, err := l.Intent(ctx, audit.Intent{Request: r, Decision: read})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); l.Size() <= intent.Index; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a leaf that was only written is never synced")
		}
	}
	hold()                                               // no sync is under way that the outcome would have to stand behind
	outcome, err := l.Outcome(ctx, outcomeOf(r, intent)) // must not wait
	if err != nil {
		t.Fatal(err)
	}
	size := l.Size()
	if size > outcome.Index {
		t.Errorf("leaf %d counts as durable before the sync", outcome.Index)
	}
	release()
	second := request(t, 2) // tier 1 is awaited, whatever the setting
	ref, err := l.Intent(ctx, audit.Intent{Request: second, Decision: permit(second)})
	if err != nil {
		t.Fatal(err)
	}
	for index, want := range map[uint64]bool{intent.Index: true, outcome.Index: true, ref.Index: false} {
		leaf, err := l.Leaf(ctx, index)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(leaf), `"dur":"written"`); got != want {
			t.Errorf("leaf %d says it was only written: %v, want %v", index, got, want)
		}
	}
	leaf, _ := l.Leaf(ctx, 0)
	if !strings.Contains(string(leaf), `"durability":"relaxed_reads"`) {
		t.Errorf("log.open does not show the setting: %s", leaf)
	}
}

func TestListedWaitsWhenTheQueueIsFull(t *testing.T) {
	fsys, hold, release, _ := syncGate(t)
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS, cfg.WALBytes = fsys, 8<<20
	l := start(t, cfg, m)
	r := request(t, 1)
	r.Method, r.Kind, r.Target = "tools/list", access.KindServer, ""
	i := audit.Intent{Request: r, Decision: permit(r)}
	hold()
	listed := 0
	for ; ; listed++ {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		err := l.Listed(ctx, i)
		cancel()
		if err != nil {
			if access.CodeOf(err) != access.CodeEvidence {
				t.Errorf("a full queue: %v, want an evidence error", err)
			}
			break
		}
		if listed > 5000 {
			t.Fatal("the queue has no bound")
		}
	}
	release()
	for deadline := time.Now().Add(10 * time.Second); l.Size() < uint64(listed)+1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d listed leaves were kept", l.Size()-1, listed)
		}
	}
	if err := l.Listed(context.Background(), i); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	if r := verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true}); r.Size != uint64(listed)+3 {
		t.Errorf("%d leaves, want %d", r.Size, listed+3)
	}
}

func TestCancelledCallerLeavesNoLeaf(t *testing.T) {
	fsys, hold, release, held := syncGate(t)
	cfg, m := config(t.TempDir()), newMemory()
	cfg.FS = fsys
	l := start(t, cfg, m)
	hold()
	r := request(t, 1)
	i := audit.Intent{Request: r, Decision: deny(r)}
	first := make(chan error, 1)
	go func() { _, err := l.Verdict(context.Background(), i); first <- err }()
	<-held // the committer is in the sync of the first
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Verdict(ctx, i); access.CodeOf(err) != access.CodeEvidence || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller that went away: %v", err)
	}
	release()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	ref, err := l.Verdict(context.Background(), i)
	if err != nil || ref.Index != 2 {
		t.Errorf("the next leaf is %d (%v), want 2: the cancelled one must not exist", ref.Index, err)
	}
}

func TestSecondWriterIsRefused(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	start(t, cfg, m)
	if _, err := audit.Open(context.Background(), cfg, m, newSealer(), m); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("a second writer: %v, want a conflict", err)
	}
}

func TestModesAreOwnerOnly(t *testing.T) {
	cfg, _, _ := filled(t, 3)
	err := filepath.WalkDir(cfg.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(cfg.Dir + "-signing.key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the signing key: %v, %v", info, err)
	}
}
