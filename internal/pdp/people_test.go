package pdp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/registry"
)

// staff is a registry of people and teams: ann, ben and cat approve, vic may only look.
func staff(t *testing.T, change func(*registry.Content)) *registry.View {
	t.Helper()
	c := content()
	for _, id := range []string{"ann", "ben", "cat"} {
		c.Users = append(c.Users, registry.User{ID: id, State: registry.UserActive, Roles: []registry.Role{registry.RoleViewer, registry.RoleApprover}})
	}
	c.Users = append(c.Users, registry.User{ID: "vic", State: registry.UserActive, Roles: []registry.Role{registry.RoleViewer}})
	c.Teams = append(c.Teams, registry.Team{ID: "one", Members: []string{"ann"}}, registry.Team{ID: "two", Members: []string{"ann", "ben"}},
		registry.Team{ID: "none"}, registry.Team{ID: "lookers", Members: []string{"vic"}}, registry.Team{ID: "twice", Members: []string{"ann", "ann"}})
	if change != nil {
		change(&c)
	}
	v, err := registry.NewView(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// crowded has people enough for every rule, in team "a".
func crowded() registry.Content {
	c := content()
	team := registry.Team{ID: "a"}
	for _, id := range []string{"ann", "ben", "cat", "dee", "eva", "fay"} {
		c.Users, team.Members = append(c.Users, registry.User{ID: id, State: registry.UserActive}), append(team.Members, id)
	}
	c.Teams = append(c.Teams, team)
	return c
}

// user changes one user of a registry.
func user(id string, change func(*registry.User)) func(*registry.Content) {
	return func(c *registry.Content) {
		i := slices.IndexFunc(c.Users, func(u registry.User) bool { return u.ID == id })
		change(&c.Users[i])
	}
}

func rule(t *testing.T, s string) grant.Rule {
	t.Helper()
	r, err := grant.ParseRule(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestARuleIsMetByWhoCanApproveOnly: registered people who are active and have the role,
// nobody twice, and at tier 3 not the person the agent acts for.
func TestARuleIsMetByWhoCanApproveOnly(t *testing.T) {
	suspend := func(u *registry.User) { u.State = registry.UserSuspended }
	retire := func(u *registry.User) { u.State = registry.UserRetired }
	demote := func(u *registry.User) { u.Roles = []registry.Role{registry.RoleViewer} }
	expire := func(u *registry.User) { u.Expires = now }
	yes := func(stage int, by ...string) (out []grant.Approval) {
		for _, id := range by {
			out = append(out, grant.Approval{By: id, Stage: stage})
		}
		return out
	}
	for name, tt := range map[string]struct {
		rule    string
		tier    int
		subject string
		given   []grant.Approval
		change  func(*registry.Content)
		want    string // "" is that it can be met
	}{
		"nobody is asked":             {"auto", 2, "", nil, nil, ""},
		"one person":                  {"quorum:1", 2, "", nil, func(c *registry.Content) { c.Users = nil }, ""},
		"one of a team":               {"quorum:1:one", 0, "", nil, nil, ""},
		"a person as a team":          {"quorum:1:ben", 0, "", nil, nil, ""},
		"an empty team":               {"quorum:1:none", 0, "", nil, nil, `team "none", which has no members`},
		"a team nobody registered":    {"quorum:1:ghosts", 0, "", nil, nil, `team "ghosts", which is neither a registered team nor a person`},
		"without the role":            {"quorum:1:lookers", 0, "", nil, nil, `team "lookers", of whom nobody is an active registered user with a role that approves`},
		"a person without the role":   {"quorum:1:vic", 0, "", nil, nil, `"vic", of whom nobody`},
		"suspended":                   {"quorum:1:one", 0, "", nil, user("ann", suspend), "of whom nobody"},
		"retired":                     {"quorum:1:one", 0, "", nil, user("ann", retire), "of whom nobody"},
		"the role taken away":         {"quorum:1:one", 0, "", nil, user("ann", demote), "of whom nobody"},
		"expired":                     {"quorum:1:one", 0, "", nil, user("ann", expire), "of whom nobody"},
		"an admin":                    {"quorum:1:one", 0, "", nil, user("ann", func(u *registry.User) { u.Roles = []registry.Role{registry.RoleAdmin} }), ""},
		"named twice":                 {"quorum:2:twice", 0, "", nil, nil, "of whom only 1 can approve, and it takes 2"},
		"two of two":                  {"quorum:2:two", 0, "", nil, nil, ""},
		"two of two, one is away":     {"quorum:2:two", 0, "", nil, user("ben", suspend), "only 1 can approve, and it takes 2"},
		"three of anybody":            {"quorum:3", 0, "", nil, nil, ""},
		"four of anybody":             {"quorum:4", 0, "", nil, nil, "registered users, of whom only 3 can approve, and it takes 4"},
		"two stages":                  {"quorum:1:one then quorum:1:two", 0, "", nil, nil, ""},
		"two stages of one person":    {"quorum:1:one then quorum:1:ann", 0, "", nil, nil, `the teams "one" and "ann" together, of whom only 1 can approve, and it takes 2`},
		"three people in two stages":  {"quorum:1:one then quorum:2:two", 0, "", nil, nil, "together, of whom only 2 can approve, and it takes 3"},
		"the second stage is nobody":  {"quorum:1:one then quorum:1:none", 0, "", nil, nil, `team "none", which has no members`},
		"tier 3, two of two":          {"quorum:1:two", 3, "", nil, nil, ""},
		"tier 3, a team of one":       {"quorum:1:one", 3, "", nil, nil, "only 1 can approve, and it takes 2"},
		"tier 3, nobody is asked":     {"auto", 3, "", nil, func(c *registry.Content) { c.Users = nil }, "registered users, of whom nobody"},
		"tier 3, of them the subject": {"quorum:2:two", 3, "ben", nil, nil, `besides "ben", for whom the agent acts, only 1 can approve`},
		"tier 3, only the subject":    {"quorum:1:ann then quorum:1", 3, "ann", nil, nil, `"ann", of whom besides "ann", for whom the agent acts, nobody`},
		"tier 2, only the subject":    {"quorum:1:one", 2, "ann", nil, nil, ""},
		"one has, one is left":        {"quorum:2:two", 0, "", yes(0, "user:ann"), nil, ""},
		"both have":                   {"quorum:2:two", 0, "", yes(0, "user:ann", "user:ben"), nil, ""},
		"one has, the other went":     {"quorum:2:two", 0, "", yes(0, "user:ann"), user("ben", suspend), "of whom nobody else is an active"},
		"who has, went":               {"quorum:2:two", 0, "", yes(0, "user:ann"), user("ann", suspend), "only 1 can approve, and it takes 2"},
		"who has, has no role now":    {"quorum:2:two", 0, "", yes(0, "user:ann"), user("ann", demote), "only 1 can approve, and it takes 2"},
		"the one for both gave one":   {"quorum:1:two then quorum:1:one", 0, "", yes(0, "user:ann"), nil, `team "one", of whom nobody else`},
		"the other gave it":           {"quorum:1:two then quorum:1:one", 0, "", yes(0, "user:ben"), nil, ""},
		"who keeps the gateway gave":  {"quorum:2:two", 0, "", yes(0, "local:0"), user("ben", suspend), "only 1 can approve, and it takes 2"},
	} {
		a := pdp.Answering{View: staff(t, tt.change), Roles: []registry.Role{registry.RoleApprover, registry.RoleAdmin}, At: now}
		if got := a.Lacking(rule(t, tt.rule), tt.tier, tt.subject, tt.given); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestStagesAreMetAsBySearch: for every small rule and every membership of three people
// what is said to be met is exactly what some assignment of people to stages meets.
func TestStagesAreMetAsBySearch(t *testing.T) {
	people := []string{"ann", "ben", "cat"}
	var search func(need []int, teams [][]string, used map[string]bool) bool
	search = func(need []int, teams [][]string, used map[string]bool) bool {
		for i := range need {
			if need[i] == 0 {
				continue
			}
			for _, p := range teams[i] {
				if used[p] {
					continue
				}
				used[p], need[i] = true, need[i]-1
				met := search(need, teams, used)
				used[p], need[i] = false, need[i]+1
				if met {
					return true
				}
			}
			return false
		}
		return true
	}
	of := func(bits int) (out []string) {
		for i, p := range people {
			if bits&(1<<i) != 0 {
				out = append(out, p)
			}
		}
		return out
	}
	met := 0
	for x := range 8 {
		for y := range 8 {
			v := staff(t, func(c *registry.Content) {
				c.Teams = append(c.Teams, registry.Team{ID: "x", Members: of(x)}, registry.Team{ID: "y", Members: of(y)})
			})
			for n := 1; n <= 3; n++ {
				for m := 1; m <= 3; m++ {
					a := pdp.Answering{View: v, At: now}
					got := a.Lacking(grant.Rule{Quorum: n, Team: "x", Then: grant.Stage{Quorum: m, Team: "y"}}, 0, "", nil) == ""
					if want := search([]int{n, m}, [][]string{of(x), of(y)}, map[string]bool{}); got != want {
						t.Errorf("%d of %v then %d of %v: %t, want %t", n, of(x), m, of(y), got, want)
					} else if got {
						met++
					}
				}
			}
		}
	}
	if met < 50 {
		t.Errorf("only %d rules could be met", met)
	}
}

// TestNothingIsAskedThatNobodyCanApprove: it is denied at once, with what to do.
func TestNothingIsAskedThatNobodyCanApprove(t *testing.T) {
	for rule, why := range map[string]string{"quorum:1:nobody": "which has no members", "quorum:1:strangers": "nobody is an active registered user", "quorum:1:ghosts": "neither a registered team",
		"quorum:3:secops": "only 2 can approve, and it takes 3", "quorum:1:secops": "", "quorum:1": ""} {
		for _, unknown := range []bool{false, true} {
			s := asked(t, rule)
			r := request("tool_approved")
			r.Unknown = unknown
			if !unknown {
				r.Arguments = arguments(t, `{}`)
			}
			_, d, ok := pdp.Seek(s, r, grant.Ask{})
			if ok != (why == "") || !ok && (d.Outcome != access.Deny || d.Class != access.ClassApproval || !strings.Contains(d.Reason, why) || !strings.Contains(d.Help, "waiting will not help")) {
				t.Errorf("%s: %t, %+v", rule, ok, d)
			}
		}
	}
}

// TestWhatWaitsForNobodyIsVoid, but not what was issued already.
func TestWhatWaitsForNobodyIsVoid(t *testing.T) {
	s := asked(t, "quorum:2:secops")
	q := grant.Request{Created: now, State: grant.RequestPending, Party: grant.Party{Agent: "bot"}, Target: grant.Target{Server: "files", Kind: access.KindTool, Name: "tool_approved", Digest: pin},
		Rule: rule(t, "quorum:2:secops"), Life: 600, Uses: 1}
	if got := pdp.Void(s, &q, now); got != "" {
		t.Error(got)
	}
	c := s.View.Content()
	user("cat", func(u *registry.User) { u.Expires = now.Add(time.Hour) })(&c)
	var err error
	if s.View, err = registry.NewView(c); err != nil {
		t.Fatal(err)
	}
	if got := pdp.Void(s, &q, now.Add(time.Hour)); !strings.Contains(got, "nobody can approve it any more") || !strings.Contains(got, "only 1 can approve, and it takes 2") {
		t.Errorf("who expired meanwhile counts: %q", got)
	}
	q.State = grant.RequestIssued
	if got := pdp.Void(s, &q, now.Add(time.Hour)); got != "" {
		t.Errorf("what is issued: %q", got)
	}
}
