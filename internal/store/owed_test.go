package store_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/store"
)

func owedBy(change, object string) access.Owed {
	return access.Owed{ID: change, Node: "n1", Actor: "system", Verb: "revoke", Kind: "Session", Object: object, Reason: "zoë \"said\" so", Detail: json.RawMessage(`{"a":1}`)}
}

// A change that takes something away and the leaves it owes are stored together or
// not at all, and stay until they are paid.
func TestAChangeAndWhatItOwesAreOne(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		for i, id := range []string{"ses_1", "ses_2"} {
			f := family(id, 0)
			f.Proof = id
			if i == 1 {
				f.Agent = "other-bot"
			}
			must[identity.Family](t)(s.JoinFamily(t.Context(), f, 0))
		}
		owe := func(f identity.Family) access.Owed { return owedBy("chg_1", f.ID) }
		must[[]identity.Family](t)(s.StateFamilies(t.Context(), identity.Selection{Agent: "release-bot"}, identity.SessionRevoked, "why", owe))
		must[[]identity.Family](t)(s.StateFamilies(t.Context(), identity.Selection{Agent: "release-bot"}, identity.SessionRevoked, "again", owe)) // of none
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", 3)}, Owed: []access.Owed{owedBy("chg_2", "grt_1"), owedBy("chg_2", "grt_2")}})
		stale := aGrant("grt_1", 3)
		stale.Rev = 7
		conflicts(t, "a change of what is another by now", s.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{stale}, Owed: []access.Owed{owedBy("chg_3", "grt_1")}}))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		want := []audit.Debt{{Owed: owedBy("chg_1", "ses_1")}, {Owed: owedBy("chg_2", "grt_1")}, {Owed: owedBy("chg_2", "grt_2"), N: 1}}
		if d := cmp.Diff(want, must[[]audit.Debt](t)(s.Owed(t.Context(), "n1", ""))); d != "" {
			t.Errorf("owed (-want +got):\n%s", d)
		}
		if d := cmp.Diff(want[1:], must[[]audit.Debt](t)(s.Owed(t.Context(), "n1", "chg_2"))); d != "" {
			t.Errorf("owed by one change (-want +got):\n%s", d)
		}
		if other := must[[]audit.Debt](t)(s.Owed(t.Context(), "n2", "")); len(other) > 0 {
			t.Errorf("another node owes %v", other)
		}
		for range 2 {
			if err := s.Paid(t.Context(), want[1]); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff([]audit.Debt{want[0], want[2]}, must[[]audit.Debt](t)(s.Owed(t.Context(), "n1", ""))); d != "" {
			t.Errorf("after one was paid (-want +got):\n%s", d)
		}
	})
}
