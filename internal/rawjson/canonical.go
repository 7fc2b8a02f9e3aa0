package rawjson

import (
	"bytes"
	"slices"
	"strconv"
)

// AppendCanonical appends the canonical form of v, nothing if Missing: RFC 8785
// except that a number keeps its exact decimal value (shortest form without
// superfluous zeros; numbers RFC 8785 would round are written in full), so that
// two values have the same form only if every exact reader sees the same value.
// The form of a number is never more than 21 bytes longer than the number,
// whatever its exponent.
func AppendCanonical(dst []byte, v Value) []byte {
	if v.doc == nil {
		return dst
	}
	return v.doc.appendCanonical(dst, v.node)
}

func (d *Doc) appendCanonical(dst []byte, i int32) []byte {
	n := d.tape[i]
	switch kindOf(d.src[n.start]) {
	case Object:
		return d.appendObject(dst, i)
	case Array:
		dst = append(dst, '[')
		for k := i + 1; k < n.next; k = d.tape[k].next {
			if k > i+1 {
				dst = append(dst, ',')
			}
			dst = d.appendCanonical(dst, k)
		}
		return append(dst, ']')
	case String:
		return d.appendText(dst, n)
	case Number:
		return appendNumber(dst, d.src[n.start:n.end])
	default:
		return append(dst, d.src[n.start:n.end]...)
	}
}

// appendText appends a string. One without escapes is canonical as it stands.
func (d *Doc) appendText(dst []byte, n node) []byte {
	if n.n == 0 {
		return append(dst, d.src[n.start:n.end]...)
	}
	var buf [64]byte
	return AppendString(dst, string(appendUnescaped(buf[:0], content(d.src, n))))
}

func (d *Doc) appendObject(dst []byte, i int32) []byte {
	var few [smallObject]int32
	keys := few[:0]
	if count := d.tape[i].n; count > smallObject {
		keys = make([]int32, 0, count)
	}
	for k := i + 1; k < d.tape[i].next; k = d.tape[k+1].next {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b int32) int { return compareUTF16(d.src, d.tape[a], d.tape[b]) })
	dst = append(dst, '{')
	for at, k := range keys {
		if at > 0 {
			dst = append(dst, ',')
		}
		dst = append(d.appendText(dst, d.tape[k]), ':')
		dst = d.appendCanonical(dst, k+1)
	}
	return append(dst, '}')
}

// compareUTF16 orders two strings by their UTF-16 code units, as RFC 8785
// (section 3.2.3) orders keys.
func compareUTF16(src []byte, x, y node) int {
	a, b := content(src, x), content(src, y)
	if x.n == 0 && y.n == 0 {
		n := 0
		for n < len(a) && n < len(b) && a[n] == b[n] {
			n++
		}
		// The order of UTF-8 is that of code points. The bytes that differ
		// are the first of a character, or both characters have the same
		// first byte and so the same place among the surrogates.
		if n < len(a) && n < len(b) && (a[n] >= 0xf0) != (b[n] >= 0xf0) && min(a[n], b[n]) >= 0xee {
			return -bytes.Compare(a[n:], b[n:])
		}
		return bytes.Compare(a[n:], b[n:])
	}
	for len(a) > 0 && len(b) > 0 {
		r, n := decode(a)
		s, m := decode(b)
		if r != s {
			return int(unitRank(r)) - int(unitRank(s))
		}
		a, b = a[n:], b[m:]
	}
	return len(a) - len(b)
}

// unitRank maps characters to numbers in the order of their UTF-16 code units:
// those that need surrogates go before U+E000 to U+FFFF.
func unitRank(r rune) rune {
	if r >= 0xe000 && r <= 0xffff {
		return r + 0x110000
	}
	return r
}

// appendNumber appends the exact decimal value of raw in the notation of
// ECMAScript's Number::toString, which writes exponents from 1e+21 and 1e-7 on,
// so that a number whose shortest form is exact looks as in RFC 8785.
func appendNumber(dst, raw []byte) []byte {
	negative := raw[0] == '-'
	if negative {
		raw = raw[1:]
	}
	exponent := []byte(nil)
	if e := bytes.IndexAny(raw, "eE"); e >= 0 {
		raw, exponent = raw[:e], raw[e+1:]
	}
	// The value is 0.DIGITS × 10^point, and then × 10^exponent.
	var buf [64]byte
	digits, point := buf[:0], len(raw)
	for i, c := range raw {
		if c == '.' {
			point = i
		} else {
			digits = append(digits, c)
		}
	}
	significant := bytes.TrimLeft(digits, "0")
	point -= len(digits) - len(significant)
	digits = bytes.TrimRight(significant, "0")
	if len(digits) == 0 {
		return append(dst, '0')
	}
	if negative {
		dst = append(dst, '-')
	}
	minus := len(exponent) > 0 && exponent[0] == '-'
	exponent = bytes.TrimLeft(exponent, "+-0")
	if len(exponent) > 18 {
		return appendHuge(appendMantissa(dst, digits), exponent, minus, int64(point)-1)
	}
	exp := int64(0)
	for _, c := range exponent {
		exp = exp*10 + int64(c-'0')
	}
	if minus {
		exp = -exp
	}
	return appendDecimal(dst, digits, exp+int64(point))
}

// appendDecimal appends 0.DIGITS × 10^point.
func appendDecimal(dst, digits []byte, point int64) []byte {
	k := int64(len(digits))
	switch {
	case point > 21 || point <= -6:
		dst = append(appendMantissa(dst, digits), 'e')
		if point > 0 {
			dst = append(dst, '+')
		}
		return strconv.AppendInt(dst, point-1, 10)
	case point >= k:
		return append(append(dst, digits...), "000000000000000000000"[:point-k]...)
	case point > 0:
		dst = append(append(dst, digits[:point]...), '.')
		return append(dst, digits[point:]...)
	default:
		dst = append(append(dst, "0."...), "00000"[:-point]...)
		return append(dst, digits...)
	}
}

// appendMantissa appends D.IGITS.
func appendMantissa(dst, digits []byte) []byte {
	dst = append(dst, digits[0])
	if len(digits) > 1 {
		dst = append(append(dst, '.'), digits[1:]...)
	}
	return dst
}

// appendHuge appends the exponent ±EXPONENT + delta, where the exponent has too
// many digits for an integer: more than delta could change the sign of.
func appendHuge(dst, exponent []byte, minus bool, delta int64) []byte {
	sign := byte('+')
	if minus {
		sign, delta = '-', -delta
	}
	sum := slices.Clone(exponent)
	for i := len(sum) - 1; i >= 0 && delta != 0; i-- {
		delta += int64(sum[i] - '0')
		digit := (delta%10 + 10) % 10
		sum[i] = '0' + byte(digit)
		delta = (delta - digit) / 10
	}
	dst = append(dst, 'e', sign)
	if delta > 0 { // a carry
		return append(strconv.AppendInt(dst, delta, 10), sum...)
	}
	return append(dst, bytes.TrimLeft(sum, "0")...)
}
