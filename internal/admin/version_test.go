package admin_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

const stop = "kind: Policy\nid: stop\ncedar: 'forbid (principal, action == Mcp::Action::\"files/read\", resource) when { context.input.tag == \"%s\" };'\n"

// versions returns "generation policies/entitlements/lists" of every generation.
func (o *office) versions() []string {
	o.t.Helper()
	list, err := o.Versions(o.t.Context(), 0, 100)
	if err != nil {
		o.t.Fatal(err)
	}
	out := []string{}
	for _, v := range list {
		out = append(out, fmt.Sprintf("%d %d/%d/%d", v.N, v.Counts.Policies, v.Counts.Entitlements, v.Counts.Lists))
	}
	return out
}

func (o *office) rules() string { return admin.RulesOf(o.Current()).Digest() }

func (o *office) rollback(n uint64) admin.Plan {
	o.t.Helper()
	p, err := o.RollBack(o.t.Context(), ann, n, "", false)
	if err != nil {
		o.t.Fatalf("bringing back %d: %v", n, err)
	}
	return p
}

func withFiles(t *testing.T) *office {
	t.Helper()
	o := open(t)
	o.apply(filesServer)
	o.listing("files", "read", "reads", "write", "writes")
	return o
}

func TestOnlyAChangeOfTheRulesMakesAGeneration(t *testing.T) {
	o := withFiles(t)
	equal(t, "none yet", o.versions(), []string{})
	o.apply(agent("a", `tools: ["files/read"]`))
	o.apply(agent("a", `tools: ["files/read"]`))
	o.apply(agent("a", `tools: ["files/read"]`, "purpose: another"))
	if _, err := o.ChangeAgent(t.Context(), ann, "a", registry.VerbSuspend, ""); err != nil {
		t.Fatal(err)
	}
	equal(t, "the list", o.versions(), []string{"1 0/0/1"})
	o.apply(fmt.Sprintf(stop, "x"))
	o.apply(fmt.Sprintf(stop, "x"))
	o.apply(right)
	equal(t, "all", o.versions(), []string{"3 1/1/1", "2 1/0/1", "1 0/0/1"})
	if _, err := o.ChangeAgent(t.Context(), ann, "a", registry.VerbRetire, ""); err != nil {
		t.Fatal(err)
	}
	equal(t, "a retired agent has no list", o.versions()[0], "4 1/1/0")

	again := reopen(t, o.store, o.evidence, admin.ModeEnforce)
	equal(t, "after a restart", again.versions(), o.versions())
	live, err := again.Version(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "what is in force", live.N, 4)
}

const right = `kind: Entitlement
id: writing
owner: team-a
agents: [a]
tools: ["files/write"]
`

func agent(id string, more ...string) string {
	return "kind: Agent\nid: " + id + "\nowner: team-a\nexpires: 2099-01-01\n" + strings.Join(more, "\n") + "\n"
}

// TestTheEvidenceOfAGenerationNamesBoth: an activation says the digest before and
// after, and the version which change made it.
func TestTheEvidenceOfAGenerationNamesBoth(t *testing.T) {
	o := withFiles(t)
	before := o.rules()
	o.apply(fmt.Sprintf(stop, "x"))
	last := o.evidence.leaves[len(o.evidence.leaves)-1]
	equal(t, "leaf", last.Verb+" "+last.Kind+" "+last.Before+" "+last.After, "activate PolicySet "+before+" "+o.rules())
	v, err := o.Version(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "version", v.Change+" "+v.Actor+" "+v.Digest, last.ID+" user:ann "+o.rules())
}

