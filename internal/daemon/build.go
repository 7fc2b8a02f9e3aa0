package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/boundary"
	"rutile/internal/fact"
	"rutile/internal/gate"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/inspect"
	"rutile/internal/mcpproxy"
	"rutile/internal/oauth"
	"rutile/internal/pdp"
	"rutile/internal/petition"
	"rutile/internal/registry"
	"rutile/internal/rehearsal"
	"rutile/internal/revocation"
	"rutile/internal/ssf"
)

// build makes the parts that hold no state of their own and starts serving.
func (d *Daemon) build(ctx context.Context, opt Options) error {
	var certs *certificates
	var err error
	secure := d.Config.TLS.Cert != ""
	if secure {
		if certs, err = loadCertificates(d.Config.TLS, d.log); err != nil {
			return err
		}
	}
	if d.lis, err = d.listen(certs); err != nil {
		return err
	}
	d.AgentsURL, d.OperatorsURL = address(d.lis.agents, secure), address(d.lis.operators, secure)
	if d.Config.URLs.Agents != "" {
		d.AgentsURL = d.Config.URLs.Agents
	} else if !strings.Contains(d.AgentsURL, d.lis.agents.Addr().String()) {
		d.log.Warn("agents on other machines cannot use this address: write the one they use as urls.agents", "address", d.AgentsURL)
	}
	if d.Config.URLs.Operators != "" {
		d.OperatorsURL = d.Config.URLs.Operators
	}
	states := &d.states
	if d.revoked, err = d.enterLog(ctx); err != nil {
		return err
	}
	if d.authority, err = identity.New(ctx, identity.Config{Issuer: d.AgentsURL, Insecure: d.Config.Insecure}, d.store, d.vault, agents{states}, resources{states, d.AgentsURL}, d.revoked); err != nil {
		return err
	}
	if d.sessions, err = identity.NewSessions(ctx, d.store, d.authority.Invalidate); err != nil {
		return err
	}
	if d.broker, err = grant.New(ctx, grant.Config{Node: d.node(), Boot: access.NewID(""), Told: d.told}, d.store, grantRecorder{d.Evidence, d.debts}, d.vault, time.Now); err != nil {
		return err
	}
	states.grants = d.broker
	if d.facts, err = fact.New(ctx, d.store, d.vault, d.store.Dialect() != "sqlite", steady()); err != nil {
		return err
	}
	if d.Admin, err = admin.New(ctx, admin.Config{Ladder: d.Config.Risk.Ladder, Drift: d.Config.Inspection.Drift, Tier3: d.Config.Approvals.Tier3, BreakGlass: d.Config.Approvals.BreakGlass, Operators: d.signingAt(), Node: d.node(), Mode: d.mode(), Guards: admin.Guards(d.Config.Lifecycle.Guards)}, admin.Deps{
		Store: d.store, Registry: d.store, Evidence: d.Evidence, Vault: sealing{d.vault, d}, Authority: tokens{d.authority, d.AgentsURL, d.broker}, Now: time.Now, LastUse: d.lastUse, Usage: d.usage, Resumed: d.pardon,
	}); err != nil {
		return err
	}
	states.admin.Store(d.Admin)
	if d.store.Dialect() != "sqlite" { // else nobody else changes what is stored
		states.lease = viewLease
		if opt.ViewLease > 0 {
			states.lease = opt.ViewLease
		}
	}
	if d.Desk, err = admin.NewDesk(d.Admin, d.broker, d.AgentsURL, d.end, traffic{d}); err != nil {
		return err
	}
	if d.Effects, err = admin.NewEffects(admin.EffectsDeps{
		Admin: d.Admin, Broker: d.broker, Sessions: d.sessions, Debts: d.debts, Traffic: traffic{d}, State: states.State,
		Revoked: d.revoked, Peers: peers{d}, People: people{d}, Issuer: d.AgentsURL, End: d.end, Scores: scores{d}, Told: d.tellReceipt,
		Touched: func(ctx context.Context, session string) *access.Touched { return d.labels.Of(ctx, session) },
	}); err != nil {
		return err
	}
	if err = d.buildInventory(); err != nil {
		return err
	}
	if err = d.buildSignIns(); err != nil {
		return err
	}
	if d.stage, err = rehearsal.NewStage(states, d.held, func() time.Time { return time.Now().UTC() }); err != nil {
		return err
	}
	if err := d.buildWebhooks(); err != nil {
		return err
	}
	if err := d.buildSinks(); err != nil {
		return err
	}
	if err := d.buildWitnesses(); err != nil {
		return err
	}
	if err := d.buildMint(); err != nil {
		return err
	}
	d.closing("consequences", func(context.Context) error { d.Effects.Close(); return nil })
	values, err := boundary.New(d.store, d.vault, time.Now)
	if err != nil {
		return err
	}
	if d.labels, err = boundary.NewLabels(d.store, values, d.store.Dialect() != "sqlite", time.Now); err != nil {
		return err
	}
	engine, err := inspect.New()
	if err != nil {
		return err
	}
	if d.gate, err = gate.New(states, d.recorder, d.mint, d.broker, d.facts, d.Effects, engine, values, d.labels, observed{d.telemetry, d.stage}, time.Now); err != nil {
		return err
	}
	if err := d.watchConduct(ctx); err != nil {
		return err
	}
	if err := d.scoreRisk(ctx); err != nil {
		return err
	}
	if err := d.consultJudge(ctx, engine); err != nil {
		return err
	}
	mcp := d.Config.Limits.over(opt.MCP)
	mcp.URL, mcp.Hosts, mcp.Egress = d.AgentsURL, hostsOf(d.lis.agents, d.Config.Listen.Agents, d.AgentsURL), d.egress()
	mcp.ApprovalURL, mcp.Connect = d.ApprovalURL, d.connect()
	mcp.Extensions = append(mcp.Extensions, d.Config.MCP.Extensions...)
	if mcp.Private, err = d.private(); err != nil {
		return err
	}
	mcp.Homes, mcp.Ended = filepath.Join(mcp.Private[0], "servers"), d.telemetry.sessionEnded
	petitions, err := petition.New(states, d.broker, time.Now)
	if err != nil {
		return err
	}
	petitions.Score(scores{d}.Peek)
	d.Proxy, err = mcpproxy.New(mcp, d.gate, d.authority, catalog{d.Admin}, petitions, d.vault, d.log)
	if err != nil {
		return err
	}
	authz, err := oauth.New(oauth.Config{Enroll: d.redeem, Log: d.log}, d.authority, resources{states, d.AgentsURL})
	if err != nil {
		return err
	}
	// What an earlier process began is ended before anybody is served.
	if err := d.Effects.Recall(ctx); err != nil {
		return err
	}
	if err := d.Effects.Resume(ctx); err != nil {
		return fmt.Errorf("carrying out what was revoked before: %w", err)
	}
	if err := d.buildSignals(); err != nil {
		return err
	}
	if err := d.buildNotices(opt.MailRoots); err != nil {
		return err
	}
	return d.serve(opt, authz)
}

