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
func squeeze(text []byte) (out []byte, start, end int, ok bool) {
	if len(text) > longestGlue {
		return nil, 0, 0, false
	}
	var words, letters, squares, run int
	short := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && wordByte(text[i]) && text[i] != '_' {
			run++
			continue
		}
		if run > 0 {
			words, letters, squares = words+1, letters+run, squares+run*run
			if run == 1 {
				short++
			}
		}
		run = 0
	}
	if letters < shortestGlue {
		return nil, 0, 0, false
	}
	even := words >= 6 && squares*words-letters*letters < letters*words/2 // a variance under half a letter
	apart := short >= 10 && short*3 > words*2
	long := letters > 18*words
	if !even && !apart && !long {
		return nil, 0, 0, false
	}
	start = -1
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
	for _, one := range []byte{'i', 'l'} {
		if plain, n := unleet(out, one); n >= 3 {
			v.text = plain
			s.match(layer{view: v, pointer: l.pointer, chain: append(slices.Clone(chain), asDigits), glued: true})
		}
	}
	s.rotated, s.backwards = rotated, backwards
}

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

// unleet writes letters for digits that stand within words, one for '1', and
// counts them.
func unleet(text []byte, one byte) (out []byte, n int) {
	letter := func(i int) bool { return i >= 0 && i < len(text) && text[i]|0x20 >= 'a' && text[i]|0x20 <= 'z' }
	like := func(i int) bool { return i >= 0 && i < len(text) && leet(text[i]) != 0 }
	for i := range text {
		if like(i) && (letter(i-1) && (letter(i+1) || like(i+1)) || letter(i+1)) {
			n++
		}
	}
	if n < 3 {
		return nil, n
	}
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
	return out, n
}
