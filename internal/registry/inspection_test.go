package registry_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// reader is an inspector that goes by one word of a definition: "plain" passes,
// "bad" is worth a look, "worst" blocks.
type reader struct {
	rules  int
	strict bool
	judged string
}

func (r reader) Rules() int   { return r.rules }
func (r reader) Strict() bool { return r.strict }

func (r reader) Judged(registry.Subject) string { return r.judged }

func (r reader) Inspect(s registry.Subject) registry.Inspection {
	out := registry.Inspection{Digest: s.Digest, Rules: r.rules}
	text := string(s.Def.Raw())
	switch {
	case strings.Contains(text, "worst"):
		out.Tier = registry.TierBlock
	case strings.Contains(text, "bad"), strings.Contains(text, "later") && r.rules > 1:
		out.Tier = registry.TierReview
	default:
		return out
	}
	if strings.Contains(text, "later") {
		out.Tier = registry.TierBlock
	}
	out.Findings = []registry.Finding{{Rule: "word", Tier: out.Tier, Pointer: "/description", Why: "says so"}}
	return out
}

func (r reader) Drift(_ rawjson.Value, s registry.Subject) registry.Drift {
	text := string(s.Def.Raw())
	g := registry.GradeHigh
	switch {
	case strings.Contains(text, "worst"):
		g = registry.GradeCritical
	case strings.Contains(text, "plain"):
		g = registry.GradeLow
	}
	return registry.Drift{Grade: g, Changes: []registry.DriftChange{{Kind: "wording", Pointer: "/description", Grade: g, Why: "reads otherwise"}}}
}

