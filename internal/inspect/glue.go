package inspect

import (
	"bytes"
	"slices"
)

// Text whose words are hidden by their spacing: letters apart, words run
// together, groups of equal length. It is matched without bounds of words.

const (
	longestGlue  = 4 << 10 // bytes of one text that are read so
	shortestGlue = 16      // letters
)

// squeeze returns the letters and digits of text without what is between them,
// and where they begin and end, if its words are not written as words are.
func squeeze(text []byte, sh shape) (out []byte, start, end int, ok bool) {
	if len(text) > longestGlue || sh.letters < shortestGlue {
		return nil, 0, 0, false
	}
	even := sh.words >= 6 && sh.squares*sh.words-sh.letters*sh.letters < sh.letters*sh.words/2 // a variance under half a letter
	apart := sh.short >= 10 && sh.short*3 > sh.words*2
	long := sh.letters > 18*sh.words
	if !even && !apart && !long {
		return nil, 0, 0, false
	}
	out, start = make([]byte, 0, len(text)), -1
	for i, b := range text {
		if wordByte(b) && b != '_' || b == '@' || b == '$' {
			if start < 0 {
				start = i
			}
			out, end = append(out, b), i+1
		}
	}
	return out, start, end, start >= 0
}

// glue inspects text in which it is not known where words begin, as it stands and
// with letters for digits.
func (s *scan) glue(l layer, out []byte, start, end int) {
	if s.budget < 3*len(out) {
		s.capped(l, l.raw(start), l.rawEnd(end))
		return
	}
	s.budget -= 3 * len(out)
	rotated, backwards := s.rotated, s.backwards
	v := view{text: out, flat: true, from: l.raw(start), to: l.rawEnd(end)}
	chain := append(slices.Clone(l.chain), "words without bounds")
	s.match(layer{view: v, pointer: l.pointer, chain: chain, glued: true})
	if leets(out) >= leastLeets {
		for _, one := range []byte{'i', 'l'} {
			v.text = unleet(out, one)
			s.match(layer{view: v, pointer: l.pointer, chain: append(slices.Clone(chain), asDigits), glued: true})
		}
	}
	s.rotated, s.backwards = rotated, backwards
}

// leets counts the digits and signs that stand for letters within words of text.
func leets(text []byte) (n int) {
	for i, b := range text {
		if !leetSign(b) {
			continue
		}
		before, behind := i > 0 && asciiLetter(text[i-1]), i+1 < len(text) && asciiLetter(text[i+1])
		if behind || before && i+1 < len(text) && leet(text[i+1]) != 0 {
			n++
		}
	}
	return n
}

// leetSign reports whether leet knows b.
func leetSign(b byte) bool {
	const low, high = 1<<'!' | 1<<'$' | 0x3ff<<'0', 1<<('@'-64) | 1<<('|'-64)
	switch b >> 6 {
	case 0:
		return uint64(low)>>b&1 != 0
	case 1:
		return uint64(high)>>(b&63)&1 != 0
	}
	return false
}

func asciiLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// leastLeets is how many make a text one that is read with letters for digits.
const leastLeets = 3

// leet is the letter a digit or sign stands for, 0 if none.
func leet(b byte) byte {
	const letters = "oizeasgtbg" // of 0 to 9
	switch {
	case b >= '0' && b <= '9':
		return letters[b-'0']
	case b == '@':
		return 'a'
	case b == '$':
		return 's'
	case b == '!', b == '|':
		return 'i'
	default:
		return 0
	}
}

// unleet writes letters for digits that stand within words, one for '1'.
func unleet(text []byte, one byte) (out []byte) {
	letter := func(i int) bool { return asciiLetter(text[i]) }
	like := func(i int) bool { return leet(text[i]) != 0 }
	out = bytes.Clone(text)
	for i := 0; i < len(text); i++ {
		if !like(i) && !letter(i) {
			continue
		}
		start, letters := i, 0
		for i < len(text) && (like(i) || letter(i)) {
			if letter(i) {
				letters++
			}
			i++
		}
		if letters == 0 {
			continue
		}
		for j := start; j < i; j++ {
			switch to := leet(text[j]); {
			case text[j] == '1':
				out[j] = one
			case to != 0:
				out[j] = to
			}
		}
	}
	return out
}
