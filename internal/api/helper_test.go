package api_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/boundary"
	"rutile/internal/credential"
	"rutile/internal/daemon"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/privilege"
	"rutile/internal/registry"
	"rutile/internal/rehearsal"
	"rutile/internal/signal"
	"rutile/internal/sink"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
	"rutile/internal/webhook"
)

const (
	token = "rut_test-token-of-forty-characters-in-all"
	host  = "127.0.0.1:7434"
	uid   = 4711
)

// rig is an API over the state of a real daemon, with doors of its own.
type rig struct {
	evidence *fakeEvidence
	t        *testing.T
	// broker is that of the desk; it keeps its grants apart from the daemon's.
	broker *grant.Broker
	d      *daemon.Daemon
	api    *api.API
	log    *buffer
	deps   api.Deps
	cfg    api.Config
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func startDaemon(t *testing.T) *daemon.Daemon {
	t.Helper()
	d, err := daemon.New(t.Context(), daemon.Config{
		Data: storetest.Dir(t), Mode: "enforce", Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"}, Log: daemon.Log{Level: "error"},
	}, daemon.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// links are one of ann and one of bob.
type links struct{}

func (links) List(context.Context) ([]credential.Link, error) {
	return []credential.Link{
		{ID: "lnk_1", Credential: "mail", Server: "up", Subject: access.Subject{Issuer: peopleIssuer, ID: "ann"}, State: credential.LinkActive, Sealed: []byte(secretValue)},
		{ID: "lnk_2", Credential: "mail", Server: "up", Subject: access.Subject{Issuer: peopleIssuer, ID: "bob"}, State: credential.LinkActive, Sealed: []byte(secretValue)},
		{ID: "lnk_3", Credential: "mail", Server: "up", Subject: access.Subject{Issuer: "https://elsewhere.example", ID: "ann"}, State: credential.LinkActive, Sealed: []byte(secretValue)},
	}, nil
}

func (l links) DisconnectOwn(ctx context.Context, who access.Subject, id, _ string) (string, error) {
	list, _ := l.List(ctx)
	for _, link := range list {
		if link.ID == id && link.Subject == who {
			return "", nil
		}
	}
	return "", access.Errorf(access.CodeNotFound, "there is no link %q", id)
}

func (links) Callbacks(string) []string { return nil }

// peopleIssuer is the issuer of our people.
const peopleIssuer = "https://us.example"

func (links) Disconnect(context.Context, string, string) (string, error) { return "left", nil }

func newRig(t *testing.T, change ...func(*api.Config, *api.Deps)) *rig {
	t.Helper()
	r := &rig{t: t, d: startDaemon(t), log: &buffer{}, evidence: &fakeEvidence{}}
	r.cfg = api.Config{Token: token, Hosts: []string{host}, UID: uid, Issuer: peopleIssuer, Log: slog.New(slog.NewTextHandler(r.log, nil))}
	r.deps = api.Deps{
		Touched: untouched{},
		Admin:   r.d.Admin, Evidence: r.evidence, Learn: func(context.Context, string) error { return nil },
		Status:  func(context.Context) api.Status { return api.Status{Version: "test"} },
		Process: func(registry.Server) *api.Process { return nil },
		Doctor:  func(context.Context) []api.Check { return nil },
		Links:   links{},
		SignInLink: func(admin.Actor) (string, time.Time, error) {
			return "http://127.0.0.1/console/enter?code=x", time.Time{}, nil
		},
		Rehearsal: idle{}, Privileges: idle{},
		Inventory: r.d.Inventory, Findings: r.d.Findings, Fleet: r.d.Fleet, SignIns: r.d.SignIns,
	}
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if r.broker, err = grant.New(t.Context(), grant.Config{Node: "n1", Boot: "b1"}, s, silent{}, silent{}, time.Now); err != nil {
		t.Fatal(err)
	}
	r.deps.Webhooks, r.deps.Sinks = untold{}, unsent{}
	r.deps.Heard, r.deps.Told, r.deps.Mailed = mute{}, deaf{}, mute{}
	if r.deps.Facts, err = fact.New(t.Context(), s, silent{}, false, time.Now); err != nil {
		t.Fatal(err)
	}
	if r.deps.Desk, err = admin.NewDesk(r.d.Admin, r.broker, "https://gw", func(context.Context, grant.Minted, []byte) string { return "" }, noCalls{}); err != nil {
		t.Fatal(err)
	}
	r.deps.Effects = r.d.Effects
	for _, f := range change {
		f(&r.cfg, &r.deps)
	}
	if r.api, err = api.New(r.cfg, r.deps); err != nil {
		t.Fatal(err)
	}
	return r
}

// idle rehearses nothing.
type idle struct{}

func (idle) Simulate(context.Context, string, admin.Draft, time.Duration, bool) (rehearsal.Status, error) {
	return rehearsal.Status{State: "running"}, nil
}
func (idle) Simulated(bool) rehearsal.Status { return rehearsal.Status{State: "none"} }
func (idle) Stop(bool) rehearsal.Status      { return rehearsal.Status{State: "none"} }
func (idle) Replay(context.Context, api.Replay, bool) (rehearsal.Report, error) {
	return rehearsal.Report{}, nil
}
func (idle) Alarms(context.Context, time.Time, string) (rehearsal.Alarms, error) {
	return rehearsal.Alarms{}, nil
}
func (idle) Explain(_ context.Context, id string, _ bool) (rehearsal.Explained, error) {
	return rehearsal.Explained{Decision: id, Outcome: "deny", Agent: "reader", Action: "files/read"}, nil
}
func (idle) Try(context.Context, admin.Draft, []api.ExplainRequest) (api.Tried, error) {
	return api.Tried{}, nil
}

func (idle) Report(context.Context, api.PrivilegeQuery) (privilege.Report, error) {
	return privilege.Report{Digest: "sha256:r"}, nil
}
func (idle) Access(context.Context, string, string) (privilege.Access, error) {
	return privilege.Access{}, nil
}
func (idle) Suggest(context.Context, api.PrivilegeQuery) (api.Suggested, error) {
	return api.Suggested{}, nil
}

// silent keeps no evidence and seals nothing.
type silent struct{}

func (silent) Record(context.Context, []grant.Event) error                { return nil }
func (silent) Settle(context.Context, []access.Owed) error                { return nil }
func (silent) Seal(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (silent) Open(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }

// fakeEvidence is a log of rows only.
type fakeEvidence struct {
	erased []audit.ErasureOrder

	retained []audit.RetentionOrder
	mu       sync.Mutex
	rows     []audit.Row
	err      error
	sent     audit.Query // of the newest export
	looks    uint64      // rows a part of a search looks at
}

func (e *fakeEvidence) add(rows ...audit.Row) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range rows {
		r.Index = uint64(len(e.rows))
		e.rows = append(e.rows, r)
	}
}

// end adds the leaf of an outcome to the row of leaf i.
func (e *fakeEvidence) end(i uint64, status string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := uint64(len(e.rows))
	r := &e.rows[i]
	r.Status, r.Ends = status, append(slices.Clip(r.Ends), n)
	e.rows = append(e.rows, audit.Row{Index: n, Type: audit.TypeOutcome, Intent: int64(i)})
}

func (e *fakeEvidence) Count(ctx context.Context, q audit.Query, most int) (int, error) {
	q.Limit = most
	rows, err := e.Search(ctx, q)
	return min(len(rows), most), err
}
func (e *fakeEvidence) Checkpoint() []byte  { return []byte("log\n1\n") }
func (e *fakeEvidence) VerifierKey() string { return "log+1+k" }

func (e *fakeEvidence) Size() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return uint64(len(e.rows))
}

// SearchPart looks at looks rows, or all where that is 0.
func (e *fakeEvidence) SearchPart(ctx context.Context, q audit.Query) (audit.Part, error) {
	floor := uint64(0)
	if before := q.Before; e.looks > 0 {
		if before == 0 || before > e.Size() {
			before = e.Size()
		}
		floor = before - min(before, e.looks)
	}
	rows, err := e.Search(ctx, q)
	p := audit.Part{Rows: slices.DeleteFunc(rows, func(r audit.Row) bool { return r.Index < floor })}
	if floor > 0 && len(p.Rows) < q.Limit {
		p.Below, p.Back = floor, e.rows[floor].At
	}
	return p, err
}

// Search knows what the API relies on: Before, From, Ascending, Following,
// Limit, Agent and Decision.
func (e *fakeEvidence) Search(_ context.Context, q audit.Query) ([]audit.Row, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []audit.Row
	rows := slices.Clone(e.rows)
	key := func(r audit.Row) uint64 {
		if q.Following {
			return r.Last()
		}
		return r.Index
	}
	slices.SortFunc(rows, func(a, b audit.Row) int { return cmp.Compare(key(a), key(b)) })
	if !q.Ascending {
		slices.Reverse(rows)
	}
	for _, r := range rows {
		if r.Type == audit.TypeOutcome { // it is in the row of its call
			continue
		}
		if q.Before > 0 && key(r) >= q.Before || q.Ascending && key(r) < q.From || q.Agent != "" && r.Agent != q.Agent || q.Decision != "" && r.Decision != q.Decision {
			continue
		}
		if out = append(out, r); len(out) == q.Limit {
			break
		}
	}
	return out, e.err
}

func (e *fakeEvidence) Show(_ context.Context, i uint64) (api.Leaf, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return api.Leaf{Row: e.rows[i], Raw: json.RawMessage(`{}`)}, e.err
}

func (e *fakeEvidence) Prove(_ context.Context, indices []uint64) (api.Proof, error) {
	var p api.Proof
	for _, i := range indices {
		p.Leaves = append(p.Leaves, api.Proven{Index: i})
	}
	return p, e.err
}

func (e *fakeEvidence) Export(_ context.Context, w io.Writer, q audit.Query, _ audit.ExportOptions) error {
	e.mu.Lock()
	e.sent = q
	e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	_, err := io.WriteString(w, "begun")
	return errors.Join(err, errors.New("the disk is full"))
}

func (e *fakeEvidence) Reindex(context.Context) error { return e.err }

func (e *fakeEvidence) PlanErasure(context.Context, string, string) (audit.ErasurePlan, error) {
	return audit.ErasurePlan{Issuers: []string{"https://idp.example"}, Keys: 2, Months: []int{202611}, Events: 3}, e.err
}

func (e *fakeEvidence) Erase(ctx context.Context, o audit.ErasureOrder) (audit.Erasure, audit.ErasurePlan, error) {
	plan, err := e.PlanErasure(ctx, o.Person, o.Issuer)
	e.erased = append(e.erased, o)
	return audit.Erasure{ID: "era_1"}, plan, err
}

func (e *fakeEvidence) PlanRetention(_ context.Context, o audit.RetentionOrder) (audit.RetentionPlan, error) {
	months := []int{202609}
	if o.Clock {
		months = append(months, 202610)
	}
	return audit.RetentionPlan{Months: months}, e.err
}

func (e *fakeEvidence) Retain(ctx context.Context, o audit.RetentionOrder) (audit.RetentionPlan, error) {
	e.retained = append(e.retained, o)
	return e.PlanRetention(ctx, o)
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) problem(t *testing.T) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("%d %q is no problem: %v", a.status, a.body, err)
	}
	return p
}

