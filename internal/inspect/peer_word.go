package inspect

import (
	"strings"
	"unicode"
)

// meant reports whether a name that is nearly another one is what its tool is about,
// as of list_products beside list_projects: every word the other name has not stands
// in its own description, with or without the s of a plural, and the other tool says
// something else. Whoever misspells a name to be taken for it describes what it imitates.
func (c *beside) meant(name, description string, other Peer) bool {
	says, theirs := c.words(description), c.words(other.Name)
	for w := range c.words(name) {
		if !theirs[w] && !says[w] && !says[w+"s"] && !says[strings.TrimSuffix(w, "s")] {
			return false
		}
	}
	both := 0
	they := c.words(other.Description)
	for w := range says {
		if they[w] {
			both++
		}
	}
	return 3*both < 2*(len(says)+len(they)-both)
}

// words are those of a text or a name, as skeletons.
func (p *Peers) words(text string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.FieldsFunc(p.engine.skeleton(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		out[w] = true
	}
	return out
}

// ordinary reports whether a name is one word as it may stand in any sentence: search,
// messages.
func ordinary(name string) bool {
	return !strings.ContainsFunc(name[min(1, len(name)):], func(r rune) bool { return !unicode.IsLower(r) })
}

// asName reports whether a word is used as the name of a tool: in quotation marks or
// called so.
func asName(text []byte, start, end int) bool {
	const marks = "`'\"([{<"
	if start > 0 && strings.IndexByte(marks, text[start-1]) >= 0 || end < len(text) && text[end] == '(' {
		return true
	}
	for _, near := range []string{string(text[max(0, start-16):start]), string(text[end:min(len(text), end+16)])} {
		for _, w := range strings.FieldsFunc(near, func(r rune) bool { return !unicode.IsLetter(r) }) {
			if w == "tool" || w == "tools" || w == "function" || w == "command" {
				return true
			}
		}
	}
	return false
}
