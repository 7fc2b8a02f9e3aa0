package gate_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/gate"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// office is a gate with a real broker over a real store, both of which tell the
// evidence what they do.
type office struct {
	*gate.Gate
	t      *testing.T
	log    *written
	grants *traced
}

// traced notes what the gate does with uses among the leaves.
type traced struct {
	*grant.Broker
	log     *written
	before  func(id string) // a reservation
	failing error           // of the next reservation or settlement
}

func (s *traced) Reserve(ctx context.Context, id, decision string, args rawjson.Value, charges ...access.Charge) (grant.Use, error) {
	if s.before != nil {
		s.before(id)
	}
	if s.failing != nil {
		return grant.Use{}, s.failing
	}
	u, err := s.Broker.Reserve(ctx, id, decision, args, charges...)
	if err == nil {
		_, _ = s.log.add("reserve", "")
	}
	return u, err
}

func (s *traced) Settle(ctx context.Context, u grant.Use, to grant.State) error {
	if s.failing != nil {
		return s.failing
	}
	_, _ = s.log.add("settle", string(to))
	return s.Broker.Settle(ctx, u, to)
}

func (s *traced) Wait(u grant.Use, until time.Time) {
	_, _ = s.log.add("wait", "")
	s.Broker.Wait(u, until)
}

type nothing struct{}

func (nothing) Record(context.Context, []grant.Event) error { return nil }
func (nothing) Settle(context.Context, []access.Owed) error { return nil }
func (nothing) Seal(_ context.Context, _ string, b []byte) ([]byte, error) {
	return b, nil
}
func (nothing) Open(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }

// newOffice is a gateway where agents bot and other may ask to deploy by rule.
// Its broker's clock is a little ahead of when calls begin, as in life.
func newOffice(t *testing.T, rule grant.Rule, policies ...policy.Policy) *office {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w := &written{}
	clock := func() time.Time { return now.Add(7 * time.Millisecond) }
	b, err := grant.New(t.Context(), grant.Config{Node: "n1", Boot: "b1"}, s, nothing{}, nothing{}, clock)
	if err != nil {
		t.Fatal(err)
	}
	content := registry.Content{Servers: []registry.Server{{ID: "up", Owner: "team", State: registry.ServerSanctioned}}}
	for _, id := range []string{"bot", "other"} {
		content.Agents = append(content.Agents, registry.Agent{ID: id, Owner: "team", State: registry.AgentActive, Expires: now.Add(time.Hour)})
	}
	cat := policy.Catalog{Servers: []policy.ServerInfo{{ID: "up"}}, Entitlements: []policy.Entitlement{{ID: "deploys", Agents: []string{"bot", "other"}, Patterns: []string{"up/deploy"}}}}
	for _, name := range []string{"deploy", "never"} {
		content.Tools = append(content.Tools, registry.Tool{Server: "up", Name: name, State: registry.ToolApproved, SeenDigest: "sha256:1", PinDigest: "sha256:1", Class: registry.ToolClass{Class: "read"}})
		cat.Tools = append(cat.Tools, policy.ToolInfo{Server: "up", Name: name, Kind: access.KindTool, Classes: []string{"read"}})
	}
	view, err := registry.NewView(content)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(policies, cat)
	if err != nil {
		t.Fatal(err)
	}
	f := fixed{&pdp.State{View: view, Set: set, Grants: b, Entitlements: map[string]grant.Entitlement{"deploys": {ID: "deploys", Approve: rule}}}}
	o := &office{t: t, log: w, grants: &traced{Broker: b, log: w}}
	if o.Gate, err = gate.New(f, w, f, o.grants, noFacts{}, noEffects{}, engine(t), noValues{}, noLabels{}, f, clock); err != nil {
		t.Fatal(err)
	}
	return o
}

