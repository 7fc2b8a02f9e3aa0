package audit_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/audit"
)

const childEnv = "RUTILE_AUDIT_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := appendUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(retainEnv); dir != "" {
		if err := retainUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// files is a KeyStore and an Index that survives its process: keys one a file,
// and of the index only the watermark.
type files struct {
	dir string
	mu  sync.Mutex
}

func (f *files) EvidenceKey(_ context.Context, name string, make func() ([]byte, error)) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := filepath.Join(f.dir, "key-"+name)
	b, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if b, err = make(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return nil, err
	}
	return b, os.Rename(path+".new", path)
}

func (f *files) EvidenceKeys(context.Context) (map[string][]byte, error) {
	names, err := filepath.Glob(filepath.Join(f.dir, "key-*"))
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, n := range names {
		if name := strings.TrimPrefix(filepath.Base(n), "key-"); !strings.HasSuffix(name, ".new") {
			if out[name], err = os.ReadFile(n); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (f *files) PutRows(_ context.Context, _ string, _ []audit.Row, mark uint64) error {
	path := filepath.Join(f.dir, "mark")
	if err := os.WriteFile(path+".new", []byte(strconv.FormatUint(mark, 10)), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (f *files) Watermark(context.Context, string) (uint64, error) {
	b, err := os.ReadFile(filepath.Join(f.dir, "mark"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(string(b), 10, 64)
}

func (f *files) Search(context.Context, audit.Query) ([]audit.Row, error) { return nil, nil }
func (*files) SearchPart(context.Context, audit.Query) (audit.Part, error) {
	return audit.Part{}, nil
}

func (f *files) Count(context.Context, audit.Query, int) (int, error) { return 0, nil }
func (f *files) DropRows(context.Context, string) error               { return nil }

func childConfig(dir string) audit.Config {
	cfg := config(dir)
	cfg.WALBytes, cfg.SealEvery = 512<<10, 5*time.Millisecond
	return cfg
}

// appendUntilKilled is the child: four callers that say what was acknowledged
// and what they dispatched after it.
func appendUntilKilled(dir string) error {
	store := &files{dir: dir}
	l, err := audit.Open(context.Background(), childConfig(dir), store, newSealer(), store)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var tb testing.B
	errs := make(chan error, 4)
	for range 4 {
		go func() {
			for {
				r := request(&tb, 0)
				r.ID = "dec_" + strconv.FormatUint(rand.Uint64(), 36)
				ref, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: permit(r)})
				if err != nil {
					errs <- err
					return
				}
				fmt.Printf("dispatch %d %x %s\n", ref.Index, ref.Hash, r.ID)
				if rand.IntN(4) == 0 {
					continue // as if the upstream never answered
				}
				if ref, err = l.Outcome(context.Background(), outcomeOf(r, ref)); err != nil {
					errs <- err
					return
				}
				fmt.Printf("ack %d %x -\n", ref.Index, ref.Hash)
			}
		}()
	}
	return <-errs
}

// TestKill9 kills a process that appends under load, many times over one log:
// every dispatched call has an intent, every acknowledged leaf is there exactly
// once, and every checkpoint ever seen is one of the same history.
func TestKill9(t *testing.T) {
	kills := 8
	if long() {
		kills = 500
	}
	dir := t.TempDir()
	acked := map[uint64]string{}      // index to hash
	dispatched := map[string]uint64{} // decision to index
	var checkpoints []string
	for k := range kills {
		run(t, dir, time.Duration(rand.IntN(60))*time.Millisecond, acked, dispatched)
		if b, err := os.ReadFile(filepath.Join(dir, "evidence", "log", "checkpoint")); err == nil {
			checkpoints = append(checkpoints, string(b))
		}
		if t.Failed() {
			t.Fatalf("after %d kills", k+1)
		}
	}
	store := &files{dir: dir}
	l, err := audit.Open(context.Background(), childConfig(dir), store, newSealer(), store)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for n := uint64(0); n < l.Size(); n++ {
		leaf, err := l.Leaf(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		if want, ok := acked[n]; ok {
			if h := hashLeaf(leaf); hex.EncodeToString(h[:]) != want {
				t.Errorf("leaf %d is not the one that was acknowledged", n)
			}
			delete(acked, n)
		}
		if _, rest, ok := strings.Cut(string(leaf), `"id":"dec_`); ok {
			times["dec_"+rest[:strings.IndexByte(rest, '"')]]++
		}
	}
	if len(acked) > 0 {
		t.Errorf("%d acknowledged leaves are gone: %v", len(acked), acked)
	}
	for id := range dispatched {
		if times[id] != 1 {
			t.Errorf("the dispatched call %s has %d intents", id, times[id])
		}
	}
	consistent(t, everyLeaf(t, l), checkpoints)
	t.Logf("%d kills, %d leaves, %d dispatched", kills, l.Size(), len(dispatched))
	stop(t, l)
	if r := verifyOK(t, filepath.Join(dir, "evidence"), audit.VerifyOptions{Complete: true}); len(r.Unmatched) != 0 {
		t.Errorf("unmatched intents: %v", r.Unmatched)
	}
}

// run runs a child for a while after it is ready, kills it and collects what it
// said.
func run(t *testing.T, dir string, after time.Duration, acked map[uint64]string, dispatched map[string]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // the last line may be cut: it was not acknowledged to anybody
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		if line == "ready\n" {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
			continue
		}
		var kind, hash, id string
		var index uint64
		if _, err := fmt.Sscan(line, &kind, &index, &hash, &id); err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if _, ok := acked[index]; ok {
			t.Errorf("leaf %d was acknowledged twice", index)
		}
		acked[index] = hash
		if kind == "dispatch" {
			dispatched[id] = index
		}
	}
	cmd.Wait()
	if s := stderr.String(); s != "" {
		t.Errorf("the child said: %s", s)
	}
}