// request makes a request as a holder of the token.
func request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, "http://"+host+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func (r *rig) serve(h http.Handler, req *http.Request) answer {
	r.t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// do calls the operators' address.
func (r *rig) do(method, path, body string) answer {
	r.t.Helper()
	return r.serve(r.api.Remote(), request(method, path, body))
}

// ok calls it and fails the test unless it answers 200.
func (r *rig) ok(method, path, body string) string {
	r.t.Helper()
	a := r.do(method, path, body)
	if a.status != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a.body
}

// unsent is sinks that never began.
type unsent struct{}

func (unsent) Status(string) sink.Status { return sink.Status{State: sink.StateStopped} }

func (unsent) Refuses(string, uint64) error { return nil }

func (unsent) Skip(context.Context, string, uint64) error {
	return access.Errorf(access.CodeConflict, "it is not sending")
}

// mute is sources and mail that nothing is known of.
type mute struct{}

func (mute) Why(string) string             { return "" }
func (mute) Refusal(string) signal.Refusal { return signal.Refusal{} }
func (mute) Kept(context.Context) (map[string]signal.Kept, error) {
	return map[string]signal.Kept{}, nil
}
func (mute) Sent(string) time.Time                             { return time.Time{} }
func (mute) Test(_ context.Context, id string) (string, error) { return "tried " + id, nil }

// deaf is receivers that were told nothing.
type deaf struct{}

func (deaf) Status(context.Context, *sink.Sink) (sink.StreamStatus, error) {
	return sink.StreamStatus{}, nil
}
func (deaf) Test(_ context.Context, d *sink.Sink) (string, error) { return "told " + d.ID, nil }

// untold is webhooks that were told nothing.
type untold struct{}

func (untold) Status(string) webhook.Status { return webhook.Status{} }

// noCalls is that nothing runs.
type noCalls struct{}

func (noCalls) Recalling() func([]string) int { return func([]string) int { return 0 } }

// untouched is for sessions that have touched nothing.
type untouched struct{}

func (untouched) Marks(context.Context, string) ([]boundary.Mark, error) { return nil, nil }
