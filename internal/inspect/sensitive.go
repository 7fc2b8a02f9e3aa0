package inspect

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// Label is what a datum is to policies.
type Label string

// The labels of data.
const (
	Secret   Label = "secret" // opens something
	Personal Label = "pii"    // is about a person
)

// Datum is one secret or personal value in a text: where and of what kind, never
// the value.
type Datum struct {
	Label Label  `json:"label"`
	Kind  string `json:"kind"`
	Start int    `json:"start"`
	End   int    `json:"end"`
}

// detector finds one kind of datum. The first group of its pattern, if it has one,
// is the value. A value counts if it checks, or beside a word of its context.
type detector struct {
	label   Label
	kind    string
	pattern string
	need    []string            // of which the text must hold one, in lower case
	check   func(v string) bool // nil: none; false refuses
	context string              // must be near, unless the check alone is enough
	alone   func(v string) bool // what needs no context, nil: nothing does
	field   bool                // no context is needed where the value is the whole text, as in a field
	refuse  string              // what may not stand in the match, as in the name beside the value
	widest  bool                // it takes the place of personal data that are only a part of its value
}

// compiled is a detector with its patterns.
type compiled struct {
	detector
	re, near, not *regexp.Regexp
	digits        int  // a match has at least so many
	word          int  // and a word of at least so many bytes
	single        bool // and is part of one word, but for a character on either side
	longest       int  // and at most so many bytes; 0 where that is not used
	sieve
}

// maxFound bounds the matches of one detector in one text.
const maxFound = 256

// nearBytes is how far from a value a word of its context may stand.
const nearBytes = 60

// compileSensitive compiles the detectors of data.
func (e *Engine) compileSensitive() error {
	e.compileNames()
	for _, d := range slices.Concat(secretDetectors, personalDetectors, koreanDetectors, countryDetectors, announcedDetectors, looseDetectors) {
		c := compiled{detector: d}
		var err error
		if c.re, err = regexp.Compile(d.pattern); err != nil {
			return err
		}
		if err := c.measure(); err != nil {
			return err
		}
		if d.context != "" {
			if c.near, err = regexp.Compile(`(?i)` + d.context); err != nil {
				return err
			}
		}
		if d.refuse != "" {
			if c.not, err = regexp.Compile(d.refuse); err != nil {
				return err
			}
		}
		e.sensitive = append(e.sensitive, c)
	}
	return nil
}

// Sensitive returns the secrets and personal data in a text, in the order they
// stand, one for each place: of two that overlap the one of the earlier detector,
// which is the more specific. A number without a valid checksum or a word that
// tells what it is, is none.
func (e *Engine) Sensitive(text []byte) []Datum {
	s := string(text)
	low := strings.ToLower(s)
	digits := mostDigits(s)
	at, counted := digitsOf(s)
	words, word := wordsOf(s)
	pairing, written := pairingOf(low), pairingOf(s)
	plain, field := plainASCII(s), len(strings.TrimSpace(s))
	var found []Datum
	for i := range e.sensitive {
		d := &e.sensitive[i]
		if d.digits > digits || d.word > word || len(d.need) == 0 && digits == 0 || len(d.need) > 0 && !pairing.holdsOne(low, d.need) {
			continue
		}
		if d.holds != nil && !written.holdsOne(s, d.holds) || plain && d.beside != nil && d.needsContext(field) && !pairing.holdsOne(low, d.beside) {
			continue
		}
		left := maxFound
		in := func(from, to int) bool {
			if !d.passes(s[from:to]) {
				return true
			}
			list := d.re.FindAllStringSubmatchIndex(s[from:to], left)
			for _, at := range list {
				found = d.take(found, s, from, at)
			}
			left -= len(list)
			return left > 0
		}
		switch {
		case d.single && len(d.holds) == 1:
			together(holding(s, d.holds[0]), in)
		case d.single && d.word >= leastWord:
			together(around(s, words, d.word), in)
		case d.longest > 0 && counted:
			together(windows(s, at, d.digits, d.longest), in)
		default:
			in(0, len(s))
		}
	}
	slices.SortFunc(found, func(a, b Datum) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End)) })
	return e.withNames(found, text)
}

// take adds a match in s[from:] to what was found, if it is a value and none is there.
func (d *compiled) take(found []Datum, s string, from int, at []int) []Datum {
	start, end := at[0], at[1]
	for g := 2; g < len(at); g += 2 { // the value is the group that took part
		if at[g] >= 0 {
			start, end = at[g], at[g+1]
			break
		}
	}
	if d.not != nil && d.not.MatchString(s[from+at[0]:from+start]) {
		return found
	}
	if start, end = from+start, from+end; !d.accepts(s, start, end) {
		return found
	}
	rest := found
	if d.widest && overlaps(found, start, end) {
		rest = slices.DeleteFunc(slices.Clone(found), func(f Datum) bool {
			return f.Label == Personal && start <= f.Start && f.End <= end && f.End-f.Start < end-start
		})
	}
	if overlaps(rest, start, end) {
		return found
	}
	return append(rest, Datum{Label: d.label, Kind: d.kind, Start: start, End: end})
}

// measure tells from the patterns where they can match.
func (d *compiled) measure() error {
	re, err := syntax.Parse(d.pattern, syntax.Perl)
	if err != nil {
		return err
	}
	d.digits, d.word, d.single = requiredDigits(re), solidOf(re).word, alone(re)
	if n := longestMatch(re); d.digits > 0 && n > 0 && n <= maxSpan {
		d.longest = n
	}
	var near *syntax.Regexp
	if d.context != "" {
		if near, err = syntax.Parse(`(?i)`+d.context, syntax.Perl); err != nil {
			return err
		}
	}
	d.sieve, err = sieveOf(re, near)
	return err
}

// needsContext reports whether no value counts without its context in a text that is so
// long without the blanks around it.
func (d *compiled) needsContext(field int) bool {
	return d.near != nil && d.alone == nil && (!d.field || d.longest > 0 && field > d.longest)
}

// plainASCII reports whether all of s is: letters have no other forms then.
func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (d *compiled) accepts(s string, start, end int) bool {
	v := s[start:end]
	if d.check != nil && !d.check(v) {
		return false
	}
	if d.near == nil || d.alone != nil && d.alone(v) || d.field && strings.TrimSpace(s) == v {
		return true
	}
	return d.near.MatchString(spread(s[max(0, start-nearBytes):start])) || d.near.MatchString(spread(s[end:min(len(s), end+nearBytes/2)]))
}

func overlaps(found []Datum, start, end int) bool {
	return slices.ContainsFunc(found, func(f Datum) bool { return start < f.End && f.Start < end })
}
