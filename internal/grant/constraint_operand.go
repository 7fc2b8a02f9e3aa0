package grant

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strings"

	"rutile/internal/rawjson"
)

// compile makes the matcher of an operator, v its operand.
func compile(op Operator, v rawjson.Value) (matcher, error) {
	switch op {
	case OpEq:
		return newValue(v), nil
	case OpIn, OpSubset:
		set, err := newSet(v)
		if op == OpSubset {
			return subsetOf(set), err
		}
		return set, err
	case OpRange:
		return newRange(v)
	case OpMaxLen:
		n, ok := v.Int64()
		if !ok || n < 0 {
			return nil, fmt.Errorf("must be a whole number of bytes")
		}
		return maxLen(n), nil
	case OpHostIn:
		return newHosts(v)
	case OpJSONSchema:
		return newSchema(v)
	}
	s, ok := v.Str()
	if !ok {
		return nil, fmt.Errorf("must be a string")
	}
	return compileText(op, s)
}

// compileText makes the matcher of an operator whose operand is a string.
func compileText(op Operator, s string) (matcher, error) {
	switch op {
	case OpPrefix:
		if s == "" || len(s) > maxText {
			return nil, fmt.Errorf("must be 1 to %d bytes", maxText)
		}
		return prefix(s), nil
	case OpGlob:
		return newGlob(s)
	case OpRegex:
		return newRegex(s)
	case OpCIDR:
		return newNetwork(s)
	case OpSQLClass:
		c, ok := parseSQLClass(s)
		if !ok {
			return nil, fmt.Errorf("must be \"read\", \"dml\" or \"ddl\"")
		}
		return c, nil
	case OpPathUnder:
		if len(s) > maxText || !canonicalPath([]byte(s)) {
			return nil, fmt.Errorf("must be a canonical path: no \"..\", \".\", \"//\", backslash, \"%%\" or \"/\" at the end")
		}
		return directory(s), nil
	case OpArgsDigest:
		if !digest(s).valid() {
			return nil, fmt.Errorf("must be \"sha256:\" and 64 lower-case hexadecimal digits")
		}
		return digest(s), nil
	default:
		return nil, fmt.Errorf("unknown operator")
	}
}

// text returns the characters of a string; without escapes it copies nothing.
func text(v rawjson.Value) ([]byte, bool) {
	if v.Kind() != rawjson.String {
		return nil, false
	}
	raw := v.Raw()
	if raw = raw[1 : len(raw)-1]; bytes.IndexByte(raw, '\\') < 0 {
		return raw, true
	}
	s, _ := v.Str()
	return []byte(s), true
}

// value is one JSON value to compare with.
type value struct {
	v    rawjson.Value
	form string // canonical
	text string // of a string
}

func newValue(v rawjson.Value) value {
	s, _ := v.Str()
	return value{v, string(rawjson.AppendCanonical(nil, v)), s}
}

func (w value) match(v rawjson.Value) bool {
	switch kind := w.v.Kind(); {
	case kind != v.Kind():
		return false
	case kind == rawjson.String:
		return v.Equals(w.text)
	case kind == rawjson.Number:
		return string(v.Raw()) == w.form || string(rawjson.AppendCanonical(nil, v)) == w.form
	case kind == rawjson.Array || kind == rawjson.Object:
		return v.Len() == w.v.Len() && string(rawjson.AppendCanonical(nil, v)) == w.form
	default:
		return true // null, true, false: the kind says all
	}
}

// set is a list of values to choose from.
type set []value

func newSet(v rawjson.Value) (set, error) {
	if v.Kind() != rawjson.Array || v.Len() == 0 || v.Len() > maxSet {
		return nil, fmt.Errorf("must be an array of 1 to %d values", maxSet)
	}
	s := make(set, 0, v.Len())
	for it := range v.Items() {
		s = append(s, newValue(it))
	}
	return s, nil
}

func (s set) match(v rawjson.Value) bool {
	for i := range s {
		if s[i].match(v) {
			return true
		}
	}
	return false
}

// within reports whether every value of s is one of t.
func (s set) within(t set) bool {
	for i := range s {
		if !t.match(s[i].v) {
			return false
		}
	}
	return true
}

type subsetOf set

func (s subsetOf) match(v rawjson.Value) bool {
	if v.Kind() != rawjson.Array {
		return false
	}
	for it := range v.Items() {
		if !set(s).match(it) {
			return false
		}
	}
	return true
}

type prefix string

func (p prefix) match(v rawjson.Value) bool {
	b, ok := text(v)
	return ok && len(b) >= len(p) && string(b[:len(p)]) == string(p)
}

type maxLen int64

func (n maxLen) match(v rawjson.Value) bool {
	b, ok := text(v)
	return ok && int64(len(b)) <= int64(n)
}

const (
	// maxRegexInput bounds the text a regex is tried on, in bytes, and
	// maxRegexSize the regex, in instructions: the time goes with their
	// product, and the agent chooses the text.
	maxRegexInput = 4 << 10
	maxRegexSize  = 1000
)

type regex struct {
	re   *regexp.Regexp
	text string
}

func newRegex(s string) (matcher, error) {
	if s == "" || len(s) > maxRegex {
		return nil, fmt.Errorf("must be 1 to %d bytes", maxRegex)
	}
	// Alone first: ")|(" would otherwise break out of the anchors.
	if _, err := regexp.Compile(s); err != nil {
		return nil, fmt.Errorf("not an RE2 expression")
	}
	if programSize(s) > maxRegexSize {
		return nil, fmt.Errorf("an RE2 expression of more than %d instructions: repeat less", maxRegexSize)
	}
	re, err := regexp.Compile(`\A(?:` + s + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("an RE2 expression that cannot be anchored")
	}
	return regex{re, s}, nil
}

// programSize returns the number of instructions of an RE2 expression, 0 if it is
// none.
func programSize(s string) int {
	re, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return 0
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0
	}
	return len(prog.Inst)
}

func (r regex) match(v rawjson.Value) bool {
	b, ok := text(v)
	return ok && len(b) <= maxRegexInput && r.re.Match(b)
}

// network is a range of addresses.
type network netip.Prefix

func newNetwork(s string) (matcher, error) {
	p, ok := parseNetwork(s)
	if !ok {
		return nil, fmt.Errorf("must be a network such as \"10.0.0.0/8\" without bits set beyond the mask, not IPv4 in IPv6")
	}
	return network(p), nil
}

// parseNetwork accepts a network without bits beyond its mask: readers differ
// about the others.
func parseNetwork(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	return p, err == nil && p == p.Masked() && !p.Addr().Is4In6()
}

func (n network) match(v rawjson.Value) bool {
	b, ok := text(v)
	if !ok || len(b) > 64 {
		return false
	}
	s := string(b)
	if strings.Contains(s, "/") {
		p, ok := parseNetwork(s)
		return ok && n.contains(p)
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && !a.Is4In6() && netip.Prefix(n).Contains(a)
}

func (n network) contains(p netip.Prefix) bool {
	return netip.Prefix(n).Bits() <= p.Bits() && netip.Prefix(n).Contains(p.Addr())
}
