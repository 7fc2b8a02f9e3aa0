package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"rutile/internal/access"
)

// Bounds of one group.
const (
	maxGroupLeaves = 256
	maxGroupBytes  = 1 << 20
)

// gatherTurns bounds how often the committer steps back before it takes a group.
const gatherTurns = 8

// relaxedSync is how long a leaf that nobody waits for may stay unsynced.
const relaxedSync = 10 * time.Millisecond

// turnedAwayPause is how long the committer waits before it tries again to make
// room for leaves it may not drop.
const turnedAwayPause = 100 * time.Millisecond

// queue holds entries until the committer takes them. It is as long as there
// are callers waiting, plus what Listed may leave behind.
type queue struct {
	mu      sync.Mutex
	waiting []*entry
	closed  bool
	wake    chan struct{} // cap 1
}

// put queues e; false once the queue is closed.
func (q *queue) put(e *entry) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.waiting = append(q.waiting, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// remove takes e back if the committer has not begun with it.
func (q *queue) remove(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if w == e {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// gather lets callers that are ready to run queue their entries first, as long
// as each turn brings some: they then share one sync. A sync costs as much for
// one leaf as for a group, and the processor it holds is one they wait for. It
// waits for no clock, and does nothing where nobody is ready or waiting.
func (q *queue) gather() {
	for n, turn := q.len(), 0; n > 0 && n < maxGroupLeaves && turn < gatherTurns; turn++ {
		runtime.Gosched()
		now := q.len()
		if now == n {
			return
		}
		n = now
	}
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// take moves one group's worth into batch. done says that the queue is closed
// and empty.
func (q *queue) take(batch []*entry, limit int) (_ []*entry, done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.waiting) && n < maxGroupLeaves {
		if size += encodedSize(q.waiting[n]); n > 0 && size > limit {
			break
		}
		n++
	}
	batch = append(batch, q.waiting[:n]...)
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:])
	q.waiting = q.waiting[:rest]
	return batch, q.closed && n == 0
}

// retain reports whether entries may still be put back.
func (q *queue) retain() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.closed
}

// putBack puts entries before all others.
func (q *queue) putBack(entries []*entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(entries, q.waiting...)
}

