package mcpproxy

import (
	"context"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// levelTime bounds how long a call waits for a server to take a log level.
const levelTime = 5 * time.Second

// hear makes a legacy server log as verbosely as any modern client of the
// conversation wanted so far (mcp.md 2.3, "Logging"): it knows one level for
// all, and what a call did not opt in to is dropped on the way back.
func (t *target) hear(ctx context.Context, l link, pr *peer, level rawjson.Value, d *gate.Dispatch) {
	name, _ := level.Str()
	at := slices.Index(levels, name)
	if at < 0 || !pr.offers("logging") || !t.louder(l, len(levels)-at) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, levelTime)
	defer cancel()
	if err := t.p.tellLevel(ctx, l, name, d); err != nil {
		t.p.log.Warn("a server was not told of the log level", "server", t.server.ID, "error", err)
	}
}

// louder notes how loud a pooled conversation is to be and reports whether that
// is news.
func (t *target) louder(l link, loud int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.pool {
		if e.link == l && e.loud < loud {
			e.loud = loud
			return true
		}
	}
	return false
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
