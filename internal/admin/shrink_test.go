package admin_test

import (
	"testing"

	"rutile/internal/access"
)

func TestShrinkingTakesAwayAllOrNothing(t *testing.T) {
	o := withFiles(t)
	o.apply(agent("a", `tools: ["files/*"]`) + "---\n" + agent("b", `tools: ["files/read"]`))
	gen := o.Current().View.Generation()
	leaves := len(o.evidence.leaves)
	lists := map[string][]string{"a": {"files/read"}, "b": {}}
	refused := func(what string, lists map[string][]string, base uint64, code access.Code, words ...string) {
		t.Helper()
		_, err := o.Shrink(t.Context(), ann, lists, base, "", false)
		hasCode(t, what, err, code, words...)
		if o.Current().View.Generation() != gen || len(o.evidence.leaves) != leaves {
			t.Errorf("%s changed something", what)
		}
	}
	refused("another generation", lists, gen-1, access.CodeConflict, "has changed since the report")
	refused("an agent that is gone", map[string][]string{"a": {"files/read"}, "gone": nil}, gen, access.CodeConflict, "gone")
	refused("a wider list", map[string][]string{"a": {"files/read"}, "b": {"files/write"}}, gen, access.CodeInvalid, "only takes away")
	refused("a pattern for a name", map[string][]string{"b": {"files/r*"}}, gen, access.CodeInvalid, "only takes away")
	refused("prompts for tools", map[string][]string{"b": {"files/prompts/*"}}, gen, access.CodeInvalid, "only takes away")

	dry, err := o.Shrink(t.Context(), ann, lists, gen, "", true)
	if err != nil || !dry.Changes() || dry.Applied || o.Current().View.Generation() != gen {
		t.Errorf("a dry run: %+v %v", dry, err)
	}
	if _, err := o.Shrink(t.Context(), ann, lists, gen, "not used", false); err != nil {
		t.Fatal(err)
	}
	a, _ := o.Current().View.Agent("a")
	b, _ := o.Current().View.Agent("b")
	equal(t, "a", a.Tools, []string{"files/read"})
	equal(t, "b", len(b.Tools), 0)
	equal(t, "leaves", o.evidence.said()[leaves:], []string{"shrink Agent a", "shrink Agent b", "activate PolicySet rules"})
	one := o.evidence.leaves[leaves]
	equal(t, "one change", one.ID+one.Reason, o.evidence.leaves[leaves+1].ID+"not used")
	_, err = o.Shrink(t.Context(), ann, lists, gen, "", false)
	hasCode(t, "again", err, access.CodeConflict)
	o.rollback(1)
	a, _ = o.Current().View.Agent("a")
	equal(t, "and it can be taken back", a.Tools, []string{"files/*"})
}
