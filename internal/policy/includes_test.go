package policy_test

import (
	"math/rand/v2"
	"testing"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// TestIncludesIsNeverTooWide: where one pattern is said to include another,
// everything the other covers it covers.
func TestIncludesIsNeverTooWide(t *testing.T) {
	pieces := []string{"a", "b", "*", "_", "prompts/", "resources/", "read"}
	r := rand.New(rand.NewPCG(1, 2))
	pattern := func() policy.Pattern {
		for {
			s := []string{"s", "*", "s1", "s*"}[r.IntN(4)] + "/"
			for range 1 + r.IntN(3) {
				s += pieces[r.IntN(len(pieces))]
			}
			if p, err := policy.ParsePattern(s); err == nil {
				return p
			}
		}
	}
	names := []string{"a", "b", "ab", "aba", "a_b", "_", "read", "prompts/a", "resources/read", "aread", "ba_"}
	included := 0
	for range 20_000 {
		p, q := pattern(), pattern()
		if !p.Includes(q) {
			continue
		}
		included++
		for _, server := range []string{"s", "s1", "s12", "t"} {
			for _, name := range names {
				for _, kind := range []access.Kind{access.KindTool, access.KindPrompt, access.KindResource} {
					if q.Covers(server, kind, name) && !p.Covers(server, kind, name) {
						t.Fatalf("%v includes %v and does not cover %s %s/%s", p, q, kind, server, name)
					}
				}
			}
		}
	}
	if included < 500 {
		t.Errorf("only %d pairs were included", included)
	}
}