func TestRollingBackIsExact(t *testing.T) {
	o := withFiles(t)
	o.apply(agent("a", `tools: ["files/read"]`) + "---\n" + fmt.Sprintf(stop, "x")) // 1
	first := o.rules()
	o.apply(agent("b", `tools: ["files/*"]`) + "---\n" + right) // 2
	o.apply(fmt.Sprintf(stop, "y"))                             // 3
	o.apply(agent("a", `tools: ["files/*"]`))                   // 4
	if _, err := o.ChangeServer(t.Context(), ann, "files", registry.VerbQuarantine, "odd"); err != nil {
		t.Fatal(err)
	}
	gen := o.store.gen
	dry, err := o.RollBack(t.Context(), ann, 1, "", true)
	if err != nil || dry.Applied || !dry.Changes() || o.store.gen != gen {
		t.Fatalf("a dry run: %+v, %v, generation %d", dry, err, o.store.gen)
	}
	p := o.rollback(1)
	equal(t, "applied", p.Applied, true)
	equal(t, "the rules", o.rules(), first)
	var did []string
	for _, it := range p.Items {
		did = append(did, string(it.Action)+" "+it.Kind+" "+it.ID)
	}
	equal(t, "plan", did, []string{"update Agent a", "update Agent b", "update Policy stop", "delete Entitlement writing"})
	b, _ := o.Current().View.Agent("b")
	equal(t, "an agent of later has no list", len(b.Tools), 0)
	s, _ := o.Current().View.Server("files")
	equal(t, "what is about the registry stands", s.State, registry.ServerQuarantined)
	v, _ := o.Version(t.Context(), 0)
	equal(t, "a generation of its own", fmt.Sprint(v.N, v.From), "5 1")

	equal(t, "bringing back what is in force", o.rollback(1).Changes(), false)
	equal(t, "makes none", o.versions()[0][:1], "5")
	o.rollback(4)
	v, _ = o.Version(t.Context(), 0)
	w, _ := o.Version(t.Context(), 4)
	equal(t, "forth again", v.Digest, w.Digest)
	if _, err := o.RollBack(t.Context(), ann, 99, "", false); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("a generation that never was: %v", err)
	}
}

