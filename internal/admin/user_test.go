package admin_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/registry"
)

const people = `kind: User
id: ann
name: Ann Onymous
email: ann@example.com
roles: [operator]
localUsers: [ann, 1000]
expires: 2027-06-30
---
kind: User
id: bob
roles: [approver, admin]
---
kind: User
id: vic
roles: [viewer]
state: suspended
stateWhy: "on leave: #1"
---
kind: User
id: none
---
kind: Team
id: team-a
members: [ann, bob]
---
kind: Team
id: team-b
members: [bob, ext@idp]
`

func TestPeopleRoundTrip(t *testing.T) {
	a := open(t)
	plan := a.apply(people)
	text := a.export()
	b := open(t)
	b.apply(text)
	equal(t, "export", b.export(), text)
	if p := b.apply(text); p.Changes() {
		t.Errorf("a second apply changes %+v", p.Items)
	}
	view := b.Current().View
	u, _ := view.User("ann")
	equal(t, "ann", u, registry.User{
		ID: "ann", Name: "Ann Onymous", Email: "ann@example.com", Roles: []registry.Role{registry.RoleOperator}, LocalUsers: []string{"1000", "ann"},
		Expires: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC), State: registry.UserActive, StateBy: "user:ann", Created: day, Changed: day,
	})
	equal(t, "teams", view.TeamsOf("bob"), []string{"team-a", "team-b"})
	v, _ := view.User("vic")
	equal(t, "vic", string(v.State)+v.StateWhy, "suspendedon leave: #1")
	var notes []string
	for _, it := range plan.Items {
		notes = append(notes, it.Notes...)
	}
	if got := strings.Join(notes, "\n"); !strings.Contains(got, `member "ext@idp" is no registered user`) || strings.Contains(got, `"ann"`) {
		t.Errorf("notes: %s", got)
	}
}

// TestTokensAreNoPartOfManifests: they are not exported, and applying leaves
// them alone.
func TestTokensAreNoPartOfManifests(t *testing.T) {
	o := open(t)
	o.apply(people)
	tok := o.token("ann")
	if text := o.export(); strings.Contains(text, "pat_") || strings.Contains(text, "hash") {
		t.Errorf("the export holds a token: %s", text)
	}
	p := o.apply(strings.Replace(people, "Ann Onymous", "Ann O. Nymous", 1))
	for _, it := range p.Items {
		if it.ID == "ann" && (len(it.Fields) != 1 || it.Fields[0].Field != "name") {
			t.Errorf("the plan shows %+v", it.Fields)
		}
	}
	if _, err := o.Authenticate(t.Context(), tok.Token); err != nil {
		t.Errorf("an apply ended the token: %v", err)
	}
}

func TestUserManifestsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown role":      {"kind: User\nid: a\nroles: [viewer, boss]\n", `m.yaml:3:17: roles[1]: "boss" is no role`},
		"role in capitals":  {"kind: User\nid: a\nroles: [Admin]\n", `m.yaml:3:9: roles[0]: "Admin" is no role`},
		"padded role":       {"kind: User\nid: a\nroles: [\"admin \"]\n", `roles[0]: "admin " is no role`},
		"role twice":        {"kind: User\nid: a\nroles:\n- viewer\n- viewer\n", `m.yaml:5:3: roles[1]: "viewer" is there twice`},
		"roles as text":     {"kind: User\nid: a\nroles: admin\n", "m.yaml:3:8: roles: must be a list"},
		"role as mapping":   {"kind: User\nid: a\nroles: [{admin: true}]\n", "roles[0]: must be text"},
		"reserved id":       {"kind: User\nid: operator-token\n", `m.yaml:2:5: id: "operator-token" is what the operator token is called`},
		"bad id":            {"kind: User\nid: Ann\n", `id: "Ann" cannot be an id`},
		"no id":             {"kind: User\nroles: [viewer]\n", "id: is required"},
		"unknown key":       {"kind: User\nid: a\nrole: admin\n", `do you mean "roles"?`},
		"tokens":            {"kind: User\nid: a\ntokens: []\n", "tokens: unknown key"},
		"teams":             {"kind: User\nid: a\nteams: [x]\n", "teams: unknown key"},
		"email":             {"kind: User\nid: a\nemail: ann\n", "m.yaml:3:8: email: \"ann\" is no e-mail address"},
		"expires":           {"kind: User\nid: a\nexpires: soon\n", "expires: must be a day"},
		"state":             {"kind: User\nid: a\nstate: expired\n", "state: \"expired\" is unknown"},
		"uid with zeros":    {"kind: User\nid: a\nlocalUsers: [\"007\"]\n", `localUsers[0]: "007" is no uid`},
		"octal uid":         {"kind: User\nid: a\nlocalUsers: [0o17]\n", `m.yaml:3:14: localUsers[0]: "0o17" is no uid`},
		"signed uid":        {"kind: User\nid: a\nlocalUsers: [+7]\n", `"+7" is no uid`},
		"hexadecimal uid":   {"kind: User\nid: a\nlocalUsers: [0x1f4]\n", `"0x1f4" is no uid`},
		"account twice":     {"kind: User\nid: a\nlocalUsers: [7, \"7\"]\n", `m.yaml:3:17: localUsers[1]: "7" is there twice`},
		"account with path": {"kind: User\nid: a\nlocalUsers: [a/b]\n", `localUsers[0]: "a/b" cannot be an account`},
		"accounts as text":  {"kind: User\nid: a\nlocalUsers: ann\n", "localUsers: must be a list"},
		"one account of two users": {"kind: User\nid: a\nlocalUsers: [x]\n---\nkind: User\nid: b\nlocalUsers:\n- y\n- x\n",
			`m.yaml:9:3: localUsers[1]: the account "x" is user "a"'s already`},
		"a number and its text": {"kind: User\nid: a\nlocalUsers: [1000]\n---\nkind: User\nid: b\nlocalUsers: [\"1000\"]\n", `the account "1000" is user "a"'s already`},
		"declared twice":        {"kind: User\nid: a\n---\nkind: User\nid: a\nroles: [admin]\n", `User "a" is declared twice`},
	} {
		o := open(t)
		_, err := o.Apply(t.Context(), ann, doc(c.text), false)
		if hasCode(t, name, err, access.CodeInvalid, c.want); len(o.Current().View.Users()) != 0 || len(o.evidence.said()) != 0 {
			t.Errorf("%s: something was changed", name)
		}
	}
}

// TestAnAccountIsOnePersons against what is registered: it can move in one
// apply, and a retired user's is free.
func TestAnAccountIsOnePersons(t *testing.T) {
	o := open(t)
	o.apply("kind: User\nid: a\nlocalUsers: [x]\n")
	_, err := o.Apply(t.Context(), ann, doc("kind: User\nid: b\nlocalUsers: [x]\n"), false)
	hasCode(t, "taken", err, access.CodeInvalid, `m.yaml:3:14: localUsers[0]`)
	o.apply("kind: User\nid: b\nlocalUsers: [x]\n---\nkind: User\nid: a\nlocalUsers: [y]\n")
	if _, err := o.ChangeUser(t.Context(), ann, "b", registry.VerbSuspend, ""); err != nil {
		t.Fatal(err)
	}
	_, err = o.Apply(t.Context(), ann, doc("kind: User\nid: c\nlocalUsers: [x]\n"), false)
	hasCode(t, "a suspended user's", err, access.CodeInvalid, "already")
	if _, err := o.ChangeUser(t.Context(), ann, "b", registry.VerbRetire, ""); err != nil {
		t.Fatal(err)
	}
	o.apply("kind: User\nid: c\nlocalUsers: [x]\n")
	// A retired user named again takes it from nobody.
	o.apply("kind: User\nid: b\nlocalUsers: [x]\n")
	actor, err := o.LocalActor(t.Context(), admin.Account{UID: "7", Name: "x"}, false)
	equal(t, "actor", fmt.Sprint(actor, err), "user:c <nil>")
}

func TestApplyNeverLiftsASuspendedUser(t *testing.T) {
	o := open(t)
	o.apply(people)
	p := o.apply("kind: User\nid: vic\nroles: [viewer]\nstate: active\n")
	equal(t, "note", p.Items[0].Notes, []string{"is suspended: apply does not lift that; use rutile user resume vic"})
	if _, err := o.ChangeUser(t.Context(), ann, "vic", registry.VerbRetire, "left"); err != nil {
		t.Fatal(err)
	}
	p = o.apply("kind: User\nid: vic\nroles: [admin]\nstate: active\n")
	u, _ := o.Current().View.User("vic")
	if u.State != registry.UserRetired || len(p.Items[0].Notes) != 1 {
		t.Errorf("vic is %s; notes %v", u.State, p.Items[0].Notes)
	}
	if _, err := o.ChangeUser(t.Context(), ann, "nobody", registry.VerbRetire, ""); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("nobody: %v", err)
	}
}

