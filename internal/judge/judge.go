// Package judge asks an outside judge about texts and keeps what it said.
//
// A judge reads where the detectors only look for words (inspection.md 11): an HTTP
// service that is asked beside the calls. Nothing needs it to pass and nothing MUST
// wait for it: Offer and Known return at once, a queue that is full drops, and a judge
// that fails, hangs or answers nonsense changes nothing. What it says is kept by the
// digest of what it was shown and the version of its model. A verdict may raise what
// inspection found, and may lower what is soft; a hard finding stays (Raises, Lowers).
//
// What a judge is shown is data: it is one JSON string, and stands between two lines
// that hold a random word that is not in it. What the judge answers is foreign text
// too: agents never read it.
package judge

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The labels of a verdict.
const (
	Benign     = "benign"
	Suspicious = "suspicious"
	Malicious  = "malicious"
)

// The kinds of items.
const (
	Definition = "definition"
	Result     = "result"
)

// Item is one text to be judged.
type Item struct {
	Kind   string
	Digest string // "sha256:…" of Text
	Server string
	Name   string // of the tool or definition
	Text   []byte // not kept longer than the item waits
	// Findings are what inspection found in it.
	Findings []Finding
}

// Finding is one finding, as the judge is told of it.
type Finding struct {
	Rule string `json:"rule"`
	Tier string `json:"tier,omitempty"`
}

// Verdict is what a judge said.
type Verdict struct {
	Kind       string    `json:"kind"`
	Digest     string    `json:"digest"`
	Model      string    `json:"model"` // its version
	Label      string    `json:"label"`
	Confidence float64   `json:"confidence"` // 0 to 1
	Reason     string    `json:"reason,omitempty"`
	Server     string    `json:"server"` // what it was asked about first
	Name       string    `json:"name"`
	At         time.Time `json:"at"`
}

// Raises returns what a verdict makes of an item: "block" or "review", "" nothing.
// Calling something malicious blocks; suspicion asks for a look.
func (v *Verdict) Raises(threshold float64) string {
	switch {
	case v.Confidence < threshold:
		return ""
	case v.Label == Malicious:
		return "block"
	case v.Label == Suspicious:
		return "review"
	}
	return ""
}

// Lowers reports whether soft findings count no more.
func (v *Verdict) Lowers(threshold float64) bool {
	return v.Label == Benign && v.Confidence >= threshold
}

// Secrets opens sealed credentials.
type Secrets interface {
	// Use hands the value of the credential ref, which is for the origin
	// (scheme://host:port), to use, which must not keep it.
	Use(ctx context.Context, ref, origin string, use func(value []byte) error) error
}

// Store keeps verdicts.
type Store interface {
	Verdicts(ctx context.Context, model string, limit int) ([]Verdict, error)
	// PutVerdict keeps v; one that is there for its kind, digest and model stays.
	PutVerdict(ctx context.Context, v Verdict) error
}

// Config configures a Judge. All members but Credential are required.
type Config struct {
	URL        string
	Model      string // whose verdicts count; an answer of another is none
	Credential string // "" for none; sent as a bearer token
	Timeout    time.Duration
	Transport  http.RoundTripper // judges addresses and follows no redirect
	Secrets    Secrets
	Store      Store
	// Foreign reports whether a text carries an order or hides something: such a reason
	// is not kept.
	Foreign func(text string) bool
	// Record keeps a verdict as evidence before it counts; where it fails the verdict
	// does not. Counts is told of one that counts from now on. Both are called by one
	// at a time.
	Record func(ctx context.Context, v Verdict) error
	Counts func(ctx context.Context, v Verdict)
	Log    *slog.Logger
	Now    func() time.Time
}

// Bounds of judging.
const (
	MaxText    = 64 << 10 // bytes of an item; longer ones are not judged
	maxWaiting = 256      // items
	maxAnswer  = 16 << 10 // bytes
	maxTries   = 3        // of an item
	maxKnown   = 20_000   // verdicts in memory
)

// Status is how a judge fares, since this process started.
type Status struct {
	Waiting int    `json:"waiting"`
	Judged  int64  `json:"judged"`
	Failed  int64  `json:"failed"`  // given up
	Dropped int64  `json:"dropped"` // too many waited, or too long
	Why     string `json:"why,omitempty"`
}