// TestRollingBackWhatDoesNotFitChangesNothing: the schema of a tool a policy names
// is another one now, so the generation is refused whole, with place and reason.
func TestRollingBackWhatDoesNotFitChangesNothing(t *testing.T) {
	o := withFiles(t)
	o.apply(fmt.Sprintf(stop, "x") + "---\n" + agent("a", `tools: ["files/read"]`)) // 1
	o.apply("kind: Policy\nid: stop\ncedar: 'forbid (principal, action in Mcp::Action::\"destroy\", resource);'\n---\n" + agent("a", `tools: ["files/*"]`))
	now := o.rules()
	if _, err := o.Observe(t.Context(), "files", registry.Listing{Definitions: []registry.Definition{
		{Name: "read", Raw: []byte(`{"name":"read","inputSchema":{"type":"object","properties":{"tag":{"type":"integer"}},"required":["tag"]}}`)},
		{Name: "write", Raw: []byte(`{"name":"write","inputSchema":{"type":"object"}}`)},
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.ApproveTool(t.Context(), ann, "files", "read", admin.Approval{}); err != nil {
		t.Fatal(err)
	}
	gen, leaves := o.store.gen, len(o.evidence.leaves)
	_, err := o.RollBack(t.Context(), ann, 1, "", false)
	hasCode(t, "another schema", err, access.CodeInvalid, "generation 1 does not fit", "m.yaml:3", "tag", "nothing was changed")
	if o.store.gen != gen || len(o.evidence.leaves) != leaves || o.rules() != now {
		t.Error("what was refused changed something")
	}
}

// TestRollingBackToARetiredTool: it stays known to the types, so the rules that
// name it come back, and what is retired stays retired.
func TestRollingBackToARetiredTool(t *testing.T) {
	o := withFiles(t)
	o.apply(fmt.Sprintf(stop, "x") + "---\n" + agent("a", `tools: ["files/read"]`))
	first := o.rules()
	o.apply("kind: Policy\nid: stop\ncedar: 'forbid (principal, action in Mcp::Action::\"destroy\", resource);'\n")
	if _, err := o.ChangeTool(t.Context(), ann, "files", "read", registry.VerbRetire, ""); err != nil {
		t.Fatal(err)
	}
	o.rollback(1)
	equal(t, "rules", o.rules(), first)
	equal(t, "tool", o.state("files", "read"), registry.ToolRetired)
	if _, err := o.ChangeAgent(t.Context(), ann, "a", registry.VerbRetire, ""); err != nil {
		t.Fatal(err)
	}
	p := o.rollback(1)
	a, _ := o.Current().View.Agent("a")
	equal(t, "agent", a.State, registry.AgentRetired)
	if len(p.Items) == 0 || !strings.Contains(strings.Join(p.Items[0].Notes, " "), "is retired") {
		t.Errorf("the plan does not say that the agent stays retired: %+v", p.Items)
	}
}

// TestRollingBackRacesWithApply: whatever the order, every generation is one whole
// state that one of them made, and they follow on each other.
func TestRollingBackRacesWithApply(t *testing.T) {
	o := withFiles(t)
	both := func(tag string) string {
		return fmt.Sprintf(stop, tag) + "---\n" + agent("a", `tools: ["files/`+tag+`"]`)
	}
	o.apply(both("first"))
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if _, err := o.Apply(t.Context(), ann, doc(both(fmt.Sprintf("t%d", i))), false); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := o.RollBack(t.Context(), ann, 1, "", false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, v := range o.store.versions {
		equal(t, "number", v.N, uint64(i+1))
		equal(t, "digest", v.Rules.Digest(), v.Digest)
		if i > 0 && o.store.versions[i-1].Digest == v.Digest {
			t.Errorf("generation %d changes nothing", v.N)
		}
		_, tag, _ := strings.Cut(v.Rules.Lists[0].Tools[0], "/")
		if !strings.Contains(v.Rules.Policies[0].Cedar, `"`+tag+`"`) {
			t.Errorf("generation %d is half of one and half of another: %v %s", v.N, v.Rules.Lists, v.Rules.Policies[0].Cedar)
		}
	}
	equal(t, "the newest is in force", o.store.versions[len(o.store.versions)-1].Digest, o.rules())
}

// TestRulesOfAnOlderStoreAreKeptBeforeTheyChange: rules that were there before
// there were generations can be brought back too.
func TestRulesOfAnOlderStoreAreKeptBeforeTheyChange(t *testing.T) {
	o := withFiles(t)
	o.apply(fmt.Sprintf(stop, "x"))
	first := o.rules()
	o.store.versions = nil
	o.apply(fmt.Sprintf(stop, "y"))
	equal(t, "both", o.versions(), []string{"2 1/0/0", "1 1/0/0"})
	o.rollback(1)
	equal(t, "rules", o.rules(), first)
}

func TestRulesDifferAsUnifiedDiffs(t *testing.T) {
	o := withFiles(t)
	o.apply("kind: Policy\nid: p\ncedar: |\n  forbid (principal, action, resource)\n  when { context.session.depth > 1 };\n---\n" + agent("a", `tools: ["files/read"]`))
	o.apply("kind: Policy\nid: p\ncedar: |\n  forbid (principal, action, resource)\n  when { context.session.depth > 2 };\n---\n" + agent("a", `tools: ["files/write", "files/read"]`) + "---\n" + right)
	from, _ := o.Version(t.Context(), 1)
	to, _ := o.Version(t.Context(), 2)
	d := admin.DiffRules(from, to)
	var got strings.Builder
	for _, x := range d.Objects {
		got.WriteString(string(x.Action) + " " + x.Kind + " " + x.ID + "\n")
		if x.Kind != "Entitlement" {
			got.WriteString(x.Diff)
		}
	}
	equal(t, "diff", got.String(), `update Agent a
--- Agent/a (generation 1)
+++ Agent/a (generation 2)
@@ -1 +1,2 @@
 files/read
+files/write
create Entitlement writing
update Policy p
--- Policy/p (generation 1)
+++ Policy/p (generation 2)
@@ -1,2 +1,2 @@
 forbid (principal, action, resource)
-when { context.session.depth > 1 };
+when { context.session.depth > 2 };
`)
	equal(t, "with itself", len(admin.DiffRules(to, to).Objects), 0)
}
