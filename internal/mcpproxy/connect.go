package mcpproxy

import (
	"context"
	"net/http"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/rawjson"
)

// Connect is where people connect upstreams that act for them.
type Connect struct {
	// URL is the page on which a person connects a server for a credential.
	URL func(credential, server string) string
	// Linked reports whether a person has.
	Linked func(ctx context.Context, credential, server string, who access.Subject) bool
}

// askConnect is the key of our own question.
const askConnect = "connect"

// sendToConnect answers a call whose person has not connected the upstream: where
// the client can send somebody to an address, it asks for that and goes on when it
// is asked again; else it is a denial that names the address. The page finds out
// by itself who opens it, and what was connected counts for that person alone.
func (c *call) sendToConnect(ctx context.Context, need *credential.NeedLink) {
	d, at := c.connectAt(need)
	if at == "" {
		c.deny(d)
		return
	}
	c.req.Use = "" // what was reserved for the call was given back
	if !c.sendTo(ctx, d, errand{kind: stateConnect, key: askConnect, park: need.Credential, at: at,
		message: "The server acts for people. Open the address, sign in, and connect it for yourself."}) {
		c.denyAt(d, at)
	}
}

// connectAt is the denial of a call whose person has to connect first, and where they
// do, "" if nobody can.
func (c *call) connectAt(need *credential.NeedLink) (d *access.Decision, at string) {
	d = &access.Decision{ID: c.req.ID, Class: access.ClassConnect, Reason: need.Why}
	if c.in.p.cfg.Connect.URL == nil {
		return d, ""
	}
	at = c.in.p.cfg.Connect.URL(need.Credential, need.Server)
	d.Help = "they connect it once, at " + at + " , and then the call works"
	return d, at
}

// connected waits for the connection a retry was asked for. The decision it
// returns ends the call; nil lets it be made anew.
func (c *call) connected(ctx context.Context) (*access.Decision, error) {
	if c.state == nil || c.state.Kind != stateConnect || c.in.p.cfg.Connect.Linked == nil {
		return nil, nil
	}
	if action, _ := c.in.msg.params.Get("inputResponses").Path(askConnect, "action").Str(); action == "decline" || action == "cancel" {
		d := &access.Decision{ID: c.req.ID, Class: access.ClassConnect, Reason: "whoever was asked did not open the page to connect the server", Help: "connect it and call again"}
		return d, c.in.p.gate.Turn(ctx, c.req, d)
	}
	wait, done := context.WithTimeout(ctx, approvalWait)
	defer done()
	tick := time.NewTicker(connectPoll)
	defer tick.Stop()
	for !c.in.p.cfg.Connect.Linked(wait, c.state.Park, c.req.Server, c.req.Who.Subject) {
		select {
		case <-tick.C:
		case <-wait.Done():
			c.req.At = time.Now()
			return nil, context.Cause(ctx)
		}
	}
	c.req.At = time.Now()
	return nil, nil
}

// connectPoll is how often a retry looks whether its person has connected.
const connectPoll = 250 * time.Millisecond

// errand is an address a client is to send somebody to before a call goes on.
type errand struct {
	kind, key, park string // of the state, of the question, what the state remembers
	at, message     string
}

// sendTo asks the client to send somebody to an address (access.md 3.9, forms 1
// and 1b). It reports false where the client cannot.
func (c *call) sendTo(ctx context.Context, d *access.Decision, e errand) bool {
	if c.ans.collect || !c.in.msg.method.asks() {
		return false
	}
	params := rawjson.AppendString([]byte(`{"mode":"url","url":`), e.at)
	params = rawjson.AppendString(append(params, `,"message":`...), e.message)
	if c.sess != nil {
		if c.sess.version != version2511 || !c.sess.opens {
			return false
		}
		id := d.Request
		if id == "" {
			id = d.ID
		}
		params = rawjson.AppendString(append(params, `,"elicitationId":`...), id)
		c.ans.fail(&rpcError{status: http.StatusOK, code: codeURLElicitation, msg: denialText(d), data: append(append([]byte(`{"elicitations":[`), params...), `}]}`...)})
		return true
	}
	round := 1
	switch {
	case !c.modern || !opensAddresses(c.in.msg.meta.Get(metaCapabilities)):
		return false
	case c.state != nil && c.state.Kind != stateApprove && c.state.Kind != stateConnect:
		return false // in the middle of another question
	case c.state != nil:
		round += c.state.Round
	}
	if round > maxRounds {
		return false
	}
	sealed, err := c.sealed(ctx, state{Kind: e.kind, Round: round, Expires: time.Now().Add(stateTime), Asked: map[string]string{e.key: "elicitation"}, Park: e.park})
	if err != nil {
		c.ans.fail(c.failure(err))
		return true
	}
	result := append([]byte(`{"resultType":"input_required","inputRequests":{"`+e.key+`":{"method":"elicitation/create","params":`), params...)
	result = append(append(append(result, `}}},"requestState":`...), sealed...), '}')
	_ = c.ans.final(http.StatusOK, appendResult(nil, c.ans.id, result))
	return true
}
