package grant_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/grant"
)

// issuer ends what was minted, or says why not.
type issuer struct {
	mu    sync.Mutex
	why   string
	asked []string // version and how
}

func (i *issuer) end(_ context.Context, m grant.Minted, how []byte) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, m.Version+" "+string(how))
	return i.why
}

func (i *issuer) down(why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.why = why
}

func (i *issuer) times() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

// mint notes a credential that lives for 20 minutes; one without how cannot be ended.
func (r *rig) mint(id, version, how string) {
	r.t.Helper()
	if err := r.minting(id, version, how); err != nil {
		r.t.Fatalf("minting: %v", err)
	}
}

func (r *rig) minting(id, version, how string) error {
	var by []byte
	if how != "" {
		by = []byte(how)
	}
	return r.Mint(r.t.Context(), grant.Minted{Grant: id, Credential: "crm", Kind: "clientCredentials", Version: version, Server: "ci", Expires: r.clock.now().Add(20 * time.Minute)}, by)
}

func (r *rig) revoke(id string) grant.Grant {
	r.t.Helper()
	g, err := r.Revoke(r.t.Context(), id, "user:ann", "enough")
	if err != nil {
		r.t.Fatalf("revoking: %v", err)
	}
	return g
}

func (r *rig) finish(b *grant.Broker, i *issuer) {
	r.t.Helper()
	if err := b.Finish(r.t.Context(), i.end); err != nil {
		r.t.Fatalf("finishing: %v", err)
	}
}

// TestRevokingEndsWhatWasMinted: with the first step nothing is permitted any more,
// with the last nothing lives.
func TestRevokingEndsWhatWasMinted(t *testing.T) {
	r, up := newRig(t), &issuer{}
	g, other := r.create(), r.create()
	r.mint(g.ID, "v1", "token-1")
	r.mint(g.ID, "v1", "token-1") // is noted once
	r.mint(other.ID, "v2", "token-2")
	n := r.log.len()
	equal(t, "first step", r.revoke(g.ID).State, grant.GrantRevoking)
	equal(t, "covering", r.covering(), []string{other.ID})
	if _, err := r.Reserve(t.Context(), g.ID, "dec_late", args(t, `{}`)); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("a use while it is being revoked: %v", err)
	}
	_, err := r.Revoke(t.Context(), g.ID, "user:bob", "")
	hasCode(t, "revoked again", err, access.CodeConflict)
	hasCode(t, "minted after it", r.minting(g.ID, "v3", "token-3"), access.CodeDenied, "was taken back")
	r.finish(r.Broker, up)
	equal(t, "asked", up.asked, []string{"v1 token-1"})
	equal(t, "state", r.grant(g.ID).State, grant.GrantRevoked)
	equal(t, "said", r.log.said(n), []string{"revoke Grant", "revoke-end Grant"})
	r.finish(r.Broker, up)
	equal(t, "asked once", up.times(), 1)

	if err := r.Ended(t.Context(), "crm", "v2"); err != nil { // after its call
		t.Fatal(err)
	}
	n = r.log.len()
	equal(t, "where nothing lives", r.revoke(other.ID).State, grant.GrantRevoked)
	equal(t, "said", r.log.said(n), []string{"revoke Grant"})
}

// TestAnIssuerThatIsDown leaves the grant revoke_partial, which says what lives and
// until when; it is asked again, ever more seldom, until it answers or nothing lives.
func TestAnIssuerThatIsDown(t *testing.T) {
	r, up := newRig(t), &issuer{why: "it is down"}
	g, long := r.create(), r.create()
	r.mint(g.ID, "v1", "token-1")
	r.mint(long.ID, "v2", "token-2")
	r.revoke(g.ID)
	r.revoke(long.ID)
	n := r.log.len()
	r.finish(r.Broker, up)
	left := func(version string) []grant.Left {
		return []grant.Left{{Credential: "crm", Kind: "clientCredentials", Version: version, Server: "ci", Until: noon.Add(20 * time.Minute), Why: "it is down"}}
	}
	equal(t, "left", r.grant(g.ID).Left, left("v1"))
	equal(t, "states", r.states(g, long), []grant.State{grant.GrantRevokePartial, grant.GrantRevokePartial})
	equal(t, "covering", r.covering(), []string{})
	hasWords(t, grant.Remains(left("v1")), "credential crm, version v1 for server ci, lives until 2026-11-24T12:20:00Z: it is down")
	r.finish(r.Broker, up)
	equal(t, "asked again at once", up.times(), 2)
	equal(t, "said", r.log.said(n), []string{"revoke-partial Grant", "revoke-partial Grant"})
	for at := time.Duration(0); at < 10*time.Minute; at += time.Second {
		r.clock.set(noon.Add(at))
		r.finish(r.Broker, up)
	}
	if n := up.times() / 2; n < 6 || n > 12 {
		t.Errorf("asked %d times in ten minutes", n)
	}
	equal(t, "said once", len(r.log.said(n)), 2)
	up.down("")
	r.clock.set(noon.Add(15 * time.Minute))
	r.finish(r.Broker, up)
	equal(t, "once it answers", r.states(g, long), []grant.State{grant.GrantRevoked, grant.GrantRevoked})
	equal(t, "said", r.log.said(n+2), []string{"revoke-end Grant", "revoke-end Grant"})
	equal(t, "left", r.grant(g.ID).Left, []grant.Left(nil))
}

