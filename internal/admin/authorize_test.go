package admin_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// changes are all methods that change something on somebody's word, each once.
var changes = map[string]func(context.Context, *admin.Admin, admin.Actor) error{
	"Apply": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.Apply(ctx, who, doc("kind: Agent\nid: new\nowner: team-a\n"), false)
		return err
	},
	"Publish": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.Publish(ctx, who, []policy.Policy{{ID: "tried", Cedar: "forbid (principal, action, resource) when { false };"}}, a.Current().View.Generation(), "")
		return err
	},
	"ChangeAgent": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.ChangeAgent(ctx, who, "reader", registry.VerbSuspend, "")
		return err
	},
	"CreateAgent": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.CreateAgent(ctx, who, admin.AgentSpec{ID: "made", Owner: "team-a"})
		return err
	},
	"Invite": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.Invite(ctx, who, "reader", 0)
		return err
	},
	"Unenroll": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.Unenroll(ctx, who, "invited", "", "")
		return err
	},
	"ChangeServer": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.ChangeServer(ctx, who, "files", registry.VerbQuarantine, "")
		return err
	},
	"MoveServer": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.MoveServer(ctx, who, "files", admin.Move{Verb: registry.VerbQuarantine})
		return err
	},
	"AskReview": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.AskReview(ctx, who, "waiting", "")
		return err
	},
	"OwnServer": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.OwnServer(ctx, who, "files", "ann", "")
		return err
	},
	"OwnAgent": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.OwnAgent(ctx, who, "reader", "ann", "")
		return err
	},
	"StartReviews": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.StartReviews(ctx, who, admin.ReviewFilter{}, day.AddDate(0, 0, 9), "")
		return err
	},
	"AnswerReview": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.AnswerReview(ctx, who, admin.ReviewServer, "files", admin.ReviewAnswer{Decision: "keep"})
		return err
	},
	"RaiseTier": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.RaiseTier(ctx, who, "files", 3, "")
		return err
	},
	"LowerTier": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.LowerTier(ctx, who, "files", registry.Lowered{Tier: 0, Until: day.AddDate(0, 0, 9), Why: "tried out"})
		return err
	},
	"ApproveTool": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.ApproveTool(ctx, who, "files", "late", admin.Approval{})
		return err
	},
	"ChangeTool": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.ChangeTool(ctx, who, "files", "late", registry.VerbBlock, "")
		return err
	},
	"RelearnTool": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.RelearnTool(ctx, who, "files", "read", "")
		return err
	},
	"IssueDevelopmentToken": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.IssueDevelopmentToken(ctx, who, admin.TokenRequest{Agent: "reader", Server: "files"})
		return err
	},
	"SetCredential": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.SetCredential(ctx, who, credential.Secret{ID: "fresh"}, []byte("value"))
		return err
	},
	"RewrapCredentials": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.RewrapCredentials(ctx, who)
		return err
	},
	"RotateCredential": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.RotateCredential(ctx, who, "key", []byte("value2"))
		return err
	},
	"RemoveCredential": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.RemoveCredential(ctx, who, "key")
		return err
	},
	"Try": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.Try(ctx, who, admin.TryMail, "ops", func(context.Context) (string, error) { return "", nil })
		return err
	},
	"SkipEvent": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		return a.SkipEvent(ctx, who, &skipper{}, "box", 1, "too large")
	},
	"Shrink": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.Shrink(ctx, who, map[string][]string{"reader": {"files/read"}}, a.Current().View.Generation(), "", false)
		return err
	},
	"RollBackSeen": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.RollBackSeen(ctx, who, 1, a.Current().View.Generation(), "")
		return err
	},
	"RollBack": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.RollBack(ctx, who, 1, "", false)
		return err
	},
	"ChangeUser": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.ChangeUser(ctx, who, "bob", registry.VerbSuspend, "")
		return err
	},
	"CreateUserToken": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		_, err := a.CreateUserToken(ctx, who, "bob", "", 0)
		return err
	},
	"RevokeUserToken": func(ctx context.Context, a *admin.Admin, who admin.Actor) error {
		t, _ := a.Current().View.User("bob")
		return a.RevokeUserToken(ctx, who, "bob", t.Tokens[0].ID, "")
	},
}

