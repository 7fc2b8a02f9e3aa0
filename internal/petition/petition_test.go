package petition_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/petition"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// office is a Desk over a real store with a clock and evidence of the test's.
type office struct {
	*petition.Desk
	broker *grant.Broker

	mu    sync.Mutex
	now   time.Time
	fault error
	kept  []string
}

func (o *office) clock() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *office) wait(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = o.now.Add(d)
}

// Record makes the office the evidence of its broker.
func (o *office) Settle(ctx context.Context, owed []access.Owed) error {
	var events []grant.Event
	for _, w := range owed {
		events = append(events, grant.Event{Actor: w.Actor, Verb: w.Verb, Kind: w.Kind, Object: w.Object, Reason: w.Reason})
	}
	return o.Record(ctx, events)
}

func (o *office) Record(_ context.Context, events []grant.Event) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fault != nil {
		return o.fault
	}
	for _, e := range events {
		o.kept = append(o.kept, e.Actor+" "+e.Verb+" "+e.Kind)
	}
	return nil
}

// plain seals nothing.
type plain struct{}

func (plain) Seal(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (plain) Open(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }

type fixed struct{ s *pdp.State }

func (f fixed) State() *pdp.State { return f.s }

// newOffice has agents "bot" and "eve", who may ask for up/say, and for up/auto
// without a person.
func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{now: start}
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if o.broker, err = grant.New(t.Context(), grant.Config{Node: "n", Boot: "b"}, s, o, plain{}, o.clock); err != nil {
		t.Fatal(err)
	}
	c := registry.Content{Servers: []registry.Server{{ID: "up", Owner: "team", State: registry.ServerSanctioned}}}
	cat := policy.Catalog{Servers: []policy.ServerInfo{{ID: "up"}}}
	state := &pdp.State{Grants: o.broker, Entitlements: map[string]grant.Entitlement{}}
	for _, id := range []string{"bot", "eve"} {
		c.Agents = append(c.Agents, registry.Agent{ID: id, Owner: "team", State: registry.AgentActive, Expires: start.Add(48 * time.Hour)})
	}
	for name, rule := range map[string]grant.Rule{"say": {Quorum: 1}, "auto": {Auto: true}} {
		c.Tools = append(c.Tools, registry.Tool{Server: "up", Name: name, State: registry.ToolApproved, PinDigest: "sha256:1", SeenDigest: "sha256:1", Class: registry.ToolClass{Class: "read"}})
		cat.Tools = append(cat.Tools, policy.ToolInfo{Server: "up", Name: name, Classes: []string{"read"}})
		cat.Entitlements = append(cat.Entitlements, policy.Entitlement{ID: name, Agents: []string{"bot", "eve"}, Patterns: []string{"up/" + name}})
		state.Entitlements[name] = grant.Entitlement{ID: name, Approve: rule, Ceiling: grant.Ceiling{Seconds: 600}}
	}
	if state.View, err = registry.NewView(c); err != nil {
		t.Fatal(err)
	}
	if state.Set, err = policy.Compile(nil, cat); err != nil {
		t.Fatal(err)
	}
	if o.Desk, err = petition.New(fixed{state}, o.broker, o.clock); err != nil {
		t.Fatal(err)
	}
	return o
}

func agent(id, subject string) access.Identity {
	who := access.Identity{Actor: access.Actor{Agent: id, Attested: true}, Session: "ses_1"}
	if subject != "" {
		who.Subject = access.Subject{Issuer: "https://gw", ID: subject}
	}
	return who
}

