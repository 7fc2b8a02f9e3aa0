package mcpproxy

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// askApproval is the key of our own question.
const askApproval = "approval"

// approvalWait is how long a retry waits for the answer of people before it asks
// again. A client that waits longer for a response than this sees no difference.
const approvalWait = 20 * time.Second

// sendToApproval answers a call that people must approve, where the client can
// send somebody to an address: it asks for that and goes on when it is asked
// again (access.md 3.9, forms 1 and 1b). Whoever opens the address is not taken
// for anybody: the page finds out by itself. It reports false where the client
// gets a denial.
func (c *call) sendToApproval(ctx context.Context, d *access.Decision) bool {
	if d.Outcome != access.RequireApproval || d.Request == "" || c.in.p.cfg.ApprovalURL == nil || c.ans.collect || !c.in.msg.method.asks() {
		return false
	}
	params := rawjson.AppendString([]byte(`{"mode":"url","url":`), c.in.p.cfg.ApprovalURL(d.Request))
	params = rawjson.AppendString(append(params, `,"message":`...), "The gateway asks people to approve this call. Open the address, or send it to whoever may approve.")
	if c.sess != nil {
		if c.sess.version != version2511 || !c.sess.opens {
			return false
		}
		params = rawjson.AppendString(append(params, `,"elicitationId":`...), d.Request)
		c.ans.fail(&rpcError{status: http.StatusOK, code: codeURLElicitation, msg: denialText(d), data: append(append([]byte(`{"elicitations":[`), params...), `}]}`...)})
		return true
	}
	round := 1
	switch {
	case !c.modern || !opensAddresses(c.in.msg.meta.Get(metaCapabilities)):
		return false
	case c.state != nil && c.state.Kind != stateApprove:
		return false // in the middle of another question
	case c.state != nil:
		round += c.state.Round
	}
	if round > maxRounds {
		return false
	}
	sealed, err := c.sealed(ctx, state{Kind: stateApprove, Round: round, Expires: time.Now().Add(stateTime), Asked: map[string]string{askApproval: "elicitation"}, Park: d.Request})
	if err != nil {
		c.ans.fail(c.failure(err))
		return true
	}
	result := append([]byte(`{"resultType":"input_required","inputRequests":{"`+askApproval+`":{"method":"elicitation/create","params":`), params...)
	result = append(append(append(result, `}}},"requestState":`...), sealed...), '}')
	_ = c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, result))
	return true
}

// opensAddresses reports whether a client says that it can send somebody to an
// address: what it says of itself, whatever policy carries to servers.
func opensAddresses(caps rawjson.Value) bool {
	return caps.Path("elicitation", "url").Kind() == rawjson.Object
}

// approval waits for what people say where a retry goes on from our question. The
// decision it returns ends the call; nil lets it be decided anew, which alone
// says whether it may run.
func (c *call) approval(ctx context.Context) (*access.Decision, error) {
	if c.state == nil || c.state.Kind != stateApprove {
		return nil, nil
	}
	id := c.state.Park
	if action, _ := c.in.msg.params.Get("inputResponses").Path(askApproval, "action").Str(); action == "decline" || action == "cancel" {
		return c.notApproved(ctx, id, "whoever was asked did not open the approval of request "+id, "wait until it is approved and call again")
	}
	wait, done := context.WithTimeout(ctx, approvalWait)
	defer done()
	r, err := c.in.p.gate.Await(wait, id)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	case r.State == grant.RequestPending || r.State == grant.RequestIssued:
		c.req.At = time.Now() // it is decided now, and what was approved begins now
		return nil, nil
	}
	help := "do something else, or ask who may approve it"
	if r.Why != "" && json.Valid(rawjson.AppendString(nil, r.Why)) {
		help = "what was said: " + r.Why
	}
	return c.notApproved(ctx, id, "request "+id+" is "+string(r.State), help)
}

func (c *call) notApproved(ctx context.Context, request, why, help string) (*access.Decision, error) {
	d := &access.Decision{ID: c.req.ID, Class: access.ClassApproval, Reason: why, Help: help, Request: request}
	return d, c.in.p.gate.Turn(ctx, c.req, d)
}
