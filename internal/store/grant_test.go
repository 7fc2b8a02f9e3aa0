package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/store"
)

var party = grant.Party{Agent: "bot", Issuer: "https://idp.example", Subject: "zoë"}

func aTask(id string) grant.Task {
	return grant.Task{ID: id, Party: party, Session: "ses_1", Purpose: "ship <it>", Ticket: "T-1", State: grant.TaskOpen, Opened: at(0), Expires: at(3600), Changed: at(0)}
}

func aRequest(id string, identity byte) grant.Request {
	return grant.Request{
		ID: id, State: grant.RequestPending, Party: party, Session: "ses_1", Task: "tsk_1", Scope: grant.ScopeOnce, ArgsDigest: "sha256:1", Arguments: []byte{0, 1, 255},
		Target: grant.Target{Server: "s", Kind: access.KindTool, Name: "t", Digest: "sha256:2", Tier: 3}, Args: demands(), Entitlement: "e", Policies: []string{"p"},
		Rule: grant.Rule{Quorum: 2, Team: "team"}, Life: 60, Uses: 1, Reason: "why", Approvals: []grant.Approval{{By: "user:ann", At: at(1), Method: "api"}},
		Created: at(0), Expires: at(900), Changed: at(1), Identity: [32]byte{identity},
	}
}

func aGrant(id string, uses int64) grant.Grant {
	return grant.Grant{
		ID: id, Request: "req_1", Entitlement: "e", Party: party, Session: "ses_1", Task: "tsk_1", Scope: grant.ScopeTask, Args: demands(), UsesMax: uses,
		Target:    grant.Target{Server: "s", Kind: access.KindTool, Name: "t", Digest: "sha256:2", Tier: 2},
		NotBefore: at(0), Expires: at(600), Quorum: 1, Approvals: []grant.Approval{{By: "user:ann", At: at(0), Method: "cli"}}, Reason: "why", State: grant.GrantActive, Created: at(0), Changed: at(0),
	}
}

// demands is a constraint of every form that JSON could spoil.
func demands() grant.Constraints {
	c, err := grant.ParseConstraints([]byte(`[{"at":"/a~1b/0","eq":{"n":9007199254740993,"x":1.50,"s":"é\u2028<>&"}},{"at":"/n","range":[-1e3,12345678901234567890]},{"at":"/s","in":["a",null,false]},{"at":"/q","regex":"a\\d+"}]`))
	if err != nil {
		panic(err)
	}
	return c
}

func aUse(id, of string, seconds int) grant.Use {
	return grant.Use{ID: id, Grant: of, Decision: "dec_" + id, State: grant.UseReserved, Node: "n1", Boot: "b1", At: at(seconds)}
}

func commitGrants(t testing.TB, s *store.Store, b grant.Batch) {
	t.Helper()
	if err := s.CommitGrants(t.Context(), b); err != nil {
		t.Fatalf("committing: %v", err)
	}
}

func conflicts(t testing.TB, what string, err error) {
	t.Helper()
	if access.CodeOf(err) != access.CodeConflict {
		t.Errorf("%s: %v, want a conflict", what, err)
	}
}

// asStored is what reading returns of objects that were committed new.
func asStored(l grant.Live) grant.Live {
	for i := range l.Tasks {
		l.Tasks[i].Rev = 1
	}
	for i := range l.Requests {
		l.Requests[i].Rev = 1
	}
	for i := range l.Grants {
		l.Grants[i].Rev = 1
	}
	return l
}

