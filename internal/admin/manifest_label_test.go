package admin_test

import (
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/registry"
)

const oneLabel = `kind: Label
id: source:crm
owner: secops
description: what customers are known by
`

const untrustedLabels = `kind: Label
id: untrusted:*
owner: secops
`

const labelledServer = `kind: Server
id: crm
owner: team-sales
transport: {stdio: {command: crm-server}}
dataScopes: [source:crm, untrusted:mail]
labels: {"get_*": [secret], list: [public, source:crm]}
state: discovered
`

const labelledAgent = `kind: Agent
id: clerk
owner: team-sales
dataScopes: [source:crm]
`

const labelledPolicy = `kind: Policy
id: no-customers-out
cedar: |
  @id("no-customers-out")
  forbid (principal, action in Mcp::Action::"egress", resource)
  when {
    ["source:crm", "secret"].containsAny(context.session.labels) ||
    context.session.taint.contains("server:crm") || principal.dataScopes.contains("source:crm")
  };
`

const labelledFact = `kind: Fact
id: read_customers
owner: secops
type: taint
on: {resultLabel: "source:crm"}
scope: session
agg: seen
`

var labelled = strings.Join([]string{oneLabel, untrustedLabels, labelledServer, labelledAgent, labelledFact, labelledPolicy}, "---\n")

// TestLabelsComeBackAsTheyWere: applied again nothing changes, and an export applied to
// an empty store exports the same bytes.
func TestLabelsComeBackAsTheyWere(t *testing.T) {
	o := open(t)
	o.apply(labelled)
	if plan, err := o.Diff(t.Context(), doc(labelled)); err != nil || plan.Changes() {
		t.Errorf("is different from itself: %+v %v", plan, err)
	}
	exported := o.export()
	again := open(t)
	again.apply(exported)
	equal(t, "exported again", again.export(), exported)
	if l := again.Current().Labels["source:crm"]; l.State != registry.LabelActive || l.Description != "what customers are known by" {
		t.Errorf("kept: %+v", l)
	}
}

// TestUnknownLabelsAreRefusedOnceAnyIsDeclared: a rule about a label that nothing has
// matches nothing, so a misspelt one is told with its place before it is relied on.
func TestUnknownLabelsAreRefusedOnceAnyIsDeclared(t *testing.T) {
	for name, c := range map[string]struct{ in, old, new, want string }{
		"scope of an agent":        {labelledAgent, "source:crm", "source:cmr", `no label is called "source:cmr"|source:crm`},
		"scope of a server":        {labelledServer, "[source:crm, untrusted:mail]", "[source:crmm, untrusted:mail]", `no label is called "source:crmm"|source:crm`},
		"label of a tool":          {labelledServer, "[public, source:crm]", "[public, source:cr]", `no label is called "source:cr"|source:crm`},
		"kind that is not covered": {labelledServer, "untrusted:mail", "unturned:mail", `no label is called "unturned:mail"`},
		"set in a policy":          {labelledPolicy, `["source:crm", "secret"]`, `["source:cmr", "secret"]`, `no label is called "source:cmr"|was source:crm meant?`},
		"word in a policy":         {labelledPolicy, `principal.dataScopes.contains("source:crm")`, `principal.dataScopes.contains("source:erp")`, `no label is called "source:erp"`},
		"label of a fact":          {labelledFact, "source:crm", "source:cmr", `on.resultLabel: no label is called "source:cmr"|source:crm`},
		"word of a label":          {oneLabel, "source:crm", "secret", "are there already"},
		"label without a kind":     {oneLabel, "source:crm", "customers", "write kind:name"},
		"label of any kind":        {oneLabel, "source:crm", `"*:*"`, "write kind:name"},
		"label without an owner":   {oneLabel, "owner: secops\n", "", "owner"},
	} {
		t.Run(name, func(t *testing.T) {
			o := open(t)
			o.apply(labelled)
			changed := strings.Replace(c.in, c.old, c.new, 1)
			if changed == c.in {
				t.Fatal("changes nothing")
			}
			before := o.export()
			_, err := o.Apply(t.Context(), admin.System(), doc(changed), false)
			if err == nil {
				t.Fatal("is applied")
			}
			for want := range strings.SplitSeq(c.want, "|") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %s", err, want)
				}
			}
			equal(t, "what stands", o.export(), before)
		})
	}
}

// TestTheFirstLabelNeedsTheOthers: who begins to declare labels, or retires one, is told
// of everything that stands and names another.
func TestTheFirstLabelNeedsTheOthers(t *testing.T) {
	o := open(t)
	o.apply(strings.Join([]string{labelledServer, labelledAgent, labelledPolicy}, "---\n"))
	_, err := o.Apply(t.Context(), admin.System(), doc(strings.ReplaceAll(oneLabel, "source:crm", "source:erp")), false)
	for _, want := range []string{"agent clerk: dataScopes", "server crm: labels.list", "cedar:", `"source:crm"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	o.apply(oneLabel + "---\n" + untrustedLabels)
	if _, err := o.Apply(t.Context(), admin.System(), doc(oneLabel+"state: retired\n"), false); err == nil || !strings.Contains(err.Error(), "agent clerk") {
		t.Errorf("a label that is in use is retired: %v", err)
	}
	if _, err := o.MoveServer(t.Context(), admin.System(), "crm", admin.Move{Verb: registry.VerbTriage, Reason: "seen", Owner: "team-sales", DataScopes: []string{"source:cmr"}}); err == nil || !strings.Contains(err.Error(), "source:crm") {
		t.Errorf("triage gives a label nobody declared: %v", err)
	}
	o.apply(labelled)
}

// TestUnknownLabelsWarnWhileNoneIsDeclared: what servers have is all that is known then.
func TestUnknownLabelsWarnWhileNoneIsDeclared(t *testing.T) {
	o := open(t)
	o.apply(labelledServer)
	plan, err := o.Apply(t.Context(), admin.System(), doc(strings.ReplaceAll(labelledAgent+"---\n"+labelledPolicy, "source:crm", "source:cmr")), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range plan.Items {
		if notes := strings.Join(it.Notes, "\n"); !strings.Contains(notes, `no label is called "source:cmr"`) || !strings.Contains(notes, "source:crm") {
			t.Errorf("%s %s is not warned about: %q", it.Kind, it.ID, notes)
		}
	}
	plan, err = o.Apply(t.Context(), admin.System(), doc(labelledAgent+"---\n"+labelledPolicy), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range plan.Items {
		if strings.Contains(strings.Join(it.Notes, "\n"), "no label is called") {
			t.Errorf("%s %s is warned about: %q", it.Kind, it.ID, it.Notes)
		}
	}
}
