package mcpproxy

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"rutile/internal/access"
)

// A panic on a goroutine of our own would end the process and with it every
// call of everybody. net/http contains those of handlers; these are contained
// here. What runs there MUST release what others wait for by defers.

// errPanicked says that the gateway itself failed.
var errPanicked = access.Errorf(access.CodeInternal, "the gateway failed while it served this")

// contain runs f and reports whether it panicked. What a panic quotes may be
// anybody's payload, so that only errors of the runtime, which quote none, are
// logged with their text.
func contain(log *slog.Logger, what string, f func()) (panicked bool) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		panicked = true
		why := fmt.Sprintf("a %T", v)
		if e, ok := v.(runtime.Error); ok {
			why = e.Error()
		}
		log.Error("a panic was contained", "in", what, "panic", why, "stack", string(debug.Stack()))
	}()
	f()
	return false
}

func (p *Proxy) contain(what string, f func()) (panicked bool) { return contain(p.log, what, f) }

// spawn runs f beside, until Close at the latest; a panic ends f only.
func (p *Proxy) spawn(what string, f func()) {
	p.work.Go(func() { p.contain(what, f) })
}

// spawnFor is spawn for what serves a stream or a call: a panic ends that too,
// so that its client does not wait for what never comes.
func (p *Proxy) spawnFor(cut context.CancelCauseFunc, what string, f func()) {
	p.work.Go(func() {
		if p.contain(what, f) {
			cut(errPanicked)
		}
	})
}
