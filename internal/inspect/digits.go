package inspect

import (
	"regexp/syntax"
	"slices"
)

// Most texts have no number as long as the numbers of people are. What a pattern
// needs at least is told from the pattern, so that those texts are not searched.

// digitSpan is within how many bytes the digits stand that a match must have.
const digitSpan = 24

// requiredDigits returns how many digits every match of a pattern has.
func requiredDigits(re *syntax.Regexp) int {
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	switch re.Op {
	case syntax.OpLiteral:
		n := 0
		for _, r := range re.Rune {
			if digit(r) {
				n++
			}
		}
		return n
	case syntax.OpCharClass:
		if len(re.Rune) > 0 && !slices.ContainsFunc(re.Rune, func(r rune) bool { return !digit(r) }) {
			return 1
		}
	case syntax.OpConcat, syntax.OpCapture, syntax.OpPlus:
		n := 0
		for _, part := range re.Sub {
			n += requiredDigits(part)
		}
		return n
	case syntax.OpRepeat:
		return re.Min * requiredDigits(re.Sub[0])
	case syntax.OpAlternate:
		n := requiredDigits(re.Sub[0])
		for _, part := range re.Sub[1:] {
			n = min(n, requiredDigits(part))
		}
		return n
	}
	return 0
}

// mostDigits returns the most digits that stand within digitSpan bytes of s.
func mostDigits(s string) int {
	most, n := 0, 0
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			n++
			most = max(most, n)
		}
		if j := i - digitSpan + 1; j >= 0 && s[j] >= '0' && s[j] <= '9' {
			n--
		}
	}
	return most
}
