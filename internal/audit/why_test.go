package audit_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// TestRulesOfEntitlementsNameNobody: their ids hold that of the agent, the
// leaves do not, and the index does, also after it was built anew. What else is
// called like the agent stays.
func TestRulesOfEntitlementsNameNobody(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	ctx := context.Background()
	ids := []string{"allow.release-bot.files", "entitlement.deploys.release-bot.files", "entitlement.deploys.release-bot.files.ask"}
	r := request(t, 0)
	dec := deny(r)
	dec.Outcome, dec.Class, dec.Forbids, dec.Reason = access.RequireApproval, access.ClassApproval, ids, `agent "release-bot" must ask`
	dec.Request = "req_1"
	ref, err := l.Verdict(ctx, audit.Intent{Request: r, Decision: dec})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := l.Leaf(ctx, ref.Index)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(leaf), "release-bot") {
		t.Errorf("the leaf names the agent: %s", leaf)
	}
	if n := strings.Count(string(leaf), "entitlement.deploys.p_"); n != 2 || !strings.Contains(string(leaf), `"why":{"request":"req_1"}`) {
		t.Errorf("the leaf is %s", leaf)
	}
	if !slices.Equal(dec.Forbids, ids) {
		t.Errorf("the decision was changed: %v", dec.Forbids)
	}

	kept := []string{"entitlement.release-bot.other.files", "team.release-bot.rule", "allowance.release-bot.x", "entitlement.release-bot", "allow.release-bot"}
	r = request(t, 1)
	d := permit(r)
	d.Permits, d.Grant = kept, "grt_1"
	ref, err = l.Intent(ctx, audit.Intent{Request: r, Decision: d})
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ = l.Leaf(ctx, ref.Index)
	for _, id := range kept {
		if !strings.Contains(string(leaf), `"`+id+`"`) {
			t.Errorf("%s was renamed: %s", id, leaf)
		}
	}
	if !strings.Contains(string(leaf), `"why":{"grant":"grt_1"}`) {
		t.Errorf("the leaf is %s", leaf)
	}
	intent, _ := call(t, l, 2)
	if leaf, _ = l.Leaf(ctx, intent.Index); strings.Contains(string(leaf), `"why"`) {
		t.Errorf("a call without a grant says why: %s", leaf)
	}

	check := func(when string) {
		t.Helper()
		if err := l.AwaitIndex(ctx); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, row := range m.all() {
			found = found || slices.Equal(row.Policies, ids)
		}
		if !found {
			t.Errorf("%s: no row names the rules as they are called", when)
		}
	}
	check("as written")
	if err := l.Reindex(ctx); err != nil {
		t.Fatal(err)
	}
	check("built anew")
	stop(t, l)
	err = filepath.WalkDir(cfg.Dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(strings.ReplaceAll(strings.ReplaceAll(string(b), "entitlement.release-bot", ""), "team.release-bot", ""), "deploys.release-bot") {
			t.Errorf("%s names the agent", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsOnlyTriedIsRecordedBesideTheDecision: the leaf has it, verifies, and is
// found by the policy, also after the index was built anew.
func TestWhatIsOnlyTriedIsRecordedBesideTheDecision(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	ctx := context.Background()
	r := request(t, 0)
	d := permit(r)
	d.Shadow = &access.Shadow{Outcome: access.Deny, By: []string{"tried.one"}}
	ref, err := l.Intent(ctx, audit.Intent{Request: r, Decision: d})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := l.Leaf(ctx, ref.Index)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(leaf), `"shadow":{"by":["tried.one"],"out":"deny"}`) || !strings.Contains(string(leaf), `"out":"permit"`) {
		t.Errorf("the leaf is %s", leaf)
	}
	if err := audit.CheckLeaf(leaf); err != nil {
		t.Error(err)
	}
	row := func() audit.Row {
		t.Helper()
		if err := l.AwaitIndex(ctx); err != nil {
			t.Fatal(err)
		}
		for _, row := range m.all() {
			if row.Decision == r.ID {
				return row
			}
		}
		t.Fatal("the decision is not in the index")
		return audit.Row{}
	}
	before := row()
	if before.Outcome != "permit" || !slices.Contains(before.Policies, "tried.one") {
		t.Errorf("%+v", before)
	}
	if err := l.Reindex(ctx); err != nil {
		t.Fatal(err)
	}
	if after := row(); !slices.Equal(after.Policies, before.Policies) {
		t.Errorf("after a reindex: %+v, before %+v", after, before)
	}
	for c, err := range l.Calls(ctx, 0, l.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Decision != r.ID || slices.Contains(c.Permits, "tried.one") || slices.Contains(c.Forbids, "tried.one") {
			t.Errorf("what was only tried counts: %+v", c)
		}
	}
}