func TestGrantsAreReadAsTheyWereWritten(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		b := grant.Batch{Tasks: []grant.Task{aTask("tsk_1")}, Requests: []grant.Request{aRequest("req_1", 1)}, Grants: []grant.Grant{aGrant("grt_1", 3), aGrant("grt_2", 0)}}
		commitGrants(t, s, b)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		want := asStored(grant.Live{Tasks: b.Tasks, Requests: b.Requests, Grants: b.Grants})
		if d := cmp.Diff(want, must[grant.Live](t)(s.LoadGrants(t.Context()))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		// What has ended is kept and not live.
		k, q, g := want.Tasks[0], want.Requests[0], want.Grants[0]
		k.State, q.State, g.State = grant.TaskClosed, grant.RequestDenied, grant.GrantRevoked
		commitGrants(t, s, grant.Batch{Tasks: []grant.Task{k}, Requests: []grant.Request{q}, Grants: []grant.Grant{g}})
		l := must[grant.Live](t)(s.LoadGrants(t.Context()))
		if len(l.Tasks)+len(l.Requests) != 0 || len(l.Grants) != 1 {
			t.Errorf("live is %+v", l)
		}
		k.Rev, q.Rev, g.Rev = 2, 2, 2
		gotK, _, _ := s.Task(t.Context(), k.ID)
		gotQ, _, _ := s.Request(t.Context(), q.ID)
		gotG, ok, err := s.Grant(t.Context(), g.ID)
		if d := cmp.Diff([]any{k, q, g}, []any{gotK, gotQ, gotG}); d != "" || !ok || err != nil {
			t.Errorf("%v, %v (-want +got):\n%s", ok, err, d)
		}
		if _, ok, err := s.Grant(t.Context(), "grt_x"); ok || err != nil {
			t.Errorf("one that is not there: %v, %v", ok, err)
		}
	})
}

// TestABatchIsAllOrNothing: a conflict or an unfit object anywhere in it.
func TestABatchIsAllOrNothing(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		base := grant.Batch{Tasks: []grant.Task{aTask("tsk_1")}, Requests: []grant.Request{aRequest("req_1", 1)}, Grants: []grant.Grant{aGrant("grt_1", 3)}}
		commitGrants(t, s, base)
		before := must[grant.Live](t)(s.LoadGrants(t.Context()))
		rev := func(n int64) (grant.Task, grant.Request, grant.Grant) {
			k, q, g := before.Tasks[0], before.Requests[0], before.Grants[0]
			k.Rev, q.Rev, g.Rev, k.State, q.State, g.State = n, n, n, grant.TaskClosed, grant.RequestDenied, grant.GrantRevoked
			return k, q, g
		}
		k, q, g := rev(1)
		sk, sq, sg := rev(2)
		nul, bad, used := aTask("tsk_9"), aGrant("grt_9", 1), aGrant("grt_9", 1)
		nul.Purpose, bad.State, used.Counts.Spent = "a\x00b", "levitating", 1
		hidden, gone, longID := aRequest("req_9", 9), aGrant("grt_8", 1), aTask(strings.Repeat("x", 2000))
		hidden.Policies, gone.Rev = []string{"a\xff"}, 7
		for name, c := range map[string]struct {
			b    grant.Batch
			code access.Code
		}{
			"stale task":                {grant.Batch{Tasks: []grant.Task{sk}, Requests: []grant.Request{q}, Grants: []grant.Grant{g}}, access.CodeConflict},
			"stale request":             {grant.Batch{Tasks: []grant.Task{k}, Requests: []grant.Request{sq}, Grants: []grant.Grant{g}}, access.CodeConflict},
			"stale grant":               {grant.Batch{Tasks: []grant.Task{k}, Requests: []grant.Request{q}, Grants: []grant.Grant{sg}}, access.CodeConflict},
			"a grant that is not there": {grant.Batch{Tasks: []grant.Task{k}, Grants: []grant.Grant{gone}}, access.CodeConflict},
			"a second like it pending":  {grant.Batch{Tasks: []grant.Task{k}, Requests: []grant.Request{aRequest("req_2", 1)}}, access.CodeConflict},
			"two alike":                 {grant.Batch{Tasks: []grant.Task{k}, Requests: []grant.Request{aRequest("req_2", 2), aRequest("req_3", 2)}}, access.CodeConflict},
			"NUL":                       {grant.Batch{Tasks: []grant.Task{k, nul}}, access.CodeInvalid},
			"not UTF-8":                 {grant.Batch{Tasks: []grant.Task{k}, Requests: []grant.Request{hidden}}, access.CodeInvalid},
			"a long id":                 {grant.Batch{Tasks: []grant.Task{k, longID}}, access.CodeInvalid},
			"no id":                     {grant.Batch{Tasks: []grant.Task{k}, Grants: []grant.Grant{{State: grant.GrantActive}}}, access.CodeInvalid},
			"unknown state":             {grant.Batch{Tasks: []grant.Task{k}, Grants: []grant.Grant{bad}}, ""},
			"new and used":              {grant.Batch{Tasks: []grant.Task{k}, Grants: []grant.Grant{used}}, ""},
		} {
			err := s.CommitGrants(t.Context(), c.b)
			if err == nil || c.code != "" && access.CodeOf(err) != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
			if d := cmp.Diff(before, must[grant.Live](t)(s.LoadGrants(t.Context()))); d != "" {
				t.Fatalf("%s: something was changed (-before +after):\n%s", name, d)
			}
		}
		// One that ends makes room in the same batch, whatever their order.
		commitGrants(t, s, grant.Batch{Requests: []grant.Request{aRequest("req_2", 1), q}})
		// Ended ones may be alike.
		q2 := aRequest("req_2", 1)
		q2.Rev, q2.State = 1, grant.RequestExpired
		commitGrants(t, s, grant.Batch{Requests: []grant.Request{q2, aRequest("req_3", 1)}})
	})
}

