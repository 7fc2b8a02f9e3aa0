package grant_test

import (
	"slices"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// TestStateTables walks all pairs of every table (access.md 3.1), with words
// that are no states and states of other tables.
func TestStateTables(t *testing.T) {
	type pair struct{ from, to grant.State }
	for kind, c := range map[string]struct {
		states []grant.State
		may    []pair
	}{
		"request": {grant.RequestStates(), []pair{{"pending", "issued"}, {"pending", "denied"}, {"pending", "expired"}, {"pending", "withdrawn"}, {"pending", "invalidated"}, {"pending", "superseded"}}},
		"grant": {grant.GrantStates(), []pair{
			{"scheduled", "active"}, {"scheduled", "suspended"}, {"scheduled", "expired"}, {"scheduled", "completed"}, {"scheduled", "withdrawn"}, {"scheduled", "revoking"},
			{"active", "suspended"}, {"active", "exhausted"}, {"active", "expired"}, {"active", "completed"}, {"active", "withdrawn"}, {"active", "revoking"},
			{"suspended", "active"}, {"suspended", "exhausted"}, {"suspended", "expired"}, {"suspended", "completed"}, {"suspended", "withdrawn"}, {"suspended", "revoking"},
			{"revoking", "revoked"}, {"revoking", "revoke_partial"}, {"revoke_partial", "revoked"},
		}},
		"use":    {grant.UseStates(), []pair{{"reserved", "committed"}, {"reserved", "released"}, {"reserved", "unknown"}}},
		"task":   {grant.TaskStates(), []pair{{"open", "closed"}, {"open", "expired"}}},
		"review": {grant.ReviewStates(), []pair{{"due", "overdue"}, {"due", "reviewed"}, {"overdue", "reviewed"}}},
	} {
		known := map[grant.State]bool{}
		for _, p := range c.may {
			known[p.from], known[p.to] = true, true
		}
		if len(known) != len(c.states) {
			t.Errorf("%s: %d states are stored, the table names %d", kind, len(c.states), len(known))
		}
		all := slices.Concat(grant.RequestStates(), grant.GrantStates(), grant.UseStates(), grant.TaskStates(), grant.ReviewStates(), []grant.State{"", "Pending", "levitating"})
		for _, from := range all {
			for _, to := range all {
				err := grant.Move(kind, from, to)
				if want := slices.Contains(c.may, pair{from, to}); (err == nil) != want {
					t.Errorf("%s from %q to %q: %v", kind, from, to, err)
				} else if err != nil && access.CodeOf(err) != access.CodeConflict {
					t.Errorf("%s from %q to %q: %v is no conflict", kind, from, to, err)
				}
			}
		}
	}
}

// TestRulesReadWhatTheyWrite and nothing else.
func TestRulesReadWhatTheyWrite(t *testing.T) {
	for text, want := range map[string]grant.Rule{
		"auto": {Auto: true}, "quorum:1": {Quorum: 1}, "quorum:10": {Quorum: 10}, "quorum:2:team-a": {Quorum: 2, Team: "team-a"}, "quorum:1:auto": {Quorum: 1, Team: "auto"},
		"quorum:1:team-a then quorum:2:secops": {Quorum: 1, Team: "team-a", Then: grant.Stage{Quorum: 2, Team: "secops"}}, "quorum:1 then quorum:1": {Quorum: 1, Then: grant.Stage{Quorum: 1}},
	} {
		got, err := grant.ParseRule(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q is read as %+v and written as %q, %v", text, got, got, err)
		}
	}
	for _, text := range []string{
		"", "Auto", "auto ", " auto", "auto:team", "quorum", "quorum:", "quorum:0", "quorum:-1", "quorum:+1", "quorum:01", "quorum:11", "quorum:1.5", "quorum: 1", "quorum:1 ",
		"quorum:1:", "quorum:1:Team", "quorum:1:a:b", "quorum:1 :a", "quorum:1: a", "quorum:1:a b", "quorum:1x", "quorum:99999999999999999999", "QUORUM:1", "quorum:0x1", "quorum:1\n", "quorum:1:a\n", "any", "deny",
		"quorum:1 then", "quorum:1 then ", "quorum:1 then auto", "auto then quorum:1", "quorum:1  then quorum:1", "quorum:1 then quorum:1 then quorum:1", "quorum:1 Then quorum:1", "quorum:1 then quorum:0",
	} {
		if got, err := grant.ParseRule(text); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
	}
}
