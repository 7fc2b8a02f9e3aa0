package credential

import (
	"bytes"
	"html"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// reading is one way in which a reader of text turns characters back.
type reading struct {
	lead byte // what every character that is turned back begins with
	// char reads one character: what it stands for and how many bytes it takes.
	char func(b []byte) (text []byte, width int)
	// marks are what a text must hold one of to be read this way.
	marks []string
	then  []reading // ways in which what was read is read again
}

// readings are the ways a secret is looked for in, besides its plain forms:
// escapes of JSON, also of JSON in JSON, escapes of URLs and those of HTML, each
// of which may stand in a JSON string. Writers differ in which characters they
// escape, so that no list of forms would hold them all.
func readings() []reading {
	percent := reading{lead: '%', char: percentChar, marks: []string{"%"}}
	entity := reading{lead: '&', char: entityChar, marks: []string{"&"}}
	escape := reading{lead: '\\', char: jsonChar, marks: []string{`\u`, `\/`}}
	twice := percent
	twice.then = []reading{percent}
	escape.then = []reading{escape, percent, entity}
	return []reading{escape, twice, entity}
}

func (r *reading) applies(b []byte) bool {
	if bytes.IndexByte(b, r.lead) < 0 { // the fastest look at a text there is
		return false
	}
	for _, m := range r.marks {
		if bytes.Contains(b, []byte(m)) {
			return true
		}
	}
	return false
}

// view is a text as a reader sees it, and where each of its bytes comes from.
type view struct {
	text  []byte
	of    *view // what was read; nil: the text is its own source
	marks []mark
}

// mark says that the text from at on comes from the source from src on, byte by
// byte, or, if whole, that it is one escape there.
type mark struct {
	at, src int32
	whole   bool
}

// read reads v in another way; changed is false if nothing in it stands for
// something else.
func (v *view) read(r *reading) (out *view, changed bool) {
	out = &view{text: make([]byte, 0, len(v.text)), of: v, marks: []mark{{}}}
	for i := 0; i < len(v.text); {
		plain := bytes.IndexByte(v.text[i:], r.lead)
		if plain < 0 {
			plain = len(v.text) - i
		}
		if out.text, i = append(out.text, v.text[i:i+plain]...), i+plain; i == len(v.text) {
			break
		}
		text, width := r.char(v.text[i:])
		if width == 1 && text[0] == v.text[i] {
			out.text = append(out.text, text[0])
			i++
			continue
		}
		changed = true
		out.mark(mark{int32(len(out.text)), int32(i), true})
		out.text = append(out.text, text...)
		i += width
		out.mark(mark{int32(len(out.text)), int32(i), false})
	}
	return out, changed
}

func (v *view) mark(m mark) {
	if last := len(v.marks) - 1; v.marks[last].at == m.at {
		v.marks[last] = m
		return
	}
	v.marks = append(v.marks, m)
}

// source returns the part of the first text that a part of v.text comes from.
func (v *view) source(p span) span {
	for ; v.of != nil; v = v.of {
		p = v.below(p)
	}
	return p
}

// below returns the part of v.of.text that a part of v.text comes from.
func (v *view) below(p span) span {
	i := sort.Search(len(v.marks), func(i int) bool { return int(v.marks[i].at) > p.start }) - 1
	m := v.marks[i]
	start := int(m.src)
	if !m.whole {
		start += p.start - int(m.at)
	}
	for i+1 < len(v.marks) && int(v.marks[i+1].at) <= p.end {
		i++
	}
	m = v.marks[i]
	switch {
	case !m.whole:
		return span{start, int(m.src) + p.end - int(m.at)}
	case int(m.at) == p.end:
		return span{start, int(m.src)}
	default: // in the middle of an escape: all of it
		return span{start, int(v.marks[i+1].src)}
	}
}

// jsonChar reads a character of JSON text.
func jsonChar(b []byte) (text []byte, width int) {
	if b[0] != '\\' || len(b) < 2 {
		return b[:1], 1
	}
	if b[1] != 'u' {
		if i := strings.IndexByte(`"\/bfnrt`, b[1]); i >= 0 {
			return []byte("\"\\/\b\f\n\r\t"[i : i+1]), 2
		}
		return b[:1], 1
	}
	r, ok := hexRune(b)
	if !ok {
		return b[:1], 1
	}
	if utf16.IsSurrogate(r) {
		if low, ok := hexRune(b[6:]); ok {
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				return utf8.AppendRune(nil, full), 12
			}
		}
	}
	return utf8.AppendRune(nil, r), 6
}

// hexRune reads \uXXXX.
func hexRune(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}

// percentChar reads a byte of a URL.
func percentChar(b []byte) (text []byte, width int) {
	if b[0] == '%' && len(b) >= 3 {
		if n, err := strconv.ParseUint(string(b[1:3]), 16, 8); err == nil {
			return []byte{byte(n)}, 3
		}
	}
	return b[:1], 1
}

// maxEntity is the longest entity that is read, "&#x0010FFFF;" among them.
const maxEntity = 12

// entityChar reads a character of HTML.
func entityChar(b []byte) (text []byte, width int) {
	if b[0] != '&' {
		return b[:1], 1
	}
	end := bytes.IndexByte(b[:min(len(b), maxEntity)], ';') + 1
	if end == 0 {
		return b[:1], 1
	}
	entity := string(b[:end])
	if s := html.UnescapeString(entity); s != entity {
		return []byte(s), end
	}
	return b[:1], 1
}
