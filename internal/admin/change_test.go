package admin_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/registry"
)

func TestChangeIsEvidenceThenCommitThenInstalled(t *testing.T) {
	o := open(t)
	var order []string
	o.evidence.fail = func(a audit.Admin) error {
		order = append(order, "leaf "+a.Verb)
		if len(o.store.servers) != 0 {
			t.Error("committed before its evidence was durable")
		}
		return nil
	}
	o.store.beforeCommit = func() error {
		order = append(order, "commit")
		if _, ok := o.Current().View.Server("files"); ok {
			t.Error("installed before it was committed")
		}
		return nil
	}
	p := o.apply(filesServer)
	equal(t, "order", order, []string{"leaf apply", "commit"})
	equal(t, "applied", p.Applied, true)
	equal(t, "generation", o.Current().View.Generation(), uint64(1))
	if s, ok := o.Current().View.Server("files"); !ok || s.State != registry.ServerSanctioned {
		t.Errorf("not installed: %+v", s)
	}
	leaf := o.evidence.leaves[0]
	if leaf.Actor != "user:ann" || leaf.Before != "" || !strings.HasPrefix(leaf.After, "sha256:") || !strings.HasPrefix(leaf.ID, "chg_") || len(leaf.Detail) == 0 {
		t.Errorf("leaf %+v", leaf)
	}
}

func TestBeforeAndAfterDigestsChain(t *testing.T) {
	o := open(t)
	o.apply(filesServer)
	o.listing("files", "a", "x")
	if _, err := o.ChangeServer(t.Context(), ann, "files", registry.VerbQuarantine, "odd"); err != nil {
		t.Fatal(err)
	}
	l := o.evidence.leaves
	for i := 1; i < len(l); i++ {
		if l[i].Before == "" || l[i].Before != l[i-1].After || l[i].After == l[i].Before {
			t.Errorf("leaf %d does not follow leaf %d: %+v", i, i-1, l[i])
		}
	}
}

func TestEvidenceThatCannotBeKeptChangesNothing(t *testing.T) {
	o := open(t)
	dead := errors.New("disk full")
	o.evidence.fail = func(audit.Admin) error { return dead }
	_, err := o.Apply(t.Context(), ann, doc(filesServer), false)
	hasCode(t, "apply", err, access.CodeEvidence)
	_, err = o.ChangeAgent(t.Context(), ann, "nobody", registry.VerbSuspend, "")
	hasCode(t, "any further change", err, access.CodeEvidence)
	equal(t, "commits", o.store.commits, 0)
	if _, ok := o.Current().View.Server("files"); ok {
		t.Error("installed without evidence")
	}
	o.evidence.fail = nil
	o.apply(filesServer)
	equal(t, "leaves", o.evidence.said(), []string{"void", "apply Server files"})
}

func TestFailingInTheMiddleOfTheLeavesIsSaid(t *testing.T) {
	o := open(t)
	o.evidence.fail = func(a audit.Admin) error {
		if a.Verb == "apply" && a.Kind == "Team" {
			return errors.New("disk full")
		}
		return nil
	}
	_, err := o.Apply(t.Context(), ann, doc(filesServer+"---\nkind: Team\nid: zz\n"), false)
	hasCode(t, "apply", err, access.CodeEvidence)
	equal(t, "leaves", o.evidence.said(), []string{"apply Server files", "void"})
	equal(t, "commits", o.store.commits, 0)
	equal(t, "the void names the change", o.evidence.leaves[1].Object, o.evidence.leaves[0].ID)
}

func TestCommitThatFailsIsRecordedAsVoid(t *testing.T) {
	o := open(t)
	o.store.beforeCommit = func() error { return errors.New("disk full") }
	if _, err := o.Apply(t.Context(), ann, doc(filesServer), false); err == nil {
		t.Fatal("no error")
	}
	equal(t, "leaves", o.evidence.said(), []string{"apply Server files", "void"})
	if _, ok := o.Current().View.Server("files"); ok {
		t.Error("installed although it was not committed")
	}
	o.store.beforeCommit = nil
	o.apply(filesServer)
	equal(t, "later", o.evidence.said()[2:], []string{"apply Server files"})
}

