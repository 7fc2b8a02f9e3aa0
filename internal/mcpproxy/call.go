package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// call is one request of an agent on its way through the gate. It is the relay
// of its own exchange.
type call struct {
	in     *inbound
	ans    *answer
	modern bool     // the client's era
	sess   *session // the client's legacy session; nil if modern
	req    *access.Request

	peer   *peer
	link   link
	shape  *shape
	unfit  *rpcError // why the arguments do not fit the definition
	d      *gate.Dispatch
	minted []byte // progress token sent upstream, nil if the client's own
	sent   []byte // request id sent upstream
	timer  *time.Timer
	latest time.Time // when the call ends at the latest
	cut    context.CancelCauseFunc
	shown  []bool // which entries of a list result are shown, nil if all are
	made   []byte // the answer, where it is not the upstream's as it is

	task    *taskRef               // that the request is about, opened
	started bool                   // the call became a task
	watched map[string]watchedTask // by the server's id, of a subscription
	state   *state                 // of a retry, opened
	unasked []byte                 // raw answers that came without a state, as far as they go on
	flight  *flight                // that this request left parked
	waiting *waiting               // what it left there, until its outcome is recorded
	parked  []byte                 // the answer that asks for a parked flight
	recall  []rawjson.Change       // of the params, for another round with a modern upstream
	wrap    []rawjson.Change       // of a modern upstream's result that asks
	rounds  rounds
	beside  sync.WaitGroup // requests of the server being relayed that came outside its stream

	foundMu sync.Mutex
	found   []string // rules that something in the exchange broke
}

// target fills in what the call is about; an error is the client's.
func (c *call) target() *rpcError {
	m := &c.in.msg
	if err := c.members(); err != nil {
		return err
	}
	if m.method.task {
		return c.asksAboutTask()
	}
	switch m.name {
	case "tools/call", "prompts/get":
		name, ok := m.params.Get("name").Str()
		if !ok || name == "" || len([]rune(name)) > 128 || hasControl(name) {
			return invalidParams("/params/name must be a string of 1 to 128 characters without control characters")
		}
		c.req.Target = name
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		uri, ok := m.params.Get("uri").Str()
		if !ok || uri == "" || len(uri) > 4096 || hasControl(uri) {
			return invalidParams("/params/uri must be a string of 1 to 4096 characters without control characters")
		}
		c.req.Target = uri
	case "completion/complete":
		return c.completes()
	}
	c.req.Arguments = m.args
	if c.req.Kind == access.KindTool {
		return c.tool()
	}
	return nil
}

// members checks what means the same in every method (rules 29, 30).
func (c *call) members() *rpcError {
	m := &c.in.msg
	if a := m.args; a.Exists() && a.Kind() != rawjson.Object {
		return invalidParams("/params/arguments must be an object")
	}
	if why := c.in.taskFault(); why != "" {
		return invalidParams(why)
	}
	if t := m.meta.Get("progressToken"); t.Exists() && badID(t) != "" {
		return invalidParams("/params/_meta/progressToken must be a string or an integer")
	}
	if (!m.method.asks() || !c.modern) && m.name != "tasks/update" && (m.params.Get("inputResponses").Exists() || m.params.Get("requestState").Exists()) {
		return invalidParams("inputResponses and requestState are not parameters of this method")
	}
	return nil
}

// completes judges a completion as what it completes, of which it is a look: an
// approval of one is none of the other (docs/grants.md).
func (c *call) completes() *rpcError {
	ref := c.in.msg.params.Get("ref")
	typ, _ := ref.Get("type").Str()
	key := map[string]string{"ref/prompt": "name", "ref/resource": "uri"}[typ]
	name, ok := ref.Get(key).Str()
	if key == "" || !ok || name == "" || len(name) > 4096 || hasControl(name) {
		return invalidParams("/params/ref must name a prompt or a resource")
	}
	c.req.Target, c.req.Look = name, true
	if key == "uri" {
		c.req.Kind = access.KindResource
	}
	return nil
}

// tool applies what the definition says about the arguments (rules 10, 11, 26).
// Whether the tool may be called at all is the gate's to decide: where it will
// deny whatever the arguments, what the definition says is not the agent's to
// learn, and a hidden tool must answer like an absent one.
func (c *call) tool() *rpcError {
	t, ok := c.in.p.gate.State().View.Tool(c.req.Server, c.req.Target)
	if !ok {
		return nil
	}
	c.shape = c.in.p.shapeOf(t)
	if c.unfit = c.fits(c.shape); c.unfit != nil && c.in.p.gate.Visible(c.entryRequest(access.KindTool, c.req.Target)) {
		return c.unfit
	}
	return nil
}

