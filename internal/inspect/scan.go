package inspect

import "slices"

// scan is the working memory of one inspection.
type scan struct {
	opened  func(Layer) // told of every text decoded, nil if nobody asked
	e       *Engine
	profile Profile
	tokens  []token
	state   []partial
	armed   bits // states of the sentence being read
	coming  bits // those of the next one
	found   []Finding
	budget  int // bytes that may still be decoded
	dropped bool
	spare   []byte    // room for one text
	spares  []*column // room for those of a message, of which the first taken are in use
	taken   int
	pieces  [][2]int // of the column being read

	// Of the sentence being read, as ends of words; -1 where there is none.
	begun     int32
	quoting   int32
	describes int32
	unbounded int32
	talked    bool // the whole text is about such things
	json      bool // the text is a document: its quotation marks quote nobody
	rotated   int
	backwards int
}

// layer is one view of a leaf: what is matched, and where it came from.
type layer struct {
	view
	pointer string
	chain   []string
	glued   bool
}

// match runs the rules of words over one view, and tells how its words are written where
// they have bounds.
func (s *scan) match(l layer) (sh shape) {
	if l.glued {
		s.tokens = s.e.words.find(s.tokens[:0], l.text, true)
	} else {
		s.tokens, sh = s.e.words.search(s.tokens, l.text)
	}
	s.rotated, s.backwards = 0, 0
	if len(s.tokens) == 0 {
		return sh
	}
	s.coming = bits{}
	s.breakSentence(0)
	s.talked = s.talksOf()
	s.quoting = -1
	sp := &s.e.special
	for _, t := range s.tokens {
		for _, c := range s.e.words.words[t.word].classes {
			switch c {
			case sp.stop:
				s.step(l, t, c)
				s.breakSentence(t.end)
				continue
			case sp.quoter:
				if !inName(l.text, t) {
					s.quoting = t.end
				}
			case sp.describe:
				if s.describes < 0 {
					s.describes = t.end
				}
			case sp.unbound:
				s.unbounded = t.end
			case sp.rot13:
				s.rotated++
			case sp.reversed:
				s.backwards++
			}
			s.step(l, t, c)
		}
	}
	return sh
}

// inName reports whether a word is a part of the name of a machine, as the last one
// of "drop.example": it speaks of nothing.
func inName(text []byte, t token) bool {
	return t.start > 1 && text[t.start-1] == '.' && wordByte(text[t.start-2])
}

// talksOf reports whether a result is about attacks: two different words say so.
func (s *scan) talksOf() bool {
	if s.profile != Result {
		return false
	}
	first := -1
	for _, t := range s.tokens {
		if !s.e.quotes[t.word] {
			continue
		}
		if first >= 0 && first != int(t.word) {
			return true
		}
		first = int(t.word)
	}
	return false
}

func (s *scan) breakSentence(at int32) {
	s.armed, s.coming = s.coming, bits{}
	s.begun, s.describes, s.unbounded = at, -1, -1
}

// step lets every rule that waits for a word of class c take t. For each step only
// the latest place counts where the steps before it ended: the distance to it is
// the smallest there is.
func (s *scan) step(l layer, t token, c class) {
	if s.armed.meets(&s.e.needs[c]) {
		for _, ref := range s.e.later[c] {
			if !s.armed.has(ref.from) {
				continue
			}
			p := s.state[ref.from]
			if t.start < p.end || t.start-p.end > ref.gap {
				continue
			}
			s.take(l, ref, p.start, t.end, c)
		}
	}
	for _, ref := range s.e.first[c] {
		s.take(l, ref, t.start, t.end, c)
	}
}

func (s *scan) take(l layer, ref ref, start, end int32, c class) {
	if ref.to < 0 {
		s.hit(l, &s.e.rules[ref.rule], start, end)
		return
	}
	s.state[ref.to] = partial{start: start, end: end}
	if c == s.e.special.stop { // the next word is of the next sentence
		s.coming.add(ref.to)
	} else {
		s.armed.add(ref.to)
	}
}

// hit notes that the bytes [start, end) of the view satisfy r.
func (s *scan) hit(l layer, r *rule, start, end int32) {
	weight := r.def
	if s.profile == Result {
		weight = r.res
	}
	if weight == 0 || r.not != "" && s.within(r.undo, start, end) || l.glued && weight < gluedAt {
		return
	}
	f := Finding{Rule: r.id, Family: r.family, Hard: r.hard, Weight: weight, Why: r.why}
	if !r.fixed {
		f.Position = s.position(l, start, end)
		if f.Position != Imperative {
			f.Hard = false
			f.Weight *= lowered
		}
	}
	s.add(l, f, start, end)
}

// within reports whether a word of class c lies in [start, end).
func (s *scan) within(c class, start, end int32) bool {
	for _, t := range s.tokens {
		if t.start >= start && t.end <= end && slices.Contains(s.e.words.words[t.word].classes, c) {
			return true
		}
	}
	return false
}

// add keeps a finding of the bytes [start, end) of the view, once a place.
func (s *scan) add(l layer, f Finding, start, end int32) {
	f.Pointer, f.Decoded = l.pointer, l.chain
	f.Start, f.End = l.raw(int(start)), l.rawEnd(int(end))
	for i, g := range s.found {
		if g.Rule == f.Rule && g.Pointer == f.Pointer && (g.Start < f.End && f.Start < g.End) {
			if f.Weight > g.Weight {
				s.found[i] = f
			}
			return
		}
	}
	if len(s.found) >= maxFindings {
		s.weakest(f)
		return
	}
	s.found = append(s.found, f)
}

// weakest puts f in the place of the weakest finding, if that is weaker.
func (s *scan) weakest(f Finding) {
	s.dropped = true
	w := 0
	for i, g := range s.found {
		if g.Weight < s.found[w].Weight {
			w = i
		}
	}
	if s.found[w].Weight < f.Weight {
		s.found[w] = f
	}
}

// How a sentence stands to its reader.
const (
	lowered    = 0.5
	gluedAt    = 0.5 // what a rule must weigh where words have no bounds
	quoteReach = 160 // bytes a word like "example" reaches
)

// position judges the sentence round [start, end).
func (s *scan) position(l layer, start, end int32) Position {
	if s.talked || s.quoting >= 0 && s.quoting <= start && start-s.quoting < quoteReach || quoted(l.text, s.begun, start, end, s.json) {
		return Quoting
	}
	if s.describes >= 0 && s.describes <= start || s.unbounded >= 0 && s.unbounded <= start && start-s.unbounded <= 2 {
		return Describing
	}
	return Imperative
}

// quoted reports whether [start, end) stands inside quotation marks or code that
// open after from and close within reach. Those of a document only bound its strings.
func quoted(text []byte, from, start, end int32, document bool) bool {
	marks := []byte{'"', '`', '\''}
	if document {
		marks = marks[1:]
	}
	for _, q := range marks {
		open := false
		for i := min(max(from, start-quoteReach), start); i < start; i++ {
			if text[i] != q {
				continue
			}
			opens, closes := i == 0 || !wordByte(text[i-1]), int(i)+1 >= len(text) || !wordByte(text[i+1])
			switch {
			case !open && opens:
				open = true
			case open && closes:
				open = false
			}
		}
		if open && slices.Contains(text[end:min(int(end)+quoteReach, len(text))], q) {
			return true
		}
	}
	return false
}
