package admin_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// TestNobodyAnswersForAnEntitlementWhoseOwnerIsGone: a person who is suspended, a team
// none of whose members is active; an empty team and a name nobody registered say
// nothing.
func TestNobodyAnswersForAnEntitlementWhoseOwnerIsGone(t *testing.T) {
	for owner, gone := range map[string]bool{"zoe": true, "pair": true, "both": false, "empty": false, "somebody@example.com": false, "app": false} {
		c := desk(t)
		c.apply("kind: Team\nid: pair\nmembers: [zoe, vic]\n---\nkind: Team\nid: both\nmembers: [zoe, app]\n---\nkind: Team\nid: empty\n---\n" +
			strings.Replace(deskRight, "owner: team-platform", "owner: "+owner, 1))
		waiting := c.ask(grant.Rule{Quorum: 1}, 2)
		live := c.ask(grant.Rule{Auto: true}, 2)
		c.apply("kind: User\nid: zoe\nroles: [approver]\nstate: suspended\n---\nkind: User\nid: vic\nroles: [viewer]\nstate: suspended\n")
		if err := c.broker.Sweep(t.Context(), c.Standing()); err != nil {
			t.Fatal(err)
		}
		g, err := c.Grant(t.Context(), live.Grant)
		if err != nil || (g.State == grant.GrantSuspended) != gone {
			t.Errorf("%s: the grant is %s because %q, %v", owner, g.State, g.Why, err)
		}
		if v, err := c.Request(t.Context(), waiting.ID); err != nil || (v.State == grant.RequestInvalid) != gone {
			t.Errorf("%s: the request is %s because %q, %v", owner, v.State, v.Why, err)
		}
		spec := grant.Answer{Method: "api"}
		if !gone {
			if _, err := c.Approve(t.Context(), user("app"), waiting.ID, spec); err != nil {
				t.Errorf("%s: %v", owner, err)
			}
		} else if _, err := c.Approve(t.Context(), user("app"), waiting.ID, spec); access.CodeOf(err) != access.CodeConflict {
			t.Errorf("%s: %v", owner, err)
		}
	}
}
