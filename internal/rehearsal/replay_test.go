package rehearsal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/rehearsal"
)

const noSecrets = `kind: Policy
id: no-secrets
cedar: 'forbid (principal, action == Mcp::Action::"files/read", resource) when { context has input && context.input has path && context.input.path like "/secret*" };'
`

// counts is what a report counts.
func counts(r rehearsal.Report) string {
	return fmt.Sprintf("looked %d: same %d, denied %d, permitted %d, changed %d, depends %d, registry %d, unknown %d, erased %d, dropped %d, errors %d",
		r.Looked, r.Same, r.NewlyDenied, r.NewlyPermitted, r.Changed, r.Depends, r.Registry, r.Unknown, r.Erased, r.Dropped, r.Errors)
}

// TestReplayCountsEveryDecisionOnce goes over a log that holds every kind of leaf,
// with a stop and a start in it.
func TestReplayCountsEveryDecisionOnce(t *testing.T) {
	r := newRig(t)
	r.call("bot", "read", `{"path":"/public"}`)                                                  // same, opened
	r.call("bot", "read", `{"path":"/secret/key"}`)                                              // newly denied, opened
	r.call("bot", "read", `{"path":"/secret/`+strings.Repeat("x", 9<<10)+`"}`)                   // cut: depends
	r.call("bot", "write", `{"path":"/secret/key"}`)                                             // same, nobody looks at its arguments
	r.call("bot", "read", ``)                                                                    // none: same
	r.call("other", "write", `{}`)                                                               // denied before and after
	r.call("ghost", "read", `{}`)                                                                // the registry refuses
	gone := r.request("bot", "read", `{}`)                                                       // of a server nobody knows now
	gone.Server = "gone"                                                                         //
	r.record(gone, &access.Decision{ID: gone.ID, Outcome: access.Permit, Set: "s"})              // unknown
	list := r.request("bot", "", ``)                                                             // a list
	list.Kind, list.Method = access.KindServer, "tools/list"                                     //
	d := pdp.Decide(r.State(), list)                                                             //
	if err := r.log.Listed(t.Context(), audit.Intent{Request: list, Decision: &d}); err != nil { // same
		t.Fatal(err)
	}
	watched := r.request("other", "write", `{}`) // in monitor mode it passed
	md := pdp.Decide(r.State(), watched)
	md.Monitor, md.Would, md.Outcome = true, md.Outcome, access.Permit
	r.record(watched, &md) // denied by enforcing, before and after
	if _, err := r.log.Loss(t.Context(), audit.Loss{Stream: "s", Count: 1, First: time.Now(), Last: time.Now(), Why: "a test"}); err != nil {
		t.Fatal(err)
	}
	if err := r.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.call("bot", "read", `{"path":"/secret/key"}`) // newly denied, after the restart

	got := r.replay(func(o *rehearsal.Replaying) { o.Candidate = r.candidate(noSecrets) })
	want := "looked 11: same 6, denied 2, permitted 0, changed 0, depends 1, registry 1, unknown 1, erased 0, dropped 0, errors 0"
	if counts(got) != want {
		t.Errorf("%s\nwant %s\n%+v", counts(got), want, got.Groups)
	}
	if len(got.Groups) != 1 || got.Groups[0].Change != rehearsal.NewlyDenied || !slices.Equal(got.Groups[0].By, []string{"no-secrets"}) || !slices.Equal(got.Groups[0].Examples, []string{"dec_2", "dec_11"}) {
		t.Errorf("groups: %+v", got.Groups)
	}
	text, _ := json.Marshal(got)
	if strings.Contains(string(text), "/secret") {
		t.Errorf("the report shows an argument: %s", text)
	}
	if got.Opened == 0 || got.Opened > 4 {
		t.Errorf("arguments were opened %d times: only where the verdict depends on them", got.Opened)
	}
	one := r.replay(func(o *rehearsal.Replaying) { o.Candidate, o.Agent = r.candidate(noSecrets), "other" })
	if one.Looked != 2 {
		t.Errorf("of one agent: %s", counts(one))
	}
}

