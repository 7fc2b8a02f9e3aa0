package webhook

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
)

// longestWait is after how long a queue looks at the clock again.
const longestWait = 5 * time.Minute

// item is one event that waits.
type item struct {
	event Event
	id    string
	tries int
	due   time.Time
	until time.Time
}

// lane is the queue of one webhook.
type lane struct {
	id   string
	s    *Sender
	wake chan struct{}

	mu     sync.Mutex
	items  []*item // at most maxWaiting
	status Status
}

// put queues an event; false if there is no room. One that waits already is not
// queued again.
func (l *lane) put(e Event) bool {
	now := l.s.cfg.Now()
	it := &item{event: e, id: e.ID(), due: now, until: now.Add(giveUp)}
	if !e.Until.IsZero() && e.Until.Before(it.until) {
		it.until = e.Until
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.items, func(o *item) bool { return o.id == it.id }) {
		return true
	}
	room := maxWaiting
	if e.crowd() {
		room /= 2
	}
	if len(l.items) >= room {
		l.status.Dropped++
		return false
	}
	l.items = append(l.items, it)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// next returns the item that is due first and how long it has to wait, nil if
// there is none.
func (l *lane) next() (*item, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.items) == 0 {
		return nil, 0
	}
	first := slices.MinFunc(l.items, func(a, b *item) int { return a.due.Compare(b.due) })
	return first, first.due.Sub(l.s.cfg.Now())
}

func (l *lane) loop() {
	for l.s.run.Err() == nil {
		it, wait := l.next()
		if it != nil && wait <= 0 {
			l.deliver(it)
			continue
		}
		var due <-chan time.Time
		if it != nil {
			due = time.After(min(wait, longestWait)) // a clock that is set back delays no longer
		}
		select {
		case <-l.s.run.Done():
		case <-l.wake:
		case <-due:
		}
	}
}

// deliver makes one attempt and says what comes after it.
func (l *lane) deliver(it *item) {
	w, ok := l.s.cfg.Webhooks()[l.id]
	if !ok || w.State != Active || !slices.Contains(w.Events, it.event.Type) {
		l.settle(it, nil)
		return
	}
	it.tries++
	at := l.s.cfg.Now()
	status, err := l.attempt(w, it, at)
	if l.s.run.Err() != nil {
		return
	}
	d := Delivery{ID: it.id, Type: it.event.Type, About: it.event.about(), State: Delivered, Attempts: it.tries, Status: status, At: at.UTC()}
	if err == nil {
		l.settle(it, &d)
		return
	}
	d.Why = err.Error()
	next := l.s.cfg.Now().Add(backoff(it.tries))
	if d.State = Retrying; !next.Before(it.until) {
		d.State = Failed
	}
	l.s.cfg.Log.Warn("a webhook cannot be told", "webhook", l.id, "event", it.event.Type, "id", it.id, "attempt", it.tries, "state", d.State, "why", d.Why)
	if d.State == Failed {
		l.settle(it, &d)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	it.due, l.status.Last = next, &d
}

// settle takes an item out of the queue.
func (l *lane) settle(it *item, d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = slices.DeleteFunc(l.items, func(o *item) bool { return o == it })
	switch {
	case d == nil:
		return
	case d.State == Delivered:
		l.status.Delivered++
	default:
		l.status.Failed++
	}
	l.status.Last = d
}

// attempt sends an event once and returns the status of the answer. Nothing else
// of the answer is read. Errors are our own words: what a transport says may
// hold the address.
func (l *lane) attempt(w Webhook, it *item, at time.Time) (int, error) {
	ctx, cancel := context.WithTimeout(l.s.run, attemptTime)
	defer cancel()
	body, err := it.event.Body(w.Form)
	if err != nil {
		return 0, fmt.Errorf("writing the event: %w", err)
	}
	r, err := l.request(ctx, w, body)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "rutile-webhook")
	r.Header.Set(HeaderID, it.id)
	r.Header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	if w.Secret != "" {
		var mac string
		err := l.s.cfg.Secrets.Use(ctx, w.Secret, origin(r.URL), func(secret []byte) (err error) {
			mac, err = Sign(secret, it.id, at, body)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("signing with credential %q: %w", w.Secret, err)
		}
		r.Header.Set(HeaderSignature, mac)
	}
	answer, err := l.s.cfg.Transport.RoundTrip(r)
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, access.Errorf(access.CodeUnavailable, "no answer within %v", attemptTime)
	case err != nil:
		return 0, access.Errorf(access.CodeUnavailable, "the address cannot be reached, or is none that may be (see egress.allow in the configuration)")
	}
	_ = answer.Body.Close() // unread: a webhook asks and never answers
	switch answer.StatusCode / 100 {
	case 2:
		return answer.StatusCode, nil
	case 3:
		return answer.StatusCode, access.Errorf(access.CodeUnavailable, "it answered with a redirect, which is not followed")
	}
	return answer.StatusCode, access.Errorf(access.CodeUnavailable, "it answered with status %d", answer.StatusCode)
}

// request makes the request to the address, with its sealed rest if it has one.
func (l *lane) request(ctx context.Context, w Webhook, body []byte) (*http.Request, error) {
	u, err := url.Parse(w.URL)
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "the address cannot be read")
	}
	if w.Path != "" {
		err := l.s.cfg.Secrets.Use(ctx, w.Path, origin(u), func(rest []byte) error {
			full, err := u.Parse(strings.TrimSuffix(u.EscapedPath(), "/") + "/" + strings.TrimPrefix(strings.TrimSpace(string(rest)), "/"))
			if err != nil || full.Host != u.Host || full.Scheme != u.Scheme || full.User != nil {
				return access.Errorf(access.CodeInvalid, "it is no path below the address")
			}
			u = full
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("opening credential %q, the rest of the address: %w", w.Path, err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "the address cannot be used")
	}
	return r, nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
