package store_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/grant"
	"rutile/internal/store"
)

// TestWhatWasMintedIsKept as it was noted, until it ended or its time is over, and under
// no grant that was taken back or has not begun.
func TestWhatWasMintedIsKept(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		later, done := aGrant("grt_later", 1), aGrant("grt_done", 1)
		later.State, done.State = grant.GrantScheduled, grant.GrantWithdrawn
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", 3), aGrant("grt_2", 3), later, done}})
		m := grant.Minted{Grant: "grt_1", Credential: "crm", Kind: "clientCredentials", Version: "v1", Server: "up", Node: "n1", At: at(1), Expires: at(60), Sealed: []byte{0, 255, 7}}
		dark := grant.Minted{Grant: "grt_1", Credential: "sts", Kind: "awsSTS", Version: "v2", Server: "up", Node: "n1", At: at(1)}
		also := m
		also.Grant = "grt_2"
		for _, x := range []grant.Minted{m, m, dark, also} {
			if err := s.KeepMinted(t.Context(), x); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"grt_later", "grt_done", "grt_none"} {
			x := m
			x.Grant = id
			conflicts(t, id, s.KeepMinted(t.Context(), x))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		under := func() map[string][]grant.Minted {
			return must[map[string][]grant.Minted](t)(s.MintedUnder(t.Context(), []string{"grt_1", "grt_2", "grt_later"}))
		}
		if d := cmp.Diff(map[string][]grant.Minted{"grt_1": {m, dark}, "grt_2": {also}}, under()); d != "" {
			t.Errorf("kept (-want +got):\n%s", d)
		}
		gone := aGrant("grt_2", 3)
		gone.Rev, gone.State = 1, grant.GrantRevoked
		conflicts(t, "revoked while something lives", s.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{gone}}))
		gone.State = grant.GrantRevoking
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{gone}})
		conflicts(t, "minted under what is being revoked", s.KeepMinted(t.Context(), also))
		if list := must[[]grant.Grant](t)(s.Revoking(t.Context())); len(list) != 1 || list[0].ID != "grt_2" {
			t.Errorf("being revoked: %v", list)
		}
		for _, want := range []int{2, 1, 0} {
			if got := len(under()["grt_1"]); got != want {
				t.Errorf("%d live, want %d", got, want)
			}
			switch want {
			case 2:
				if err := s.DropExpired(t.Context(), at(59)); err != nil || len(under()["grt_1"]) != 2 {
					t.Errorf("before their time: %v", err)
				}
				if err := s.DropMinted(t.Context(), "crm", "v1"); err != nil || len(under()["grt_2"]) != 0 {
					t.Errorf("one that ended lives under another grant: %v", err)
				}
			case 1:
				if err := s.DropExpired(t.Context(), at(1+24*3600)); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// plain seals nothing, and records nothing.
type plain struct{}

func (plain) Seal(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (plain) Open(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (plain) Record(context.Context, []grant.Event) error                { return nil }
func (plain) Settle(context.Context, []access.Owed) error                { return nil }

// TestTwoNodesRevokeAsOne: a grant scheduled at one begins at both, and while both mint
// under it and one revokes it, what was minted is ended once and nothing is lost.
func TestTwoNodesRevokeAsOne(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		stores := handles(t, s, cfg)
		var now atomic.Int64
		clock := func() time.Time { return at(int(now.Load())) }
		var nodes [2]*grant.Broker
		for i := range nodes {
			nodes[i] = must[*grant.Broker](t)(grant.New(t.Context(), grant.Config{Node: fmt.Sprint("n", i), Boot: "b"}, stores[i], plain{}, plain{}, clock))
		}
		target := grant.Target{Server: "up", Kind: access.KindTool, Name: "echo", Digest: "sha256:1"}
		g := must[grant.Grant](t)(nodes[0].Create(t.Context(), grant.Spec{Party: grant.Party{Agent: "bot"}, Target: target, By: "user:ann", NotBefore: at(10)}))
		same := grant.Standing{Digest: func(grant.Target) string { return target.Digest }}
		covers := func(n int) int {
			if err := nodes[n].Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			return len(nodes[n].Covering(&grant.Call{Party: g.Party, Target: target, Unknown: true, At: clock()}))
		}
		now.Store(9)
		if err := nodes[1].Sweep(t.Context(), same); err != nil || covers(0)+covers(1) != 0 {
			t.Errorf("before its time: %v", err)
		}
		now.Store(10)
		if covers(0); nodes[1].Refresh(t.Context()) != nil {
			t.Fatal("the second cannot read")
		}
		parallel(2, func(n int) { _ = nodes[n].Sweep(t.Context(), same) }) // one may be told that the other was first
		if covers(0) != 1 || covers(1) != 1 {
			t.Fatal("it does not begin at both")
		}
		var minted, refused atomic.Int32
		parallel(21, func(i int) {
			if i == 10 {
				if _, err := nodes[0].Revoke(t.Context(), g.ID, "user:ann", "enough"); err != nil {
					t.Errorf("revoking: %v", err)
				}
				return
			}
			switch err := nodes[i%2].Mint(t.Context(), grant.Minted{Grant: g.ID, Credential: "crm", Kind: "githubApp", Version: fmt.Sprint("v", i), Server: "up", Expires: at(3600)}, []byte("how")); access.CodeOf(err) {
			case "":
				minted.Add(1)
			case access.CodeDenied:
				refused.Add(1)
			default:
				t.Errorf("minting: %v", err)
			}
		})
		if covers(0)+covers(1) != 0 || minted.Load()+refused.Load() != 20 {
			t.Errorf("%d minted, %d refused, and calls are covered", minted.Load(), refused.Load())
		}
		now.Store(30) // each may end what the other made
		var asked atomic.Int32
		end := func(context.Context, grant.Minted, []byte) string { asked.Add(1); return "" }
		parallel(4, func(n int) {
			if err := nodes[n%2].Finish(t.Context(), end); err != nil {
				t.Errorf("finishing: %v", err)
			}
		})
		if err := nodes[0].Finish(t.Context(), end); err != nil {
			t.Error(err)
		}
		kept, _, err := s.Grant(t.Context(), g.ID)
		if err != nil || kept.State != grant.GrantRevoked || asked.Load() != minted.Load() {
			t.Errorf("it is %s, and %d of %d were ended: %v", kept.State, asked.Load(), minted.Load(), err)
		}
	})
}

// exhaustForever uses up one grant after another, and says which are.
func exhaustForever(ctx context.Context, s *store.Store) error {
	for {
		g := aGrant(access.NewID(access.PrefixGrant), 1)
		if err := s.CommitGrants(ctx, grant.Batch{Grants: []grant.Grant{g}}); err != nil {
			return err
		}
		u := aUse(access.NewID(grant.PrefixUse), g.ID, 1)
		u.Decision = u.ID
		if _, err := s.ReserveUse(ctx, u); err != nil {
			return err
		}
		u.State = grant.UseCommitted
		if _, err := s.SettleUse(ctx, u, at(2), owing); err != nil {
			return err
		}
		fmt.Println(g.ID)
	}
}

func owing(g grant.Grant) (grant.Grant, []access.Owed, error) {
	was := string(g.State)
	g.State, g.Why = grant.GrantExhausted, "every use is spent"
	return g, []access.Owed{{ID: access.NewID(access.PrefixChange), Node: "n1", Actor: "system", Verb: "exhaust", Kind: grant.KindGrant, Object: g.ID, Before: was, Reason: g.Why}}, nil
}

// TestKilledWhileUsedUp: whenever the process ends, a grant that is exhausted owes its
// leaf, and one that is not owes none.
func TestKilledWhileUsedUp(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		for round := range 3 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			cmd, lines := process(t, "exhaust", cfg)
			timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() }) // should it hang
			said := map[string]bool{}
			for n := 3 + 2*round; n > 0 && lines.Scan(); n-- {
				said[lines.Text()] = true
			}
			kill(t, cmd)
			timer.Stop()
			s = open(t, cfg)
			owed := map[string]bool{}
			for _, o := range must[[]audit.Debt](t)(s.Owed(t.Context(), "n1", "")) {
				owed[o.Object] = o.Before == string(grant.GrantActive)
			}
			exhausted := must[[]grant.Grant](t)(s.Grants(t.Context(), grant.Filter{State: grant.GrantExhausted, Limit: 1000}))
			for _, g := range exhausted {
				if !owed[g.ID] || g.Why != "every use is spent" {
					t.Errorf("grant %s is exhausted (%q) and owes nothing", g.ID, g.Why)
				}
				delete(said, g.ID)
				delete(owed, g.ID)
			}
			if len(exhausted) == 0 || len(said) > 0 || len(owed) > 0 {
				t.Errorf("%d are exhausted; not: %v; they owe: %v", len(exhausted), said, owed)
			}
		}
	})
}