// enterLog reads what was revoked. Where others share the database this node says
// first that it is there: who revokes something while it reads waits for it.
func (d *Daemon) enterLog(ctx context.Context) (*revocation.Log, error) {
	if d.store.Dialect() != "sqlite" {
		d.states.renewed(time.Now()) // before: no view outlives what others know of it
		if err := d.store.Beat(ctx, d.node()); err != nil {
			return nil, err
		}
		leave := func(ctx context.Context) error { return d.store.Leave(ctx, d.node()) }
		d.closing("place among the gateways", d.unlessAway(leave, "others wait for this gateway until its lease lapses"))
	}
	return revocation.NewLog(ctx, d.store)
}

// redeem adds a key to an agent with an enrollment code.
func (d *Daemon) redeem(ctx context.Context, request string) (agent, key string, err error) {
	e, err := d.authority.ReadEnrollment(request)
	if err != nil {
		return "", "", err
	}
	return e.Agent, identity.KeyID(e.Key), d.Admin.Redeem(ctx, e)
}

func (d *Daemon) serve(opt Options, authz http.Handler) error {
	mux := http.NewServeMux()
	for _, p := range []string{"/mcp", "/mcp/"} {
		mux.Handle(p, d.Proxy)
	}
	authz = d.ownHosts(d.lis.agents, d.Config.Listen.Agents, d.AgentsURL, slowBody(authz))
	for _, p := range []string{"/oauth/", "/.well-known/"} {
		mux.Handle(p, authz)
	}
	if strings.HasPrefix(d.AgentsURL, "https://") {
		mux.Handle("GET "+strings.TrimSuffix(clientDocument, ".json")+"/{file}", d.ownHosts(d.lis.agents, d.Config.Listen.Agents, d.AgentsURL, http.HandlerFunc(d.serveClientDocument)))
		mux.Handle("GET "+clientDocument, d.ownHosts(d.lis.agents, d.Config.Listen.Agents, d.AgentsURL, http.HandlerFunc(d.serveClientDocument)))
	}
	if err := d.catalogue(mux); err != nil {
		return err
	}
	agentsHandler := unreadBody(mux)
	if opt.Agents != nil {
		agentsHandler = opt.Agents(agentsHandler)
	}
	local, remote, err := d.operators()
	if err != nil {
		return err
	}
	mux.Handle("POST "+ssf.Path+"{source}", d.ownHosts(d.lis.agents, d.Config.Listen.Agents, d.AgentsURL, slowBody(ssf.Push(d.signals, d.log))))
	ssf.NewTransmitter(strings.TrimSuffix(d.AgentsURL, "/"), strings.TrimSuffix(d.AgentsURL, "/")+identity.JWKSPath, d.streams, d.stream, d.log).Register(func(pattern string, h http.Handler) {
		mux.Handle(pattern, d.ownHosts(d.lis.agents, d.Config.Listen.Agents, d.AgentsURL, slowBody(h)))
	})
	mux.Handle("POST "+api.FleetPath, d.ownHosts(d.lis.agents, d.Config.Listen.Agents, d.AgentsURL, slowBody(d.fleet)))
	d.metrics()
	d.lis.serve(d.lis.agents, "agents", agentsHandler, d.log, nil)
	d.lis.serve(d.lis.operators, "operators", slowBody(remote), d.log, nil)
	d.lis.serve(d.lis.socket, "socket", slowBody(local), d.log, api.ConnContext)
	return nil
}

