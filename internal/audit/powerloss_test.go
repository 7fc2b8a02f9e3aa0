package audit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"rutile/internal/audit"
)

// TestPowerLoss records everything a loaded log does to its disk and then takes
// the power away at many points: writes that were not synced are lost in
// arbitrary parts, directory entries that were not synced are lost from some
// point on. Whatever is left must open, hold every acknowledged leaf and agree
// with every checkpoint that was ever published.
func TestPowerLoss(t *testing.T) {
	for _, durability := range []string{audit.DurabilityStrict, audit.DurabilityRelaxed} {
		t.Run(durability, func(t *testing.T) {
			dir := t.TempDir()
			ops, m := recordLoad(t, dir, durability)
			cases := 30
			if long() {
				cases = 3000
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range cases {
				k := rng.IntN(len(ops) + 1)
				t.Run(fmt.Sprintf("%d-at-%d", i, k), func(t *testing.T) { powerLossAt(t, dir, ops[:k], rng, m, durability) })
			}
		})
	}
}

// recordLoad runs two boots of a log under load.
func recordLoad(t *testing.T, dir, durability string) ([]op, *memory) {
	t.Helper()
	fsys := &hookFS{log: &recording{}}
	cfg, m := config(dir), newMemory()
	cfg.FS, cfg.WALBytes, cfg.Durability = fsys, 64<<10, durability
	m.onMark = func(mark uint64) { fsys.record(op{kind: opMark, mark: mark}) }
	for boot := range 2 {
		l := start(t, cfg, m)
		var wg sync.WaitGroup
		for c := range 3 {
			wg.Go(func() {
				for n := range 25 {
					r := request(t, 1000*boot+100*c+n)
					d := permit(r)
					if d.Tier = 0; n%6 == 0 {
						d.Tier = 1
					}
					ref, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: d})
					if err != nil {
						t.Error(err)
						return
					}
					// A relaxed leaf survives the death of the process only.
					if d.Tier == 1 || durability == audit.DurabilityStrict {
						fsys.record(op{kind: opAck, ref: ref})
					}
					if n%8 == 7 { // sealed at once
						changed, err := l.Admin(context.Background(), change())
						if err != nil {
							t.Error(err)
						}
						fsys.record(op{kind: opAck, ref: changed})
					}
					if n%5 == 0 {
						if _, err := l.Outcome(context.Background(), outcomeOf(r, ref)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		stop(t, l)
	}
	return fsys.log.ops, m
}

// disk is what a power loss leaves.
type disk struct {
	files map[int][]byte // by inode
	names map[string]int // inode of each file, -1 for a directory
}

func powerLossAt(t *testing.T, root string, ops []op, rng *rand.Rand, m *memory, durability string) {
	d := survive(ops, rng)
	dir := t.TempDir()
	defer os.RemoveAll(dir)
	d.materialise(t, root, dir)
	m2 := m.keysOnly()
	for _, o := range ops {
		if o.kind == opMark {
			m2.mark = o.mark
		}
	}
	cfg := config(dir)
	cfg.Durability = durability
	l, err := audit.Open(context.Background(), cfg, m2, newSealer(), m2)
	if err != nil {
		t.Fatalf("after a power loss: %v", err)
	}
	acked := map[uint64]bool{}
	leaves := everyLeaf(t, l)
	for _, o := range ops {
		if o.kind == opAck {
			if acked[o.ref.Index] {
				t.Fatalf("leaf %d was acknowledged twice", o.ref.Index)
			}
			acked[o.ref.Index] = true
			if o.ref.Index >= uint64(len(leaves)) || hashLeaf(leaves[o.ref.Index]) != o.ref.Hash {
				t.Fatalf("of %d leaves %d is not the one that was acknowledged", len(leaves), o.ref.Index)
			}
		}
	}
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	r, err := audit.VerifyDir(cfg.Dir, audit.VerifyOptions{Complete: true})
	if err != nil || r.ExitStatus() == audit.ExitProblems {
		t.Fatalf("%v %q", err, r.Problems)
	}
	consistent(t, leaves, published(ops))
}

func everyLeaf(t *testing.T, l *audit.Log) [][]byte {
	t.Helper()
	var out [][]byte
	for n := range l.Size() {
		leaf, err := l.Leaf(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, leaf)
	}
	return out
}

// published returns every checkpoint that stood under its name.
func published(ops []op) []string {
	content := map[int]string{}
	tmp := map[string]int{}
	var out []string
	for _, o := range ops {
		switch {
		case o.kind == opCreate:
			tmp[o.name] = o.inode
		case o.kind == opWrite:
			content[o.inode] = string(o.data)
		case o.kind == opRename && filepath.Base(o.to) == "checkpoint":
			out = append(out, content[tmp[o.name]])
		}
	}
	return out
}

// consistent checks that every checkpoint is one of the history of l.
func consistent(t *testing.T, leaves [][]byte, checkpoints []string) {
	t.Helper()
	roots := map[uint64]string{}
	for _, c := range checkpoints {
		lines := strings.SplitN(c, "\n", 4)
		var size uint64
		if _, err := fmt.Sscan(lines[1], &size); err != nil {
			t.Fatalf("checkpoint %q: %v", c, err)
		}
		if old, ok := roots[size]; ok && old != lines[2] {
			t.Fatalf("two checkpoints of size %d have roots %s and %s", size, old, lines[2])
		}
		roots[size] = lines[2]
	}
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = hashes[x]
		}
		return out, nil
	})
	left := len(roots)
	for n, leaf := range leaves {
		if want, ok := roots[uint64(n)]; ok {
			if root, err := tlog.TreeHash(int64(n), reader); err != nil || root.String() != want {
				t.Fatalf("the root at size %d is %s, the checkpoint said %s (%v)", n, root, want, err)
			}
			left--
		}
		h, err := tlog.StoredHashes(int64(n), leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, h...)
	}
	if _, ok := roots[uint64(len(leaves))]; ok {
		left--
	}
	if left != 0 {
		t.Fatalf("%d published checkpoints are larger than the log of %d", left, len(leaves))
	}
}

// survive decides what a disk holds after the operations.
func survive(ops []op, rng *rand.Rand) *disk {
	d := &disk{files: map[int][]byte{}, names: map[string]int{}}
	pending := map[int][]op{}    // unsynced writes by inode
	entries := map[string][]op{} // unsynced entries by directory
	apply := func(o op) {
		end := int(o.off) + len(o.data)
		if len(d.files[o.inode]) < end {
			d.files[o.inode] = append(d.files[o.inode], make([]byte, end-len(d.files[o.inode]))...)
		}
		copy(d.files[o.inode][o.off:], o.data)
	}
	enter := func(o op) {
		switch o.kind {
		case opCreate:
			d.names[o.name] = o.inode
		case opMkdir:
			d.names[o.name] = -1
		case opRename:
			d.names[o.to] = o.inode
			delete(d.names, o.name)
		case opRemove:
			delete(d.names, o.name)
		}
	}
	current := map[string]int{} // names as the running process sees them
	for _, o := range ops {
		switch o.kind {
		case opWrite:
			pending[o.inode] = append(pending[o.inode], o)
		case opSync:
			for _, w := range pending[o.inode] {
				apply(w)
			}
			delete(pending, o.inode)
		case opSyncDir:
			for _, e := range entries[o.name] {
				enter(e)
			}
			delete(entries, o.name)
		case opCreate, opMkdir, opRename, opRemove:
			if o.kind == opCreate {
				current[o.name] = o.inode
			}
			if o.kind == opRename {
				o.inode = current[o.name]
				current[o.to] = o.inode
			}
			entries[o.dir()] = append(entries[o.dir()], o)
		}
	}
	for _, writes := range pending {
		for _, w := range writes {
			for start := 0; start < len(w.data); start += 512 { // sector by sector
				if rng.IntN(2) == 0 {
					end := min(start+512, len(w.data))
					apply(op{inode: w.inode, off: w.off + int64(start), data: w.data[start:end]})
				}
			}
		}
	}
	for _, list := range entries {
		for _, e := range list[:rng.IntN(len(list)+1)] {
			enter(e)
		}
	}
	return d
}

// materialise writes the disk's files, recorded below root, into dir.
func (d *disk) materialise(t *testing.T, root, dir string) {
	t.Helper()
	exists := func(name string) bool { return name == root || d.names[name] == -1 }
	place := func(name string) string { return filepath.Join(dir, strings.TrimPrefix(name, root)) }
	var reachable func(name string) bool
	reachable = func(name string) bool {
		return name == root || exists(name) && reachable(filepath.Dir(name))
	}
	for name, inode := range d.names {
		parent := filepath.Dir(name)
		if inode == -1 {
			parent = name
		}
		if !reachable(parent) {
			continue
		}
		if err := os.MkdirAll(place(parent), 0o700); err != nil {
			t.Fatal(err)
		}
		if inode != -1 {
			if err := os.WriteFile(place(name), d.files[inode], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