// fits holds the arguments to the definition.
func (c *call) fits(sh *shape) *rpcError {
	m := &c.in.msg
	if sh.invalid != "" {
		return invalidParams("Unknown tool")
	}
	if err := sh.judge(m.args, &sh.top); err != nil {
		return err
	}
	if c.modern {
		return checkParamHeaders(c.in.r.Header, sh, m.args)
	}
	return nil
}

func hasControl(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return true
		}
	}
	return false
}

// gated runs a request that reaches the upstream under an intent.
func (c *call) gated() {
	if err := c.target(); err != nil {
		c.ans.fail(err)
		return
	}
	if !c.in.p.enter() {
		c.ans.fail(c.failure(errStopping))
		return
	}
	defer c.in.p.calls.Done()
	ctx, done := c.context()
	defer done()
	if why := c.carriesOn(ctx); why != nil {
		c.unresumed(why)
		return
	}
	switch d, err := c.approval(ctx); {
	case err != nil:
		c.ans.fail(c.failure(err))
		return
	case d != nil:
		c.deny(d)
		return
	}
	switch d, err := c.connected(ctx); {
	case err != nil:
		c.ans.fail(c.failure(err))
		return
	case d != nil:
		c.deny(d)
		return
	}
	var rep *reply
	defer c.settled()
	resp, dec, err := c.in.p.gate.Do(ctx, c.req, func(ctx context.Context, d *gate.Dispatch) (access.Response, error) {
		var resp access.Response
		var err error
		rep, resp, err = c.forward(ctx, d)
		return resp, err
	})
	c.settled()
	// Once it has the question, a client may close its connection: that cancels
	// nothing. One that is gone before does not come back.
	told := false
	var again *deniedAgain
	var link *credential.NeedLink
	switch {
	case errors.Is(err, errClientCancelled):
		c.ans.abandon()
	case errors.As(err, &again):
		c.deny(&again.dec)
	case errors.As(err, &link):
		c.sendToConnect(ctx, link)
	case err != nil:
		c.ans.fail(c.failure(err))
	case !dec.Allowed():
		c.void()
		if !c.sendToApproval(ctx, &dec) {
			c.deny(&dec)
		}
	default:
		// The client may have gone; its outcome is recorded.
		here := c.in.r.Context().Err() == nil
		if told = c.ans.final(replyStatus(rep, c), resp.Body) == nil; told {
			c.done(rep)
		}
		told = told && here
	}
	if c.flight != nil && !told {
		c.flight.abandon(fmt.Errorf("the client went away: %w", context.Canceled))
	}
}

// carriesOn opens what a request says it goes on from: the state of a retry, or
// a task.
func (c *call) carriesOn(ctx context.Context) *rpcError {
	if c.in.msg.method.task {
		return c.openTask(ctx)
	}
	return c.resume(ctx)
}

// void ends the call a denied retry would have carried on.
func (c *call) void() {
	if c.state == nil || c.state.Kind != statePark {
		return
	}
	if f := c.in.p.flights.find(c.state.Park); f != nil {
		f.abandon(errNoLonger)
	}
}

// replyStatus keeps a modern upstream's status of an error, and gives a modern
// client the one its revision fixes for a capability that is missing; everything
// else is 200, as JSON-RPC answers are.
func replyStatus(rep *reply, c *call) int {
	switch {
	case rep == nil || !c.modern || !rep.fault.Exists():
	case rep.code() == codeCapability:
		return http.StatusBadRequest
	case c.peer.modern && (rep.status == http.StatusBadRequest || rep.status == http.StatusNotFound):
		return rep.status
	}
	return http.StatusOK
}

// context returns the context of the call: a modern client that closes the
// stream cancels it, a legacy client's disconnect does not (mcp.md 1.6). Every
// call ends after a silence of CallTimeout, or CallMax at the latest.
func (c *call) context() (context.Context, func()) {
	parent := c.in.r.Context()
	if !c.modern {
		parent = context.WithoutCancel(parent)
	}
	ctx, cut := context.WithCancelCause(parent)
	c.cut = cut
	stopping := context.AfterFunc(c.in.p.base, func() { cut(errStopping) })
	c.latest = time.Now().Add(c.in.p.cfg.CallMax)
	c.timer = time.AfterFunc(c.in.p.cfg.CallTimeout, func() { cut(errSilent) })
	return ctx, func() {
		stopping()
		c.timer.Stop()
		cut(context.Canceled)
	}
}

