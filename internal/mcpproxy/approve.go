package mcpproxy

import (
	"context"
	"encoding/json"
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
	if d.Outcome != access.RequireApproval || d.Request == "" || c.in.p.cfg.ApprovalURL == nil {
		return false
	}
	return c.sendTo(ctx, d, errand{kind: stateApprove, key: askApproval, park: d.Request, at: c.in.p.cfg.ApprovalURL(d.Request),
		message: "The gateway asks people to approve this call. Open the address, or send it to whoever may approve."})
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