// seeing observes a listing with an inspector.
func (w *world) seeing(r reader, defs ...registry.Definition) registry.Observation {
	w.t.Helper()
	o, err := registry.Observe(w.view(), "files", registry.Listing{Definitions: defs}, r, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, t := range o.Tools {
		w.tools[t.Name] = t
	}
	if o.Server != nil {
		w.server = *o.Server
	}
	return o
}

func (w *world) offered(name string) string {
	st, _ := w.view().Tool("files", name)
	if _, s := w.view().Callable("files", name); !s.OK || st.Unverified() {
		return ""
	}
	_, digest := st.Offered()
	return digest
}

func TestBaselineTakesInWhatHasNoFinding(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.seeing(reader{}, tool("a", "good"), tool("b", "bad"), tool("c", "worst"))
	for name, want := range map[string]registry.ToolState{"a": registry.ToolApproved, "b": registry.ToolPending, "c": registry.ToolPending} {
		if got := w.tools[name]; got.State != want || got.Found == nil || (got.Found.Tier == "") != (want == registry.ToolApproved) {
			t.Errorf("%s is %s with %+v", name, got.State, got.Found)
		}
	}
	approved, err := registry.Approve(w.tools["c"], reader{}, "user:ann", w.now)
	if err != nil || len(approved.Accepted) != 1 || approved.State != registry.ToolApproved {
		t.Fatalf("%+v %v", approved, err)
	}
	w.tools["c"] = approved
	if o := w.seeing(reader{}, tool("a", "good"), tool("b", "bad"), tool("c", "worst")); len(o.Changes) != 0 {
		t.Errorf("what was accepted is held against it again: %+v", o.Changes)
	}
}

func TestDriftIsGraded(t *testing.T) {
	for _, c := range []struct {
		strict   bool
		word     string
		kind     registry.ChangeKind
		state    registry.ToolState
		offered  bool
		restored registry.ToolState // after the server lists the pin again
	}{
		{false, "plain", registry.ChangePassed, registry.ToolApproved, true, registry.ToolApproved},
		{true, "plain", registry.ChangeDrift, registry.ToolChanged, false, registry.ToolApproved},
		{false, "odd", registry.ChangeDrift, registry.ToolChanged, false, registry.ToolApproved},
		{false, "worst", registry.ChangeDrift, registry.ToolQuarantined, false, registry.ToolQuarantined},
		{true, "worst", registry.ChangeDrift, registry.ToolQuarantined, false, registry.ToolQuarantined},
	} {
		w, r := newWorld(t, registry.ServerSanctioned), reader{strict: c.strict}
		w.seeing(r, tool("a", "good"), tool("b", "good"))
		pin := w.tools["a"].PinDigest
		o := w.seeing(r, tool("a", c.word), tool("b", "good"))
		if len(o.Changes) != 1 || o.Changes[0].Kind != c.kind || o.Changes[0].Grade == "" || len(o.Changes[0].Drift) == 0 || w.tools["a"].State != c.state {
			t.Errorf("%+v: %+v, now %s", c, o.Changes, w.tools["a"].State)
		}
		if got := w.offered("a"); (got == w.tools["a"].SeenDigest) != c.offered || c.offered == (got == "") {
			t.Errorf("%+v: offered %q", c, got)
		}
		if w.tools["a"].PinDigest != pin || w.offered("b") == "" {
			t.Errorf("%+v: the pin moved, or another tool was stopped", c)
		}
		if again := w.seeing(r, tool("a", c.word), tool("b", "good")); len(again.Changes) != 0 {
			t.Errorf("%+v: the same listing is news: %+v", c, again.Changes)
		}
		w.seeing(r, tool("a", "good"), tool("b", "good"))
		if got := w.tools["a"].State; got != c.restored {
			t.Errorf("%+v: taken back it is %s", c, got)
		}
	}
}

func TestStricterConfigurationStopsWhatPassed(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.seeing(reader{}, tool("a", "good"))
	w.seeing(reader{}, tool("a", "plain"))
	w.seeing(reader{strict: true}, tool("a", "plain"))
	if got := w.tools["a"].State; got != registry.ToolChanged || w.offered("a") != "" {
		t.Errorf("it is %s", got)
	}
}

func TestSmallStepsAreHeldAgainstTheApproval(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.seeing(reader{}, tool("a", "good"))
	pin := string(w.tools["a"].Pinned)
	for _, word := range []string{"plain one", "plain two"} {
		w.seeing(reader{}, tool("a", word))
		if got := string(w.tools["a"].Pinned); got != pin {
			t.Fatalf("after %q the change is compared with %s", word, got)
		}
	}
	approved, err := registry.Approve(w.tools["a"], reader{}, "user:ann", w.now)
	if err != nil || approved.Drift != nil || approved.PinDigest != approved.SeenDigest {
		t.Errorf("a change that passed can be approved: %+v %v", approved, err)
	}
}

func TestFlipFlopEndsInQuarantine(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.seeing(reader{}, tool("a", "good"))
	for range 6 {
		w.seeing(reader{}, tool("a", "odd"))
		w.now = w.now.Add(time.Minute)
		w.seeing(reader{}, tool("a", "good"))
	}
	if got := w.tools["a"]; got.State != registry.ToolQuarantined || w.offered("a") != "" {
		t.Fatalf("it is %s after %d returns", got.State, got.Returns)
	}
	approved, err := registry.Approve(w.tools["a"], reader{}, "user:ann", w.now)
	if err != nil || approved.Returns != 0 || approved.State != registry.ToolApproved {
		t.Errorf("%+v %v", approved, err)
	}
}

func TestNewerRulesStopWhatBlocks(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.seeing(reader{}, tool("a", "later"))
	o := w.seeing(reader{rules: 2}, tool("a", "later"))
	if len(o.Changes) != 1 || o.Changes[0].Kind != registry.ChangeInspected || w.tools["a"].State != registry.ToolQuarantined {
		t.Fatalf("%+v, %s", o.Changes, w.tools["a"].State)
	}
	approved, err := registry.Approve(w.tools["a"], reader{rules: 2}, "user:ann", w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.tools["a"] = approved
	if o := w.seeing(reader{rules: 3}, tool("a", "later")); w.tools["a"].State != registry.ToolApproved {
		t.Errorf("what a person accepted is held against it: %+v", o.Changes)
	}
}

func TestPersonsQuarantineIsNoDrift(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.seeing(reader{}, tool("a", "good"))
	w.seeing(reader{}, tool("a", "plain"))
	held, err := registry.ChangeTool(w.tools["a"], registry.VerbQuarantine)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Approve(held, reader{}, "user:x", w.now); err == nil {
		t.Error("approving lifts what a person put in quarantine")
	}
}

func TestInstructionsStopTheServer(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	say := func(text string) registry.Observation {
		o, err := registry.Observe(w.view(), "files", registry.Listing{Kind: registry.KindInstructions, Definitions: []registry.Definition{{Raw: []byte(`"` + text + `"`)}}}, reader{}, w.now)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range o.Tools {
			w.tools[x.Name] = x
		}
		if o.Server != nil {
			w.server = *o.Server
		}
		return o
	}
	say("be nice")
	say("be odd")
	if w.server.State != registry.ServerSanctioned || w.offered("#instructions/") != "" {
		t.Errorf("instructions that wait: server %s", w.server.State)
	}
	say("be worst")
	if w.server.State != registry.ServerQuarantined || w.server.StateWhy == "" {
		t.Errorf("the server is %s", w.server.State)
	}
}
