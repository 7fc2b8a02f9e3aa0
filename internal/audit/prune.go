package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"rutile/internal/access"
)

// Leaves of calls go by whole bundles: the log's minimum is raised, and what lies below
// it is deleted but for its hashes and the leaves of other classes, which are copied to
// kept/ before. All hash tiles stay, so every proof and checkpoint of before verifies.

// PolicyNotice is how long a policy stands in the log before leaves go by it, for those
// who watch the log.
const PolicyNotice = 30 * 24 * time.Hour

// Bounds of one run.
const (
	maxRaise = 4096 // bundles
	lookOn   = 16   // bundles behind the minimum that are looked through for the next outcome of a call before it
)

// keptDir is the directory of log/ with the leaves that outlive their bundle.
const keptDir = "kept"

// Pruner may be implemented by an Index whose rows of calls can be removed.
type Pruner interface {
	// PruneRows removes the rows of calls of origin whose first leaf is below an index.
	PruneRows(ctx context.Context, origin string, below uint64) error
}

// Raise is one raising of the log's minimum: leaves of calls below it are gone.
type Raise struct {
	Minimum uint64    `json:"minimum"`
	At      time.Time `json:"at"`
	Leaf    uint64    `json:"leaf,omitempty"` // that says so, 0 where none does
}

// Readers says who must have read a leaf before it goes: the name of the one that is
// furthest behind, and its next leaf. ok is false where nobody reads.
type Readers func(ctx context.Context) (name string, next uint64, ok bool, err error)

// HoldFor has pruning wait for readers. It is called before Retain.
func (l *Log) HoldFor(r Readers) {
	l.retaining.Lock()
	defer l.retaining.Unlock()
	l.readers = r
}

func (r *retention) minimum() uint64 {
	if len(r.Raised) == 0 {
		return 0
	}
	return r.Raised[len(r.Raised)-1].Minimum
}

// raised notes a new minimum. Of many the newest are told apart.
func (r *retention) raised(x Raise) {
	const most = 1000
	list := append(slices.Clone(r.Raised), x)
	if len(list) > most {
		list = list[len(list)-most:]
	}
	r.Raised = list
}

// errPruned is the cause of an error that says that a leaf is gone for its age.
var errPruned = errors.New("pruned by retention")

// pruned is the error of a leaf that is gone.
func (l *Log) pruned(index uint64) error {
	r := l.known()
	for _, x := range r.Raised {
		if index < x.Minimum && !x.At.IsZero() {
			return access.Errorf(access.CodeNotFound, "leaf %d was %w on %s: leaves of calls are kept for %d days, and what was proven of it verifies still", index, errPruned, x.At.Format(time.DateOnly), r.Policy.Decision)
		}
	}
	return &access.Error{Code: access.CodeNotFound, Msg: fmt.Sprintf("leaf %d is gone, and no leaf of the log says that it went: what was proven of it verifies still", index), Err: errPruned}
}

// Minimum is the index below which only what outlives its bundle can be read.
func (l *Log) Minimum() uint64 { return l.minimum() }

func (l *Log) minimum() uint64 {
	r := l.known()
	return r.minimum()
}

func keptName(index uint64) string { return keptDir + "/" + strconv.FormatUint(index, 10) + ".json" }

// keptLeaf reads a leaf below the minimum.
func (l *Log) keptLeaf(index uint64) ([]byte, error) {
	b, err := l.readLog(keptName(index))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, l.pruned(index)
	}
	return b, err
}