// forAdmins are those an operator may not do, who owns nothing.
var forAdmins = []string{"ChangeUser", "CreateUserToken", "RevokeUserToken", "AnswerReview", "SkipEvent", "Try"}

// TestEveryMethodWithAnActorIsDecided finds the methods by their parameter: one
// that is added and not listed fails the test.
func TestEveryMethodWithAnActorIsDecided(t *testing.T) {
	actor := reflect.TypeFor[admin.Actor]()
	// These decide, or say who somebody is, and change nothing.
	known := map[string]bool{
		"ConfirmEntitlement": true, // its owner's alone: TestOwnersConfirmTheirEntitlements tries it
		"Authorize":          true, "Allows": true, "Offers": true, "Person": true,
	}
	typ := reflect.TypeFor[*admin.Admin]()
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		for j := range m.Type.NumIn() {
			if m.Type.In(j) == actor && changes[m.Name] == nil && !known[m.Name] {
				t.Errorf("%s takes an Actor and is not among the changes this test tries", m.Name)
			}
		}
	}
	for name := range changes {
		if _, ok := typ.MethodByName(name); !ok {
			t.Errorf("there is no method %s", name)
		}
	}
}

// TestAKindNobodyThoughtOfIsForAdmins: a kind of object that is added and given
// no operation is nobody's but an admin's.
func TestAKindNobodyThoughtOfIsForAdmins(t *testing.T) {
	for _, kind := range []string{"", "agent", "Agents", "Policy ", "user", "Anything", "Operation"} {
		equal(t, kind, admin.OpOf(kind), admin.OpOther)
	}
	for kind, op := range map[string]admin.Op{"Agent": admin.OpAgent, "Server": admin.OpServer, "Tool": admin.OpTool, "Policy": admin.OpPolicy, "Team": admin.OpTeam, "User": admin.OpUser} {
		equal(t, kind, admin.OpOf(kind), op)
	}
}

