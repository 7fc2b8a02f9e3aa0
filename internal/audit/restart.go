package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Head is a signed head of a log.
type Head struct {
	Size uint64
	Root [32]byte
}

// Heads may be implemented by an Index that also remembers signed heads, so
// that an old or altered directory is recognised and not only a short one.
type Heads interface {
	// PutHead remembers a head; one of that size may be there already.
	PutHead(ctx context.Context, origin string, h Head) error
	// LatestHead returns the largest head remembered, the zero Head if none.
	LatestHead(ctx context.Context, origin string) (Head, error)
}

// checkRollback compares the directory with what is known of it elsewhere.
func (l *Log) checkRollback(ctx context.Context, st *recovered) error {
	known, err := l.index.Watermark(ctx, l.cfg.Origin)
	if err != nil {
		return fmt.Errorf("reading the index's watermark: %w", err)
	}
	if known > st.size {
		return refuse("it holds %d leaves but the index has seen %d: it is an older copy", st.size, known)
	}
	heads, ok := l.index.(Heads)
	if !ok {
		return nil
	}
	h, err := heads.LatestHead(ctx, l.cfg.Origin)
	if err != nil {
		return fmt.Errorf("reading the remembered head: %w", err)
	}
	if h.Size > st.size {
		return refuse("it holds %d leaves but a head of %d was signed: it is an older copy", st.size, h.Size)
	}
	if root, known := l.rootAt(st, h.Size); known && root != tlog.Hash(h.Root) {
		return refuse("its root at size %d is not the one that was signed", h.Size)
	}
	return nil
}

// rootAt returns the recovered log's root at size, where it can be computed
// from what recovery read.
func (l *Log) rootAt(st *recovered, size uint64) (tlog.Hash, bool) {
	if size == 0 {
		return tlog.Hash{}, false
	}
	if size >= st.head.size {
		front := st.front.clone()
		for _, g := range st.groups {
			for i := range g.hashes {
				if front.size == size {
					return front.root(), true
				}
				_ = front.push(g.hashes[i], nil) // without full nothing fails
			}
		}
		return front.root(), front.size == size
	}
	tree := tlog.Tree{N: int64(st.head.size), Hash: st.head.root}
	reader := tlog.TileHashReader(tree, tileReader{l.readLog})
	root, err := tlog.TreeHash(int64(size), reader)
	if err != nil {
		l.log.Error("reading the tiles of a signed head", "err", err)
		return tlog.Hash{}, true // which is no root: tiles that do not verify were altered
	}
	return root, true
}

// rememberHead tells the index, where it keeps heads, what was signed.
func (l *Log) rememberHead(h head) {
	heads, ok := l.index.(Heads)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := heads.PutHead(ctx, h.origin, Head{h.size, h.root}); err != nil {
		l.log.Error("remembering a signed head", "err", err)
	}
}

// closeOpenIntents writes an outcome for every intent an earlier boot left
// without one. All of them lie after the last log.open, because it is written
// when those before it are closed.
func (l *Log) closeOpenIntents(ctx context.Context, size uint64) error {
	open, err := l.openIntents(size)
	if err != nil || len(open) == 0 {
		return err
	}
	for _, ref := range open {
		e, err := l.scribe.unknown(ctx, ref)
		if err != nil {
			return err
		}
		if _, err := l.submit(ctx, e); err != nil {
			return err
		}
	}
	l.log.Warn("closed calls whose outcome is unknown", "count", len(open))
	return nil
}

// openIntents reads back to the last log.open and returns the intents after it
// that have no outcome, in order.
func (l *Log) openIntents(size uint64) ([]Ref, error) {
	intents, closed := map[uint64]Ref{}, map[uint64]bool{}
	for next := size; next > 0; {
		leaves, first, err := l.leavesAt(next - 1)
		if errors.Is(err, errPruned) { // somebody removed them: what else is there goes on
			l.log.Error("calls of an earlier run may be left without an outcome", "error", err)
			break
		}
		if err != nil {
			return nil, err
		}
		for i := next - first; i > 0; i-- {
			index, leaf := first+i-1, leaves[i-1]
			v, err := parseLeaf(leaf)
			if err != nil {
				return nil, fmt.Errorf("leaf %d: %w", index, err)
			}
			switch v.get("type").str {
			case typeOpen:
				return stillOpen(intents, closed), nil
			case typeIntent:
				intents[index] = Ref{index, leafHash(leaf)}
			case typeOutcome:
				closed[uint64(v.get("intent").get("i").num)] = true
			}
		}
		next = first
	}
	return stillOpen(intents, closed), nil
}

func stillOpen(intents map[uint64]Ref, closed map[uint64]bool) []Ref {
	var open []Ref
	for i, r := range intents {
		if !closed[i] {
			open = append(open, r)
		}
	}
	slices.SortFunc(open, func(a, b Ref) int { return int(a.Index) - int(b.Index) })
	return open
}
