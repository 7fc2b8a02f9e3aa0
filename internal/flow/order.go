package flow

import "bytes"

// A sentence orders something where a verb stands as orders do: first, or after words
// like "please", "must" or "and then". The same reading serves the user's words and the
// orders of untrusted texts.

// spoken is one word of a folded text with what the lexicon says of it.
type spoken struct {
	word
	start, end int
}

// clause is one act that a text asks for.
type clause struct {
	act
	sentence int
	at       int // its verb, among the words
}

// speech is a text read for acts. It is not safe for concurrent use.
type speech struct {
	words    []spoken
	sentence []int // of every word
	ends     []int // the word after the last of every sentence
	clauses  []clause
}

func (s *speech) reset() {
	s.words, s.sentence, s.ends, s.clauses = s.words[:0], s.sentence[:0], s.ends[:0], s.clauses[:0]
}

// hear adds one word of text.
func (s *speech) hear(lex map[string]word, text []byte, start, end int) {
	n := len(s.words)
	at := 0
	if n > 0 {
		at = s.sentence[n-1]
		if parts(text[s.words[n-1].end:start], text[start:]) {
			s.ends = append(s.ends, n)
			at++
		}
	}
	s.words = append(s.words, spoken{lex[string(text[start:end])], start, end})
	s.sentence = append(s.sentence, at)
}

// parts reports whether a sentence ends in the gap between two words.
func parts(gap, rest []byte) bool {
	if len(gap) == 1 {
		return gap[0] == ';' || gap[0] == '!' || gap[0] == '?'
	}
	lines := 0
	for i, b := range gap {
		switch b {
		case '.', '!', '?':
			if i+1 < len(gap) {
				return true
			}
		case ';':
			return true
		case '-', '*', '#', '|':
			if lines > 0 {
				return true
			}
		case '\n':
			lines++
		}
	}
	return lines > 1 || lines == 1 && keyed(rest)
}

// keyed reports whether a line begins with a name and a colon, or a number.
func keyed(line []byte) bool {
	line = line[:min(len(line), 40)]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	i := bytes.IndexByte(line, ':')
	return i > 0 && bytes.Count(line[:i], []byte(" ")) < 3 || len(line) > 1 && isDigit(line[0]) && (line[1] == '.' || line[1] == ')')
}

// finish finds the acts of what was heard.
func (s *speech) finish(text []byte) {
	if len(s.words) == 0 {
		return
	}
	s.ends = append(s.ends, len(s.words))
	open := -1
	for i := range s.words {
		w := &s.words[i]
		if open >= 0 && (s.clauses[open].sentence != s.sentence[i] || i-s.clauses[open].at > 16) {
			open = -1
		}
		if w.verbs != 0 && s.orders(text, i) {
			if open = -1; s.negated(i) {
				continue
			}
			s.clauses = append(s.clauses, clause{act{w.verbs, ofVerb(w)}, s.sentence[i], i})
			open = len(s.clauses) - 1
			continue
		}
		if open >= 0 {
			s.clauses[open].objects |= w.objects
		}
	}
}

// ofVerb is what a verb says of its object by itself: to pay is to pay money.
func ofVerb(w *spoken) uint16 {
	if w.verbs&^actRead == 0 {
		return 0
	}
	return w.implied
}

// orders reports whether word i stands as a verb of an order.
func (s *speech) orders(text []byte, i int) bool {
	if i == 0 || s.sentence[i-1] != s.sentence[i] {
		return true
	}
	p := &s.words[i-1]
	if p.marks&(markDet|markNot) != 0 && p.marks&markLead == 0 {
		return p.marks&markNot != 0
	}
	if p.marks&markLead != 0 {
		return true
	}
	var pp uint16
	if i > 1 && s.sentence[i-2] == s.sentence[i] {
		pp = s.words[i-2].marks
	}
	switch {
	case p.marks&markTo != 0:
		return pp&(markOblige|markLead) != 0
	case p.marks&markYou != 0:
		return pp&markModal != 0
	}
	gap := text[p.end:s.words[i].start]
	return bytes.IndexAny(gap, ":,\"*>])") >= 0 || len(gap) > 1 && gap[len(gap)-1] == '\''
}

// negated reports whether the order is not to do it.
func (s *speech) negated(i int) bool {
	for j := i - 1; j >= max(0, i-2) && s.sentence[j] == s.sentence[i]; j-- {
		if s.words[j].marks&markNot != 0 {
			return true
		}
	}
	return false
}

// reach is how many sentences after its own an order may be about.
const reach = 2

// span is the bytes of the text a clause's details stand in: its sentence and the next.
func (s *speech) span(c clause) (start, end int) {
	first := 0
	if c.sentence > 0 {
		first = s.ends[c.sentence-1]
	}
	last := s.ends[min(c.sentence+reach, len(s.ends)-1)] - 1
	return s.words[first].start, s.words[min(last, c.at+80)].end
}
