package admin_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// notes are what a plan says of one of its items.
func notes(p admin.Plan, kind, id string) string {
	for _, it := range p.Items {
		if it.Kind == kind && it.ID == id {
			return strings.Join(it.Notes, "\n")
		}
	}
	return ""
}

// TestApplyingSaysWhatNobodyCanApprove: of the entitlement, and of the team or the
// person whose change makes it so; a team that is filled in the same files is filled.
func TestApplyingSaysWhatNobodyCanApprove(t *testing.T) {
	c := desk(t)
	right := func(approve string) string {
		return "kind: Entitlement\nid: night\nowner: team-platform\nagents: [bot]\ntools: [files/read]\napprove: " + approve + "\n"
	}
	const team = "kind: Team\nid: night-watch\nmembers: [two]\n"
	for name, tt := range map[string]struct{ files, kind, id, want string }{
		"an empty team":         {right("quorum:1:team-platform"), "Entitlement", "night", `approve: nobody can approve what is asked for: it needs the approval of team "team-platform", which has no members`},
		"no team":               {right("quorum:1:ghosts"), "Entitlement", "night", `team "ghosts", which is neither a registered team nor a person`},
		"the second stage":      {right("quorum:1:team-a then quorum:1:team-platform"), "Entitlement", "night", `team "team-platform", which has no members`},
		"without the role":      {right("quorum:3:team-a"), "Entitlement", "night", `team "team-a", of whom only 2 can approve, and it takes 3`},
		"one person as a team":  {right("quorum:1:two"), "Entitlement", "night", ""},
		"of the same files":     {right("quorum:1:night-watch") + "---\n" + team, "Entitlement", "night", ""},
		"retired":               {right("quorum:1:ghosts") + "state: retired\n", "Entitlement", "night", ""},
		"nobody in particular":  {right("auto"), "Entitlement", "night", ""},
		"of the same, no roles": {right("quorum:1:night-watch") + "---\n" + team + "---\nkind: User\nid: two\nroles: [viewer]\n", "Entitlement", "night", "of whom nobody is an active registered user with a role that approves"},
	} {
		p, err := c.Apply(t.Context(), ann, doc(tt.files), true)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := notes(p, tt.kind, tt.id); !strings.Contains(got, tt.want) || tt.want == "" && strings.Contains(got, "approve") {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	c.apply(right("quorum:1:night-watch") + "---\n" + team)
	for name, tt := range map[string]struct{ files, kind, id string }{
		"the team is emptied":   {"kind: Team\nid: night-watch\n", "Team", "night-watch"},
		"the role is taken":     {"kind: User\nid: two\nroles: [viewer]\n", "User", "two"},
		"the account is closed": {"kind: User\nid: two\nroles: [approver]\nstate: suspended\n", "User", "two"},
	} {
		p, err := c.Apply(t.Context(), ann, doc(tt.files), true)
		if got := notes(p, tt.kind, tt.id); err != nil || !strings.Contains(got, `nobody can approve what is asked for under entitlement "night" any more`) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if p := c.apply("kind: Team\nid: night-watch\nmembers: [two, app]\n"); notes(p, "Team", "night-watch") != "" {
		t.Errorf("a larger team: %q", notes(p, "Team", "night-watch"))
	}
	if why := c.Unmanned("night"); why != "" {
		t.Error(why)
	}
}

// TestARequestNobodyCanApproveIsVoid: whatever takes away who could approve it, what
// waits ends with the next sweep, and not before.
func TestARequestNobodyCanApproveIsVoid(t *testing.T) {
	change := func(verb registry.Verb) func(*counter) {
		return func(c *counter) {
			if _, err := c.ChangeUser(t.Context(), ann, "app", verb, "gone"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		rule grant.Rule
		tier int
		do   func(*counter)
		void bool
	}{
		"nothing happens":                 {grant.Rule{Quorum: 1, Team: "duty"}, 2, func(*counter) {}, false},
		"the team is emptied":             {grant.Rule{Quorum: 1, Team: "duty"}, 2, func(c *counter) { c.apply("kind: Team\nid: duty\n") }, true},
		"suspended":                       {grant.Rule{Quorum: 1, Team: "duty"}, 2, change(registry.VerbSuspend), true},
		"retired":                         {grant.Rule{Quorum: 1, Team: "duty"}, 2, change(registry.VerbRetire), true},
		"the role is taken away":          {grant.Rule{Quorum: 1, Team: "duty"}, 2, func(c *counter) { c.apply("kind: User\nid: app\nroles: [viewer]\n") }, true},
		"another of the team is left":     {grant.Rule{Quorum: 1, Team: "team-a"}, 2, change(registry.VerbSuspend), false},
		"one of two":                      {grant.Rule{Quorum: 2, Team: "team-a"}, 2, change(registry.VerbSuspend), true},
		"tier 3: only the requester left": {grant.Rule{Quorum: 1, Team: "team-a"}, 3, change(registry.VerbSuspend), true},
		"anybody may":                     {grant.Rule{Quorum: 1}, 2, change(registry.VerbRetire), false},
	} {
		c := desk(t)
		c.apply("kind: Team\nid: duty\nmembers: [app]\n---\nkind: User\nid: sam\nroles: [approver]\n---\nkind: Team\nid: team-a\nmembers: [app, zoe, sam]\n")
		if tt.rule.Quorum == 2 || tt.tier == 3 { // of team-a only app and sam, or sam
			c.apply("kind: User\nid: zoe\nroles: [viewer]\n")
		}
		q := c.ask(tt.rule, tt.tier)
		tt.do(c)
		if err := c.broker.Sweep(t.Context(), c.Standing()); err != nil {
			t.Fatal(err)
		}
		got, err := c.Request(t.Context(), q.ID)
		if err != nil || (got.State == grant.RequestInvalid) != tt.void || tt.void && !strings.Contains(got.Why, "nobody can approve it any more") {
			t.Errorf("%s: %s because %q, %v", name, got.State, got.Why, err)
		}
	}
}

// TestAYesToWhatCannotBeMetEndsIt: who approves one of two where the other went is told
// so, and nobody is asked on.
func TestAYesToWhatCannotBeMetEndsIt(t *testing.T) {
	c := desk(t)
	c.apply("kind: Team\nid: duty\nmembers: [app, two]\n")
	q := c.ask(grant.Rule{Quorum: 2, Team: "duty"}, 2)
	if _, err := c.ChangeUser(t.Context(), ann, "two", registry.VerbRetire, "left"); err != nil {
		t.Fatal(err)
	}
	_, err := c.Approve(t.Context(), user("app"), q.ID, grant.Answer{Method: "api", Life: time.Minute})
	if access.CodeOf(err) != access.CodeConflict || !strings.Contains(err.Error(), "only 1 can approve, and it takes 2") {
		t.Errorf("%v", err)
	}
	if got, _ := c.Request(t.Context(), q.ID); got.State != grant.RequestInvalid || got.Grant != "" {
		t.Errorf("%+v", got)
	}
}
