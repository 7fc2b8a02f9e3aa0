package sink

import (
	"context"
	"errors"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// lane feeds one sink.
type lane struct {
	cfg    *Config
	sink   Sink
	run    context.Context // of the Sender
	end    context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // cap 1: something was skipped
	to     receiver
	enc    encoder
	teller *audit.Teller
	since  time.Time // teller is used
	kept   uint64    // the cursor in the store
	known  bool      // kept was read

	mu      sync.Mutex
	status  Status
	trouble string
	failing time.Time // since the first of the attempts that fail; of the loop alone
	skips   *uint64   // index a person said to leave out
}

func newLane(run context.Context, cfg *Config, s Sink) *lane {
	l := &lane{run: run, cfg: cfg, sink: s, trouble: unsaid, done: make(chan struct{}), wake: make(chan struct{}, 1), enc: encoder{cfg.Version, maxBody}}
	switch s.Scheme() {
	case "file":
		l.to = &fileReceiver{sink: s, cfg: cfg, max: maxFile}
	case "syslog", "syslog+tls":
		l.to = &syslogReceiver{sink: s, cfg: cfg}
	default:
		l.to = &httpReceiver{sink: s, cfg: cfg}
	}
	l.status.State = StateSending
	return l
}

// unsaid is the trouble of a lane that has said nothing yet: what an earlier process
// said may stand somewhere.
const unsaid = "\x00"

func errStopped(id string) error {
	return access.Errorf(access.CodeConflict, "sink %q is not sending on this node: see rutile sink list", id)
}

func (l *lane) loop(ctx context.Context) {
	defer close(l.done)
	defer l.to.close()
	defer func() {
		if l.run.Err() == nil { // else the trouble goes on after the next start
			l.say("")
		}
	}()
	for tries := 0; ctx.Err() == nil; {
		err := l.step(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			tries = 0
			continue
		}
		tries++
		l.failed(err, tries)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-time.After(backoff(tries)):
		}
	}
}

// failed keeps why events wait and says it once it is trouble.
func (l *lane) failed(err error, tries int) {
	why := err.Error()
	l.mu.Lock()
	l.status.State, l.status.Attempts, l.status.Why = StateRetrying, tries, why
	if errors.Is(err, errRefused) {
		l.status.State = StateRefused
	} else {
		l.status.Refused = nil
	}
	oldest := l.status.Oldest
	l.mu.Unlock()
	now := l.cfg.Now()
	if tries == 1 {
		l.failing = now
	}
	if oldest.IsZero() { // it did not get as far as an event
		oldest = l.failing
	}
	if tries == 1 || tries%10 == 0 {
		l.cfg.Log.Warn("a sink does not take evidence; it waits", "sink", l.sink.ID, "attempt", tries, "why", why)
	}
	if errors.Is(err, errRefused) || now.Sub(oldest) > late {
		l.say(why)
	}
}

// say tells of trouble once, and of its end.
func (l *lane) say(why string) {
	if why != l.trouble {
		l.trouble = why
		l.cfg.Trouble(l.sink, why)
	}
}

// step sends the next events, or waits for one.
func (l *lane) step(ctx context.Context) error {
	if err := l.load(ctx); err != nil {
		return err
	}
	next := l.state().Next
	if l.cfg.Evidence.Size() <= next {
		if err := l.idle(ctx, next); err != nil {
			return err
		}
	}
	if l.teller == nil || l.cfg.Now().Sub(l.since).Abs() > renewed {
		l.teller, l.since = l.cfg.Evidence.Teller(), l.cfg.Now()
	}
	told, to, err := l.teller.Next(ctx, next, maxEvents)
	if err != nil {
		return err
	}
	wanted := make([]audit.Told, 0, len(told))
	for i := range told {
		if l.sink.wants(&told[i]) {
			wanted = append(wanted, told[i])
		}
	}
	for len(wanted) > 0 {
		n, err := l.send(ctx, wanted, maxEvents)
		if err != nil {
			return err
		}
		wanted = wanted[n:]
	}
	return l.move(ctx, to, to-l.kept >= keepEvery)
}

