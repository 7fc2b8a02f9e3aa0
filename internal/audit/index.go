package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of the indexer.
const (
	indexBatch = 1000
	indexPause = time.Second // lets rows gather: a call and its outcome are one, and the pages of many are written once
	maxLive    = 50_000      // rows kept for a slow store; beyond it they are derived from the log
	maxOpen    = 50_000      // rows kept of calls without an outcome; beyond it they are read
	indexRetry = time.Second
)

// indexer writes rows behind the log. Rows of leaves that come from appends are
// used while they follow on each other; any gap (a restart, a slow store, a
// reindex) is filled from the leaves. The rows of events are made of them.
type indexer struct {
	l       *Log
	deriver *deriver
	open    map[uint64]Row // stored rows of calls without an outcome
	wake    chan struct{}  // cap 1
	asked   chan struct{}  // cap 1: somebody waits for the index
	reindex chan chan error
	quit    chan struct{}
	cut     chan struct{} // closed when quit took too long
	done    chan struct{}

	mu      sync.Mutex
	live    []*Row
	indexed uint64
	drops   uint64        // how often the rows were dropped
	moved   chan struct{} // closed when indexed grows; nil if nobody waits
}

func newIndexer(l *Log) *indexer {
	return &indexer{
		l: l, deriver: newDeriver(l), open: map[uint64]Row{}, wake: make(chan struct{}, 1), asked: make(chan struct{}, 1), reindex: make(chan chan error),
		quit: make(chan struct{}), cut: make(chan struct{}), done: make(chan struct{}),
	}
}

// add takes the rows of newly durable leaves. Those that were made with keys of an
// earlier era may name whom a destroyed key named: they are derived from the leaves.
func (x *indexer) add(rows []*Row, era uint64) {
	x.mu.Lock()
	if len(x.live)+len(rows) > maxLive || era != x.l.keys.now() {
		x.live = nil
	} else {
		x.live = append(x.live, rows...)
	}
	full := len(x.live) >= indexBatch
	x.mu.Unlock()
	if full {
		x.ask()
	}
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *indexer) run() {
	defer close(x.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-x.cut:
			cancel()
		case <-x.done:
		}
	}()
	next, known := uint64(0), false
	for {
		wait, hurry := indexPause, x.asked
		if err := x.catchUp(ctx, &next, &known); err != nil {
			x.l.log.Error("indexing evidence; search lags behind", "err", err)
			wait, hurry = indexRetry, nil
		} else {
			select {
			case <-x.wake:
			case reply := <-x.reindex:
				x.restart() // first: nobody may take what is left meanwhile for all there is
				x.l.keys.forget()
				err := x.l.index.DropRows(ctx, x.l.cfg.Origin)
				next, known = 0, err == nil
				x.deriver = newDeriver(x.l)
				clear(x.open)
				x.forget()
				reply <- err
				continue
			case <-x.quit:
			}
		}
		select {
		case <-x.quit:
			if err := x.catchUp(ctx, &next, &known); err != nil {
				x.l.log.Warn("the index will be completed at the next start", "err", err)
			}
			return
		case <-time.After(wait):
		case <-hurry:
		}
	}
}

// ask ends the pause before its time, unless the store just failed.
func (x *indexer) ask() {
	select {
	case x.asked <- struct{}{}:
	default:
	}
}

// forget drops the live rows, so that everything is derived.
func (x *indexer) forget() {
	x.mu.Lock()
	x.live = nil
	x.mu.Unlock()
}

// catchUp indexes until nothing durable is missing.
func (x *indexer) catchUp(ctx context.Context, next *uint64, known *bool) error {
	if !*known {
		n, err := x.l.index.Watermark(ctx, x.l.cfg.Origin)
		if err != nil {
			return fmt.Errorf("reading the watermark: %w", err)
		}
		if n == 0 {
			// A dropping that was interrupted leaves rows, which may name whom a
			// destroyed key named.
			if err := x.l.index.DropRows(ctx, x.l.cfg.Origin); err != nil {
				return fmt.Errorf("dropping rows left behind: %w", err)
			}
		}
		*next, *known = n, true
		x.set(n)
	}
	for *next < x.l.Size() {
		leaves, n, err := x.batch(ctx, *next)
		if err != nil {
			return err
		}
		rows, err := x.events(ctx, leaves)
		if err != nil {
			return err
		}
		if err := x.l.index.PutRows(ctx, x.l.cfg.Origin, rows, n); err != nil {
			*known = *known && !errors.Is(err, ErrRowsLost) // what is missing is derived from where it ends
			return fmt.Errorf("writing rows: %w", err)
		}
		x.keepOpen(rows)
		*next = n
		x.drop(n)
		x.set(n)
	}
	return nil
}

// events makes the rows of events of those of leaves: an outcome goes into the
// row of its call.
func (x *indexer) events(ctx context.Context, leaves []*Row) ([]Row, error) {
	rows := make([]Row, 0, len(leaves))
	calls := map[uint64]int{} // where in rows a call is
	for _, leaf := range leaves {
		if leaf.Type != typeOutcome {
			calls[leaf.Index] = len(rows)
			rows = append(rows, *leaf)
			rows[len(rows)-1].Origin = x.l.cfg.Origin
			continue
		}
		at, ok := calls[uint64(leaf.Intent)]
		if !ok {
			call, err := x.call(ctx, leaf)
			if uint64(leaf.Intent) < x.l.minimum() && (err == nil || errors.Is(err, errPruned)) {
				continue // the row of the call is gone
			}
			if err != nil {
				return nil, err
			}
			at = len(rows)
			calls[call.Index] = at
			rows = append(rows, call)
		}
		rows[at].end(leaf)
	}
	return rows, nil
}

