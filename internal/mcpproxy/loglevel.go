package mcpproxy

import (
	"context"
	"errors"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

const (
	// levelTime bounds how long a call waits for a server to take a log level.
	levelTime = 5 * time.Second
	// levelRest is how long one that let that pass is left alone.
	levelRest = time.Minute
)

// loudness is how verbosely a pooled conversation logs.
type loudness struct {
	turn  chan struct{} // one tells at a time
	taken int           // the most verbose level the server took, counted from its quiet end; 0 for none
	rest  time.Time     // it is told nothing before
}

// hear makes a legacy server log as verbosely as any modern client of the
// conversation wanted so far (mcp.md 2.3, "Logging"): it knows one level for
// all, and what a call did not opt in to is dropped on the way back. A level it
// did not take is told again by the next call that wants it.
func (t *target) hear(ctx context.Context, l link, pr *peer, level rawjson.Value, d *gate.Dispatch) {
	name, _ := level.Str()
	at := slices.Index(levels, name)
	if at < 0 || !t.p.mayUse(t.server.ID, pr, "logging") {
		return
	}
	want := len(levels) - at
	e := t.quieter(l, want)
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, levelTime)
	defer cancel()
	select { // a level told out of turn might replace a more verbose one
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return
	}
	if t.quieter(l, want) == nil {
		return
	}
	err := t.p.tellLevel(ctx, l, name, d)
	if err != nil {
		t.p.log.Warn("a server was not told of the log level", "server", t.server.ID, "error", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		e.taken = want
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.rest = time.Now().Add(levelRest)
	}
}

// quieter returns what is known of a pooled conversation that is to be told that
// it is to be so loud, else nil.
func (t *target) quieter(l link, loud int) *loudness {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.pool {
		if e.link == l && e.loud.taken < loud && !time.Now().Before(e.loud.rest) {
			return &e.loud
		}
	}
	return nil
}

// tellLevel tells a legacy server of a log level.
func (p *Proxy) tellLevel(ctx context.Context, l link, level string, d *gate.Dispatch) error {
	id := p.mint()
	body := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":"logging/setLevel","params":{"level":`...)
	body = append(rawjson.AppendString(body, level), "}}"...)
	x := &exchange{method: methods["logging/setLevel"], body: body, id: id, d: d, relay: noRelay{}, limits: rawjson.Limits{Bytes: p.cfg.MaxResult}}
	rep, _, err := l.call(ctx, x)
	if err == nil && rep.fault.Exists() {
		err = access.Errorf(access.CodeUpstream, "it answers logging/setLevel with an error")
	}
	return err
}
