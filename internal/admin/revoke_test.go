package admin_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/revocation"
)

// A grant ends with all that was carved out of it, at every depth, and with the calls
// under any part; what it was carved out of, and what stands beside it, stays.
func TestRevokingAGrantEndsTheTreeBelowItAndNothingElse(t *testing.T) {
	r := newRevoker(t)
	root, beside := r.granted("app"), r.granted("app")
	child := r.handed(root.ID, "other", 1)
	leaf := r.handed(child.ID, "third", 0)
	r.under = []string{root.ID, child.ID, leaf.ID, beside.ID, ""}
	rec := r.order("grant", child.ID)
	equal(t, "what ended", sorted(rec.Grants...), sorted(child.ID, leaf.ID))
	equal(t, "calls cut", sorted(r.cut...), sorted(child.ID, leaf.ID))
	for _, g := range []grant.Grant{root, beside} {
		equal(t, "what stays", r.standing(g.ID).State, grant.GrantActive)
	}
	equal(t, "done", rec.State, admin.ReceiptDone)
	r.under = nil
	equal(t, "anew", r.order("grant", child.ID).Again, true)
	rec = r.order("agent", "bot")
	equal(t, "of the agent", sorted(rec.Grants...), sorted(root.ID, beside.ID))
}

// What a person approved ends with its parts, also where others approved it too, and
// requests that carry their yes; what others approved alone stays. Their tokens end.
func TestRevokingAnApproverEndsWhatTheyApproved(t *testing.T) {
	r := newRevoker(t)
	r.presented("app")
	theirs, both, not := r.granted("app"), r.granted("two", "app"), r.granted("two")
	part := r.handed(theirs.ID, "other", 0)
	half, free := r.wanted(2), r.wanted(2)
	if _, err := r.Approve(t.Context(), user("app"), half.ID, grant.Answer{Reason: "fine"}); err != nil {
		t.Fatal(err)
	}
	r.under = []string{part.ID, not.ID}
	rec := r.order("approver", "app")
	equal(t, "grants", sorted(rec.Grants...), sorted(theirs.ID, both.ID, part.ID))
	equal(t, "requests", rec.Requests, []string{half.ID})
	equal(t, "calls cut", r.cut, []string{part.ID})
	equal(t, "what others approved", r.standing(not.ID).State, grant.GrantActive)
	if u, _ := r.Current().View.User("app"); len(u.Tokens) > 0 {
		t.Error("their token stands")
	}
	if _, err := r.Approve(t.Context(), user("two"), half.ID, grant.Answer{Reason: "fine"}); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("a second yes to what ended: %v", err)
	}
	if _, err := r.Approve(t.Context(), user("two"), free.ID, grant.Answer{Reason: "fine"}); err != nil {
		t.Errorf("a request they had no part in: %v", err)
	}
}

// A credential that is revoked is gone, its issuer is asked to end what was made of it,
// and what the issuer left is named.
func TestRevokingACredentialRemovesItAndSaysWhatLives(t *testing.T) {
	r := newRevoker(t)
	if _, err := r.SetCredential(t.Context(), ann, credential.Secret{ID: "key"}, []byte("a long value")); err != nil {
		t.Fatal(err)
	}
	rec := r.order("credential", "key")
	list, err := r.ListCredentials(t.Context())
	if err != nil || len(list) != 0 {
		t.Errorf("it is there still: %+v %v", list, err)
	}
	if len(rec.Said) == 0 || rec.State == admin.ReceiptDone != (len(rec.Credentials) == 0) {
		t.Errorf("the receipt: %+v", rec)
	}
	again := r.order("credential", "key")
	equal(t, "anew", again.Again, true)
	if _, err := r.effects.Revoke(t.Context(), ann, admin.Order{Kind: "credential", ID: "nokey"}); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("of a credential nobody knows: %v", err)
	}
}