// TestLocalActors: who an account of the machine acts as.
func TestLocalActors(t *testing.T) {
	o := open(t)
	o.apply(people + "---\nkind: User\nid: two\nlocalUsers: [both, \"2001\"]\n---\nkind: User\nid: three\nlocalUsers: [\"2002\", shared]\nroles: [viewer]\n---\nkind: User\nid: off\nlocalUsers: [off]\nroles: [admin]\nstate: suspended\n---\nkind: User\nid: past\nlocalUsers: [past]\nroles: [admin]\nexpires: 2020-01-01\n")
	for name, c := range map[string]struct {
		uid, account string
		host         bool
		want         string // "" is refused
	}{
		"by name":                      {"55", "ann", false, "user:ann"},
		"by uid":                       {"1000", "", false, "user:ann"},
		"by both":                      {"1000", "ann", false, "user:ann"},
		"nobody's":                     {"55", "eve", false, ""},
		"another case":                 {"55", "Ann", false, ""},
		"a part":                       {"100", "an", false, ""},
		"no name":                      {"55", "", false, ""},
		"root":                         {"0", "root", true, "local:0"},
		"the gateway's, mapped":        {"1000", "ann", true, "user:ann"},
		"two users":                    {"2001", "shared", false, ""},
		"two users, the gateway's":     {"2001", "shared", true, "local:2001"},
		"a suspended user's":           {"55", "off", false, ""},
		"a suspended user's, gateway":  {"55", "off", true, "local:55"},
		"an expired user's":            {"55", "past", false, ""},
		"a name that is a uid's digit": {"55", "1000", false, "user:ann"},
	} {
		actor, err := o.LocalActor(t.Context(), admin.Account{UID: c.uid, Name: c.account}, c.host)
		if c.want == "" {
			hasCode(t, name, err, access.CodeDenied)
			continue
		}
		if err != nil || actor.String() != c.want || actor.Host != c.host {
			t.Errorf("%s: %+v, %v", name, actor, err)
		}
	}
}

// TestAnAccountNeedsTheStore: whom another node suspended does not get in here,
// and a node that cannot know lets nobody in but its keeper.
func TestAnAccountNeedsTheStore(t *testing.T) {
	o := open(t)
	o.apply(people)
	second, err := admin.New(t.Context(), admin.Config{Node: "n2"}, o.deps())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.ChangeUser(t.Context(), ann, "ann", registry.VerbSuspend, ""); err != nil {
		t.Fatal(err)
	}
	_, err = second.LocalActor(t.Context(), admin.Account{UID: "1000", Name: "ann"}, false)
	hasCode(t, "suspended elsewhere", err, access.CodeDenied)
	o.apply("kind: User\nid: new\nroles: [viewer]\nlocalUsers: [new]\n")
	if _, err := second.LocalActor(t.Context(), admin.Account{UID: "5", Name: "new"}, false); err != nil {
		t.Fatal(err)
	}
	o.store.down = true
	if actor, err := second.LocalActor(t.Context(), admin.Account{UID: "5", Name: "new"}, false); err == nil {
		t.Errorf("without a store %+v is let in", actor)
	}
	actor, err := second.LocalActor(t.Context(), admin.Account{UID: "0", Name: "root"}, true)
	equal(t, "root", fmt.Sprint(actor.String(), err), "local:0<nil>")
}

