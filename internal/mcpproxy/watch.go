package mcpproxy

import (
	"errors"
	"io"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// allKinds is what a server is told while its definitions are listed: some list
// a tool only to clients that can be asked what it asks. Whoever uses the tool
// is asked under their own session and policy; here everything is refused.
const allKinds = `{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{"tools":{}}}`

// asks reports whether the server is told of anything it may ask.
func (h hello) asks() bool { return h.caps != "" }

// watch reads the own stream of a legacy session for as long as the session is
// used, for what belongs to no call: what servers ask there is of the one call in
// the air, and changes are of everybody who listens. ready is closed once the
// stream is open, or known not to be.
func (f *fan) watch(l *httpLegacy, ready chan struct{}) {
	open := sync.OnceFunc(func() { close(ready) })
	defer open()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.watching = nil
	}()
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		since := time.Now()
		err := f.watchOnce(l, open)
		open()
		switch f.mu.Lock(); {
		case f.ctx.Err() != nil, errors.Is(err, errNotWatched):
			f.mu.Unlock()
			return
		case errors.Is(err, errSessionEnded), f.opened && refused(err):
			// What knew the session is gone: it was restarted.
			f.mu.Unlock()
			f.t.lost(l)
			return
		case refused(err):
			f.none = true
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		if time.Since(since) > 30*time.Second {
			wait = time.Second // it worked for a while
		}
		select {
		case <-f.ctx.Done():
			return
		case <-f.t.p.stop:
			return
		case <-time.After(wait):
		}
	}
}

// refused reports whether err is a server's refusal to open a stream, or what no
// stream may hold.
func refused(err error) bool {
	return !errors.Is(err, io.EOF) && access.CodeOf(err) == access.CodeUpstream
}

// errNotWatched says that the server may not be looked at.
var errNotWatched = errors.New("the server is not watched")

func (f *fan) watchOnce(l *httpLegacy, open func()) error {
	d, err := f.t.p.gate.System(f.ctx, f.t.server.ID)
	if err != nil {
		return errors.Join(errNotWatched, err)
	}
	defer d.Release()
	return l.stream(f.ctx, d, &watchRelay{fan: f, d: d, open: open})
}

// watchRelay takes what comes outside every call of a pooled session.
type watchRelay struct {
	fan   *fan
	d     *gate.Dispatch
	open  func() // nil where it is no stream
	alone bool   // it is the stream of a request that lets nobody be asked
}

func (r *watchRelay) begin(bool) error {
	if r.open == nil {
		return nil
	}
	r.fan.mu.Lock()
	again := r.fan.opened
	r.fan.opened = true
	r.fan.mu.Unlock()
	if again {
		r.fan.missed()
	}
	r.open()
	return nil
}

func (r *watchRelay) retry(string) error { return nil }

func (r *watchRelay) ask(msg []byte, v rawjson.Value) {
	if f := r.fan.t.p.flights.only(r.fan.link); f != nil && !r.alone {
		f.ask(msg, v)
		return
	}
	refuseAsk(r.fan.link, r.d, v)
}

func (r *watchRelay) note(msg []byte, v rawjson.Value) error {
	r.fan.note(msg, v)
	return nil
}

// note takes a notification of the server that belongs to no call.
func (f *fan) note(msg []byte, v rawjson.Value) {
	switch name, _ := v.Get("method").Str(); {
	case name == resourceUpdated:
		f.updated(msg, v)
	case isListChange(name):
		f.t.p.relearn(f.t.server.ID)
		f.mark(name, "")
	}
}

var _ relay = (*watchRelay)(nil)
