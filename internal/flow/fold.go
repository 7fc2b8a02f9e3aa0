package flow

import (
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"rutile/internal/glyph"
)

// lookalikes is made once: it never changes.
var lookalikes = sync.OnceValue(glyph.Lookalikes) //nolint:gochecknoglobals // made once, and never changed

// folded is a text as it is compared: lower case, compatibility forms taken apart (NFKD),
// marks and what is not seen left out, look-alikes made Latin.
type folded struct {
	text []byte
	// from is the byte of the source each byte of text comes from; nil where they are
	// the same.
	from []int32
}

// fold appends text to buf as it is compared. It knows the way back if it is asked to.
func fold(buf, text []byte, back bool) folded {
	i := len(buf)
	buf = append(buf, text...)
	out := buf[i:]
	for j, b := range out {
		switch {
		case b >= utf8.RuneSelf:
			return foldRunes(buf[:i], text, back)
		case b >= 'A' && b <= 'Z':
			out[j] = b | 0x20
		case b == '\r' || b == '\t' || b == 0:
			out[j] = ' '
		}
	}
	return folded{text: out}
}

func foldRunes(buf, text []byte, back bool) folded {
	f := folded{text: buf[len(buf):]}
	like := lookalikes()
	put := func(at int, bs ...byte) {
		f.text = append(f.text, bs...)
		if back {
			for range bs {
				f.from = append(f.from, int32(at))
			}
		}
	}
	var one, apart [utf8.UTFMax]byte
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		at := i
		i += n
		switch to, alike := like[r]; {
		case r < utf8.RuneSelf:
			if r == '\r' || r == '\t' || r == 0 {
				r = ' '
			}
			put(at, byte(unicode.ToLower(r)))
			continue
		case glyph.Unseen(r):
			continue
		case alike:
			put(at, byte(to))
			continue
		}
		d := norm.NFKD.Properties(one[:utf8.EncodeRune(one[:], r)]).Decomposition()
		if d == nil {
			put(at, apart[:utf8.EncodeRune(apart[:], unicode.ToLower(r))]...)
			continue
		}
		for len(d) > 0 {
			p, n := utf8.DecodeRune(d)
			d = d[n:]
			to, alike := like[p]
			switch {
			case glyph.Unseen(p):
			case alike:
				put(at, byte(to))
			default:
				put(at, apart[:utf8.EncodeRune(apart[:], unicode.ToLower(p))]...)
			}
		}
	}
	return f
}

// source returns the byte of the source that byte i of the text comes from.
func (f *folded) source(i int) int {
	switch {
	case f.from == nil:
		return i
	case i < len(f.from):
		return int(f.from[i])
	case len(f.from) == 0:
		return 0
	}
	return int(f.from[len(f.from)-1]) + 1
}