// TestOnePendingRequestAmongNodes: many at once on two handles.
func TestOnePendingRequestAmongNodes(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		stores := handles(t, s, cfg)
		var wins atomic.Int32
		parallel(20, func(i int) {
			err := stores[i%2].CommitGrants(t.Context(), grant.Batch{Requests: []grant.Request{aRequest(fmt.Sprint("req_", i), 7)}})
			if err == nil {
				wins.Add(1)
			} else {
				conflicts(t, "a second one", err)
			}
		})
		if wins.Load() != 1 {
			t.Errorf("%d are pending", wins.Load())
		}
	})
}

// handles is the store twice: another node on PostgreSQL, the same on SQLite,
// which only one process opens.
func handles(t *testing.T, s *store.Store, cfg store.Config) [2]*store.Store {
	if s.Dialect() == "sqlite" {
		return [2]*store.Store{s, s}
	}
	return [2]*store.Store{s, open(t, cfg)}
}

func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() { <-start; f(i) })
	}
	close(start)
	wg.Wait()
}

// TestExactlySoManyUses of hundreds of callers on two nodes get through, and
// what they leave behind adds up.
func TestExactlySoManyUses(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		const callers, uses = 300, 50
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", uses), aGrant("grt_2", 0)}})
		stores := handles(t, s, cfg)
		var got, freely atomic.Int64
		var seqs sync.Map
		parallel(callers, func(i int) {
			u := aUse(fmt.Sprint("use_", i), "grt_1", 1)
			c, err := stores[i%2].ReserveUse(t.Context(), u)
			if err != nil {
				conflicts(t, "one too many", err)
			} else {
				if _, twice := seqs.LoadOrStore(c.Seq, true); twice || c.Reserved+c.Spent > uses {
					t.Errorf("counts %+v, twice %t", c, twice)
				}
				got.Add(1)
			}
			if i%3 == 0 {
				if _, err := stores[i%2].ReserveUse(t.Context(), aUse(fmt.Sprint("free_", i), "grt_2", 1)); err != nil {
					t.Errorf("without a limit: %v", err)
				}
				freely.Add(1)
			}
		})
		if got.Load() != uses {
			t.Errorf("%d of %d got through, want %d", got.Load(), callers, uses)
		}
		us := must[[]grant.Use](t)(s.Uses(t.Context(), grant.Filter{Grant: "grt_1", Limit: 1000}))
		g, _, err := s.Grant(t.Context(), "grt_1")
		if len(us) != uses || g.Counts != (grant.Counts{Reserved: uses, Seq: uses, Used: at(1)}) || err != nil {
			t.Errorf("%d uses, counts %+v, %v", len(us), g.Counts, err)
		}
		// They settle at once, some twice: spent plus released is what was taken.
		parallel(2*len(us), func(i int) {
			u := us[i/2]
			if u.State = grant.UseCommitted; (i/2)%5 == 0 {
				u.State = grant.UseReleased
			}
			if _, err := stores[i%2].SettleUse(t.Context(), u, at(2), nil); err != nil {
				t.Errorf("settling: %v", err)
			}
		})
		g, _, err = s.Grant(t.Context(), "grt_1")
		if g.Counts.Reserved != 0 || g.Counts.Spent != uses-uses/5 || g.State != grant.GrantActive || err != nil {
			t.Errorf("settled: %+v, %s, %v", g.Counts, g.State, err)
		}
	})
}

