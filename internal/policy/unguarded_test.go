package policy_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// An unguarded read of an optional argument is a warning (decision 0080), which is
// sound as long as no form of it lets a call without the argument pass.
func TestAnUnguardedReadOnlyDenies(t *testing.T) {
	const permitAll = `permit (principal, action, resource);`
	read := `context.input.body like "v*"`
	for _, tt := range []struct {
		name, rules   string
		meets, misses access.Outcome // of calls whose argument is "v1" and "x"
	}{
		{"forbid unless", permitAll + `forbid ` + onIssue + ` unless { ` + read + ` };`, access.Permit, access.Deny},
		{"forbid when", permitAll + `forbid ` + onIssue + ` when { ` + read + ` };`, access.Deny, access.Permit},
		{"forbid when it is not", permitAll + `forbid ` + onIssue + ` when { !(` + read + `) };`, access.Permit, access.Deny},
		{"permit when", `permit ` + onIssue + ` when { ` + read + ` };`, access.Permit, access.Deny},
		{"permit unless", `permit ` + onIssue + ` unless { ` + read + ` };`, access.Deny, access.Permit},
		{"permit beside another", `permit (principal, action, resource) when { principal.attested }; permit ` + onIssue + ` when { ` + read + ` };`, access.Permit, access.Permit},
		{"approval", permitAll + `@outcome("require_approval") forbid ` + onIssue + ` when { ` + read + ` };`, access.RequireApproval, access.Permit},
		{"mask", permitAll + `@outcome("mask") @mask("args/body") forbid ` + onIssue + ` when { ` + read + ` };`, access.Mask, access.Permit},
		{"quarantine", permitAll + `@outcome("quarantine") @target("agent") forbid ` + onIssue + ` when { ` + read + ` };`, access.Quarantine, access.Permit},
		{"beside a condition that is met", permitAll + `forbid ` + onIssue + ` when { principal.attested && ` + read + ` };`, access.Deny, access.Permit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := []policy.Policy{{ID: "p", Cedar: tt.rules}}
			report := policy.Check(p, issues())
			if len(report.Errors) > 0 || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0].Message, "the call is denied") {
				t.Fatalf("errors %v, warnings %v: want one warning that says what happens", report.Errors, report.Warnings)
			}
			set, err := policy.Compile(p, issues())
			if err != nil {
				t.Fatal(err)
			}
			const head = `{"repo":"a","title":"b"`
			for arguments, want := range map[string]access.Outcome{
				head + `,"body":"v1"}`:      tt.meets,
				head + `,"body":"x"}`:       tt.misses,
				head + `}`:                  access.Deny,
				head + `,"body":null}`:      access.Deny,
				head + `,"Body":"v1"}`:      access.Deny,
				head + `,"body":["v1"]}`:    access.Deny,
				head + `,"body":{"a":"v"}}`: access.Deny,
			} {
				v := set.Evaluate(query(t, "bot", "github", "create_issue", arguments, "write"))
				if v.Outcome != want {
					t.Errorf("%s: %s, want %s (%+v)", arguments, v.Outcome, want, v)
				}
				if there := strings.Contains(arguments, `"body":"`); there == (len(v.Errors) > 0) {
					t.Errorf("%s: errors are %v", arguments, v.Errors)
				}
			}
		})
	}
}

// A statement that is only tried counts for nothing, also where it errs.
func TestAnUnguardedReadInTheShadowCountsForNothing(t *testing.T) {
	set, err := policy.Compile([]policy.Policy{{ID: "p", Cedar: `permit (principal, action, resource);
@mode("shadow") forbid ` + onIssue + ` unless { context.input.body like "v*" };`}}, issues())
	if err != nil {
		t.Fatal(err)
	}
	if v := set.Evaluate(query(t, "bot", "github", "create_issue", `{"repo":"a","title":"b"}`, "write")); v.Outcome != access.Permit {
		t.Errorf("%+v", v)
	}
}
