package flow

import (
	"bytes"
	"math"
	"slices"
)

// user reads words of the user.
func (r *reader) user(k *keys, text string) *part {
	p := &part{kind: partUser}
	f := fold(r.buf[0][:0], []byte(text), true)
	r.buf[0] = f.text[:0]
	r.speech.bold, r.speech.lenient = false, true
	r.text(k, &f, []byte(text), true)
	p.deleg = delegates(f.text, &r.speech)
	for _, c := range r.speech.clauses {
		one := want{act: c.act}
		if w := r.speech.words; c.name > 0 {
			one.name = k.of(kindStem, stem(f.text[w[c.name].start:w[c.name].end]))
		}
		p.wants = append(p.wants, one)
		if c.stem != nil {
			p.stems = append(p.stems, k.of(kindStem, c.stem))
		}
	}
	syllables(f.text, func(part []byte) {
		if len(p.stems) < maxWords {
			p.stems = append(p.stems, k.of(kindStem, part))
		}
	})
	for _, w := range r.speech.words {
		if w.marks&markStop == 0 {
			p.stems = append(p.stems, k.of(kindStem, stem(f.text[w.start:w.end])))
		}
	}
	for _, t := range r.toks {
		if t.kind != kindWord {
			p.typed = append(p.typed, typedPrint{t.fp, t.kind})
		}
	}
	p.said = r.words(k, f.text)
	return p
}

// sent reads a call that was let out.
func (r *reader) sent(x *Index, c Call) *part {
	p := &part{kind: partSent}
	l := look{x: x, c: &c, r: r}
	l.value("", c.Arguments, 0)
	for i := range l.seen {
		for _, t := range l.seen[i].prints {
			if len(p.prints) < maxPrints {
				p.prints = append(p.prints, slot{fp: t.fp})
			}
		}
	}
	return p
}

// lookAhead fills ahead, if it is needed: tokens come in the order they end, nearly.
func (r *reader) lookAhead(needed bool) {
	if r.ahead = r.ahead[:0]; !needed {
		return
	}
	r.ahead = slices.Grow(r.ahead, len(r.toks))[:len(r.toks)]
	least := math.MaxInt
	for i := len(r.toks) - 1; i >= 0; i-- {
		least = min(least, r.toks[i].start)
		r.ahead[i] = least
	}
}

// head is the first words of an order, as they are compared with what the user asked.
func (r *reader) head(k *keys, text []byte, c clause) (out []uint64) {
	s := &r.speech
	out = make([]uint64, 0, maxHead)
	if c.stem != nil {
		out = append(out, k.of(kindStem, c.stem))
	}
	for i := c.at; i < len(s.words) && s.sentence[i] == c.sentence && len(out) < maxHead; i++ {
		if w := &s.words[i]; w.marks&markStop == 0 && plain(text, w.start, w.end) || i == c.at {
			out = append(out, k.of(kindStem, stem(text[w.start:w.end])))
		}
	}
	return out
}

// stem is a word without the commonest English endings.
func stem(word []byte) []byte {
	for _, end := range []string{"ing", "ed", "es", "s"} {
		if len(word) > len(end)+3 && bytes.HasSuffix(word, []byte(end)) {
			return word[:len(word)-len(end)]
		}
	}
	if len(word) > 4 && word[len(word)-1] == 'e' {
		return word[:len(word)-1]
	}
	return word
}

func sorted(prints []uint64) []uint64 {
	slices.Sort(prints)
	return slices.Compact(prints)
}
