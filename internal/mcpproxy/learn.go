package mcpproxy

import (
	"context"
	"errors"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// Bounds of one listing.
const (
	maxPages      = 200
	maxListed     = 10_000
	learnInterval = 250 * time.Millisecond
)

// A look that fails is followed by another, so that a server that was down when
// it was applied is known soon after it is up; twice as long after each failure.
const (
	retryFirst = time.Second
	retryMost  = 5 * time.Minute
)

// learning is one running or finished look at a server's list, or the one that
// follows a running one.
type learning struct {
	done chan struct{}
	err  error
	at   time.Time // when it began, or was made if it follows
	// Of Proxy.mu:
	next   bool        // another look will follow
	follow *learning   // it, for those who came too late for this one
	failed int         // looks that failed one after the other, with this one
	retry  *time.Timer // of the look after one that failed
}

func (l *learning) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Learn lists what a server offers and tells the catalog. What was true when it
// was called is in what it tells: a look that runs already may have come before,
// so that those who find one share the next.
func (p *Proxy) Learn(ctx context.Context, server string) error {
	return p.learnSince(ctx, server, time.Now())
}

func (p *Proxy) learnSince(ctx context.Context, server string, since time.Time) error {
	l := p.lookSince(server, since)
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// lookAgain looks at a server's lists after something in them turned out to be
// new, at most once per learnInterval. It reports whether it could.
func (p *Proxy) lookAgain(ctx context.Context, server string) bool {
	since := time.Now()
	p.mu.Lock()
	l := p.learning[server]
	recent := l != nil && time.Since(l.at) < learnInterval
	p.mu.Unlock()
	if recent {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(learnInterval - time.Since(l.at)):
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return p.learnSince(ctx, server, since) == nil
}

// relearn looks again in the background, at most once per learnInterval.
func (p *Proxy) relearn(server string) {
	p.mu.Lock()
	l := p.learning[server]
	running := l != nil && (l.follow != nil || !l.over())
	recent := l != nil && time.Since(l.at) < learnInterval
	follows := recent && l.next
	if recent && !running {
		l.next = true
	}
	p.mu.Unlock()
	switch {
	case running: // it may be past what changed
		p.lookSince(server, time.Now())
		return
	case follows: // a server may say that it changed a thousand times
		return
	case !recent:
		p.startLearning(server)
		return
	}
	p.spawn("another look at a server", func() {
		select {
		case <-p.stop:
		case <-time.After(learnInterval):
			p.startLearning(server)
		}
	})
}

// startLearning returns the look that runs or is about to, or begins one.
func (p *Proxy) startLearning(server string) *learning {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.learning[server]; l != nil {
		if l.follow != nil {
			return l.follow
		}
		if !l.over() {
			return l
		}
	}
	return p.beginLearning(server, newLearning())
}

// lookSince returns a look that did not begin before since.
func (p *Proxy) lookSince(server string, since time.Time) *learning {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.learning[server]
	switch {
	case l == nil:
	case !l.at.Before(since):
		return l
	case l.follow != nil:
		return l.follow
	case !l.over():
		l.follow = newLearning()
		return l.follow
	}
	return p.beginLearning(server, newLearning())
}

func newLearning() *learning { return &learning{done: make(chan struct{}), at: time.Now()} }

// beginLearning begins l; p.mu is held.
func (p *Proxy) beginLearning(server string, l *learning) *learning {
	l.at = time.Now()
	if p.closed {
		l.err = access.Errorf(access.CodeUnavailable, "the gateway is stopping")
		close(l.done)
		return l
	}
	if before := p.learning[server]; before != nil {
		l.failed = before.failed
		if before.retry != nil {
			before.retry.Stop()
		}
	}
	p.learning[server] = l
	p.spawn("a look at a server", func() {
		defer p.looked(server, l)
		l.err = errPanicked // unless it returns
		ctx, cancel := context.WithTimeout(context.Background(), p.cfg.LookTime)
		defer cancel()
		go func() {
			select {
			case <-p.stop:
				cancel()
			case <-ctx.Done():
			}
		}()
		l.err = p.learn(ctx, server)
		if l.err != nil {
			p.log.Warn("a server's tools could not be listed", "server", server, "error", access.Reasons(l.err))
		}
	})
	return l
}

// looked ends a look and sees to the one that follows it, at once if somebody
// waits for it and after a while if this one failed.
func (p *Proxy) looked(server string, l *learning) {
	p.mu.Lock()
	close(l.done)
	f := l.follow
	if l.failed++; l.err == nil {
		l.failed = 0
	} else if f == nil && !p.closed {
		l.retry = time.AfterFunc(retryAfter(l.failed), func() { p.retry(server, l) })
	}
	p.mu.Unlock()
	if f == nil {
		return
	}
	p.spawn("another look at a server", func() {
		select {
		case <-p.stop:
		case <-time.After(learnInterval - time.Since(l.at)):
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.beginLearning(server, f)
	})
}

// retryAfter is how long after so many failed looks the next one begins.
func retryAfter(failed int) time.Duration {
	wait := retryFirst
	for ; failed > 1 && wait < retryMost; failed-- {
		wait *= 2
	}
	return min(wait, retryMost)
}

// retry looks again at a server after l failed, unless somebody else has by now
// or the server is not to be looked at any more.
func (p *Proxy) retry(server string, l *learning) {
	ok := p.gate.State().View.ServerStanding(server).OK
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok && p.learning[server] == l {
		p.beginLearning(server, newLearning())
	}
}

// learn takes in what a server says of itself: its capabilities, its instructions
// and its lists over all pages.
func (p *Proxy) learn(ctx context.Context, server string) error {
	if server == access.OwnServer {
		return nil // what is its own the gateway knows
	}
	d, err := p.gate.System(ctx, server)
	if err != nil {
		return err
	}
	defer d.Release()
	t, err := p.target(d.Server)
	if err != nil {
		return err
	}
	l, pr, release, err := t.acquire(ctx, access.Principal{}, allKinds, d)
	if err != nil {
		return err
	}
	bad := false
	defer func() { release(bad) }()
	for _, l := range []registry.Listing{p.capabilitiesOf(d, t, pr), instructionsOf(d, pr)} {
		if err := p.catalog.Observe(ctx, server, l); err != nil {
			return err
		}
	}
	for _, name := range []string{"tools/list", "prompts/list", "resources/list", "resources/templates/list"} {
		m := methods[name]
		// What is not offered is an empty list, and the first list counts: what a
		// server offers only later waits for a person.
		var defs []registry.Definition
		if pr.offers(m.needs) {
			defs, err = p.listAll(ctx, l, pr, &exchange{method: m, d: d, relay: noRelay{}})
			if err != nil && !errors.Is(err, errNoSuchList) { // some servers offer resources and know no templates
				bad = brokenLink(err)
				return err
			}
		}
		if err := p.catalog.Observe(ctx, server, registry.Listing{Kind: listKinds[m.list].kind, Definitions: defs}); err != nil {
			return err
		}
	}
	return nil
}

// errNoSuchList says that the server does not know the method.
var errNoSuchList = errors.New("the server does not know this list")

func (p *Proxy) listAll(ctx context.Context, l link, pr *peer, x *exchange) ([]registry.Definition, error) {
	var defs []registry.Definition
	var cursor []byte
	size := 0
	x.limits = rawjson.Limits{Bytes: p.cfg.MaxResult}
	for range maxPages {
		x.id = p.mint()
		x.body = listRequest(x.method.name, x.id, cursor, pr.modern)
		rep, _, err := l.call(ctx, x)
		if err != nil {
			return nil, err
		}
		if rep.code() == codeMethodNotFound {
			return nil, errNoSuchList
		}
		if rep.fault.Exists() {
			return nil, malformed("it answers " + x.method.name + " with an error")
		}
		items := rep.result.Get(x.method.list)
		if items.Kind() != rawjson.Array {
			return nil, malformed("its " + x.method.name + " result has no list")
		}
		for item := range items.Items() {
			name, _ := item.Get(listKinds[x.method.list].key).Str()
			// The bound of a message is that of a whole list too.
			if size += len(item.Raw()); len(defs) >= maxListed || size > p.cfg.MaxResult {
				return nil, malformed("it lists too many definitions, or too large ones")
			}
			defs = append(defs, registry.Definition{Name: name, Raw: append([]byte(nil), x.d.Scrub(item.Raw())...)})
		}
		next := rep.result.Get("nextCursor")
		if next.Kind() != rawjson.String {
			return defs, nil
		}
		cursor = append([]byte(nil), next.Raw()...)
	}
	return nil, malformed("its list never ends")
}

func listRequest(method string, id, cursor []byte, modern bool) []byte {
	b := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":"`+method+`","params":{`...)
	if modern {
		b = append(append(b, `"_meta":`...), ourMeta...)
	}
	if cursor != nil {
		if modern {
			b = append(b, ',')
		}
		b = append(append(b, `"cursor":`...), cursor...)
	}
	return append(b, "}}"...)
}

// forget makes the next request to a server find out again what it speaks.
func (p *Proxy) forget(server string) {
	p.mu.Lock()
	t := p.targets[server]
	p.mu.Unlock()
	if t != nil {
		t.forget()
	}
}
