package mcpproxy_test

import (
	"slices"
	"testing"

	"rutile/internal/mcpproxy"
)

// However often a server says that a resource changed, a listen that is not read
// holds it once; what was told may be noted again, and what is not wanted never.
func TestListenHoldsAChangeOnce(t *testing.T) {
	t.Parallel()
	n := mcpproxy.NewNoted("a", "b")
	for range 10_000 {
		for _, uri := range []string{"b", "a", "c"} {
			n.Mark(uri)
		}
	}
	var got []string
	for uri, ok := n.Next(); ok; uri, ok = n.Next() {
		if got = append(got, uri); len(got) == 1 {
			n.Mark(uri)
		}
	}
	if !slices.Equal(got, []string{"b", "a", "b"}) {
		t.Errorf("told of %v", got)
	}
}
