package inspect

import (
	"bytes"
	"encoding/binary"
	"unicode"
	"unicode/utf8"

	"rutile/internal/glyph"
)

// traits is what the first pass over a raw text saw.
type traits struct {
	plain   bool // ASCII with nothing to undo: the text is its own view
	padding [2]int
	hidden  [kinds]sighting
	mixed   sighting
	tags    []byte // what a run of tags spells
	bytes   []byte // what variation selectors spell
}

// kind is a class of runes nobody sees.
type kind uint8

const (
	kindTag kind = iota
	kindBidi
	kindZero
	kindSelector
	kindPrivate
	kindControl
	kindEscape
	kinds
)

// sighting is where a class of runes was seen, and how often.
type sighting struct{ start, end, count int }

func (s *sighting) see(start, end int) {
	if s.count == 0 {
		s.start = start
	}
	s.end = end
	s.count++
}

const (
	longBlank = 60 // blanks in a row push what follows out of sight
	longLines = 12 // empty lines do, too
)

// look is the first pass: what the raw text hides, before any normalising could.
func look(text []byte) traits {
	t := traits{plain: true}
	at := plainPrefix(text)
	if at < len(text) {
		t.slow(text, at)
	}
	if bytes.IndexByte(text, '%') >= 0 || bytes.IndexByte(text, '\\') >= 0 || bytes.IndexByte(text, '&') >= 0 || t.padding[1] > 0 {
		t.plain = false
	}
	return t
}

// plainPrefix returns how many bytes of text are ASCII without control
// characters other than single line breaks, eight at a time.
func plainPrefix(text []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		if w&high != 0 || w == ones*' ' {
			return i
		}
		if (w-ones*0x20)&^w&high != 0 { // a byte below 0x20
			for _, b := range text[i : i+8] {
				if b < ' ' && b != '\n' && b != '\t' && b != '\r' {
					return i
				}
			}
			if i > 0 && w&0xff == '\n' && text[i-1] == '\n' || bytes.Contains(text[i:i+8], []byte("\n\n\n")) {
				return i
			}
		}
		if d := w ^ ones*0x7f; (d-ones)&^d&high != 0 { // a delete character
			return i
		}
	}
	return i
}

// slow looks at every rune from byte at on.
func (t *traits) slow(text []byte, at int) {
	blanks, lines, blankStart := 0, 0, at
	var before rune
	script := 0
	wordStart := at
	for i := at; i < len(text); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text[i:])
			t.plain = false
		}
		switch r {
		case ' ', '\n', '\t', '\r':
			if blanks == 0 {
				blankStart, lines = i, 0
			}
			blanks++
			if r == '\n' {
				lines++
			}
		default:
			if (blanks-lines >= longBlank || lines >= longLines) && t.padding[1] == 0 && blankStart > 0 {
				t.padding = [2]int{blankStart, i}
			}
			blanks = 0
		}
		t.rune(text, i, n, r, before)
		if s := scriptOf(r); s != 0 {
			if script == 0 {
				wordStart = i
			}
			script |= s
		} else if !glyph.Unseen(r) {
			if script == 3 {
				t.mixed.see(wordStart, i)
			}
			script = 0
		}
		before = r
		i += n
	}
	if script == 3 {
		t.mixed.see(wordStart, len(text))
	}
}

// scriptOf is 1 for Latin letters and 2 for letters that only look Latin.
func scriptOf(r rune) int {
	switch {
	case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
		return 1
	case r < 0x370:
		return 0
	case unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Coptic, unicode.Lisu):
		return 2
	default:
		return 0
	}
}

// rune classes the rune of n bytes at i.
func (t *traits) rune(text []byte, i, n int, r, before rune) {
	switch {
	case r >= ' ' && r < 0x7f || r == '\n' || r == '\t' || r == '\r':
	case r == 0x1b || r == 0x9b:
		t.hidden[kindEscape].see(i, escapeEnd(text, i+n))
		t.plain = false
	case r < ' ' || r >= 0x7f && r < 0xa0:
		t.hidden[kindControl].see(i, i+n)
		t.plain = false
	case r < 0xad:
	case r >= 0xe0000 && r <= 0xe007f:
		if before == 0x1f3f4 || before > 0xe0000 && before <= 0xe007f && t.hidden[kindTag].count == 0 {
			return // the flag of a region
		}
		t.hidden[kindTag].see(i, i+n)
		if r > 0xe0020 {
			t.tags = append(t.tags, byte(r-0xe0000))
		} else {
			t.tags = append(t.tags, ' ')
		}
	case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
		t.hidden[kindBidi].see(i, i+n)
	case r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef:
		t.selector(i, n, r, before)
	case unicode.Is(unicode.Co, r):
		t.hidden[kindPrivate].see(i, i+n)
	case zeroWidth(r):
		if !joins(r, before) {
			t.hidden[kindZero].see(i, i+n)
		}
	}
}

