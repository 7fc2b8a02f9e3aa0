package inspect

// Normalise returns text as it is matched, and where each byte of it came from.
func Normalise(e *Engine, text []byte) ([]byte, []int) {
	v := e.normalise(text)
	raw := make([]int, len(v.text))
	for i := range raw {
		raw[i] = v.raw(i)
	}
	return v.text, raw
}

// Everywhere is the engine that looks for every kind of data in all of a text.
func Everywhere(e *Engine) *Engine {
	all := &Engine{given: e.given, words: e.words, first: e.first, later: e.later, needs: e.needs, states: e.states, special: e.special,
		telling: e.telling, quotes: e.quotes, added: e.added, ordering: e.ordering, fold: e.fold, kinds: e.kinds, cues: e.cues}
	for _, d := range e.sensitive {
		d.word, d.longest, d.single, d.sieve = 0, 0, false, sieve{}
		all.sensitive = append(all.sensitive, d)
	}
	return all
}

// Words are the words of the lexicon in a text, looked for where they can begin and at
// every byte, and whether the text has as many numbers as a list of codes.
func Words(e *Engine, text []byte) (fast, plain []Word, isCoded, plainCoded bool) {
	list, sh := e.words.search(nil, text)
	for _, t := range list {
		fast = append(fast, Word{e.words.words[t.word].text, int(t.start), int(t.end)})
	}
	for _, t := range e.words.find(nil, text, false) {
		plain = append(plain, Word{e.words.words[t.word].text, int(t.start), int(t.end)})
	}
	return fast, plain, sh.coded, coded(text)
}

// Word is a word of the lexicon in a text.
type Word struct {
	Text       string
	Start, End int
}

// Lexicon is all words that are looked for.
func Lexicon(e *Engine) (out []string) {
	for _, w := range e.words.words {
		out = append(out, w.text)
	}
	return out
}

// coded reports whether text has as many short numbers close together as a list
// of codes would.
func coded(text []byte) bool {
	streak, last := 0, -8
	for i, b := range text {
		if b < '0' || b > '9' || i > 0 && wordByte(text[i-1]) {
			continue
		}
		if i-last > 7 {
			streak = 0
		}
		if streak++; streak >= 12 {
			return true
		}
		last = i
	}
	return false
}

// Squeezed reports whether the words of a text are not written as words are, and the
// same by counting byte by byte.
func Squeezed(e *Engine, text []byte) (fast, plain bool) {
	_, sh := e.words.search(nil, text)
	_, _, _, fast = squeeze(text, sh)
	var words, letters, squares, run, short int
	for i := 0; i <= len(text); i++ {
		if i < len(text) && wordByte(text[i]) && text[i] != '_' {
			run++
			continue
		}
		if run > 0 {
			words, letters, squares = words+1, letters+run, squares+run*run
			if run == 1 {
				short++
			}
		}
		run = 0
	}
	plain = len(text) <= longestGlue && letters >= shortestGlue &&
		(words >= 6 && squares*words-letters*letters < letters*words/2 || short >= 10 && short*3 > words*2 || letters > 18*words)
	return fast, plain
}

// Leets counts what stands for letters in a text, fast and one by one.
func Leets(text []byte) (fast, plain int) {
	letter := func(i int) bool { return i >= 0 && i < len(text) && text[i]|0x20 >= 'a' && text[i]|0x20 <= 'z' }
	like := func(i int) bool { return i >= 0 && i < len(text) && leet(text[i]) != 0 }
	for i := range text {
		if like(i) && (letter(i-1) && (letter(i+1) || like(i+1)) || letter(i+1)) {
			plain++
		}
	}
	return leets(text), plain
}

// Places is of how many strings a stream knows that they stand in its tail, after n short
// ones.
func Places(e *Engine, n int) int {
	w := walk{scan: e.begin(Result, 0), places: []place{{}}}
	s := e.Stream()
	for range n {
		s.seam(&w, "/content/0/text", []byte("rain"))
	}
	return len(w.places)
}