// errSilent ends a call whose time is over.
var errSilent = access.Errorf(access.CodeTimeout, "the upstream did not answer in time")

// errStopping ends the calls that outlast a stop.
var errStopping = access.Errorf(access.CodeUnavailable, "the gateway is stopping; try again")

// forward is the gate's continuation.
func (c *call) forward(ctx context.Context, d *gate.Dispatch) (rep *reply, resp access.Response, err error) {
	c.d = d
	defer func() { resp.Findings = c.findings() }()
	no := access.Response{Reached: access.ReachNo}
	if c.unfit != nil {
		return nil, no, c.unfit // it was approved a moment ago
	}
	t, err := c.in.p.target(d.Server)
	if err != nil {
		return nil, no, err
	}
	if c.sess != nil {
		leave, jerr := c.join(ctx, t, d)
		if jerr != nil {
			return nil, no, jerr
		}
		defer func() { leave(err) }()
	}
	rep, resp.Reached, err = c.carry(ctx, t, d)
	if rep != nil {
		c.req.Wire.Upstream, c.req.Wire.Code = rep.http, rep.code()
	}
	var gave gaveUp
	switch {
	case errors.As(err, &gave):
		resp.Body, resp.ToolErr, err = c.gaveUp(gave)
		return nil, resp, err
	case err != nil:
		return nil, resp, err
	case c.parked != nil:
		resp.Asked = true
		resp.Body, err = c.aggregatedAsk(c.parked)
		return nil, resp, err
	}
	if resp.Body, err = c.inbound(ctx, rep); err != nil {
		return nil, resp, err
	}
	resp.Failed, resp.Asked = rep.fault.Exists(), c.wrap != nil
	ended := rep.result
	if c.task != nil {
		ended = rep.result.Get("result")
		resp.Failed = resp.Failed || rep.result.Get("status").Equals("failed")
	}
	resp.Started = c.started || c.task != nil && !rep.result.Get("status").Equals("completed")
	if v, ok := ended.Get("isError").Bool(); ok && v {
		resp.ToolErr = true
	}
	resp.Events, resp.Mask = c.ans.count(), c.masker()
	return rep, resp, nil
}

// try sends the request, again if the conversation was over before it was taken.
func (c *call) try(ctx context.Context, t *target, d *gate.Dispatch) (*reply, access.Reach, error) {
	rep, reach, err := c.once(ctx, t, d)
	if !brokenLink(err) || reach != access.ReachNo || c.sess != nil && c.sess.whole == nil {
		return rep, reach, err
	}
	if c.sess != nil {
		if err := c.joinAgain(ctx, t, d); err != nil {
			return nil, access.ReachNo, err
		}
	}
	return c.once(ctx, t, d)
}

// once sends the request over the conversation it belongs to.
func (c *call) once(ctx context.Context, t *target, d *gate.Dispatch) (*reply, access.Reach, error) {
	if c.sess != nil && c.sess.outdated(t, d) {
		c.in.p.drop(c.sess)
		return nil, access.ReachNo, errSessionEnded
	}
	if c.sess != nil && c.sess.link != nil {
		c.link, c.peer = c.sess.link, c.sess.peer
		return c.sess.subscribes(ctx, c, func() (*reply, access.Reach, error) { return c.send(ctx, d) })
	}
	if c.in.msg.method.subscribes() {
		return nil, access.ReachNo, methodNotFound(c.modern) // no update would come
	}
	caps := c.kinds()
	l, pr, release, err := t.acquire(ctx, c.req.Who.Principal(), caps, d)
	if err != nil {
		return nil, access.ReachNo, err
	}
	if c.modern && !pr.modern {
		t.hear(ctx, l, pr, c.in.msg.meta.Get(metaLogLevel), d)
	}
	if c.modern && !pr.modern && caps != "" && c.in.msg.method.asks() {
		return c.fly(ctx, t, l, pr, release, caps)
	}
	bad := false
	defer func() { release(bad) }()
	c.link, c.peer = l, pr
	rep, reach, err := c.send(ctx, d)
	bad = brokenLink(err)
	return rep, reach, err
}

