package inspect

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"unicode"
	"unicode/utf8"
)

const (
	shortestRun   = 16 // of letters that could be an encoding
	longestRun    = 48 << 10
	printableRate = 0.85
	asDigits      = "digits for letters"
)

// runByte reports whether b is a letter of base64, its URL form or hexadecimal.
func runByte(b byte) bool {
	c := b | 0x20
	return c >= 'a' && c <= 'z' || b >= '0' && b <= '9' || b == '+' || b == '/' || b == '-' || b == '_'
}

// runs calls do for each run of at least shortestRun letters. It looks at every
// sixteenth byte first: a run that long covers one of them.
func runs(text []byte, do func(start, end int)) {
	for i := shortestRun - 1; i < len(text); i += shortestRun {
		if !runByte(text[i]) {
			continue
		}
		start := i
		for start > 0 && start > i-shortestRun && runByte(text[start-1]) {
			start--
		}
		end := i + 1
		for end < len(text) && runByte(text[end]) {
			end++
		}
		if end-start >= shortestRun {
			do(start, end)
			i = end - 1
		}
	}
}

// unpack decodes what looks encoded in l and inspects that in turn. sh is how the words
// of l are written.
func (s *scan) unpack(l layer, sh shape) {
	if len(l.chain) >= maxDepth {
		return
	}
	runs(l.text, func(start, end int) {
		if end-start > longestRun {
			s.capped(l, start, end)
			return
		}
		if out, how := undo(l.text[start:end]); out != nil {
			s.decoded(l, out, how, l.raw(start), l.rawEnd(end))
		}
	})
	if sh.coded {
		numbers(l.text, func(out []byte, start, end int) {
			s.decoded(l, out, "character codes", l.raw(start), l.rawEnd(end))
		})
	}
	if out, start, end, ok := squeeze(l.text, sh); ok {
		s.glue(l, out, start, end)
	}
	if s.rotated >= 2 {
		s.decoded(l, rot13(l.text), "rot13", l.raw(0), l.rawEnd(len(l.text)))
	}
	if s.backwards >= 2 {
		out := slices.Clone(l.text)
		slices.Reverse(out)
		s.decoded(l, out, "reversed text", l.raw(0), l.rawEnd(len(l.text)))
	}
	if len(l.text) > longestGlue || slices.Contains(l.chain, asDigits) || leets(l.text) < leastLeets {
		return
	}
	for _, one := range []byte{'i', 'l'} {
		s.decoded(l, unleet(l.text, one), asDigits, l.raw(0), l.rawEnd(len(l.text)))
	}
}

// undo decodes one run, nil if it holds no text.
func undo(run []byte) (out []byte, how string) {
	if isHex(run) {
		out = make([]byte, hex.DecodedLen(len(run)))
		if _, err := hex.Decode(out, run[:len(run)&^1]); err == nil && readable(out) {
			return out, "hexadecimal"
		}
		return nil, ""
	}
	if !varied(run) {
		return nil, ""
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		n := len(run)
		if n%4 == 1 {
			n--
		}
		buf := make([]byte, enc.DecodedLen(n))
		if m, err := enc.Decode(buf, run[:n]); err == nil && readable(buf[:m]) {
			return buf[:m], "base64"
		}
	}
	if n := len(run) &^ 7; n >= 24 && isBase32(run) {
		buf := make([]byte, base32.StdEncoding.DecodedLen(n))
		if m, err := base32.StdEncoding.Decode(buf, run[:n]); err == nil && readable(buf[:m]) {
			return buf[:m], "base32"
		}
	}
	return nil, ""
}

func isHex(run []byte) bool {
	for _, b := range run {
		if _, ok := hexDigit(b); !ok {
			return false
		}
	}
	return true
}

func isBase32(run []byte) bool {
	for _, b := range run {
		if (b < 'A' || b > 'Z') && (b < '2' || b > '7') {
			return false
		}
	}
	return true
}

// varied reports whether run could be base64 rather than a word or a path: it has
// letters of both cases, or digits and capitals.
func varied(run []byte) bool {
	var lower, upper, digit, change int
	for i, b := range run {
		switch {
		case b >= 'a' && b <= 'z':
			lower++
		case b >= 'A' && b <= 'Z':
			upper++
			if i > 0 && run[i-1] >= 'a' && run[i-1] <= 'z' {
				change++
			}
		case b >= '0' && b <= '9':
			digit++
		}
	}
	return upper > 1 && lower+digit > 1 && (change > 0 || lower == 0)
}