// TestWhatNobodyCanEnd is left until it has ended by itself: at the time its issuer
// said, or where it said none after a day.
func TestWhatNobodyCanEnd(t *testing.T) {
	r, up := newRig(t), &issuer{}
	g, dark := r.create(), r.create()
	r.mint(g.ID, "v1", "")
	if err := r.Mint(t.Context(), grant.Minted{Grant: dark.ID, Credential: "sts", Kind: "awsSTS", Version: "v2", Server: "ci"}, nil); err != nil {
		t.Fatal(err)
	}
	r.revoke(g.ID)
	r.revoke(dark.ID)
	at := func(d time.Duration) []grant.State {
		r.clock.set(noon.Add(d))
		r.finish(r.Broker, up)
		return r.states(g, dark)
	}
	partial, over := grant.GrantRevokePartial, grant.GrantRevoked
	equal(t, "at once", at(0), []grant.State{partial, partial})
	hasWords(t, grant.Remains(r.grant(dark.ID).Left), "is reckoned to live until 2026-11-25T12:00:00Z", "offers no revocation")
	equal(t, "before it ends", at(20*time.Minute-time.Millisecond), []grant.State{partial, partial})
	equal(t, "when it has", at(20*time.Minute), []grant.State{over, partial})
	equal(t, "a day later", at(24*time.Hour), []grant.State{over, over})
	equal(t, "asked", up.times(), 0)
}

// TestATreeIsRevokedEachByItself: what was handed on ends with it, and waits for its own
// issuers only.
func TestATreeIsRevokedEachByItself(t *testing.T) {
	r, up := newRig(t), &issuer{why: "it is down"}
	g := r.given(2)
	kid := r.handed(g.ID, "helper", uses(1), deep(1))
	r.mint(kid.ID, "v1", "token-1")
	equal(t, "the whole", r.revoke(g.ID).State, grant.GrantRevoked)
	equal(t, "its part", r.grant(kid.ID).State, grant.GrantRevoking)
	hasWords(t, r.grant(kid.ID).Why, g.ID, "is revoked")
	r.finish(r.Broker, up)
	equal(t, "its part, the issuer being down", r.grant(kid.ID).State, grant.GrantRevokePartial)
	equal(t, "covering", r.covering(as(grant.Party{Agent: "helper"})), []string{})
	list, err := r.RevokeOf(t.Context(), func(grant.Party) bool { return true }, "user:ann", "")
	if err != nil || len(list) > 0 {
		t.Errorf("what is being revoked is revoked again: %v, %v", list, err)
	}
}

// TestMintingAndRevokingAtOnce: what is minted is either refused or known to the
// revocation.
func TestMintingAndRevokingAtOnce(t *testing.T) {
	r, up := newRig(t), &issuer{why: "it is down"}
	second := r.boot("n2", "b")
	for i := range 20 {
		g := r.create()
		version := fmt.Sprint("v", i)
		var err error
		together(func() {
			err = second.Mint(t.Context(), grant.Minted{Grant: g.ID, Credential: "crm", Kind: "clientCredentials", Version: version, Server: "ci", Expires: noon.Add(time.Hour)}, []byte("how"))
		}, func() { r.revoke(g.ID) })
		r.clock.set(r.clock.now().Add(11 * time.Second)) // its node had its time
		r.finish(r.Broker, up)
		switch g = r.grant(g.ID); {
		case err != nil:
			hasCode(t, "minting", err, access.CodeDenied)
			equal(t, "nothing minted", g.State, grant.GrantRevoked)
		case g.State != grant.GrantRevokePartial || len(g.Left) != 1 || g.Left[0].Version != version:
			t.Errorf("something lives, and it is %s: %v", g.State, g.Left)
		}
	}
}