func call(t testing.TB, agent string, change ...func(*access.Request)) *access.Request {
	t.Helper()
	r := request()
	r.ID, r.Target, r.Who.Actor.Agent = access.NewID(access.PrefixDecision), "deploy", agent
	v, err := rawjson.Parse([]byte(`{"to":"prod"}`), rawjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r.Arguments = v
	for _, f := range change {
		f(r)
	}
	return r
}

// do makes a call that ends as resp and err say.
func (o *office) do(r *access.Request, resp access.Response, err error) (access.Response, access.Decision, error) {
	return o.Do(o.t.Context(), r, func(context.Context, *gate.Dispatch) (access.Response, error) {
		_, _ = o.log.add("run", "")
		return resp, err
	})
}

// grant makes one for bot by hand.
func (o *office) grant(uses int64) grant.Grant {
	o.t.Helper()
	g, err := o.grants.Create(o.t.Context(), grant.Spec{Party: grant.Party{Agent: "bot"}, Uses: uses, By: "user:ann",
		Target: grant.Target{Server: "up", Kind: access.KindTool, Name: "deploy", Digest: "sha256:1"}})
	if err != nil {
		o.t.Fatal(err)
	}
	return g
}

func (o *office) counts(id string) [2]int64 {
	o.t.Helper()
	g, _, err := o.grants.Archive().Grant(o.t.Context(), id)
	if err != nil {
		o.t.Fatal(err)
	}
	return [2]int64{g.Counts.Spent, g.Counts.Reserved}
}

func (o *office) leaves(what string, want ...string) {
	o.t.Helper()
	if d := cmp.Diff(want, o.log.leaves); d != "" {
		o.t.Errorf("%s (-want +got):\n%s", what, d)
	}
	o.log.leaves = nil
}

var fine = access.Response{Body: []byte("done"), Reached: access.ReachYes}

// TestAUseIsReservedBetweenIntentAndDispatch and spent before the result is
// released; an automatic grant covers the very call that asked for it.
func TestAUseIsReservedBetweenIntentAndDispatch(t *testing.T) {
	o := newOffice(t, grant.Rule{Auto: true})
	_, dec, err := o.do(call(t, "bot"), fine, nil)
	if err != nil || !dec.Allowed() || dec.Grant == "" || dec.Request == "" {
		t.Fatalf("%+v, %v", dec, err)
	}
	o.leaves("a call", "intent ", "reserve ", "run ", "settle committed", "outcome ok")
	if got := o.counts(dec.Grant); got != [2]int64{1, 0} {
		t.Errorf("counts %v", got)
	}
	_, again, _ := o.do(call(t, "bot"), fine, nil)
	if again.Grant == dec.Grant {
		t.Error("a grant of one use is used twice")
	}
}

// TestAskingIsRecordedAndDispatchesNothing, and joins what waits; once approved
// the same call passes, another does not.
func TestAskingIsRecordedAndDispatchesNothing(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	_, dec, err := o.do(call(t, "bot"), fine, nil)
	_, joined, _ := o.do(call(t, "bot"), fine, nil)
	if err != nil || dec.Outcome != access.RequireApproval || dec.Request == "" || joined.Request != dec.Request {
		t.Fatalf("%+v, %+v, %v", dec, joined, err)
	}
	o.leaves("two calls", "verdict ", "verdict ")
	if _, err := o.grants.Approve(t.Context(), dec.Request, grant.Answer{By: "user:ann"}); err != nil {
		t.Fatal(err)
	}
	otherArgs := func(r *access.Request) { r.Arguments = rawjson.Value{} }
	if _, dec, _ := o.do(call(t, "bot", otherArgs), fine, nil); dec.Allowed() {
		t.Error("other arguments pass")
	}
	if _, dec, _ := o.do(call(t, "other"), fine, nil); dec.Allowed() {
		t.Error("another agent passes")
	}
	o.log.leaves = nil
	if _, dec, err := o.do(call(t, "bot", func(r *access.Request) { r.At = now.Add(time.Second) }), fine, nil); err != nil || !dec.Allowed() {
		t.Errorf("approved: %+v, %v", dec, err)
	}
	o.leaves("approved", "intent ", "reserve ", "run ", "settle committed", "outcome ok")
	if _, dec, err := o.do(call(t, "bot", func(r *access.Request) { r.Target = "never" }), fine, nil); err != nil || dec.Outcome != access.Deny || dec.Request != "" {
		t.Errorf("what nobody may ask for: %+v, %v", dec, err)
	}
}

// TestASpentGrantIsDecidedAnew: the intent ends as refused, nothing runs, and
// the call falls back to what is left.
func TestASpentGrantIsDecidedAnew(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	g := o.grant(1)
	later := func(r *access.Request) { r.At = now.Add(time.Second) }
	o.grants.before = func(id string) { // another call is faster
		if _, err := o.grants.Broker.Reserve(t.Context(), id, access.NewID(access.PrefixDecision), rawjson.Value{}); err != nil {
			t.Error(err)
		}
	}
	_, dec, err := o.do(call(t, "bot", later), fine, nil)
	if err != nil || dec.Outcome != access.RequireApproval || dec.Grant != "" {
		t.Errorf("%+v, %v", dec, err)
	}
	o.leaves("a spent grant", "intent ", "outcome refused", "verdict ")
	if got := o.counts(g.ID); got != [2]int64{0, 1} {
		t.Errorf("counts %v", got)
	}
	for range 4 {
		o.grant(1)
	}
	_, _, err = o.do(call(t, "bot", later), fine, nil)
	if access.CodeOf(err) != access.CodeConflict {
		t.Errorf("spent again and again: %v", err)
	}
	o.leaves("spent again and again", "intent ", "outcome refused", "intent ", "outcome refused", "intent ", "outcome refused")
}

// TestUsesSettleAsTheCallEnds.
func TestUsesSettleAsTheCallEnds(t *testing.T) {
	lost := errors.New("the connection broke")
	for name, c := range map[string]struct {
		resp access.Response
		err  error
		want grant.State
	}{
		"ok":                     {fine, nil, grant.UseCommitted},
		"tool error":             {access.Response{ToolErr: true, Reached: access.ReachYes}, nil, grant.UseCommitted},
		"protocol error":         {access.Response{Failed: true, Reached: access.ReachYes}, nil, grant.UseCommitted},
		"never received":         {access.Response{Reached: access.ReachNo}, lost, grant.UseReleased},
		"never received in time": {access.Response{Reached: access.ReachNo}, context.DeadlineExceeded, grant.UseReleased},
		"nobody knows":           {access.Response{}, lost, grant.UseUnknown},
		"received and lost":      {access.Response{Reached: access.ReachYes}, lost, grant.UseUnknown},
		"timeout":                {access.Response{Reached: access.ReachYes}, context.DeadlineExceeded, grant.UseUnknown},
		"cancelled":              {access.Response{}, context.Canceled, grant.UseUnknown},
		"revoked meanwhile":      {access.Response{Reached: access.ReachYes}, access.Errorf(access.CodeDenied, "revoked"), grant.UseUnknown},
	} {
		o := newOffice(t, grant.Rule{Auto: true})
		_, dec, _ := o.do(call(t, "bot"), c.resp, c.err)
		us, err := o.grants.Archive().Uses(t.Context(), grant.Filter{Grant: dec.Grant})
		if err != nil || len(us) != 1 || us[0].State != c.want {
			t.Errorf("%s: %+v, %v, want %s", name, us, err, c.want)
		}
		if i, j := slices.Index(o.log.leaves, "settle "+string(c.want)), len(o.log.leaves)-1; i != j-1 {
			t.Errorf("%s: %q", name, o.log.leaves)
		}
	}
	o := newOffice(t, grant.Rule{Auto: true})
	r := call(t, "bot")
	func() {
		defer func() { _ = recover() }()
		_, _, _ = o.Do(t.Context(), r, func(context.Context, *gate.Dispatch) (access.Response, error) { panic("boom") })
	}()
	o.leaves("a panic", "intent ", "reserve ", "outcome unknown", "settle unknown")
}

// TestWhatIsRefusedSpendsNothing and dispatches nothing: a denial, evidence that
// cannot be kept, a store that fails.
func TestWhatIsRefusedSpendsNothing(t *testing.T) {
	later := func(r *access.Request) { r.At = now.Add(time.Second) }
	o := newOffice(t, grant.Rule{Quorum: 1})
	g := o.grant(1)
	if _, dec, _ := o.do(call(t, "bot", later, func(r *access.Request) { r.Target = "never" }), fine, nil); dec.Allowed() {
		t.Error("a grant of another tool permits")
	}
	if _, dec, _ := o.do(call(t, "bot", later, func(r *access.Request) { r.Task = "tsk_none" }), fine, nil); dec.Class != access.ClassTask {
		t.Errorf("a task of nobody: %+v", dec)
	}
	o.leaves("denied", "verdict ", "verdict ")
	o.log.refuse = "intent"
	if _, _, err := o.do(call(t, "bot", later), fine, nil); access.CodeOf(err) != access.CodeEvidence {
		t.Errorf("without an intent: %v", err)
	}
	o.leaves("without an intent")
	o.log.refuse, o.grants.failing = "", errors.New("the store is down")
	if _, _, err := o.do(call(t, "bot", later), fine, nil); !errors.Is(err, o.grants.failing) {
		t.Errorf("without a store: %v", err)
	}
	o.leaves("without a store", "intent ", "outcome refused")
	o.grants.failing = nil
	if got := o.counts(g.ID); got != [2]int64{} {
		t.Errorf("counts %v", got)
	}
	// What ran is spent although its result is withheld.
	o.log.refuse = "outcome"
	if resp, _, err := o.do(call(t, "bot", later), fine, nil); access.CodeOf(err) != access.CodeEvidence || len(resp.Body) != 0 {
		t.Errorf("without an outcome: %q, %v", resp.Body, err)
	}
	if got := o.counts(g.ID); got != [2]int64{1, 0} {
		t.Errorf("counts %v", got)
	}
	o.log.refuse = ""
	kept := o.grant(1)
	resp, _, err := o.Do(t.Context(), call(t, "bot", later), func(context.Context, *gate.Dispatch) (access.Response, error) {
		o.grants.failing = errors.New("the store is down")
		return fine, nil
	})
	if access.CodeOf(err) != access.CodeEvidence || len(resp.Body) != 0 {
		t.Errorf("that cannot be settled: %q, %v", resp.Body, err)
	}
	if got := o.counts(kept.ID); got != [2]int64{0, 1} {
		t.Errorf("counts %v, it must stay reserved", got)
	}
}

// TestACallThatWaitsForInputKeepsItsUse: it goes on under it, once; nobody else
// does, and a made-up use neither passes nor asks.
func TestACallThatWaitsForInputKeepsItsUse(t *testing.T) {
	later := func(r *access.Request) { r.At = now.Add(time.Second) }
	o := newOffice(t, grant.Rule{Auto: true})
	g := o.grant(1)
	asked := access.Response{Asked: true, Reached: access.ReachYes}
	first := call(t, "bot", later)
	if _, dec, err := o.do(first, asked, nil); err != nil || dec.Grant != g.ID || first.Use == "" {
		t.Fatalf("%+v, use %q, %v", dec, first.Use, err)
	}
	o.leaves("the first", "intent ", "reserve ", "run ", "wait ", "outcome "+string(audit.StatusInputRequired))
	with := func(use string) func(*access.Request) { return func(r *access.Request) { r.Use = use } }
	for name, r := range map[string]*access.Request{
		"another agent's": call(t, "other", later, with(first.Use)),
		"made up":         call(t, "bot", later, with("use_made_up")),
		"other task":      call(t, "bot", later, with(first.Use), func(r *access.Request) { r.Task = "tsk_none" }),
	} {
		if _, dec, err := o.do(r, fine, nil); err != nil || dec.Allowed() || dec.Request != "" {
			t.Errorf("%s: %+v, %v", name, dec, err)
		}
		o.leaves(name, "verdict ")
	}
	second := call(t, "bot", later, with(first.Use))
	if _, dec, err := o.do(second, asked, nil); err != nil || dec.Grant != g.ID { // it asks once more
		t.Fatalf("%+v, %v", dec, err)
	}
	third := call(t, "bot", later, with(second.Use))
	fourth := call(t, "bot", later, with(second.Use))
	o.log.leaves = nil
	_, _, err := o.Do(t.Context(), third, func(context.Context, *gate.Dispatch) (access.Response, error) {
		if _, _, err := o.do(fourth, fine, nil); access.CodeOf(err) != access.CodeDenied {
			t.Errorf("two go on at once: %v", err)
		}
		return fine, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o.leaves("the last", "intent ", "intent ", "outcome refused", "settle committed", "outcome ok")
	if got := o.counts(g.ID); got != [2]int64{1, 0} {
		t.Errorf("counts %v", got)
	}
	if _, dec, err := o.do(call(t, "bot", later, with(first.Use)), fine, nil); err != nil || dec.Allowed() {
		t.Errorf("after it ended: %+v, %v", dec, err)
	}
}

// TestWhoNeverComesBackSpends: what a call that waited for input did is unknown.
func TestWhoNeverComesBackSpends(t *testing.T) {
	o := newOffice(t, grant.Rule{Auto: true})
	r := call(t, "bot")
	var d *gate.Dispatch
	_, dec, err := o.Do(t.Context(), r, func(_ context.Context, given *gate.Dispatch) (access.Response, error) {
		d = given
		return access.Response{Asked: true, Reached: access.ReachYes}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := o.Late(t.Context(), r, d.Intent(), fine, errors.New("gone")); err != nil {
			t.Fatal(err)
		}
	}
	o.leaves("late", "intent ", "reserve ", "wait ", "outcome input_required", "outcome abandoned", "settle unknown", "outcome abandoned")
	if got := o.counts(dec.Grant); got != [2]int64{1, 0} {
		t.Errorf("counts %v", got)
	}
}

// TestABusyGrantDeniesAndAsksNobody: the call may come again, and no request waits.
func TestABusyGrantDeniesAndAsksNobody(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	g, err := o.grants.Create(t.Context(), grant.Spec{Party: grant.Party{Agent: "bot"}, By: "user:ann", Limits: grant.Limits{Concurrency: 1},
		Target: grant.Target{Server: "up", Kind: access.KindTool, Name: "deploy", Digest: "sha256:1"}})
	if err != nil {
		t.Fatal(err)
	}
	later := func(r *access.Request) { r.At = now.Add(time.Second) }
	_, dec, err := o.Do(t.Context(), call(t, "bot", later), func(context.Context, *gate.Dispatch) (access.Response, error) {
		_, dec, err := o.do(call(t, "bot", later), fine, nil)
		if err != nil || dec.Outcome != access.Deny || dec.Class != access.ClassBusy || dec.Request != "" {
			t.Errorf("a second call: %+v, %v", dec, err)
		}
		return fine, nil
	})
	if err != nil || dec.Grant != g.ID {
		t.Errorf("%+v, %v", dec, err)
	}
	if _, dec, err := o.do(call(t, "bot", later), fine, nil); err != nil || dec.Grant != g.ID {
		t.Errorf("after it: %+v, %v", dec, err)
	}
}

// TestAResultBeyondItsBytesIsWithheld, and its outcome says so.
func TestAResultBeyondItsBytesIsWithheld(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	_, err := o.grants.Create(t.Context(), grant.Spec{Party: grant.Party{Agent: "bot"}, By: "user:ann", Limits: grant.Limits{BytesOut: 6},
		Target: grant.Target{Server: "up", Kind: access.KindTool, Name: "deploy", Digest: "sha256:1"}})
	if err != nil {
		t.Fatal(err)
	}
	later := func(r *access.Request) { r.At = now.Add(time.Second) }
	if resp, _, err := o.do(call(t, "bot", later), fine, nil); err != nil || string(resp.Body) != "done" {
		t.Errorf("within: %q, %v", resp.Body, err)
	}
	o.log.leaves = nil
	resp, dec, err := o.do(call(t, "bot", later), fine, nil)
	if access.CodeOf(err) != access.CodeDenied || len(resp.Body) != 0 || !dec.Allowed() {
		t.Errorf("beyond: %q, %+v, %v", resp.Body, dec, err)
	}
	o.leaves("beyond", "intent ", "reserve ", "run ", "settle committed", "outcome ok")
	if _, dec, _ := o.do(call(t, "bot", later), fine, nil); dec.Outcome != access.RequireApproval {
		t.Errorf("after it: %+v", dec)
	}
}

// What a task of a call brings counts to the grant of the call, however often it is
// asked after and although the grant is used up, and is withheld beyond it; so do the
// messages of a stream.
func TestResultsOfTasksCountToTheGrantOfTheirCall(t *testing.T) {
	o := newOffice(t, grant.Rule{Quorum: 1})
	g, err := o.grants.Create(t.Context(), grant.Spec{Party: grant.Party{Agent: "bot"}, By: "user:ann", Uses: 1, Limits: grant.Limits{BytesOut: 20},
		Target: grant.Target{Server: "up", Kind: access.KindTool, Name: "deploy", Digest: "sha256:1"}})
	if err != nil {
		t.Fatal(err)
	}
	later := func(r *access.Request) { r.At = now.Add(time.Second) }
	made := call(t, "bot", later)
	if _, dec, err := o.Do(t.Context(), made, func(ctx context.Context, d *gate.Dispatch) (access.Response, error) {
		d.Passes(ctx, []byte("[1]"), nil)
		return access.Response{Body: []byte("task1"), Reached: access.ReachYes, Started: true}, nil
	}); err != nil || !dec.Allowed() {
		t.Fatal(dec, err)
	}
	after := func(r *access.Request) { later(r); r.Method, r.Follows, r.Use = "tasks/get", true, made.Use }
	for _, tt := range []struct {
		body  string
		total int64
		shown bool
	}{{"working", 15, true}, {"done!", 20, true}, {"more", 24, false}, {"x", 25, false}} {
		resp, dec, err := o.do(call(t, "bot", after), access.Response{Body: []byte(tt.body), Reached: access.ReachYes}, nil)
		if shown := err == nil && dec.Allowed() && string(resp.Body) == tt.body; shown != tt.shown || !tt.shown && (access.CodeOf(err) != access.CodeDenied || len(resp.Body) > 0) {
			t.Errorf("%q: %q, %+v, %v", tt.body, resp.Body, dec, err)
		}
		now, _, err := o.grants.Archive().Grant(t.Context(), g.ID)
		if err != nil || now.Counts.Bytes != tt.total {
			t.Errorf("after %q the grant counts %d bytes, want %d, %v", tt.body, now.Counts.Bytes, tt.total, err)
		}
	}
}