func TestCommitThatTookEffectButSaidOtherwiseIsInstalled(t *testing.T) {
	o := open(t)
	o.store.afterCommit = errors.New("connection lost")
	if _, err := o.Apply(t.Context(), ann, doc(filesServer), false); err != nil {
		t.Fatalf("the change stands in the store, yet: %v", err)
	}
	if _, ok := o.Current().View.Server("files"); !ok {
		t.Error("not installed")
	}
	equal(t, "leaves", o.evidence.said(), []string{"apply Server files"})
}

func TestStoreThatGoesAwayIsSettledBeforeTheNextChange(t *testing.T) {
	for _, took := range []bool{true, false} {
		o := open(t)
		o.store.beforeCommit = func() error {
			if took {
				o.store.afterCommit = errors.New("connection lost")
				o.store.beforeCommit = nil
				o.store.mu.Lock()
				o.store.down = true
				o.store.mu.Unlock()
				return nil
			}
			o.store.mu.Lock()
			o.store.down = true
			o.store.mu.Unlock()
			return errors.New("connection lost")
		}
		_, err := o.Apply(t.Context(), ann, doc(filesServer), false)
		hasCode(t, "in doubt", err, access.CodeUnavailable)
		equal(t, "nothing is claimed", o.evidence.said(), []string{"apply Server files"})
		o.store.down, o.store.beforeCommit, o.store.afterCommit = false, nil, nil
		o.apply("kind: Team\nid: t\n")
		want := []string{"apply Server files", "apply Team t"}
		if !took {
			want = []string{"apply Server files", "void", "apply Team t"}
		}
		equal(t, fmt.Sprintf("took effect %t", took), o.evidence.said(), want)
		_, ok := o.Current().View.Server("files")
		equal(t, "installed", ok, took)
	}
}

func TestApplyKilledBetweenLeafAndCommitIsSettledAtStart(t *testing.T) {
	type killed struct{}
	for _, before := range []bool{true, false} {
		o := open(t)
		kill := func() {
			defer func() {
				if _, ok := recover().(killed); !ok {
					t.Error("not killed")
				}
			}()
			o.Apply(context.Background(), ann, doc(filesServer), false)
		}
		if before {
			o.store.beforeCommit = func() error { panic(killed{}) }
			kill()
		} else {
			// Killed after the commit and before the note about it is removed.
			o.apply(filesServer)
			o.store.meta["admin.pending.n1"] = fmt.Sprintf(`{"id":%q,"base":0,"objects":[{"Kind":"Server","ID":"files","After":%q}]}`, o.evidence.leaves[0].ID, o.evidence.leaves[0].After)
		}
		o.store.beforeCommit = nil
		o = reopen(t, o.store, o.evidence, admin.ModeEnforce)
		want := []string{"apply Server files"}
		if before {
			want = append(want, "void")
			equal(t, "the void names the change", o.evidence.leaves[1].Object, o.evidence.leaves[0].ID)
		}
		equal(t, fmt.Sprintf("killed before the commit %t", before), o.evidence.said(), want)
		equal(t, "note", o.store.meta["admin.pending.n1"], "")
		reopen(t, o.store, o.evidence, admin.ModeEnforce)
		equal(t, "a second start adds nothing", o.evidence.said(), want)
	}
}

func TestCallerGoingAwayLeavesNoHalfChange(t *testing.T) {
	o := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	o.evidence.fail = func(audit.Admin) error { cancel(); return nil }
	if _, err := o.Apply(ctx, ann, doc(filesServer), false); err != nil {
		t.Fatalf("recorded, then given up: %v", err)
	}
	equal(t, "commits", o.store.commits, 1)
}

func TestConflictReloadsAndPlansAnew(t *testing.T) {
	o := open(t)
	other := reopen(t, o.store, &evidence{}, admin.ModeEnforce)
	once := true
	o.store.beforeCommit = func() error {
		if once {
			once = false
			other.apply("kind: Team\nid: other\n")
		}
		return nil
	}
	o.apply(filesServer)
	equal(t, "leaves", o.evidence.said(), []string{"apply Server files", "void", "apply Server files"})
	if o.evidence.leaves[0].ID == o.evidence.leaves[2].ID {
		t.Error("the second attempt is told by the same id as the first")
	}
	if _, ok := o.Current().View.Team("other"); !ok {
		t.Error("the other change is lost")
	}
	if _, ok := o.Current().View.Server("files"); !ok {
		t.Error("the change is lost")
	}
}

