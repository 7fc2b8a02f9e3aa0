package mcpproxy

import (
	"context"
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

// watch reads the own stream of a legacy session whose server may ask, for the
// servers that ask there: what it holds belongs to the one call in the air.
// ready is closed once it is open, or known not to be.
func (t *target) watch(ctx context.Context, l *httpLegacy, ready chan struct{}) {
	open := sync.OnceFunc(func() { close(ready) })
	defer open()
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := t.watchOnce(ctx, l, open)
		open()
		if errors.Is(err, errNotWatched) || ctx.Err() != nil || !errors.Is(err, io.EOF) && access.CodeOf(err) == access.CodeUpstream {
			return // it has none
		}
		select {
		case <-ctx.Done():
			return
		case <-t.p.stop:
			return
		case <-time.After(wait):
		}
	}
}

// errNotWatched says that the server may not be looked at.
var errNotWatched = errors.New("the server is not watched")

func (t *target) watchOnce(ctx context.Context, l *httpLegacy, open func()) error {
	d, err := t.p.gate.System(ctx, t.server.ID)
	if err != nil {
		return errors.Join(errNotWatched, err)
	}
	defer d.Release()
	return l.stream(ctx, d, &watchRelay{t: t, link: l, d: d, open: open})
}

// watchRelay takes what comes outside every call of a pooled session.
type watchRelay struct {
	t    *target
	link link
	d    *gate.Dispatch
	open func()
}

func (r *watchRelay) begin(bool) error {
	r.open()
	return nil
}

func (r *watchRelay) retry(string) error { return nil }

func (r *watchRelay) ask(msg []byte, v rawjson.Value) {
	if f := r.t.p.flights.only(r.link); f != nil {
		f.ask(msg, v)
		return
	}
	refuseAsk(r.link, r.d, v)
}

func (r *watchRelay) note(_ []byte, v rawjson.Value) error {
	switch name, _ := v.Get("method").Str(); name {
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed":
		r.t.p.relearn(r.t.server.ID)
	}
	return nil
}

var _ relay = (*watchRelay)(nil)
