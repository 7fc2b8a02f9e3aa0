package signal

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"sync"
	"time"

	"rutile/internal/access"
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

// Actor acts on what a source tells.
type Actor interface {
	// Act does what an event asks for, as far as the source may. It is called at least
	// once for each event; with an error it is called again.
	Act(ctx context.Context, s *Source, e *Event) error
	// Refuse is told of what does not count. It may come often.
	Refuse(ctx context.Context, s *Source, why string)
	// Trouble is told when a source cannot be asked, and with "" when it can again.
	Trouble(ctx context.Context, s *Source, why string)
}

// Config configures a Receiver. All members are required.
type Config struct {
	// Sources returns the declared sources as they are now; it must not be changed.
	Sources   func() map[string]Source
	Inbox     Inbox
	Keys      Keys
	Secrets   Secrets
	Origin    string            // of ours, that secrets which others send are for
	Transport http.RoundTripper // judges addresses and follows no redirect
	Actor     Actor
	// Hook checks a webhook with its key and returns its id.
	Hook func(secret []byte, h http.Header, body []byte, now time.Time) (id string, err error)
	Log  *slog.Logger
	Now  func() time.Time
}

// Receiver takes what sources tell. It is safe for concurrent use, and by several nodes
// that share an inbox.
type Receiver struct {
	cfg  Config
	run  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	lanes   map[string]*lane
	refused map[string]Refusal // by source
}

// Refusal is what of a source did not count, on this node since it started.
type Refusal struct {
	N    int       `json:"n"`
	Why  string    `json:"why,omitempty"` // of the last
	Last time.Time `json:"last,omitzero"`
}

// New returns a Receiver that works until Close.
func New(cfg Config) (*Receiver, error) {
	if cfg.Sources == nil || cfg.Inbox == nil || cfg.Keys == nil || cfg.Secrets == nil || cfg.Origin == "" || cfg.Transport == nil || cfg.Actor == nil || cfg.Hook == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("signal: a dependency is missing")
	}
	r := &Receiver{cfg: cfg, lanes: map[string]*lane{}, refused: map[string]Refusal{}}
	r.run, r.stop = context.WithCancel(context.Background())
	r.work.Go(r.watch)
	r.work.Go(r.again)
	return r, nil
}

// Close ends polling. What was not acted on is at the next start.
func (r *Receiver) Close() {
	r.stop()
	r.work.Wait()
}

// Push takes what a source sends: a security event token (RFC 8935) or a webhook. When
// it returns nil it is kept, and acted on or about to be. An error is *Refused where it
// does not count; any other says to send it again.
func (r *Receiver) Push(ctx context.Context, id string, h http.Header, body []byte) error {
	s, ok := r.cfg.Sources()[id]
	if !ok || s.State != Active || s.Poll != "" {
		return refuse(ErrAccess, "nothing is taken here")
	}
	err := r.push(ctx, &s, h, body)
	if no := (*Refused)(nil); errors.As(err, &no) {
		r.refuse(ctx, &s, no.Why)
	}
	return err
}

// refuse counts what does not count, and says so.
func (r *Receiver) refuse(ctx context.Context, s *Source, why string) {
	r.mu.Lock()
	r.refused[s.ID] = Refusal{r.refused[s.ID].N + 1, why, r.cfg.Now().UTC()}
	r.mu.Unlock()
	r.cfg.Actor.Refuse(ctx, s, why)
}

// Refusal says what of a source did not count.
func (r *Receiver) Refusal(id string) Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused[id]
}

// Kept says of each source what of it is kept.
func (r *Receiver) Kept(ctx context.Context) (map[string]Kept, error) {
	return r.cfg.Inbox.SignalsKept(ctx)
}

// Test looks whether what a source tells could be taken: that its keys can be read, or its
// secret opened, and how polling fares. It says what it saw.
func (r *Receiver) Test(ctx context.Context, id string) (string, error) {
	s, ok := r.cfg.Sources()[id]
	if !ok || s.State != Active {
		return "", access.Errorf(access.CodeConflict, "source %q is not active", id)
	}
	said := "it is declared, and what it sends is signed with the sealed secret"
	if s.Form == FormSSF {
		keys, err := r.cfg.Keys.Keys(ctx, &s, true)
		if err != nil {
			return "", err
		}
		if len(keys) == 0 {
			return "", access.Errorf(access.CodeUnavailable, "the issuer publishes no public key that signs")
		}
		said = fmt.Sprintf("the issuer publishes %d keys", len(keys))
	}
	if s.Secret != "" && s.Poll == "" {
		if err := r.cfg.Secrets.Use(ctx, s.Secret, r.cfg.Origin, func([]byte) error { return nil }); err != nil {
			return "", fmt.Errorf("opening credential %q: %w", s.Secret, err)
		}
	}
	if s.Poll != "" {
		if why := r.Why(id); why != "" {
			return "", access.Errorf(access.CodeUnavailable, "%s", why)
		}
		said += ", and it answers when it is asked"
	}
	return said, nil
}

