package console_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/signin"
)

// TestATokenAddsNothingBesideWhatAnotherNodeAdded: a node that has not heard yet that
// somebody has a password adds no passkey by a token.
func TestATokenAddsNothingBesideWhatAnotherNodeAdded(t *testing.T) {
	r := newRig(t)
	r.withSignIns()
	d, b := device(t), r.named()
	b.token("ann")
	asked := b.do("POST", "/console/account/passkey/ask", url.Values{"form": {b.form}, "name": {"laptop"}})
	asked.wants(t, "asking", http.StatusOK)

	second, err := admin.New(t.Context(), admin.Config{Node: "n2"}, admin.Deps{Store: r.db, Registry: r.db, Evidence: r.parts, Vault: r.parts, Authority: r.parts, Now: r.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	words, err := signin.NewPasswords(r.db, r.parts, r.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	there, err := admin.NewSignIns(second, r.db, r.db, nil, "not here", words, r.findings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.GivePassword(t.Context(), keeper, "ann", chosenPassword); err != nil {
		t.Fatal(err)
	}

	b.do("POST", "/console/account/passkey", url.Values{"form": {b.form}, "name": {"laptop"}, "answer": {string(d.Make([]byte(asked.body)))}}).wants(t, "adding", http.StatusForbidden, "changes nothing with a token")
	if u, _ := r.admin.Current().View.User("ann"); len(u.Factors) != 1 {
		t.Errorf("ann has %d", len(u.Factors))
	}
}

// TestAnAdminsTokenGivesTheAdminNothing: who may set everybody's password sets their own
// by a token no more than others add theirs.
func TestAnAdminsTokenGivesTheAdminNothing(t *testing.T) {
	r := newRig(t)
	s := r.withSignIns()
	if _, err := r.admin.Apply(t.Context(), keeper, []admin.Document{{File: "u.yaml", Text: "kind: User\nid: amy\nroles: [admin]\n"}}, false); err != nil {
		t.Fatal(err)
	}
	kept := admin.Actor{Kind: "user", ID: "amy", Token: r.token("amy").ID}
	gives := func(what string, actor admin.Actor, want access.Code) {
		t.Helper()
		if _, err := s.GivePassword(t.Context(), actor, "amy", chosenPassword); access.CodeOf(err) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	own, err := r.admin.CreateUserToken(t.Context(), kept, "amy", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	gives("a token of her own making", admin.Actor{Kind: "user", ID: "amy", Token: own.ID}, access.CodeDenied)
	r.clock.pass(25 * time.Hour)
	gives("a token that has lain about", kept, access.CodeDenied)

	r.enrolled("amy")
	fresh := admin.Actor{Kind: "user", ID: "amy", Token: r.token("amy").ID}
	gives("a new token, beside a passkey", fresh, access.CodeDenied)
	if u, _ := r.admin.Current().View.User("amy"); len(u.Factors) != 1 {
		t.Errorf("amy has %d", len(u.Factors))
	}
	if _, err := s.GivePassword(t.Context(), fresh, "ann", chosenPassword); err != nil {
		t.Errorf("somebody else's: %v", err)
	}
}
