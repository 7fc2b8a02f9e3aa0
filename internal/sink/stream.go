package sink

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/signal"
)

// errPaused is why nothing is told for now: the receiver wants it so.
var errPaused = errors.New("the receiver has paused its stream")

// Bounds of streams.
const (
	maxWaiting   = 100_000          // events that wait to be fetched; more wait in the log
	maxFetched   = 100              // events of one answer
	maxWait      = 25 * time.Second // of one request that waits for events (RFC 8936, 2.4)
	waitLook     = 250 * time.Millisecond
	maxWaiters   = 2 // requests of one stream that wait
	maxWithout   = 1000
	VerifyEvery  = 10 * time.Second // between verifications of a stream
	maxFetchAcks = 1000
)

// streamReceiver keeps events until they are fetched.
type streamReceiver struct {
	sink Sink
	cfg  *Config
}

func (r *streamReceiver) close() {}

func (r *streamReceiver) take(ctx context.Context, b batch) error {
	n, _, err := r.cfg.Streams.Backlog(ctx, r.sink.ID)
	if err != nil {
		return err
	}
	if n >= maxWaiting {
		return access.Errorf(access.CodeUnavailable, "%d events wait and the receiver fetches none", n)
	}
	return r.cfg.Streams.Post(ctx, r.sink.ID, b.parcels)
}

// unfetched says since when nothing of a stream is fetched although something waits, ""
// where it is fetched.
func (l *lane) unfetched(ctx context.Context) string {
	if l.sink.URL != PollURL {
		return ""
	}
	n, oldest, err := l.cfg.Streams.Backlog(ctx, l.sink.ID)
	if err != nil || n == 0 || l.cfg.Now().Sub(oldest) < late {
		return ""
	}
	return fmt.Sprintf("events wait since %s and the receiver does not fetch them", oldest.UTC().Format(time.RFC3339))
}

// verified sends what answers a request to verify a stream. It is sent once: who does not
// get it asks again.
func (l *lane) verified(ctx context.Context, p *signal.Parcel) error {
	raw, err := l.cfg.token(&l.sink, p)
	if err != nil {
		return err
	}
	return l.to.take(ctx, batch{body: []byte(raw), mime: "application/secevent+jwt", n: 1})
}

// Streams is what receivers of signals see to themselves: their streams, and what they
// fetch. It is safe for concurrent use.
type Streams struct {
	sender *Sender

	mu      sync.Mutex
	waiting map[string]int
	fetched map[string]time.Time
}

// NewStreams returns Streams of a Sender.
func NewStreams(s *Sender) *Streams {
	return &Streams{sender: s, waiting: map[string]int{}, fetched: map[string]time.Time{}}
}

// Of returns the sink whose receiver shows a bearer token; an access.CodeUnauthenticated
// for nobody. Every token is compared with all, in the same time. What could be guessed, and
// what two receivers show, is nobody's.
func (s *Streams) Of(ctx context.Context, bearer string) (Sink, error) {
	none := access.Errorf(access.CodeUnauthenticated, "the bearer token is no receiver's")
	if bearer == "" || len(bearer) > 4096 {
		return Sink{}, none
	}
	found, err := s.showing(ctx, sha256.Sum256([]byte(bearer)))
	if err != nil {
		return Sink{}, err
	}
	if len(found) != 1 {
		return Sink{}, none
	}
	return found[0], s.sender.cfg.Secrets.Use(ctx, found[0].Receiver, s.sender.cfg.Issuer, func([]byte) error { return nil }) // it counts as used
}

// showing returns the sinks whose receivers show the token of which shown is the SHA-256,
// where it cannot be guessed. Comparing is no use of what any of them shows.
func (s *Streams) showing(ctx context.Context, shown [sha256.Size]byte) ([]Sink, error) {
	declared := s.sender.cfg.Sinks()
	var found []Sink
	for _, id := range slices.Sorted(maps.Keys(declared)) {
		d := declared[id]
		if d.Form != FormSSF || d.State != Active || d.Receiver == "" {
			continue
		}
		err := s.sender.cfg.Secrets.Compare(ctx, d.Receiver, s.sender.cfg.Issuer, func(secret []byte) bool {
			have := sha256.Sum256(secret)
			if subtle.ConstantTimeCompare(have[:], shown[:]) == 1 && !credential.Guessable(secret) {
				found = append(found, d)
			}
			return false
		})
		if err != nil && access.CodeOf(err) == access.CodeUnavailable {
			return nil, err
		}
	}
	return found, nil
}

