package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/audit"
	"rutile/internal/store"
)

// TestUsageCountsWhatWasPermitted over every log in the database: what passed only
// because nothing is enforced, what was refused and what is older does not count.
func TestUsageCountsWhatWasPermitted(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		none := must[audit.Usage](t)(s.Usage(t.Context(), at(0), ""))
		if len(none.Uses) != 0 || !none.Oldest.IsZero() {
			t.Errorf("of no evidence: %+v", none)
		}
		n := uint64(0)
		row := func(second int, agent, method, tool, outcome, would string, policies ...string) audit.Row {
			n++
			return audit.Row{Index: n, LeafID: "L", Type: "intent", At: at(second), Agent: agent, Server: "files", Method: method, Tool: tool, Outcome: outcome, Would: would, Policies: policies, Intent: -1}
		}
		rows := []audit.Row{
			row(1, "a", "tools/call", "read", "permit", "", "allow.a.files"),
			row(11, "a", "tools/call", "read", "permit", "", "allow.a.files", "more"),
			row(13, "a", "tools/call", "read", "permit", "permit", "allow.a.files"),
			row(12, "a", "tools/call", "write", "permit", "deny", "no"),
			row(12, "a", "tools/call", "write", "deny", "", "no"),
			row(14, "a", "resources/read", "file:///1", "permit", ""),
			row(15, "a", "resources/read", "file:///2", "permit", ""),
			row(16, "b", "tools/call", "read", "permit", ""),
			{Index: 99, LeafID: "L", Type: "admin", At: at(17), Actor: "user:ann", Object: "a", Intent: -1},
		}
		if err := s.PutRows(t.Context(), "one", rows[:5], 5); err != nil {
			t.Fatal(err)
		}
		if err := s.PutRows(t.Context(), "two", rows[5:], 100); err != nil {
			t.Fatal(err)
		}
		got := must[audit.Usage](t)(s.Usage(t.Context(), at(10), ""))
		want := audit.Usage{Oldest: at(1), Uses: []audit.Use{
			{Agent: "a", Server: "files", Method: "resources/read", Calls: 2, Last: at(15)},
			{Agent: "a", Server: "files", Method: "tools/call", Target: "read", Calls: 2, Last: at(13)},
			{Agent: "b", Server: "files", Method: "tools/call", Target: "read", Calls: 1, Last: at(16)},
		}, Policies: map[string]audit.PolicyUsage{
			"allow.a.files": {Decisions: 2, Last: at(13)}, "more": {Decisions: 1, Last: at(11)}, "no": {Decisions: 2, Last: at(12)},
		}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if one := must[audit.Usage](t)(s.Usage(t.Context(), at(0).Add(-time.Hour), "b")); len(one.Uses) != 1 || len(one.Policies) != 0 {
			t.Errorf("of one agent: %+v", one)
		}
	})
}

// TestLastCallsAreThosePermitted since a time, of every log.
func TestLastCallsAreThosePermitted(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		row := func(n uint64, second int, kind, server, outcome string) audit.Row {
			return audit.Row{Index: n, LeafID: "L", Type: kind, At: at(second), Agent: "a", Server: server, Method: "tools/call", Tool: "read", Outcome: outcome, Intent: -1}
		}
		if err := s.PutRows(t.Context(), "one", []audit.Row{row(1, 1, "intent", "files", "permit"), row(2, 9, "intent", "files", "deny"), row(3, 8, "verdict", "files", "permit")}, 4); err != nil {
			t.Fatal(err)
		}
		if err := s.PutRows(t.Context(), "two", []audit.Row{row(1, 5, "intent", "files", "permit"), row(2, 3, "intent", "mail", "permit")}, 3); err != nil {
			t.Fatal(err)
		}
		for since, want := range map[int64]map[string]int64{
			0:                 {"files": at(5).UnixMicro(), "mail": at(3).UnixMicro()},
			at(4).UnixMicro(): {"files": at(5).UnixMicro()},
			at(6).UnixMicro(): {},
		} {
			got, oldest, err := s.LastCalls(t.Context(), since)
			if d := cmp.Diff(want, got); err != nil || d != "" || oldest != at(1).UnixMicro() {
				t.Errorf("since %d: oldest %d, %v (-want +got):\n%s", since, oldest, err, d)
			}
		}
	})
}
