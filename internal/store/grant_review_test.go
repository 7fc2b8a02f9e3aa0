package store_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/store"
)

func aReview(id, entitlement, person string) grant.Review {
	return grant.Review{Grant: id, Entitlement: entitlement, Owner: "team", Person: person, Party: party, Target: aGrant(id, 1).Target, Reason: "it burns <&>",
		State: grant.ReviewDue, Opened: at(0), Due: at(86400), Changed: at(0)}
}

// TestReviewsAreOwedOnce by a person for an entitlement: while one is, a batch that
// adds another changes nothing; once it is reviewed, it may.
func TestReviewsAreOwedOnce(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		first := aReview("grt_1", "e", "user:ann")
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", 1)}, Reviews: []grant.Review{first}})
		commitGrants(t, s, grant.Batch{Reviews: []grant.Review{aReview("grt_2", "e", "user:bob"), aReview("grt_3", "f", "user:ann")}})
		second := grant.Batch{Grants: []grant.Grant{aGrant("grt_4", 1)}, Reviews: []grant.Review{aReview("grt_4", "e", "user:ann")}}
		conflicts(t, "another one", s.CommitGrants(t.Context(), second))
		conflicts(t, "the same one", s.CommitGrants(t.Context(), grant.Batch{Reviews: []grant.Review{first}}))
		if _, ok, err := s.Grant(t.Context(), "grt_4"); ok || err != nil {
			t.Errorf("its grant is there: %v", err)
		}
		first.Rev = 1
		got, ok, err := s.Review(t.Context(), "grt_1")
		if d := cmp.Diff(first, got); !ok || err != nil || d != "" {
			t.Errorf("%t, %v (-want +got):\n%s", ok, err, d)
		}
		late := first
		late.State = grant.ReviewOverdue
		commitGrants(t, s, grant.Batch{Reviews: []grant.Review{late}})
		conflicts(t, "of an older one", s.CommitGrants(t.Context(), grant.Batch{Reviews: []grant.Review{late}}))
		conflicts(t, "while it is overdue", s.CommitGrants(t.Context(), second))
		late.Rev, late.State, late.By, late.Verdict = 2, grant.ReviewDone, "user:bob", grant.Justified
		commitGrants(t, s, grant.Batch{Reviews: []grant.Review{late}})
		commitGrants(t, s, second)
		wrong := aReview("grt_5", "g", "user:ann")
		wrong.State = "forgotten"
		if err := s.CommitGrants(t.Context(), grant.Batch{Reviews: []grant.Review{wrong}}); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("another state: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		l, err := s.LoadGrants(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var owed []string
		for _, r := range l.Reviews {
			owed = append(owed, r.Grant)
		}
		if d := cmp.Diff([]string{"grt_2", "grt_3", "grt_4"}, owed); d != "" {
			t.Errorf("owed after a restart (-want +got):\n%s", d)
		}
		done, err := s.Reviews(t.Context(), grant.Filter{State: grant.ReviewDone})
		late.Rev = 3
		if d := cmp.Diff([]grant.Review{late}, done); err != nil || d != "" {
			t.Errorf("reviewed: %v (-want +got):\n%s", err, d)
		}
	})
}

// TestOneOfManyBreaksTheGlass among nodes that all try at once.
func TestOneOfManyBreaksTheGlass(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			id := "grt_" + string(rune('a'+i))
			wg.Go(func() {
				switch err := s.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{aGrant(id, 1)}, Reviews: []grant.Review{aReview(id, "e", "user:ann")}}); {
				case err == nil:
					won.Add(1)
				case access.CodeOf(err) != access.CodeConflict:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		l, err := s.LoadGrants(t.Context())
		if won.Load() != 1 || len(l.Grants) != 1 || len(l.Reviews) != 1 || err != nil {
			t.Errorf("%d won, %d grants, %d reviews, %v", won.Load(), len(l.Grants), len(l.Reviews), err)
		}
	})
}
