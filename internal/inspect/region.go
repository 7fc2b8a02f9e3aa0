package inspect

import (
	"bytes"
	"strconv"

	"rutile/internal/rawjson"
)

// Values are the secrets and personal data in one string or number of a document.
type Values struct {
	Pointer string
	Value   rawjson.Value
	Text    string // of a string unescaped, of a number as it is written
	Found   []Datum
}

// A value needs something round it that stands out: digits close together, a long
// word of letters and digits, an address, a name of secrets. Where a long text has
// nothing of that kind no detector is asked; else they are asked of what stands
// round it, up to the next white space.
const (
	wholeBelow = 512 // bytes of a text that is not cut in regions
	regionSide = 160 // bytes before and after what stands out
	longWord   = 9   // letters, digits, '_' and '-', with a letter and a digit among them
	manyDigits = 6   // with nothing but signs between them
	// Bytes of a value that is read with the name of its member.
	shortestField, longestField = 5, 256
	fieldBelow                  = 32 // bytes of a text in which one digit is enough: it may be a field, and costs little
)

// Data returns the secrets and personal data in the strings and numbers of v, in
// document order; keys are read too, and told at their member with no Value. over
// reports that v has more strings than are read, or is nested deeper.
func (e *Engine) Data(v rawjson.Value) (all []Values, over bool) {
	w := dataWalk{e: e}
	w.value("", v, 0)
	return w.all, w.over
}

type dataWalk struct {
	e    *Engine
	all  []Values
	buf  []byte
	n    int
	over bool
}

func (w *dataWalk) value(pointer string, v rawjson.Value, depth int) {
	if depth > maxNesting || w.n > maxResultLeaves {
		w.over = true
		return
	}
	switch v.Kind() {
	case rawjson.String:
		w.buf = rawjson.AppendUnescaped(w.buf[:0], v)
		w.text(pointer, v, w.buf)
	case rawjson.Number:
		if len(v.Raw()) >= 8 {
			w.text(pointer, v, v.Raw())
		}
	case rawjson.Array:
		i := 0
		for item := range v.Items() {
			w.value(pointer+"/"+strconv.Itoa(i), item, depth+1)
			i++
		}
	case rawjson.Object:
		for key, member := range v.Members() {
			name, _ := key.Str()
			if isOpaque(v, name, depth) {
				continue
			}
			at := pointer + "/" + escapeKey(name)
			if len(name) > 6 {
				w.text(at, rawjson.Value{}, []byte(name))
			}
			before := len(w.all)
			w.value(at, member, depth+1)
			if len(w.all) == before {
				w.field(at, name, member)
			}
		}
	}
}

// field reads a value on which nothing stands out together with the name of its member,
// which may be the word that tells what it is.
func (w *dataWalk) field(pointer, name string, v rawjson.Value) {
	if v.Kind() != rawjson.String && v.Kind() != rawjson.Number || len(v.Raw()) < shortestField || len(v.Raw()) > longestField || !telling(name) {
		return
	}
	text := v.Raw()
	if v.Kind() == rawjson.String {
		w.buf = rawjson.AppendUnescaped(w.buf[:0], v)
		text = w.buf
	}
	before := spread(name) + ": "
	var found []Datum
	for _, d := range w.e.Sensitive(append([]byte(before), text...)) {
		if d.Start -= len(before); d.Start >= 0 {
			d.End -= len(before)
			found = append(found, d)
		}
	}
	if len(found) > 0 {
		w.all = append(w.all, Values{Pointer: pointer, Value: v, Text: string(text), Found: found})
	}
}

func (w *dataWalk) text(pointer string, v rawjson.Value, text []byte) {
	w.n++
	if found := w.e.regions(text); len(found) > 0 {
		w.all = append(w.all, Values{Pointer: pointer, Value: v, Text: string(text), Found: found})
	}
}

// Values returns the secrets and personal data of one text.
func (e *Engine) Values(text []byte) []Datum { return e.regions(text) }

