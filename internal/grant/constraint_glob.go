package grant

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"rutile/internal/rawjson"
)

// glob is a pattern in which "*" stands for any run of characters, also none,
// and every other character for itself.
type glob struct {
	pattern string
	parts   []string // between the stars; one if there is no star
}

func newGlob(s string) (matcher, error) {
	if s == "" || utf8.RuneCountInString(s) > maxGlob {
		return nil, fmt.Errorf("must be 1 to %d characters", maxGlob)
	}
	return glob{s, strings.Split(s, "*")}, nil
}

func (g glob) match(v rawjson.Value) bool {
	b, ok := text(v)
	return ok && g.matches(b)
}

// matches takes time linear in the text times the number of stars.
func (g glob) matches(b []byte) bool {
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(g.parts) == 1 {
		return string(b) == first
	}
	if len(b) < len(first)+len(last) || string(b[:len(first)]) != first || string(b[len(b)-len(last):]) != last {
		return false
	}
	b = b[len(first) : len(b)-len(last)]
	for _, p := range g.parts[1 : len(g.parts)-1] {
		i := bytes.Index(b, []byte(p))
		if i < 0 {
			return false
		}
		b = b[i+len(p):]
	}
	return true
}

// head is what every text that matches begins with.
func (g glob) head() string { return g.parts[0] }

// includes reports whether every text that matches h, itself a pattern, matches
// g. The product of the two automata need not be built: read h as a text in
// which "*" is a letter. The literals of g hold no such letter, so only a star
// of g can take it in, and that star takes in whatever h's star stands for. So if
// g matches the text h, it matches all that h matches. And if it does not, then
// it does not match h with its stars replaced by a letter that stands nowhere in
// g, which h matches.
func (g glob) includes(h string) bool { return g.matches([]byte(h)) }

// includesPrefix reports whether every text beginning with p matches g. A star
// in p is itself, and again only a star of g can take it in.
func (g glob) includesPrefix(p string) bool { return g.matches([]byte(p + "*")) }
