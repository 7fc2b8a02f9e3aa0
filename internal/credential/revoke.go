package credential

import (
	"context"
	"sync"
	"time"
)

// Bounds of revoking.
const (
	revokers    = 16               // at once
	maxRevoking = 4096             // waiting
	revokeTime  = 10 * time.Second // one attempt
	closeTime   = 5 * time.Second  // what is left at the end
)

// retries is how long is waited before each further attempt.
func retries() []time.Duration {
	return []time.Duration{time.Second, 5 * time.Second, 25 * time.Second}
}

// revoker revokes in the background what was minted for one call.
type revoker struct {
	mint *Mint
	room chan struct{}

	mu     sync.Mutex
	jobs   int
	closed bool
	work   sync.WaitGroup
}

// end revokes what is held by the caller, whoever uses it besides, records that, and
// lets go of it; done is called with why it could not be revoked, "" if it was.
func (r *revoker) end(o *opened, by string, done func(why string)) {
	if o.minted.Revoke == nil {
		why := "its issuer offers no revocation"
		r.failed(o, why)
		o.release()
		done(why)
		return
	}
	if !o.ended.CompareAndSwap(false, true) {
		o.release()
		done("it is being revoked already")
		return
	}
	r.background(o, func(why string) {
		if why == "" {
			r.record(o, Event{Verb: "revoke", Why: "its credential was removed", By: by})
		}
		o.release()
		done(why)
	})
}

// revoke ends what was minted; done is called when it is over.
func (r *revoker) revoke(o *opened, done func()) {
	r.background(o, func(string) { done() })
}

// background revokes and says why that failed, which is recorded, "" if it did not.
func (r *revoker) background(o *opened, done func(why string)) {
	r.mu.Lock()
	full := r.jobs >= maxRevoking || r.closed
	if !full {
		r.jobs++
		r.work.Add(1)
	}
	r.mu.Unlock()
	if full {
		const why = "too many credentials wait to be revoked"
		r.failed(o, why)
		done(why)
		return
	}
	go func() {
		defer func() {
			r.mu.Lock()
			r.jobs--
			r.mu.Unlock()
			r.work.Done()
		}()
		r.room <- struct{}{}
		why := r.attempts(o)
		<-r.room
		if why != "" {
			r.failed(o, why)
		}
		done(why)
	}()
}

// attempts returns why it could not be revoked, "" if it was or has ended.
func (r *revoker) attempts(o *opened) string {
	m := r.mint
	for i := 0; ; i++ {
		ctx, cancel := context.WithTimeout(m.life, revokeTime)
		err := o.minted.Revoke(ctx)
		cancel()
		switch {
		case err == nil:
			m.cfg.Log.Debug("a minted credential is revoked", "credential", o.source.ID, "version", o.minted.Version)
			m.over(o)
			return ""
		case !o.minted.Expires.IsZero() && !m.cfg.Now().Before(o.minted.Expires):
			return ""
		case i == len(retries()):
			m.cfg.Log.Debug("revoking a minted credential", "credential", o.source.ID, "version", o.minted.Version, "error", err)
			return "its issuer did not revoke it"
		}
		if m.cfg.Wait(m.life, retries()[i]) != nil {
			return "the gateway stopped before its issuer revoked it"
		}
	}
}

// failed is the finding that a credential lives longer than its call.
func (r *revoker) failed(o *opened, why string) {
	m, g := r.mint, o.minted
	m.cfg.Log.Warn("a minted credential could not be revoked", "finding", "credential.not-revoked", "credential", o.source.ID, "version", g.Version, "server", o.server, "validUntil", until(g.Expires), "reason", why)
	r.record(o, Event{Verb: "revoke-failed", Expires: g.Expires, Why: why})
}

// record makes what became of a minted credential evidence.
func (r *revoker) record(o *opened, e Event) {
	m, g := r.mint, o.minted
	e.Credential, e.Kind, e.Version, e.Server, e.Narrowed = o.source.ID, o.source.Kind(), g.Version, o.server, g.Narrowed
	ctx, cancel := context.WithTimeout(context.Background(), revokeTime)
	defer cancel()
	if err := m.cfg.Record(ctx, e); err != nil {
		m.cfg.Log.Error("recording what became of a minted credential", "verb", e.Verb, "credential", o.source.ID, "version", g.Version, "error", err)
	}
}

func until(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return t.UTC().Format(time.RFC3339)
}

// close takes no more and waits for what is under way.
func (r *revoker) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.wait()
}

func (r *revoker) wait() {
	done := make(chan struct{})
	go func() { r.work.Wait(); close(done) }()
	t := time.NewTimer(closeTime)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