func (r *Receiver) push(ctx context.Context, s *Source, h http.Header, body []byte) error {
	typ, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if s.Form == FormWebhook {
		if err != nil || typ != "application/json" {
			return refuse(ErrRequest, "it is not of the type application/json")
		}
		return r.hook(ctx, s, h, body)
	}
	if err != nil || typ != "application/secevent+jwt" {
		return refuse(ErrRequest, "it is not of the type application/secevent+jwt")
	}
	if s.Secret != "" {
		holds := false
		if err := r.cfg.Secrets.Compare(ctx, s.Secret, r.cfg.Origin, func(secret []byte) bool {
			holds = len(h.Values("Authorization")) == 1 && subtle.ConstantTimeCompare([]byte(h.Get("Authorization")), append([]byte("Bearer "), secret...)) == 1
			return holds
		}); err != nil {
			return err
		}
		if !holds {
			return refuse(ErrAuth, "the bearer token is not the one of this source")
		}
	}
	_, _, err = r.Take(ctx, s, body)
	return err
}

// Take takes one security event token of a source and returns its jti, "" where it has
// none that counts, and whether it was not taken before.
func (r *Receiver) Take(ctx context.Context, s *Source, raw []byte) (id string, fresh bool, err error) {
	events, err := ReadSET(ctx, s, r.cfg.Keys, raw, r.cfg.Now())
	if err != nil {
		return "", false, err
	}
	fresh, err = r.take(ctx, s, events)
	return events[0].ID, fresh, err
}

// take keeps events, and acts on them unless that was done.
func (r *Receiver) take(ctx context.Context, s *Source, events []Event) (fresh bool, err error) {
	doc, err := json.Marshal(events)
	if err != nil {
		return false, refuse(ErrRequest, "an event cannot be kept")
	}
	now := r.cfg.Now()
	t, fresh, err := r.cfg.Inbox.TakeSignal(ctx, Told{Source: s.ID, ID: events[0].ID, Doc: doc, At: now, Until: events[0].At.Add(setAge + setSkew)})
	if err != nil || t.Done {
		return fresh, err // what was sent twice is taken twice
	}
	if err := r.act(context.WithoutCancel(ctx), s, &t); err != nil {
		r.cfg.Log.Error("a signal cannot be acted on; it is tried again", "source", s.ID, "error", access.Reasons(err))
	}
	return fresh, nil
}

func (r *Receiver) act(ctx context.Context, s *Source, t *Told) error {
	var events []Event
	if err := json.Unmarshal(t.Doc, &events); err != nil || len(events) == 0 {
		return access.Errorf(access.CodeInvalid, "a signal of source %q cannot be read any more: %w", s.ID, err)
	}
	for i := range events {
		if err := r.cfg.Actor.Act(ctx, s, &events[i]); err != nil {
			return err
		}
	}
	return r.cfg.Inbox.SignalDone(ctx, s.ID, events[0].ID)
}

// How often what was not acted on is looked for, and after how long it is another's turn.
const (
	againEvery = 2 * time.Second
	againAfter = 5 * time.Second
	maxAgain   = 100 // of one source
)

// again acts on what was kept and not acted on: the process ended, or it failed.
func (r *Receiver) again() {
	tick := time.NewTicker(againEvery)
	defer tick.Stop()
	failing := false
	for {
		err := r.Again(r.run, againAfter)
		if said := err != nil && r.run.Err() == nil; said != failing && r.run.Err() == nil {
			failing = said
			if said {
				r.cfg.Log.Error("signals wait that cannot be acted on; it is tried again", "error", access.Reasons(err))
			}
		}
		select {
		case <-r.run.Done():
			return
		case <-tick.C:
		}
	}
}

// Again acts on what was kept for longer than after and not acted on. What waits of one
// source delays no other.
func (r *Receiver) Again(ctx context.Context, after time.Duration) error {
	var errs error
	for _, s := range r.cfg.Sources() {
		if s.State != Active {
			continue // it waits, and is acted on when the source is back
		}
		list, err := r.cfg.Inbox.SignalsWaiting(ctx, s.ID, maxAgain)
		for i := range list {
			if r.cfg.Now().Sub(list[i].At) >= after {
				err = errors.Join(err, r.act(ctx, &s, &list[i]))
			}
		}
		errs = errors.Join(errs, err)
	}
	return errs
}
