package inspect

import (
	"iter"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// What a pattern needs at least, and how long what it matches can be, is told from
// the pattern, so that it is looked for only where it can stand: where digits are as
// close together as it needs them, and in texts with a word as long as it needs.

// maxSpan bounds the length of what is looked for around digits only, maxDigits how
// many digits a text has of which that is done.
const (
	maxSpan   = 256
	maxDigits = 4096
)

// separators end a word.
const separators = " \t\n\v\f\r"

// longestMatch returns how many bytes the longest match of a pattern has, -1 if that is
// without bound.
func longestMatch(re *syntax.Regexp) int {
	switch re.Op {
	case syntax.OpLiteral:
		n := 0
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 { // in another case it may be longer
				n += utf8.UTFMax
			} else {
				n += utf8.RuneLen(r)
			}
		}
		return n
	case syntax.OpCharClass:
		if len(re.Rune) > 0 && re.Rune[len(re.Rune)-1] < utf8.RuneSelf {
			return 1
		}
		return utf8.UTFMax
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return utf8.UTFMax
	case syntax.OpStar, syntax.OpPlus:
		return -1
	case syntax.OpRepeat:
		if n := longestMatch(re.Sub[0]); n >= 0 && re.Max >= 0 {
			return n * re.Max
		}
		return -1
	}
	n := 0 // of what is empty, or has parts
	for _, part := range re.Sub {
		switch m := longestMatch(part); {
		case m < 0:
			return -1
		case re.Op == syntax.OpAlternate:
			n = max(n, m)
		default:
			n += m
		}
	}
	return n
}

// solid is what is known of the words in a match.
type solid struct {
	least int  // characters of the match
	word  int  // characters without a separator between them that every match has
	whole bool // no match has a separator in it
}

func solidOf(re *syntax.Regexp) solid {
	switch re.Op {
	case syntax.OpLiteral:
		if slices.ContainsFunc(re.Rune, separates) {
			return solid{least: len(re.Rune)}
		}
		return solid{len(re.Rune), len(re.Rune), true}
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			for _, r := range separators {
				if re.Rune[i] <= r && r <= re.Rune[i+1] {
					return solid{least: 1}
				}
			}
		}
		return solid{1, 1, true}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return solid{least: 1}
	case syntax.OpStar, syntax.OpQuest:
		return solid{whole: solidOf(re.Sub[0]).whole}
	case syntax.OpCapture, syntax.OpPlus:
		return solidOf(re.Sub[0])
	case syntax.OpRepeat:
		s := solidOf(re.Sub[0])
		switch {
		case re.Min == 0:
			return solid{whole: s.whole}
		case s.whole:
			return solid{re.Min * s.least, re.Min * s.least, true}
		}
		s.least *= re.Min
		return s
	case syntax.OpAlternate:
		s := solidOf(re.Sub[0])
		for _, part := range re.Sub[1:] {
			p := solidOf(part)
			s = solid{min(s.least, p.least), min(s.word, p.word), s.whole && p.whole}
		}
		return s
	}
	s := solid{whole: true} // of what is empty, or one part after the other
	run := 0
	for _, part := range re.Sub {
		p := solidOf(part)
		if run += p.word; !p.whole {
			run = p.word
		}
		s.word = max(s.word, run)
		if !p.whole {
			run = 0
		}
		s.least, s.whole = s.least+p.least, s.whole && p.whole
	}
	return s
}

func separates(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

// digitsOf returns where the digits of s stand, and whether all of them are told.
func digitsOf(s string) (at []int, all bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			continue
		}
		if len(at) == maxDigits {
			return nil, false
		}
		at = append(at, i)
	}
	return at, true
}

// windows are the parts of s in which what has so many digits and at most so many bytes
// can stand, with a byte more on either side than that could have: what is found in a
// part is what would be found there in all of s.
func windows(s string, at []int, digits, longest int) iter.Seq2[int, int] {
	return func(yield func(start, end int) bool) {
		for i := digits - 1; i < len(at); i++ {
			first, last := at[i-digits+1], at[i]
			if last-first < longest && !yield(max(0, last-longest-1), min(len(s), first+longest+2)) {
				return
			}
		}
	}
}

// together gives do parts of a text, those that meet as one. It ends when do is false.
func together(parts iter.Seq2[int, int], do func(start, end int) bool) {
	start, end := -1, -1
	for from, to := range parts {
		switch {
		case start >= 0 && from <= end:
			end = to
			continue
		case start >= 0 && !do(start, end):
			return
		}
		start, end = from, to
	}
	if start >= 0 {
		do(start, end)
	}
}

// leastWord is the length from which on words are told.
const leastWord = 8

// wordsOf returns the first byte of every word of at least leastWord bytes, and the one
// behind it, and how long the longest of all is.
func wordsOf(s string) (out [][2]int, longest int) {
	for start := 0; start < len(s); {
		end := start
		for end < len(s) && !separates(rune(s[end])) {
			end++
		}
		longest = max(longest, end-start)
		if end-start >= leastWord {
			out = append(out, [2]int{start, end})
		}
		start = end + 1
	}
	return out, longest
}

// alone reports whether what a pattern matches is part of one word, but for one
// character on either side.
func alone(re *syntax.Regexp) bool {
	if re.Op != syntax.OpConcat {
		return solidOf(re).whole
	}
	for i, part := range re.Sub {
		edge := i == 0 || i == len(re.Sub)-1
		if n := longestMatch(part); !solidOf(part).whole && (!edge || n < 0 || n > utf8.UTFMax) {
			return false
		}
	}
	return true
}

// around are the words of at least so many bytes with what separates them from others.
func around(s string, words [][2]int, least int) iter.Seq2[int, int] {
	return func(yield func(start, end int) bool) {
		for _, w := range words {
			if w[1]-w[0] >= least && !yield(max(0, w[0]-1), min(len(s), w[1]+1)) {
				return
			}
		}
	}
}

// pairing is the pairs of bytes that follow one another in a text, a bit for each.
type pairing [1 << 16 / 64]uint64

func pairingOf(s string) *pairing {
	var p pairing
	for i := 1; i < len(s); i++ {
		at := uint16(s[i-1])<<8 | uint16(s[i])
		p[at>>6] |= 1 << (at & 63)
	}
	return &p
}

// holdsOne reports whether s, whose pairs these are, holds one of the words.
func (p *pairing) holdsOne(s string, words []string) bool {
	for _, w := range words {
		if p.may(w) && strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// may reports whether what has these pairs may hold w.
func (p *pairing) may(w string) bool {
	for i := 1; i < len(w); i++ {
		at := uint16(w[i-1])<<8 | uint16(w[i])
		if p[at>>6]&(1<<(at&63)) == 0 {
			return false
		}
	}
	return true
}
