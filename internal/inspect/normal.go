package inspect

import (
	"sort"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"rutile/internal/glyph"
)

// view is a text as it is matched, with the way back to the text as it was
// received. Text is never forwarded in this form.
type view struct {
	text []byte
	// marks lead from an offset of text to one of the source, one where the two
	// stop running alike; none where they never do.
	marks []mark
	// flat is set where all of text came out of source bytes [from, to), as when
	// it was decoded.
	flat     bool
	from, to int
	base     int // added to offsets, when there are no marks
}

type mark struct{ at, raw int }

// raw returns the offset in the source of byte n of the text.
func (v *view) raw(n int) int {
	if v.flat {
		return v.from
	}
	if len(v.marks) == 0 {
		return v.base + n
	}
	i := sort.Search(len(v.marks), func(i int) bool { return v.marks[i].at > n }) - 1
	if i < 0 {
		return n
	}
	raw := v.marks[i].raw + n - v.marks[i].at
	if i+1 < len(v.marks) {
		raw = min(raw, v.marks[i+1].raw)
	}
	return min(raw, v.to)
}

// rawEnd returns where in the source the text before byte n ends.
func (v *view) rawEnd(n int) int {
	switch {
	case v.flat:
		return v.to
	case len(v.marks) == 0:
		return v.base + n
	case n >= len(v.text):
		return v.to
	case n == 0:
		return v.raw(0)
	}
	return max(v.raw(n-1)+1, min(v.raw(n), v.to))
}

// put appends text that stands for the source from raw on.
func (v *view) put(raw int, text ...byte) {
	at := len(v.text)
	if n := len(v.marks); n == 0 || v.marks[n-1].raw+at-v.marks[n-1].at != raw {
		if n > 0 && v.marks[n-1].at == at {
			v.marks[n-1].raw = raw
		} else {
			v.marks = append(v.marks, mark{at, raw})
		}
	}
	v.text = append(v.text, text...)
}

// normalise returns text as it is matched: entities, percent and backslash
// escapes undone, compatibility forms taken apart (NFKD), marks and format runes
// left out, look-alikes made Latin, white space collapsed.
func (e *Engine) normalise(text []byte) view {
	v := view{text: make([]byte, 0, len(text)), to: len(text)}
	v.marks = append(v.marks, mark{})
	for i := 0; i < len(text); {
		b := text[i]
		switch {
		case b == ' ' || b == '\t' || b == '\n' || b == '\r':
			i = v.space(text, i)
			continue
		case b == '&' || b == '%' || b == '\\':
			if r, n := escape(text[i:]); n > 0 {
				e.putRune(&v, i, r)
				i += n
				continue
			}
		case b >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(text[i:])
			e.putRune(&v, i, r)
			i += n
			continue
		}
		v.put(i, b)
		i++
	}
	return v
}

// space takes the white space at i: one blank, one line, or one empty line.
func (v *view) space(text []byte, i int) int {
	lines, j := 0, i
	for ; j < len(text) && (text[j] == ' ' || text[j] == '\t' || text[j] == '\n' || text[j] == '\r'); j++ {
		if text[j] == '\n' {
			lines++
		}
	}
	switch lines {
	case 0:
		v.put(i, ' ')
	case 1:
		v.put(i, '\n')
	default:
		v.put(i, '\n', '\n')
	}
	return j
}

// putRune appends r as it is compared.
func (e *Engine) putRune(v *view, raw int, r rune) {
	var buf [utf8.UTFMax]byte
	if r < utf8.RuneSelf {
		if r >= ' ' || r == '\n' {
			v.put(raw, byte(r))
		}
		return
	}
	if glyph.Unseen(r) {
		return
	}
	if to, ok := e.fold[r]; ok {
		v.put(raw, byte(to))
		return
	}
	n := utf8.EncodeRune(buf[:], r)
	apart := norm.NFKD.Properties(buf[:n]).Decomposition()
	if apart == nil {
		v.put(raw, buf[:utf8.EncodeRune(buf[:], unicode.ToLower(r))]...)
		return
	}
	var folded [64]byte
	out := folded[:0]
	for i := 0; i < len(apart); {
		p, n := utf8.DecodeRune(apart[i:])
		i += n
		switch to, ok := e.fold[p]; {
		case unicode.Is(unicode.Mn, p) || glyph.Unseen(p):
		case ok:
			out = append(out, byte(to))
		default:
			out = utf8.AppendRune(out, unicode.ToLower(p))
		}
	}
	if len(out) > 0 {
		v.put(raw, out...)
	}
}

// skeleton is s in the form texts are compared in.
func (e *Engine) skeleton(s string) string {
	v := e.normalise([]byte(s))
	for i, b := range v.text {
		if b >= 'A' && b <= 'Z' {
			v.text[i] = b | 0x20
		}
	}
	return string(v.text)
}

// escape undoes one HTML entity, percent or backslash escape at the start of
// text and returns its length, 0 if there is none.
func escape(text []byte) (rune, int) {
	if len(text) < 3 {
		return 0, 0
	}
	switch text[0] {
	case '%':
		if r, ok := hexRune(text[1:3]); ok && r >= ' ' && r < 0x7f {
			return r, 3
		}
	case '\\':
		width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[1]]
		if width > 0 && len(text) >= 2+width {
			if r, ok := hexRune(text[2 : 2+width]); ok {
				return r, 2 + width
			}
		}
		if text[1] == 'u' && text[2] == '{' {
			return closed(text, 3, '}', hexRune)
		}
	case '&':
		switch {
		case text[1] == '#' && (text[2] == 'x' || text[2] == 'X'):
			return closed(text, 3, ';', hexRune)
		case text[1] == '#':
			return closed(text, 2, ';', decimalRune)
		}
		for name, r := range entities {
			if len(text) >= len(name) && string(text[:len(name)]) == name {
				return r, len(name)
			}
		}
	}
	return 0, 0
}

var entities = map[string]rune{"&lt;": '<', "&gt;": '>', "&amp;": '&', "&quot;": '"', "&apos;": '\'', "&nbsp;": ' ', "&sol;": '/', "&colon;": ':', "&period;": '.'}

func closed(text []byte, from int, end byte, read func([]byte) (rune, bool)) (rune, int) {
	for i := from; i < min(len(text), from+9); i++ {
		if text[i] == end {
			if r, ok := read(text[from:i]); ok {
				return r, i + 1
			}
			return 0, 0
		}
	}
	return 0, 0
}

func hexRune(digits []byte) (rune, bool) {
	r := rune(0)
	for _, d := range digits {
		n, ok := hexDigit(d)
		if !ok || r > unicode.MaxRune {
			return 0, false
		}
		r = r<<4 | rune(n)
	}
	return r, len(digits) > 0 && r <= unicode.MaxRune
}

func decimalRune(digits []byte) (rune, bool) {
	r := rune(0)
	for _, d := range digits {
		if d < '0' || d > '9' || r > unicode.MaxRune {
			return 0, false
		}
		r = r*10 + rune(d-'0')
	}
	return r, len(digits) > 0 && r <= unicode.MaxRune
}

func hexDigit(d byte) (byte, bool) {
	switch {
	case d >= '0' && d <= '9':
		return d - '0', true
	case d|0x20 >= 'a' && d|0x20 <= 'f':
		return d | 0x20 - 'a' + 10, true
	default:
		return 0, false
	}
}
