package admin_test

import (
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// A quorum is of people who could say yes now: whoever lost the right to, or left,
// counts no longer.
func TestApprovalOfWhoMayNotAnyMoreDoesNotCount(t *testing.T) {
	for name, change := range map[string]func(c *counter){
		"another role": func(c *counter) { c.apply("kind: User\nid: app\nroles: [viewer]\n") },
		"suspended": func(c *counter) {
			if _, err := c.ChangeUser(t.Context(), ann, "app", registry.VerbSuspend, "away"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		c := desk(t)
		c.apply("kind: User\nid: sam\nroles: [approver]\n")
		q := c.ask(grant.Rule{Quorum: 2}, 3)
		if _, err := c.Approve(t.Context(), user("app"), q.ID, grant.Answer{Method: "api"}); err != nil {
			t.Fatal(err)
		}
		change(c)
		v, err := c.Approve(t.Context(), user("two"), q.ID, grant.Answer{Method: "api"})
		if err != nil || v.State != grant.RequestPending || len(v.Approvals) != 1 {
			t.Errorf("%s: %s with %+v, %v", name, v.State, v.Approvals, err)
		}
		if _, err := c.Approve(t.Context(), user("two"), q.ID, grant.Answer{Method: "api"}); access.CodeOf(err) != access.CodeConflict {
			t.Errorf("%s: one person counted twice: %v", name, err)
		}
	}
}