// mode says whether policy enforces (contract.md, "Mode").
func (d *Daemon) mode() admin.Mode {
	switch {
	case d.Config.Mode == "monitor":
		return admin.ModeMonitor
	case d.Config.Mode == "enforce" || d.Config.file != "":
		return admin.ModeEnforce
	default:
		return admin.ModeBare
	}
}

// private lists what no server's process may be granted: our data, with the
// vault, the evidence and the socket in it, and the files of our configuration.
func (d *Daemon) private() ([]string, error) {
	var out []string
	for _, name := range []string{d.Config.Data, d.Config.file, d.Config.TLS.Key} {
		if name == "" {
			continue
		}
		abs, err := filepath.Abs(name) // a process has another working directory
		if err != nil {
			return nil, fmt.Errorf("finding what is private: %w", err)
		}
		out = append(out, abs)
	}
	return out, nil
}

// egress lets upstreams live on loopback only behind a loopback listener, or
// where a range of the configuration says so.
func (d *Daemon) egress() mcpproxy.Egress {
	e := mcpproxy.Egress{Loopback: loopback(d.lis.agents.Addr().String()), Proxy: d.Config.Egress.Proxy}
	for _, r := range d.Config.Egress.Allow {
		if p, err := netip.ParsePrefix(r); err == nil { // checked when the configuration was read
			e.Allow = append(e.Allow, p.Masked())
		}
	}
	return e
}

// viewLease is how long decisions are made on a view that cannot be compared
// with the store. Other nodes may have suspended an agent meanwhile.
const viewLease = 10 * time.Second