// full is an office in which every change would succeed.
func full(t *testing.T) *office {
	t.Helper()
	o := open(t)
	o.apply(people + `---
kind: User
id: oper
roles: [operator]
---
kind: User
id: root
roles: [admin]
---
kind: User
id: boss
roles: [viewer, auditor, approver]
---
kind: Agent
id: reader
owner: team-a
tools: ["files/*"]
---
kind: Agent
id: invited
owner: team-a
---
kind: Server
id: waiting
owner: team-a
transport: {http: {url: "https://waiting.example.com/mcp"}}
---
` + box + "---\n" + opsMail + "---\n" + filesServer)
	o.listing("files", "read", "reads")
	o.listing("files", "read", "reads", "late", "came later")
	if _, err := o.Invite(t.Context(), ann, "invited", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := o.SetCredential(t.Context(), ann, credential.Secret{ID: "key"}, []byte("value")); err != nil {
		t.Fatal(err)
	}
	o.token("bob")
	for _, n := range []string{"first", "second"} { // so that there is something to bring back
		o.apply("kind: Policy\nid: quiet\ncedar: '@doc(\"" + n + "\") forbid (principal, action in Mcp::Action::\"destroy\", resource) when { context.session.depth > 9 };'\n")
	}
	return o
}

// TestOnlyTheRightRoleChanges tries every change as everybody.
func TestOnlyTheRightRoleChanges(t *testing.T) {
	var o *office // as full made it: who is refused leaves it so
	for name, do := range changes {
		for _, who := range []admin.Actor{
			{Kind: "user", ID: "boss"}, {Kind: "user", ID: "none"}, {Kind: "user", ID: "vic"}, {Kind: "user", ID: "eve"}, {Kind: "local", ID: "0"}, {},
			{Kind: "user", ID: "oper"}, {Kind: "user", ID: "root"}, {Kind: "local", ID: "0", Host: true},
		} {
			if o == nil {
				o = full(t)
			}
			gen, vault, issued, leaves := o.store.gen, len(o.vault.values), len(o.authority.issued), len(o.evidence.leaves)
			value := o.vault.values["key"]
			err := do(t.Context(), o.Admin, who)
			may := who.Host || who.ID == "root" || who.ID == "oper" && !strings.Contains(strings.Join(forAdmins, " "), name)
			if may {
				if err != nil {
					t.Errorf("%s as %s: %v", name, who, err)
				}
				o = nil
				continue
			}
			want := access.CodeDenied
			if who.ID == "vic" || who.ID == "eve" || who.Kind != "user" {
				want = access.CodeUnauthenticated
			}
			hasCode(t, name+" as "+who.String(), err, want)
			if o.store.gen != gen || len(o.vault.values) != vault || o.vault.values["key"] != value || len(o.authority.issued) != issued {
				t.Errorf("%s as %s changed something", name, who)
			}
			for _, l := range o.evidence.leaves[leaves:] {
				if l.Verb != "refuse" || l.Actor != who.String() {
					t.Errorf("%s as %s recorded %+v", name, who, l)
				}
			}
			if want == access.CodeDenied && len(o.evidence.leaves) != leaves+1 {
				t.Errorf("%s as %s: the refusal is not recorded once", name, who)
			}
		}
	}
}

// TestNobodyPromotesThemselves: manifests that touch people are refused whole to
// whoever is no admin, however the change is wrapped.
func TestNobodyPromotesThemselves(t *testing.T) {
	agent := "kind: Agent\nid: reader\nowner: team-a\npurpose: changed\n"
	for name, text := range map[string]string{
		"own role":             "kind: User\nid: oper\nroles: [operator, admin]\n",
		"own role, after work": agent + "---\nkind: User\nid: oper\nroles: [admin]\n",
		"another's role":       agent + "---\nkind: User\nid: vic\nroles: [admin]\n",
		"a new user":           agent + "---\nkind: User\nid: second\nroles: [admin]\n",
		"a harmless new user":  "kind: User\nid: second\n",
		"an account":           "kind: User\nid: oper\nroles: [operator]\nlocalUsers: [\"0\"]\n",
		"an end that goes":     "kind: User\nid: ann\nname: Ann Onymous\nemail: ann@example.com\nroles: [operator]\nlocalUsers: [ann, 1000]\n",
		"a team":               agent + "---\nkind: Team\nid: team-a\nmembers: [ann, bob, oper]\n",
		"a new team":           agent + "---\nkind: Team\nid: mine\nmembers: [oper]\n",
		"leaving a team":       "kind: Team\nid: team-a\nmembers: [ann]\n",
		"suspending an admin":  "kind: User\nid: root\nroles: [admin]\nstate: suspended\n",
	} {
		o := full(t)
		before, gen := o.export(), o.store.gen
		_, err := o.Apply(t.Context(), admin.Actor{Kind: "user", ID: "oper"}, doc(text), false)
		hasCode(t, name, err, access.CodeDenied, "needs the role admin")
		equal(t, name, o.export(), before)
		equal(t, name+": generation", o.store.gen, gen)
		// The same is an admin's right.
		if _, err := o.Apply(t.Context(), admin.Actor{Kind: "user", ID: "root"}, doc(text), false); err != nil {
			t.Errorf("%s, as admin: %v", name, err)
		}
	}
	// People who are named as they stand are no change.
	o := full(t)
	if _, err := o.Apply(t.Context(), admin.Actor{Kind: "user", ID: "oper"}, doc(people+"---\n"+agent), false); err != nil {
		t.Errorf("people as they stand: %v", err)
	}
}

// TestARoleTakenAwayCountsAtOnce: the decision is on the state a change is made
// on, which another node may have changed.
func TestARoleTakenAwayCountsAtOnce(t *testing.T) {
	o := full(t)
	oper := admin.Actor{Kind: "user", ID: "oper"}
	for _, name := range []string{"SetCredential", "RemoveCredential", "IssueDevelopmentToken", "ChangeAgent"} {
		node, err := admin.New(t.Context(), admin.Config{Node: "n3"}, o.deps())
		if err != nil {
			t.Fatal(err)
		}
		o.apply("kind: User\nid: oper\nroles: [operator]\n")
		if err := node.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.apply("kind: User\nid: oper\nroles: [viewer]\n")
		hasCode(t, name, changes[name](t.Context(), node, oper), access.CodeDenied, "the role operator or admin")
	}
}
