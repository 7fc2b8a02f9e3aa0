package grant_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/store"
)

// shelf is a store that keeps nothing.
type shelf struct {
	*store.Store
	live grant.Live
}

func (s *shelf) AbandonUses(context.Context, string, string, time.Time) (int, error) { return 0, nil }
func (s *shelf) LoadGrants(context.Context) (grant.Live, error)                      { return s.live, nil }
func (s *shelf) CommitGrants(context.Context, grant.Batch) error                     { return nil }

// BenchmarkChange measures what one more grant costs besides the store, among so
// many live ones.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint("grants=", n), func(b *testing.B) {
			s := &shelf{}
			for i := range n {
				s.live.Grants = append(s.live.Grants, grant.Grant{ID: fmt.Sprint("grt_", i), Party: grant.Party{Agent: fmt.Sprint("a", i%500)}, State: grant.GrantActive, Expires: noon.Add(time.Hour),
					Target: grant.Target{Server: "s", Kind: access.KindTool, Name: fmt.Sprint("t", i), Digest: "sha256:1"}})
			}
			broker, err := grant.New(b.Context(), grant.Config{Node: "n", Boot: "b"}, s, &evidence{}, sealed{}, func() time.Time { return noon })
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := broker.OpenTask(b.Context(), grant.Party{Agent: fmt.Sprint("b", i)}, "", "local:me", grant.TaskSpec{Purpose: "x"}); err != nil {
					b.Fatal(err)
				}
				spec := grant.Spec{Party: grant.Party{Agent: fmt.Sprint("a", i%500)}, Target: deploy, By: "local:me"}
				if _, err := broker.Create(b.Context(), spec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