// Judge asks the outside judge. It is safe for concurrent use.
type Judge struct {
	cfg  Config
	run  context.Context
	stop context.CancelFunc
	work sync.WaitGroup
	wake chan struct{}

	mu     sync.Mutex
	queue  []*waiting
	inside map[key]bool // in the queue, or being asked about
	known  map[key]Verdict
	status Status
}

type key struct{ kind, digest string }

type waiting struct {
	Item
	tries int
}

// New returns a Judge that asks until Close, with what was said before.
func New(ctx context.Context, cfg Config) (*Judge, error) {
	if cfg.URL == "" || cfg.Model == "" || cfg.Timeout <= 0 || cfg.Transport == nil || cfg.Secrets == nil || cfg.Store == nil || cfg.Foreign == nil || cfg.Record == nil || cfg.Counts == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("judge: a dependency is missing")
	}
	j := &Judge{cfg: cfg, wake: make(chan struct{}, 1), inside: map[key]bool{}, known: map[key]Verdict{}}
	list, err := cfg.Store.Verdicts(ctx, cfg.Model, maxKnown)
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		if v.sound() {
			j.known[key{v.Kind, v.Digest}] = v
		}
	}
	j.run, j.stop = context.WithCancel(context.WithoutCancel(ctx))
	j.work.Go(j.loop)
	return j, nil
}

// Close ends asking. What waits is asked about when it is seen again.
func (j *Judge) Close() {
	j.stop()
	j.work.Wait()
}

// Known returns what was said of a text, false if nothing was.
func (j *Judge) Known(kind, digest string) (Verdict, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v, ok := j.known[key{kind, digest}]
	return v, ok
}

// All returns what was said, in no order.
func (j *Judge) All() []Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(maps.Values(j.known))
}

// Offer asks for a verdict on an item, unless there is one. It does not wait: what
// does not find room is dropped and counted.
func (j *Judge) Offer(it Item) {
	k := key{it.Kind, it.Digest}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.known[k]; ok || j.inside[k] {
		return
	}
	if len(it.Text) > MaxText || len(j.queue) >= maxWaiting {
		j.status.Dropped++
		return
	}
	it.Text = append([]byte(nil), it.Text...)
	j.inside[k] = true
	j.queue = append(j.queue, &waiting{Item: it})
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Status says how it fares.
func (j *Judge) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.status
	s.Waiting = len(j.queue)
	return s
}

func (j *Judge) next() *waiting {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 {
		return nil
	}
	w := j.queue[0]
	j.queue = j.queue[1:]
	return w
}

// backoff is how long nothing is asked after the n-th failure in a row.
func backoff(n int) time.Duration { return min(time.Minute, time.Second<<min(n-1, 6)) }

// loop asks about one item at a time.
func (j *Judge) loop() {
	failures := 0
	for j.run.Err() == nil {
		w := j.next()
		if w == nil {
			select {
			case <-j.run.Done():
			case <-j.wake:
			}
			continue
		}
		v, err := j.ask(&w.Item)
		if err == nil {
			err = j.keep(v)
		}
		if j.run.Err() != nil {
			return
		}
		if err == nil {
			failures = 0
			continue
		}
		failures++
		j.failed(w, err, failures)
		select {
		case <-j.run.Done():
		case <-time.After(backoff(failures)):
		}
	}
}

// keep makes a verdict count once it is durable.
func (j *Judge) keep(v Verdict) error {
	if err := j.cfg.Record(j.run, v); err != nil {
		return err
	}
	if err := j.cfg.Store.PutVerdict(j.run, v); err != nil {
		return err
	}
	k := key{v.Kind, v.Digest}
	j.mu.Lock()
	if len(j.known) >= maxKnown {
		for old := range j.known { // any: the store has it
			delete(j.known, old)
			break
		}
	}
	j.known[k] = v
	delete(j.inside, k)
	j.status.Judged++
	j.status.Why = ""
	j.mu.Unlock()
	j.cfg.Counts(j.run, v)
	return nil
}

// failed asks again later, or gives up.
func (j *Judge) failed(w *waiting, err error, inRow int) {
	if inRow == 1 {
		j.cfg.Log.Warn("the outside judge cannot be asked; nothing waits for it", "about", w.Server+"/"+w.Name, "why", err.Error())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.status.Why = err.Error()
	w.tries++
	k := key{w.Kind, w.Digest}
	if _, ok := j.known[k]; ok || w.tries >= maxTries || len(j.queue) >= maxWaiting {
		j.status.Failed++
		delete(j.inside, k)
		return
	}
	j.queue = append(j.queue, w)
}
