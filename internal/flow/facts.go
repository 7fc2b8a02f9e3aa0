package flow

import (
	"slices"
	"strings"
)

// suspect reports whether a leaf comes from where others write, and neither from the
// user nor from where nobody else writes.
func (leaf *Leaf) suspect() bool {
	return leaf.From != nil && leaf.From.Untrusted && leaf.Asked != Yes && !leaf.Trusted
}

// carries reports whether a leaf has an address or number in it that an untrusted result
// has and the user has not.
func (leaf *Leaf) carries(s *seen) bool {
	return leaf.suspect() && slices.ContainsFunc(s.prints, func(t tok) bool { return strings.IndexByte("euhc", t.kind) >= 0 })
}

// facts sums up what the leaves say.
func (l *look) facts(tool *tool) Facts {
	x := l.x
	f := Facts{Sink: true, Asked: Yes, Pointed: true, ActionAsked: x.wanted(tool), Tainted: x.worst, Lost: l.over}
	if !x.known {
		f.Asked = Unknown
	}
	suspects, recipients, selectors, selected := 0, 0, 0, Yes
	for i := range l.leaves {
		leaf := &l.leaves[i]
		f.ContentLabels = merge(f.ContentLabels, l.seen[i].private)
		f.Carried = f.Carried || leaf.Role == Content && leaf.carries(&l.seen[i])
		f.Lost = f.Lost || leaf.Lost && l.seen[i].hot
		if leaf.Role == Selector {
			selectors++
			if leaf.Asked == No && !leaf.Trusted {
				selected = No
			}
		}
		if leaf.Role != Recipient {
			continue
		}
		recipients++
		if leaf.Asked == No {
			f.Asked = No
		}
		f.Novel = f.Novel || leaf.Novel
		f.Lost = f.Lost || leaf.Lost
		if leaf.suspect() {
			suspects++
			f.RecipientUntrusted = true
			f.Pointed = f.Pointed && leaf.From.Pointed
		}
		f.Replaced = f.Replaced || leaf.Asked == No && !leaf.Trusted && x.replaced(&l.seen[i], tool, l.c.Tool)
	}
	switch {
	case recipients > 0 || !x.known:
	case selectors == 0:
		f.Asked = Unknown // it goes nowhere that could have been asked for
	default:
		f.Asked = selected
	}
	f.Pointed = f.Pointed && suspects > 0
	return f
}

// replaced reports whether the user named somebody or something else for a value: an
// address or number of the same form, or a name where the value has no word of the
// user's.
func (x *Index) replaced(s *seen, tool *tool, name string) bool {
	for _, t := range s.prints {
		if x.stems[t.stem] && t.kind == kindWord {
			return false
		}
	}
	for _, t := range s.prints {
		if t.kind == kindWord || t.kind == kindPhrase || t.kind == kindName {
			continue
		}
		for _, kind := range x.typed {
			if kind == t.kind {
				return true
			}
		}
	}
	for _, w := range x.wants {
		if w.name != 0 && tool.fits(w.act, false) && !slices.ContainsFunc(namesOf(name), func(n string) bool { return x.keys.of(kindStem, stem([]byte(n))) == w.name }) {
			return true
		}
	}
	return false
}

// wanted reports whether the user asked for something a tool does.
func (x *Index) wanted(tool *tool) Answer {
	if !x.known {
		return Unknown
	}
	if x.delegates == handsAll || tool.verbs == 0 { // nobody can say what it does
		return Yes
	}
	for _, w := range x.wants {
		if w.verbs&tool.around != 0 {
			return Yes
		}
	}
	return No
}

// order finds the order of a result that a call follows: one for such an act that has a
// value of the call which neither the user nor a trusted result has, or any value of it
// where the user asked for nothing of the kind. What the user asked
// for is then judged by what the order says.
func (l *look) order(tool *tool, f *Facts) *Source {
	x := l.x
	best, rank := -1, -1
	wanted := x.wanted(tool)
	named := wanted == Yes
	var open []int
	for j := range l.leaves {
		// What the user never asked to be done is ordered even with the user's own values.
		if leaf := &l.leaves[j]; len(l.seen[j].prints) > 0 && (leaf.Asked != Yes && !leaf.Trusted || wanted == No) {
			open = append(open, j)
		}
	}
	if len(open) == 0 {
		return nil
	}
	f.Lost = f.Lost || l.lostOrder(tool, open)
	for i := range x.orders {
		o := &x.orders[i]
		if o.verbs&tool.around == 0 && tool.verbs != 0 && !o.calls(l.name) {
			continue
		}
		src := &x.sources[o.source-x.first]
		on := x.known && (src.pointed && named && x.delegates > handsNothing || x.onTask(o))
		if !tool.fits(o.act, true) && !o.calls(l.name) || !src.untrusted && (on || !x.known) {
			continue // what a system of our own tells to do next is no attack by itself
		}
		n := 0
		for _, j := range open {
			if l.details(j, o, tool) {
				l.leaves[j].Ordered = true
				n++
			}
		}
		if n == 0 {
			continue
		}
		if x.known && !on {
			f.ActionAsked = No
		}
		r := 4*int(src.tier) + 2*n
		if o.hot {
			r++
		}
		if r > rank {
			best, rank = i, r
		}
	}
	if best < 0 {
		return nil
	}
	f.Ordered = true
	return x.public(uint32(x.orders[best].source))
}

// onTask reports whether an order is about what the user asked for: with the verb the
// user said, if that says something of itself, with two of the user's words, or with one
// and another verb for the same.
func (x *Index) onTask(o *order) bool {
	n := 0
	for i, h := range o.head {
		if !x.stems[h] {
			continue
		}
		if i == 0 && !o.light {
			return true
		}
		n++
	}
	if n == 1 && !o.light {
		for _, w := range x.wants {
			if w.verbs&o.verbs&^actRead != 0 {
				return true
			}
		}
	}
	return n >= 2
}

// details reports whether a leaf's value stands in an order.
func (l *look) details(j int, o *order, tool *tool) bool {
	far := tool.fits(o.act, false)
	typed, words := 0, 0
	for i := range l.seen[j].prints {
		t := &l.seen[j].prints[i]
		has := o.has(t, far)
		if t.kind != kindWord && has {
			typed++
		}
		if t.kind == kindWord {
			if !has {
				return false
			}
			words++
		}
	}
	return typed > 0 || words > 0
}

// findings is the worst that inspection found where the values come from.
func (l *look) findings(r *Report) {
	f := &r.Facts
	for i := range r.Leaves {
		leaf := &r.Leaves[i]
		if leaf.From == nil || !leaf.From.Untrusted || leaf.Asked == Yes {
			continue
		}
		if leaf.suspect() && leaf.Role == Recipient || leaf.Hostile && !leaf.Trusted || leaf.Ordered {
			f.SourceFinding = max(f.SourceFinding, leaf.From.Tier)
		}
	}
	if r.Order != nil {
		f.SourceFinding = max(f.SourceFinding, r.Order.Tier)
	}
}