// An order of which a part fails has no receipt that says it is over: the gateway goes
// on with it until all of it has ended.
func TestARevocationThatFailsInPartIsGoneOnWith(t *testing.T) {
	r := newRevoker(t)
	g, f := r.granted("app"), r.session("bot", "")
	r.db.down.Store(true)
	rec, err := r.effects.Revoke(t.Context(), ann, admin.Order{Kind: "agent", ID: "bot", Reason: "it leaks"})
	if !errors.Is(err, errDown) || rec.State != admin.ReceiptPartial {
		t.Fatalf("the receipt: %+v %v", rec, err)
	}
	equal(t, "sessions ended all the same", rec.Sessions, []string{f.ID})
	equal(t, "unfinished", r.unfinished(), 1)
	if err := r.effects.Resume(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("while it fails: %v", err)
	}
	kept, err := r.effects.Receipt(t.Context(), rec.Revocation)
	if err != nil || kept.State != admin.ReceiptPartial {
		t.Errorf("what is kept: %+v %v", kept, err)
	}
	r.db.down.Store(false)
	if err := r.effects.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "the grant", r.standing(g.ID).State, grant.GrantRevoked)
	kept, err = r.effects.Receipt(t.Context(), rec.Revocation)
	if err != nil || kept.State != admin.ReceiptDone || !slices.Equal(kept.Grants, []string{g.ID}) || kept.Actor != ann.String() {
		t.Errorf("the receipt: %+v %v", kept, err)
	}
	equal(t, "unfinished", r.unfinished(), 0)
}

// A reason in whatever script does not make half of an order fail.
func TestAReasonNeverLeavesHalfOfARevocation(t *testing.T) {
	for why, refused := range map[string]bool{"토큰　유출": false, "it\u00a0leaks": false, "it leaks \U0001f525": false, "it\u0378leaks": true, "it\uffffleaks": true, "it\nleaks": true, "\xff": true} {
		r := newRevoker(t)
		g := r.granted("app")
		_, err := r.effects.Revoke(t.Context(), ann, admin.Order{Kind: "agent", ID: "bot", Reason: why})
		want := grant.GrantRevoked
		if refused {
			want = grant.GrantActive
		}
		if refused != (access.CodeOf(err) == access.CodeInvalid) || !refused && err != nil {
			t.Errorf("%q: %v", why, err)
		}
		equal(t, why, r.standing(g.ID).State, want)
		equal(t, "unfinished", r.unfinished(), 0)
		equal(t, "in the log", r.log.Position() > 0, !refused)
	}
}

// A gateway that was killed after an order was written goes on with it, of every kind,
// once, and says of what it finds ended already what of it lives upstream.
func TestARevocationThatWasKilledIsGoneOnWithOnce(t *testing.T) {
	for _, kind := range []revocation.Kind{revocation.Tenant, revocation.User, revocation.Agent, revocation.Session, revocation.Grant, revocation.Server, revocation.Tool, revocation.Approver} {
		for _, late := range []bool{false, true} { // killed when its grants had ended
			r := newRevoker(t)
			r.lives = "the issuer does not answer"
			g, f := r.granted("app"), r.session("bot", "https://gw|zoe")
			if err := r.broker.Mint(t.Context(), grant.Minted{Grant: g.ID, Credential: "key", Kind: "oauth", Version: "v1", Server: "files", Node: "n1", At: r.now, Expires: r.now.Add(time.Hour)}, []byte("how")); err != nil {
				t.Fatal(err)
			}
			id := map[revocation.Kind]string{revocation.Tenant: "default", revocation.User: "https://gw|zoe", revocation.Agent: "bot", revocation.Session: f.ID, revocation.Grant: g.ID,
				revocation.Server: "files", revocation.Tool: "files/read", revocation.Approver: "user:app"}[kind]
			entry := revocation.Entry{ID: "rev_killed", Target: revocation.Target{Kind: kind, ID: id}, Cause: "killed", Actor: "user:ann", Node: "n1", At: r.now}
			if _, err := r.db.BeginRevocation(t.Context(), entry, func(revocation.Entry) access.Owed {
				return access.Owed{ID: "chg_k", Node: "n1", Verb: "revoke", Kind: "Revocation", Object: "x"}
			}); err != nil {
				t.Fatal(err)
			}
			if late && kind != revocation.Session {
				if _, err := r.broker.RevokeAll(t.Context(), func(x *grant.Grant) bool { return x.ID == g.ID }, "user:ann", "killed"); err != nil {
					t.Fatal(err)
				}
			}
			r.start()
			for range 2 {
				if err := r.effects.Resume(t.Context()); err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
			}
			rec, err := r.effects.Receipt(t.Context(), "rev_killed")
			if err != nil {
				t.Fatal(err)
			}
			if kind == revocation.Session {
				equal(t, "its session", rec.Sessions, []string{f.ID})
				equal(t, "its agent's grant", r.standing(g.ID).State, grant.GrantActive)
				continue
			}
			if s := r.standing(g.ID).State; s != grant.GrantRevokePartial && s != grant.GrantRevoking {
				t.Errorf("%s, late %t: the grant is %s", kind, late, s)
			}
			if rec.State != admin.ReceiptPartial || len(rec.Credentials) != 1 || rec.Credentials[0].Version != "v1" || rec.Credentials[0].Result == "revoked" {
				t.Errorf("%s, late %t: the receipt hides what lives: %+v", kind, late, rec)
			}
			equal(t, "unfinished", r.unfinished(), 0)
		}
	}
}

