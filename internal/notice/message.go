package notice

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxLines bounds what one mail names; of the rest it says how much there is.
const maxLines = 50

// plain is what a name may be to stand in a mail: nothing that a reader of mail takes for
// an address, a link or markup.
var plain = regexp.MustCompile(`^[A-Za-z0-9_:/*-]{1,100}$`) //nolint:gochecknoglobals // compiled once

// Name is a name as it may stand in a mail: itself, or … where it could be more. Names
// are what agents, servers and people chose.
func Name(s string) string {
	if plain.MatchString(s) && !strings.Contains(s, "//") && !strings.HasPrefix(strings.ToLower(s), "mailto:") {
		return s
	}
	return "…"
}

// subject says how much waits, in words of ours alone.
func subject(items []Item) string {
	count := map[string]int{}
	for i := range items {
		count[items[i].About]++
	}
	var parts []string
	for _, x := range []struct{ about, one, many string }{
		{AboutGlass, "break-glass use to review", "break-glass uses to review"}, {AboutRequest, "request to answer", "requests to answer"}, {AboutFinding, "finding", "findings"},
	} {
		switch n := count[x.about]; {
		case n == 1:
			parts = append(parts, "1 "+x.one)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, x.many))
		}
	}
	if len(parts) == 0 {
		return "Rutile: a test"
	}
	return "Rutile: " + strings.Join(parts, ", ")
}

// body is the text of a mail: the worst first, with links that ask for a sign-in.
func body(items []Item, home string) string {
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b Item) int {
		if a.Rank != b.Rank {
			return b.Rank - a.Rank
		}
		return a.Since.Compare(b.Since)
	})
	var b strings.Builder
	if len(items) == 0 {
		b.WriteString("Somebody tested whether mail of the gateway arrives here. It does.\n\n")
	} else {
		b.WriteString("New since the last mail:\n\n")
	}
	for i, it := range items {
		if i == maxLines {
			fmt.Fprintf(&b, "and %d more.\n\n", len(items)-maxLines)
			break
		}
		fmt.Fprintf(&b, "%s (since %s)\n%s\n\n", it.Title, it.Since.UTC().Format(time.DateTime+" UTC"), it.URL)
	}
	fmt.Fprintf(&b, "Everything that waits: %s\n\nThe links ask for a sign-in and give no right. What is said here was written by the gateway; names that could be more than names are left out.\n", home)
	return b.String()
}