// idle waits until there is more than next leaves, and a little so that what
// follows goes with it.
func (l *lane) idle(ctx context.Context, next uint64) error {
	if err := l.move(ctx, next, true); err != nil {
		return err
	}
	l.mu.Lock()
	l.status.State, l.status.Oldest = StateIdle, time.Time{}
	l.mu.Unlock()
	l.say("")
	select {
	case <-l.cfg.Evidence.Grown(next):
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-time.After(gather):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// load reads the cursor, or makes it.
func (l *lane) load(ctx context.Context) error {
	if l.known {
		return nil
	}
	origin := l.cfg.Evidence.Origin()
	c, ok, err := l.cfg.Cursors.SinkCursor(ctx, l.sink.ID, origin)
	if err != nil {
		return err
	}
	size := l.cfg.Evidence.Size()
	if !ok {
		if l.sink.From == FromNow {
			c.Next = size
		}
		c.Changed = l.cfg.Now().UTC()
		if err := l.cfg.Cursors.MoveSinkCursor(ctx, l.sink.ID, origin, 0, c); err != nil {
			return err
		}
	}
	if c.Next > size {
		return access.Errorf(access.CodeConflict, "it got to leaf %d and the log has %d: the evidence is older than the database", c.Next, size)
	}
	if m := l.cfg.Evidence.Minimum(); c.Next < m {
		l.cfg.Log.Warn("a sink begins among leaves that retention pruned; it gets what is left of them, and no calls of them", "sink", l.sink.ID, "from", c.Next, "minimum", m)
	}
	l.kept, l.known = c.Next, true
	l.mu.Lock()
	l.status.Next = c.Next
	l.mu.Unlock()
	return nil
}

// send sends the first of the events, at most n, and returns how many were taken or
// left out. What is refused is halved until the event that is alone is known.
func (l *lane) send(ctx context.Context, list []audit.Told, n int) (int, error) {
	list = list[:min(len(list), n)]
	first := &list[0]
	l.mu.Lock()
	l.status.State, l.status.Oldest = StateSending, first.At
	if l.status.Attempts > 0 {
		l.status.State = StateRetrying
	}
	skip := l.skips != nil && *l.skips == first.Index
	l.mu.Unlock()
	if skip {
		return 1, l.taken(ctx, first.Index+1, 0)
	}
	b, err := l.enc.encode(l.sink.Form, list)
	if err != nil {
		return 0, err
	}
	err = l.to.take(ctx, b)
	switch {
	case err == nil:
		if last := &list[b.n-1]; l.cfg.Now().Sub(last.At) < late {
			l.say("") // it keeps up, though it may never be idle
		}
		return b.n, l.taken(ctx, list[b.n-1].Index+1, b.n)
	case !errors.Is(err, errRefused):
		return 0, err
	case b.n > 1:
		return l.send(ctx, list, b.n/2)
	}
	index := first.Index
	l.mu.Lock()
	l.status.Refused = &index
	l.mu.Unlock()
	return 0, err
}

// taken moves the cursor behind what was taken.
func (l *lane) taken(ctx context.Context, next uint64, n int) error {
	if err := l.move(ctx, next, true); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Sent += int64(n)
	l.status.LastTaken = l.cfg.Now().UTC()
	l.status.State = StateSending
	l.status.Attempts, l.status.Why, l.status.Refused, l.skips = 0, "", nil, nil
	return nil
}

// move sets the cursor, in the store too if it is to be kept.
func (l *lane) move(ctx context.Context, next uint64, keep bool) error {
	if keep && next != l.kept {
		c := Cursor{Next: next, Changed: l.cfg.Now().UTC()}
		if err := l.cfg.Cursors.MoveSinkCursor(ctx, l.sink.ID, l.cfg.Evidence.Origin(), l.kept, c); err != nil {
			l.known = access.CodeOf(err) != access.CodeConflict // else somebody moved it: go on from there
			return err
		}
		l.kept = next
	}
	l.mu.Lock()
	l.status.Next = next
	l.mu.Unlock()
	return nil
}

func (l *lane) state() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.status
	out.Size = l.cfg.Evidence.Size()
	return out
}

// refuses says why the receiver does not refuse the leaf at index, nil if it does. l.mu
// is held.
func (l *lane) refuses(index uint64) error {
	if l.status.Refused == nil || *l.status.Refused != index {
		return access.Errorf(access.CodeConflict, "leaf %d is not what sink %q refuses: see rutile sink list", index, l.sink.ID)
	}
	return nil
}

// skip says to leave out the event at index, which must be the one that is refused.
func (l *lane) skip(_ context.Context, index uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refuses(index); err != nil {
		return err
	}
	l.skips = &index
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}