// Unheard says why the receiver of a sink of FormSSF is not let in whatever it shows, "" if
// it is.
func (s *Streams) Unheard(ctx context.Context, d *Sink) string {
	if d.Receiver == "" {
		return ""
	}
	why := ""
	var sum [sha256.Size]byte
	err := s.sender.cfg.Secrets.Compare(ctx, d.Receiver, s.sender.cfg.Issuer, func(secret []byte) bool {
		if credential.Guessable(secret) {
			why = fmt.Sprintf("credential %q could be guessed: rotate it to one %s", d.Receiver, credential.Unguessable)
		}
		sum = sha256.Sum256(secret)
		return false // nobody shows it
	})
	if err != nil {
		return access.Reasons(err)
	}
	if why != "" {
		return why
	}
	switch same, err := s.showing(ctx, sum); {
	case err != nil:
		return access.Reasons(err)
	case len(same) > 1:
		return fmt.Sprintf("another receiver shows the value of credential %q too: rotate one of them", d.Receiver)
	}
	return ""
}

// Read returns the stream of a sink.
func (s *Streams) Read(ctx context.Context, d *Sink) (signal.Stream, error) {
	st, _, err := s.sender.cfg.Streams.Stream(ctx, d.ID)
	return st, err
}

// Change changes the stream of a sink. What changes it may be called again.
func (s *Streams) Change(ctx context.Context, d *Sink, change func(*signal.Stream) error) (signal.Stream, error) {
	for tries := 0; ; tries++ {
		st, rev, err := s.sender.cfg.Streams.Stream(ctx, d.ID)
		if err != nil {
			return st, err
		}
		if err := change(&st); err != nil {
			return st, err
		}
		if len(st.Without) > maxWithout {
			return st, access.Errorf(access.CodeInvalid, "more than %d subjects are taken out", maxWithout)
		}
		err = s.sender.cfg.Streams.PutStream(ctx, d.ID, rev, st)
		if access.CodeOf(err) == access.CodeConflict && tries < 10 {
			continue
		}
		if err == nil && st.State() == signal.Disabled {
			err = s.sender.cfg.Streams.Fetched(ctx, d.ID, nil) // what waits is not told any more
		}
		s.sender.wake(d.ID)
		return st, err
	}
}

// wake has a lane look at its stream now.
func (s *Sender) wake(id string) {
	if l, err := s.lane(id); err == nil {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Verify has the receiver of a sink told a verification event with its state. An
// access.CodeConflict says that it was asked for too soon after the last.
func (s *Streams) Verify(ctx context.Context, d *Sink, state string) error {
	now := s.sender.cfg.Now()
	if _, err := s.Change(ctx, d, func(st *signal.Stream) error {
		if since := now.Sub(st.Verified); since >= 0 && since < VerifyEvery {
			return access.Errorf(access.CodeConflict, "it was verified less than %v ago", VerifyEvery)
		}
		if st.State() != signal.Enabled {
			return access.Errorf(access.CodeInvalid, "the stream is %s", st.State())
		}
		st.Verified = now.UTC()
		return nil
	}); err != nil {
		return err
	}
	p, err := signal.Verify(access.NewID("ver_"), d.ID, state, now)
	if err != nil {
		return err
	}
	if d.URL == PollURL {
		return s.sender.cfg.Streams.Post(ctx, d.ID, []signal.Parcel{p})
	}
	l, err := s.sender.lane(d.ID)
	if err != nil {
		return access.Errorf(access.CodeUnavailable, "the stream does not send yet")
	}
	select {
	case <-l.verify: // an older one was never sent
	default:
	}
	select {
	case l.verify <- p:
	default:
	}
	return nil
}

// Test tells the receiver of a sink a verification event now, and says what came of it.
func (s *Streams) Test(ctx context.Context, d *Sink) (string, error) {
	if d.State != Active {
		return "", access.Errorf(access.CodeConflict, "sink %q is not active", d.ID)
	}
	cfg := &s.sender.cfg
	p, err := signal.Verify(access.NewID("ver_"), d.ID, "", cfg.Now())
	if err != nil {
		return "", err
	}
	if d.URL == PollURL {
		return "a verification event waits to be fetched", cfg.Streams.Post(ctx, d.ID, []signal.Parcel{p})
	}
	raw, err := cfg.token(d, &p)
	if err != nil {
		return "", err
	}
	to := &httpReceiver{sink: *d, cfg: cfg}
	defer to.close()
	if err := to.take(ctx, batch{body: []byte(raw), mime: "application/secevent+jwt", n: 1}); err != nil {
		return "", access.Errorf(access.CodeUnavailable, "the receiver did not take a verification event: %s", err)
	}
	return "the receiver took a verification event", nil
}

// Fetch is what a receiver asks for (RFC 8936, section 2.2).
type Fetch struct {
	Max  *int              // events at most, nil for as many as may be
	Now  bool              // without waiting for some
	Acks []string          // were taken
	Errs map[string]string // will not be, with codes
}

// Fetch takes what a receiver says of events and returns those that wait, by their ids,
// and whether there are more.
func (s *Streams) Fetch(ctx context.Context, d *Sink, f Fetch) (sets map[string]string, more bool, err error) {
	if len(f.Acks)+len(f.Errs) > maxFetchAcks {
		return nil, false, access.Errorf(access.CodeInvalid, "more than %d events are acknowledged at once", maxFetchAcks)
	}
	if gone := slices.AppendSeq(slices.Clone(f.Acks), maps.Keys(f.Errs)); len(gone) > 0 {
		if err := s.refused(ctx, d, f.Errs); err != nil {
			return nil, false, err
		}
		if err := s.sender.cfg.Streams.Fetched(ctx, d.ID, gone); err != nil {
			return nil, false, err
		}
	}
	s.mu.Lock()
	s.fetched[d.ID] = s.sender.cfg.Now()
	s.mu.Unlock()
	most := maxFetched
	if f.Max != nil {
		most = min(*f.Max, maxFetched)
	}
	sets = map[string]string{}
	if most <= 0 {
		return sets, false, nil
	}
	list, err := s.await(ctx, d, most+1, f.Now)
	if err != nil {
		return nil, false, err
	}
	for i := range list[:min(len(list), most)] {
		if sets[list[i].ID], err = s.sender.cfg.token(d, &list[i]); err != nil {
			return nil, false, err
		}
	}
	return sets, len(list) > most, nil
}

// refused keeps what a receiver would not take: it is not told again, and a person is to
// know.
func (s *Streams) refused(ctx context.Context, d *Sink, errs map[string]string) error {
	if len(errs) == 0 {
		return nil
	}
	id := slices.Sorted(maps.Keys(errs))[0]
	why := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?' // another's words
		}
		return r
	}, fmt.Sprintf("%.64s: %.64s", id, errs[id]))
	_, err := s.Change(ctx, d, func(st *signal.Stream) error {
		st.Refused, st.RefusedAt = why, s.sender.cfg.Now().UTC()
		return nil
	})
	return err
}