// states gives the gate the state admin holds, as the decision point reads it.
type states struct {
	admin  atomic.Pointer[admin.Admin]
	last   atomic.Pointer[converted]
	grants pdp.Grants
	lease  time.Duration             // how long a view may go without being compared; 0: for ever
	fresh  atomic.Pointer[time.Time] // when it was compared last
}

type converted struct {
	from  *admin.Current
	state *pdp.State
}

// renewed says that the view was the store's at this time.
func (s *states) renewed(at time.Time) { s.fresh.Store(&at) }

// expired reports whether the view is too old to decide on. It goes by the
// monotonic clock, so that setting the wall clock changes nothing.
func (s *states) expired() bool {
	return s.lease > 0 && time.Since(*s.fresh.Load()) > s.lease
}

// State returns the state of one generation, with the gateway's own server in it.
// One that has expired holds no policies and so permits nothing.
func (s *states) State() *pdp.State {
	by := s.admin.Load()
	cur := by.Current()
	c := s.last.Load()
	if c == nil || c.from != cur {
		c = &converted{from: cur, state: &pdp.State{View: cur.View.WithOwn(), Set: cur.Set, Monitor: cur.Monitor, Grants: s.grants, Entitlements: cur.Rights, Answer: by.Answer(),
			Facts: fact.NewPlan(cur.Facts, cur.Set.FactsRead(), cur.Set.FactsEnforced())}}
		s.last.Store(c)
	}
	if s.expired() {
		return &pdp.State{View: c.state.View}
	}
	return c.state
}

// agents tells identity which agents may authenticate.
type agents struct{ *states }

// AgentKeys returns the agent's public keys, or why it may not authenticate.
func (a agents) AgentKeys(id string) ([]json.RawMessage, error) {
	ag, ok := a.admin.Load().Current().View.Agent(id)
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "agent %q is not registered; apply a manifest for it", id)
	}
	return ag.Keys, registry.Usable(ag, time.Now())
}

// Generation changes whenever what AgentKeys says may have changed.
func (a agents) Generation() uint64 { return a.admin.Load().Current().View.Generation() }

// resources tells which resource identifiers exist (RFC 8707).
type resources struct {
	*states
	base string
}

// Known reports whether uri is the resource identifier of a server or of the
// aggregate.
func (r resources) Known(uri string) bool {
	id, ok := identity.ParseResource(r.base, uri)
	if !ok || id == "" {
		return ok
	}
	s, ok := r.admin.Load().Current().View.Server(id)
	if id == access.OwnServer {
		return true
	}
	return ok && s.State != registry.ServerBlocked && s.State != registry.ServerRetired
}

// tokens issues development tokens for admin.
type tokens struct {
	authority *identity.Authority
	base      string
	broker    *grant.Broker
}

// DevelopmentToken issues a token for the server's resource, or the aggregate's.
func (t tokens) DevelopmentToken(ctx context.Context, r admin.TokenRequest) (identity.Token, error) {
	if r.A2A != "" {
		return identity.Token{}, access.Errorf(access.CodeUnsupported, "A2A endpoints are not served by this version; use --server")
	}
	server := r.Server
	if server == "*" {
		server = "" // the aggregate's
	}
	if r.Task != "" {
		who := access.Identity{Actor: access.Actor{Agent: r.Agent}}
		if r.Subject != "" {
			who.Subject = access.Subject{Issuer: t.base, ID: r.Subject}
		}
		if _, err := t.broker.TaskOf(who, r.Task, time.Now()); err != nil {
			return identity.Token{}, access.Errorf(access.CodeInvalid, "%w; open one with: rutile task open %s --purpose …", err, r.Agent)
		}
	}
	return t.authority.Development(ctx, r.Agent, identity.Resource(t.base, server), r.Subject, r.Task, r.TTL)
}

// catalog hands admin what servers list.
type catalog struct{ admin *admin.Admin }

// Observe records a listing; new decisions see it when Observe returns.
func (c catalog) Observe(ctx context.Context, server string, l registry.Listing) error {
	_, err := c.admin.Observe(ctx, server, l)
	return err
}
