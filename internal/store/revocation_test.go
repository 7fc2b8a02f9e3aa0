package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/revocation"
	"rutile/internal/store"
)

func revoked(id string, kind revocation.Kind, target string) revocation.Entry {
	return revocation.Entry{ID: id, Target: revocation.Target{Kind: kind, ID: target}, Cause: "why", Actor: "user:ann", Node: "n1", At: at(1)}
}

// Entries have positions without a gap, whoever appends at once, and come back as they
// were; each owes a leaf, and its receipt another.
func TestRevocationsAreOneLog(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		owe := func(e revocation.Entry) access.Owed { return owedBy("chg_"+e.ID, e.Target.ID) }
		const n = 12
		var work sync.WaitGroup
		for i := range n {
			work.Go(func() {
				if _, err := s.BeginRevocation(t.Context(), revoked(fmt.Sprintf("rev_%02d", i), revocation.Agent, "bot"), owe); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		list := must[[]revocation.Entry](t)(s.Revocations(t.Context(), revocation.Query{After: 3, Limit: 100}))
		if len(list) != n-3 {
			t.Fatalf("%d entries after the third", len(list))
		}
		for i, e := range list {
			want := revoked(e.ID, revocation.Agent, "bot")
			if want.Position = uint64(i + 4); !cmp.Equal(e, want) {
				t.Errorf("entry %d: %s", i, cmp.Diff(want, e))
			}
		}
		id := list[0].ID
		ok(t, s.RevocationDone(t.Context(), id))
		ok(t, s.FinishRevocation(t.Context(), id, []byte(`{"a":1}`), owedBy("chg_receipt", "x")))
		open := must[[]revocation.Entry](t)(s.Revocations(t.Context(), revocation.Query{Unfinished: true, Limit: 100}))
		if len(open) != n-1 || slices.ContainsFunc(open, func(e revocation.Entry) bool { return e.ID == id }) {
			t.Errorf("%d entries have no receipt", len(open))
		}
		newest := must[[]revocation.Entry](t)(s.Revocations(t.Context(), revocation.Query{Newest: true, Before: 5, Limit: 2}))
		if len(newest) != 2 || newest[0].ID != id || !newest[0].Done || string(newest[0].Receipt) != `{"a":1}` {
			t.Errorf("the newest below 5: %+v", newest)
		}
		if debts, err := s.Owed(t.Context(), "n1", ""); err != nil || len(debts) != n+1 {
			t.Errorf("%d leaves are owed, %v", len(debts), err)
		}
		if _, err := s.BeginRevocation(t.Context(), revoked("rev_x", revocation.Agent, ""), owe); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("an entry about nothing: %v", err)
		}
	})
}

// A node is there from its word on until it leaves, and says once what it carried out.
func TestNodesSayThatTheyAreThere(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for _, n := range []string{"n2", "n1", "n2"} {
			ok(t, s.Beat(t.Context(), n))
		}
		nodes := must[[]revocation.Node](t)(s.Nodes(t.Context()))
		if len(nodes) != 2 || nodes[0].ID != "n1" || nodes[0].Age < 0 {
			t.Errorf("%+v", nodes)
		}
		for range 2 {
			ok(t, s.Ack(t.Context(), "rev_1", "n2"))
		}
		if acks := must[[]string](t)(s.Acks(t.Context(), "rev_1")); !slices.Equal(acks, []string{"n2"}) {
			t.Errorf("%v", acks)
		}
		ok(t, s.Leave(t.Context(), "n2"))
		if nodes = must[[]revocation.Node](t)(s.Nodes(t.Context())); len(nodes) != 1 {
			t.Errorf("%+v", nodes)
		}
	})
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
