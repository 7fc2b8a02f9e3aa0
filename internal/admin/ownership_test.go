package admin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/discovery"
	"rutile/internal/finding"
	"rutile/internal/registry"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// noDebts owes nothing.
type noDebts struct{}

func (noDebts) Settle(context.Context, string) error { return nil }

// found is an inventory beside an office, with findings in a store.
func found(t *testing.T, a *admin.Admin) (*admin.Inventory, *admin.Findings) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	f, err := admin.NewFindings(a, s, noDebts{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := admin.InventoryConfig{Host: "hst_0123456789ab", Describe: func() *discovery.Describer { return &discovery.Describer{} }}
	v, err := admin.NewInventory(cfg, a, s, f, noDebts{})
	if err != nil {
		t.Fatal(err)
	}
	return v, f
}

// An overdue review and a decision that waits are findings, graded and due by the
// risk tier, and end with the answer.
func TestWhatOwnersOweIsAFinding(t *testing.T) {
	w := watching(t)
	v, f := found(t, w.Admin)
	w.apply("kind: Server\nid: fresh\nowner: docs\nstate: triaged\nriskTier: 3\n" + pinnedServer + scoped)
	told := func(state finding.State) string {
		t.Helper()
		if err := v.Owned(t.Context(), map[string]time.Time{"s": w.now}, day.AddDate(-1, 0, 0)); err != nil {
			t.Fatal(err)
		}
		list, err := f.List(t.Context(), finding.Filter{State: state})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for i := range list {
			x := &list[i]
			late := ""
			if x.Overdue(w.now) {
				late = " overdue"
			}
			out = append(out, fmt.Sprintf("%s %s %s tier %d within %s%s", x.Severity, x.Rule, x.Subject.ID, x.Tier, x.Due.Sub(x.Opened), late))
		}
		slices.Sort(out)
		return strings.Join(out, "\n")
	}
	risk := w.Current().RiskOf(theServer(t, w.Admin), w.now).Tier
	if risk != 1 {
		t.Fatalf("the tier of s is %d", risk)
	}
	const undecided = "low UNDECIDED_SERVER fresh tier 3 within 24h0m0s"
	if got := told(""); got != undecided {
		t.Errorf("before the review:\n%s", got)
	}
	w.now = w.now.AddDate(0, 0, 8) // 2027-02-21: s was due on the day before
	if got := told(""); got != undecided+" overdue\nmedium STALE_REVIEW s tier 1 within 720h0m0s" {
		t.Errorf("after its day:\n%s", got)
	}
	w.now = w.now.AddDate(0, 0, 2) // 2027-02-23: the agent too
	if got := told(""); !strings.Contains(got, "medium STALE_REVIEW reader tier 1 within 720h0m0s") {
		t.Errorf("an agent past its day:\n%s", got)
	}
	if _, err := w.AnswerReview(t.Context(), ann, admin.ReviewServer, "s", admin.ReviewAnswer{Decision: "keep"}); err != nil {
		t.Fatal(err)
	}
	if got := told(finding.Resolved); got != "medium STALE_REVIEW s tier 1 within 720h0m0s" {
		t.Errorf("answered:\n%s", got)
	}
	if late, err := f.List(t.Context(), finding.Filter{Overdue: true}); err != nil || len(late) != 1 || late[0].Subject.ID != "fresh" {
		t.Errorf("overdue are %v, %v", late, err)
	}
}

func theServer(t *testing.T, a *admin.Admin) registry.Server {
	t.Helper()
	s, ok := a.Current().View.Server("s")
	if !ok {
		t.Fatal("s is not there")
	}
	return s
}