func TestChangeOfBytesAloneIsNotTakenForCommitted(t *testing.T) {
	o := open(t)
	o.apply(filesServer)
	see := func(raw string) error {
		_, err := o.Observe(t.Context(), "files", registry.Listing{Definitions: []registry.Definition{{Name: "a", Raw: []byte(raw)}}})
		return err
	}
	if err := see(`{"name":"a","x":1}`); err != nil {
		t.Fatal(err)
	}
	o.store.beforeCommit = func() error { return errors.New("disk full") }
	if see(`{"x":1,"name":"a"}`) == nil {
		t.Error("a commit that failed is taken for done, because its digests are those before")
	}
	equal(t, "leaves", o.evidence.said()[2:], []string{"observe Server files", "void"})
}

func TestEndlessConflictsEnd(t *testing.T) {
	o := open(t)
	other := reopen(t, o.store, &evidence{}, admin.ModeEnforce)
	n, nested := 0, false
	o.store.beforeCommit = func() error {
		if nested {
			return nil
		}
		nested = true
		defer func() { nested = false }()
		n++
		other.apply(fmt.Sprintf("kind: Team\nid: t%d\n", n))
		return nil
	}
	_, err := o.Apply(t.Context(), ann, doc(filesServer), false)
	hasCode(t, "apply", err, access.CodeConflict, "try again")
}

func TestRacingAppliesAllHappenOrSayWhyNot(t *testing.T) {
	m := newMemory()
	offices := []*office{reopen(t, m, &evidence{}, ""), reopen(t, m, &evidence{}, ""), reopen(t, m, &evidence{}, "")}
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := map[string]bool{}
	for i, o := range offices {
		for j := range 8 {
			wg.Go(func() {
				id := fmt.Sprintf("t-%d-%d", i, j)
				for {
					_, err := o.Apply(t.Context(), ann, doc("kind: Team\nid: "+id+"\n"), false)
					if access.CodeOf(err) == access.CodeConflict {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					done[id] = true
					mu.Unlock()
					return
				}
			})
		}
	}
	wg.Wait()
	equal(t, "teams", len(m.teams), 24)
	equal(t, "generation", m.gen, uint64(24))
	// Every leaf either came true or is said to be void.
	for i, o := range offices {
		void, made := map[string]bool{}, 0
		for _, l := range o.evidence.leaves {
			if l.Verb == "void" {
				void[l.Object] = true
			}
		}
		for _, l := range o.evidence.leaves {
			if l.Verb == "apply" && !void[l.ID] {
				made++
			}
		}
		equal(t, fmt.Sprintf("office %d", i), made, 8)
		if err := o.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, "sees all", len(o.Current().View.Teams()), 24)
	}
}

func TestReadersSeeAChangeWholeOrNotAtAll(t *testing.T) {
	o := open(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			v := o.Current().View
			_, a := v.Team("a")
			_, b := v.Team("b")
			if a != b {
				t.Error("half a change is visible")
				return
			}
		}
	})
	o.apply("kind: Team\nid: a\n---\nkind: Team\nid: b\n")
	close(stop)
	wg.Wait()
}

func TestRefreshInstallsWhatAnotherNodeCommitted(t *testing.T) {
	o := open(t)
	other := reopen(t, o.store, &evidence{}, "")
	other.apply(filesServer)
	if _, ok := o.Current().View.Server("files"); ok {
		t.Fatal("installed by magic")
	}
	if err := o.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := o.Current().View.Server("files"); !ok {
		t.Error("not refreshed")
	}
	before := o.Current()
	o.store.down = true
	if err := o.Refresh(t.Context()); err == nil || o.Current() != before {
		t.Errorf("a refresh that failed: %v", err)
	}
}

func TestNobodyChangesNothing(t *testing.T) {
	o := open(t)
	for _, who := range []admin.Actor{{}, {Kind: "agent", ID: "bot"}, {Kind: "user"}, {Kind: "system", ID: "x"}, {Kind: "user", ID: "a\nb"}, {Kind: "user", ID: "a\u202eb"}} {
		_, err := o.Apply(t.Context(), who, doc(filesServer), false)
		hasCode(t, fmt.Sprintf("%+v", who), err, access.CodeUnauthenticated)
		_, err = o.ChangeServer(t.Context(), who, "files", registry.VerbApprove, "")
		hasCode(t, fmt.Sprintf("%+v", who), err, access.CodeUnauthenticated)
		_, err = o.IssueDevelopmentToken(t.Context(), who, admin.TokenRequest{})
		hasCode(t, fmt.Sprintf("%+v", who), err, access.CodeUnauthenticated)
	}
	equal(t, "leaves", len(o.evidence.leaves), 0)
}

