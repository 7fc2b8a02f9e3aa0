package audit

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// maxUnsealed bounds the memory of what is durable but not yet in tiles; over
// it the committer waits.
const maxUnsealed = 128 << 20

// maxRoom bounds what is kept between two files of what they are written from.
const maxRoom = 1 << 20

// sealer turns durable groups into the tlog-tiles form and signs checkpoints,
// off the hot path.
type sealer struct {
	l      *Log
	signer note.Signer

	force chan chan error
	spare chan letGo
	poke  chan struct{} // cap 1: seal soon

	mu         sync.Mutex
	room       *sync.Cond // pending shrank, or sealing failed
	pending    []*group   // durable, not sealed
	bytes      int
	failure    error // of the last attempt
	head       head
	checkpoint []byte

	// Only the sealing goroutine touches what follows.
	front *frontier
	tail  [][]byte // leaves of the bundle that is not full
	packs map[packID]*pack
	buf   []byte          // what a pack or a file gets with one write
	dirs  map[string]bool // known to exist
}

func newSealer(l *Log, signer note.Signer, st *recovered) *sealer {
	s := &sealer{
		l: l, signer: signer, force: make(chan chan error), spare: make(chan letGo), poke: make(chan struct{}, 1),
		front: st.front, tail: st.partial, head: st.head, checkpoint: st.checkpoint,
		packs: map[packID]*pack{}, dirs: map[string]bool{},
	}
	s.room = sync.NewCond(&s.mu)
	s.add(st.groups)
	return s
}

func (s *sealer) add(groups []*group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range groups {
		s.pending = append(s.pending, g)
		s.bytes += g.bytes
	}
}

// admit waits while too much is unsealed; sealing that fails then fails the
// caller, because evidence must not be taken without bound.
func (s *sealer) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes > maxUnsealed && s.l.Healthy() == nil {
		if s.failure != nil {
			return evidence("making room for evidence", s.failure)
		}
		s.room.Wait()
	}
	return nil
}

func (s *sealer) nudge() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// run seals every SealEvery, soon after a leaf that matters, and on demand.
func (s *sealer) run() {
	defer close(s.l.sealedAll)
	tick := time.NewTicker(s.l.cfg.SealEvery)
	defer tick.Stop()
	for {
		var reply chan error
		select {
		case <-tick.C:
		case <-s.poke:
		case reply = <-s.force:
		case g := <-s.spare:
			s.closePack(g.id)
			close(g.done)
			continue
		case <-s.l.committed: // the last leaf is durable
			_ = s.attempt() // a failure is told there
			s.closePacks()
			return
		case <-s.l.died:
			s.wakeAll()
			<-s.l.committed
			s.closePacks()
			return
		}
		err := s.attempt()
		if reply != nil {
			reply <- err
		}
	}
}

func (s *sealer) wakeAll() {
	s.mu.Lock()
	s.room.Broadcast()
	s.mu.Unlock()
}

// attempt seals once; a failure is an alarm and is tried again, except that a
// sync that failed ends the log.
func (s *sealer) attempt() error {
	err := s.l.Healthy()
	if err == nil {
		err = s.seal()
	}
	s.mu.Lock()
	s.failure = err
	s.room.Broadcast()
	s.mu.Unlock()
	var sync *syncError
	if errors.As(err, &sync) {
		s.l.die("sealing", err)
	} else if err != nil && s.l.Healthy() == nil {
		s.l.log.Error("sealing evidence", "err", err)
	}
	return err
}

// now seals and waits for it.
func (s *sealer) now(ctx context.Context) error {
	reply := make(chan error, 1)
	if err := order(ctx, s, s.force, reply); err != nil {
		return err
	}
	return <-reply
}