// TestReplayWithoutKeptArgumentsSaysSo: the packs were removed, as retention does.
func TestReplayWithoutKeptArgumentsSaysSo(t *testing.T) {
	r := newRig(t)
	r.call("bot", "read", `{"path":"/secret/key"}`)
	if err := r.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(r.dir, "evidence", "payload*"))
	if err != nil || len(packs) == 0 {
		t.Fatalf("where are the packs? %v %v", packs, err)
	}
	for _, p := range packs {
		if err := os.RemoveAll(p); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	got := r.replay(func(o *rehearsal.Replaying) { o.Candidate = r.candidate(noSecrets) })
	if got.Depends != 1 || got.Changes() != 0 {
		t.Error(counts(got))
	}
}

// TestReplayReadsManyPayloadsInOrder: thousands of calls, most of whose arguments
// have to be opened, sealed and not sealed yet.
func TestReplayReadsManyPayloadsInOrder(t *testing.T) {
	r := newRig(t)
	const calls = 600
	for i := range calls {
		path := "/public"
		if i%3 == 0 {
			path = "/secret"
		}
		q := r.request("bot", "read", fmt.Sprintf(`{"path":"%s/%d"}`, path, i))
		d := pdp.Decide(r.State(), q)
		if err := r.log.Listed(t.Context(), audit.Intent{Request: q, Decision: &d}); err != nil {
			t.Fatal(err)
		}
	}
	r.call("bot", "read", `{"path":"/public"}`) // durable, and so is all before it
	got := r.replay(func(o *rehearsal.Replaying) { o.Candidate = r.candidate(noSecrets) })
	if got.NewlyDenied != calls/3 || got.Same != calls+1-calls/3 || got.Opened != calls+1 {
		t.Errorf("%s, opened %d", counts(got), got.Opened)
	}
}

// TestReplayUnderGrants: a call is judged with the right it was made under, however
// little is left of it.
func TestReplayUnderGrants(t *testing.T) {
	r := newRig(t)
	ask := "kind: Entitlement\nid: writing\nowner: team\nagents: [other]\ntools: [\"files/write\"]\n"
	r.call("other", "write", `{}`) // before it could be asked for
	r.apply(ask)
	q := r.request("other", "write", `{}`)
	q.Held = &access.Held{Grant: "grt_1", Quorum: 1, Bound: true}
	d := pdp.Decide(r.State(), q)
	if !d.Allowed() || d.Grant != "grt_1" {
		t.Fatalf("%+v", d)
	}
	r.record(q, &d)
	held := func(_ context.Context, id string) (access.Held, bool, error) {
		return access.Held{Grant: id, Quorum: 1, Bound: true}, id == "grt_1", nil
	}
	got := r.replay(func(o *rehearsal.Replaying) { o.Held = held })
	if got.Same != 1 || got.Changed != 1 || got.Groups[0].After != "require_approval" {
		t.Errorf("%s %+v", counts(got), got.Groups)
	}
	two := "kind: Policy\nid: two\ncedar: '@outcome(\"require_approval\") forbid (principal, action in Mcp::Action::\"call\", resource) unless { context has grant && context.grant.quorum >= 2 };'\n"
	got = r.replay(func(o *rehearsal.Replaying) { o.Held, o.Candidate = held, r.candidate(two) })
	if got.Changed != 2 {
		t.Errorf("a candidate that wants two people: %s", counts(got))
	}
}

