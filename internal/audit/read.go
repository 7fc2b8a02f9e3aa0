package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"

	"rutile/internal/access"
)

// Leaf returns the bytes of the durable leaf at index.
func (l *Log) Leaf(ctx context.Context, index uint64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if size := l.Size(); index >= size {
		return nil, access.Errorf(access.CodeNotFound, "there is no leaf %d; the log has %d", index, size)
	}
	leaves, first, err := l.leavesAt(index)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), leaves[index-first]...), nil
}

// leavesAt returns the run of leaves around index that can be had in one piece
// and the index of its first. They must not be changed.
func (l *Log) leavesAt(index uint64) (leaves [][]byte, first uint64, err error) {
	l.seal.mu.Lock()
	sealed := l.seal.head.size
	if index >= sealed {
		for _, g := range l.seal.pending {
			if index >= g.first && index < g.end() {
				l.seal.mu.Unlock()
				return g.leaves, g.first, nil
			}
		}
	}
	l.seal.mu.Unlock()
	if index < l.minimum() {
		leaf, err := l.keptLeaf(index)
		return [][]byte{leaf}, index, err
	}
	n := index / tileWidth
	leaves, err = readBundle(l.readLog, n, tileWidthAt(sealed, 0, n))
	if errors.Is(err, fs.ErrNotExist) && index < l.minimum() { // it went meanwhile
		leaf, err := l.keptLeaf(index)
		return [][]byte{leaf}, index, err
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading leaf %d: %w", index, err)
	}
	return leaves, n * tileWidth, nil
}

// readLog reads a file of log/.
func (l *Log) readLog(path string) ([]byte, error) {
	return readFile(l.fs, filepath.Join(l.logDir(), filepath.FromSlash(path)))
}

// Entry is a leaf and where it stands.
type Entry struct {
	Index uint64
	Leaf  []byte // must not be changed
}

// Follow yields durable leaves from index on, in order, and then waits for more
// until ctx ends or the log closes. The last pair may be an error.
func (l *Log) Follow(ctx context.Context, from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		next := from
		for {
			grown := l.growth(next)
			for next < l.Size() {
				leaves, first, err := l.leavesAt(next)
				if err != nil {
					yield(Entry{}, err)
					return
				}
				for next < first+uint64(len(leaves)) {
					if ctx.Err() != nil || !yield(Entry{next, leaves[next-first]}, nil) {
						return
					}
					next++
				}
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			case <-l.died:
				yield(Entry{}, l.Healthy())
				return
			case <-l.committed:
				if next >= l.Size() {
					return
				}
			}
		}
	}
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// growth returns a channel that is closed once the log is larger than size.
func (l *Log) growth(size uint64) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Size() > size {
		return closedChan
	}
	if l.grown == nil {
		l.grown = make(chan struct{})
	}
	return l.grown
}
