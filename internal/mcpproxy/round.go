package mcpproxy

import (
	"context"
	"crypto/rand"
	"encoding/json"
	mrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// rounds is what a call remembers of what a modern upstream asked.
type rounds struct {
	n      int             // rounds of asking in this request
	shed   int             // answers that only said to try again
	polls  int             // rounds without a question that is new
	opened map[string]bool // URL elicitations the client accepted: key and address
	links  [][]byte        // raw elicitationIds of those
}

// gaveUp ends a call with an error the model can read: the server was heard,
// and what it wants cannot be had.
type gaveUp struct{ why string }

func (g gaveUp) Error() string { return g.why }

// gaveUp is the answer to a call that was given up.
func (c *call) gaveUp(g gaveUp) (body []byte, toolErr bool, err error) {
	if !c.toolCall() {
		return nil, false, upstreamError("input_refused", g.why)
	}
	result := []byte(`{`)
	if c.modern {
		result = append(result, `"resultType":"complete",`...)
	}
	result = rawjson.AppendString(append(result, `"content":[{"type":"text","text":`...), "The gateway ended this call: "+g.why+".")
	return appendResult(nil, c.ans.id, append(result, `}],"isError":true}`...)), true, nil
}

// deniedAgain says that policy does not permit to go on with a call it permitted.
type deniedAgain struct{ dec access.Decision }

func (d *deniedAgain) Error() string { return "the call is no longer permitted" }

// permitted decides the call anew before what was answered is sent: what was
// true when it began need not be any more.
func (c *call) permitted(ctx context.Context) error {
	r := *c.req
	r.ID, r.At = access.NewID(access.PrefixDecision), time.Now()
	dec, err := c.in.p.gate.Recheck(ctx, &r, c.d)
	if err != nil {
		return err
	}
	if !dec.Allowed() {
		return &access.Error{Code: access.CodeDenied, Msg: errNoLonger.Msg, Err: &deniedAgain{dec}}
	}
	_, err = c.in.p.target(c.d.Server) // what was answered is not for where the server was
	return err
}

// carry takes the request to the upstream until there is an answer for the
// client: the final one, or a question.
func (c *call) carry(ctx context.Context, t *target, d *gate.Dispatch) (*reply, access.Reach, error) {
	if c.state != nil && c.state.Kind == statePark {
		rep, reach, err := c.land(ctx, t, d)
		return c.carried(ctx, rep, reach, err)
	}
	rep, reach, err := c.try(ctx, t, d)
	for err == nil && rep != nil && c.peer.modern && rep.result.Get("resultType").Equals("input_required") {
		var again bool
		if again, err = c.round(ctx, rep.result); !again || err != nil {
			return rep, reach, err
		}
		rep, _, err = c.try(ctx, t, d) // whatever comes of it, the server had the call
	}
	return c.carried(ctx, rep, reach, err)
}

func (c *call) carried(ctx context.Context, rep *reply, reach access.Reach, err error) (*reply, access.Reach, error) {
	if err != nil || rep == nil {
		return rep, reach, err
	}
	if !c.peer.modern && rep.code() == codeURLElicitation {
		return rep, reach, c.demanded(ctx, rep.fault)
	}
	c.completed()
	return rep, reach, nil
}

// round deals with one result that asks. again says that c.recall is to be sent;
// else the result goes to a modern client.
func (c *call) round(ctx context.Context, result rawjson.Value) (again bool, err error) {
	if err := c.checkResultType(result); err != nil {
		return false, err
	}
	c.rounds.n++
	round := c.rounds.n
	if c.state != nil {
		round += c.state.Round
	}
	if round > maxRounds+c.rounds.shed+c.rounds.polls {
		return false, gaveUp{tooOften}
	}
	requests, inner := result.Get("inputRequests"), result.Get("requestState")
	raised, err := c.entries(ctx, requests)
	if err != nil {
		return false, err
	}
	answers := []byte{'{'}
	st := state{Kind: stateCarry, Round: round, Expires: time.Now().Add(stateTime), Inner: inner.Raw(), Asked: map[string]string{}, Ours: map[string]json.RawMessage{}}
	shown := []byte{'{'}
	var open []*ask
	for _, a := range raised {
		if a.own != nil {
			st.Ours[a.key] = a.own
			answers = appendMember(answers, a.key, a.own)
			continue
		}
		st.Asked[a.key] = a.kind
		shown = appendMember(shown, a.key, c.askedOutward(requests.Get(a.key)))
		open = append(open, a)
	}
	switch {
	case len(open) == 0 && len(raised) > 0: // all answered in the client's stead
	case c.modern:
		sealed, err := c.sealed(ctx, st)
		if err != nil {
			return false, err
		}
		c.wrap = []rawjson.Change{{Key: "requestState", Raw: sealed}}
		if len(st.Ours) > 0 {
			c.wrap = append(c.wrap, rawjson.Change{Key: "inputRequests", Raw: append(shown, '}')})
		}
		return false, nil
	case len(raised) == 0:
		if err := c.shed(ctx); err != nil {
			return false, err
		}
	default:
		if answers, err = c.gather(ctx, open, answers); err != nil {
			return false, err
		}
	}
	if err := c.permitted(ctx); err != nil {
		return false, err
	}
	c.recall = []rawjson.Change{{Key: "requestState", Raw: append([]byte(nil), inner.Raw()...)}, {Key: "inputResponses"}}
	if !inner.Exists() {
		c.recall[0].Raw = nil
	}
	if len(answers) > 1 {
		c.recall[1].Raw = append(answers, '}')
	}
	return true, nil
}

// entries judges what a modern upstream asks.
func (c *call) entries(ctx context.Context, requests rawjson.Value) ([]*ask, error) {
	if requests.Len() > maxAsked {
		return nil, malformed("it asks for too much at once")
	}
	if requests.FoldDuplicate(false) != "" {
		return nil, malformed("two of the inputs it asks for differ only in case")
	}
	caps, err := c.in.p.toldOf(c.kinds())
	if err != nil {
		return nil, err
	}
	var out []*ask
	for k, v := range requests.Members() {
		if v.Kind() != rawjson.Object {
			return nil, malformed("an input it asks for is not a request")
		}
		a, err := c.judge(ctx, caps, v)
		if err != nil {
			return nil, err
		}
		switch {
		case a.fault != nil && a.kind == "":
			return nil, malformed("it asks for a kind of input the request did not declare")
		case a.fault != nil:
			return nil, gaveUp{"the server asks for " + a.kind + ", which policy does not permit"}
		}
		a.key, _ = k.Str()
		out = append(out, a)
	}
	return out, nil
}

// shed waits as a server wants that says no more than to try again.
func (c *call) shed(ctx context.Context) error {
	if c.rounds.shed++; c.rounds.shed > 3 {
		return gaveUp{"the server is too busy; try again later"}
	}
	base := 250 * time.Millisecond << c.rounds.shed
	return c.sleep(ctx, base/2+mrand.N(base))
}

func (c *call) sleep(ctx context.Context, d time.Duration) error {
	c.extend(d + c.in.p.cfg.CallTimeout)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// gather asks the client of a legacy session and appends its answers.
func (c *call) gather(ctx context.Context, open []*ask, answers []byte) ([]byte, error) {
	var waits []*question
	for _, a := range open {
		if c.rounds.opened[a.key+"\x00"+a.link] && a.link != "" {
			answers = appendMember(answers, a.key, []byte(`{"action":"accept"}`))
			continue // the client has been there; whether that was enough is the server's to say
		}
		q, err := c.put(ctx, a)
		if err != nil {
			return nil, err
		}
		waits = append(waits, q)
	}
	if len(waits) == 0 {
		c.rounds.polls++
		return answers, c.sleep(ctx, min(time.Second<<min(c.rounds.polls-1, 4), 15*time.Second))
	}
	c.extend(2 * c.in.p.cfg.ParkTime)
	deadline := time.NewTimer(c.in.p.cfg.ParkTime)
	defer deadline.Stop()
	late := false
	for _, q := range waits {
		var raw []byte
		if !late {
			select {
			case raw = <-q.got:
			case <-deadline.C:
				late = true
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		if late { // what was answered counts, although another question was not
			select {
			case raw = <-q.got:
			default:
			}
		}
		answer, err := q.taken(raw)
		if err != nil {
			return nil, err
		}
		if q.ask.link != "" && accepted(answer) {
			if c.rounds.opened == nil {
				c.rounds.opened = map[string]bool{}
			}
			c.rounds.opened[q.ask.key+"\x00"+q.ask.link] = true
			c.rounds.links = append(c.rounds.links, q.elicitation)
		}
		answers = appendMember(answers, q.ask.key, c.inward(q.ask.kind, answer))
	}
	c.extend(c.in.p.cfg.CallTimeout)
	return answers, nil
}

func accepted(answer []byte) bool {
	v, err := rawjson.Parse(answer, rawjson.Limits{})
	return err == nil && v.Get("action").Equals("accept")
}

// question is a request the client of a legacy session has been sent.
type question struct {
	ask         *ask
	got         chan []byte
	elicitation []byte // raw elicitationId, nil if there is none
}

// put sends the client a request in the form of its revision.
func (c *call) put(ctx context.Context, a *ask) (*question, error) {
	q := &question{ask: a, got: make(chan []byte, 1)}
	if !c.d.Passes(ctx, a.params.Raw(), c.findings()) { // it is part of what comes back
		q.got <- nil
		return q, nil
	}
	id := c.sess.expect(&asked{d: c.d, got: q.got})
	if id == nil {
		return nil, gaveUp{"too many requests of servers wait in this session"}
	}
	msg, elicitation := a.question(id, c.sess.version)
	q.elicitation = elicitation
	if err := c.ans.event(c.d.Scrub(msg)); err != nil {
		q.got <- nil // nobody is there to answer
	}
	return q, nil
}

// question is the request as a client of a legacy revision gets it, and the raw
// elicitationId it was given, nil if none.
func (a *ask) question(id []byte, version string) (msg, elicitation []byte) {
	msg = append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":`...)
	msg = rawjson.AppendString(msg, a.method)
	if !a.params.Exists() {
		return append(msg, '}'), nil
	}
	drop := []string{"elicitationId", "task"}
	if version == version2506 {
		drop = append(drop, "mode")
	}
	params := without(a.params, drop)
	if a.link != "" {
		elicitation = rawjson.AppendString(nil, rand.Text())
		params = append(appendMember(params[:len(params)-1:len(params)-1], "elicitationId", elicitation), '}')
	}
	return append(append(append(msg, `,"params":`...), params...), '}'), elicitation
}

// taken is the client's answer as the upstream gets it. An error, silence or an
// answer that is none is a refusal where there is a form for one.
func (q *question) taken(raw []byte) ([]byte, error) {
	if len(raw) > 0 {
		if v, err := rawjson.Parse(raw, rawjson.Limits{}); err == nil && answerFault(q.ask.kind, v) == "" {
			return without(v, []string{"resultType"}), nil
		}
	}
	if q.ask.kind == "elicitation" {
		return []byte(`{"action":"cancel"}`), nil
	}
	return nil, gaveUp{"the client did not give the server the " + q.ask.kind + " it asked for"}
}

// completed tells a client of 2025-11-25 that what it opened is done with.
func (c *call) completed() {
	if c.sess == nil || c.sess.version != version2511 {
		return
	}
	for _, id := range c.rounds.links {
		msg := append([]byte(`{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{"elicitationId":`), id...)
		_ = c.ans.event(append(msg, "}}"...)) // the client may have gone
	}
}

// links judges the addresses a legacy server demands that somebody goes to
// before it does what was asked (error -32042 of 2025-11-25).
func (c *call) links(ctx context.Context, fault rawjson.Value) ([]*ask, error) {
	told, err := c.in.p.toldOf(c.kinds())
	if err != nil {
		return nil, err
	}
	list := fault.Path("data", "elicitations")
	if list.Kind() != rawjson.Array || list.Len() == 0 || list.Len() > maxAsked {
		return nil, malformed("it demands an elicitation without saying which")
	}
	var raised []*ask
	for item := range list.Items() {
		if item.Kind() != rawjson.Object || !item.Get("mode").Equals("url") {
			return nil, malformed("it demands an elicitation that is no address")
		}
		v, err := rawjson.Parse(append(append([]byte(`{"method":"elicitation/create","params":`), item.Raw()...), '}'), rawjson.Limits{})
		if err != nil {
			return nil, malformed("it demands an elicitation that cannot be read")
		}
		a, err := c.judge(ctx, told, v)
		if err != nil {
			return nil, err
		}
		if a.refused() {
			return nil, gaveUp{"the server sends people to an address, which is not permitted"}
		}
		a.key = "ask-" + strconv.Itoa(len(raised)+1)
		raised = append(raised, a)
	}
	return raised, nil
}

// demanded deals with that error. A client of the same era gets it as it is; a
// modern one is asked, and its retry makes the call afresh (mcp.md 2.4 step 11).
func (c *call) demanded(ctx context.Context, fault rawjson.Value) error {
	if declared := c.in.msg.meta.Get(metaCapabilities).Path("elicitation", "url"); c.modern && !strings.Contains(c.kinds(), `"url"`) {
		if declared.Exists() {
			return &rpcError{status: http.StatusOK, code: codeDenied, msg: "the server needs a client capability that policy does not carry for this agent"}
		}
		return &rpcError{status: http.StatusBadRequest, code: codeCapability, msg: "the server sends people to an address, which the client did not declare",
			data: []byte(`{"requiredCapabilities":{"elicitation":{"url":{}}}}`)}
	}
	raised, err := c.links(ctx, fault)
	if err != nil || !c.modern {
		return err
	}
	round := 1
	if c.state != nil {
		round += c.state.Round
	}
	if round > maxRounds {
		return gaveUp{tooOften}
	}
	sealed, err := c.sealed(ctx, state{Kind: stateReissue, Round: round, Expires: time.Now().Add(stateTime), Asked: kindsOf(raised)})
	if err != nil {
		return err
	}
	c.parked = appendResult(nil, c.ans.id, inputRequired(raised, sealed))
	return nil
}

// tooOften is why a call of more than maxRounds rounds ends.
const tooOften = "the server asked for input more than 10 times in one call"