// TestAnErringCandidateIsSaid: it denies, as it would in force, and the report
// names the policy.
func TestAnErringCandidateIsSaid(t *testing.T) {
	r := newRig(t)
	r.call("bot", "read", `{"n":5}`)
	big := "kind: Policy\nid: big\ncedar: 'forbid (principal, action == Mcp::Action::\"files/read\", resource) when { context has input && context.input has path && context.derived.path_canon.path == \"/x\" };'\n"
	got := r.replay(func(o *rehearsal.Replaying) { o.Candidate = r.candidate(big) })
	if got.Errors != 0 || got.Same != 1 {
		t.Errorf("nothing erred yet: %s", counts(got))
	}
	r.call("bot", "read", `{"path":"a/../../.."}`)
	got = r.replay(func(o *rehearsal.Replaying) { o.Candidate = r.candidate(big) })
	if got.Errors != 1 || got.NewlyDenied != 1 || !slices.Equal(got.Erring, []string{"big"}) {
		t.Errorf("%s, erring %v", counts(got), got.Erring)
	}
}

// TestReplayAgainstAnotherGeneration compares two sets on the same facts.
func TestReplayAgainstAnotherGeneration(t *testing.T) {
	r := newRig(t)
	r.call("bot", "read", `{"path":"/secret/key"}`)
	r.apply(noSecrets) // generation 2
	r.call("bot", "read", `{"path":"/secret/key"}`)
	old, err := r.admin.Candidate(t.Context(), admin.Draft{Generation: 1})
	if err != nil {
		t.Fatal(err)
	}
	first := &pdp.State{View: old.View.WithOwn(), Set: old.Set}
	for name, tt := range map[string]struct {
		change func(*rehearsal.Replaying)
		want   string
	}{
		"live against recorded":  {func(*rehearsal.Replaying) {}, "same 1, denied 1, permitted 0"},
		"first against recorded": {func(o *rehearsal.Replaying) { o.Candidate = first }, "same 1, denied 0, permitted 1"},
		"live against first":     {func(o *rehearsal.Replaying) { o.Against, o.Name = first, "generation 1" }, "same 0, denied 2, permitted 0"},
		"live against live":      {func(o *rehearsal.Replaying) { o.Against, o.Name = r.State(), "live" }, "same 2, denied 0, permitted 0"},
	} {
		if got := r.replay(tt.change); !strings.Contains(counts(got), tt.want) {
			t.Errorf("%s: %s, want %s", name, counts(got), tt.want)
		}
	}
}

// TestWhatWasCountedIsNotKept: a candidate that reads a counter is not guessed at,
// neither over recorded calls nor beside live ones.
func TestWhatWasCountedIsNotKept(t *testing.T) {
	r := newRig(t)
	r.call("bot", "read", `{}`)
	r.call("bot", "write", `{}`)
	often := "kind: Fact\nid: often\nowner: team\ntype: rate\non: {server: files, tool: read}\nwindow: 1m\nkey: [agent]\nagg: count\n---\nkind: Policy\nid: slow\ncedar: '@outcome(\"rate_limit\") @fact(\"often\") forbid (principal, action == Mcp::Action::\"files/read\", resource) when { context.facts.often > 5 };'\n"
	candidate := r.candidate(often)
	got := r.replay(func(o *rehearsal.Replaying) { o.Candidate = candidate })
	if got.Counters != 1 || got.Same != 1 || got.Changes() != 0 {
		t.Errorf("recorded: %s, %d", counts(got), got.Counters)
	}
	s := r.stage()
	r.start(s, often)
	r.observed(s, "bot", "read", `{}`)
	r.observed(s, "bot", "write", `{}`)
	if got := s.Stop(true).Report; got.Counters != 1 || got.Same != 1 || got.Changes() != 0 {
		t.Errorf("live: %s, %d", counts(*got), got.Counters)
	}
}

// Rules of one's own making tell by what they match what an argument was: who may
// not see evidence has none opened.
func TestReplayOpensNothingForWhoMayNotSeeIt(t *testing.T) {
	r := newRig(t)
	r.call("bot", "read", `{"path":"/secret/key"}`)
	r.call("bot", "read", `{"path":"/public"}`)
	got := r.replay(func(o *rehearsal.Replaying) { o.Candidate, o.Sealed = r.candidate(noSecrets), false })
	if got.Opened != 0 || got.Depends != 2 || got.Changes() != 0 {
		t.Errorf("opened %d: %s", got.Opened, counts(got))
	}
}
