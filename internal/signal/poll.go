package signal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"rutile/internal/access"
)

// Bounds of polling (RFC 8936).
const (
	pollTime   = 45 * time.Second // of one request: a source may wait until it has something
	pollRest   = 5 * time.Second  // after an answer with nothing in it
	maxPolled  = 50               // events of one answer
	maxBatch   = 4 << 20          // bytes of one answer
	lookEvery  = time.Second      // how often declared sources are looked at
	longestGap = 5 * time.Minute
)

// lane asks one source.
type lane struct {
	r      *Receiver
	s      Source
	end    context.CancelFunc
	done   chan struct{}
	acks   []string
	errs   map[string]pollErr
	fresh  bool // the last answer had something new that counts
	client *http.Client
	why    atomic.Pointer[string] // the last attempt failed
}

type pollErr struct {
	Err  string `json:"err"`
	Text string `json:"description"`
}

// watch starts and ends lanes as sources are declared and changed.
func (r *Receiver) watch() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		r.match()
		select {
		case <-r.run.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *Receiver) match() {
	declared := r.cfg.Sources()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, l := range r.lanes {
		if s, ok := declared[id]; !ok || s.State != Active || !s.Changed.Equal(l.s.Changed) {
			l.end()
			select {
			case <-l.done:
				delete(r.lanes, id)
			default: // it is looked at again
			}
		}
	}
	for id, s := range declared {
		if s.State == Active && s.Poll != "" && r.lanes[id] == nil && r.run.Err() == nil {
			ctx, cancel := context.WithCancel(r.run)
			l := &lane{r: r, s: s, end: cancel, done: make(chan struct{}), errs: map[string]pollErr{}, client: clientOf(r.cfg.Transport)}
			r.lanes[id] = l
			r.work.Go(func() { defer close(l.done); defer cancel(); l.loop(ctx) })
		}
	}
}

// loop asks until ctx ends. What is not acknowledged is told again, so nothing is lost
// when it ends in between. It rests unless something new was told: that a source says it
// has more, or tells the same again, is no reason to ask without end.
func (l *lane) loop(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		err := l.ask(ctx)
		wait := pollRest
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			why := err.Error()
			l.why.Store(&why)
			wait = min(longestGap, time.Second<<min(2*(failures-1), 10))
			if failures == 3 { // one that is away for a moment is no trouble
				l.r.cfg.Actor.Trouble(ctx, &l.s, err.Error())
			}
			l.r.cfg.Log.Warn("a source of signals cannot be asked", "source", l.s.ID, "attempt", failures, "error", access.Reasons(err))
		default:
			if failures >= 3 {
				l.r.cfg.Actor.Trouble(ctx, &l.s, "")
			}
			failures = 0
			l.why.Store(nil)
			if l.fresh { // there may be more, and it is to know what was taken
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// ask asks once, says what was taken of the last answer, and takes what there is.
func (l *lane) ask(ctx context.Context) error {
	acks, errs := l.acks, l.errs
	body, err := json.Marshal(struct {
		Max  int                `json:"maxEvents"`
		Now  bool               `json:"returnImmediately"`
		Acks []string           `json:"ack,omitempty"`
		Errs map[string]pollErr `json:"setErrs,omitempty"`
	}{maxPolled, len(acks)+len(errs) > 0, acks, errs})
	if err != nil {
		return err
	}
	answer, err := l.post(ctx, body)
	if err != nil {
		return err
	}
	l.acks, l.errs, l.fresh = nil, map[string]pollErr{}, false
	var got struct {
		Sets map[string]string `json:"sets"`
	}
	if json.Unmarshal(answer, &got) != nil || len(got.Sets) > 10*maxPolled {
		return access.Errorf(access.CodeUnavailable, "the answer of the source cannot be read, or has more events than were asked for")
	}
	for jti, raw := range got.Sets {
		id, fresh, err := l.r.Take(ctx, &l.s, []byte(raw))
		no := (*Refused)(nil)
		switch {
		case errors.As(err, &no):
			l.r.refuse(ctx, &l.s, no.Why)
			l.errs[jti] = pollErr{no.Code, no.Why}
		case err != nil:
			return err // it is told again
		case id != jti:
			l.errs[jti] = pollErr{ErrRequest, "its jti is another"}
		default:
			l.acks = append(l.acks, jti)
			l.fresh = l.fresh || fresh
		}
	}
	slices.Sort(l.acks)
	return nil
}

func (l *lane) post(ctx context.Context, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.s.Poll, bytes.NewReader(body))
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "the address of the source cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if l.s.Secret != "" {
		u, err := url.Parse(l.s.Poll)
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "the address of the source cannot be used")
		}
		if err := l.r.cfg.Secrets.Use(ctx, l.s.Secret, u.Scheme+"://"+u.Host, func(secret []byte) error {
			req.Header.Set("Authorization", "Bearer "+string(secret))
			return nil
		}); err != nil {
			return nil, err
		}
	}
	answer, err := l.client.Do(req)
	if err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "the source cannot be reached, or is at an address that may not be (see egress.allow in the configuration)")
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, access.Errorf(access.CodeUnavailable, "the source answered with status %d", answer.StatusCode)
	}
	got, err := io.ReadAll(io.LimitReader(answer.Body, maxBatch))
	if err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "the answer of the source broke off")
	}
	return got, nil
}

// Why says why a source that is polled cannot be asked, "" where it can.
func (r *Receiver) Why(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lanes[id]; l != nil {
		if why := l.why.Load(); why != nil {
			return *why
		}
	}
	return ""
}
