package gate

import (
	"context"
	"errors"
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

	mu       sync.Mutex
	passed   int              // bytes so far
	withheld *access.Decision // the last denial
	failed   error            // a consequence that could not be carried out
}

// Passes reports whether a message of n bytes may go on to the agent before the
// final one: it is part of what comes back, and what comes back is judged on all
// that has come so far. Nothing in it can be masked.
func (d *Dispatch) Passes(ctx context.Context, n int, findings []string) bool {
	p := d.outflow
	if p == nil || p.ruling == nil {
		return true // a request of the gateway itself
	}
	if p.gate.refusal(p.req) != nil {
		return false
	}
	if !p.ruling.ReadsOutput {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed += n
	dec := p.ruling.Release(p.req, findings, p.passed, nil)
	if dec.Allowed() {
		return true
	}
	p.withheld = &dec
	p.failed = errors.Join(p.failed, p.gate.carry(ctx, p.req, &dec))
	return false
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
		out.Status, out.Out = audit.StatusRevoked, 0
		if no := g.refusal(d.outflow.req); no != nil {
			*dec = *no
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
