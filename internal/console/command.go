package console

import "strings"

// command is a command line as a shell of POSIX reads it. What it shows is what it does:
// a word with characters nobody sees goes through line, and names something else then.
func command(words ...string) string {
	out := make([]string, len(words))
	for i, w := range words {
		if out[i] = line(w); w == "" || strings.ContainsFunc(out[i], special) {
			out[i] = "'" + strings.ReplaceAll(out[i], "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}

// special reports whether a shell may read a character as more than itself.
func special(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_./:@,+=%", r):
		return false
	default:
		return true
	}
}
