package flow

// suspect reports whether a leaf comes from where others write, and neither from the
// user nor from where nobody else writes.
func (leaf *Leaf) suspect() bool {
	return leaf.From != nil && leaf.From.Untrusted && leaf.Asked != Yes && !leaf.Trusted
}

// facts sums up what the leaves say.
func (l *look) facts(tool act) Facts {
	x := l.x
	f := Facts{Sink: true, Asked: Yes, Pointed: true, ActionAsked: x.wanted(tool), Tainted: x.worst, Lost: l.over}
	if !x.known {
		f.Asked = Unknown
	}
	suspects := 0
	for i := range l.leaves {
		leaf := &l.leaves[i]
		f.ContentLabels = merge(f.ContentLabels, leaf.Scopes)
		if leaf.Role != Recipient {
			continue
		}
		if leaf.Asked == No {
			f.Asked = No
		}
		f.Novel = f.Novel || leaf.Novel
		f.Lost = f.Lost || leaf.Lost
		if !leaf.suspect() {
			continue
		}
		suspects++
		f.RecipientUntrusted = true
		f.Pointed = f.Pointed && leaf.From.Pointed
		f.Replaced = f.Replaced || x.replaced(&l.seen[i])
	}
	f.Pointed = f.Pointed && suspects > 0
	return f
}

// replaced reports whether the user named something of the same kind, and not this.
func (x *Index) replaced(s *seen) bool {
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
	return false
}

// wanted reports whether the user asked for something a tool does.
func (x *Index) wanted(tool act) Answer {
	if !x.known {
		return Unknown
	}
	if x.delegates {
		return Yes
	}
	if tool.verbs == 0 {
		return Yes // nobody can say what it does
	}
	for _, w := range x.wants {
		if w.fits(tool) {
			return Yes
		}
	}
	return No
}

// order finds the order of an untrusted result that a call follows: one for such an act
// that has a value of the call which neither the user nor a trusted result has.
func (l *look) order(tool act, f *Facts) *Source {
	best, rank := -1, -1
	for i := range l.x.orders {
		o := &l.x.orders[i]
		src := &l.x.sources[o.source-l.x.first]
		if !o.fits(tool) {
			continue
		}
		n := 0
		for j := range l.leaves {
			if l.details(j, o) {
				l.leaves[j].Ordered = true
				n++
			}
		}
		if n == 0 {
			continue
		}
		r := 2*int(src.tier) + 1
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
	return l.x.public(uint32(l.x.orders[best].source))
}

// details reports whether a leaf's value stands in an order and nowhere the user or a
// trusted result has it.
func (l *look) details(j int, o *order) bool {
	leaf, s := &l.leaves[j], &l.seen[j]
	if leaf.Asked == Yes || leaf.Trusted && leaf.Role != Recipient || len(s.prints) == 0 {
		return false
	}
	typed, words := 0, 0
	for _, t := range s.prints {
		has := o.has(t.print)
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
	return typed > 0 || words > 0 && (!leaf.Trusted)
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
