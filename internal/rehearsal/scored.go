package rehearsal

import (
	"context"
	"iter"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/risk"
)

// Clock is what a risk.Book goes by while it is told of recorded calls.
type Clock struct {
	wall   time.Time
	steady time.Duration
	boot   uint64
}

// Wall is the time of the call that is told.
func (c *Clock) Wall() time.Time { return c.wall }

// Steady is how long the gateways that wrote the log have run until then.
func (c *Clock) Steady() time.Duration { return c.steady }

// longest is how much time may count as gone by between two gateways: the same as for a
// Book that is read again.
const longest = 24 * time.Hour

// to sets the clock to a moment. Clocks that were set back do not run back here.
func (c *Clock) to(m *audit.Moment) {
	if !c.wall.IsZero() {
		gone := max(m.At.Sub(c.wall), 0)
		if m.Boot != c.boot {
			gone = min(gone, longest)
		}
		c.steady += gone
	}
	c.wall, c.boot = m.At, m.Boot
}

// ago sets the clock to a moment before now, which a gateway that has run for steady looks
// back on.
func (c *Clock) ago(m *audit.Moment, now time.Time, steady time.Duration) {
	c.wall, c.steady = m.At, max(c.steady, steady-min(max(now.Sub(m.At), 0), longest))
}

// maxOpen bounds the calls whose end is awaited. Who is pushed out teaches nothing.
const maxOpen = 16384

// teller tells a Book of recorded calls, as the gate did when they were made.
type teller struct {
	book   *risk.Book
	state  *pdp.State
	past   bool               // the book knows of it already, but for what it does not keep
	open   map[uint64]running // by the index of the intent
	queue  []uint64           // those of open, the oldest first, and some that are there no more
	partly int                // calls whose arguments are not kept whole
}

// running is a call whose end is awaited.
type running struct {
	risk      *access.Risk // nil where the book is told of it as of something past
	request   *access.Request
	monitored bool // it passed because nothing is enforced
}

func newTeller(book *risk.Book, state *pdp.State) *teller {
	return &teller{book: book, state: state, open: map[uint64]running{}}
}

// scored reports whether the gate has scored a call: what it turned away before it was
// decided, looked up by itself or only listed it has not.
func scored(c *audit.Call) bool {
	switch c.Kind {
	case access.KindServer, access.KindAsk:
		return false
	}
	return c.Set != "" && !c.Relaxed() && !c.Erased()
}

// request is a recorded call with all that a score is made of.
func (t *teller) request(ctx context.Context, c *audit.Call) (*access.Request, error) {
	r := request(c)
	r.Risk, r.Unknown = nil, false
	var err error
	if r.Who.Actor.Version, r.Who.Actor.Instance, err = c.Run(ctx); err != nil {
		return nil, err
	}
	raw, known, err := c.Arguments(ctx)
	if err != nil {
		return nil, err
	}
	if known && len(raw) > 0 {
		r.Arguments, known = parsed(raw)
	}
	if !known {
		t.partly++
	}
	return r, nil
}

// call scores a call, and tells what came of it where it was not made.
func (t *teller) call(ctx context.Context, c *audit.Call) (*access.Risk, error) {
	r, err := t.request(ctx, c)
	if err != nil {
		return nil, err
	}
	x := running{request: r, monitored: c.Monitor && c.Would != access.Permit.String()}
	if !t.past {
		classes, drift := pdp.Traits(t.state, r)
		x.risk = t.book.Arrive(r, classes, drift)
	}
	if c.Refused() {
		o, _ := access.ParseOutcome(c.Outcome) // what a later version wrote denies
		t.end(&x, risk.Denial(c.Class, o, c.Forbids))
		return x.risk, nil
	}
	if len(t.queue) >= maxOpen {
		delete(t.open, t.queue[0])
		t.queue = t.queue[1:]
	}
	t.open[c.Index], t.queue = x, append(t.queue, c.Index)
	return x.risk, nil
}

// end tells what came of a call.
func (t *teller) end(x *running, e risk.End) {
	if x.risk != nil {
		t.book.Ended(x.risk, e)
		return
	}
	classes, drift := pdp.Traits(t.state, x.request)
	t.book.Past(x.request, classes, drift, e)
}

// ends tells what came of a call that was made.
func (t *teller) ends(e *audit.Ending) {
	was, ok := t.open[e.Intent]
	if !ok {
		return
	}
	delete(t.open, e.Intent)
	t.end(&was, risk.Answer{Fine: e.Status.Answered() && !was.monitored && !e.Masked, Findings: e.Findings, Bytes: e.Bytes}.End())
}

// act forgives what people have let go.
func (t *teller) act(a *audit.Act) {
	switch a.Kind + " " + a.Verb {
	case "Session release":
		t.book.PardonSession("", a.ID)
	case "Agent resume":
		t.book.Pardon(a.ID)
	}
}

// Looked is how many leaves before the last one its book was told of a gateway that
// starts looks at: what it counts over minutes is made of them.
const Looked = 4096

// Recall tells a book of what a log says happened after the leaf mark, which the book was
// not told of or has lost with its process, and counts again what it had counted over the
// minutes before. log MUST yield what is from Looked leaves before mark on. The book goes
// by clock meanwhile; the gateway looks back from now, and has run for steady. It returns
// how many calls it told of.
func Recall(ctx context.Context, log iter.Seq2[audit.Moment, error], book *risk.Book, clock *Clock, state *pdp.State, mark uint64, now time.Time, steady time.Duration) (n int, err error) {
	t := newTeller(book, state)
	for m, err := range log {
		if err != nil {
			return n, err
		}
		t.past = m.Index < mark
		if t.past && now.Sub(m.At) > time.Hour { // nothing is counted over longer
			continue
		}
		clock.ago(&m, now, steady)
		switch {
		case m.End != nil:
			if was, ok := t.open[m.End.Intent]; ok && was.risk == nil && !t.past { // it ended after the mark
				classes, drift := pdp.Traits(state, was.request)
				was.risk = book.Again(was.request, classes, drift)
				t.open[m.End.Intent] = was
			}
			t.ends(m.End)
		case m.Act != nil && !t.past:
			t.act(m.Act)
		case m.Call != nil && scored(m.Call):
			if _, err := t.call(ctx, m.Call); err != nil {
				return n, err
			}
			if !t.past {
				n++
			}
		}
	}
	return n, nil
}
