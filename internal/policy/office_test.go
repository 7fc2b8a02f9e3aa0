package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/policy"
)

var (
	officeOps = []string{
		"registry.read", "registry.apply", "agent.change", "agent.token", "server.change", "tool.change", "policy.change", "policy.rehearse", "credential.change",
		"evidence.read", "evidence.reindex", "evidence.erase", "request.decide", "grant.change", "grant.break", "grant.review", "session.change", "inventory.change", "finding.change", "decision.report", "own.change", "user.change",
	}
	officeRoles = []string{"viewer", "auditor", "approver", "operator", "admin"}
)

func office(t *testing.T) *policy.Office {
	t.Helper()
	o, err := policy.NewOffice(officeOps, officeRoles)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestWhichRoleIsEnough is the whole table: a right that is given to a role by
// mistake shows here.
func TestWhichRoleIsEnough(t *testing.T) {
	o := office(t)
	got := map[string]string{}
	for _, op := range officeOps {
		got[op] = strings.Join(o.RolesFor(op), " ")
	}
	want := map[string]string{
		"registry.read":     "viewer auditor approver operator admin",
		"registry.apply":    "operator admin",
		"agent.change":      "operator admin",
		"agent.token":       "operator admin",
		"server.change":     "operator admin",
		"tool.change":       "operator admin",
		"policy.change":     "operator admin",
		"policy.rehearse":   "auditor operator admin",
		"credential.change": "operator admin",
		"evidence.read":     "auditor admin",
		"evidence.reindex":  "operator admin",
		"evidence.erase":    "admin",
		"request.decide":    "approver admin",
		"grant.change":      "approver operator admin",
		"grant.break":       "approver operator admin",
		"grant.review":      "auditor approver admin",
		"session.change":    "operator admin",
		"inventory.change":  "operator admin",
		"finding.change":    "operator admin",
		"decision.report":   "viewer auditor approver operator admin",
		"own.change":        "viewer auditor approver operator admin",
		"user.change":       "admin",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestTheOfficeRefusesByDefault: no roles, roles nobody knows, roles spelled
// otherwise, a team called like a role, and operations nobody knows.
func TestTheOfficeRefusesByDefault(t *testing.T) {
	o := office(t)
	for name, p := range map[string]policy.Person{
		"nobody":                   {},
		"no roles":                 {ID: "ann", Teams: []string{"t"}},
		"unknown role":             {ID: "ann", Roles: []string{"root"}},
		"other case":               {ID: "ann", Roles: []string{"Admin", "OPERATOR"}},
		"padded":                   {ID: "ann", Roles: []string{"admin ", " admin"}},
		"a user called admin":      {ID: "admin"},
		"a team called admin":      {ID: "ann", Teams: []string{"admin", "operator"}},
		"an empty role":            {ID: "ann", Roles: []string{""}},
		"a role that is a pattern": {ID: "ann", Roles: []string{"*"}},
	} {
		for _, op := range officeOps {
			if o.May(p, op) != (op == "own.change") { // what is one's own needs no role
				t.Errorf("%s, %s: %t", name, op, o.May(p, op))
			}
		}
	}
	for _, op := range []string{"", "any", "Registry.read", "registry.read ", "registry.*", "everything"} {
		if o.May(policy.Person{ID: "ann", Roles: officeRoles}, op) {
			t.Errorf("an admin may do the unknown operation %q", op)
		}
	}
}

// TestRolesAddUp: two roles may do what either may, and nothing else.
func TestRolesAddUp(t *testing.T) {
	o := office(t)
	for _, a := range officeRoles {
		for _, b := range officeRoles {
			for _, op := range officeOps {
				enough := o.RolesFor(op)
				want := slices.Contains(enough, a) || slices.Contains(enough, b)
				if got := o.May(policy.Person{ID: "ann", Roles: []string{a, b}}, op); got != want {
					t.Errorf("%s and %s, %s: %t", a, b, op, got)
				}
			}
		}
	}
}

// TestTheOfficeKnowsWhatItsTextNames: a spelling mistake in an operation or a
// role would otherwise be a rule that never matches.
func TestTheOfficeKnowsWhatItsTextNames(t *testing.T) {
	for _, missing := range officeOps {
		if missing == "user.change" || missing == "evidence.erase" { // named by nobody: only admins, who may do any
			continue
		}
		ops := slices.DeleteFunc(slices.Clone(officeOps), func(s string) bool { return s == missing })
		if _, err := policy.NewOffice(ops, officeRoles); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	for _, missing := range officeRoles {
		roles := slices.DeleteFunc(slices.Clone(officeRoles), func(s string) bool { return s == missing })
		if _, err := policy.NewOffice(officeOps, roles); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}
