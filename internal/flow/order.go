package flow

import (
	"bytes"
	"slices"
)

// A sentence orders something where a verb stands as orders do: first, or after words
// like "please", "must" or "and then". The same reading serves the user's words and the
// orders of untrusted texts.

// spoken is one word of a folded text with what the lexicon says of it.
type spoken struct {
	word
	start, end int
	capital    bool // written with one
	passive    bool // a participle: what is to be done is said of what it is done to
}

// clause is one act that a text asks for.
type clause struct {
	act
	sentence int
	at       int    // its verb, among the words
	name     int    // the word that names whom or what it is for, 0 if none does
	stem     []byte // the verb, where it is no word of its own
}

// speech is a text read for acts. It is not safe for concurrent use.
type speech struct {
	words    []spoken
	sentence []int // of every word
	ends     []int // the word after the last of every sentence
	clauses  []clause
	// lenient takes verbs for orders that merely stand before what they act on, as in
	// what a user asks; bold takes those written with a capital in the middle of a
	// sentence, as where somebody put words into another text.
	lenient, bold bool
}

func (s *speech) reset() {
	s.words, s.sentence, s.ends, s.clauses = s.words[:0], s.sentence[:0], s.ends[:0], s.clauses[:0]
}

// hear adds one word of text, of which lex says what said is.
func (s *speech) hear(lex *vocabulary, said word, text []byte, start, end int, capital bool) {
	n := len(s.words)
	at := 0
	if n > 0 {
		at = s.sentence[n-1]
		first := 0
		if at > 0 {
			first = s.ends[at-1]
		}
		if parts(text[s.words[n-1].end:start], text[start:], capital || n-first > 40) {
			s.ends = append(s.ends, n)
			at++
		}
	}
	w := spoken{word: said, start: start, end: end, capital: capital}
	if n > 0 && s.is(text, n-1, "be") {
		if verb, ok := participle(lex, text[start:end]); ok {
			w.word, w.passive = verb, true
		}
	}
	if start > 0 && isDigit(text[start]) && (text[start-1] == '$' || start > 2 && (string(text[start-2:start]) == "£" || string(text[start-3:start]) == "€")) {
		w.objects |= objMoney
	}
	if w.verbs != 0 && named(text[end:]) {
		w.verbs = 0
	}
	s.words = append(s.words, w)
	s.sentence = append(s.sentence, at)
}

// named reports whether what stands before rest is the name of a field.
func named(rest []byte) bool {
	for i, b := range rest[:min(len(rest), 3)] {
		if b == ':' {
			return true
		}
		if b != '\'' && b != '"' || i == 2 {
			return false
		}
	}
	return false
}

