package grant

import (
	"bytes"
	"cmp"
	"fmt"

	"rutile/internal/rawjson"
)

// maxExponent bounds the decimal exponent of a number that is compared or
// reckoned with. One beyond it is refused and never written out.
const maxExponent = 1000

// decimal is the exact value ±0.DIGITS × 10^point; zero has no digits.
type decimal struct {
	negative bool
	digits   []byte // without zeros at either end
	point    int
}

// parseDecimal reads the canonical form of a number; digits go into buf.
func parseDecimal(form, buf []byte) (decimal, bool) {
	d := decimal{digits: buf[:0]}
	if form[0] == '-' {
		d.negative, form = true, form[1:]
	}
	if e := bytes.IndexByte(form, 'e'); e >= 0 {
		exp, ok := parseExponent(form[e+1:])
		if !ok {
			return decimal{}, false
		}
		d.point, form = exp, form[:e]
	}
	whole := len(form)
	if i := bytes.IndexByte(form, '.'); i >= 0 {
		whole = i
	}
	d.point += whole
	for _, c := range form {
		switch {
		case c == '.':
		case c == '0' && len(d.digits) == 0:
			d.point--
		default:
			d.digits = append(d.digits, c)
		}
	}
	d.digits = bytes.TrimRight(d.digits, "0")
	if len(d.digits) == 0 {
		return decimal{}, true
	}
	return d, d.point >= -maxExponent && d.point <= maxExponent
}

func parseExponent(s []byte) (int, bool) {
	sign := 1
	if s[0] == '-' {
		sign = -1
	}
	s = bytes.TrimLeft(s, "+-")
	if len(s) > 4 {
		return 0, false
	}
	n := 0
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return sign * n, true
}

func (d decimal) sign() int {
	switch {
	case len(d.digits) == 0:
		return 0
	case d.negative:
		return -1
	default:
		return 1
	}
}

func (d decimal) compare(e decimal) int {
	if c := cmp.Compare(d.sign(), e.sign()); c != 0 || d.sign() == 0 {
		return c
	}
	c := cmp.Compare(d.point, e.point)
	if c == 0 {
		c = bytes.Compare(d.digits, e.digits)
	}
	return c * d.sign()
}

// number reads a Number exactly. ok is false for anything else, and for an
// exponent beyond maxExponent.
func number(v rawjson.Value, form, digits []byte) (d decimal, ok bool) {
	if v.Kind() != rawjson.Number {
		return decimal{}, false
	}
	return parseDecimal(rawjson.AppendCanonical(form[:0], v), digits)
}

// boundedNumbers reports whether no number in v goes beyond maxExponent.
func boundedNumbers(v rawjson.Value) bool {
	switch v.Kind() {
	case rawjson.Number:
		_, ok := number(v, nil, nil)
		return ok
	case rawjson.Array:
		for it := range v.Items() {
			if !boundedNumbers(it) {
				return false
			}
		}
	case rawjson.Object:
		for _, val := range v.Members() {
			if !boundedNumbers(val) {
				return false
			}
		}
	}
	return true
}

// between is a closed range.
type between struct{ low, high decimal }

func newRange(v rawjson.Value) (matcher, error) {
	low, okLow := number(item(v, 0), nil, nil)
	high, okHigh := number(item(v, 1), nil, nil)
	switch {
	case v.Kind() != rawjson.Array || v.Len() != 2 || !okLow || !okHigh:
		return nil, fmt.Errorf("must be an array of two numbers, the least and the greatest")
	case low.compare(high) > 0:
		return nil, fmt.Errorf("the first number is greater than the second")
	}
	return between{low, high}, nil
}

func (r between) match(v rawjson.Value) bool {
	var form, digits [48]byte
	d, ok := number(v, form[:], digits[:])
	return ok && r.low.compare(d) <= 0 && d.compare(r.high) <= 0
}