// readable reports whether out is text: valid UTF-8, mostly printable.
func readable(out []byte) bool {
	if len(out) < 6 || !utf8.Valid(out) {
		return false
	}
	good, all := 0, 0
	for _, r := range string(out) {
		all++
		if r >= ' ' && r < 0x7f || r == '\n' || r == '\t' || r > 0xa0 && unicode.IsPrint(r) {
			good++
		}
	}
	return float64(good) >= printableRate*float64(all)
}

// numbers calls do for every list of at least twelve codes of printable ASCII
// characters, in hexadecimal or decimal.
func numbers(text []byte, do func(out []byte, start, end int)) {
	for _, base := range []int{16, 10} {
		var out []byte
		start, end := 0, 0
		for i := 0; i < len(text); {
			if text[i] < '0' || text[i] > '9' { // a printable code begins with a digit in either
				i++
				continue
			}
			n, code := number(text[i:], base)
			if n == 0 || i > 0 && wordByte(text[i-1]) {
				i++
				continue
			}
			if len(out) > 0 && i-end > 2 {
				if len(out) >= 12 && readable(out) {
					do(out, start, end)
				}
				out = nil
			}
			if len(out) == 0 {
				start = i
			}
			out, i = append(out, code), i+n
			end = i
		}
		if len(out) >= 12 && readable(out) {
			do(out, start, end)
		}
	}
}

// number reads one code of a printable ASCII character.
func number(text []byte, base int) (n int, code byte) {
	if base == 16 {
		if len(text) > 4 && text[0] == '0' && text[1]|0x20 == 'x' {
			n = 2
		}
		if len(text) < n+2 {
			return 0, 0
		}
		r, ok := hexRune(text[n : n+2])
		n += 2
		if !ok || r < ' ' && r != '\n' || r > '~' || n < len(text) && wordByte(text[n]) {
			return 0, 0
		}
		return n, byte(r)
	}
	v := 0
	for n < len(text) && n < 3 && text[n] >= '0' && text[n] <= '9' {
		v = v*10 + int(text[n]-'0')
		n++
	}
	if n < 2 || v < ' ' && v != '\n' || v > '~' || n < len(text) && wordByte(text[n]) {
		return 0, 0
	}
	return n, byte(v)
}

func rot13(text []byte) []byte {
	out := bytes.Clone(text)
	for i, b := range out {
		switch c := b | 0x20; {
		case c >= 'a' && c <= 'm':
			out[i] = b + 13
		case c >= 'n' && c <= 'z':
			out[i] = b - 13
		}
	}
	return out
}

// decoded inspects what came out of the bytes [start, end) of the source.
func (s *scan) decoded(l layer, out []byte, how string, start, end int) {
	if len(l.chain) >= maxDepth {
		return
	}
	if s.budget < len(out) {
		s.capped(l, start, end)
		return
	}
	s.budget -= len(out)
	chain := append(slices.Clone(l.chain), how)
	rotated, backwards := s.rotated, s.backwards
	s.telling(l, out, how, start, end)
	s.inspect(l.pointer, chain, out, &view{flat: true, from: start, to: end})
	s.rotated, s.backwards = rotated, backwards
}

// telling notes that text was encoded which speaks of commands, secrets or
// addresses, or is plain prose: there is no reason to hide that from a reader.
func (s *scan) telling(l layer, out []byte, how string, start, end int) {
	if how == asDigits {
		return
	}
	s.tokens, _ = s.e.words.search(s.tokens, out)
	weight := 0.0
	for _, t := range s.tokens {
		for _, c := range s.e.words.words[t.word].classes {
			if s.e.telling[c] {
				weight = .6
			}
		}
	}
	if weight == 0 && bytes.Count(out, []byte{' '}) >= 3 && len(s.tokens) > 3 {
		weight = .5
	}
	if s.profile == Result {
		weight *= .6
	}
	if weight > 0 {
		l.view = view{flat: true, from: start, to: end}
		l.chain = append(slices.Clone(l.chain), how)
		s.add(l, Finding{Rule: "decode.telling", Family: "encoded", Weight: weight, Why: "encodes commands, addresses or prose"}, 0, 0)
	}
}

// capped notes that something encoded was too much to read.
func (s *scan) capped(l layer, start, end int) {
	weight := .5
	if s.profile == Result {
		weight = .2
	}
	l.view = view{flat: true, from: start, to: end}
	s.add(l, Finding{Rule: "decode.cap", Family: "limit", Weight: weight, Why: "has more encoded text than is decoded"}, 0, 0)
}
