package export

import (
	"fmt"
	"strings"
	"unicode"
)

// shown is text as one line that shows all there is in it: what a reader does not
// see, line breaks and tabs included, is spelled out as \u{202e}, and a backslash
// before "u{" too, so that no text can pretend to be spelled out.
func shown(s string) string {
	var b strings.Builder
	for i, r := range s {
		if !unicode.IsPrint(r) || unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) || r == '\\' && strings.HasPrefix(s[i:], `\u{`) {
			fmt.Fprintf(&b, `\u{%x}`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// allShown is shown of each.
func allShown(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = shown(s)
	}
	return out
}
