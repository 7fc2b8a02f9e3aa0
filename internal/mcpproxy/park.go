package mcpproxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// flight is a call of a modern client to a legacy upstream that may ask: it
// lives as long as the upstream works on it, over as many requests of the
// client as that takes (mcp.md 2.4). Between two of them it is parked.
type flight struct {
	p      *Proxy
	id     string
	t      *target
	link   link
	peer   *peer
	caps   rawjson.Value  // what the upstream was told the client can be asked
	own    *gate.Dispatch // its own lease of the credential
	minted []byte         // progress token sent upstream
	cut    context.CancelCauseFunc
	wake   chan struct{} // a request of the server came

	done  chan struct{} // closed at the end; the next three are set then
	rep   *reply
	reach access.Reach
	err   error

	round, keys int // used by the request that attends

	mu     sync.Mutex
	holder *call           // the client's request that attends, nil while parked
	coming []rawjson.Value // requests of the server not looked at yet

	waiting *waiting // nil unless parked; guarded by the flights
}

// errGaveUp says that a parked call's client did not come back.
var errGaveUp = access.Errorf(access.CodeTimeout, "the client did not answer what the server asked in time")

// errNoLonger says that policy no longer permits a call that waits.
var errNoLonger = access.Errorf(access.CodeDenied, "the call is no longer permitted")

// maxComing bounds the requests of a server that wait to be looked at.
const maxComing = 32

// fly sends the request as a flight and attends to it.
func (c *call) fly(ctx context.Context, t *target, l link, pr *peer, release func(bad bool), caps string) (*reply, access.Reach, error) {
	if !c.in.p.takes(t.server.ID, pr, c.in.msg.method) {
		release(false)
		return nil, access.ReachNo, methodNotFound(true)
	}
	c.link, c.peer = l, pr
	body, err := c.outbound()
	if err != nil {
		release(false)
		return nil, access.ReachNo, err
	}
	told, err := c.in.p.toldOf(caps)
	if err != nil {
		release(false)
		return nil, access.ReachNo, err
	}
	own, err := c.in.p.gate.Again(ctx, c.req, c.d)
	if err != nil {
		release(false)
		return nil, access.ReachNo, err
	}
	p := c.in.p
	f := &flight{
		p: p, id: newFlightID(), t: t, link: l, peer: pr, caps: told, own: own, minted: bytes.Clone(c.minted),
		done: make(chan struct{}), wake: make(chan struct{}, 1), holder: c,
	}
	fctx, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	f.cut = cut
	stopping := context.AfterFunc(p.base, func() { cut(errStopping) })
	x := &exchange{
		method: c.in.msg.method, body: body, id: bytes.Clone(c.sent), token: f.minted, d: own, relay: f,
		limits: rawjson.Limits{Bytes: p.cfg.MaxResult},
	}
	p.flights.add(f)
	p.calls.Go(func() {
		p.contain("a call that may ask", func() {
			defer p.flights.over(f)
			defer own.Release()
			defer stopping()
			defer cut(context.Canceled)
			defer close(f.done)
			// Before the end is seen: a retry must not get it again.
			defer func() { release(brokenLink(f.err) || errors.Is(f.err, errPanicked)) }()
			f.reach, f.err = access.ReachUnknown, errPanicked // unless it returns
			f.rep, f.reach, f.err = l.call(fctx, x)
		})
	})
	return f.tended(func() (*reply, access.Reach, error) { return c.attend(ctx, f) })
}

// tended runs what looks after the flight and ends it if that panics: nobody
// else would.
func (f *flight) tended(do func() (*reply, access.Reach, error)) (*reply, access.Reach, error) {
	returned := false
	defer func() {
		if !returned {
			f.cut(errPanicked)
		}
	}()
	rep, reach, err := do()
	returned = true
	return rep, reach, err
}

// bare is a request without what belongs to the HTTP request it came with, of
// which a text would keep all headers.
func bare(r *access.Request) *access.Request {
	b := *r
	b.Arguments, b.Unknown = rawjson.Value{}, true
	for _, text := range []*string{&b.Version, &b.Method, &b.Server, &b.Target, &b.RPC, &b.Session, &b.Task, &b.Trace.Parent, &b.Trace.State, &b.Trace.Baggage} {
		*text = strings.Clone(*text)
	}
	return &b
}