// close ends the queue; last, if there is one, is the last entry it takes.
func (q *queue) close(last *entry) {
	q.mu.Lock()
	if last != nil && !q.closed {
		q.waiting = append(q.waiting, last)
	}
	q.closed = true
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// submit queues e and waits until it is durable (or written, if it is relaxed).
// An entry whose caller goes away before the committer began with it never
// happened; after that the caller waits for the disk, so that no leaf exists
// that its caller thinks does not.
func (l *Log) submit(ctx context.Context, e *entry) (Ref, error) {
	if err := l.Healthy(); err != nil {
		return Ref{}, err
	}
	if err := ctx.Err(); err != nil {
		return Ref{}, evidence("recording evidence", err)
	}
	if !l.queue.put(e) {
		return Ref{}, l.stopped()
	}
	select {
	case <-e.done:
	case <-ctx.Done():
		if l.queue.remove(e) {
			return Ref{}, evidence("recording evidence", ctx.Err())
		}
		<-e.done
	}
	ref, err := Ref{e.index, e.hash}, e.err
	l.scribe.release(e)
	return ref, err
}

// stopped is the error of a log that takes nothing any more.
func (l *Log) stopped() error {
	if err := l.Healthy(); err != nil {
		return err
	}
	return access.Errorf(access.CodeEvidence, "the evidence log is closed")
}

func evidence(doing string, err error) error {
	return &access.Error{Code: access.CodeEvidence, Msg: doing + ": evidence cannot be kept, so nothing was done; see the gateway's log", Err: err}
}

// committer is the one goroutine that writes.
type committer struct {
	l        *Log
	seg      *segment
	next     uint64 // index of the next leaf
	durable  uint64 // size known to be synced
	batch    []*entry
	unsynced []*group
	rows     []*Row // of the unsynced groups
	era      uint64 // the earliest of the keys they were written with
	urgent   bool
	limit    int
	spare    spare
}

// run commits until the queue is closed and empty or a write failed.
func (c *committer) run() {
	defer close(c.l.committed)
	defer c.closeFiles()
	for {
		var done bool
		c.l.queue.gather()
		c.batch, done = c.l.queue.take(c.batch[:0], c.limit)
		if len(c.batch) > 0 {
			c.commit()
			continue
		}
		if done {
			c.settle(nil)
			return
		}
		if len(c.unsynced) == 0 {
			<-c.l.queue.wake
			continue
		}
		timer := time.NewTimer(relaxedSync)
		select {
		case <-c.l.queue.wake:
		case <-timer.C:
			c.settle(nil)
		}
		timer.Stop()
	}
}

// commit writes the batch as one group. Relaxed callers are woken when it is
// written, the others when it is synced.
func (c *committer) commit() {
	if err := c.l.Healthy(); err != nil {
		c.wake(c.batch, err)
		return
	}
	err := c.l.seal.admit() // waits while the sealer is too far behind
	if err == nil {
		err = c.room()
	}
	if err != nil {
		c.turnAway(err)
		return
	}
	buf, g := encodeGroup(&c.seg.salt, c.next, c.durable, c.batch)
	if _, err := c.seg.file.WriteAt(buf, c.seg.off); err != nil {
		c.l.die("writing the write-ahead log", err)
		c.wake(c.batch, c.l.Healthy())
		return
	}
	c.seg.off += int64(len(buf))
	c.next = g.end()
	c.unsynced = append(c.unsynced, g)
	strict := c.batch[:0]
	for _, e := range c.batch {
		e.row.Index = e.index
		if len(c.rows) == 0 || e.era < c.era {
			c.era = e.era
		}
		c.rows = append(c.rows, e.row)
		c.urgent = c.urgent || e.urgent
		if e.relaxed {
			e.done <- struct{}{}
		} else {
			strict = append(strict, e)
		}
	}
	if len(strict) > 0 || len(c.unsynced) >= 64 {
		c.settle(strict)
	}
}

// settle syncs what was written, hands it to the sealer, readers and indexer,
// and wakes those who waited.
func (c *committer) settle(strict []*entry) {
	if len(c.unsynced) == 0 {
		return
	}
	err := c.l.Healthy()
	if err == nil {
		if err = c.seg.file.Sync(); err != nil {
			c.l.die("syncing the write-ahead log", err)
		}
	}
	if err != nil { // nothing is tried twice on this descriptor
		c.unsynced, c.rows = nil, nil
		c.wake(strict, c.l.Healthy())
		return
	}
	c.durable = c.next
	c.l.publish(c.unsynced, c.rows, c.era, c.urgent)
	c.unsynced, c.rows, c.urgent = nil, nil, false
	c.wake(strict, nil)
	if c.seg.off > c.seg.size/2 {
		c.spare.prepare(c.l)
	}
}

// wake ends the entries' wait; of those nobody waits for it frees the slot.
func (c *committer) wake(entries []*entry, err error) {
	for _, e := range entries {
		if e.listed {
			<-c.l.listed
			c.l.scribe.release(e)
			continue
		}
		e.err = err
		e.done <- struct{}{}
	}
}

// turnAway fails a batch of which nothing was written. What Listed queued stays
// queued, because its caller was told that it is on its way.
func (c *committer) turnAway(err error) {
	var kept, failed []*entry
	for _, e := range c.batch {
		if e.listed && c.l.Healthy() == nil && c.l.queue.retain() {
			kept = append(kept, e)
		} else {
			failed = append(failed, e)
		}
	}
	c.wake(failed, err)
	if len(kept) > 0 {
		c.l.queue.putBack(kept)
		time.Sleep(turnedAwayPause)
	}
}

// room sees to it that the batch fits into the segment. A disk without room for
// another segment fails the batch, not the log: nothing was written.
func (c *committer) room() error {
	need := int64(groupHeader + groupTail)
	for _, e := range c.batch {
		need += int64(encodedSize(e))
	}
	if c.seg.off+need <= c.seg.size {
		return nil
	}
	c.settle(nil) // the segments before the last are always whole
	if err := c.l.Healthy(); err != nil {
		return err
	}
	f, err := c.spare.take(c.l)
	if err != nil {
		c.l.log.Error("evidence has no room", "err", err)
		return evidence("making room for evidence", err)
	}
	seg, err := startSegment(c.l.fs, c.l.walDir(), f, c.l.cfg.WALBytes, c.l.originHash, c.next, c.l.cfg.Rand)
	if err != nil {
		c.l.die("starting a segment", errors.Join(err, f.Close()))
		return c.l.Healthy()
	}
	if err := c.seg.file.Close(); err != nil {
		c.l.log.Warn("closing an old segment", "err", err)
	}
	c.seg = seg
	c.l.seal.nudge() // old segments may go
	return nil
}

func (c *committer) closeFiles() {
	if err := c.seg.file.Close(); err != nil {
		c.l.log.Warn("closing the write-ahead log", "err", err)
	}
	if f, err := c.spare.take(nil); err == nil && f != nil {
		f.Close()
	}
}

// spare prepares the next segment while the current one is being filled.
type spare struct {
	ready chan spareResult // nil when none is being made
}

type spareResult struct {
	file File
	err  error
}

func (s *spare) prepare(l *Log) {
	if s.ready != nil {
		return
	}
	ready := make(chan spareResult, 1)
	s.ready = ready
	go func() {
		f, err := newSpare(l.fs, l.walDir(), l.cfg.WALBytes)
		if err != nil {
			l.log.Error("preparing the next evidence segment", "err", err)
		}
		ready <- spareResult{f, err}
	}()
}

// take returns the prepared segment, making one now if there is none or it
// could not be made then. With l nil it only takes what is there.
func (s *spare) take(l *Log) (File, error) {
	if s.ready != nil {
		r := <-s.ready
		s.ready = nil
		if r.err == nil {
			return r.file, nil
		}
	}
	if l == nil {
		return nil, nil
	}
	return newSpare(l.fs, l.walDir(), l.cfg.WALBytes)
}

// die ends the log: nothing that was not acknowledged is known any more (E5).
func (l *Log) die(doing string, err error) {
	e := &access.Error{
		Code: access.CodeEvidence,
		Msg:  fmt.Sprintf("the evidence log stopped while %s; nothing is dispatched until the gateway is restarted and the disk is sound", doing),
		Err:  err,
	}
	if l.dead.CompareAndSwap(nil, e) {
		l.log.Error("evidence log stopped", "while", doing, "err", err)
		close(l.died)
	}
}
