package mcpproxy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rutile/internal/mcpproxy"
)

// TestHiddenEntriesLeaveTheRestAsItWas: whichever entries are taken out, what is
// left is the others, in order, byte for byte, and a JSON array.
func TestHiddenEntriesLeaveTheRestAsItWas(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 9 {
		for mask := range 1 << n {
			entries, shown, want := make([]string, n), make([]bool, n), []string{}
			for i := range n {
				entries[i] = fmt.Sprintf(`{"name":"t%d", "x":[%d,"],["]}`, i, r.IntN(99))
				if shown[i] = mask>>i&1 == 1; shown[i] {
					want = append(want, entries[i])
				}
			}
			for _, sep := range []string{",", " ,\n\t "} {
				list := "[" + strings.Repeat(" ", r.IntN(3)) + strings.Join(entries, sep) + strings.Repeat("\n", r.IntN(3)) + "]"
				got, err := mcpproxy.WithoutHidden([]byte(list), shown)
				if err != nil {
					t.Fatal(err)
				}
				var left []json.RawMessage
				if err := json.Unmarshal(got, &left); err != nil {
					t.Fatalf("%s without %v: %s", list, shown, got)
				}
				have := []string{}
				for _, e := range left {
					have = append(have, string(e))
				}
				if !slices.Equal(have, want) {
					t.Fatalf("%s without %v: %s", list, shown, got)
				}
			}
		}
	}
}