// brokenLink reports whether err means that the conversation is over.
func brokenLink(err error) bool {
	return errors.Is(err, errSessionEnded) || errors.Is(err, errProcessEnded) || errors.Is(err, errStreamEnded)
}

func (c *call) send(ctx context.Context, d *gate.Dispatch) (*reply, access.Reach, error) {
	if !c.in.p.takes(d.Server.ID, c.peer, c.in.msg.method) || c.task != nil && !c.in.p.extends(d.Server.ID, c.peer, extTasks) {
		return nil, access.ReachNo, methodNotFound(c.modern)
	}
	body, err := c.outbound()
	if err != nil {
		return nil, access.ReachNo, err
	}
	params, err := c.paramsOf(body)
	if err != nil {
		return nil, access.ReachNo, err
	}
	x := &exchange{
		method: c.in.msg.method, body: body, id: c.sent, params: params, shape: c.shape, d: d, relay: c,
		limits: rawjson.Limits{Bytes: c.in.p.cfg.MaxResult},
	}
	if c.task != nil {
		x.name = c.task.name()
	}
	if x.token = c.minted; x.token == nil {
		x.token = c.in.msg.meta.Get("progressToken").Raw()
	}
	if x.method.list != "" {
		x.known = c.in.p.pages.reply(c.pageKey())
	}
	if c.modern && c.shape != nil && c.masked() == nil { // a header nobody knows may say what is masked
		x.extra = c.in.unknownParams(c.shape)
	}
	return c.link.call(ctx, x)
}

// failure turns an error into what the client is told.
func (c *call) failure(err error) *rpcError {
	var re *rpcError
	if errors.As(err, &re) {
		return re
	}
	var link *credential.NeedLink
	if errors.As(err, &link) { // of a handshake or a list: nothing goes on by itself
		d, at := c.connectAt(link)
		return &rpcError{status: http.StatusOK, code: denialCode(d.Outcome), msg: denialText(d), data: denialData(d, at)}
	}
	var ae *access.Error
	if !errors.As(err, &ae) {
		if errors.Is(err, context.Canceled) {
			return &rpcError{status: http.StatusOK, code: codeInternal, msg: "the request was cancelled"}
		}
		c.in.p.log.Error("serving a call", "decision", c.req.ID, "server", c.req.Server, "error", err)
		return &rpcError{status: http.StatusOK, code: codeInternal, msg: "internal error (ref " + c.req.ID + ")"}
	}
	c.in.p.log.Warn("a call did not complete", "decision", c.req.ID, "server", c.req.Server, "code", string(ae.Code), "error", access.Reasons(err))
	return rpcFailure(ae, c.req.ID)
}

// rpcFailure is the one table from error codes to JSON-RPC.
func rpcFailure(e *access.Error, ref string) *rpcError {
	switch e.Code {
	case access.CodeInvalid, access.CodeUsage, access.CodeNotFound, access.CodeConflict:
		return invalidParams(e.Msg)
	case access.CodeTimeout:
		return upstreamError("upstream_timeout", e.Msg)
	case access.CodeUpstream:
		return upstreamError("upstream_malformed", e.Msg)
	case access.CodeUnavailable:
		return upstreamError("upstream_unavailable", e.Msg)
	case access.CodeEvidence:
		return upstreamError("evidence_unavailable", e.Msg)
	case access.CodeDenied, access.CodeUnauthenticated:
		return &rpcError{status: http.StatusOK, code: codeDenied, msg: e.Msg}
	case access.CodeTooLarge:
		return &rpcError{status: http.StatusRequestEntityTooLarge, code: codeInvalidRequest, msg: e.Msg}
	case access.CodeUnsupported:
		return &rpcError{status: http.StatusOK, code: codeMethodNotFound, msg: e.Msg}
	default:
		return &rpcError{status: http.StatusOK, code: codeInternal, msg: "internal error (ref " + ref + ")"}
	}
}

// begin, note, ask and retry make the call the relay of its exchange.

func (c *call) begin(sse bool) error {
	if c.modern && !c.peer.modern {
		// A quick end may have a status a legacy server does not give.
		if c.ans.prefer(sse); sse {
			p, ans := c.in.p, c.ans // c is over by then, maybe
			time.AfterFunc(time.Second, func() {
				p.contain("beginning an answer", func() { _ = ans.begin(true) }) // a client that has gone is noticed later
			})
		}
		return nil
	}
	return c.told(c.ans.begin(sse))
}