func wish(t *testing.T, tool string, scope grant.Scope, args string) grant.Ask {
	t.Helper()
	a := grant.Ask{Scope: scope, Reason: "please"}
	a.Target = grant.Target{Server: "up", Name: tool}
	if args != "" {
		v, err := rawjson.Parse([]byte(args), rawjson.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		a.Args = v
	}
	return a
}

func TestNewNeedsEverything(t *testing.T) {
	o := newOffice(t)
	for name, err := range map[string]error{
		"states": second(petition.New(nil, o.broker, o.clock)), "broker": second(petition.New(fixed{}, nil, o.clock)), "clock": second(petition.New(fixed{}, o.broker, nil)),
	} {
		if err == nil {
			t.Errorf("a desk without its %s", name)
		}
	}
}

func second(_ *petition.Desk, err error) error { return err }

// Whoever is nobody, or somebody else, gets and ends nothing of a party's.
func TestOnlyThePartyItself(t *testing.T) {
	o := newOffice(t)
	owner := agent("bot", "ann")
	task, err := o.OpenTask(t.Context(), owner, grant.TaskSpec{Purpose: "work"})
	if err != nil {
		t.Fatal(err)
	}
	owner.Task = task.ID // as the gate finds
	asked, err := o.Ask(t.Context(), owner, wish(t, "say", grant.ScopeTask, ""))
	if err != nil || asked.Request.Task != task.ID {
		t.Fatalf("asking: %v %+v", err, asked)
	}
	for name, who := range map[string]access.Identity{"nobody": {}, "another agent": agent("eve", "ann"), "for another": agent("bot", "ben"), "for nobody": agent("bot", "")} {
		for claim, task := range map[string]string{"": "", " that claims its task": task.ID} {
			who.Task = task
			if got, err := o.Request(t.Context(), who, asked.Request.ID); access.CodeOf(err) != access.CodeNotFound || got.Request.ID != "" {
				t.Errorf("%s%s sees the request: %v %+v", name, claim, err, got)
			}
			if got := o.Status(who); len(got.Tasks)+len(got.Requests)+len(got.Grants) != 0 {
				t.Errorf("%s%s sees %+v", name, claim, got)
			}
			if _, err := o.CloseTask(t.Context(), who, task, ""); err == nil {
				t.Errorf("%s%s closes a task", name, claim)
			}
			if got, err := o.Ask(t.Context(), who, wish(t, "say", grant.ScopeTask, "")); err == nil {
				t.Errorf("%s%s asks in a task: %+v", name, claim, got)
			}
		}
	}
	if got := o.Status(owner); len(got.Tasks) != 1 || len(got.Requests) != 1 {
		t.Errorf("the party is left with %+v", got)
	}
}

// Of several that close a task, or ask for the same, at the same moment one does.
func TestRacesEndAsOne(t *testing.T) {
	o := newOffice(t)
	who := agent("bot", "")
	task, err := o.OpenTask(t.Context(), who, grant.TaskSpec{Purpose: "work"})
	if err != nil {
		t.Fatal(err)
	}
	ids, closed := make([]string, 16), make([]bool, 16)
	ask := wish(t, "say", grant.ScopeOnce, `{"n":1}`)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			got, err := o.Ask(t.Context(), who, ask)
			if err != nil {
				t.Error(err)
			}
			ids[i] = got.Request.ID
		})
		wg.Go(func() {
			_, err := o.CloseTask(t.Context(), who, task.ID, "")
			if closed[i] = err == nil; err != nil && access.CodeOf(err) != access.CodeConflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 1 || ids[0] == "" {
		t.Errorf("asking for one call made the requests %q", ids)
	}
	if n := len(slices.DeleteFunc(closed, func(ok bool) bool { return !ok })); n != 1 {
		t.Errorf("the task was closed %d times", n)
	}
}

// What cannot be kept as evidence does not happen.
func TestNothingHappensUnrecorded(t *testing.T) {
	o := newOffice(t)
	who := agent("bot", "")
	o.fault = &access.Error{Code: access.CodeEvidence, Msg: "evidence cannot be kept", Err: errors.New("disk full")}
	if _, err := o.OpenTask(t.Context(), who, grant.TaskSpec{Purpose: "work"}); access.CodeOf(err) != access.CodeEvidence {
		t.Errorf("a task opens: %v", err)
	}
	for _, tool := range []string{"say", "auto"} {
		if got, err := o.Ask(t.Context(), who, wish(t, tool, grant.ScopeOnce, `{}`)); access.CodeOf(err) != access.CodeEvidence || got.Grant.ID != "" {
			t.Errorf("asking for %s: %v %+v", tool, err, got)
		}
	}
	if got := o.Status(who); len(got.Tasks)+len(got.Requests)+len(got.Grants) != 0 {
		t.Errorf("something came of it: %+v", got)
	}
}

// An ask ends with its time, and a task with everything under it; whoever is
// granted something is told so, and is not asked to ask again.
func TestWhatWasAskedForEnds(t *testing.T) {
	o := newOffice(t)
	who := agent("bot", "")
	granted, err := o.Ask(t.Context(), who, wish(t, "auto", grant.ScopeOnce, `{}`))
	if err != nil || granted.Request.State != grant.RequestIssued || granted.Grant.State != grant.GrantActive || granted.Needless() {
		t.Fatalf("asking for what needs no person: %v %+v", err, granted)
	}
	if again, err := o.Ask(t.Context(), who, wish(t, "auto", grant.ScopeOnce, `{}`)); err != nil || !again.Needless() || again.Grant.ID != granted.Grant.ID {
		t.Errorf("asking again: %v %+v", err, again)
	}
	waits, err := o.Ask(t.Context(), who, wish(t, "say", grant.ScopeTime, ""))
	if err != nil || waits.Request.State != grant.RequestPending {
		t.Fatalf("asking for what needs a person: %v %+v", err, waits)
	}
	o.wait(time.Hour)
	if got := o.Status(who); len(got.Requests)+len(got.Grants) != 0 {
		t.Errorf("an hour later there is %+v", got)
	}
	if _, err := o.broker.Approve(t.Context(), waits.Request.ID, grant.Answer{By: "user:x", Method: "api"}); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("the request is approved too late: %v", err)
	}
	task, err := o.OpenTask(t.Context(), who, grant.TaskSpec{Purpose: "work", Life: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	o.wait(time.Minute)
	who.Task = task.ID
	if _, err := o.Ask(t.Context(), who, wish(t, "say", grant.ScopeTask, "")); access.CodeOf(err) != access.CodeDenied {
		t.Errorf("asking in a task that is over: %v", err)
	}
	who.Task = ""
	if _, err := o.CloseTask(t.Context(), who, "", ""); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("closing when none is open: %v", err)
	}
	if !slices.ContainsFunc(o.kept, func(s string) bool { return strings.HasPrefix(s, "agent:bot open Task") }) {
		t.Errorf("kept is %q", o.kept)
	}
}