// selector takes a variation selector: one after a sign is usual, a run of them
// carries bytes.
func (t *traits) selector(i, n int, r, before rune) {
	again := before >= 0xfe00 && before <= 0xfe0f || before >= 0xe0100 && before <= 0xe01ef
	if again {
		t.hidden[kindSelector].see(i, i+n)
	}
	b := byte(r - 0xfe00)
	if r >= 0xe0100 {
		b = byte(r - 0xe0100 + 16)
	}
	t.bytes = append(t.bytes, b)
}

func zeroWidth(r rune) bool {
	switch r {
	case 0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180e, 0x3164, 0xfeff, 0xffa0:
		return true
	}
	return r >= 0x200b && r <= 0x200f || r >= 0x2060 && r <= 0x2064 || r >= 0x206a && r <= 0x206f || r >= 0x1d173 && r <= 0x1d17a
}

// joins reports whether a zero width rune does after another what it is for:
// joining emoji, shaping letters, marking the direction of right-to-left text.
func joins(r, before rune) bool {
	switch r {
	case 0x200d:
		return before == 0xfe0f || before >= 0x2190 && before <= 0x2bff || before >= 0x1f000 && before <= 0x1faff || before >= 0x600 && before <= 0xfff
	case 0x200c, 0x200e, 0x200f, 0x61c:
		return before >= 0x590 && before <= 0xfff
	case 0xfeff:
		return before == 0 // a byte order mark
	}
	return false
}

// escapeEnd returns where a terminal sequence ends whose introducer ends at i.
func escapeEnd(text []byte, i int) int {
	if i >= len(text) {
		return i
	}
	switch text[i] {
	case '[':
		for i++; i < len(text) && text[i] < 0x40; i++ {
		}
		return min(i+1, len(text))
	case ']', 'P', '_', '^':
		for i++; i < len(text); i++ {
			if text[i] == 7 || text[i] == 0x1b {
				return min(i+1, len(text))
			}
		}
		return i
	default:
		return i + 1
	}
}

// hiddenRule says what it means that runes of one kind were seen.
type hiddenRule struct {
	id       string
	many     int // from this count on it is hard
	def, res float64
	why      string
}

var hiddenRules = [...]hiddenRule{
	kindTag:      {"hidden.tags", 1, .95, .9, "hides text in tag characters"},
	kindBidi:     {"hidden.bidi", 1, .9, .5, "changes the direction of text so that it reads as something else"},
	kindZero:     {"hidden.zero", 4, .6, .35, "has characters of no width between others"},
	kindSelector: {"hidden.selectors", 4, .8, .7, "hides bytes in variation selectors"},
	kindPrivate:  {"hidden.private", 64, .5, .2, "has characters without an agreed meaning"},
	kindControl:  {"hidden.control", 16, .6, .25, "has control characters"},
	kindEscape:   {"hidden.escape", 1, .9, .3, "has terminal sequences"},
}

// hidden turns what the first pass saw into findings, and reads what was spelled.
func (s *scan) hidden(pointer string, chain []string, v view, t *traits) {
	l := layer{view: v, pointer: pointer, chain: chain}
	for k, seen := range t.hidden {
		if seen.count == 0 {
			continue
		}
		r := hiddenRules[k]
		f := Finding{Rule: r.id, Family: "hidden", Weight: r.def, Hard: seen.count >= r.many, Why: r.why}
		if s.profile == Result {
			f.Weight, f.Hard = r.res, f.Hard && r.res >= .7
		}
		if f.Hard {
			f.Weight = max(f.Weight, .8)
		}
		s.add(l, f, int32(seen.start), int32(seen.end))
	}
	if t.padding[1] > 0 {
		f := Finding{Rule: "hidden.padding", Family: "hidden", Weight: .6, Why: "pushes text out of sight with blanks"}
		if s.profile == Result {
			f.Weight = .1
		}
		s.add(l, f, int32(t.padding[0]), int32(t.padding[1]))
	}
	if t.mixed.count > 0 {
		f := Finding{Rule: "hidden.mixed", Family: "lookalike", Weight: .6, Why: "mixes alphabets within a word"}
		if s.profile == Result {
			f.Weight = .4
		}
		s.add(l, f, int32(t.mixed.start), int32(t.mixed.end))
	}
	if len(t.tags) > 3 {
		s.decoded(l, t.tags, "tag characters", t.hidden[kindTag].start, t.hidden[kindTag].end)
	}
	if seen := t.hidden[kindSelector]; seen.count > 3 && readable(t.bytes) {
		s.decoded(l, t.bytes, "variation selectors", seen.start, seen.end)
	}
}
