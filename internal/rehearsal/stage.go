package rehearsal

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
)

// Bounds of what waits to be judged beside the live decisions.
const (
	maxWaiting = 1024    // calls
	maxBytes   = 8 << 20 // of their arguments
	maxRun     = 24 * time.Hour
)

// Stage lets rules that are not in force judge every call that is decided, one
// set of rules at a time. It is safe for concurrent use.
type Stage struct {
	states States
	now    func() time.Time
	held   Held

	run  atomic.Pointer[run] // the one that judges, nil if none does
	mu   sync.Mutex          // serialises starting and stopping
	last *run                // the newest, whether it judges or not
}

// States gives the state calls are decided on.
type States interface{ State() *pdp.State }

// Held returns the right a call was permitted under, as it was approved.
type Held func(ctx context.Context, grant string) (h access.Held, ok bool, err error)

// NewStage returns an empty stage.
func NewStage(states States, held Held, now func() time.Time) (*Stage, error) {
	if states == nil || now == nil || held == nil {
		return nil, errors.New("rehearsal: a dependency is missing")
	}
	return &Stage{states: states, now: now, held: held}, nil
}

// Candidate builds the state that is tried, on what is registered now.
type Candidate func(ctx context.Context) (*pdp.State, error)

// Status is how a simulation fares.
type Status struct {
	State string    `json:"state"` // none, running, ended or failed
	By    string    `json:"by,omitempty"`
	Ends  time.Time `json:"ends,omitzero"`
	// Failure is why the candidate could not be built any more, after a change of what
	// is registered; nothing is judged since.
	Failure string  `json:"failure,omitempty"`
	Report  *Report `json:"report,omitempty"`
}

// run is one set of rules being tried.
type run struct {
	by     string
	sealed bool // it judges with the arguments of calls
	ends   time.Time
	build  Candidate
	tally  *tally
	queue  chan job
	bytes  atomic.Int64
	done   chan struct{} // closed when it judges no more
	cancel context.CancelFunc

	// Only the goroutine that judges touches these.
	state *pdp.State
	from  uint64 // the generation of the registry it was built on

	mu      sync.Mutex
	failure error
	until   time.Time // when it ended, zero while it runs
}

// job is a decided call.
type job struct {
	r    access.Request
	args []byte // a copy; the call's own are used again when it is over
	d    access.Decision
}

// Start builds a candidate and lets it judge what is decided from now on, at most
// for so long. One that is tried already is an access.CodeConflict error. sealed says
// that who asks may read the arguments of calls. For anybody else the candidate judges
// without them and without what was counted of them, and what depends on either is
// counted as that: a rule of one's own making tells by what it matches what it was
// matched with (docs/decisions/0068).
func (s *Stage) Start(ctx context.Context, by string, build Candidate, last time.Duration, sealed bool) (Status, error) {
	if last <= 0 || last > maxRun {
		return Status{}, access.Errorf(access.CodeInvalid, "a simulation lasts more than nothing and at most %s", maxRun)
	}
	from := s.generation()
	state, err := build(ctx)
	if err != nil {
		return Status{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run.Load() != nil {
		return Status{}, access.Errorf(access.CodeConflict, "a simulation is running: end it first with rutile policy simulate --stop")
	}
	now := s.now()
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), last)
	r := &run{by: by, sealed: sealed, ends: now.Add(last), build: build, state: state, from: from, queue: make(chan job, maxWaiting), done: make(chan struct{}), cancel: cancel,
		tally: newTally(state.Set.Digest(), "live", now)}
	s.last = r
	s.run.Store(r)
	go s.work(within, r)
	return s.status(r, sealed), nil
}

// Stop ends the simulation, if one runs, and returns how it fared, as Status does.
func (s *Stage) Stop(sealed bool) Status {
	s.mu.Lock()
	r := s.last
	s.mu.Unlock()
	if r == nil {
		return Status{State: "none"}
	}
	r.cancel()
	<-r.done
	return s.status(r, sealed)
}

// Status says how the newest simulation fares. To who may not read the arguments of
// calls, one that judges with them shows how many verdicts would be others and not
// which.
func (s *Stage) Status(sealed bool) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return Status{State: "none"}
	}
	return s.status(s.last, sealed)
}

func (s *Stage) status(r *run, sealed bool) Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := r.until
	st := Status{State: "ended", By: r.by, Ends: r.ends}
	if until.IsZero() {
		st.State, until = "running", s.now()
	}
	if r.failure != nil {
		st.State, st.Failure = "failed", access.Reasons(r.failure)
	}
	report := r.tally.result(until)
	if r.sealed && !sealed {
		report.More += len(report.Groups)
		report.Groups, report.Erring = []Group{}, nil
	}
	st.Report = &report
	return st
}

