package rehearsal

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
)

// Replaying says how recorded decisions are judged again.
type Replaying struct {
	Candidate *pdp.State
	// Against is what the candidate is compared with, on the same facts; nil compares
	// with what was recorded. Name is how the report calls it.
	Against *pdp.State
	Name    string
	Agent   string // only its calls; "" for all
	Held    Held
	// Sealed says that whoever asks may see evidence, so that kept arguments may be
	// opened where a verdict depends on them: rules of one's own making and what they
	// would have decided tell what an argument was.
	Sealed bool
	Now    func() time.Time
	From   time.Time // for the report
}

// Replay judges recorded calls, in the order they are yielded. What the evidence
// keeps of a call is who asked for what, when, with which proof and under which
// grant; what is known of the agent and the tool besides is what the registry says
// now. Arguments are kept sealed and opened only where the verdict depends on them;
// where they are not kept whole the decision is counted as depending on them, and
// so is one that depends on what was counted then (context.facts), which is not
// kept. It holds no more in memory than the report.
func Replay(ctx context.Context, calls iter.Seq2[*audit.Call, error], o Replaying) (Report, error) {
	against := o.Name
	if o.Against == nil {
		against = "recorded"
	}
	t := newTally(o.Candidate.Set.Digest(), against, o.From)
	p := &player{o: o, t: t, held: map[string]*policy.GrantFacts{}}
	for c, err := range calls {
		if err != nil {
			return Report{}, err
		}
		if o.Agent != "" && c.Agent != o.Agent {
			continue
		}
		if err := p.play(ctx, c); err != nil {
			return Report{}, err
		}
	}
	return t.result(o.Now()), nil
}

// maxHeld bounds how many grants are remembered.
const maxHeld = 10_000

// player judges one recorded call after another.
type player struct {
	o    Replaying
	t    *tally
	held map[string]*policy.GrantFacts // by grant; nil where it is not known
}

func (p *player) play(ctx context.Context, c *audit.Call) error {
	switch {
	case !byPolicy(c.Class) || c.Set == "":
		p.t.count(func(r *Report) *int { return &r.Registry })
		return nil
	case c.Erased():
		p.t.count(func(r *Report) *int { return &r.Erased })
		return nil
	}
	r := request(c)
	if !pdp.Known(p.o.Candidate, r) || p.o.Against != nil && !pdp.Known(p.o.Against, r) {
		p.t.count(func(r *Report) *int { return &r.Unknown })
		return nil
	}
	if c.Kind == access.KindResource && c.TargetCut() {
		p.t.count(func(r *Report) *int { return &r.Depends })
		return nil
	}
	past := pdp.Past{Digest: c.ToolDigest, Tier: c.Tier}
	var err error
	if past.Grant, err = p.grant(ctx, c); err != nil {
		return err
	}
	before, after, certain := p.judge(c, r, past)
	if !certain {
		opened, err := p.open(ctx, c, r)
		if err != nil {
			return err
		}
		if !opened {
			p.t.count(func(r *Report) *int { return &r.Depends })
			return nil
		}
		if before, after, certain = p.judge(c, r, past); !certain { // what was counted then is not kept
			p.t.count(func(r *Report) *int { return &r.Counters })
			return nil
		}
	}
	p.t.judged(trial{id: c.Decision, agent: c.Agent, server: c.Server, target: c.Tool, method: c.Method, kind: c.Kind, at: c.At,
		before: before, after: after.Outcome, by: source(&after), errors: after.Errors})
	return nil
}

// recorded is what enforcing decided.
func recorded(c *audit.Call) access.Outcome {
	word := c.Outcome
	if c.Monitor {
		word = c.Would
	}
	o, _ := access.ParseOutcome(word) // what a later version wrote denies
	return o
}

// source returns the policies a verdict comes from.
func source(v *policy.Verdict) []string {
	if v.Outcome == access.Permit {
		return v.Permits
	}
	return slices.Concat(v.Forbids, v.Errors)
}

// judge is what was decided and what would be; certain is false where one of them
// depends on arguments that are not known.
func (p *player) judge(c *audit.Call, r *access.Request, past pdp.Past) (before access.Outcome, after policy.Verdict, certain bool) {
	after = pdp.Again(p.o.Candidate, r, past)
	if p.o.Against == nil {
		return recorded(c), after, !after.Maybe
	}
	v := pdp.Again(p.o.Against, r, past)
	return v.Outcome, after, !after.Maybe && !v.Maybe
}

// request is a recorded call as it was asked. Its arguments are not known yet.
func request(c *audit.Call) *access.Request {
	return &access.Request{
		Touched: c.Touched(), Risk: c.Risk(), ID: c.Decision, At: c.At, Protocol: c.Proto, Version: c.Version, Method: c.Method, Server: c.Server, Kind: c.Kind, Target: c.Tool, Unknown: true,
		Who: access.Identity{
			Actor: access.Actor{Agent: c.Agent, Attested: c.Attested}, Subject: access.Subject{Issuer: c.Issuer, ID: c.Subject},
			Session: c.Session, Task: c.Task, Bound: c.Bound,
		},
	}
}

// grant is the right the call was permitted under, nil if it needed none: whatever
// is left of it now, it covered this call.
func (p *player) grant(ctx context.Context, c *audit.Call) (*policy.GrantFacts, error) {
	if c.Grant == "" {
		return nil, nil
	}
	g, known := p.held[c.Grant]
	if !known {
		h, ok, err := p.o.Held(ctx, c.Grant)
		if err != nil {
			return nil, err
		}
		if ok {
			g = &policy.GrantFacts{ID: h.Grant, Remaining: 1, Quorum: h.Quorum, ArgsBound: h.Bound, Depth: h.Depth}
		}
		if len(p.held) < maxHeld {
			p.held[c.Grant] = g
		}
	}
	if g == nil {
		return nil, nil
	}
	at := *g
	at.ExpiresAt = c.At.Add(time.Minute)
	return &at, nil
}

// open gives r the arguments of the call, if they are kept whole.
func (p *player) open(ctx context.Context, c *audit.Call, r *access.Request) (bool, error) {
	if !p.o.Sealed || c.Kind == access.KindResource && strings.Contains(c.Tool, "{") {
		return false, nil // a template, not what was read
	}
	raw, known, err := c.Arguments(ctx)
	if err != nil || !known {
		return false, err
	}
	p.t.opened()
	if len(raw) > 0 {
		var ok bool
		if r.Arguments, ok = parsed(raw); !ok {
			return false, nil // not what a call brought
		}
	}
	r.Unknown = false
	return true, nil
}

func parsed(raw []byte) (rawjson.Value, bool) {
	v, err := rawjson.Parse(raw, rawjson.Limits{})
	return v, err == nil
}
