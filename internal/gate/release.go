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
	screen *screen // nil: nothing is inspected
	// restored are the values that were sent in place of placeholders, by these.
	restored map[string]string
	intent   audit.Ref

	mu     sync.Mutex
	passed int          // bytes so far that were judged
	sent   int          // bytes so far that went on
	shown  int          // messages so far, dropped ones too
	drops  []audit.Drop // messages the agent did not get, one for each reason
	failed error        // a consequence that could not be carried out
	found  []string     // what inspection found so far
	labels []string     // of the data it found so far
	noted  []audit.Seen // the same for evidence
	pieces int          // messages whose values are known again
	told   bool         // the server said meanwhile that something of its own changed
	last   sight        // of the final message
	raised []string     // taints and labels of the session that are new by it
}

// maxNoted bounds how many findings of one call are kept for evidence.
const maxNoted = 64

// note takes what inspection found in a message; p.mu is held.
func (p *outflow) note(s *sight) {
	if s.empty() {
		return
	}
	p.noted = append(p.noted, s.noted()...)
	p.noted = p.noted[:min(len(p.noted), maxNoted)]
	p.found = merge(p.found, s.findings())
	p.labels = merge(p.labels, s.labels())
}

// merge adds to list what of more is not in it.
func merge(list, more []string) []string {
	for _, x := range more {
		if !slices.Contains(list, x) {
			list = append(list, x)
		}
	}
	return list
}

// judged reports whether policy has a say about a message with these findings.
func (p *outflow) judged(s *sight) bool {
	return p.ruling.ReadsOutput || !s.empty()
}

// Passes reports whether a message may go on to the agent before the final one: it is
// part of what comes back, and what comes back is judged on all that has come so far,
// but for what inspection finds: that is of this message, read with the end of those
// before it. Nothing in it can be masked.
func (d *Dispatch) Passes(ctx context.Context, msg []byte, findings []string) bool {
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
	n := len(msg)
	if _, echoed, _ := p.unecho(msg); echoed {
		p.found = merge(p.found, []string{findEchoed})
		p.drop(&access.Decision{Outcome: access.Mask})
		return false
	}
	s := p.screen.look(msg)
	p.note(&s)
	err := p.raise(ctx, &s, &s)
	if err == nil {
		err = p.ingest(ctx, &s, msg, false)
	}
	if err != nil {
		p.drop(&access.Decision{Outcome: access.Deny})
		p.failed = errors.Join(p.failed, err)
		return false
	}
	if !p.judged(&s) {
		p.sent += n
		return true
	}
	p.passed += n
	dec := p.ruling.Release(p.req, pdp.Output{Findings: slices.Concat(findings, s.findings()), Labels: s.labels(), Bytes: p.passed}, nil)
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
	out.Findings = merge(slices.Clone(out.Findings), p.found)
	out.Seen = p.noted
	out.Labels = p.raised
}

// release judges the final message. It returns nil where the message goes on,
// masked if need be, and otherwise the denial the agent gets instead. masks are the
// rules that had parts of it masked.
func (p *outflow) release(ctx context.Context, resp *access.Response) (dec *access.Decision, masks []string, err error) {
	if no := p.gate.refusal(p.req); no != nil {
		return no, nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	body, echoed, ok := p.unecho(resp.Body)
	if echoed {
		p.found = merge(p.found, []string{findEchoed})
	}
	if !ok {
		d := p.ruling.Decision
		d.Outcome, d.Class, d.Reason, d.Help = access.Deny, access.ClassMask, "what came back is withheld: it repeats a value that was put in for a placeholder where it cannot be masked", "the call was made; do not repeat it"
		return &d, nil, nil
	}
	resp.Body = body
	s := p.screen.look(resp.Body)
	p.note(&s)
	p.last = s
	if !p.judged(&s) {
		return nil, nil, p.ingest(ctx, &s, resp.Body, false)
	}
	left := &s
	d := p.ruling.Release(p.req, p.output(resp, &s), nil)
	if d.Outcome == access.Mask {
		d, left, masks = p.mask(ctx, &d, resp, &s)
	}
	if d.Allowed() {
		if err = p.raise(ctx, &s, left); err == nil {
			err = p.ingest(ctx, &s, resp.Body, len(masks) > 0)
		}
		return nil, masks, errors.Join(p.failed, err)
	}
	return &d, nil, errors.Join(p.failed, p.gate.carry(ctx, p.req, &d))
}

// mask masks what wanted says in the final message and judges it once more. left is what
// is found in it then.
func (p *outflow) mask(ctx context.Context, wanted *access.Decision, resp *access.Response, s *sight) (d access.Decision, left *sight, rules []string) {
	failed := *wanted
	failed.Outcome = access.Deny
	var sets []string
	var paths [][]string
	for _, m := range wanted.Masks {
		rules = append(rules, m.Policy)
		for _, place := range m.Places {
			if policy.IsMaskSet(place) {
				sets = append(sets, place)
				continue
			}
			_, path, err := policy.ParsePlace(place)
			if err != nil {
				return failed, s, nil
			}
			paths = append(paths, path)
		}
	}
	if len(paths) > 0 {
		if resp.Mask == nil {
			return failed, s, nil
		}
		body, ok := resp.Mask(resp.Body, paths, pdp.Masked)
		if !ok {
			return failed, s, nil
		}
		resp.Body = body
	}
	left = s
	if len(sets) > 0 {
		again := s
		if len(paths) > 0 {
			now := p.screen.again(resp.Body)
			again = &now
		}
		tokens, err := p.named(ctx, again, sets)
		if err != nil { // what cannot be kept must not be shown as if it were
			return failed, s, nil
		}
		body, ok := again.conceal(resp.Body, sets, tokens)
		if !ok {
			return failed, s, nil
		}
		now := p.screen.again(body)
		if !now.without(sets) {
			return failed, s, nil
		}
		resp.Body, left = body, &now
	}
	return p.ruling.Release(p.req, p.output(resp, left), rules), left, rules
}

// output is what is about to go on, with what was found in it.
func (p *outflow) output(resp *access.Response, s *sight) pdp.Output {
	return pdp.Output{Findings: slices.Concat(resp.Findings, s.findings()), Labels: s.labels(), Bytes: p.passed + len(resp.Body)}
}

// pronounce makes dec the denial that a call ends with that was cut.
func (g *Gate) pronounce(r *access.Request, dec *access.Decision, cut *cutError) error {
	if no := g.refusal(r); no != nil {
		*dec = *no
		return nil
	}
	if class := cut.class(); class != "" {
		*dec = access.Decision{ID: dec.ID, Class: class, Reason: cut.why, Help: cut.help()}
		return nil
	}
	return cut
}

// answered takes what fwd returned and decides what of it the agent gets. The
// outcome then says what happened; dec is the decision the agent reads.
func (g *Gate) answered(ctx context.Context, d *Dispatch, dec *access.Decision, resp *access.Response, ferr error, out *audit.Outcome) error {
	if cut := g.cutBy(ctx, d.outflow.req, d.outflow.ruling); cut != nil {
		// Whatever came back arrived too late.
		out.Status = audit.StatusRevoked
		if ferr == nil && len(resp.Body) > 0 {
			out.Status = audit.StatusLateResult
			g.running.late(d.outflow.req)
		}
		*resp = access.Response{Reached: resp.Reached, Findings: resp.Findings}
		out.Out, out.Result = 0, nil
		out.Findings = append(out.Findings, "cut."+cut.what)
		return g.pronounce(d.outflow.req, dec, cut)
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
