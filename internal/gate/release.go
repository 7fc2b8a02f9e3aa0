package gate

import (
	"context"
	"errors"
	"slices"
	"sync"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/policy"
)

// outflow is what of a call reaches the agent before its outcome: what of that
// policy has to judge, and what it said.
type outflow struct {
	gate   *Gate
	req    *access.Request
	ruling *pdp.Ruling

	mu     sync.Mutex
	passed int          // bytes so far that were judged
	sent   int          // bytes so far that went on
	shown  int          // messages so far, dropped ones too
	drops  []audit.Drop // messages the agent did not get, one for each reason
	failed error        // a consequence that could not be carried out
}

// Passes reports whether a message of n bytes may go on to the agent before the
// final one: it is part of what comes back, and what comes back is judged on all
// that has come so far. Nothing in it can be masked.
func (d *Dispatch) Passes(ctx context.Context, n int, findings []string) bool {
	p := d.outflow
	if p == nil || p.ruling == nil {
		return true // a request of the gateway itself
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown++
	if no := p.gate.refusal(p.req); no != nil {
		p.drop(no)
		return false
	}
	if !p.ruling.ReadsOutput {
		p.sent += n
		return true
	}
	p.passed += n
	dec := p.ruling.Release(p.req, findings, p.passed, nil)
	if dec.Allowed() {
		p.sent += n
		return true
	}
	p.drop(&dec)
	p.failed = errors.Join(p.failed, p.gate.carry(ctx, p.req, &dec))
	return false
}

// read is how many bytes went on before the final message.
func (p *outflow) read() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// maxDrops bounds for how many reasons the messages of one call are counted apart.
const maxDrops = 16

// drop counts the message that is being judged among those that dec keeps from the
// agent; p.mu is held.
func (p *outflow) drop(dec *access.Decision) {
	by := slices.Concat(dec.Forbids, dec.Errors)
	i := slices.IndexFunc(p.drops, func(x audit.Drop) bool { return x.Out == dec.Outcome.String() && slices.Equal(x.By, by) })
	switch {
	case i < 0 && len(p.drops) == maxDrops:
		i = maxDrops - 1 // the last stands for all further ones
		p.drops[i].By = nil
	case i < 0:
		i = len(p.drops)
		p.drops = append(p.drops, audit.Drop{Out: dec.Outcome.String(), By: by, First: p.shown})
	}
	p.drops[i].N++
	p.drops[i].Last = p.shown
}

// dropped is what evidence says of the messages the agent did not get.
func (p *outflow) dropped(out *audit.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.drops) > 0 {
		out.Dropped = slices.Clone(p.drops)
		out.Findings = append(out.Findings, "withheld.messages")
	}
}

// release judges the final message. It returns nil where the message goes on,
// masked if need be, and otherwise the denial the agent gets instead. masks are the
// rules that had parts of it masked.
func (p *outflow) release(ctx context.Context, resp *access.Response) (dec *access.Decision, masks []string, err error) {
	if no := p.gate.refusal(p.req); no != nil {
		return no, nil, nil
	}
	if !p.ruling.ReadsOutput {
		return nil, nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.ruling.Release(p.req, resp.Findings, p.passed+len(resp.Body), nil)
	if d.Outcome == access.Mask {
		d, masks = p.mask(&d, resp)
	}
	if d.Allowed() {
		return nil, masks, p.failed
	}
	return &d, nil, errors.Join(p.failed, p.gate.carry(ctx, p.req, &d))
}

// mask masks what wanted says in the final message and judges it once more.
func (p *outflow) mask(wanted *access.Decision, resp *access.Response) (access.Decision, []string) {
	failed := *wanted
	failed.Outcome = access.Deny
	var rules []string
	var paths [][]string
	for _, m := range wanted.Masks {
		rules = append(rules, m.Policy)
		for _, place := range m.Places {
			_, path, err := policy.ParsePlace(place)
			if err != nil {
				return failed, nil
			}
			paths = append(paths, path)
		}
	}
	if len(paths) > 0 {
		if resp.Mask == nil {
			return failed, nil
		}
		body, ok := resp.Mask(resp.Body, paths, pdp.Masked)
		if !ok {
			return failed, nil
		}
		resp.Body = body
	}
	return p.ruling.Release(p.req, resp.Findings, p.passed+len(resp.Body), rules), rules
}

// answered takes what fwd returned and decides what of it the agent gets. The
// outcome then says what happened; dec is the decision the agent reads.
func (g *Gate) answered(ctx context.Context, d *Dispatch, dec *access.Decision, resp *access.Response, ferr error, out *audit.Outcome) error {
	var cut *cutError
	if errors.As(context.Cause(ctx), &cut) {
		// Whatever came back arrived too late.
		*resp = access.Response{Reached: resp.Reached, Findings: resp.Findings}
		out.Status, out.Out, out.Result = audit.StatusRevoked, 0, nil
		out.Findings = append(out.Findings, "cut."+cut.what)
		if no := g.refusal(d.outflow.req); no != nil {
			*dec = *no
			return nil
		}
		if class := cut.class(); class != "" {
			*dec = access.Decision{ID: dec.ID, Class: class, Reason: cut.why, Help: "it was taken out of use while the call ran; ask its owner"}
			return nil
		}
		return cut
	}
	if ferr != nil {
		return ferr
	}
	no, masks, err := d.outflow.release(ctx, resp)
	out.Masks, out.Out, out.Result = masks, len(resp.Body), resp.Body
	if no == nil && err == nil {
		return nil
	}
	if no != nil {
		*dec = *no
		out.Withheld, out.Forbids = no.Outcome.String(), no.Forbids
	}
	out.Status, out.Out = audit.StatusWithheld, 0
	*resp = access.Response{Reached: resp.Reached, Findings: resp.Findings}
	return err
}
