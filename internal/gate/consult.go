package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/inspect"
	"rutile/internal/judge"
	"rutile/internal/rawjson"
)

// Consulted is an outside judge of results and what its verdicts do. It is asked
// beside the calls; a call only looks up what is known.
type Consulted struct {
	Judge interface {
		Known(kind, digest string) (judge.Verdict, bool)
		Offer(it judge.Item)
	}
	Threshold float64 // of its confidence, below which a verdict does nothing
	Lower     bool    // soft findings do not count where it calls a text benign
	All       bool    // every result is judged, not only those with a finding at review
}

// Consult has results judged by c too. It MUST be called before the first request.
func (g *Gate) Consult(c *Consulted) { g.judge = c }

// resultDigest is what a result is known by to a judge.
func resultDigest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// consult adds what is known of a message's result. A nil c knows nothing.
func (c *Consulted) consult(s *sight) {
	if c == nil {
		return
	}
	raw := s.root.Get("result").Raw()
	if len(raw) == 0 || len(raw) > judge.MaxText {
		return
	}
	v, ok := c.Judge.Known(judge.Result, resultDigest(raw))
	if !ok {
		return
	}
	hard := func(p inspect.Part) bool {
		return p.Tier >= inspect.Block || slices.ContainsFunc(p.Findings, func(f inspect.Finding) bool { return f.Hard || f.Family == "limit" })
	}
	tier := inspect.Clean
	switch v.Raises(c.Threshold) {
	case access.FoundBlock:
		tier = inspect.Block
	case access.FoundReview:
		tier = inspect.Review
	}
	switch {
	case tier > inspect.Clean:
		s.seen.Tier = max(s.seen.Tier, tier)
		s.seen.Parts = append(s.seen.Parts, inspect.Part{Pointer: "/result", Tier: tier, Findings: []inspect.Finding{{
			Rule: "judge." + v.Label, Family: "judge", Hard: tier == inspect.Block, Tier: tier, Pointer: "/result", Weight: .6, Why: "an outside judge said so"}}})
	case c.Lower && v.Lowers(c.Threshold) && s.seen.Tier < inspect.Block && !slices.ContainsFunc(s.seen.Parts, hard):
		s.seen.Tier = inspect.Clean
		for i := range s.seen.Parts {
			s.seen.Parts[i].Tier = inspect.Clean
		}
	}
}

// offer asks for a verdict on what the agent got of a call.
func (g *Gate) offer(d *Dispatch, resp *access.Response, out *audit.Outcome) {
	p, r := d.outflow, out.Request
	if g.judge == nil || p.screen == nil || out.Status != audit.StatusOK && out.Status != audit.StatusToolError || r.Kind == access.KindServer {
		return
	}
	p.mu.Lock()
	last := p.last
	p.mu.Unlock()
	if last.seen.Tier < inspect.Review && !g.judge.All || len(resp.Body) > judge.MaxText {
		return
	}
	root := last.root
	if len(out.Masks) > 0 { // only what the agent got leaves the gateway
		var err error
		if root, err = rawjson.Parse(resp.Body, rawjson.Limits{Bytes: len(resp.Body) + 1}); err != nil {
			return
		}
	}
	raw := root.Get("result").Raw()
	if len(raw) == 0 {
		return
	}
	it := judge.Item{Kind: judge.Result, Digest: resultDigest(raw), Server: r.Server, Name: r.Target, Text: raw}
	for _, part := range last.seen.Parts {
		for _, f := range part.Findings {
			it.Findings = append(it.Findings, judge.Finding{Rule: f.Rule, Tier: f.Tier.String()})
		}
	}
	g.judge.Judge.Offer(it)
}
