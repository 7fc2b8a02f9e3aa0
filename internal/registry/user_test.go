package registry_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/registry"
)

// TestUserStates walks every verb from every state.
func TestUserStates(t *testing.T) {
	to := map[string]registry.UserState{
		"suspend active": registry.UserSuspended, "resume suspended": registry.UserActive,
		"retire active": registry.UserRetired, "retire suspended": registry.UserRetired,
	}
	for _, from := range []registry.UserState{registry.UserActive, registry.UserSuspended, registry.UserRetired, registry.UserExpired, "", "Active"} {
		for _, verb := range []registry.Verb{registry.VerbSuspend, registry.VerbResume, registry.VerbRetire, registry.VerbQuarantine, registry.VerbApprove, ""} {
			name := string(verb) + " " + string(from)
			u := registry.User{ID: "ann", State: from, Tokens: []registry.UserToken{{ID: "pat_1"}}}
			got, err := registry.ChangeUser(u, verb, "user:bob", "because", day)
			if to[name] == "" {
				if access.CodeOf(err) != access.CodeConflict {
					t.Errorf("%s: %v, want a conflict", name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			want(t, name, fmt.Sprint(got.State, got.StateBy, got.StateWhy, got.Changed), fmt.Sprint(to[name], "user:bob", "because", day))
			want(t, name+": tokens", len(got.Tokens), map[bool]int{true: 0, false: 1}[got.State == registry.UserRetired])
		}
	}
}

func TestUserExpiresAtTheEndOfTheDay(t *testing.T) {
	u := registry.User{State: registry.UserActive}
	want(t, "no end", registry.UserStatus(u, day), registry.UserActive)
	u.Expires = day
	want(t, "before", registry.UserStatus(u, day.Add(-time.Nanosecond)), registry.UserActive)
	want(t, "at the end", registry.UserStatus(u, day), registry.UserExpired)
	u.State = registry.UserSuspended
	want(t, "suspended", registry.UserStatus(u, day), registry.UserSuspended)
	u.State = "Active"
	want(t, "unknown", registry.UserStatus(u, day.Add(-time.Hour)), registry.UserState("Active"))
}

func TestUsersAreFoundByTokenTeamAndAccount(t *testing.T) {
	users := []registry.User{
		{ID: "ann", State: registry.UserActive, LocalUsers: []string{"ann", "1000"}, Tokens: []registry.UserToken{{ID: "pat_1"}, {ID: "pat_2"}}},
		{ID: "bob", State: registry.UserSuspended, LocalUsers: []string{"bob"}},
		{ID: "eve", State: registry.UserRetired, LocalUsers: []string{"bob", "eve"}},
	}
	teams := []registry.Team{{ID: "z", Members: []string{"ann"}}, {ID: "a", Members: []string{"bob", "ann"}}}
	v, err := registry.NewView(registry.Content{Users: users, Teams: teams})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "content", v.Content(), registry.Content{Agents: []registry.Agent{}, Servers: []registry.Server{}, Users: users, Teams: []registry.Team{teams[1], teams[0]}})
	want(t, "teams", v.TeamsOf("ann"), []string{"a", "z"})
	want(t, "no teams", v.TeamsOf("an"), []string(nil))
	u, tok, ok := v.UserToken("pat_2")
	want(t, "token", fmt.Sprint(u.ID, tok.ID, ok), "annpat_2true")
	for _, id := range []string{"", "pat_", "PAT_2", "pat_22", "pat_3"} {
		if _, _, ok := v.UserToken(id); ok {
			t.Errorf("%q is a token", id)
		}
	}
	want(t, "by name", v.AccountUsers("7", "ann"), []string{"ann"})
	want(t, "by uid", v.AccountUsers("1000", ""), []string{"ann"})
	want(t, "by both", v.AccountUsers("1000", "bob"), []string{"ann", "bob"})
	want(t, "of a retired user", v.AccountUsers("7", "eve"), []string(nil))
	want(t, "nobody's", v.AccountUsers("", ""), []string(nil))

	// A later view shares nothing that changed.
	next := users[0]
	next.Tokens = next.Tokens[:1]
	later := v.With(registry.Delta{Users: map[string]*registry.User{"ann": &next, "bob": nil}})
	if _, _, ok := later.UserToken("pat_2"); ok {
		t.Error("a token that is gone is found")
	}
	if _, _, ok := v.UserToken("pat_2"); !ok {
		t.Error("the earlier view changed")
	}
	want(t, "users after", len(later.Users()), 2)
}

func TestTwoUsersOrTokensOfOneNameMakeNoView(t *testing.T) {
	for name, users := range map[string][]registry.User{
		"user twice":        {{ID: "ann"}, {ID: "ann"}},
		"no id":             {{}},
		"token of two":      {{ID: "ann", Tokens: []registry.UserToken{{ID: "pat_1"}}}, {ID: "bob", Tokens: []registry.UserToken{{ID: "pat_1"}}}},
		"token twice":       {{ID: "ann", Tokens: []registry.UserToken{{ID: "pat_1"}, {ID: "pat_1"}}}},
		"token without id":  {{ID: "ann", Tokens: []registry.UserToken{{}}}},
		"user of the token": {{ID: "ann"}, {ID: "", Tokens: []registry.UserToken{{ID: "pat_1"}}}},
	} {
		if _, err := registry.NewView(registry.Content{Users: users}); err == nil {
			t.Errorf("%s: a view was made", name)
		}
	}
}

func TestATokenMatchesItsWholeHashOnly(t *testing.T) {
	sum := sha256.Sum256([]byte("rut_pat_x"))
	want(t, "its own", registry.UserToken{Hash: sum[:]}.Matches(sum), true)
	for name, hash := range map[string][]byte{"none": nil, "empty": {}, "a part": sum[:16], "more": append(sum[:], 0), "zeros": make([]byte, 32)} {
		if (registry.UserToken{Hash: hash}).Matches(sum) {
			t.Errorf("%s matches", name)
		}
	}
}

func TestAccountsHaveOneSpelling(t *testing.T) {
	for _, s := range []string{"ann", "0", "1000", "4294967295", "ann.b-c_d", "DOMAIN\\ann", "1000a", "Ann"} {
		if err := registry.ValidAccount(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "01000", "00", "99999999999", "a b", "a:b", "a/b", "\t"} {
		if registry.ValidAccount(s) == nil {
			t.Errorf("%q is an account", s)
		}
	}
}
