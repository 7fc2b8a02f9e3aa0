package admin

import (
	"context"

	"rutile/internal/access"
	"rutile/internal/sink"
)

// What a Try is of.
const (
	TrySource   = kindSignal // of signals, that tells us
	TryReceiver = kindSink   // of signals, that we tell
	TryMail     = kindMail
)

// Try has something tried that is declared: that a source can be heard, that a receiver
// takes what it is sent. That somebody did is recorded first. It returns what do says.
func (a *Admin) Try(ctx context.Context, actor Actor, kind, id string, do func(context.Context) (string, error)) (string, error) {
	cur, r := a.Current(), record{verb: "test", kind: kind, object: clip(id)}
	if err := a.permit(ctx, cur, actor, OpOther, r); err != nil {
		return "", err
	}
	var ok bool
	switch kind {
	case TrySource:
		_, ok = cur.Signals[id]
	case TryReceiver:
		var s sink.Sink
		s, ok = cur.Sinks[id]
		ok = ok && s.Form == sink.FormSSF
	case TryMail:
		_, ok = cur.Mails[id]
	}
	if !ok {
		return "", access.Errorf(access.CodeNotFound, "there is no %s %q that could be tried", kind, clip(id))
	}
	if err := a.note(ctx, actor, r); err != nil {
		return "", err
	}
	return do(ctx)
}