// regions asks the detectors of data of what stands out in text.
func (e *Engine) regions(text []byte) []Datum {
	if !e.standsOut(text) {
		return e.withNames(nil, text)
	}
	if len(text) <= wholeBelow {
		return e.Sensitive(text)
	}
	var found []Datum
	for from := 0; from < len(text); {
		at, end := e.nextCue(text, from)
		if at < 0 {
			break
		}
		start := blankBefore(text, max(from, at-regionSide))
		for { // regions that touch are one
			stop := blankAfter(text, min(len(text), end+regionSide))
			next, nextEnd := e.nextCue(text, end)
			if next < 0 || next-regionSide > stop {
				end = stop
				break
			}
			end = nextEnd
		}
		if key := bytes.Index(text[start:end], []byte(keyBegins)); key >= 0 {
			if last := bytes.Index(text[start+key+1:], []byte("-----END")); last >= 0 {
				end = max(end, min(len(text), start+key+1+last+64))
			}
		}
		for _, d := range e.Sensitive(text[start:end]) {
			d.Start, d.End = d.Start+start, d.End+start
			if len(found) == 0 || found[len(found)-1].End <= d.Start {
				found = append(found, d)
			}
		}
		from = end
	}
	return e.withNames(found, text)
}

func (e *Engine) standsOut(text []byte) bool {
	if len(text) < fieldBelow && bytes.ContainsAny(text, "0123456789") {
		return true
	}
	at, _ := e.nextCue(text, 0)
	return at >= 0
}

// blankBefore and blankAfter are the nearest white space, so that no word is cut.
func blankBefore(text []byte, i int) int {
	for n := 0; i > 0 && text[i-1] > ' ' && n < 4096; n++ {
		i--
	}
	return i
}

func blankAfter(text []byte, i int) int {
	for n := 0; i < len(text) && text[i] > ' ' && n < 4096; n++ {
		i++
	}
	return i
}

// What a byte is to nextCue.
const (
	isLetter = 1 << iota
	isDigit
	isJoint // stands inside a word: '_' and '-'
	isSign  // stands between digits
	isAt
	isCueByte // a cue may begin here
)

func byteKinds() (k [256]byte) {
	for b := range 256 {
		switch c := byte(b); {
		case c >= '0' && c <= '9':
			k[b] = isDigit
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			k[b] = isLetter
		case c == '_':
			k[b] = isJoint
		case c == '-':
			k[b] = isJoint | isSign
		case c == ' ' || c == '.' || c == '/' || c == '(' || c == ')' || c == '+' || c == ':':
			k[b] = isSign
		case c == '@':
			k[b] = isAt
		case c >= 0x80:
			k[b] = isLetter
		}
	}
	for _, c := range cues {
		k[c.word[c.at]] |= isCueByte
	}
	return k
}

// nextCue finds the first place from on that stands out, -1 where there is none.
func (e *Engine) nextCue(text []byte, from int) (start, end int) {
	word, letters, digits := from, 0, 0 // of the word that is being read
	row, many := from, 0                // of digits close together
	for i := from; i < len(text); i++ {
		k := e.kinds[text[i]]
		if k&isCueByte != 0 {
			for _, c := range e.cues[text[i]] {
				if at := i - c.at; at >= from && len(text)-at >= len(c.word) && string(text[at:at+len(c.word)]) == c.word {
					return at, at + len(c.word)
				}
			}
		}
		switch {
		case k&isLetter != 0:
			letters++
			many = 0
			continue
		case k&isDigit != 0:
			if many == 0 {
				row = i
			}
			digits++
			if many++; many >= manyDigits {
				return row, i + 1
			}
			if codeAt(text, i) {
				return i, i + 1
			}
			continue
		case k&isAt != 0:
			return i, i + 1
		}
		if k&isSign == 0 {
			many = 0
		}
		if k&isJoint != 0 {
			continue
		}
		if letters > 0 && digits > 0 && i-word >= longWord {
			return word, i
		}
		word, letters, digits = i+1, 0, 0
	}
	if letters > 0 && digits > 0 && len(text)-word >= longWord {
		return word, len(text)
	}
	return -1, -1
}
