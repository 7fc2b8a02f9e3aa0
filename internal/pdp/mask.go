package pdp

import (
	"slices"

	"rutile/internal/access"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// Masked is what stands for a value that was masked.
const Masked = "[masked]"

// mask masks what v wants masked in the arguments of r and asks the policies once
// more, on the arguments that are left (access.md, invariant 4) and with the same
// grant: what was approved is the call with all of them. A rule is met where each
// of its places is there and what is left fits the tool's approved input schema. The arguments are nil unless the answer permits.
func (f *Facts) mask(s *State, v *policy.Verdict, r *access.Request) (policy.Verdict, []byte) {
	failed := *v // a mask that is still missing is a denial
	var paths [][]string
	var rules []string
	for _, m := range v.Masks {
		rules = append(rules, m.Policy)
		for _, place := range m.Places {
			result, path, err := policy.ParsePlace(place)
			if err != nil || result {
				return failed, nil
			}
			paths = append(paths, path)
		}
	}
	edits, missed := rawjson.Replace(r.Arguments, paths, rawjson.AppendString(nil, Masked))
	if missed >= 0 {
		return failed, nil
	}
	start, _ := r.Arguments.Span()
	for i := range edits {
		edits[i].Start -= start
		edits[i].End -= start
	}
	masked := rawjson.Splice(r.Arguments.Raw(), edits...)
	args, err := rawjson.Parse(masked, rawjson.Limits{})
	if err != nil {
		return failed, nil
	}
	if r.Kind == access.KindTool && s.View.Fits(r.Server, registry.NameOf(registry.KindTool, r.Target), args) != "" {
		return failed, nil
	}
	f.Query.Arguments, f.Query.Masked = args, rules
	again := s.Set.Evaluate(&f.Query)
	switch {
	case again.Outcome == access.Permit:
		again.Masks = v.Masks
		return again, masked
	case len(again.Consequences) > 0:
		return again, nil
	}
	// One more decision ends it, whatever that one would ask for.
	again.Outcome = access.Deny
	return again, nil
}

// Sent is the arguments that are sent of r.
func (ru *Ruling) Sent(r *access.Request) rawjson.Value {
	if ru.Arguments != nil {
		return ru.facts.Query.Arguments
	}
	return r.Arguments
}

// Output is what came back, as policies see it.
type Output struct {
	Findings []string // rules that something in it broke
	Labels   []string // of data that was found in it, besides those of its tool
	Bytes    int
}

// Release decides whether what came back may go on to the agent: on the facts of
// the ruling with the output besides, so that only policies about the output can
// answer differently. It MUST be asked where ReadsOutput says so. Outcome Mask
// means that the places of Masks are to be masked in it first; then ask again, once,
// with the rules of Masks as masked.
func (ru *Ruling) Release(r *access.Request, o Output, masked []string) access.Decision {
	d := ru.Decision
	if ru.set == nil || ru.facts == nil {
		d.Outcome, d.Class, d.Reason, d.Help = access.Deny, access.ClassPolicyError, "the gateway has nothing to decide on", "try again later"
		return d
	}
	f := *ru.facts
	f.Query.Masked = slices.Concat(f.Query.Masked, masked)
	f.Query.Output = &policy.OutputFacts{Labels: slices.Concat(f.Query.Tool.Labels, o.Labels), Findings: o.Findings, Bytes: o.Bytes}
	v := ru.set.Evaluate(&f.Query)
	parts, whole := f.parts(v.Masks)
	f.answer(&d, r, &v)
	if v.Outcome != access.Permit {
		d.Reason = "what came back is withheld: " + d.Reason
	}
	if v.Outcome == access.Mask && masked == nil && !whole && !ru.Monitor {
		d.Masks = parts
		return d
	}
	if v.Outcome.Conditional() { // the call has been made, and nobody can be asked about it any more
		d.Outcome = access.Deny
	}
	relax(&d, ru.Monitor, true)
	return d
}

// parts returns masks with the places to mask; a place that stands for labels is
// none of them any more. Labels are known of servers and tools, not of parts of a
// result: where one is outside of the agent's scopes the part is the whole of it.
func (f *Facts) parts(masks []access.Masking) (out []access.Masking, whole bool) {
	outside := slices.ContainsFunc(f.Query.Tool.Labels, func(l string) bool { return !slices.Contains(f.Query.Agent.DataScopes, l) })
	for _, m := range masks {
		places := slices.DeleteFunc(slices.Clone(m.Places), func(p string) bool { return p == policy.MaskLabels })
		if len(places) < len(m.Places) && outside {
			return masks, true
		}
		out = append(out, access.Masking{Policy: m.Policy, Places: places})
	}
	return out, false
}
