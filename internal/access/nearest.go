package access

import (
	"slices"
	"strings"
)

// Nearest returns the word of list that differs from s by at most two edits.
func Nearest(s string, list []string) string {
	best, cost := "", 3
	for _, w := range list {
		if len(s) > 40 {
			break
		}
		if strings.EqualFold(w, s) {
			return w
		}
		if c := distance(s, w); c < cost && c < len(w) {
			best, cost = w, c
		}
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := prev
			if a[i-1] != b[j-1] {
				cost = 1 + min(prev, row[j], row[j-1])
			}
			prev, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}

// HasLabel reports whether a label is among known ones, of which "kind:*" stands for
// every label of a kind.
func HasLabel(known []string, label string) bool {
	kind, _, ok := strings.Cut(label, ":")
	return slices.Contains(known, label) || ok && slices.Contains(known, kind+":*")
}
