package inspect

import (
	"iter"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// A sieve is what of a detector tells without its pattern that a text has nothing for
// it: what is cheap to look for, and stands in every match or beside every value.
type sieve struct {
	holds  []string // every match holds one of them; nil where none is known
	begins []letters
	beside []string // the context has one of them, in lower case; nil where none is known
}

// letters is a set of bytes.
type letters [256]bool

// mostLiterals bounds how many words a match must hold one of.
const mostLiterals = 96

// sieveOf reads it from the patterns. near is nil where there is no context.
func sieveOf(re, near *syntax.Regexp) (s sieve, err error) {
	s.holds = literalsOf(re, false)
	if near != nil {
		s.beside = longestWords(literalsOf(near, true))
	}
	s.begins, err = beginsOf(re)
	return s, err
}

// longestWords leaves the longest word of each: the context of a value is read with names
// written as words (see spread), so that between them a blank need not stand in the text.
func longestWords(texts []string) []string {
	for i, t := range texts {
		for w := range strings.FieldsSeq(t) {
			if texts[i] == t || len(w) > len(texts[i]) {
				texts[i] = w
			}
		}
	}
	return texts
}

// literalsOf returns words of which every match of a pattern holds one, nil if none are
// known. What is matched in either case is left out, or is told in lower case.
func literalsOf(re *syntax.Regexp, folded bool) []string {
	switch re.Op {
	case syntax.OpLiteral:
		text := string(re.Rune)
		if re.Flags&syntax.FoldCase != 0 && strings.ToLower(text) != strings.ToUpper(text) && !folded {
			return nil
		}
		if folded {
			text = strings.ToLower(text)
		}
		return []string{text}
	case syntax.OpCapture, syntax.OpPlus:
		return literalsOf(re.Sub[0], folded)
	case syntax.OpRepeat:
		if re.Min > 0 {
			return literalsOf(re.Sub[0], folded)
		}
	case syntax.OpAlternate:
		var all []string
		for _, part := range re.Sub {
			one := literalsOf(part, folded)
			if one == nil || len(all)+len(one) > mostLiterals {
				return nil
			}
			all = append(all, one...)
		}
		return all
	case syntax.OpConcat:
		var best []string
		for _, part := range re.Sub {
			if one := literalsOf(part, folded); one != nil && (best == nil || shortest(one) > shortest(best)) {
				best = one
			}
		}
		return best
	}
	return nil
}

func shortest(words []string) int {
	n := len(words[0])
	for _, w := range words {
		n = min(n, len(w))
	}
	return n
}

// mostBegins is how many bytes of what a match begins with are told.
const mostBegins = 4

// beginsOf returns what the first bytes of a match can be, but for one character that
// only keeps it apart from what stands before.
func beginsOf(re *syntax.Regexp) ([]letters, error) {
	if re.Op == syntax.OpConcat && len(re.Sub) > 1 && apart(re.Sub[0]) {
		rest := *re
		rest.Sub = re.Sub[1:]
		re = &rest
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	var out []letters
	at, ended := reached(prog, []uint32{uint32(prog.Start)})
	for len(out) < mostBegins && !ended && len(at) > 0 {
		var set letters
		var next []uint32
		above := false
		for _, pc := range at {
			inst := &prog.Inst[pc]
			next = append(next, inst.Out)
			for b := range utf8.RuneSelf {
				set[b] = set[b] || inst.MatchRune(rune(b))
			}
			above = above || inst.Op == syntax.InstRuneAny || inst.Op == syntax.InstRuneAnyNotNL || inst.MatchRune('\u017f') || inst.MatchRune('\u212a')
			for _, r := range inst.Rune {
				above = above || r >= utf8.RuneSelf
			}
		}
		if above { // it has more bytes than one
			for b := utf8.RuneSelf; b < len(set); b++ {
				set[b] = true
			}
			return append(out, set), nil
		}
		out = append(out, set)
		at, ended = reached(prog, next)
	}
	return out, nil
}

// apart reports whether a part of a pattern is the beginning of the text or a word, or
// one character.
func apart(re *syntax.Regexp) bool {
	if re.Op != syntax.OpAlternate {
		return false
	}
	for _, part := range re.Sub {
		switch part.Op {
		case syntax.OpBeginText, syntax.OpBeginLine, syntax.OpWordBoundary, syntax.OpCharClass:
		default:
			return false
		}
	}
	return true
}

// reached returns the instructions that take a character next, and whether a match may
// end before.
func reached(prog *syntax.Prog, from []uint32) (out []uint32, ended bool) {
	seen := map[uint32]bool{}
	for len(from) > 0 {
		pc := from[len(from)-1]
		from = from[:len(from)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch inst := &prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			from = append(from, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
			from = append(from, inst.Out)
		case syntax.InstMatch:
			ended = true
		case syntax.InstFail:
		default:
			out = append(out, pc)
		}
	}
	return out, ended
}

// passes reports whether a match may begin somewhere in s.
func (v *sieve) passes(s string) bool {
	n := len(v.begins)
	if n == 0 {
		return true
	}
	first := &v.begins[0]
	for i := 0; i+n <= len(s); i++ {
		if !first[s[i]] {
			continue
		}
		k := 1
		for k < n && v.begins[k][s[i+k]] {
			k++
		}
		if k == n {
			return true
		}
	}
	return false
}

// holding are the words of s that hold w, with what separates them from others.
func holding(s, w string) iter.Seq2[int, int] {
	return func(yield func(start, end int) bool) {
		for from := 0; ; {
			at := strings.Index(s[from:], w)
			if at < 0 {
				return
			}
			start, end := from+at, from+at+len(w)
			for start > 0 && !separates(rune(s[start-1])) {
				start--
			}
			for end < len(s) && !separates(rune(s[end])) {
				end++
			}
			if !yield(max(0, start-1), min(len(s), end+1)) {
				return
			}
			from = end
		}
	}
}
