package rawjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stops marks, from the lowest byte up to the first mark, the bytes of w at
// which a string needs a closer look: quote, backslash, control characters and
// everything that is not ASCII.
func stops(w uint64) uint64 {
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	return ((quote - ones) | (slash - ones) | (w - ones*' ') | w) & highs
}

// scanString returns the end of the string at i and 1 if it holds escapes. If a
// rule is broken end is where.
func scanString(src []byte, i int) (end int, escaped int32, rule Rule) {
	i++
	for {
		for i+8 <= len(src) {
			m := stops(binary.LittleEndian.Uint64(src[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			for i += 8; i+32 <= len(src); i += 32 { // a long one
				b := src[i : i+32 : i+32]
				if (stops(binary.LittleEndian.Uint64(b)) | stops(binary.LittleEndian.Uint64(b[8:])) |
					stops(binary.LittleEndian.Uint64(b[16:])) | stops(binary.LittleEndian.Uint64(b[24:]))) != 0 {
					break
				}
			}
		}
		if i >= len(src) {
			return i, 0, RuleSyntax
		}
		switch c := src[i]; {
		case c == '"':
			return i + 1, escaped, ""
		case c == '\\':
			escaped = 1
			n, rule := scanEscape(src[i:])
			if rule != "" {
				return i, 0, rule
			}
			i += n
		case c < ' ':
			return i, 0, RuleSyntax
		case c < utf8.RuneSelf:
			i++
		default:
			for i < len(src) && src[i] >= utf8.RuneSelf {
				r, n := utf8.DecodeRune(src[i:])
				if r == utf8.RuneError && n == 1 {
					return i, 0, RuleEncoding
				}
				i += n
			}
		}
	}
}

// scanEscape returns the length of the escape at the beginning of s; the escape
// of a low surrogate belongs to that of the high one before it.
func scanEscape(s []byte) (n int, rule Rule) {
	if len(s) < 2 {
		return 0, RuleSyntax
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, ""
	case 'u':
	default:
		return 0, RuleSyntax
	}
	r, ok := hex4(s)
	if !ok {
		return 0, RuleSyntax
	}
	if !utf16.IsSurrogate(r) {
		return 6, ""
	}
	if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
		if low, ok := hex4(s[6:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
			return 12, ""
		}
	}
	return 0, RuleEncoding
}

// hex4 reads the digits of the \uXXXX at the beginning of s.
func hex4(s []byte) (r rune, ok bool) {
	if len(s) < 6 {
		return 0, false
	}
	for _, c := range s[2:6] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// content returns the text between the quotes of a string node.
func content(src []byte, n node) []byte { return src[n.start+1 : n.end-1] }

// decode returns the first character of s, the text of a checked string, and
// how many bytes it takes there.
func decode(s []byte) (r rune, n int) {
	if s[0] != '\\' {
		if s[0] < utf8.RuneSelf {
			return rune(s[0]), 1
		}
		return utf8.DecodeRune(s)
	}
	switch s[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, _ = hex4(s)
		if utf16.IsSurrogate(r) {
			low, _ := hex4(s[6:])
			return utf16.DecodeRune(r, low), 12
		}
		return r, 6
	default:
		return rune(s[1]), 2
	}
}

// appendUnescaped appends the characters of s, the text of a checked string.
func appendUnescaped(dst, s []byte) []byte {
	dst = slices.Grow(dst, len(s)) // escapes are longer than what they stand for
	for len(s) > 0 {
		n := bytes.IndexByte(s, '\\')
		if n < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:n]...)
		r, size := decode(s[n:])
		dst = utf8.AppendRune(dst, r)
		s = s[n+size:]
	}
	return dst
}

// equalText reports whether s, the text of a checked string, unescapes to want.
func equalText(s []byte, want string) bool {
	for len(s) > 0 {
		if s[0] != '\\' {
			if want == "" || s[0] != want[0] {
				return false
			}
			s, want = s[1:], want[1:]
			continue
		}
		r, n := decode(s)
		var buf [utf8.UTFMax]byte
		w := utf8.EncodeRune(buf[:], r)
		if len(want) < w || want[:w] != string(buf[:w]) {
			return false
		}
		s, want = s[n:], want[w:]
	}
	return want == ""
}

// maxSegment is how many bytes of a key a pointer shows.
const maxSegment = 64

// appendSegment appends "/" and the key whose text is s, escaped for a JSON
// pointer and cut if it is long.
func appendSegment(dst, s []byte) []byte {
	dst = append(dst, '/')
	for shown := 0; len(s) > 0; {
		r, n := decode(s)
		if shown += utf8.RuneLen(r); shown > maxSegment {
			return append(dst, "…"...)
		}
		switch r {
		case '~':
			dst = append(dst, "~0"...)
		case '/':
			dst = append(dst, "~1"...)
		default:
			dst = utf8.AppendRune(dst, r)
		}
		s = s[n:]
	}
	return dst
}

func appendIndex(dst []byte, i int32) []byte {
	return strconv.AppendInt(append(dst, '/'), int64(i), 10)
}

// AppendString appends s as a JSON string: minimal escaping, invalid UTF-8
// replaced by U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	clean := 0 // s[clean:i] needs no escape
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[clean:i]...), "\uFFFD"...)
				clean = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[clean:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		clean = i
	}
	return append(append(dst, s[clean:]...), '"')
}

// AppendUnescaped appends the unescaped text of v, nothing if v is not a
// String. It allocates only what dst lacks.
func AppendUnescaped(dst []byte, v Value) []byte {
	if v.Kind() != String {
		return dst
	}
	n := v.doc.tape[v.node]
	if n.n == 0 {
		return append(dst, content(v.doc.src, n)...)
	}
	return appendUnescaped(dst, content(v.doc.src, n))
}