// await returns what waits, and waits for it if it may, within bounds.
func (s *Streams) await(ctx context.Context, d *Sink, limit int, now bool) ([]signal.Parcel, error) {
	if !now {
		s.mu.Lock()
		full := s.waiting[d.ID] >= maxWaiters
		if !full {
			s.waiting[d.ID]++
		}
		s.mu.Unlock()
		if full {
			return nil, access.Errorf(access.CodeConflict, "%d requests of this stream wait already", maxWaiters)
		}
		defer func() { s.mu.Lock(); s.waiting[d.ID]--; s.mu.Unlock() }()
	}
	end := time.NewTimer(maxWait)
	defer end.Stop()
	tick := time.NewTicker(waitLook)
	defer tick.Stop()
	for {
		st, err := s.Read(ctx, d)
		if err != nil {
			return nil, err
		}
		if st.State() == signal.Enabled {
			if list, err := s.sender.cfg.Streams.Waiting(ctx, d.ID, limit); err != nil || len(list) > 0 || now {
				return list, err
			}
		}
		if now {
			return nil, nil
		}
		select {
		case <-tick.C:
			if cur := s.sender.cfg.Sinks()[d.ID]; cur.State != Active || !cur.Changed.Equal(d.Changed) {
				return nil, nil // it was retired or changed meanwhile
			}
		case <-end.C:
			return nil, nil
		case <-s.sender.run.Done():
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// StreamStatus is how a stream fares.
type StreamStatus struct {
	signal.Stream
	Waiting int       `json:"waiting"`          // events to be fetched
	Oldest  time.Time `json:"oldest,omitzero"`  // of those
	Fetched time.Time `json:"fetched,omitzero"` // last, from this node
}

// Status returns how the stream of a sink fares.
func (s *Streams) Status(ctx context.Context, d *Sink) (out StreamStatus, err error) {
	if out.Stream, err = s.Read(ctx, d); err != nil {
		return out, err
	}
	out.Status = out.State()
	out.Waiting, out.Oldest, err = s.sender.cfg.Streams.Backlog(ctx, d.ID)
	s.mu.Lock()
	out.Fetched = s.fetched[d.ID]
	s.mu.Unlock()
	return out, err
}