func TestMissingDependencyIsAnError(t *testing.T) {
	o := open(t)
	for i := range 6 {
		d := o.deps()
		switch i {
		case 0:
			d.Store = nil
		case 1:
			d.Registry = nil
		case 2:
			d.Evidence = nil
		case 3:
			d.Vault = nil
		case 4:
			d.Authority = nil
		case 5:
			d.Now = nil
		}
		if _, err := admin.New(t.Context(), admin.Config{}, d); err == nil {
			t.Errorf("dependency %d may be missing", i)
		}
	}
	if _, err := admin.New(t.Context(), admin.Config{Mode: "off"}, o.deps()); err == nil {
		t.Error("an unknown mode is accepted")
	}
}

func TestBareGatewayMonitorsUntilSomethingStands(t *testing.T) {
	for mode, want := range map[admin.Mode][2]bool{"": {false, false}, admin.ModeEnforce: {false, false}, admin.ModeMonitor: {true, true}, admin.ModeBare: {true, false}} {
		o := reopen(t, newMemory(), &evidence{}, mode)
		equal(t, string(mode)+" empty", o.Current().Monitor, want[0])
		o.apply("kind: Team\nid: t\n")
		equal(t, string(mode)+" with a team", o.Current().Monitor, want[0])
		o.apply("kind: Agent\nid: w\nowner: t\nwrapped: true\n---\nkind: Server\nid: s\nowner: t\nwrapped: true\ntransport: {stdio: {command: a, args: [b, c]}}\ncredential: {ref: s, args: {\"1\": \"{secret}\"}}\n")
		equal(t, string(mode)+" with what was wrapped", o.Current().Monitor, want[0])
		for _, it := range o.apply(o.export()).Items {
			equal(t, "applying the export: "+it.ID, it.Action, admin.ActionUnchanged)
		}
		equal(t, string(mode)+" with an export of that", o.Current().Monitor, want[0])
		o.apply("kind: Agent\nid: a\nowner: t\n")
		equal(t, string(mode)+" with an agent", o.Current().Monitor, want[1])
	}
}

// What a change installs must be what a restart would load and compile.
func TestInstalledStateEqualsWhatARestartLoads(t *testing.T) {
	for seed := range uint64(20) {
		o := randomState(t, rand.New(rand.NewPCG(seed, 2)))
		o.apply("kind: Agent\nid: a0\nowner: t\ntools: [\"s0/*\"]\nclass: coding\n")
		check := func(after string) {
			t.Helper()
			again := reopen(t, o.store, &evidence{}, "")
			equal(t, after+": content", through(o.Current().View.Content()), through(again.Current().View.Content()))
			equal(t, after+": policy set", o.Current().Set.Digest(), again.Current().Set.Digest())
			equal(t, after+": schema", o.Current().Set.Schema(), again.Current().Set.Schema())
		}
		check("random state")
		o.listing("s0", "read", "again different")
		check("drift")
		for _, tool := range o.Current().View.Tools("s0") {
			for _, verb := range []registry.Verb{registry.VerbQuarantine, registry.VerbRelease} {
				if _, err := o.ChangeTool(t.Context(), ann, "s0", tool.Name, verb, ""); err != nil && access.CodeOf(err) != access.CodeConflict {
					t.Fatal(err)
				}
			}
			if _, err := o.ApproveTool(t.Context(), ann, "s0", tool.Name, admin.Approval{Class: &registry.ToolClass{Class: "read"}}); err != nil && access.CodeOf(err) != access.CodeConflict {
				t.Fatal(err)
			}
			check("approval of " + tool.Name)
		}
		for _, verb := range []registry.Verb{registry.VerbSuspend, registry.VerbRetire} {
			if _, err := o.ChangeAgent(t.Context(), ann, "a0", verb, ""); err != nil && access.CodeOf(err) != access.CodeConflict {
				t.Fatal(err)
			}
			check(string(verb))
		}
	}
}
