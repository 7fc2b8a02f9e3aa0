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
	// Entitlements are the rights agents may ask for, by id.
	Entitlements map[string]grant.Entitlement
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
	d, _ := decide(s, r)
	return d
}

// Visible reports whether r's target belongs in a list shown to its actor: at
// least one call of it would not be denied, as far as can be told without the
// arguments; one that has to be approved counts. A visible target may still be
// denied when it is called.
func Visible(s *State, r *access.Request) bool {
	d, maybe := decide(s, r)
	return d.Allowed() || maybe || d.Outcome == access.RequireApproval
}

// decide also reports whether, the arguments being unknown, some call would be
// permitted.
func decide(s *State, r *access.Request) (d access.Decision, maybe bool) {
	if s == nil || r == nil || s.View == nil || s.Set == nil {
		if r != nil {
			d.ID = r.ID
		}
		d.Class, d.Reason, d.Help = access.ClassPolicyError, "the gateway has nothing to decide on", "try again later"
		return d, false
	}
	f := GatherFacts(s, r)
	d = access.Decision{ID: r.ID, Monitor: s.Monitor, Set: s.Set.Digest(), Schema: s.Set.Schema(),
		Facts: f.Digest, Tool: f.Query.Tool.Digest, Tier: f.Query.Tool.Tier}
	if ref := f.refusal; ref.class != "" {
		d.Class, d.Reason, d.Help = ref.class, ref.reason, ref.help
		relax(&d, s, ref.relaxable)
		return d, false
	}
	v := f.evaluate(s, r)
	d.Facts, d.Permits, d.Forbids, d.Errors = f.Digest, v.Permits, v.Forbids, v.Errors
	if f.Query.Grant != nil {
		d.Grant = f.Query.Grant.ID
	}
	d.Shadow = f.tried(s)
	if v.Outcome == access.Permit {
		d.Outcome, d.Would = access.Permit, access.Permit
		d.Reason = f.note
		return d, false
	}
	d.Outcome = v.Outcome // a denial, or an approval that is missing
	d.Class, d.Reason, d.Help = explain(&f, r, &v)
	relax(&d, s, true)
	return d, v.Maybe
}

// evaluate asks the policies: with the first grant in force for r they permit it
// with, with none where they permit it with none of them. The facts are then
// those that count.
func (f *Facts) evaluate(s *State, r *access.Request) policy.Verdict {
	if h := r.Held; h != nil { // whatever is left of it: the call has been made
		f.Query.Grant = &policy.GrantFacts{ID: h.Grant, Remaining: 1, ExpiresAt: r.At.Add(time.Minute), Quorum: h.Quorum, ArgsBound: h.Bound}
		f.Digest = f.digest()
		return s.Set.Evaluate(&f.Query)
	}
	if s.Grants != nil && !r.Unknown {
		covering := s.Grants.Covering(f.call(r))
		if len(covering) > 0 && r.Use == "" { // what needs no grant spends none
			if v := s.Set.Evaluate(&f.Query); v.Outcome == access.Permit {
				return v
			}
		}
		for _, g := range covering {
			f.Query.Grant = &policy.GrantFacts{ID: g.ID, Remaining: g.Remaining(), ExpiresAt: g.Expires, Quorum: g.Quorum, ArgsBound: g.Bound()}
			if v := s.Set.Evaluate(&f.Query); v.Outcome == access.Permit {
				f.Digest = f.digest()
				return v
			}
		}
		f.Query.Grant = nil
	}
	return s.Set.Evaluate(&f.Query)
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
	return &grant.Call{Party: grant.PartyOf(r.Who), Session: r.Who.Session, Task: r.Who.Task, Args: r.Arguments, At: r.At, Use: r.Use,
		Target: grant.Target{Server: r.Server, Kind: r.Kind, Name: r.Target, Digest: f.Query.Tool.Digest, Tier: f.Query.Tool.Tier}}
}

// relax lets a denial pass where the state only observes. What a person or the
// registry decided about an agent, a server or a definition is never relaxed.
func relax(d *access.Decision, s *State, relaxable bool) {
	if s.Monitor && relaxable {
		d.Outcome, d.Would = access.Permit, d.Outcome
	}
}
