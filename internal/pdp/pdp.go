// Package pdp decides: a pure function of request, facts and policies.
//
// Decide is total and denies by default: whatever the state and the request
// hold, the answer is a Decision, and it permits only if the agent, the server
// and the definition are in good standing and the policy set permits. Decide
// and Visible MUST give the same verdict on every path and MUST NOT do input or
// output, read a clock or change anything. The package enforces nothing and
// spends nothing: that is the gate's.
package pdp

import (
	"time"

	"rutile/internal/access"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// State is what decisions are made on: one consistent generation of registry
// and policies. The zero State denies.
type State struct {
	View    *registry.View
	Set     *policy.Set
	Monitor bool // observe: what only policy or a missing approval denies passes, and is marked
	Grants  Grants
	// Facts are the declared facts that policies of Set read, nil if none are.
	Facts *fact.Plan
	// Entitlements are the rights agents may ask for, by id.
	Entitlements map[string]grant.Entitlement
	// Answer are the roles of whom may answer requests, of which one is enough. Where it
	// is nil every registered user counts as one who may.
	Answer []registry.Role
}

// Grants finds the grants in force for a call, in the order they are tried. It
// MUST NOT do input or output. A nil Grants holds none.
type Grants interface {
	Covering(c *grant.Call) []grant.Grant
}

// Decide answers r. The decision's Reason and Help are sentences for the agent:
// they name rules, never what is in them. A request with Unknown arguments is
// permitted only if every call of its target would be; lists use Visible.
func Decide(s *State, r *access.Request) access.Decision {
	ru, _ := judge(s, r)
	return ru.Decision
}

// Ruling is a decision with what it was made on. What comes back is judged on the
// same.
type Ruling struct {
	access.Decision
	// Arguments are what is to be sent where Decision.Masks says that parts of the
	// arguments are masked; nil if they are to be sent as they came.
	Arguments []byte
	// ReadsOutput says that what comes back has to be judged with Release even where
	// nothing was found in it. ReadsData says that a policy asks for secrets and
	// personal data in it.
	ReadsOutput, ReadsData bool

	set   *policy.Set
	facts *Facts
}

// Judge answers r as Decide does, for who is going to carry it out.
func Judge(s *State, r *access.Request) Ruling {
	ru, _ := judge(s, r)
	return ru
}

// Visible reports whether r's target belongs in a list shown to its actor: at
// least one call of it would not be denied, as far as can be told without the
// arguments; one that has to be approved, wait or be masked counts. A visible
// target may still be denied when it is called.
func Visible(s *State, r *access.Request) bool {
	d, maybe := judge(s, r)
	return d.Allowed() || maybe || d.Outcome.Conditional()
}

// judge also reports whether, the arguments being unknown, some call would be
// permitted.
func judge(s *State, r *access.Request) (ru Ruling, maybe bool) {
	d := &ru.Decision
	if s == nil || r == nil || s.View == nil || s.Set == nil {
		if r != nil {
			d.ID = r.ID
		}
		d.Class, d.Reason, d.Help = access.ClassPolicyError, "the gateway has nothing to decide on", "try again later"
		return ru, false
	}
	f := GatherFacts(s, r)
	*d = access.Decision{ID: r.ID, Monitor: s.Monitor, Set: s.Set.Digest(), Schema: s.Set.Schema(),
		Facts: f.Digest, Tool: f.Query.Tool.Digest, Tier: f.Query.Tool.Tier}
	if ref := f.refusal; ref.class != "" {
		d.Class, d.Reason, d.Help = ref.class, ref.reason, ref.help
		relax(d, s.Monitor, ref.relaxable)
		return ru, false
	}
	v := f.evaluate(s, r)
	if v.Outcome == access.Mask && !r.Unknown && !s.Monitor {
		v, ru.Arguments = f.mask(s, &v, r)
	}
	f.answer(d, r, &v)
	if f.Query.Grant != nil {
		d.Grant = f.Query.Grant.ID
	}
	d.Shadow = f.tried(s)
	if v.Outcome == access.Permit {
		d.Would, d.Reason = access.Permit, f.note
	}
	relax(d, s.Monitor, true)
	ru.ReadsOutput, ru.ReadsData = v.ReadsOutput, v.ReadsData
	ru.set, ru.facts = s.Set, &f
	return ru, v.Maybe
}

// answer puts a verdict into d.
func (f *Facts) answer(d *access.Decision, r *access.Request, v *policy.Verdict) {
	d.Outcome, d.Facts = v.Outcome, f.Digest
	d.Permits, d.Forbids, d.Errors = v.Permits, v.Forbids, v.Errors
	d.Consequences, d.Masks = v.Consequences, v.Masks
	if v.Outcome == access.RateLimit {
		d.Limits = v.Limits
	}
	if v.Outcome != access.Permit {
		d.Class, d.Reason, d.Help = explain(f, r, v)
		if told := story(r, v.Forbids); told != "" {
			d.Reason += ": " + told
		}
		f.settleAsk(r, d)
	}
}

// evaluate asks the policies: with the first grant in force for r they permit it
// with, with none where they permit it with none of them. Where they permit it with
// none, one with which it may be masked, or else wait, is as good. The facts are
// then those that count.
func (f *Facts) evaluate(s *State, r *access.Request) policy.Verdict {
	if h := r.Held; h != nil { // whatever is left of it: the call has been made
		f.Query.Grant = &policy.GrantFacts{ID: h.Grant, Remaining: 1, ExpiresAt: r.At.Add(time.Minute), Quorum: h.Quorum, ArgsBound: h.Bound, Depth: h.Depth, From: h.From}
		f.Digest = f.digest()
		return s.Set.Evaluate(&f.Query)
	}
	if s.Grants == nil || !approvable(r) {
		return s.Set.Evaluate(&f.Query)
	}
	covering := s.Grants.Covering(f.call(r))
	if len(covering) == 0 {
		return s.Set.Evaluate(&f.Query)
	}
	if r.Unknown {
		return f.unknown(s, covering)
	}
	var best policy.Verdict
	var with *policy.GrantFacts
	if r.Use == "" { // what needs no grant spends none
		best = s.Set.Evaluate(&f.Query)
	}
	for i := 0; i < len(covering) && best.Outcome != access.Permit; i++ {
		f.Query.Grant = factsOf(&covering[i])
		if v := s.Set.Evaluate(&f.Query); passes(v.Outcome) > passes(best.Outcome) {
			best, with = v, f.Query.Grant
		}
	}
	f.Query.Grant = with
	if with != nil {
		f.Digest = f.digest()
	} else if r.Use != "" {
		return s.Set.Evaluate(&f.Query)
	}
	return best
}

// factsOf is a grant as policies see it.
func factsOf(g *grant.Grant) *policy.GrantFacts {
	f := &policy.GrantFacts{ID: g.ID, Remaining: g.Remaining(), ExpiresAt: g.Expires, Quorum: g.Quorum, ArgsBound: g.Bound(), Depth: g.Depth}
	if g.Depth > 0 {
		f.From = g.Session
	}
	return f
}

// unknown asks the policies without arguments and without a grant. Where they deny
// it, with a grant in force some call may be permitted that none is without.
func (f *Facts) unknown(s *State, covering []grant.Grant) policy.Verdict {
	v := s.Set.Evaluate(&f.Query)
	if v.Outcome != access.Deny || v.Maybe {
		return v
	}
	q := f.Query
	for i := range covering {
		q.Grant = factsOf(&covering[i])
		if w := s.Set.Evaluate(&q); w.Outcome == access.Permit || w.Maybe {
			v.Maybe = true
			break
		}
	}
	return v
}

// passes orders outcomes by how little keeps the call from being made; what only a
// grant can help is not among them.
func passes(o access.Outcome) int {
	switch o {
	case access.Permit:
		return 3
	case access.Mask:
		return 2
	case access.RateLimit:
		return 1
	default:
		return 0
	}
}

// tried is what the policies that are only tried would have made of it, on the
// same facts; nil where none of them matches. It never changes the decision.
func (f *Facts) tried(s *State) *access.Shadow {
	set := s.Set.Tried()
	if set == nil {
		return nil
	}
	v := set.Evaluate(&f.Query)
	by := s.Set.Shadows(&v)
	if len(by) == 0 {
		return nil
	}
	return &access.Shadow{Outcome: v.Outcome, By: by}
}

// CallOf is r as grants see it, of the definition that is approved now.
func CallOf(s *State, r *access.Request) grant.Call {
	f := GatherFacts(s, r)
	return *f.call(r)
}

func (f *Facts) call(r *access.Request) *grant.Call {
	return &grant.Call{Party: grant.PartyOf(r.Who), Session: r.Who.Session, Task: r.Who.Task, Args: r.Arguments, Unknown: r.Unknown, At: r.At, Use: r.Use,
		Target: grant.Target{Server: r.Server, Kind: r.Kind, Name: r.Target, Digest: f.Query.Tool.Digest, Tier: f.Query.Tool.Tier}}
}

// relax lets a denial pass where the state only observes. What a person or the
// registry decided about an agent, a server or a definition is never relaxed.
func relax(d *access.Decision, monitor, relaxable bool) {
	if monitor {
		d.Consequences = nil // nothing happens because of what is only observed
	}
	if monitor && relaxable {
		d.Outcome, d.Would = access.Permit, d.Outcome
		d.Masks, d.Limits = nil, nil
	}
}
