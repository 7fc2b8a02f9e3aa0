package pdp

import (
	"encoding/binary"
	"maps"
	"slices"

	"rutile/internal/access"
	"rutile/internal/fact"
	"rutile/internal/policy"
)

// Counting is r as declared facts see it, with those of them that policies read of
// it. Where no policy reads any it is nil: nothing is counted and nobody looks.
func Counting(s *State, r *access.Request) (c *fact.Call, need []string) {
	if s.Facts == nil || s.View == nil || s.Set == nil || r.Unknown {
		return nil, nil
	}
	f := GatherFacts(s, r)
	c = &fact.Call{Who: r.Who, Server: r.Server, Kind: r.Kind, Target: r.Target, Action: r.Action()[len(r.Server)+1:],
		Groups: policy.Groups(r.Kind, f.Query.Tool.Classes), Labels: f.Query.Tool.Labels, Args: r.Arguments,
		Again: r.Follows || r.Use != "" || r.Kind == access.KindServer || r.Kind == access.KindAsk}
	return c, slices.DeleteFunc(s.Set.FactsOf(&f.Query), policy.OwnFact)
}

// Asked are the facts nobody declares that policies read of r: what the gateway finds
// in the call itself.
func Asked(s *State, r *access.Request) []string {
	if s.View == nil || s.Set == nil || r.Unknown || !s.Set.ReadsOwnFacts() {
		return nil
	}
	f := GatherFacts(s, r)
	return slices.DeleteFunc(s.Set.FactsOf(&f.Query), func(id string) bool { return !policy.OwnFact(id) })
}

// counting refuses what cannot be counted where it must be.
func (f *Facts) counting(r *access.Request) {
	f.Query.Facts = r.Facts
	if r.Facts != nil && r.Facts.Broken != "" {
		f.refuse(access.ClassArguments, r.Facts.Broken+", so the call is denied", "give the argument as a whole number in plain digits, or ask an operator what is counted", true)
	}
}

// appendFacts writes what policies may read of the past, in one form.
func appendFacts(b []byte, facts *access.Facts) []byte {
	if facts == nil {
		return b
	}
	for _, id := range slices.Sorted(maps.Keys(facts.Values)) {
		v := facts.Values[id]
		b = append(binary.AppendUvarint(b, uint64(len(id))), id...)
		b = binary.AppendVarint(b, v.Long)
		if v.Bool {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
		b = append(binary.AppendUvarint(b, uint64(len(v.Err))), v.Err...)
		b = binary.AppendUvarint(b, uint64(len(v.Set)))
		for _, x := range v.Set {
			b = append(binary.AppendUvarint(b, uint64(len(x))), x...)
		}
	}
	return b
}
