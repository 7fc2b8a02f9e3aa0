package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/policy"
)

const retireStop = "kind: Policy\nid: stop\nstate: retired\n"

// inForce reports whether a statement of the policy decides.
func (o *office) inForce(id string) bool {
	return slices.ContainsFunc(o.Current().Set.Policies(), func(s policy.Statement) bool { return s.Policy == id })
}

// TestARetiredPolicyDecidesNothing: it is a recorded change and a generation, a
// second apply changes nothing, and it holds after a restart.
func TestARetiredPolicyDecidesNothing(t *testing.T) {
	o := withFiles(t)
	o.apply(fmt.Sprintf(stop, "x"))
	digest := o.rules()
	if p, err := o.Diff(t.Context(), doc(retireStop)); err != nil || !p.Changes() || !o.inForce("stop") {
		t.Fatalf("diff: %+v, %v", p, err)
	}
	p := o.apply(retireStop)
	if f := p.Items[0].Fields; len(f) != 1 || f[0].Field != "state" || string(f[0].After) != `"retired"` {
		t.Errorf("the plan is %+v", p.Items[0])
	}
	if o.inForce("stop") {
		t.Error("it still decides")
	}
	equal(t, "generations", o.versions(), []string{"2 1/0/0", "1 1/0/0"})
	last := o.evidence.leaves[len(o.evidence.leaves)-1]
	equal(t, "leaf", last.Verb+" "+last.Before+" "+last.After, "activate "+digest+" "+o.rules())

	leaves, gen, text := len(o.evidence.leaves), o.store.gen, o.export()
	for _, again := range []string{retireStop, fmt.Sprintf(stop, "x") + "state: retired\n", text} {
		if p := o.apply(again); p.Changes() || o.store.gen != gen || len(o.evidence.leaves) != leaves {
			t.Errorf("applying %q again changes %+v", again, p.Items)
		}
	}
	if o = reopen(t, o.store, o.evidence, admin.ModeEnforce); o.inForce("stop") {
		t.Error("a restart brings it back")
	}
	other := withFiles(t)
	other.apply(text)
	if equal(t, "export", other.export(), text); other.inForce("stop") {
		t.Error("an export brings it back")
	}
}

// TestAPolicyComesBack by its manifest without a state, or by a rollback.
func TestAPolicyComesBack(t *testing.T) {
	for name, back := range map[string]func(o *office){
		"without a state": func(o *office) { o.apply(fmt.Sprintf(stop, "x")) },
		"active":          func(o *office) { o.apply(fmt.Sprintf(stop, "x") + "state: active\n") },
		"by a rollback":   func(o *office) { o.rollback(1) },
	} {
		o := withFiles(t)
		o.apply(fmt.Sprintf(stop, "x"))
		first := o.rules()
		o.apply(retireStop)
		retired := o.rules()
		back(o)
		equal(t, name+": rules", o.rules(), first)
		if !o.inForce("stop") {
			t.Errorf("%s: it does not decide", name)
		}
		if o.rollback(2); o.inForce("stop") || o.rules() != retired {
			t.Errorf("%s: rolling back to its retirement leaves it in force", name)
		}
	}
}

// TestRetiringShowsInTheDiffOfGenerations.
func TestRetiringShowsInTheDiffOfGenerations(t *testing.T) {
	o := withFiles(t)
	o.apply(fmt.Sprintf(stop, "x"))
	o.apply(retireStop)
	from, _ := o.Version(t.Context(), 1)
	to, _ := o.Version(t.Context(), 2)
	d := admin.DiffRules(from, to).Objects
	if len(d) != 1 || !strings.Contains(d[0].Diff, "\n+// state: retired\n") {
		t.Errorf("the diff is %+v", d)
	}
}

// TestRetiringIsAllOrNothing, and needs the right to change policies.
func TestRetiringIsAllOrNothing(t *testing.T) {
	o := full(t)
	o.listing("files", "read", "reads")
	o.apply(fmt.Sprintf(stop, "x"))
	before, gen := o.rules(), o.store.gen
	for name, tt := range map[string]struct {
		who  admin.Actor
		text string
		code access.Code
		says string
	}{
		"twice":                 {ann, retireStop + "---\n" + retireStop, access.CodeInvalid, "declared twice"},
		"retired and in force":  {ann, retireStop + "---\n" + fmt.Sprintf(stop, "y"), access.CodeInvalid, "declared twice"},
		"beside a wrong policy": {ann, retireStop + "---\nkind: Policy\nid: wrong\ncedar: permit (principal, action, resource) when { context.nothing };\n", access.CodeInvalid, "nothing"},
		"another state":         {ann, strings.Replace(retireStop, "retired", "gone", 1), access.CodeInvalid, "use active, retired"},
		"an empty text":         {ann, retireStop + "cedar: ''\n", access.CodeInvalid, "is empty"},
		"active without a text": {ann, strings.Replace(retireStop, "retired", "active", 1), access.CodeInvalid, "cedar"},
		"by who may not":        {admin.Actor{Kind: "user", ID: "none"}, retireStop, access.CodeDenied, "policy.change"},
	} {
		_, err := o.Apply(t.Context(), tt.who, doc(tt.text), false)
		hasCode(t, name, err, tt.code, tt.says)
		if o.store.gen != gen || o.rules() != before || !o.inForce("stop") {
			t.Errorf("%s: it changed something", name)
		}
	}
	p := o.apply(strings.Replace(retireStop, "stop", "stpo", 1))
	if p.Changes() || o.store.gen != gen || !strings.Contains(strings.Join(p.Items[0].Notes, " "), "is not there") {
		t.Errorf("retiring what is not there: %+v", p.Items)
	}
}

// TestARetiredPolicyHoldsNothing: the fact it read may go, its text need not fit any
// more, and what does not fit does not come back.
func TestARetiredPolicyHoldsNothing(t *testing.T) {
	o := open(t)
	o.apply(facts)
	first, rest, _ := strings.Cut(facts, "---\n")
	_, id, _ := strings.Cut(rest, "kind: Policy\nid: ")
	id, _, _ = strings.Cut(id, "\n")
	o.apply("kind: Policy\nid: " + id + "\nstate: retired\n---\n" + first + "state: retired\n")
	if len(o.Current().Set.FactsRead()) != 0 {
		t.Error("facts are read")
	}
	gen := o.store.gen
	_, err := o.Apply(t.Context(), ann, doc(rest[strings.Index(rest, "kind: Policy"):]), false)
	hasCode(t, "coming back without its fact", err, access.CodeInvalid, "transfers_1h")
	if o.store.gen != gen {
		t.Error("it changed something")
	}
}
