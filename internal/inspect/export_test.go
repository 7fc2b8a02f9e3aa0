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
		d.word, d.longest, d.single = 0, 0, false
		all.sensitive = append(all.sensitive, d)
	}
	return all
}