func (c *call) retry(ms string) error {
	if c.modern {
		return nil // 2026-07-28 has no resumption to time
	}
	return c.told(c.ans.retry(ms))
}

// note relays a notification that belongs to this request and drops any other.
func (c *call) note(msg []byte, v rawjson.Value) error {
	name, _ := v.Get("method").Str()
	c.extend(c.in.p.cfg.CallTimeout) // progress extends the wait
	if name == resourceUpdated || isListChange(name) {
		c.d.Told()
		if f := fanOf(c.link); f != nil { // it is of no call, wherever it comes
			f.note(msg, v)
			return nil
		}
	}
	params := v.Get("params")
	switch name {
	case "notifications/progress":
		token, got := c.in.msg.meta.Get("progressToken"), params.Get("progressToken")
		if !token.Exists() || (c.minted == nil && !sameID(got, token)) || (c.minted != nil && string(got.Raw()) != string(c.minted)) {
			return nil
		}
		if !bytes.Equal(got.Raw(), token.Raw()) {
			s, e := got.Span()
			msg = rawjson.Splice(msg, rawjson.Edit{Start: s, End: e, Text: token.Raw()})
		}
	case "notifications/message":
		if c.modern && !wanted(c.in.msg.meta.Get(metaLogLevel), params.Get("level")) {
			return nil
		}
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed":
		c.in.p.relearn(c.req.Server)
		if c.modern {
			return nil
		}
	case resourceUpdated:
		uri, ok := params.Get("uri").Str()
		if c.modern || !ok || !c.in.p.gate.Visible(c.entryRequest(access.KindResource, uri)) {
			return nil
		}
	case "notifications/elicitation/complete", "notifications/tasks/status":
		if c.modern {
			return nil
		}
	case "notifications/cancelled":
		return nil // legacy servers cancel only their own requests
	default:
		if c.modern {
			return nil
		}
	}
	if msg = c.d.Scrub(msg); !c.d.Passes(c.in.r.Context(), msg, c.findings()) {
		return nil
	}
	return c.told(c.ans.event(msg))
}

// extend lets the call wait for d from now, never past CallMax.
func (c *call) extend(d time.Duration) {
	if wait := min(d, time.Until(c.latest)); wait > 0 && c.timer.Stop() {
		c.timer.Reset(wait)
	}
}

// told is the error of writing to the client, if that ends the call: a legacy
// client that went away has not cancelled what it asked for (mcp.md 1.6).
func (c *call) told(err error) error {
	if err == nil || !c.modern {
		return nil
	}
	return fmt.Errorf("the client went away: %w: %w", context.Canceled, err)
}

var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// wanted reports whether a log message reaches the level a request opted in to.
func wanted(opted, level rawjson.Value) bool {
	least, got := -1, -1
	for i, l := range levels {
		if opted.Equals(l) {
			least = i
		}
		if level.Equals(l) {
			got = i
		}
	}
	return least >= 0 && got >= least
}

// ask answers a request of the server: a legacy session relays it to the client
// if policy permits, anything else is refused.
func (c *call) ask(msg []byte, v rawjson.Value) {
	if c.sess != nil && c.sess.link != nil {
		c.sess.relayAsk(c, c.ans, msg, v)
		return
	}
	refuseAsk(c.link, c.d, v)
}

// refuseAsk answers a server's ping and refuses anything else. It sends beside
// the stream that is being read.
func refuseAsk(l link, d *gate.Dispatch, v rawjson.Value) {
	id := append([]byte(nil), v.Get("id").Raw()...)
	var body []byte
	if v.Get("method").Equals("ping") {
		body = appendResult(nil, id, []byte("{}"))
	} else {
		body = appendError(nil, id, &rpcError{code: codeMethodNotFound, msg: "the client did not declare this capability"})
	}
	l.answer(d, body)
}

// entryRequest is the request that asks whether one entry of a list is shown.
func (c *call) entryRequest(kind access.Kind, name string) *access.Request {
	r := *c.req
	r.Kind, r.Target, r.Unknown, r.Arguments = kind, name, true, rawjson.Value{}
	return &r
}

var _ relay = (*call)(nil)