// Two orders of the same at once: each has its place in the log and its receipt, and what
// ended is in one of them.
func TestOrdersOfTheSameAtOnceEachHaveAReceipt(t *testing.T) {
	r := newRevoker(t)
	g, f := r.granted("app"), r.session("bot", "")
	const n = 6
	recs := make([]admin.Receipt, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			var err error
			if recs[i], err = r.effects.Revoke(t.Context(), ann, admin.Order{Kind: "agent", ID: "bot", Reason: "a test"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() {
		if err := r.effects.Resume(t.Context()); err != nil { // it leaves alone what is being carried out
			t.Error(err)
		}
	})
	all.Wait()
	epochs, sessions, grants := map[uint64]bool{}, []string{}, []string{}
	for _, rec := range recs {
		epochs[rec.Epoch] = true
		sessions, grants = append(sessions, rec.Sessions...), append(grants, rec.Grants...)
	}
	equal(t, "epochs", len(epochs), n)
	equal(t, "sessions", sessions, []string{f.ID})
	equal(t, "grants", grants, []string{g.ID})
	equal(t, "unfinished", r.unfinished(), 0)
}

// A token that was accepted before this gateway heard of a revocation permits nothing once
// it has heard, although its session was opened after it by a gateway that had not.
func TestWhatWasAcceptedBeforeARevocationWasHeardIsRefused(t *testing.T) {
	r := newRevoker(t)
	who := func(f identity.Family, epoch uint64) *access.Identity {
		return &access.Identity{Actor: access.Actor{Agent: f.Agent}, Subject: access.Subject{Issuer: "https://gw", ID: "zoe"}, Session: f.ID, Epoch: epoch}
	}
	for _, target := range [][2]string{{"agent", "bot"}, {"user", "zoe"}, {"tenant", "default"}} {
		seen := r.log.Position()
		r.order(target[0], target[1])
		late := r.session("bot", "https://gw|zoe")
		if _, why := r.effects.Refusal(who(late, seen)); why == "" {
			t.Errorf("%s: a token of before is not refused", target[0])
		}
		if _, why := r.effects.Refusal(who(late, r.log.Position())); why != "" {
			t.Errorf("%s: a token made anew: %s", target[0], why)
		}
		if _, why := r.effects.Refusal(&access.Identity{Actor: access.Actor{Agent: "other"}, Session: "ses_o", Epoch: seen}); (why != "") != (target[0] == "tenant") {
			t.Errorf("%s: another agent: %q", target[0], why)
		}
	}
}