// keptLeaves returns the indexes of what outlives its bundle, ascending.
func (l *Log) keptLeaves() ([]uint64, error) {
	names, err := l.fs.List(l.inLog(keptDir))
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, name := range names {
		if i, ok := keptIndex(name); ok {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out, nil
}

// duePrune is what could go: the new minimum, and why it is not further.
type duePrune struct {
	minimum uint64
	waits   string
}

// dueLeaves returns how far the minimum may be raised.
func (l *Log) dueLeaves(ctx context.Context, r *retention) (duePrune, error) {
	from := r.minimum()
	d := duePrune{minimum: from}
	if r.Policy != l.cfg.Retention {
		d.waits = "the log does not say the policy yet"
		return d, nil
	}
	if from := r.Since.Add(PolicyNotice); r.Clock.Before(from) {
		d.waits = "the policy stands in the log for 30 days first, until " + from.Format(time.DateOnly)
		return d, nil
	}
	end := min(l.began, l.newest().size) / tileWidth // what was written since the start is needed by the next
	if l.readers != nil {
		name, next, ok, err := l.readers(ctx)
		if err != nil {
			return d, fmt.Errorf("asking who reads the log: %w", err)
		}
		if ok && next/tileWidth < end {
			end = next / tileWidth
			d.waits = fmt.Sprintf("sink %s has not got further than leaf %d", name, next)
		}
	}
	before := l.cutoff(r)
	for n := from / tileWidth; n < min(end, from/tileWidth+maxRaise); n++ {
		leaves, err := readBundle(l.readLog, n, tileWidth)
		if err != nil {
			return d, fmt.Errorf("reading bundle %d: %w", n, err)
		}
		for i, leaf := range leaves {
			at, err := leafTime(leaf)
			if err != nil {
				return d, fmt.Errorf("leaf %d: %w", n*tileWidth+uint64(i), err)
			}
			if !at.Before(before) {
				d.waits = ""
				return d, nil
			}
		}
		d.minimum = (n + 1) * tileWidth
	}
	return d, nil
}

// cutoff is the time before which leaves of calls are too old.
func (l *Log) cutoff(r *retention) time.Time { return r.Clock.AddDate(0, 0, -l.cfg.Retention.Decision) }

func leafTime(leaf []byte) (time.Time, error) {
	at, err := topString(leaf, "at")
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, at)
}

// raise copies what outlives its bundle, says in the log what goes, and deletes it. Each
// step can be done again; what is deleted stands below the minimum that is kept before.
func (l *Log) raise(ctx context.Context, o RetentionOrder, r *retention, to uint64) error {
	if from := r.minimum(); to > from {
		if err := l.copyKept(from, to); err != nil {
			return fmt.Errorf("keeping leaves: %w", err)
		}
		kept, err := l.keptLeaves()
		if err != nil {
			return err
		}
		n, _ := slices.BinarySearch(kept, to)
		ref, err := l.retentionLeaf(ctx, o, "prune", retained{Before: l.cutoff(r), Minimum: to, Kept: uint64(n)})
		if err != nil {
			return err
		}
		if err := l.seal.now(ctx); err != nil { // who verifies the directory finds the leaf before anything is missing
			return err
		}
		r.raised(Raise{Minimum: to, At: r.Clock, Leaf: ref.Index})
		r.Leaf = ref.Index
		if err := l.saveRetention(*r); err != nil {
			return err
		}
	}
	if err := l.pruneRows(ctx, r.minimum()); err != nil {
		return err
	}
	return l.removeBundles(r.minimum())
}

// copyKept makes durable copies of the leaves in [from, to) that stay: those of other
// classes, and the calls of which an outcome lies behind.
func (l *Log) copyKept(from, to uint64) error {
	stay, err := l.cutInTwo(from, to)
	if err != nil {
		return err
	}
	if err := makeDirs(l.fs, l.cfg.Dir, l.inLog(keptDir)); err != nil {
		return err
	}
	for n := from / tileWidth; n < to/tileWidth; n++ {
		leaves, err := readBundle(l.readLog, n, tileWidth)
		if err != nil {
			return err
		}
		for i, leaf := range leaves {
			index := n*tileWidth + uint64(i)
			class, err := topString(leaf, "class")
			if err != nil {
				return fmt.Errorf("leaf %d: %w", index, err)
			}
			if class == classDecision && !stay[index] {
				continue
			}
			if err := writeAtomic(l.fs, l.tmpName("kept"), l.inLog(filepath.FromSlash(keptName(index))), leaf); err != nil {
				return err
			}
		}
	}
	return l.fs.SyncDir(l.inLog(keptDir))
}

// cutInTwo returns the calls that begin in [from, to) and do not end there. Where one
// asked for input, its next outcome is looked for in a few bundles behind: it need not
// ever come.
func (l *Log) cutInTwo(from, to uint64) (map[uint64]bool, error) {
	open, asked := map[uint64]bool{}, map[uint64]bool{}
	for n := from / tileWidth; n < to/tileWidth+lookOn; n++ {
		leaves, err := l.bundle(n)
		if err != nil {
			return nil, err
		}
		for i, leaf := range leaves {
			index := n*tileWidth + uint64(i)
			v, err := parseLeaf(leaf)
			if err != nil {
				return nil, fmt.Errorf("leaf %d: %w", index, err)
			}
			typ, intent := v.get("type").str, uint64(v.get("intent").get("i").num)
			switch {
			case typ == typeIntent && index < to:
				open[index] = true
			case typ != typeOutcome || intent >= to:
			case index >= to:
				if open[intent] || asked[intent] {
					open[intent] = true
				}
			default:
				delete(open, intent)
				delete(asked, intent)
				if Status(v.get("st").str) == StatusInputRequired {
					asked[intent] = true
				}
			}
		}
	}
	return open, nil
}

// bundle returns the leaves of a bundle as far as they are sealed.
func (l *Log) bundle(n uint64) ([][]byte, error) {
	width := tileWidthAt(l.newest().size, 0, n)
	if width == 0 {
		return nil, nil
	}
	return readBundle(l.readLog, n, width)
}

// pruneRows removes the rows of calls that are gone: of a database that was put back as
// well.
func (l *Log) pruneRows(ctx context.Context, minimum uint64) error {
	p, ok := l.index.(Pruner)
	if !ok || minimum == 0 || l.rowsPruned == minimum {
		return nil
	}
	known := l.Indexed() >= minimum // else a rebuild may be about to put rows that it read before
	if err := p.PruneRows(ctx, l.cfg.Origin, minimum); err != nil {
		return fmt.Errorf("removing rows: %w", err)
	}
	if known {
		l.rowsPruned = minimum
	}
	return nil
}

// removeBundles deletes the bundles below the minimum, the first of them first.
func (l *Log) removeBundles(minimum uint64) error {
	end := minimum / tileWidth
	first := end
	for ; first > 0; first-- {
		f, err := l.fs.Open(l.inLog(filepath.FromSlash(bundlePath(first-1, tileWidth))), false)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	dirs := map[string]bool{}
	for n := first; n < end; n++ {
		name := l.inLog(filepath.FromSlash(bundlePath(n, tileWidth)))
		if err := l.fs.Remove(name); err != nil {
			return err
		}
		dirs[filepath.Dir(name)] = true
	}
	for dir := range dirs {
		if err := l.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// passing returns what finds the first index from one on that can be read, of those from
// on: leaves that are gone are passed over.
func (l *Log) passing(from uint64) (func(index uint64) uint64, error) {
	minimum := l.minimum()
	var kept []uint64
	if from < minimum {
		var err error
		if kept, err = l.keptLeaves(); err != nil {
			return nil, err
		}
	}
	return func(index uint64) uint64 {
		if index >= minimum {
			return index
		}
		if i, _ := slices.BinarySearch(kept, index); i < len(kept) && kept[i] < minimum {
			return kept[i]
		}
		return minimum
	}, nil
}
