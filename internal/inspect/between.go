package inspect

// Between is what is found in two descriptions that a server lists one after the other
// and that is whole in neither, read once run together and once as two words. Somebody
// reads the list from its first page to its last. None blocks alone: which of the two is
// wrong a person decides.
func (e *Engine) Between(before, behind string) []Finding {
	if before == "" || behind == "" {
		return nil
	}
	c := &column{}
	c.add(place{pointer: "/before"}, lastBytes([]byte(before), carriedBytes))
	c.add(place{pointer: "/behind"}, []byte(behind[:min(len(behind), carriedBytes)]))
	s := e.begin(Definition, len(c.text))
	var out []Finding
	r := s.guarded(func() {
		w := walk{scan: s}
		w.read(c)
	})
	for _, f := range r.Findings {
		if f.Pointer != "/behind" && f.Rule != "limit.broken" || f.Weight < reviewAt {
			continue
		}
		f.Pointer, f.Start, f.End = "/description", 0, 0
		f.Hard, f.Tier, f.Weight, f.Why = false, Review, betweenWeight, f.Why+", together with what is listed beside it"
		out = append(out, f)
	}
	return out
}

// betweenWeight is that of a finding for review.
const betweenWeight = .6