// call returns the row of the call that the outcome o belongs to, as it is
// stored.
func (x *indexer) call(ctx context.Context, o *Row) (Row, error) {
	index := uint64(o.Intent)
	if row, ok := x.open[index]; ok {
		return row, nil
	}
	rows, err := x.l.find(ctx, Query{From: index, Before: index + 1, Ascending: true, Limit: 1})
	if err != nil {
		return Row{}, fmt.Errorf("reading the row of leaf %d: %w", index, err)
	}
	if len(rows) > 0 {
		return rows[0], nil
	}
	row, err := x.deriver.intent(ctx, o)
	row.Origin = x.l.cfg.Origin
	return row, err
}

// keepOpen remembers the stored rows of calls whose outcomes will come.
func (x *indexer) keepOpen(rows []Row) {
	for i := range rows {
		switch {
		case len(rows[i].Ends) > 0:
			delete(x.open, rows[i].Index)
		case rows[i].Type == typeIntent:
			if len(x.open) >= maxOpen {
				clear(x.open)
			}
			x.open[rows[i].Index] = rows[i]
		}
	}
}

// batch returns rows of leaves from index next on and the index behind them: live ones,
// or derived ones up to where the live ones begin. Of what was pruned there are none.
func (x *indexer) batch(ctx context.Context, next uint64) ([]*Row, uint64, error) {
	end := min(x.l.Size(), next+indexBatch)
	x.mu.Lock()
	for len(x.live) > 0 && x.live[0].Index < next {
		x.live = x.live[1:]
	}
	if len(x.live) > 0 {
		if first := x.live[0].Index; first == next {
			rows := append([]*Row(nil), x.live[:min(len(x.live), indexBatch)]...)
			x.mu.Unlock()
			return rows, next + uint64(len(rows)), nil
		} else {
			end = min(end, first)
		}
	}
	x.mu.Unlock()
	x.deriver.loaded = false
	var rows []*Row
	there, err := x.l.passing(next)
	if err != nil {
		return nil, 0, err
	}
	for len(rows) < indexBatch {
		next = there(next)
		if end = max(end, min(next, x.l.minimum())); next >= end {
			break
		}
		leaves, first, err := x.l.leavesAt(next)
		if err != nil {
			return nil, 0, err
		}
		below := next < x.l.minimum()
		for ; next < min(end, first+uint64(len(leaves))); next++ {
			row, err := x.deriver.row(ctx, next, leaves[next-first])
			if err != nil {
				return nil, 0, err
			}
			if below && (row.Type == typeIntent || row.Type == typeOutcome) {
				continue // it is kept for the outcome alone
			}
			rows = append(rows, &row)
		}
	}
	return rows, next, nil
}

// drop lets go of live rows that are stored.
func (x *indexer) drop(through uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := 0
	for i < len(x.live) && x.live[i].Index < through {
		i++
	}
	x.live = append([]*Row(nil), x.live[i:]...)
}

func (x *indexer) set(indexed uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.indexed = indexed
	if x.moved != nil {
		close(x.moved)
		x.moved = nil
	}
}

// restart says that nothing is indexed any more.
func (x *indexer) restart() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.indexed, x.drops = 0, x.drops+1
}

func (x *indexer) dropped() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.drops
}

// stop lets the index catch up until ctx ends. What is missing then is derived
// at the next start: a store that does not answer must not hold up the stop.
func (x *indexer) stop(ctx context.Context) {
	close(x.quit)
	select {
	case <-x.done:
	case <-ctx.Done():
		close(x.cut)
		<-x.done
	}
}

// AwaitIndex waits until everything durable now can be searched.
func (l *Log) AwaitIndex(ctx context.Context) error {
	size := l.Size()
	for {
		l.indexer.mu.Lock()
		if l.indexer.indexed >= size {
			l.indexer.mu.Unlock()
			return nil
		}
		if l.indexer.moved == nil {
			l.indexer.moved = make(chan struct{})
		}
		moved := l.indexer.moved
		l.indexer.mu.Unlock()
		l.indexer.ask()
		select {
		case <-moved:
		case <-l.indexer.done:
			return l.stopped()
		case <-ctx.Done():
			return fmt.Errorf("waiting for the index: %w", ctx.Err())
		}
	}
}

// Reindex drops the rows of this log and derives them anew from the leaves and
// the keys that still exist.
func (l *Log) Reindex(ctx context.Context) error {
	reply := make(chan error, 1)
	l.indexer.ask()
	select {
	case l.indexer.reindex <- reply:
	case <-l.indexer.done:
		return l.stopped()
	case <-ctx.Done():
		return fmt.Errorf("reindexing: %w", ctx.Err())
	}
	if err := <-reply; err != nil {
		return fmt.Errorf("dropping the index: %w", err)
	}
	return l.AwaitIndex(ctx)
}

// Indexed returns how many leaves can be searched.
func (l *Log) Indexed() uint64 {
	l.indexer.mu.Lock()
	defer l.indexer.mu.Unlock()
	return l.indexer.indexed
}
