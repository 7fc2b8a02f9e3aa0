package inspect

import (
	"fmt"
	"slices"
)

// automaton finds all words of the lexicon in one pass (Aho and Corasick 1975),
// as a table of transitions over classes of bytes. ASCII letters are folded.
type automaton struct {
	class  [256]uint8
	width  int
	next   []uint16 // state*width + class
	output []uint16 // by state: index+1 into words of the longest word that ends here
	chain  []uint16 // by state: the next state with an output among its suffixes
	words  []word
	// Words end at states from ends on; all before them end none.
	ends   int
	begins *begins
}

// word is one literal and what it stands for.
type word struct {
	text    string
	prefix  bool // whatever letters follow belong to it
	classes []class
	// letterStart and letterEnd say where no letter may adjoin.
	letterStart, letterEnd bool
}

const maxStates = 1<<16 - 1

func newAutomaton(words []word) (*automaton, error) {
	a := &automaton{words: words, width: 1}
	for _, w := range words {
		for i := range len(w.text) {
			if b := w.text[i]; a.class[b] == 0 {
				a.class[b] = uint8(a.width)
				a.width++
			}
		}
	}
	for b := byte('A'); b <= 'Z'; b++ {
		a.class[b] = a.class[b|0x20]
	}
	grow := func() {
		a.next = append(a.next, make([]uint16, a.width)...)
		a.output = append(a.output, 0)
		a.chain = append(a.chain, 0)
	}
	grow()
	for n, w := range words {
		at := 0
		for i := range len(w.text) {
			slot := at*a.width + int(a.class[w.text[i]])
			if a.next[slot] == 0 {
				if len(a.output) >= maxStates {
					return nil, fmt.Errorf("the lexicon needs more than %d states", maxStates)
				}
				a.next[slot] = uint16(len(a.output))
				grow()
			}
			at = int(a.next[slot])
		}
		if a.output[at] != 0 {
			return nil, fmt.Errorf("the lexicon has %q twice", w.text)
		}
		a.output[at] = uint16(n + 1)
	}
	a.link()
	a.sort()
	return a, a.setBegins()
}

// sort numbers the states anew, those where no word ends first.
func (a *automaton) sort() {
	var order []int
	for _, ending := range []bool{false, true} {
		if ending {
			a.ends = len(order)
		}
		for s := range a.output {
			if (a.output[s] != 0 || a.chain[s] != 0) == ending {
				order = append(order, s)
			}
		}
	}
	number := make([]uint16, len(order))
	for n, s := range order {
		number[s] = uint16(n)
	}
	next, output, chain := make([]uint16, len(a.next)), make([]uint16, len(order)), make([]uint16, len(order))
	for n, s := range order {
		output[n] = a.output[s]
		if a.chain[s] != 0 {
			chain[n] = number[a.chain[s]]
		}
		for c := range a.width {
			next[n*a.width+c] = number[a.next[s*a.width+c]]
		}
	}
	a.next, a.output, a.chain = next, output, chain
}

// link turns the trie into a table without failures: every state knows where
// each class of bytes leads.
func (a *automaton) link() {
	fail := make([]uint16, len(a.output))
	var queue []uint16
	for c := range a.width {
		if s := a.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		f := fail[s]
		if a.output[f] != 0 {
			a.chain[s] = f
		} else {
			a.chain[s] = a.chain[f]
		}
		// A line break does for a blank inside words.
		blank, line := int(s)*a.width+int(a.class[' ']), int(s)*a.width+int(a.class['\n'])
		wraps := a.next[line] == 0 && a.next[blank] != 0
		for c := range a.width {
			slot, across := int(s)*a.width+c, a.next[int(f)*a.width+c]
			if t := a.next[slot]; t != 0 {
				fail[t] = across
				queue = append(queue, t)
			} else {
				a.next[slot] = across
			}
		}
		if wraps {
			a.next[line] = a.next[blank]
		}
	}
}

// token is a word of the lexicon in a text, as bytes of the view it was seen in.
type token struct {
	word       uint16
	start, end int32
}

// find appends the words of text to dst, by where they end. Where glued, words
// need no space around them: the spaces were lost. Where nothing is, search finds the
// same faster.
func (a *automaton) find(dst []token, text []byte, glued bool) []token {
	at, width, next, ends := 0, a.width, a.next, a.ends
	for i, b := range text {
		if at = int(next[at*width+int(a.class[b])]); at >= ends {
			dst = a.emit(dst, text, at, i+1, glued)
		}
	}
	return dst
}

func (a *automaton) emit(dst []token, text []byte, at, end int, glued bool) []token {
	for s := at; s != 0; s = int(a.chain[s]) {
		if a.output[s] == 0 {
			continue
		}
		n := a.output[s] - 1
		w := &a.words[n]
		if start := end - len(w.text); glued || w.stands(text, start, end) {
			dst = append(dst, token{word: n, start: int32(start), end: int32(w.stop(text, end))})
		}
	}
	return dst
}

// stands reports whether no letter adjoins the word at [start, end) where none may.
func (w *word) stands(text []byte, start, end int) bool {
	return (!w.letterStart || start == 0 || !wordByte(text[start-1])) &&
		(!w.letterEnd || w.prefix || end >= len(text) || !wordByte(text[end]))
}

// stop is where the word ends in text with the letters that belong to it, of which end
// is behind the first.
func (w *word) stop(text []byte, end int) int {
	if w.prefix && w.letterEnd { // what is written without blanks would run on to the end of the sentence
		for end < len(text) && wordByte(text[end]) {
			end++
		}
	}
	return end
}

// wordByte reports whether b continues a word: letters, digits, the underscore and
// every byte of a rune outside ASCII.
func wordByte(b byte) bool {
	c := b | 0x20
	return c >= 'a' && c <= 'z' || b >= '0' && b <= '9' || b == '_' || b >= 0x80
}

func sortedWords(m map[string]*word) []word {
	out := make([]word, 0, len(m))
	for _, w := range m {
		out = append(out, *w)
	}
	slices.SortFunc(out, func(a, b word) int {
		switch {
		case a.text < b.text:
			return -1
		case a.text > b.text:
			return 1
		}
		return 0
	})
	return out
}
