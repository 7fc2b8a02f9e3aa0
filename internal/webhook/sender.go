package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Secrets opens sealed credentials.
type Secrets interface {
	// Use hands the value of the credential ref, which is for the origin
	// (scheme://host:port), to use, which must not keep it.
	Use(ctx context.Context, ref, origin string, use func(value []byte) error) error
}

// Config configures a Sender. All members are required.
type Config struct {
	// Webhooks returns the declared webhooks as they are now; it must not be changed.
	Webhooks  func() map[string]Webhook
	Transport http.RoundTripper // judges addresses and follows no redirect
	Secrets   Secrets
	Log       *slog.Logger
	Now       func() time.Time
}

// Bounds of delivery.
const (
	maxWaiting  = 256              // events of one webhook
	attemptTime = 10 * time.Second // of one attempt, from dialling to the status
	giveUp      = 15 * time.Minute // after an event was told, or with its Until
)

// backoff is how long to wait after the n-th attempt failed, from 1.
func backoff(n int) time.Duration {
	const longest = 5 * time.Minute
	if n > 4 {
		return longest
	}
	return min(longest, time.Second<<(2*(n-1)))
}

// Delivery is how the last delivery of a webhook went.
type Delivery struct {
	ID       string    `json:"id"` // webhook-id
	Type     string    `json:"type"`
	About    string    `json:"about"` // request or grant
	State    string    `json:"state"` // delivered, retrying or failed
	Attempts int       `json:"attempts"`
	Status   int       `json:"status,omitempty"` // of HTTP, 0 if there was no answer
	Why      string    `json:"why,omitempty"`
	At       time.Time `json:"at"`
}

// The states of a Delivery.
const (
	Delivered = "delivered"
	Retrying  = "retrying"
	Failed    = "failed"
)

// Status is how a webhook fares, since this process started.
type Status struct {
	Waiting   int       `json:"waiting"` // events
	Delivered int64     `json:"delivered"`
	Failed    int64     `json:"failed"`  // given up
	Dropped   int64     `json:"dropped"` // too many waited
	Last      *Delivery `json:"last,omitempty"`
}

// Sender delivers events. Each webhook has its own queue, so that one that is
// slow delays no other. It is safe for concurrent use.
type Sender struct {
	cfg  Config
	run  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu    sync.Mutex
	ended bool
	lanes map[string]*lane
}

// New returns a Sender; Close ends it.
func New(cfg Config) (*Sender, error) {
	if cfg.Webhooks == nil || cfg.Transport == nil || cfg.Secrets == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("webhook: a dependency is missing")
	}
	s := &Sender{cfg: cfg, lanes: map[string]*lane{}}
	s.run, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close ends deliveries; what waits is lost but for what the caller tells again
// after a restart.
func (s *Sender) Close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.stop()
	s.work.Wait()
}

// Tell queues an event for every webhook that wants it. It never waits.
func (s *Sender) Tell(e Event) {
	for id, w := range s.cfg.Webhooks() {
		if w.State == Active && slices.Contains(w.Events, e.Type) {
			if l := s.lane(id); l != nil && !l.put(e) {
				s.cfg.Log.Warn("an event is not sent: too many wait for this webhook", "webhook", id, "event", e.Type, "id", e.ID())
			}
		}
	}
}

// lane returns the queue of a webhook, nil once the Sender has ended.
func (s *Sender) lane(id string) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[id]
	if l == nil && !s.ended {
		l = &lane{id: id, s: s, wake: make(chan struct{}, 1)}
		s.lanes[id] = l
		s.work.Go(l.loop)
	}
	return l
}

// Status returns how a webhook fares.
func (s *Sender) Status(id string) Status {
	s.mu.Lock()
	l := s.lanes[id]
	s.mu.Unlock()
	if l == nil {
		return Status{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.status
	out.Waiting = len(l.items)
	if out.Last != nil {
		last := *out.Last
		out.Last = &last
	}
	return out
}
