package admin_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
)

// TestOwnersConfirmTheirEntitlements: the person or a member of the team, whatever
// their roles, and nobody else; where the owner is nobody registered, who may change
// the rules.
func TestOwnersConfirmTheirEntitlements(t *testing.T) {
	c := desk(t)
	c.apply("kind: Team\nid: crew\nmembers: [vic]\n---\n" + strings.Replace(deskRight, "owner: team-platform", "owner: crew", 1) +
		"---\n" + strings.NewReplacer("id: deploys", "id: zoes", "owner: team-platform", "owner: zoe").Replace(deskRight) +
		"---\n" + strings.Replace(deskRight, "id: deploys", "id: nobodys", 1) +
		"---\n" + strings.Replace(deskRight, "id: deploys", "id: over", 1) + "state: retired\n")
	keeper := admin.Actor{Kind: "user", ID: admin.OperatorToken, Host: true}
	for name, tt := range map[string]struct {
		actor admin.Actor
		id    string
		want  access.Code
	}{
		"a member":                        {user("vic"), "deploys", ""},
		"the person":                      {user("zoe"), "zoes", ""},
		"another person":                  {user("app"), "zoes", access.CodeDenied},
		"not a member":                    {user("zoe"), "deploys", access.CodeDenied},
		"the keeper of the gateway":       {keeper, "zoes", access.CodeDenied},
		"who may not change the rules":    {user("vic"), "nobodys", access.CodeDenied},
		"who may, as nobody is the owner": {keeper, "nobodys", ""},
		"a retired one":                   {keeper, "over", access.CodeConflict},
		"none":                            {keeper, "none", access.CodeNotFound},
		"somebody nobody knows":           {user("who"), "nobodys", access.CodeUnauthenticated},
	} {
		before := len(c.evidence.said())
		e, err := c.ConfirmEntitlement(t.Context(), tt.actor, tt.id, "still wanted")
		if access.CodeOf(err) != tt.want {
			t.Errorf("%s: %v", name, err)
			continue
		}
		now := c.Current().Rights[tt.id]
		said := strings.Join(c.evidence.said()[before:], "\n")
		switch {
		case tt.want == "":
			if e.ConfirmedBy != tt.actor.String() || !now.Confirmed.Equal(day) || !strings.Contains(said, "confirm") {
				t.Errorf("%s: %+v, recorded %s", name, now, said)
			}
		case tt.want == access.CodeDenied && !strings.Contains(said, "refuse"):
			t.Errorf("%s: recorded %s", name, said)
		}
	}
}

// TestAConfirmationIsNoRule: it makes no generation, is not in what is exported, and no
// apply and no rollback takes it back.
func TestAConfirmationIsNoRule(t *testing.T) {
	c := desk(t)
	right := strings.Replace(deskRight, "owner: team-platform", "owner: zoe", 1) + "confirm: {every: 48h, overdue: refuse}\n"
	c.apply(right)
	before, text := len(must(c.Versions(t.Context(), 0, 100))), c.export()
	if !strings.Contains(text, "every: 48h0m0s") || !strings.Contains(text, "overdue: refuse") {
		t.Errorf("exported %s", text)
	}
	if _, err := c.ConfirmEntitlement(t.Context(), user("zoe"), "deploys", ""); err != nil {
		t.Fatal(err)
	}
	if n := len(must(c.Versions(t.Context(), 0, 100))); n != before || c.export() != text {
		t.Errorf("%d generations, were %d; exported %s", n, before, c.export())
	}
	if p := c.apply(right); len(p.Items) != 1 || p.Items[0].Action != admin.ActionUnchanged {
		t.Errorf("an apply of the same: %+v", p.Items)
	}
	c.apply(strings.Replace(right, "48h", "24h", 1))
	if e := c.Current().Rights["deploys"]; !e.Confirmed.Equal(day) || e.ConfirmedBy != "user:zoe" || !e.Due().Equal(day.Add(24*time.Hour)) {
		t.Errorf("after an apply: %+v", e)
	}
	if _, err := c.RollBack(t.Context(), ann, 1, "", false); err != nil {
		t.Fatal(err)
	}
	if e := c.Current().Rights["deploys"]; !e.Confirmed.Equal(day) || e.ConfirmedBy != "user:zoe" || e.Confirm != (grant.Confirm{}) {
		t.Errorf("after a rollback: %+v", e)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