func TestAUseNeedsAGrantInForce(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		states := map[string]grant.State{"grt_a": grant.GrantActive, "grt_s": grant.GrantSuspended, "grt_r": grant.GrantRevoked, "grt_c": grant.GrantCompleted, "grt_e": grant.GrantExpired, "grt_x": grant.GrantExhausted}
		for id, st := range states {
			g := aGrant(id, 100)
			g.State = st
			commitGrants(t, s, grant.Batch{Grants: []grant.Grant{g}})
		}
		for id, st := range states {
			_, err := s.ReserveUse(t.Context(), aUse("use_"+id, id, 1))
			if (err == nil) != (st == grant.GrantActive) {
				t.Errorf("%s: %v", st, err)
			} else if err != nil {
				conflicts(t, string(st), err)
			}
		}
		for n, c := range []struct {
			at time.Time
			ok bool
		}{{at(0).Add(-time.Microsecond), false}, {at(0), true}, {at(600).Add(-time.Microsecond), true}, {at(600), false}} {
			u := aUse(fmt.Sprint("use_", n), "grt_a", 0)
			u.At = c.at
			_, err := s.ReserveUse(t.Context(), u)
			if (err == nil) != c.ok {
				t.Errorf("at %v: %v", c.at, err)
			}
		}
		_, err := s.ReserveUse(t.Context(), aUse("use_none", "grt_none", 1))
		conflicts(t, "no such grant", err)
		before, _, _ := s.Grant(t.Context(), "grt_a")
		again := aUse("use_again", "grt_a", 1)
		again.Decision = "dec_use_1"
		_, err = s.ReserveUse(t.Context(), again)
		conflicts(t, "a decision twice", err)
		for name, change := range map[string]func(*grant.Use){
			"no id": func(u *grant.Use) { u.ID = "" }, "NUL": func(u *grant.Use) { u.ID = "a\x00" }, "no decision": func(u *grant.Use) { u.Decision = "" },
		} {
			u := aUse("use_u", "grt_a", 1)
			change(&u)
			if _, err := s.ReserveUse(t.Context(), u); access.CodeOf(err) != access.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		if after, _, _ := s.Grant(t.Context(), "grt_a"); after.Counts != before.Counts {
			t.Errorf("what was refused counts: %+v, %+v", before.Counts, after.Counts)
		}
	})
}

