package admin_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/finding"
	"rutile/internal/policy"
)

func draftOf(cedar string) []policy.Policy {
	return []policy.Policy{{ID: "stop", Cedar: cedar, File: "console", Line: 1}}
}

// TestPublishedTextLeavesTheLayerAndHidesNothing: text alone says nothing of a layer, so
// a policy stays in its own; and what a reader of it would not see is refused.
func TestPublishedTextLeavesTheLayerAndHidesNothing(t *testing.T) {
	o := withFiles(t)
	o.apply(strings.Replace(fmt.Sprintf(stop, "x"), "cedar:", "layer: team\ncedar:", 1))
	g := o.Current().View.Generation()
	for _, hidden := range []string{"\u202e", "\u200b", "\x1b[31m", "\U000e0041"} {
		text := "permit (principal, action, resource); // " + hidden + "x"
		if _, err := o.Publish(t.Context(), ann, draftOf(text), g, ""); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%q is published: %v", hidden, err)
		}
		if _, err := o.Candidate(t.Context(), admin.Draft{Policies: draftOf(text)}); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%q is tried: %v", hidden, err)
		}
	}
	plan, err := o.Publish(t.Context(), ann, draftOf("forbid (principal, action,\n\tresource);\n"), g, "")
	if err != nil || !plan.Applied {
		t.Fatalf("%+v, %v", plan, err)
	}
	for _, p := range o.Current().Policies {
		if p.ID == "stop" && p.Layer != policy.LayerTeam {
			t.Errorf("publishing moved the policy to layer %q", p.Layer)
		}
	}
}

// TestOneOfManyPublishes: of those who tried on the same generation one puts a text in
// force, whoever comes first, and of those who looked at it one brings it back.
func TestOneOfManyPublishes(t *testing.T) {
	o := withFiles(t)
	o.apply(fmt.Sprintf(stop, "x"))
	once := func(what string, do func(i int, g uint64) error) {
		t.Helper()
		g := o.Current().View.Generation()
		var done, refused atomic.Int32
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				switch err := do(i, g); {
				case err == nil:
					done.Add(1)
				case access.CodeOf(err) == access.CodeConflict:
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if done.Load() != 1 || refused.Load() != 4 {
			t.Errorf("%s: %d did it and %d were refused", what, done.Load(), refused.Load())
		}
	}
	once("publishing", func(i int, g uint64) error {
		_, err := o.Publish(t.Context(), ann, draftOf(fmt.Sprintf("forbid (principal, action, resource); // %d", i)), g, "")
		return err
	})
	once("bringing back", func(_ int, g uint64) error {
		_, err := o.RollBackSeen(t.Context(), ann, 1, g, "")
		return err
	})
	if _, err := o.RollBackSeen(t.Context(), ann, 1, 0, ""); access.CodeOf(err) != access.CodeInvalid {
		t.Errorf("bringing back unseen: %v", err)
	}
}

// TestReportsOfOnePersonAreBounded: many at once too; those of others are taken, and a
// report that is answered makes room.
func TestReportsOfOnePersonAreBounded(t *testing.T) {
	o := withFiles(t)
	o.apply("kind: User\nid: vic\nroles: [viewer]\n---\nkind: User\nid: vic-2\nroles: [viewer]\n")
	_, f := found(t, o.Admin)
	who := func(id string) admin.Actor { return admin.Actor{Kind: "user", ID: id} }
	report := func(id, decision string) (finding.Finding, error) {
		return f.ReportDenial(t.Context(), who(id), admin.Denial{Decision: decision, Agent: "a", Action: "files/read", Denied: true}, "it was needed")
	}
	var taken, refused atomic.Int32
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			switch _, err := report("vic", fmt.Sprintf("dec_%d", i)); {
			case err == nil:
				taken.Add(1)
			case access.CodeOf(err) == access.CodeTooLarge:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if taken.Load() != 20 || refused.Load() != 10 {
		t.Fatalf("%d were taken and %d refused", taken.Load(), refused.Load())
	}
	x, err := report("vic-2", "dec_other")
	if err != nil {
		t.Errorf("somebody else's: %v", err)
	}
	if _, err := report("vic-2", "dec_other"); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("one that is reported already: %v", err)
	}
	list, err := f.List(t.Context(), finding.Filter{Rule: admin.WrongDenial})
	if err != nil || len(list) != 21 {
		t.Fatalf("%d findings, %v", len(list), err)
	}
	for i := range list {
		if list[i].ID == x.ID {
			continue
		}
		if _, err := f.AnswerReport(t.Context(), ann, list[i].ID, "no"); err != nil {
			t.Fatal(err)
		}
		break
	}
	if _, err := report("vic", "dec_more"); err != nil {
		t.Errorf("after an answer: %v", err)
	}
}
