package rehearsal_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/rehearsal"
)

// explained explains the newest call.
func (r *rig) explained(change func(*rehearsal.Explaining)) rehearsal.Explained {
	r.Helper()
	var last rehearsal.Explained
	for c, err := range r.calls() {
		if err != nil {
			r.Fatal(err)
		}
		last = r.explain(c, change)
	}
	return last
}

func (r *rig) explain(c *audit.Call, change func(*rehearsal.Explaining)) rehearsal.Explained {
	r.Helper()
	o := rehearsal.Explaining{Then: r.State(), Generation: 1, Now: r.State(), Held: noGrant}
	change(&o)
	x, err := rehearsal.Explain(r.Context(), c, o)
	if err != nil {
		r.Fatal(err)
	}
	return x
}

const noBig = `kind: Policy
id: no-big
cedar: |
  @owner("ann") @advice("write less")
  forbid (principal, action == Mcp::Action::"files/write", resource)
  when { context has input && context.input has n && context.input.n > 100 };
`

// TestADenialIsExplainedByTheRuleThatDecided: its text and place, what it read, the words
// the agent was told, and what would change it; and no value of an argument.
func TestADenialIsExplainedByTheRuleThatDecided(t *testing.T) {
	r := newRig(t)
	r.apply(noBig)
	d := r.call("bot", "write", `{"path":"/secret-place","n":7134}`)
	for _, sealed := range []bool{true, false} {
		x := r.explained(func(o *rehearsal.Explaining) { o.Sealed = sealed })
		if len(x.Rules) != 1 || x.Rules[0].ID != "no-big" || x.Rules[0].File != "m.yaml" || x.Rules[0].Line < 4 || x.Rules[0].Owner != "ann" {
			t.Errorf("sealed %t: the rules are %+v", sealed, x.Rules)
		}
		if !x.Denied() || x.Class != access.ClassPolicy {
			t.Errorf("sealed %t: %s, %s", sealed, x.Outcome, x.Class)
		}
		i := slices.IndexFunc(x.Inputs, func(in policy.Input) bool { return in.Name == "context.input.n" })
		if i < 0 || x.Inputs[i].Unknown == sealed || sealed && !x.Inputs[i].Present {
			t.Errorf("sealed %t: it read %+v", sealed, x.Inputs)
		}
		if text := strings.Join(append(slices.Clone(x.Flip), x.Reason, x.Help), " "); strings.Contains(text, "7134") || strings.Contains(text, "secret-place") {
			t.Errorf("sealed %t: it shows an argument: %s", sealed, text)
		}
		if rules, owners := x.DecidedBy(); !slices.Equal(rules, []string{"no-big"}) || !slices.Equal(owners, []string{"ann"}) {
			t.Errorf("decided by %v of %v", rules, owners)
		}
		if !sealed {
			continue
		}
		if x.Reason != d.Reason || x.Help != "write less" || !slices.Equal(x.Flip, []string{"policy no-big is lifted"}) || x.Now != "deny" {
			t.Errorf("%q %q %v %q, the agent was told %q", x.Reason, x.Help, x.Flip, x.Now, d.Reason)
		}
	}
}

// TestADecisionIsExplainedByTheRulesOfThen: a rule that was changed since is shown as it
// was, and what the rules in force say is told beside it.
func TestADecisionIsExplainedByTheRulesOfThen(t *testing.T) {
	r := newRig(t)
	r.apply(noBig)
	r.call("bot", "write", `{"n":200}`)
	then := r.State()
	r.apply(strings.Replace(noBig, "> 100", "> 1000", 1))
	x := r.explained(func(o *rehearsal.Explaining) { o.Then, o.Sealed = then, true })
	if len(x.Rules) != 1 || !strings.Contains(x.Rules[0].Cedar, "> 100 ") || x.Now != "permit" {
		t.Errorf("rules %+v, now %s", x.Rules, x.Now)
	}
}

// TestWhatNothingPermitsShowsTheNearest: a denial by default names the permit that came
// closest and that one would have to be added.
func TestWhatNothingPermitsShowsTheNearest(t *testing.T) {
	r := newRig(t)
	r.call("other", "write", "")
	x := r.explained(func(*rehearsal.Explaining) {})
	if x.Class != access.ClassDefault || !slices.ContainsFunc(x.Nearest, func(n policy.Near) bool {
		return n.ID == "allow.other.files" && slices.Equal(n.Why, []string{"it is for another action"})
	}) || !slices.Equal(x.Flip, []string{"a permit for this call is added"}) {
		t.Errorf("%s: nearest %+v, flip %v", x.Class, x.Nearest, x.Flip)
	}
	if !strings.Contains(x.Reason, "no rule permits") || !strings.Contains(x.Help, "team") {
		t.Errorf("%q %q", x.Reason, x.Help)
	}
}

// TestAPermitIsExplainedToo: the rule that permitted, and nothing to change.
func TestAPermitIsExplainedToo(t *testing.T) {
	r := newRig(t)
	r.call("bot", "read", "")
	x := r.explained(func(*rehearsal.Explaining) {})
	if x.Denied() || len(x.Rules) != 1 || x.Rules[0].ID != "allow.bot.files" || len(x.Flip)+len(x.Nearest) > 0 {
		t.Errorf("%+v", x)
	}
}

// TestAResourceIsNamedToWhoMayReadEvidence: its address may name a person, so whoever may
// not read evidence learns neither it nor the words that hold it.
func TestAResourceIsNamedToWhoMayReadEvidence(t *testing.T) {
	r := newRig(t)
	q := r.request("other", "file:///home/ann/divorce.txt", "")
	q.Kind, q.Method = access.KindResource, "resources/read"
	d := pdp.Decide(r.State(), q)
	r.record(q, &d)
	for _, sealed := range []bool{true, false} {
		x := r.explained(func(o *rehearsal.Explaining) { o.Sealed = sealed })
		raw, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if !x.Denied() || strings.Contains(string(raw), "divorce") != sealed {
			t.Errorf("sealed %t: %s", sealed, raw)
		}
	}
}