// TestARestartGoesOnRevoking, also where the process ended while an issuer was asked,
// and where the clock was set back since.
func TestARestartGoesOnRevoking(t *testing.T) {
	r, up := newRig(t), &issuer{why: "it is down"}
	begun, partial, cut := r.create(), r.create(), r.create()
	for i, g := range []grant.Grant{begun, partial, cut} {
		r.mint(g.ID, fmt.Sprint("v", i), fmt.Sprint("token-", i))
	}
	r.revoke(partial.ID)
	r.finish(r.Broker, up)
	r.revoke(cut.ID)
	lives, err := r.store.MintedUnder(t.Context(), []string{cut.ID})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := r.store.TryMinted(t.Context(), lives[cut.ID][0], noon.Add(12*time.Second)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := r.store.TryMinted(t.Context(), lives[cut.ID][0], noon.Add(12*time.Second)); ok || err != nil {
		t.Errorf("two ask at once: %t, %v", ok, err)
	}
	r.revoke(begun.ID)
	up.down("")
	r.Broker = r.boot("n1", "boot-2")
	equal(t, "covering", r.covering(), []string{})
	r.clock.set(noon.Add(-time.Hour))
	r.finish(r.Broker, up)
	equal(t, "states", r.states(begun, partial, cut), []grant.State{grant.GrantRevoked, grant.GrantRevoked, grant.GrantRevoked})
	for _, want := range []string{"v0 token-0", "v1 token-1", "v2 token-2"} {
		if !slices.Contains(up.asked, want) {
			t.Errorf("nobody was asked to end %s: %v", want, up.asked)
		}
	}
}

// TestItsNodeEndsItFirst: another one waits, since it goes on using it otherwise.
func TestItsNodeEndsItFirst(t *testing.T) {
	r, mine, theirs := newRig(t), &issuer{}, &issuer{}
	second := r.boot("n2", "b")
	g := r.create()
	r.mint(g.ID, "v1", "token-1")
	r.revoke(g.ID)
	r.finish(second, theirs)
	equal(t, "another node at once", theirs.times(), 0)
	equal(t, "state", r.grant(g.ID).State, grant.GrantRevoking)
	r.clock.set(noon.Add(10 * time.Second)) // the first does not come back
	r.finish(second, theirs)
	equal(t, "another node later", theirs.times(), 1)
	r.finish(r.Broker, mine)
	equal(t, "then there is nothing left to end", mine.times(), 0)
	equal(t, "state", r.grant(g.ID).State, grant.GrantRevoked)
}

// TestAUsedUpGrantOwesItsLeaf: the leaf is kept with the use that was the last, so that
// a log that takes nothing, or a process that ends, loses none (docs/decisions/0067).
func TestAUsedUpGrantOwesItsLeaf(t *testing.T) {
	r := newRig(t)
	g := r.create(func(s *grant.Spec) { s.Uses = 1 })
	u := r.reserve(g.ID)
	n := r.log.len()
	r.log.fail = func(grant.Event) error { return errors.New("the disk is full") }
	if err := r.Settle(t.Context(), u, grant.UseCommitted); err == nil {
		t.Error("nobody says that it could not be recorded")
	}
	equal(t, "recorded", r.log.said(n), []string{})
	kept := r.grant(g.ID)
	equal(t, "grant", []any{kept.State, kept.Why, kept.Counts.Spent}, []any{grant.GrantExhausted, "every use is spent", int64(1)})
	equal(t, "covering", r.covering(), []string{})
	owed, err := r.store.Owed(t.Context(), "n1", "")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(owed, func(o audit.Debt) bool { return o.Object == g.ID })
	if i < 0 || owed[i].Verb != "exhaust" || owed[i].Kind != grant.KindGrant || owed[i].Before == owed[i].After || owed[i].Reason != "every use is spent" {
		t.Errorf("owed: %+v", owed)
	}
	if err := r.Settle(t.Context(), u, grant.UseCommitted); err != nil { // once more changes nothing
		t.Error(err)
	}
	if again, err := r.store.Owed(t.Context(), "n1", ""); err != nil || len(again) != len(owed) {
		t.Errorf("owed again: %d, %v", len(again), err)
	}
}

// TestAnIssuerThatHangsHoldsUpItsOwnGrantOnly: what another grant's issuer has ended, or
// nobody can end, is said while it hangs.
func TestAnIssuerThatHangsHoldsUpItsOwnGrantOnly(t *testing.T) {
	r := newRig(t)
	slow, none, quick := r.create(), r.create(), r.create()
	r.mint(slow.ID, "v1", "hangs")
	r.mint(none.ID, "v2", "")
	r.mint(quick.ID, "v3", "ends")
	for _, g := range []grant.Grant{slow, none, quick} {
		r.revoke(g.ID)
	}
	settled := func() bool {
		states := r.states(none, quick)
		return slices.Equal(states, []grant.State{grant.GrantRevokePartial, grant.GrantRevoked})
	}
	var hung sync.Once
	meanwhile := false
	end := func(ctx context.Context, _ grant.Minted, how []byte) string {
		if string(how) != "hangs" {
			return ""
		}
		hung.Do(func() {
			for meanwhile = settled(); !meanwhile && ctx.Err() == nil; meanwhile = settled() {
				time.Sleep(time.Millisecond)
			}
		})
		return "it hung"
	}
	if err := r.Finish(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	if !meanwhile {
		t.Error("nothing was concluded while an issuer hung")
	}
	equal(t, "in the end", r.states(slow, none, quick), []grant.State{grant.GrantRevokePartial, grant.GrantRevokePartial, grant.GrantRevoked})
}
