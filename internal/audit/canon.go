package audit

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// value is a parsed part of a leaf.
type value struct {
	kind byte // '{', '[', '"', '0' for an integer, 't' for a boolean, 0 for absent
	str  string
	num  int64
	keys []string
	vals []value // of an object or array
}

// get returns the member key, or an absent value.
func (v value) get(key string) value {
	for i, k := range v.keys {
		if k == key {
			return v.vals[i]
		}
	}
	return value{}
}

// strings returns the strings of an array.
func (v value) strings() []string {
	if v.kind != '[' || len(v.vals) == 0 {
		return nil
	}
	out := make([]string, 0, len(v.vals))
	for _, s := range v.vals {
		if s.kind == '"' {
			out = append(out, s.str)
		}
	}
	return out
}

const (
	maxDepth = 8
	maxInt   = 1<<53 - 1
)

var errCanon = errors.New("the leaf is not in canonical form")

// parseLeaf accepts exactly the canonical form of one object and nothing else,
// which is the same as encoding it again and comparing bytes.
func parseLeaf(b []byte) (value, error) {
	p := canonParser{b: b}
	if len(b) == 0 || b[0] != '{' {
		return value{}, p.fail("it is not an object")
	}
	v, err := p.value(0)
	if err == nil && p.i != len(b) {
		err = p.fail("something follows it")
	}
	return v, err
}

// topString returns a string member of a leaf.
func topString(leaf []byte, key string) (string, error) {
	v, err := parseLeaf(leaf)
	if err != nil {
		return "", err
	}
	if s := v.get(key); s.kind == '"' {
		return s.str, nil
	}
	return "", fmt.Errorf("the leaf has no string %q", key)
}

type canonParser struct {
	b []byte
	i int
}

func (p *canonParser) fail(why string) error {
	return fmt.Errorf("%w: %s at byte %d", errCanon, why, p.i)
}

func (p *canonParser) peek() byte {
	if p.i < len(p.b) {
		return p.b[p.i]
	}
	return 0
}

func (p *canonParser) word(w string) bool {
	if bytes.HasPrefix(p.b[p.i:], []byte(w)) {
		p.i += len(w)
		return true
	}
	return false
}

func (p *canonParser) value(depth int) (value, error) {
	if depth > maxDepth {
		return value{}, p.fail("it nests too deep")
	}
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		s, err := p.string()
		return value{kind: '"', str: s}, err
	case p.word("true"):
		return value{kind: 't', num: 1}, nil
	case p.word("false"):
		return value{kind: 't'}, nil
	default:
		return p.integer()
	}
}

func (p *canonParser) object(depth int) (value, error) {
	v := value{kind: '{'}
	p.i++
	for p.peek() != '}' {
		if len(v.keys) > 0 && !p.word(",") {
			return v, p.fail("a comma is missing")
		}
		at := p.i
		key, err := p.string()
		if err != nil {
			return v, err
		}
		if !validKey(key) || len(v.keys) > 0 && v.keys[len(v.keys)-1] >= key {
			p.i = at
			return v, p.fail("a key is malformed or out of order")
		}
		if !p.word(":") {
			return v, p.fail("a colon is missing")
		}
		m, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.keys, v.vals = append(v.keys, key), append(v.vals, m)
	}
	p.i++
	return v, nil
}

func validKey(k string) bool {
	for i := 0; i < len(k); i++ {
		c := k[i]
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '_') {
			return false
		}
	}
	return k != ""
}

func (p *canonParser) array(depth int) (value, error) {
	v := value{kind: '['}
	p.i++
	for p.peek() != ']' {
		if len(v.vals) > 0 && !p.word(",") {
			return v, p.fail("a comma is missing")
		}
		m, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.vals = append(v.vals, m)
	}
	p.i++
	return v, nil
}

func (p *canonParser) integer() (value, error) {
	start := p.i
	if p.peek() == '-' {
		p.i++
	}
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.i++
	}
	text := string(p.b[start:p.i])
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != text || n > maxInt || n < -maxInt {
		p.i = start
		return value{}, p.fail("a value is not one a leaf may hold")
	}
	return value{kind: '0', num: n}, nil
}

// string reads a string written with the shortest escapes only.
func (p *canonParser) string() (string, error) {
	if p.peek() != '"' {
		return "", p.fail("a string is missing")
	}
	p.i++
	start := p.i
	var out []byte // nil while the source can be used as it stands
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '"':
			s := p.b[start:p.i]
			p.i++
			if out != nil {
				s = append(out, s...)
			}
			if !utf8.Valid(s) {
				return "", p.fail("a string is not UTF-8")
			}
			return string(s), nil
		case c < 0x20:
			return "", p.fail("a control character stands unescaped")
		case c != '\\':
			p.i++
		default:
			out = append(out, p.b[start:p.i]...)
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = append(out, r)
			start = p.i
		}
	}
	return "", p.fail("a string does not end")
}

// escape reads one escape and returns the character, all of which are ASCII.
func (p *canonParser) escape() (byte, error) {
	if p.i+1 < len(p.b) {
		if i := bytes.IndexByte([]byte(`"\btnfr`), p.b[p.i+1]); i >= 0 {
			p.i += 2
			return "\"\\\b\t\n\f\r"[i], nil
		}
	}
	if p.i+6 <= len(p.b) {
		n, err := strconv.ParseUint(string(p.b[p.i+2:p.i+6]), 16, 16)
		if err == nil && n > 0 && n < 0x20 && bytes.Equal(appendEscapeForm(byte(n)), p.b[p.i:p.i+6]) {
			p.i += 6
			return byte(n), nil
		}
	}
	return 0, p.fail("an escape is not the shortest")
}

// appendEscapeForm is how a control character without a short escape is
// written; nil for one that has a short escape.
func appendEscapeForm(c byte) []byte {
	if bytes.IndexByte([]byte("\b\t\n\f\r"), c) >= 0 {
		return nil
	}
	return fmt.Appendf(nil, `\u%04x`, c)
}
