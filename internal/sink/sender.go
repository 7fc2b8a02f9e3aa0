package sink

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"rutile/internal/audit"
	"rutile/internal/signal"
)

// Secrets opens sealed credentials.
type Secrets interface {
	// Use hands the value of the credential ref, which is for the origin
	// (scheme://host:port), to use, which must not keep it.
	Use(ctx context.Context, ref, origin string, use func(value []byte) error) error
	// Compare hands it to is, which says whether it is what somebody shows. It counts as
	// used only if it is.
	Compare(ctx context.Context, ref, origin string, is func(value []byte) bool) error
}

// Evidence is the log that is handed on.
type Evidence interface {
	Origin() string
	Size() uint64
	Minimum() uint64 // leaves of calls below it were pruned, and are passed over
	Grown(size uint64) <-chan struct{}
	Teller() *audit.Teller
}

// Config configures a Sender. All members are required but Host.
type Config struct {
	// Sinks returns the declared sinks as they are now; it must not be changed.
	Sinks     func() map[string]Sink
	Evidence  Evidence
	Cursors   Cursors
	Transport http.RoundTripper // judges addresses and follows no redirect
	// Dial judges addresses.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Secrets Secrets
	Dir     string // where files are written
	Version string // of Rutile
	Host    string // HOSTNAME of syslog messages
	Log     *slog.Logger
	Now     func() time.Time
	// Of FormSSF: who we are to receivers, what signs for us, who those are whom leaves
	// name, and what receivers set up.
	Issuer  string
	Sign    func(claims []byte) (string, error)
	Names   Names
	Streams signal.Streams
	// Trouble is told when a sink gets into trouble, out of it ("") or into another.
	Trouble func(sink Sink, why string)
}

// Bounds of sending.
const (
	maxEvents = 500 // sent at once
	gather    = 200 * time.Millisecond
	look      = time.Second      // how often declared sinks are looked at
	late      = 10 * time.Minute // after which an event that waits is trouble
	renewed   = time.Minute      // how long a Teller is used
	lookBack  = time.Minute      // how often it is looked whether a stream is fetched from
	keepEvery = 4096             // leaves none of which is sent, after which the cursor is kept
)

// backoff is how long to wait after the n-th attempt failed, from 1.
func backoff(n int) time.Duration {
	const longest = 5 * time.Minute
	if n > 5 {
		return longest
	}
	return min(longest, time.Second<<(2*(n-1)))
}

// Status is how a sink fares on this node.
type Status struct {
	State     string    `json:"state"`              // one of the states below
	Next      uint64    `json:"next"`               // index of the leaf to go on with
	Size      uint64    `json:"size"`               // of the log
	Sent      int64     `json:"sent"`               // events taken since the process started
	Attempts  int       `json:"attempts,omitempty"` // of the events that wait
	Oldest    time.Time `json:"oldest,omitzero"`    // of the event that waits longest, while one does
	Why       string    `json:"why,omitempty"`      // they wait
	Refused   *uint64   `json:"refused,omitempty"`  // index of the leaf that is refused alone
	LastTaken time.Time `json:"lastTaken,omitzero"`
}

// The states of a Status.
const (
	StateIdle     = "idle" // everything is taken
	StateSending  = "sending"
	StateRetrying = "retrying" // the last attempt failed
	StateRefused  = "refused"  // the receiver will not take one event; see Refused
	StatePaused   = "paused"   // the receiver of a stream wants it so
	StateStopped  = "stopped"  // retired, or not started yet
)

// Sender feeds sinks. Each has its own lane, so that one that is slow delays no
// other. It is safe for concurrent use.
type Sender struct {
	cfg  Config
	run  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu    sync.Mutex
	lanes map[string]*lane
	quiet map[string]bool // retired, and it was said that they are in no trouble
}

// New returns a Sender that works until Close.
func New(cfg Config) (*Sender, error) {
	if cfg.Sinks == nil || cfg.Evidence == nil || cfg.Cursors == nil || cfg.Transport == nil || cfg.Dial == nil || cfg.Secrets == nil || cfg.Dir == "" || cfg.Log == nil || cfg.Now == nil || cfg.Trouble == nil || cfg.Issuer == "" || cfg.Sign == nil || cfg.Names == nil || cfg.Streams == nil {
		return nil, errors.New("sink: a dependency is missing")
	}
	s := &Sender{cfg: cfg, lanes: map[string]*lane{}, quiet: map[string]bool{}}
	s.run, s.stop = context.WithCancel(context.Background())
	s.work.Go(s.watch)
	return s, nil
}

// Close ends sending. What was not taken is sent after the next start.
func (s *Sender) Close() {
	s.stop()
	s.work.Wait()
}

// watch starts and ends lanes as sinks are declared and changed.
func (s *Sender) watch() {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		for _, d := range s.match() {
			s.cfg.Trouble(d, "")
		}
		select {
		case <-s.run.Done():
			return
		case <-tick.C:
		}
	}
}

// match starts and ends lanes, and returns the sinks that are retired since it looked last
// and have no lane that could say so: what this node said of them may stand somewhere.
func (s *Sender) match() (retired []Sink) {
	declared := s.cfg.Sinks()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, l := range s.lanes {
		if d, ok := declared[id]; !ok || d.State != Active || !d.Changed.Equal(l.sink.Changed) {
			l.end()
			select {
			case <-l.done: // else it is looked at again: one lane alone moves a cursor
				delete(s.lanes, id)
			default:
			}
		}
	}
	for id, d := range declared {
		if d.State == Active && s.lanes[id] == nil && s.run.Err() == nil {
			l := newLane(s.run, &s.cfg, d)
			ctx, cancel := context.WithCancel(s.run)
			l.end = cancel
			s.lanes[id] = l
			s.work.Go(func() { defer cancel(); l.loop(ctx) })
		}
		if d.State == Active {
			delete(s.quiet, id)
		} else if s.lanes[id] == nil && !s.quiet[id] {
			s.quiet[id] = true
			retired = append(retired, d)
		}
	}
	return retired
}

// Status returns how a sink fares.
func (s *Sender) Status(id string) Status {
	s.mu.Lock()
	l := s.lanes[id]
	s.mu.Unlock()
	if l == nil {
		return Status{State: StateStopped, Size: s.cfg.Evidence.Size()}
	}
	return l.state()
}

// Refuses says why a sink on this node does not refuse the event of the leaf at index
// (access.CodeConflict), nil if it does.
func (s *Sender) Refuses(id string, index uint64) error {
	l, err := s.lane(id)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refuses(index)
}

// Skip leaves out the event of the leaf at index, which the receiver refuses. The
// caller records it first.
func (s *Sender) Skip(ctx context.Context, id string, index uint64) error {
	l, err := s.lane(id)
	if err != nil {
		return err
	}
	return l.skip(ctx, index)
}

func (s *Sender) lane(id string) (*lane, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[id]; l != nil {
		return l, nil
	}
	return nil, errStopped(id)
}
