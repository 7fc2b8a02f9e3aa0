package policy_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// TestShadowsNeverDecide: whatever a statement with @mode("shadow") says, also one
// that errs, the verdict is the one without it.
func TestShadowsNeverDecide(t *testing.T) {
	permit := `permit (principal, action, resource);`
	for name, shadow := range map[string]string{
		"forbid": `@id("s") @mode("shadow") forbid (principal, action, resource);`,
		"asks":   `@id("s") @mode("shadow") @outcome("require_approval") forbid (principal, action, resource);`,
		"errs":   `@id("s") @mode("shadow") forbid (principal, action, resource) when { context has input && context.input has n && context.input.n > 3 };`,
		"permit": `@id("s") @mode("shadow") permit (principal, action, resource);`,
		"revoke": `@id("s") @mode("shadow") @outcome("revoke") @target("session") forbid (principal, action, resource);`,
	} {
		for _, live := range []string{permit, `forbid (principal, action, resource) when { principal.tier > 9 };`} {
			without := compile(t, policy.Catalog{}, live)
			with := compile(t, policy.Catalog{}, live, shadow)
			for _, unknown := range []bool{false, true} {
				q := query(t, "bot", "s", "t", `{"n":"text"}`)
				q.Unknown = unknown
				if d := cmp.Diff(without.Evaluate(q), with.Evaluate(q)); d != "" {
					t.Errorf("%s beside %s (-without +with):\n%s", name, live, d)
				}
			}
			if with.Tried() == nil || without.Tried() != nil {
				t.Errorf("%s: which set is tried is wrong", name)
			}
			if with.Digest() == without.Digest() {
				t.Errorf("%s: the digest does not cover what is tried", name)
			}
		}
	}
}

// TestWhatIsTriedSaysWhatItWouldDo is the other side: with the statements counted
// the verdict is theirs, and names them.
func TestWhatIsTriedSaysWhatItWouldDo(t *testing.T) {
	permit := `permit (principal, action, resource);`
	for name, tt := range map[string]struct {
		shadow  string
		outcome access.Outcome
		by      []string
	}{
		"a forbid":           {`@id("s") @mode("shadow") forbid (principal, action, resource);`, access.Deny, []string{"s"}},
		"an approval":        {`@id("s") @mode("shadow") @outcome("require_approval") forbid (principal, action, resource);`, access.RequireApproval, []string{"s"}},
		"one that errs":      {`@id("s") @mode("shadow") forbid (principal, action, resource) when { context has input && context.input has n && context.input.n > 3 };`, access.Deny, []string{"s"}},
		"one that matches":   {`@id("s") @mode("shadow") permit (principal, action, resource);`, access.Permit, []string{"s"}},
		"one that does not":  {`@id("s") @mode("shadow") forbid (principal, action, resource) when { principal.tier > 9 };`, access.Permit, nil},
		"another agent's":    {`@id("s") @mode("shadow") forbid (principal == Mcp::Agent::"other", action, resource);`, access.Permit, nil},
		"two, of which one ": {`@id("s") @mode("shadow") forbid (principal, action, resource); @id("t") @mode("shadow") forbid (principal == Mcp::Agent::"other", action, resource);`, access.Deny, []string{"s"}},
	} {
		set := compile(t, policy.Catalog{}, permit, tt.shadow)
		q := query(t, "bot", "s", "t", `{"n":"text"}`)
		v := set.Tried().Evaluate(q)
		if by := set.Shadows(&v); v.Outcome != tt.outcome || !slices.Equal(by, tt.by) {
			t.Errorf("%s: %s by %v, want %s by %v", name, v.Outcome, by, tt.outcome, tt.by)
		}
	}
}

// TestShadowsAreListedAndTested: a reader sees them, and a case that makes one
// match covers it.
func TestShadowsAreListedAndTested(t *testing.T) {
	policies := []policy.Policy{{ID: "p", Cedar: `@id("s") @mode("shadow") forbid (principal, action == Mcp::Action::"files/read", resource) when { context.input.n > 3 };`}}
	set, err := policy.Compile(policies, policy.Catalog{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(set.Policies(), func(s policy.Statement) bool { return s.ID == "s" })
	if i < 0 || set.Policies()[i].Mode != "shadow" {
		t.Errorf("statements: %+v", set.Policies())
	}
	file := policy.TestFile{Path: "t.yaml", Text: `kind: PolicyTest
given: {agent: {id: bot, tools: ["files/read"]}, tool: {schema: {type: object, properties: {n: {type: integer}}, required: [n]}}}
cases:
  - name: still permitted
    when: {server: files, tool: read, arguments: {n: 5}}
    then: {outcome: permit}
`}
	r := policy.RunTests(t.Context(), []policy.TestFile{file}, policies, policy.Catalog{})
	if !r.OK() || len(r.Uncovered(policies)) > 0 {
		t.Errorf("%+v", r)
	}
}