func TestSettlingTwiceChangesNothing(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", 2)}})
		settle := func(id string, to grant.State, spent, reserved int64, want grant.State) {
			t.Helper()
			u := aUse(id, "grt_1", 1)
			u.State = to
			done, err := s.SettleUse(t.Context(), u, at(2), nil)
			c, st := done.Counts, done.State
			if err != nil || c.Spent != spent || c.Reserved != reserved || st != want {
				t.Errorf("%s as %s: %+v, %s, %v", id, to, c, st, err)
			}
		}
		reserve := func(id string) {
			t.Helper()
			must[grant.Counts](t)(s.ReserveUse(t.Context(), aUse(id, "grt_1", 1)))
		}
		reserve("use_1")
		reserve("use_2")
		settle("use_1", grant.UseReleased, 0, 1, grant.GrantActive)
		settle("use_1", grant.UseCommitted, 0, 1, grant.GrantActive)
		settle("use_none", grant.UseCommitted, 0, 1, grant.GrantActive)
		settle("use_2", grant.UseCommitted, 1, 0, grant.GrantActive)
		settle("use_2", grant.UseReleased, 1, 0, grant.GrantActive)
		reserve("use_3")
		_, err := s.ReserveUse(t.Context(), aUse("use_4", "grt_1", 1))
		conflicts(t, "a third use", err)
		settle("use_3", grant.UseUnknown, 2, 0, grant.GrantExhausted)
		settle("use_3", grant.UseReleased, 2, 0, grant.GrantExhausted)
		g, _, _ := s.Grant(t.Context(), "grt_1")
		g.State = grant.GrantRevoked
		g.Rev = 1
		conflicts(t, "changing it as it was before", s.CommitGrants(t.Context(), grant.Batch{Grants: []grant.Grant{g}}))
		if g, _, _ = s.Grant(t.Context(), "grt_1"); g.State != grant.GrantExhausted || g.Rev != 2 {
			t.Errorf("it is %s at %d", g.State, g.Rev)
		}
		// A grant that was revoked while a call ran stays revoked.
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_2", 1)}})
		must[grant.Counts](t)(s.ReserveUse(t.Context(), aUse("use_9", "grt_2", 1)))
		g = aGrant("grt_2", 1)
		g.Rev, g.State = 1, grant.GrantRevoked
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{g}})
		u := aUse("use_9", "grt_2", 1)
		u.State = grant.UseCommitted
		if done, err := s.SettleUse(t.Context(), u, at(3), nil); done.Counts.Spent != 1 || done.State != grant.GrantRevoked || done.Exhausted || err != nil {
			t.Errorf("%+v, %v", done, err)
		}
		if _, err := s.SettleUse(t.Context(), aUse("use_0", "grt_none", 1), at(3), nil); err == nil {
			t.Error("a use of no grant is settled")
		}
	})
}

// TestAbandonedUsesAreOfThisNodeAndOtherBoots.
func TestAbandonedUsesAreOfThisNodeAndOtherBoots(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", 9), aGrant("grt_2", 2)}})
		for id, w := range map[string][3]string{"use_1": {"grt_1", "n1", "b1"}, "use_2": {"grt_1", "n1", "b2"}, "use_3": {"grt_1", "n2", "b1"}, "use_4": {"grt_2", "n1", "b0"}, "use_5": {"grt_2", "n1", "b1"}} {
			u := aUse(id, w[0], 1)
			u.Node, u.Boot = w[1], w[2]
			must[grant.Counts](t)(s.ReserveUse(t.Context(), u))
		}
		if n := must[int](t)(s.AbandonUses(t.Context(), "n1", "b2", at(5))); n != 3 {
			t.Errorf("%d were abandoned", n)
		}
		if n := must[int](t)(s.AbandonUses(t.Context(), "n1", "b2", at(5))); n != 0 {
			t.Errorf("%d were abandoned again", n)
		}
		got := map[string]grant.State{}
		for _, u := range must[[]grant.Use](t)(s.Uses(t.Context(), grant.Filter{})) {
			got[u.ID] = u.State
		}
		want := map[string]grant.State{"use_1": "unknown", "use_2": "reserved", "use_3": "reserved", "use_4": "unknown", "use_5": "unknown"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		one, _, _ := s.Grant(t.Context(), "grt_1")
		two, _, _ := s.Grant(t.Context(), "grt_2")
		if one.Counts.Spent != 1 || one.Counts.Reserved != 2 || one.State != grant.GrantActive || two.Counts.Spent != 2 || two.State != grant.GrantActive {
			t.Errorf("%+v %s, %+v %s", one.Counts, one.State, two.Counts, two.State)
		}
	})
}