// TestHostIsAdminBesidesItsUser: root and the gateway's own account keep their
// right whoever they are mapped to, and others have their roles only.
func TestHostIsAdminBesidesItsUser(t *testing.T) {
	o := open(t)
	o.apply(people)
	mapped, err := o.LocalActor(t.Context(), admin.Account{UID: "1000", Name: "ann"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range admin.Ops() {
		if err := o.Authorize(t.Context(), mapped, op); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	other, err := o.LocalActor(t.Context(), admin.Account{UID: "1000", Name: "ann"}, false)
	if err != nil {
		t.Fatal(err)
	}
	hasCode(t, "other", o.Authorize(t.Context(), other, admin.OpUser), access.CodeDenied, "role admin")
	// Who is taken off the account while a request is under way changes nothing.
	o.apply("kind: User\nid: ann\nroles: [operator]\n")
	hasCode(t, "taken off", o.Authorize(t.Context(), other, admin.OpRead), access.CodeUnauthenticated)
	if err := o.Authorize(t.Context(), mapped, admin.OpUser); err != nil {
		t.Errorf("the gateway's own account: %v", err)
	}
	if _, ok := o.Person(mapped); ok {
		t.Error("an account that no user names is a person")
	}
	for name, actor := range map[string]admin.Actor{
		"an account that is not the gateway's": {Kind: "local", ID: "1000"},
		"a user nobody registered":             {Kind: "user", ID: "eve"},
		"the operator token's name alone":      {Kind: "user", ID: admin.OperatorToken},
		"nobody":                               {},
		"an agent":                             {Kind: "agent", ID: "reader", Host: true},
	} {
		for _, op := range admin.Ops() {
			hasCode(t, name, o.Authorize(t.Context(), actor, op), access.CodeUnauthenticated)
		}
	}
}

// TestPersonIsSomebodyWhoCounts: what needs a person gets none from the operator
// token, an unmapped account, an ended token or an ended user.
func TestPersonIsSomebodyWhoCounts(t *testing.T) {
	o := open(t)
	o.apply(people)
	tok := o.token("bob")
	actor, err := o.Authenticate(t.Context(), tok.Token)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := o.Person(actor)
	if !ok || p.ID != "bob" {
		t.Fatalf("person %+v, %t", p, ok)
	}
	equal(t, "teams", p.Teams, []string{"team-a", "team-b"})
	for name, a := range map[string]admin.Actor{
		"operator token":    {Kind: "user", ID: admin.OperatorToken, Host: true},
		"unmapped account":  {Kind: "local", ID: "0", Host: true},
		"the gateway":       admin.System(),
		"suspended":         {Kind: "user", ID: "vic"},
		"unknown":           {Kind: "user", ID: "eve", Host: true},
		"another's token":   {Kind: "user", ID: "ann", Token: tok.ID},
		"a token of nobody": {Kind: "user", ID: "bob", Token: "pat_0"},
		"an agent":          {Kind: "agent", ID: "bob"},
	} {
		if p, ok := o.Person(a); ok {
			t.Errorf("%s is %+v", name, p)
		}
	}
	if err := o.RevokeUserToken(t.Context(), ann, "bob", tok.ID, ""); err != nil {
		t.Fatal(err)
	}
	if _, ok := o.Person(actor); ok {
		t.Error("a revoked token is still a person")
	}
}

// TestRefusedChangesAreRecorded, refused reads are not, and one that cannot be
// recorded is refused all the same.
func TestRefusedChangesAreRecorded(t *testing.T) {
	o := open(t)
	o.apply(people)
	from := len(o.evidence.leaves)
	oper := admin.Actor{Kind: "user", ID: "ann"}
	hasCode(t, "read", o.Authorize(t.Context(), oper, admin.OpEvidence), access.CodeDenied, "auditor or admin")
	equal(t, "leaves", len(o.evidence.leaves), from)
	hasCode(t, "change", o.Authorize(t.Context(), oper, admin.OpUser), access.CodeDenied, "the role admin")
	_, err := o.ChangeUser(t.Context(), oper, "bob", registry.VerbSuspend, "")
	hasCode(t, "suspend", err, access.CodeDenied, `user "ann"`, "user.change needs the role admin")
	equal(t, "said", o.evidence.said()[from:], []string{"refuse Operation user.change", "refuse User bob"})
	leaf := o.evidence.leaves[from+1]
	if leaf.Actor != "user:ann" || !strings.Contains(leaf.Reason, "role admin") || leaf.Before != "" || leaf.After != "" {
		t.Errorf("%+v", leaf)
	}
	gen := o.store.gen
	o.evidence.fail = func(audit.Admin) error { return errors.New("the disk is full") }
	_, err = o.ChangeUser(t.Context(), oper, "bob", registry.VerbSuspend, "")
	hasCode(t, "without evidence", err, access.CodeEvidence)
	equal(t, "generation", o.store.gen, gen)
}
