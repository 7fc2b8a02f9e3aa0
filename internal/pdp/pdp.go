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
	"rutile/internal/access"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// State is what decisions are made on: one consistent generation of registry
// and policies. The zero State denies.
type State struct {
	View    *registry.View
	Set     *policy.Set
	Monitor bool // observe: what only policy or a missing approval denies passes, and is marked
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
// arguments. A visible target may still be denied when it is called.
func Visible(s *State, r *access.Request) bool {
	d, maybe := decide(s, r)
	return d.Allowed() || maybe
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
	v := s.Set.Evaluate(&f.Query)
	d.Permits, d.Forbids, d.Errors = v.Permits, v.Forbids, v.Errors
	if v.Outcome == access.Permit {
		d.Outcome, d.Would = access.Permit, access.Permit
		d.Reason = f.note
		return d, false
	}
	d.Class, d.Reason, d.Help = explain(&f, r, &v)
	relax(&d, s, true)
	return d, v.Maybe
}

// relax lets a denial pass where the state only observes. What a person or the
// registry decided about an agent, a server or a definition is never relaxed.
func relax(d *access.Decision, s *State, relaxable bool) {
	if s.Monitor && relaxable {
		d.Outcome, d.Would = access.Permit, access.Deny
	}
}
