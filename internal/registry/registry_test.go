package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

var day = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func server(state registry.ServerState) registry.Server {
	return registry.Server{ID: "files", Owner: "team", State: state}
}

func view(t *testing.T, s registry.Server, tools ...registry.Tool) *registry.View {
	t.Helper()
	v, err := registry.NewView(registry.Content{Generation: 7, Servers: []registry.Server{s}, Tools: tools})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func tool(name, description string) registry.Definition {
	return registry.Definition{Name: name, Raw: fmt.Appendf(nil, `{"name":%q,"description":%q,"inputSchema":{"type":"object"}}`, name, description)}
}

// world keeps what observations change, as admin does.
type world struct {
	t      *testing.T
	server registry.Server
	tools  map[string]registry.Tool
	now    time.Time
}

func newWorld(t *testing.T, state registry.ServerState) *world {
	return &world{t: t, server: server(state), tools: map[string]registry.Tool{}, now: day}
}

func (w *world) view() *registry.View {
	var list []registry.Tool
	for _, t := range w.tools {
		list = append(list, t)
	}
	return view(w.t, w.server, list...)
}

// list observes a listing and returns the kinds of change by name.
func (w *world) list(defs ...registry.Definition) map[string]registry.ChangeKind {
	w.t.Helper()
	w.now = w.now.Add(time.Minute)
	o, err := registry.Observe(w.view(), "files", registry.Listing{Definitions: defs}, reader{}, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if o.Server != nil {
		w.server = *o.Server
	}
	for _, row := range o.Tools {
		w.tools[row.Name] = row
	}
	out := map[string]registry.ChangeKind{}
	for _, c := range o.Changes {
		out[c.Name] = c.Kind
	}
	return out
}

func (w *world) state(name string) registry.ToolState { return w.tools[name].State }

func (w *world) callable(name string) bool {
	_, st := w.view().Callable("files", name)
	return st.OK
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestFirstListingAfterSanctionApproves(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	want(t, "changes", w.list(tool("a", "x"), tool("b", "y")), map[string]registry.ChangeKind{"a": registry.ChangeBaseline, "b": registry.ChangeBaseline})
	if !w.callable("a") || w.tools["a"].PinDigest == "" || w.tools["a"].ApprovedAt != w.now {
		t.Errorf("a is not pinned: %+v", w.tools["a"])
	}
	want(t, "second listing", w.list(tool("a", "x"), tool("b", "y")), map[string]registry.ChangeKind{})
}

func TestNothingIsApprovedByALaterListing(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.list(tool("a", "x"))
	want(t, "later", w.list(tool("a", "x"), tool("b", "y")), map[string]registry.ChangeKind{"b": registry.ChangeNew})
	for range 3 {
		w.list(tool("a", "x"), tool("b", "y"))
	}
	want(t, "state", w.state("b"), registry.ToolPending)
	if w.callable("b") {
		t.Error("a pending tool is callable")
	}
}

func TestEmptyFirstListingIsTheBaseline(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.list()
	want(t, "after an empty baseline", w.list(tool("late", "x")), map[string]registry.ChangeKind{"late": registry.ChangeNew})
}

func TestKindWithheldAtFirstIsNotApprovedLater(t *testing.T) {
	for after, state := range map[time.Duration]registry.ToolState{time.Hour: registry.ToolApproved, time.Hour + 1: registry.ToolPending} {
		w := newWorld(t, registry.ServerSanctioned)
		w.list(tool("a", "x"))
		l := registry.Listing{Kind: registry.KindPrompt, Definitions: []registry.Definition{{Name: "p", Raw: []byte(`{"name":"p"}`)}}}
		o, err := registry.Observe(w.view(), "files", l, reader{}, w.now.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		want(t, after.String(), o.Tools[0].State, state)
		if o.Server == nil || o.Server.Baseline[registry.KindPrompt].IsZero() {
			t.Error("the baseline is still open")
		}
	}
}

func TestListingBeforeSanctionApprovesNothing(t *testing.T) {
	for _, s := range []registry.ServerState{registry.ServerDiscovered, registry.ServerTriaged, registry.ServerQuarantined, registry.ServerBlocked, registry.ServerRetired, registry.ServerDeprecated, "made-up", ""} {
		w := newWorld(t, s)
		w.list(tool("a", "x"))
		want(t, string(s), w.state("a"), registry.ToolPending)
	}
	w := newWorld(t, registry.ServerTriaged)
	w.list(tool("a", "x"))
	w.server.State = registry.ServerSanctioned
	want(t, "first after sanction", w.list(tool("a", "x")), map[string]registry.ChangeKind{"a": registry.ChangeBaseline})
}

func TestChangedToolIsNotCallableUntilItIsBackOrApproved(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.list(tool("a", "x"))
	pin := w.tools["a"].PinDigest
	want(t, "drift", w.list(tool("a", "evil")), map[string]registry.ChangeKind{"a": registry.ChangeDrift})
	if w.callable("a") {
		t.Fatal("a changed tool is callable")
	}
	want(t, "same drift again", w.list(tool("a", "evil")), map[string]registry.ChangeKind{})
	want(t, "another drift", w.list(tool("a", "worse")), map[string]registry.ChangeKind{"a": registry.ChangeDrift})
	want(t, "back", w.list(tool("a", "x")), map[string]registry.ChangeKind{"a": registry.ChangeRestored})
	if !w.callable("a") || w.tools["a"].PinDigest != pin {
		t.Error("the restored tool is not as approved")
	}
	w.list(tool("a", "new"))
	approved, err := registry.Approve(w.tools["a"], reader{}, "user:ann", w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.tools["a"] = approved
	if !w.callable("a") || approved.PinDigest == pin || approved.ApprovedBy != "user:ann" {
		t.Errorf("approval did not pin what was seen: %+v", approved)
	}
	want(t, "the old one is drift now", w.list(tool("a", "x")), map[string]registry.ChangeKind{"a": registry.ChangeDrift})
}

func TestMissingIsAbsentAndReappearingIsJudged(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.list(tool("a", "x"), tool("b", "y"))
	want(t, "gone", w.list(tool("b", "y")), map[string]registry.ChangeKind{"a": registry.ChangeAbsent})
	if w.callable("a") {
		t.Error("an absent tool is callable")
	}
	want(t, "still gone", w.list(tool("b", "y")), map[string]registry.ChangeKind{})
	want(t, "back", w.list(tool("a", "x"), tool("b", "y")), map[string]registry.ChangeKind{"a": registry.ChangeRestored})
	w.list()
	want(t, "back but different", w.list(tool("a", "z"), tool("b", "y")), map[string]registry.ChangeKind{"a": registry.ChangeDrift, "b": registry.ChangeRestored})
	w.list(tool("b", "y"), tool("c", "new"))
	w.list(tool("b", "y"))
	want(t, "unapproved and back", w.list(tool("b", "y"), tool("c", "new")), map[string]registry.ChangeKind{"c": registry.ChangeNew})
	want(t, "state", w.state("c"), registry.ToolPending)
}

func TestHeldToolsStayHeldWhateverIsListed(t *testing.T) {
	for _, verb := range []registry.Verb{registry.VerbQuarantine, registry.VerbBlock, registry.VerbRetire} {
		w := newWorld(t, registry.ServerSanctioned)
		w.list(tool("a", "x"))
		heldTool, err := registry.ChangeTool(w.tools["a"], verb)
		if err != nil {
			t.Fatal(err)
		}
		w.tools["a"] = heldTool
		w.list(tool("a", "x"))
		w.list()
		want(t, "drift is seen", w.list(tool("a", "other")), map[string]registry.ChangeKind{"a": registry.ChangeReappeared})
		w.list(tool("a", "x"))
		want(t, string(verb), w.state("a"), heldTool.State)
		if _, err := registry.Approve(w.tools["a"], reader{}, "user:x", day); access.CodeOf(err) != access.CodeConflict {
			t.Errorf("%s: approving a held tool: %v", verb, err)
		}
	}
}

func TestReleasingApprovesNothing(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.list(tool("a", "x"))
	q, _ := registry.ChangeTool(w.tools["a"], registry.VerbQuarantine)
	r, err := registry.ChangeTool(q, registry.VerbRelease)
	if err != nil || r.State == registry.ToolApproved {
		t.Fatalf("released into %s: %v", r.State, err)
	}
	w.tools["a"] = r
	if w.callable("a") {
		t.Error("a released tool is callable before it was listed")
	}
	w.list(tool("a", "x"))
	if !w.callable("a") {
		t.Error("a released tool that equals its pin is not callable")
	}
}

func TestSpellingPassesAndIsKeptOnce(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.list(registry.Definition{Name: "a", Raw: []byte(`{"name":"a","description":"x","n":1.0}`)})
	other := registry.Definition{Name: "a", Raw: []byte(`{ "n":1, "description":"\u0078", "name":"a"}`)}
	want(t, "first other spelling", w.list(other), map[string]registry.ChangeKind{"a": registry.ChangeSpelling})
	if !w.callable("a") {
		t.Error("another spelling is not callable")
	}
	want(t, "again", w.list(other), map[string]registry.ChangeKind{})
	third := registry.Definition{Name: "a", Raw: []byte(`{"description":"x","n":1e0,"name":"a"}`)}
	want(t, "a server that spells differently each time costs nothing", w.list(third), map[string]registry.ChangeKind{})
}

func TestDuplicateNamesRefuseTheListing(t *testing.T) {
	v := view(t, server(registry.ServerSanctioned))
	_, err := registry.Observe(v, "files", registry.Listing{Definitions: []registry.Definition{tool("a", "good"), tool("a", "evil")}}, reader{}, day)
	if access.CodeOf(err) != access.CodeUpstream || !strings.Contains(err.Error(), `"a" twice`) {
		t.Errorf("got %v", err)
	}
}

func TestTooManyDefinitionsRefuseTheListing(t *testing.T) {
	v := view(t, server(registry.ServerSanctioned))
	defs := make([]registry.Definition, registry.MaxDefinitions+1)
	for i := range defs {
		defs[i] = tool(fmt.Sprint(i), "x")
	}
	_, err := registry.Observe(v, "files", registry.Listing{Definitions: defs}, reader{}, day)
	if access.CodeOf(err) != access.CodeTooLarge {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeJudgedIsRefusedAndCountsAsMissing(t *testing.T) {
	big := registry.Definition{Name: "a", Raw: []byte(`{"name":"a","d":"` + strings.Repeat("x", registry.MaxDefinition) + `"}`)}
	for name, d := range map[string]registry.Definition{
		"duplicate key":       {Name: "a", Raw: []byte(`{"name":"a","description":"x","description":"evil"}`)},
		"escaped duplicate":   {Name: "a", Raw: []byte(`{"name":"a","n\u0061me":"b"}`)},
		"not JSON":            {Name: "a", Raw: []byte(`{"name":"a"`)},
		"not an object":       {Name: "a", Raw: []byte(`"a"`)},
		"other name":          {Name: "a", Raw: []byte(`{"name":"b"}`)},
		"no name":             {Name: "a", Raw: []byte(`{}`)},
		"invalid UTF-8":       {Name: "a", Raw: []byte("{\"name\":\"a\",\"d\":\"\xff\"}")},
		"too large":           big,
		"empty":               {Name: "a"},
		"lone surrogate":      {Name: "a", Raw: []byte(`{"name":"a","d":"\ud800"}`)},
		"trailing":            {Name: "a", Raw: []byte(`{"name":"a"}{}`)},
		"case-insensitive id": {Name: "a", Raw: []byte(`{"Name":"a"}`)},
	} {
		w := newWorld(t, registry.ServerSanctioned)
		w.list(tool("a", "x"))
		changes := w.list(d)
		if changes["a"] != registry.ChangeAbsent || w.callable("a") {
			t.Errorf("%s: changes %v, state %s", name, changes, w.state("a"))
		}
	}
}

func TestNamesThatCouldBeAnotherActionAreRefused(t *testing.T) {
	for _, name := range []string{"", "prompts/x", "resources/read", "requests/sampling", "tools/list", "server/discover", "#prompt/x", "a*", "a\u200bb", "a\nb", "a\u202eb", strings.Repeat("x", 129), "\xff", "a\u00a0b", "tag\U000e0041"} {
		if err := registry.ValidName(registry.KindTool, name); err == nil {
			t.Errorf("%q is accepted as the name of a tool", name)
		}
		w := newWorld(t, registry.ServerSanctioned)
		w.list(registry.Definition{Name: name, Raw: append(rawjson.AppendString([]byte(`{"name":`), name), '}')})
		if len(w.tools) != 0 {
			t.Errorf("%q was kept", name)
		}
	}
	for _, name := range []string{"a", "get-file.v2", "repo/list", "repo:list", "名前", strings.Repeat("x", 128)} {
		if err := registry.ValidName(registry.KindTool, name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestKindsNeverMeet(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.list(tool("x", "tool"))
	o, err := registry.Observe(w.view(), "files", registry.Listing{Kind: registry.KindPrompt, Definitions: []registry.Definition{{Name: "x", Raw: []byte(`{"name":"x"}`)}}}, reader{}, day)
	if err != nil || len(o.Tools) != 1 {
		t.Fatalf("%v %v", o, err)
	}
	p := o.Tools[0]
	want(t, "state", p.State, registry.ToolApproved)
	want(t, "kind", p.Kind(), registry.KindPrompt)
	want(t, "name", p.Bare(), "x")
	if p.Name == "x" {
		t.Error("the prompt x is kept under the name of the tool x")
	}
	for _, c := range o.Changes {
		if c.Name == "x" {
			t.Errorf("listing prompts changed a tool: %+v", c)
		}
	}
	w.tools[p.Name] = p
	w.server = *o.Server
	want(t, "tools do not touch prompts", w.list(), map[string]registry.ChangeKind{"x": registry.ChangeAbsent})
	r, err := registry.Observe(w.view(), "files", registry.Listing{Kind: registry.KindInstructions, Definitions: []registry.Definition{{Raw: []byte(`"be nice"`)}}}, reader{}, day)
	if err != nil || len(r.Tools) != 1 || r.Tools[0].State != registry.ToolApproved {
		t.Errorf("instructions: %+v %v", r, err)
	}
}

func TestObserveModePassesDriftOneTierHigher(t *testing.T) {
	w := newWorld(t, registry.ServerSanctioned)
	w.server.Pinning = registry.PinningObserve
	read := func(d string) registry.Definition {
		return registry.Definition{Name: "a", Raw: fmt.Appendf(nil, `{"name":"a","description":%q,"annotations":{"readOnlyHint":true}}`, d)}
	}
	w.list(read("x"))
	want(t, "approved tier", w.view().Class(w.tools["a"]).Tier, 0)
	w.list(read("y"), tool("new", "x"))
	got, st := w.view().Callable("files", "a")
	if !st.OK || !st.Drift {
		t.Errorf("a changed tool of an observing server: %+v", st)
	}
	want(t, "drifted tier", w.view().Class(got).Tier, 1)
	if _, st := w.view().Callable("files", "new"); !st.OK || !st.Drift {
		t.Errorf("a new tool of an observing server: %+v", st)
	}
	w.server.Pinning = "something else"
	if w.callable("a") {
		t.Error("an unknown value of pinning does not enforce")
	}
}

func TestUnknownStatesDeny(t *testing.T) {
	pinned := registry.Tool{Server: "files", Name: "a", State: registry.ToolApproved, PinDigest: "sha256:x"}
	if _, st := view(t, server("someday"), pinned).Callable("files", "a"); st.OK || st.Class != access.ClassServer {
		t.Errorf("unknown server state: %+v", st)
	}
	for _, s := range []registry.ToolState{"", "someday", "Approved"} {
		x := pinned
		x.State = s
		if _, st := view(t, server(registry.ServerSanctioned), x).Callable("files", "a"); st.OK || st.Class != access.ClassTool {
			t.Errorf("tool state %q: %+v", s, st)
		}
	}
	unpinned := pinned
	unpinned.PinDigest = ""
	if _, st := view(t, server(registry.ServerSanctioned), unpinned).Callable("files", "a"); st.OK {
		t.Error("an approved tool without a pin is callable")
	}
	if _, st := view(t, server(registry.ServerSanctioned), pinned).Callable("files", "nope"); st.OK || st.Class != access.ClassHidden {
		t.Errorf("unknown tool: %+v", st)
	}
	if _, st := view(t, server(registry.ServerSanctioned), pinned).Callable("other", "a"); st.OK || st.Class != access.ClassServer {
		t.Errorf("unknown server: %+v", st)
	}
	ownerless := server(registry.ServerSanctioned)
	ownerless.Owner = ""
	if _, st := view(t, ownerless, pinned).Callable("files", "a"); st.OK {
		t.Error("a server without an owner is callable")
	}
	for _, s := range []registry.AgentState{"", "someday", registry.AgentSuspended, registry.AgentQuarantined, registry.AgentRetired} {
		a := registry.Agent{ID: "a", Owner: "t", State: s, Expires: day.AddDate(1, 0, 0)}
		if err := registry.Usable(a, day); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("agent state %q: %v", s, err)
		}
	}
	if (registry.Standing{}).OK {
		t.Error("the zero Standing allows")
	}
}

func TestAgentExpiresAtTheEndOfItsDay(t *testing.T) {
	a := registry.Agent{ID: "a", Owner: "t", State: registry.AgentActive, Expires: day}
	if err := registry.Usable(a, day.Add(-time.Nanosecond)); err != nil {
		t.Errorf("before: %v", err)
	}
	if err := registry.Usable(a, day); access.CodeOf(err) != access.CodeDenied || !strings.Contains(err.Error(), "expired") {
		t.Errorf("at: %v", err)
	}
	a.Expires = time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC) // as "expires: 2027-06-30" is kept
	if err := registry.Usable(a, a.Expires); err == nil || !strings.Contains(err.Error(), "at the end of 2027-06-30;") {
		t.Errorf("the day is not the manifest's: %v", err)
	}
	a.Expires = day
	want(t, "status", registry.AgentStatus(a, day.In(time.FixedZone("", -12*3600))), registry.AgentExpired)
	a.Expires = time.Time{}
	if registry.Usable(a, day) == nil {
		t.Error("an agent without an end is usable")
	}
	a.Expires, a.Owner = day.AddDate(1, 0, 0), ""
	if registry.Usable(a, day) == nil {
		t.Error("an agent without an owner is usable")
	}
}

func TestOnlyNamedTransitionsAreAllowed(t *testing.T) {
	states := []registry.ServerState{registry.ServerDiscovered, registry.ServerTriaged, registry.ServerSanctioned, registry.ServerDeprecated, registry.ServerQuarantined, registry.ServerBlocked, registry.ServerRetired, "", "someday"}
	verbs := []registry.Verb{registry.VerbTriage, registry.VerbApprove, registry.VerbDeprecate, registry.VerbQuarantine, registry.VerbBlock, registry.VerbRelease, registry.VerbRetire, registry.VerbSuspend, registry.VerbResume, "destroy"}
	got := map[string]string{}
	for _, s := range states {
		for _, verb := range verbs {
			x, err := registry.ChangeServer(server(s), verb, "user:ann", "why", day)
			switch {
			case err == nil:
				got[string(s)] += string(verb) + "→" + string(x.State) + " "
			case access.CodeOf(err) != access.CodeConflict:
				t.Errorf("%s %s: %v", s, verb, err)
			case s != "" && !strings.Contains(err.Error(), string(s)):
				t.Errorf("%s %s does not name the state: %v", s, verb, err)
			}
		}
	}
	want(t, "transitions", got, map[string]string{
		"discovered":  "triage→triaged approve→sanctioned quarantine→quarantined block→blocked retire→retired ",
		"triaged":     "approve→sanctioned quarantine→quarantined block→blocked retire→retired ",
		"sanctioned":  "deprecate→deprecated quarantine→quarantined block→blocked retire→retired ",
		"deprecated":  "approve→sanctioned quarantine→quarantined block→blocked retire→retired ",
		"quarantined": "approve→sanctioned block→blocked release→triaged retire→retired ",
		"blocked":     "release→triaged retire→retired ",
	})
	orphan := server(registry.ServerTriaged)
	orphan.Owner = ""
	if _, err := registry.ChangeServer(orphan, registry.VerbApprove, "user:ann", "", day); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("approving a server without an owner: %v", err)
	}
	agents := map[string]string{}
	for _, s := range []registry.AgentState{registry.AgentActive, registry.AgentSuspended, registry.AgentQuarantined, registry.AgentRetired, ""} {
		for _, verb := range verbs {
			if x, err := registry.ChangeAgent(registry.Agent{ID: "a", State: s}, verb, "user:ann", "", day); err == nil {
				agents[string(s)] += string(verb) + "→" + string(x.State) + " "
			}
		}
	}
	want(t, "agents", agents, map[string]string{
		"active":      "quarantine→quarantined retire→retired suspend→suspended ",
		"suspended":   "quarantine→quarantined retire→retired resume→active ",
		"quarantined": "retire→retired resume→active ",
	})
}

func TestApproveNeedsSomethingSeen(t *testing.T) {
	for _, s := range []registry.ToolState{registry.ToolApproved, registry.ToolAbsent, registry.ToolRetired, ""} {
		_, err := registry.Approve(registry.Tool{Server: "files", Name: "a", State: s, Seen: []byte(`{"name":"a"}`)}, reader{}, "user:x", day)
		if access.CodeOf(err) != access.CodeConflict {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := registry.Approve(registry.Tool{State: registry.ToolChanged, PinDigest: "sha256:x"}, reader{}, "u", day); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("nothing seen: %v", err)
	}
	forged := registry.Tool{State: registry.ToolPending, Seen: []byte(`{"name":"a"}`), SeenDigest: "sha256:else"}
	if _, err := registry.Approve(forged, reader{}, "u", day); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("seen bytes that are not what was judged: %v", err)
	}
}

func TestTwoEntriesOfOneNameMakeNoView(t *testing.T) {
	a, s, x := registry.Agent{ID: "a"}, registry.Server{ID: "s"}, registry.Tool{Server: "s", Name: "t"}
	for name, c := range map[string]registry.Content{
		"agents":  {Agents: []registry.Agent{a, a}},
		"servers": {Servers: []registry.Server{s, s}},
		"tools":   {Tools: []registry.Tool{x, x}},
		"teams":   {Teams: []registry.Team{{ID: "t"}, {ID: "t"}}},
		"no id":   {Agents: []registry.Agent{{}}},
	} {
		if _, err := registry.NewView(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestViewIsNotChangedByWhatComesAfterIt(t *testing.T) {
	pinned := registry.Tool{Server: "files", Name: "a", State: registry.ToolApproved, PinDigest: "sha256:x"}
	before := view(t, server(registry.ServerSanctioned), pinned)
	blocked, gone := server(registry.ServerBlocked), pinned
	gone.State = registry.ToolAbsent
	after := before.With(registry.Delta{
		Servers: map[string]*registry.Server{"files": &blocked, "new": {ID: "new"}}, Agents: map[string]*registry.Agent{"x": {ID: "x"}},
		Tools: map[string]map[string]*registry.Tool{"files": {"a": &gone, "b": {Server: "files", Name: "b"}}, "new": {"c": {Server: "new", Name: "c"}}},
	}).At(8)
	if _, st := before.Callable("files", "a"); !st.OK || len(before.Servers()) != 1 || len(before.Agents()) != 0 || len(before.Tools("files")) != 1 || before.Generation() != 7 {
		t.Error("the view before changed")
	}
	rebuilt, err := registry.NewView(after.Content())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "content", after.Content(), rebuilt.Content())
	want(t, "generation", after.Generation(), uint64(8))
	want(t, "servers", len(after.Servers()), 2)
	want(t, "tools", len(after.Content().Tools), 3)
	removed := after.With(registry.Delta{Servers: map[string]*registry.Server{"new": nil}, Tools: map[string]map[string]*registry.Tool{"new": {"c": nil}}})
	want(t, "removed", len(removed.Servers())+len(removed.Content().Tools), 3)
}

func TestDigestCoversUnknownMembersAndIgnoresSpelling(t *testing.T) {
	of := func(s string) string {
		c, _, err := registry.DigestRaw([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	base := of(`{"name":"a","x":{"b":1,"a":2}}`)
	want(t, "key order", of(` {"x" : {"a":2.0,"b":1},"n\u0061me":"a"}`), base)
	for _, other := range []string{`{"name":"a","x":{"b":1,"a":2},"y":null}`, `{"name":"a","x":{"b":1,"a":3}}`, `{"name":"a","x":{"b":1,"A":2}}`, `{"name":"a","x":{"b":1,"a":2.0000000000000001}}`} {
		if of(other) == base {
			t.Errorf("%s has the same digest", other)
		}
	}
}

func TestClassOfTakesTheMostExactPattern(t *testing.T) {
	s := registry.Server{Classes: map[string]registry.ToolClass{
		"*": {Class: "read"}, "write_*": {Class: "write", Tier: 2}, "write_log*": {Class: "write", Tier: 1}, "write_logs": {Class: "read", Tier: 1},
	}}
	for name, tier := range map[string]string{"x": "read0", "write_file": "write2", "write_log_x": "write1", "write_logs": "read1"} {
		c, ok := s.ClassOf(name)
		want(t, name, fmt.Sprintf("%s%d %t", c.Class, c.Tier, ok), tier+" true")
	}
	if _, ok := (registry.Server{}).ClassOf("x"); ok {
		t.Error("no classes, yet a class")
	}
}

func TestProposeClass(t *testing.T) {
	for def, class := range map[string]string{
		`{"name":"get","annotations":{"readOnlyHint":true}}`: "read 0",
		`{"name":"get"}`: "write,egress 2",
		`{"name":"set","annotations":{"openWorldHint":false}}`:                                                                    "write 2",
		`{"name":"set","annotations":{"readOnlyHint":"true","openWorldHint":false}}`:                                              "write 2",
		`{"name":"x","annotations":{"destructiveHint":true,"openWorldHint":false}}`:                                               "destroy 3",
		`{"name":"x","annotations":{"destructiveHint":false,"openWorldHint":false}}`:                                              "write 2",
		`{"name":"deleteFile","annotations":{"readOnlyHint":true}}`:                                                               "destroy 3",
		`{"name":"delete_all","annotations":{"openWorldHint":false}}`:                                                             "destroy 3",
		`{"name":"fetch","annotations":{"readOnlyHint":true},"inputSchema":{"properties":{"url":{}}}}`:                            "read,egress 2",
		`{"name":"find","annotations":{"readOnlyHint":true},"inputSchema":{"properties":{"o":{"properties":{"replyTo":{}}}}}}`:    "read,egress 2",
		`{"name":"find","annotations":{"readOnlyHint":true},"inputSchema":{"properties":{"p":{"type":"string","format":"uri"}}}}`: "read,egress 2",
		`{"name":"get_secret","annotations":{"readOnlyHint":true}}`:                                                               "read 3",
		`{"name":"sendPayment","annotations":{"openWorldHint":false}}`:                                                            "write 3",
	} {
		v, err := rawjson.Parse([]byte(def), rawjson.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		c := registry.ProposeClass(registry.KindTool, v)
		want(t, def, fmt.Sprint(c.Class, " ", c.Tier), class)
		if _, err := c.Words(); err != nil {
			t.Errorf("%s: a proposal nobody understands: %v", def, err)
		}
	}
}

func TestUnknownClassIsAnError(t *testing.T) {
	for _, c := range []registry.ToolClass{{}, {Class: "admin"}, {Class: "read,write"}, {Class: "egress"}, {Class: "read", Tier: 4}, {Class: "read", Tier: -1}, {Class: "read,egress,egress"}} {
		if _, err := c.Words(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	got, err := registry.ToolClass{Class: "write, egress", Tier: 2}.Words()
	want(t, "words", got, []string{"write", "egress"})
	want(t, "error", err, nil)
}

func TestMatch(t *testing.T) {
	for _, x := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"*", "", true}, {"*", "a/b", true}, {"list_*", "list_x", true}, {"list_*", "LIST_x", false},
		{"*x*", "axb", true}, {"a*a", "a", false}, {"a*b*c", "a-c-b-c", true}, {"a*b*c", "a-c-c", false}, {"", "", true}, {"", "a", false},
		{"a?", "ab", false}, {"a?", "a?", true}, {"[a]", "a", false}, {"**", "x", true}, {"ab*ba", "aba", false},
	} {
		want(t, x.pattern+" "+x.name, registry.Match(x.pattern, x.name), x.want)
	}
	start := time.Now()
	registry.Match(strings.Repeat("*a", 2000)+"b", strings.Repeat("a", 100_000))
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("a hostile pattern took %v", d)
	}
}

func FuzzObserve(f *testing.F) {
	f.Add("a", []byte(`{"name":"a","description":"x"}`), []byte(`{"name":"a"}`))
	f.Add("prompts/x", []byte(`{"name":"prompts/x"}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, name string, first, second []byte) {
		w := newWorld(t, registry.ServerSanctioned)
		w.list(registry.Definition{Name: name, Raw: first})
		approved, was := w.tools[name], w.callable(name)
		w.list(registry.Definition{Name: name, Raw: second})
		if !w.callable(name) {
			return
		}
		if !was {
			t.Fatalf("%q became callable by a later listing", name)
		}
		a, _, err1 := registry.DigestRaw(first)
		b, _, err2 := registry.DigestRaw(second)
		if errors.Join(err1, err2) != nil || a != b || approved.PinDigest != a {
			t.Fatalf("%q is callable with another content", name)
		}
	})
}