// parts reports whether a sentence ends in the gap between two words. A full stop ends
// one before a capital or a new line only: what follows a quoted question may go on.
func parts(gap, rest []byte, capital bool) bool {
	if len(gap) == 1 && gap[0] != '\n' {
		return gap[0] == ';' || gap[0] == '!' || gap[0] == '?'
	}
	lines := 0
	for i, b := range gap {
		switch b {
		case '.', '!', '?':
			if i+1 < len(gap) && (capital || !isWord(rest[0]) || isDigit(rest[0]) || bytes.IndexByte(gap, '\n') >= 0 || !bytes.ContainsAny(gap[i:], "'\"")) {
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
	open, aside := -1, false
	for i := range s.words {
		w := &s.words[i]
		if open >= 0 && (s.clauses[open].sentence != s.sentence[i] || i-s.clauses[open].at > 16) {
			open = -1
		}
		if w.marks&markAside != 0 {
			aside = true
		} else if aside && (w.marks&(markTo|markLead) != 0 || s.breaks(text, i)) {
			aside = false
		}
		if w.verbs != 0 && s.orders(text, i) && !s.invites(text, i) {
			if open = -1; s.negated(text, i) {
				continue
			}
			s.clauses = append(s.clauses, clause{act: act{w.verbs, ofVerb(w)}, sentence: s.sentence[i], at: i})
			open, aside = len(s.clauses)-1, false
			continue
		}
		if open < 0 {
			continue
		}
		if !aside {
			s.clauses[open].objects |= w.objects
			if c := &s.clauses[open]; w.done != 0 && i-c.at < 5 && slices.Contains(lightVerbs, string(text[s.words[c.at].start:s.words[c.at].end])) {
				c.verbs |= w.done
			}
		}
		if c := &s.clauses[open]; w.capital && c.name == 0 && i > 0 && (i == c.at+1 || s.words[i-1].marks&markTo != 0 && c.verbs&(actSend|actWrite|actPost) != 0 && c.verbs&actGrant == 0) {
			c.name = i
		}
	}
}

// breaks reports whether a comma stands before word i.
func (s *speech) breaks(text []byte, i int) bool {
	return i > 0 && bytes.IndexByte(text[s.words[i-1].end:s.words[i].start], ',') >= 0
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
	chained := len(s.clauses) > 0 && s.clauses[len(s.clauses)-1].sentence == s.sentence[i]
	if i+1 < len(s.words) && (s.is(text, i, "make") && s.is(text, i+1, "sure") || s.is(text, i, "note") && s.is(text, i+1, "that")) {
		return false
	}
	if i+1 < len(s.words) && s.sentence[i+1] == s.sentence[i] && s.told(text, i+1) {
		return false
	}
	if i == 0 || s.sentence[i-1] != s.sentence[i] {
		return true
	}
	if s.words[i].marks&markAbroad != 0 && (s.lenient || s.words[s.first(i)].marks&markLead != 0 && i-s.first(i) < 16) {
		return true
	}
	p := &s.words[i-1]
	gap := text[p.end:s.words[i].start]
	if bytes.ContainsAny(gap, ":\"*>])") {
		return true
	}
	if bytes.IndexByte(gap, ',') >= 0 && (s.lenient || chained || s.words[s.first(i)].marks&markClause != 0) {
		return true
	}
	if s.words[i].passive {
		return s.is(text, i-1, "be") && i > 1 && s.words[i-2].marks&(markLead|markTo) != 0
	}
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
		return pp&markModal != 0 || i > 1 && s.is(text, i-2, "that")
	}
	if s.lenient && i+1 < len(s.words) && s.sentence[i+1] == s.sentence[i] && s.words[i+1].marks&markNext != 0 {
		return true
	}
	if s.bold && s.words[i].capital {
		return true
	}
	return len(gap) > 1 && gap[len(gap)-1] == '\''
}

// first is the first word of the sentence of word i.
func (s *speech) first(i int) int {
	if s.sentence[i] == 0 {
		return 0
	}
	return s.ends[s.sentence[i]-1]
}

// negated reports whether the order is not to do it.
func (s *speech) negated(text []byte, i int) bool {
	for j := i - 1; j >= max(0, i-2) && s.sentence[j] == s.sentence[i]; j-- {
		if bytes.ContainsAny(text[s.words[j].end:s.words[j+1].start], ":,") {
			return false
		}
		if s.words[j].marks&markNot != 0 {
			return true
		}
	}
	return false
}

// reach is how many sentences after its own an order may be about.
const reach = 1

// span is the bytes of the text a clause's details stand in: its sentence and the next.
func (s *speech) span(c clause) (start, end int) {
	first := 0
	if c.sentence > 0 {
		first = s.ends[c.sentence-1]
	}
	last := s.ends[min(c.sentence+reach, len(s.ends)-1)] - 1
	return s.words[first].start, s.words[min(last, c.at+80)].end
}

// ordered is where the sentences stand that order something.
func (s *speech) ordered() (out regions) {
	for _, c := range s.clauses {
		if c.verbs&^actRead == 0 {
			continue
		}
		last := s.ends[c.sentence] - 1
		span := [2]int{s.words[c.at].start, s.words[last].end}
		if n := len(out.spans); n == 0 || out.spans[n-1] != span {
			out.spans = append(out.spans, span)
		}
	}
	return out
}

// plain reports whether a word stands alone, and is no part of an address or a name with
// signs in it, nor a number.
func plain(text []byte, start, end int) bool {
	joint := func(i int) bool {
		return i >= 0 && i < len(text) && bytes.IndexByte([]byte("./@_:"), text[i]) >= 0
	}
	if joint(start-1) && start > 1 && isWord(text[start-2]) || joint(end) && end+1 < len(text) && isWord(text[end+1]) {
		return false
	}
	return !isDigit(text[start])
}

func (s *speech) is(text []byte, i int, word string) bool {
	return string(text[s.words[i].start:s.words[i].end]) == word
}

// invites reports whether a verb asks the reader to get in touch: "call us", "write to
// us at".
func (s *speech) invites(text []byte, i int) bool {
	if s.lenient || s.words[i].verbs&actWrite == 0 {
		return false
	}
	for j := i + 1; j < min(i+3, len(s.words)) && s.sentence[j] == s.sentence[i]; j++ {
		if s.is(text, j, "us") || s.is(text, j, "me") {
			return true
		}
	}
	return false
}

// participle is the verb a participle is of: shared, transferred, sent.
func participle(lex *vocabulary, text []byte) (word, bool) {
	if base, ok := irregular[string(text)]; ok {
		return lex.of([]byte(base)), true
	}
	if n := len(text); n > 4 && string(text[n-2:]) == "ed" {
		for _, base := range [][]byte{text[:n-1], text[:n-2], text[:n-3]} {
			if w := lex.of(base); w.verbs != 0 {
				return w, true
			}
		}
	}
	return word{}, false
}

var irregular = map[string]string{"sent": "send", "paid": "pay", "given": "give", "made": "make", "written": "write", "told": "tell", "bought": "buy", "granted": "grant", "taken": "delete", "set": "set", "put": "put", "reset": "reset", "cut": "cut", "let": "let"}

// told reports whether a word says what the one before it did or is: that one is no verb
// then.
func (s *speech) told(text []byte, i int) bool {
	w := text[s.words[i].start:s.words[i].end]
	switch string(w) {
	case "is", "was", "are", "were", "has", "had", "will", "failed", "succeeded":
		return true
	}
	return len(w) > 6 && string(w[len(w)-2:]) == "ed" && s.words[i].verbs == 0
}