// Observe takes a decision that was just made. It never waits and never fails:
// where too many wait it drops the call and counts it.
func (s *Stage) Observe(r *access.Request, d *access.Decision) {
	run := s.run.Load()
	if run == nil || d.Set == "" && d.Class == "" {
		return // nothing was decided
	}
	if !byPolicy(d.Class) || d.Set == "" {
		run.tally.count(func(r *Report) *int { return &r.Registry })
		return
	}
	raw := r.Arguments.Raw()
	n := int64(len(raw))
	if run.bytes.Add(n) > maxBytes {
		run.bytes.Add(-n)
		run.tally.count(func(r *Report) *int { return &r.Dropped })
		return
	}
	j := job{r: *r, args: slices.Clone(raw), d: *d}
	j.r.Arguments = rawjson.Value{}
	select {
	case run.queue <- j:
	default:
		run.bytes.Add(-n)
		run.tally.count(func(r *Report) *int { return &r.Dropped })
	}
}

// work judges until the time is over, then what waits already.
func (s *Stage) work(ctx context.Context, r *run) {
	defer func() {
		r.mu.Lock()
		r.until = s.now()
		r.mu.Unlock()
		r.cancel()
		close(r.done)
	}()
	for {
		select {
		case j := <-r.queue:
			s.judge(context.WithoutCancel(ctx), r, j)
		case <-ctx.Done():
			s.run.CompareAndSwap(r, nil)
			for {
				select {
				case j := <-r.queue:
					s.judge(context.WithoutCancel(ctx), r, j)
				default:
					return
				}
			}
		}
	}
}

// judge lets the candidate decide what was decided.
func (s *Stage) judge(ctx context.Context, r *run, j job) {
	r.bytes.Add(-int64(len(j.args)))
	defer func() {
		if recover() != nil { // a candidate must not end the gateway
			r.tally.count(func(r *Report) *int { return &r.Dropped })
		}
	}()
	state, err := s.current(ctx, r)
	if err != nil {
		r.tally.count(func(r *Report) *int { return &r.Dropped })
		return
	}
	if !r.sealed {
		j.r.Unknown, j.r.Facts, j.args = true, nil, nil
	}
	if len(j.args) > 0 {
		if j.r.Arguments, err = rawjson.Parse(j.args, rawjson.Limits{Bytes: len(j.args) + 1}); err != nil {
			r.tally.count(func(r *Report) *int { return &r.Dropped })
			return
		}
	}
	d, certain, err := s.decide(ctx, state, j)
	switch {
	case err != nil:
		r.tally.count(func(r *Report) *int { return &r.Dropped })
		return
	case !r.sealed && (!certain || effective(&d) == access.Mask):
		r.tally.count(func(r *Report) *int { return &r.Depends })
		return
	case !certain:
		r.tally.count(func(r *Report) *int { return &r.Counters })
		return
	}
	by := d.Permits
	if effective(&d) != access.Permit {
		by = slices.Concat(d.Forbids, d.Errors)
	}
	q := &j.r
	r.tally.judged(trial{id: q.ID, agent: q.Who.Actor.Agent, server: q.Server, target: q.Target, method: q.Method, kind: q.Kind, at: q.At,
		before: effective(&j.d), after: effective(&d), by: by, errors: d.Errors})
}

// decide asks the candidate: without the grant the call ran under, which may be
// used up by now, and then with it as it was.
func (s *Stage) decide(ctx context.Context, state *pdp.State, j job) (d access.Decision, certain bool, err error) {
	q := j.r
	q.Use, q.Held, q.Follows = "", nil, false
	d, certain = pdp.Beside(state, &q)
	if effective(&d) == access.Permit || j.d.Grant == "" {
		return d, certain, nil
	}
	h, ok, err := s.held(ctx, j.d.Grant)
	if err != nil || !ok {
		return d, certain, err
	}
	q.Held = &h
	d, certain = pdp.Beside(state, &q)
	return d, certain, nil
}

// effective is what enforcing decides.
func effective(d *access.Decision) access.Outcome {
	if d.Monitor {
		return d.Would
	}
	return d.Outcome
}

// current returns the candidate on what is registered now, built anew where that
// changed. Where it does not fit any more the simulation has failed, until it fits
// again: what it would decide nobody can say.
func (s *Stage) current(ctx context.Context, r *run) (*pdp.State, error) {
	if now := s.generation(); now != r.from {
		state, err := r.build(ctx)
		if r.from = now; err == nil {
			r.state = state
		}
		r.mu.Lock()
		r.failure = err
		r.mu.Unlock()
	}
	return r.state, r.failure
}

func (s *Stage) generation() uint64 { return s.states.State().View.Generation() }
