package admin_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
	"rutile/internal/revocation"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// shaky is a store that refuses to commit grants while it is told to.
type shaky struct {
	*store.Store
	down atomic.Bool
}

func (s *shaky) CommitGrants(ctx context.Context, b grant.Batch) error {
	if s.down.Load() {
		return errDown
	}
	return s.Store.CommitGrants(ctx, b)
}

// road is traffic without any, and everybody else a revocation asks. under are the
// grants calls run under.
type road struct {
	under []string
	mu    sync.Mutex
	cut   []string
	asked []string // versions that were to be ended
	lives string   // why they cannot be
}

func (r *road) Catch(of func(*access.Request, string) bool) admin.Ending {
	return func(string, access.Class) admin.Cut {
		r.mu.Lock()
		defer r.mu.Unlock()
		n := 0
		for _, g := range r.under {
			if of(&access.Request{Server: "files"}, g) {
				n, r.cut = n+1, append(r.cut, g)
			}
		}
		return admin.Cut{Calls: n, Wait: func(context.Context) int { return 0 }, Late: func() int { return 0 }}
	}
}
func (r *road) Count(func(*access.Request, string) bool) int { return 0 }
func (r *road) End(func(*access.Identity) bool)              {}
func (r *road) EndServer(string)                             {}
func (r *road) Wake()                                        {}
func (r *road) SignOut(string) int                           { return 1 }
func (r *road) Gone(context.Context, string) bool            { return true }
func (r *road) Settle(context.Context, string) error         { return nil }
func (r *road) Await(context.Context, string, time.Time) []admin.Node {
	return []admin.Node{{Node: "n1", US: 1}}
}

func (r *road) end(_ context.Context, m grant.Minted, _ []byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, m.Version)
	return r.lives
}

// revoker is a desk over one store with what revokes.
type revoker struct {
	*counter
	*road
	effects  *admin.Effects
	sessions *identity.Sessions
	db       *shaky
	log      *revocation.Log
}

func newRevoker(t *testing.T) *revoker {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r := &revoker{counter: &counter{office: open(t), now: day}, road: &road{}, db: &shaky{Store: s}}
	r.apply(deskPeople + "---\nkind: Agent\nid: other\nowner: team-platform\n---\nkind: Agent\nid: third\nowner: team-platform\n---\n" + filesServer + "---\n" + deskRight)
	r.listing("files", "read", "reads")
	r.start()
	return r
}

// start is a gateway that starts on what is stored.
func (r *revoker) start() {
	r.t.Helper()
	var err error
	must := func() {
		if err != nil {
			r.t.Helper()
			r.t.Fatal(err)
		}
	}
	r.broker, err = grant.New(r.t.Context(), grant.Config{Node: "n1", Boot: access.NewID("")}, r.db, silent{}, silent{}, func() time.Time { return r.now })
	must()
	r.Desk, err = admin.NewDesk(r.Admin, r.broker, "https://gw", r.end, noCalls{})
	must()
	r.sessions, err = identity.NewSessions(r.t.Context(), r.db, func() {})
	must()
	r.log, err = revocation.NewLog(r.t.Context(), r.db)
	must()
	r.effects, err = admin.NewEffects(admin.EffectsDeps{Admin: r.Admin, Broker: r.broker, Sessions: r.sessions, Debts: r.road, Traffic: r.road, State: func() *pdp.State { return nil },
		Revoked: r.log, Peers: r.road, People: r.road, Issuer: "https://gw", Touched: func(context.Context, string) *access.Touched { return &access.Touched{} }, End: r.end})
	must()
	r.t.Cleanup(r.effects.Close)
}

// granted is a grant of bot for zoe that may be handed on, approved by these.
func (r *revoker) granted(by ...string) grant.Grant {
	r.t.Helper()
	q := r.wanted(len(by))
	for _, who := range by {
		if _, err := r.Approve(r.t.Context(), user(who), q.ID, grant.Answer{Reason: "fine"}); err != nil {
			r.t.Fatal(err)
		}
	}
	q, _, err := r.broker.Archive().Request(r.t.Context(), q.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.standing(q.Grant)
}

// wanted is a request that so many people must approve.
func (r *revoker) wanted(people int) grant.Request {
	r.t.Helper()
	own := access.NewID("")
	tag, err := rawjson.Parse([]byte(`{"tag":"`+own+`"}`), rawjson.Limits{})
	if err != nil {
		r.t.Fatal(err)
	}
	bounds, err := grant.ParseConstraints([]byte(`[{"at":"/tag","prefix":"` + own + `"}]`))
	if err != nil {
		r.t.Fatal(err)
	}
	tool, _ := r.Current().View.Tool("files", "read")
	e := &grant.Entitlement{ID: "deploys", Approve: grant.Rule{Quorum: people}}
	e.Delegate.MaxDepth = 3
	q, err := r.broker.Open(r.t.Context(), grant.Ask{Call: grant.Call{Party: grant.Party{Agent: "bot", Issuer: "https://gw", Subject: "zoe"}, Args: tag, At: r.now,
		Target: grant.Target{Server: "files", Kind: access.KindTool, Name: "read", Digest: tool.PinDigest, Tier: 2}}, Scope: grant.ScopeTime, Wanted: bounds, Entitlement: e})
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}

func (r *revoker) handed(of, to string, depth int) grant.Grant {
	r.t.Helper()
	g, err := r.broker.Delegate(r.t.Context(), grant.Party{}, grant.Handover{Grant: of, To: to, MaxDepth: depth, By: "user:oper", Reason: "help", May: func(grant.Grant) error { return nil }})
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

func (r *revoker) standing(id string) grant.Grant {
	r.t.Helper()
	g, ok, err := r.broker.Archive().Grant(r.t.Context(), id)
	if err != nil || !ok {
		r.t.Fatalf("grant %s: %t %v", id, ok, err)
	}
	return g
}

func (r *revoker) session(agent, subject string) identity.Family {
	r.t.Helper()
	at := time.Now() // sessions that are over by the machine's clock are swept
	f, err := r.db.JoinFamily(r.t.Context(), identity.Family{ID: access.NewID(access.PrefixSession), Agent: agent, Subject: subject, Proof: access.NewID(""), Source: identity.SourceDevelopment,
		Opened: at, Last: at, Absolute: at.Add(time.Hour)}, time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func (r *revoker) order(kind, id string) admin.Receipt {
	r.t.Helper()
	rec, err := r.effects.Revoke(r.t.Context(), ann, admin.Order{Kind: kind, ID: id, Reason: "a test"})
	if err != nil {
		r.t.Fatalf("revoking %s %s: %v", kind, id, err)
	}
	return rec
}

// unfinished are the revocations that are to be gone on with.
func (r *revoker) unfinished() int {
	r.t.Helper()
	list, err := r.log.Unfinished(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return len(list)
}

func sorted(list ...string) []string { slices.Sort(list); return list }