func newFlightID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// attend carries what the flight sends to this request of the client until it
// ends or has something to ask.
func (c *call) attend(ctx context.Context, f *flight) (*reply, access.Reach, error) {
	defer f.leave(c)
	for {
		select {
		case <-f.done:
			return f.rep, f.reach, f.err
		default:
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			f.cut(context.Cause(ctx))
			<-f.done
			if f.err == nil {
				return nil, f.reach, context.Cause(ctx)
			}
			return nil, f.reach, f.err
		case <-f.wake:
			if asked, err := c.raise(ctx, f); err != nil || asked {
				if err != nil {
					f.cut(err)
					<-f.done
				}
				return nil, access.ReachYes, err
			}
		}
	}
}

// leave ends the attendance: nothing of the flight reaches c any more.
func (f *flight) leave(c *call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holder == c {
		f.holder = nil
	}
}

// settling is how long more requests of a server are waited for, so that those
// it makes at once are asked at once.
const settling = 20 * time.Millisecond

// raise looks at what the server asks. What the client is not to be asked is
// answered; if anything is left, the flight is parked and c.parked the answer.
func (c *call) raise(ctx context.Context, f *flight) (asked bool, err error) {
	for settled := false; !settled; {
		select {
		case <-f.wake:
		case <-time.After(settling):
			settled = true
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	f.mu.Lock()
	coming := f.coming
	f.coming = nil
	f.mu.Unlock()
	var raised []*ask
	for _, v := range coming {
		a, err := c.judge(ctx, f.caps, v)
		if err != nil {
			return false, err
		}
		a.id = v.Get("id").Raw()
		if a.refused() {
			if err := f.answer(ctx, c.d, a, nil); err != nil {
				return false, err
			}
			continue
		}
		raised = append(raised, a)
	}
	if len(raised) == 0 {
		return false, nil
	}
	return true, c.park(ctx, f, raised)
}

// answer sends the answer to a request of the server: result, or else the
// gateway's own.
func (f *flight) answer(ctx context.Context, d *gate.Dispatch, a *ask, result []byte) error {
	var body []byte
	switch {
	case result != nil:
		body = appendResult(nil, a.id, result)
	case a.own != nil:
		body = appendResult(nil, a.id, a.own)
	case a.fault != nil:
		body = appendError(nil, a.id, a.fault)
	default:
		a.no()
		return f.answer(ctx, d, a, nil)
	}
	return f.link.send(ctx, d, body)
}

// park makes the flight wait for the client's next request and makes the answer
// to this one.
func (c *call) park(ctx context.Context, f *flight, raised []*ask) error {
	p := c.in.p
	f.round++
	for _, a := range raised {
		if a.key == "" {
			f.keys++ // no answer to an earlier question fits
			a.key = "ask-" + strconv.Itoa(f.keys)
		}
	}
	refuse := ""
	if f.round > maxRounds {
		refuse = tooOften
	}
	sealed, err := c.sealed(ctx, state{Kind: statePark, Park: f.id, Round: f.round, Expires: time.Now().Add(p.cfg.ParkTime), Asked: kindsOf(raised)})
	if err != nil {
		return err
	}
	w := &waiting{round: f.round, raised: raised, req: bare(c.req), intent: c.d.Intent(), asked: make(chan struct{})}
	if refuse == "" && !p.flights.park(f, w) {
		refuse = "too many calls wait for input; answer one of them, or try again later"
	}
	if refuse != "" {
		for _, a := range raised {
			a.no()
			if err := f.answer(ctx, c.d, a, nil); err != nil {
				break // the call is ended next
			}
		}
		return gaveUp{refuse}
	}
	c.flight, c.waiting = f, w
	c.parked = appendResult(nil, c.ans.id, inputRequired(raised, sealed))
	return nil
}

// settled says that the outcome of a request that asked is recorded: how its
// call ended may follow.
func (c *call) settled() {
	if c.waiting != nil {
		close(c.waiting.asked)
		c.waiting = nil
	}
}

func kindsOf(raised []*ask) map[string]string {
	m := make(map[string]string, len(raised))
	for _, a := range raised {
		m[a.key] = a.kind
	}
	return m
}

// inputRequired is the result that asks the client.
func inputRequired(raised []*ask, sealed []byte) []byte {
	b := []byte(`{"resultType":"input_required","inputRequests":{`)
	for i, a := range raised {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(rawjson.AppendString(b, a.key), ':'), a.entry()...)
	}
	return append(append(append(b, `},"requestState":`...), sealed...), '}')
}

// land carries a parked flight on with the answers of a retry.
func (c *call) land(ctx context.Context, t *target, d *gate.Dispatch) (*reply, access.Reach, error) {
	f := c.in.p.flights.find(c.state.Park)
	if f == nil {
		return nil, access.ReachNo, errStateGone
	}
	w := c.in.p.flights.claim(f, c.state.Round)
	if w == nil {
		return nil, access.ReachNo, errStateGone
	}
	return f.tended(func() (*reply, access.Reach, error) { return c.landed(ctx, t, d, f, w) })
}

func (c *call) landed(ctx context.Context, t *target, d *gate.Dispatch, f *flight, w *waiting) (*reply, access.Reach, error) {
	if f.t != t || !sameCredential(f.own, d) && !d.Follow(f.own) {
		// Its server is elsewhere by now, or holds what was replaced and is not
		// known to this request.
		f.cut(errEntryChanged)
		<-f.done
		return nil, access.ReachYes, errEntryChanged
	}
	f.mu.Lock()
	c.link, c.peer, c.minted, f.holder = f.link, f.peer, f.minted, c
	f.mu.Unlock()
	responses := c.in.msg.params.Get("inputResponses")
	for _, a := range w.raised {
		if !responses.Get(a.key).Exists() { // it is asked again
			err := c.park(ctx, f, w.raised)
			f.leave(c)
			if err != nil {
				f.cut(err)
			}
			return nil, access.ReachYes, err
		}
	}
	for _, a := range w.raised {
		if err := f.answer(ctx, c.d, a, c.inward(a.kind, without(responses.Get(a.key), []string{"resultType"}))); err != nil {
			select {
			case <-f.done: // it ended while it waited, which says more
			default:
				f.cut(err)
			}
			break
		}
	}
	return c.attend(ctx, f)
}

// abandon ends a parked flight nobody will come back for and records how it
// ended.
func (f *flight) abandon(why error) {
	w := f.p.flights.claim(f, 0)
	if w == nil {
		return
	}
	f.cut(why)
	<-f.done
	if f.err == nil {
		why = nil // a result nobody took
	}
	<-w.asked
	if err := f.p.gate.Late(context.Background(), w.req, w.intent, access.Response{Reached: access.ReachYes}, why); err != nil {
		f.p.log.Error("a call that waited for input ended", "server", w.req.Server, "decision", w.req.ID, "error", err)
	}
}

// begin, note, ask and retry make a flight the relay of its exchange.

func (f *flight) begin(sse bool) error { return f.held(func(c *call) error { return c.begin(sse) }) }
func (f *flight) retry(string) error   { return nil } // a modern client resumes nothing

func (f *flight) note(msg []byte, v rawjson.Value) error {
	if v.Get("method").Equals("notifications/cancelled") {
		f.withdraw(v.Path("params", "requestId"))
		return nil
	}
	if name, _ := v.Get("method").Str(); name == resourceUpdated || isListChange(name) {
		if to := fanOf(f.link); to != nil { // whether somebody attends or not
			to.note(msg, v)
		}
		return nil
	}
	return f.held(func(c *call) error { return c.note(msg, v) })
}

// held does something with the request that attends, if there is one.
func (f *flight) held(do func(*call) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holder == nil {
		return nil
	}
	return do(f.holder)
}

// ask keeps a request of the server until it is looked at.
func (f *flight) ask(msg []byte, v rawjson.Value) {
	if v.Get("method").Equals("ping") {
		refuseAsk(f.link, f.own, v)
		return
	}
	kept, err := rawjson.Parse(bytes.Clone(msg), rawjson.Limits{Bytes: f.p.cfg.MaxResult})
	f.mu.Lock()
	full := err != nil || len(f.coming) >= maxComing
	if !full {
		f.coming = append(f.coming, kept)
	}
	f.mu.Unlock()
	if full {
		refuseAsk(f.link, f.own, v)
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// withdraw forgets a request the server takes back. One the client was asked
// already is answered by it for nobody.
func (f *flight) withdraw(id rawjson.Value) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.coming = slices.DeleteFunc(f.coming, func(v rawjson.Value) bool { return sameID(v.Get("id"), id) })
}

func (f *flight) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

var _ relay = (*flight)(nil)
