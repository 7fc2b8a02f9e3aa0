package audit

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// enc appends one leaf in its canonical form: RFC 8785, restricted as
// docs/evidence.md says. The caller writes members in ascending order of their
// keys; the verifier, which re-encodes, is what holds it to that.
type enc struct{ b []byte }

// Bounds that keep a leaf below maxLeaf whatever a caller puts into it.
const (
	maxLeaf = 16 << 10
	maxText = 128 // bytes of one string that came from outside, as encoded
	maxList = 32  // entries of one list
	maxItem = 100 // bytes of one entry, as encoded: the name of an allow-list fits
)

func (e *enc) key(k string) {
	if c := e.b[len(e.b)-1]; c != '{' {
		e.b = append(e.b, ',')
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, k...)
	e.b = append(e.b, '"', ':')
}

// begin opens the object k and returns what end needs to drop it if it stays
// empty: an absent value has one form only.
func (e *enc) begin(k string) int {
	mark := len(e.b)
	e.key(k)
	e.b = append(e.b, '{')
	return mark
}

func (e *enc) end(mark int) {
	if e.b[len(e.b)-1] == '{' {
		e.b = e.b[:mark]
		return
	}
	e.b = append(e.b, '}')
}

// str writes a member, or nothing if v is empty.
func (e *enc) str(k, v string) {
	if v == "" {
		return
	}
	e.key(k)
	e.b = appendJCSString(e.b, v)
}

// text is str for what came from outside: cut to maxText bytes.
func (e *enc) text(k, v string) { e.str(k, cut(v, maxText)) }

func (e *enc) int(k string, v int64) {
	e.key(k)
	e.b = strconv.AppendInt(e.b, v, 10)
}

// flag writes a member only if it is true.
func (e *enc) flag(k string, v bool) {
	if v {
		e.key(k)
		e.b = append(e.b, "true"...)
	}
}

func (e *enc) bytes(k string, v []byte) {
	if len(v) == 0 {
		return
	}
	e.key(k)
	e.b = append(e.b, '"')
	e.b = base64.RawURLEncoding.AppendEncode(e.b, v)
	e.b = append(e.b, '"')
}

func (e *enc) time(k string, t time.Time) {
	e.key(k)
	e.b = append(e.b, '"')
	e.b = appendTime(e.b, t)
	e.b = append(e.b, '"')
}

// list writes an array of strings and returns how many it left out.
func (e *enc) list(k string, vs []string) int {
	if len(vs) == 0 {
		return 0
	}
	e.key(k)
	e.b = append(e.b, '[')
	for i, v := range vs {
		if i == maxList {
			break
		}
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = appendJCSString(e.b, cut(v, maxItem))
	}
	e.b = append(e.b, ']')
	return max(0, len(vs)-maxList)
}

const hexDigits = "0123456789abcdef"

// appendJCSString appends s as RFC 8785 section 3.2.2.2 writes strings. What a
// leaf cannot hold (invalid UTF-8, NUL) becomes U+FFFD.
func appendJCSString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, s[start:i]...)
		b = appendEscape(b, c)
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\t':
		return append(b, '\\', 't')
	case '\n':
		return append(b, '\\', 'n')
	case '\f':
		return append(b, '\\', 'f')
	case '\r':
		return append(b, '\\', 'r')
	}
	if c == 0 || c >= utf8.RuneSelf {
		return append(b, "\uFFFD"...)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendTime appends t in UTC as RFC 3339 with exactly six decimals.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, sec := t.Clock()
	b = appendPadded(b, year, 4)
	b = append(b, '-')
	b = appendPadded(b, int(month), 2)
	b = append(b, '-')
	b = appendPadded(b, day, 2)
	b = append(b, 'T')
	b = appendPadded(b, hour, 2)
	b = append(b, ':')
	b = appendPadded(b, minute, 2)
	b = append(b, ':')
	b = appendPadded(b, sec, 2)
	b = append(b, '.')
	b = appendPadded(b, t.Nanosecond()/1000, 6)
	return append(b, 'Z')
}

func appendPadded(b []byte, v, width int) []byte {
	for i := 0; i < width; i++ {
		b = append(b, '0')
	}
	for i := len(b) - 1; v > 0 && width > 0; i, width = i-1, width-1 {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return b
}

// cut shortens s so that it takes at most n bytes as a JSON string, without
// splitting a character, and replaces what a leaf cannot hold, so that a row
// says what its leaf says.
func cut(s string, n int) string {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	}
	if len(s)*6 <= n { // an escape takes six bytes at most
		return s
	}
	for i, room := 0, n; i < len(s); i++ {
		switch c := s[i]; {
		case c < 0x20:
			room -= 6
		case c == '"' || c == '\\':
			room -= 2
		default:
			room--
		}
		if room < 0 {
			for !utf8.RuneStart(s[i]) {
				i--
			}
			return s[:i]
		}
	}
	return s
}

// plain reports whether s may stand in a leaf as it is: the shape of a tool
// name or an id. Anything else could carry what a leaf must not (E7) and is
// committed to and sealed instead.
func plain(s string) bool {
	if s == "" || len(s) > maxText {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '_' || c == '-' || c == '.' || c == '/' || c == ':':
		default:
			return false
		}
	}
	return true
}