func TestArchivePagesAndFilters(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for i := range 25 {
			n := fmt.Sprintf("%02d", i)
			k, q, g := aTask("tsk_"+n), aRequest("req_"+n, byte(i)), aGrant("grt_"+n, 1)
			q.Task, g.Task = "tsk_"+n, "tsk_"+n
			if i%2 == 1 {
				k.Party.Agent, q.Party.Agent, g.Party.Agent = "other", "other", "other"
				k.State, q.State, g.State = grant.TaskClosed, grant.RequestDenied, grant.GrantRevoked
			}
			commitGrants(t, s, grant.Batch{Tasks: []grant.Task{k}, Requests: []grant.Request{q}, Grants: []grant.Grant{g}})
		}
		var pages []int
		var seen []string
		f := grant.Filter{Limit: 10}
		for {
			page := must[[]grant.Grant](t)(s.Grants(t.Context(), f))
			if len(page) == 0 {
				break
			}
			pages = append(pages, len(page))
			for _, g := range page {
				seen = append(seen, g.ID)
			}
			f.Before = page[len(page)-1].ID
		}
		sorted := slices.Clone(seen)
		slices.Sort(sorted)
		slices.Reverse(sorted)
		if !slices.Equal(pages, []int{10, 10, 5}) || !slices.Equal(seen, sorted) || len(slices.Compact(sorted)) != 25 {
			t.Errorf("pages %v of %v", pages, seen)
		}
		count := func(what string, n, want int) {
			t.Helper()
			if n != want {
				t.Errorf("%s: %d, want %d", what, n, want)
			}
		}
		count("an agent's", len(must[[]grant.Grant](t)(s.Grants(t.Context(), grant.Filter{Agent: "other"}))), 12)
		count("an agent's in a state", len(must[[]grant.Request](t)(s.Requests(t.Context(), grant.Filter{Agent: "other", State: grant.RequestPending}))), 0)
		count("in a state", len(must[[]grant.Task](t)(s.Tasks(t.Context(), grant.Filter{State: grant.TaskOpen}))), 13)
		count("a task's", len(must[[]grant.Request](t)(s.Requests(t.Context(), grant.Filter{Task: "tsk_03"}))), 1)
		count("all together", len(must[[]grant.Grant](t)(s.Grants(t.Context(), grant.Filter{Task: "tsk_03", Agent: "other", State: grant.GrantRevoked, Before: "grt_04", Limit: 5}))), 1)
		count("an injection", len(must[[]grant.Grant](t)(s.Grants(t.Context(), grant.Filter{Agent: "' OR 1=1 --"}))), 0)
		count("a quarter of nothing", len(must[[]grant.Grant](t)(s.Grants(t.Context(), grant.Filter{Before: "a"}))), 0)
	})
}

// TestGrantRowsOfAnotherVersionAreRefused, not half read.
func TestGrantRowsOfAnotherVersionAreRefused(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commitGrants(t, s, grant.Batch{Tasks: []grant.Task{aTask("tsk_1")}, Requests: []grant.Request{aRequest("req_1", 1)}, Grants: []grant.Grant{aGrant("grt_1", 3)}})
		for table, id := range map[string]string{"tasks": "tsk_1", "requests": "req_1", "grants": "grt_1"} {
			for _, doc := range []string{`{"only":"tuesdays"}`, `{"args":[{"at":"/a","unheard":1}]}`, `[]`, ``, `{"id":1}`} {
				if table == "tasks" && strings.Contains(doc, "unheard") {
					continue
				}
				var kept string
				if err := s.Writer().QueryRow("SELECT doc FROM " + table).Scan(&kept); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Writer().Exec("UPDATE "+table+" SET doc = $1", doc); err != nil {
					t.Fatal(err)
				}
				if l, err := s.LoadGrants(t.Context()); err == nil || !strings.Contains(err.Error(), id) {
					t.Errorf("%s with %q: %+v, %v", table, doc, l, err)
				}
				if _, err := s.Writer().Exec("UPDATE "+table+" SET doc = $1", kept); err != nil {
					t.Fatal(err)
				}
			}
		}
		must[grant.Live](t)(s.LoadGrants(t.Context()))
	})
}

