package flow

import (
	"bytes"

	"rutile/internal/rawjson"
)

// maxEcho bounds the bytes of arguments that a trusted result is compared with. The
// answer to a call with more vouches for nothing.
const maxEcho = 8 << 10

// leastPiece is how long a value is that is looked for inside of others.
const leastPiece = 4

// echo is what the arguments of a call say. A result that says the same tells nothing
// that the caller did not: "nothing matches X" is no reason to trust X.
type echo struct {
	words map[string]bool
	all   []byte // the letters and digits of the values, one after the other
	names []byte // those of the names of members
	over  bool
}

// echoOf reads the arguments of a call, and what is encoded in them.
func (r *reader) echoOf(args rawjson.Value) *echo {
	e := &echo{words: map[string]bool{}}
	e.value(r, args, 0)
	return e
}

func (e *echo) value(r *reader, v rawjson.Value, depth int) {
	if e.over = e.over || depth > maxNested; e.over {
		return
	}
	switch v.Kind() {
	case rawjson.String:
		text := bytes.Clone(r.unescape(v))
		if inner, ok := nestedJSON(text); ok {
			e.value(r, inner, depth+1)
			return
		}
		e.text(&e.all, text, 0)
	case rawjson.Number:
		e.text(&e.all, v.Raw(), 0)
	case rawjson.Array:
		for item := range v.Items() {
			e.value(r, item, depth+1)
		}
	case rawjson.Object:
		for key, m := range v.Members() {
			name, _ := key.Str()
			e.text(&e.names, []byte(name), 0)
			e.value(r, m, depth+1)
		}
	}
}

func (e *echo) text(to *[]byte, text []byte, depth int) {
	if len(text)+len(e.all)+len(e.names) > maxEcho {
		e.over = true
		return
	}
	f := fold(nil, text, false)
	eachRun(f.text, func(run []byte) {
		e.words[string(run)] = true
		*to = append(*to, run...)
	})
	if depth >= maxDepth {
		return
	}
	for _, inner := range decoded(text) {
		e.text(to, inner, depth+1)
	}
}

// repeats reports whether the arguments said what a folded text says: all of its words,
// or its letters and digits in a row.
func (e *echo) repeats(text []byte) bool {
	if e == nil {
		return false
	}
	if e.over {
		return true
	}
	whole, said := make([]byte, 0, 64), true
	eachRun(text, func(run []byte) {
		whole = append(whole, run...)
		said = said && e.words[string(run)]
	})
	return len(whole) > 0 && (said || len(whole) >= leastPiece && (bytes.Contains(e.all, whole) || bytes.Contains(e.names, whole)))
}

// eachRun calls do with every run of letters and digits of a folded text.
func eachRun(text []byte, do func(run []byte)) {
	for i := 0; i < len(text); {
		start := i
		for i < len(text) && isWord(text[i]) {
			i++
		}
		if i > start {
			do(text[start:i])
			continue
		}
		i++
	}
}
