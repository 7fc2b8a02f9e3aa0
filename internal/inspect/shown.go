package inspect

import "strings"

// Shown is a pointer as evidence and findings may show it: a key that is more than a name may
// be part of what was found.
func Shown(pointer string) string {
	if pointer == "" {
		return ""
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, t := range tokens {
		if len(t) > 32 || strings.ContainsFunc(t, func(r rune) bool {
			return (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') && r != '_' && r != '-' && r != '$'
		}) {
			tokens[i] = "…"
		}
	}
	if len(tokens) > 16 {
		tokens = append(tokens[:16], "…")
	}
	return "/" + strings.Join(tokens, "/")
}