// reserveForever reserves uses one after another and says which are durable.
func reserveForever(ctx context.Context, s *store.Store) error {
	for i := 0; ; i++ {
		u := aUse(access.NewID(grant.PrefixUse), "grt_1", 1)
		u.Decision, u.Boot, u.Amount = u.ID, fmt.Sprint("pid ", i, time.Now().UnixNano()), 3
		if _, err := s.ReserveUse(ctx, u); err != nil {
			return err
		}
		fmt.Println("reserved", u.ID)
		u.State = grant.UseCommitted
		if i%2 == 0 {
			if _, err := s.SettleUse(ctx, u, at(2), nil); err != nil {
				return err
			}
			fmt.Println("settled", u.ID)
		}
	}
}

// TestKillReservations: killed at any step, what was said to be reserved counts
// after the next start, what was settled stays, and the counts add up.
func TestKillReservations(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		g := aGrant("grt_1", 1_000_000)
		g.Budget = grant.Budget{Unit: "cent", Amount: 1 << 40, Arg: "/n"}
		commitGrants(t, s, grant.Batch{Grants: []grant.Grant{g}})
		said := map[string]bool{}
		for round := range 4 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			cmd, lines := process(t, "reserve", cfg)
			timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() }) // should it hang
			for n := 5 + 3*round; n > 0 && lines.Scan(); n-- {
				verb, id, _ := strings.Cut(lines.Text(), " ")
				if verb != "reserved" && verb != "settled" {
					t.Fatalf("the other process says %q", lines.Text())
				}
				said[id] = true
			}
			kill(t, cmd)
			timer.Stop()
			s = open(t, cfg)
			// PostgreSQL may only now commit what it got: until nothing more is found.
			for must[int](t)(s.AbandonUses(t.Context(), "n1", "boot of now", at(9))) > 0 {
			}
			us := must[[]grant.Use](t)(s.Uses(t.Context(), grant.Filter{Limit: 1000}))
			states, ids := map[grant.State]int64{}, map[string]bool{}
			for _, u := range us {
				states[u.State]++
				ids[u.ID] = true
			}
			for id := range said {
				if !ids[id] {
					t.Fatalf("round %d: use %s is lost", round, id)
				}
			}
			g, _, err := s.Grant(t.Context(), "grt_1")
			if err != nil || g.Counts.Reserved != states[grant.UseReserved] || g.Counts.Spent != states[grant.UseCommitted]+states[grant.UseUnknown] || states[grant.UseUnknown] == 0 ||
				g.Counts.Amount.Reserved != 3*g.Counts.Reserved || g.Counts.Amount.Spent != 3*g.Counts.Spent {
				t.Fatalf("round %d: counts %+v of %v, %v", round, g.Counts, states, err)
			}
		}
	})
}

// BenchmarkUse measures what a call under a grant costs the store: one use
// reserved and settled.
func BenchmarkUse(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		b.Run(dialect, func(b *testing.B) {
			s := open(b, config(b, dialect))
			commitGrants(b, s, grant.Batch{Grants: []grant.Grant{aGrant("grt_1", 0)}})
			took := make([]time.Duration, 0, 1<<16)
			for i := 0; b.Loop(); i++ {
				from := time.Now()
				u := aUse(fmt.Sprint("use_", i), "grt_1", 1)
				if _, err := s.ReserveUse(b.Context(), u); err != nil {
					b.Fatal(err)
				}
				u.State = grant.UseCommitted
				if _, err := s.SettleUse(b.Context(), u, at(2), nil); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(from))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}