// order hands the sealing goroutine something to do.
func order[T any](ctx context.Context, s *sealer, to chan T, what T) error {
	select {
	case to <- what:
		return nil
	case <-s.l.died:
		return s.l.stopped()
	case <-s.l.sealedAll:
		return s.l.stopped()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// letGo asks the sealer to go on in another pack.
type letGo struct {
	id   packID
	done chan struct{}
}

// letGo has the sealer close the pack it appends to, if it has one of id, so that its
// file can be removed.
func (s *sealer) letGo(ctx context.Context, id packID) error {
	g := letGo{id, make(chan struct{})}
	if err := order(ctx, s, s.spare, g); err != nil {
		return err
	}
	<-g.done
	return nil
}

// round is one sealing: nothing of the sealer changes before it succeeded.
type round struct {
	s     *sealer
	front *frontier
	dirs  map[string]bool // with files of this round
	spent []string        // directories of partial tiles whose full tile exists now
}

// seal writes payloads, bundles and tiles, then signs and replaces the
// checkpoint.
func (s *sealer) seal() error {
	s.mu.Lock()
	groups := slices.Clone(s.pending)
	s.mu.Unlock()
	if len(groups) == 0 && s.checkpoint != nil {
		return nil
	}
	if err := s.writePayloads(groups); err != nil {
		return fmt.Errorf("writing payloads: %w", err)
	}
	r := &round{s: s, front: s.front.clone(), dirs: map[string]bool{}}
	tail, err := r.tiles(groups)
	if err == nil {
		err = r.sync()
	}
	if err != nil {
		return fmt.Errorf("writing tiles: %w", err)
	}
	h := head{origin: s.l.cfg.Origin, size: r.front.size, root: r.front.root()}
	signed, err := signCheckpoint(h, s.signer)
	if err != nil {
		return fmt.Errorf("signing a checkpoint: %w", err)
	}
	if err := s.replace("checkpoint", signed); err != nil {
		return fmt.Errorf("replacing the checkpoint: %w", err)
	}
	s.keepPacks()
	s.front, s.tail = r.front, tail
	s.mu.Lock()
	s.head, s.checkpoint = h, signed
	s.pending = slices.Clone(s.pending[len(groups):])
	for _, g := range groups {
		s.bytes -= g.bytes
	}
	s.mu.Unlock()
	s.tidy(r.spent)
	s.l.rememberHead(h)
	return nil
}

// tiles writes the bundles and tiles of this round and returns the new partial
// bundle.
func (r *round) tiles(groups []*group) ([][]byte, error) {
	tail := slices.Clone(r.s.tail)
	touched := 0 // levels that grew
	full := func(level int, n uint64, hashes []tlog.Hash) error {
		if level == 0 {
			if err := r.full(bundlePath(n, tileWidth), appendBundle(r.room(), tail)); err != nil {
				return err
			}
			clear(tail)
			tail = tail[:0]
		}
		touched = max(touched, level+1)
		return r.full(tilePath(level, n, tileWidth), appendTile(r.room(), hashes))
	}
	for _, g := range groups {
		for i, leaf := range g.leaves {
			tail = append(tail, leaf)
			if err := r.front.push(g.hashes[i], full); err != nil {
				return nil, err
			}
		}
	}
	if len(tail) > 0 {
		if err := r.write(bundlePath(r.front.size/tileWidth, len(tail)), appendBundle(r.room(), tail)); err != nil {
			return nil, err
		}
	}
	for level, edge := range r.front.edge {
		if len(edge) > 0 && level <= touched {
			if err := r.write(tilePath(level, r.front.size>>(8*(level+1)), len(edge)), appendTile(r.room(), edge)); err != nil {
				return nil, err
			}
		}
	}
	return tail, nil
}

// room is empty room for one file, which the next one is written from too.
func (r *round) room() []byte { return r.s.buf[:0] }

func (r *round) full(path string, data []byte) error {
	r.spent = append(r.spent, path+".p")
	return r.write(path, data)
}

// write puts a file of log/ under its name, durable but for that name. data lies
// in the room for it.
func (r *round) write(path string, data []byte) error {
	s := r.s
	if s.buf = data; cap(s.buf) > maxRoom {
		s.buf = nil
	}
	name := filepath.Join(s.l.logDir(), filepath.FromSlash(path))
	dir := filepath.Dir(name)
	if !s.dirs[dir] {
		if err := makeDirs(s.l.fs, s.l.cfg.Dir, dir); err != nil {
			return err
		}
		s.dirs[dir] = true
	}
	r.dirs[dir] = true
	return writeAtomic(s.l.fs, s.l.tmpName("tile"), name, data)
}

// sync makes the names of the round's files durable.
func (r *round) sync() error {
	for dir := range r.dirs {
		if err := r.s.l.fs.SyncDir(dir); err != nil {
			return &syncError{err}
		}
	}
	return nil
}

// replace writes one file of log/ anew.
func (s *sealer) replace(name string, data []byte) error {
	if err := writeAtomic(s.l.fs, s.l.tmpName(name), filepath.Join(s.l.logDir(), name), data); err != nil {
		return err
	}
	if err := s.l.fs.SyncDir(s.l.logDir()); err != nil {
		return &syncError{err}
	}
	return nil
}

// tidy removes partial tiles whose full tile exists and segments that lie below
// the checkpoint. What it cannot remove stays for the next time.
func (s *sealer) tidy(spent []string) {
	for _, p := range spent {
		dir := filepath.Join(s.l.logDir(), filepath.FromSlash(p))
		names, err := s.l.fs.List(dir)
		if err != nil || len(names) == 0 {
			continue
		}
		for _, n := range names {
			err = errors.Join(err, s.l.fs.Remove(filepath.Join(dir, n)))
		}
		if err = errors.Join(err, s.l.fs.Remove(dir)); err != nil {
			s.l.log.Warn("removing partial tiles", "dir", path.Base(p), "err", err)
		}
		delete(s.dirs, dir)
	}
	if err := dropSegments(s.l.fs, s.l.walDir(), s.head.size); err != nil {
		s.l.log.Warn("removing old segments", "err", err)
	}
}

// dropSegments removes the segments of dir whose every leaf is below size. The
// last one is in use and stays.
func dropSegments(fsys FS, dir string, size uint64) error {
	names, err := segmentNames(fsys, dir)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(names) && names[i+1].first <= size; i++ {
		if err := fsys.Remove(filepath.Join(dir, names[i].name)); err != nil {
			return err
		}
	}
	return nil
}

type segName struct {
	name  string
	first uint64
}

// segmentNames lists the segments of dir in order.
func segmentNames(fsys FS, dir string) ([]segName, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var out []segName
	for _, n := range names {
		if !strings.HasSuffix(n, ".wal") {
			continue
		}
		var first uint64
		if _, err := fmt.Sscanf(n, "%016x.wal", &first); err != nil || segmentName(first) != n {
			return nil, fmt.Errorf("%s is not the name of a segment", n)
		}
		out = append(out, segName{n, first})
	}
	return out, nil
}
