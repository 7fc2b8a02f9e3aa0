// Package daemon reads the configuration, builds every part, runs and stops
// them.
//
// It is the only place that knows how parts fit together; it decides nothing
// about a request. A Daemon starts whole or not at all: every file, lock,
// address and log is opened and checked before the first listener serves, and
// what is open is closed again in reverse order. Stopping lets calls in flight
// finish within a bound, then cancels them, then closes the evidence.
package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/audit/witness"
	"rutile/internal/boundary"
	"rutile/internal/conduct"
	"rutile/internal/console"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/fact"
	"rutile/internal/gate"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/judge"
	"rutile/internal/mcpproxy"
	"rutile/internal/notice"
	"rutile/internal/rehearsal"
	"rutile/internal/revocation"
	"rutile/internal/risk"
	"rutile/internal/signal"
	"rutile/internal/signin"
	"rutile/internal/sink"
	"rutile/internal/store"
	"rutile/internal/webhook"
)

// StopTimeout bounds how long calls in flight may run on after a stop.
const StopTimeout = 10 * time.Second

// closeTimeout bounds how long each part may take to close after that. It cuts
// nothing short that evidence needs.
const closeTimeout = 5 * time.Second

// Daemon is a running gateway. Its parts are exported for the assembly above it
// (the command line, the demonstration, tests), which must not change them.
type Daemon struct {
	Config       Config
	AgentsURL    string // base address agents use
	OperatorsURL string
	Admin        *admin.Admin
	Desk         *admin.Desk
	Effects      *admin.Effects
	Inventory    *admin.Inventory
	Findings     *admin.Findings
	SignIns      *admin.SignIns
	Fleet        *admin.Fleet
	Evidence     *audit.Log
	Proxy        *mcpproxy.Proxy
	Links        *oauthclient.Links

	log       *slog.Logger
	version   string
	nodeID    string
	store     *store.Store
	vault     *credential.Vault
	mint      *credential.Mint
	authority *identity.Authority
	telemetry *telemetry
	recorder  *recorder
	debts     *audit.Debts
	uses      *uses
	views     *admin.Views
	owing     bool // settleDebts has said that something is owed
	states    states
	broker    *grant.Broker
	sessions  *identity.Sessions
	revoked   *revocation.Log
	facts     *fact.Ledger
	labels    *boundary.Labels
	hooks     *webhook.Sender
	sinks     *sink.Sender
	streams   *sink.Streams // of receivers of our signals
	stream    func(ctx context.Context, id, what string)
	signals   *signal.Receiver
	notices   *notice.Notifier
	witnesses *witness.Submitter // nil without witnesses
	gate      *gate.Gate
	conduct   *conduct.Book
	risks     *risk.Book
	alarming  sync.Mutex   // recorded calls are scored anew
	judge     *judge.Judge // nil without one
	stage     *rehearsal.Stage
	pages     *console.Console
	provider  *signin.Provider // nil where none is configured
	lis       *listeners
	fleet     http.Handler // machines that report
	clients   *clientconfig.Table
	closers   []closer
	work      sync.WaitGroup
	stop      context.CancelFunc
	stopOnce  sync.Once
	stopErr   error
	ready     chan struct{}
}

type closer struct {
	what  string
	close func(context.Context) error
}

// Options are what a process gives the daemon besides its configuration.
type Options struct {
	// MailRoots are the authorities that servers of mail are checked with; nil for those
	// of the machine.
	MailRoots *x509.CertPool
	Version   string
	Log       io.Writer // where logs go; default os.Stderr
	// Agents wraps the agents' handler. Tests use it to stand in for a client
	// that cannot send a token itself; there is no unauthenticated mode.
	Agents func(http.Handler) http.Handler
	// MCP holds the proxy's bounds; the daemon sets its addresses. The zero value
	// is the defaults, and tests shorten what would make them wait.
	MCP mcpproxy.Config
	// Home is whose machine this is: what discovery.watch says is watched there. Nil
	// watches nothing.
	Home *clientconfig.Home
	// ViewLease is how long a node that shares a database decides on what it last
	// read; 0 is the default, and tests shorten it.
	ViewLease time.Duration
}

// New builds a daemon, opens its listeners and serves. Close must be called.
func New(ctx context.Context, cfg Config, opt Options) (_ *Daemon, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = os.Stderr
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	d := &Daemon{Config: cfg, version: opt.Version, log: newLogger(cfg.Log, opt.Log), stop: stop, ready: make(chan struct{})}
	defer func() {
		if err != nil {
			_ = d.Close(context.WithoutCancel(ctx)) // the error of the start is the one to report
		}
	}()
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	if err := d.build(ctx, opt); err != nil {
		return nil, err
	}
	if err := d.askAgain(ctx); err != nil && ctx.Err() == nil { // who stops it already gets an orderly end
		return nil, fmt.Errorf("telling the webhooks what waits: %w", err)
	}
	d.work.Go(func() { d.relearn(run) })
	d.work.Go(func() { d.sweep(run) })
	d.work.Go(func() { d.erase(run) })
	d.work.Go(func() { d.retain(run) })
	d.work.Go(func() { d.remind(run) })
	d.work.Go(func() { d.finish(run) })
	d.work.Go(func() { d.sweepMinted(run) })
	d.work.Go(func() { d.reconcile(run) })
	d.work.Go(func() { d.prune(run) })
	d.watch(run, opt.Home)
	d.work.Go(func() { d.match(run) })
	d.work.Go(func() { d.withdraw(run) })
	d.work.Go(func() { d.followConduct(run) })
	d.work.Go(func() { d.followRisk(run) })
	d.work.Go(func() { d.followJudge(run) })
	d.work.Go(func() { d.followPeers(run) })
	d.work.Go(func() { d.resume(run) })
	if d.states.lease > 0 {
		d.work.Go(func() { d.refresh(run) })
	}
	close(d.ready)
	return d, nil
}

func (d *Daemon) closing(what string, f func(context.Context) error) {
	d.closers = append(d.closers, closer{what, f})
}

// open opens what holds state: data directory, store, vault, evidence.
func (d *Daemon) open(ctx context.Context) error {
	if err := dataDir(d.Config.Data); err != nil {
		return err
	}
	evidence := filepath.Join(d.Config.Data, "evidence")
	_, err := os.Stat(evidence)
	again := !errors.Is(err, os.ErrNotExist)
	_, err = os.Stat(filepath.Join(d.Config.Data, databaseName))
	lost := again && errors.Is(err, os.ErrNotExist) && d.Config.Store == "sqlite"
	if d.store, err = store.Open(ctx, store.Config{DSN: d.Config.Store, Dir: d.Config.Data, Log: d.log}); err != nil {
		return err
	}
	d.closing("store", d.closeStore)
	if lost {
		d.log.Warn("the database is new although there is evidence of an earlier start: what was registered, sealed and approved is gone; restore a backup, or apply the manifests again", "database", filepath.Join(d.Config.Data, databaseName))
	}
	if d.vault, err = credential.New(ctx, d.Config.vaultConfig(again), d.store); err != nil {
		return err
	}
	if d.vault.Pending() {
		d.log.Warn("what is sealed is still sealed by the key of vault.previous: run rutile credential rewrap")
	}
	if d.telemetry, err = newTelemetry(ctx, d.Config.Telemetry, d.version, d.log); err != nil {
		return err
	}
	d.closing("telemetry", d.telemetry.close)
	if d.nodeID, err = nodeID(d.Config.Data, evidence, again); err != nil {
		return err
	}
	d.Evidence, err = audit.Open(ctx, audit.Config{
		Dir: evidence, Node: d.nodeID, Tenant: tenant, Payloads: true,
		Origin:     d.Config.Evidence.Organisation + "/rutile/default/" + d.nodeID + "/1",
		Durability: d.Config.Evidence.Durability, Log: d.log, Witnesses: d.Config.Evidence.keys(), Quorum: d.Config.Evidence.Quorum,
		Retention: d.Config.Evidence.Retention.policy(),
	}, d.store, d.vault, d.store)
	if err != nil {
		return err
	}
	d.closing("evidence", d.Evidence.Close)
	d.Evidence.HoldFor(d.sinkBehind)                       // before anybody can order retention
	if err := d.Evidence.ResumeErasures(ctx); err != nil { // before anybody can see who is to be erased
		return err
	}
	if err := d.Evidence.PublishRetention(ctx); err != nil { // before there is a call; retain tries it again
		d.log.Error("what is kept for how long is not in the log yet; it is tried again", "error", access.Reasons(err))
	}
	d.recorder = &recorder{log: d.Evidence, t: d.telemetry}
	if d.debts, err = audit.NewDebts(d.Evidence, d.store, d.node()); err != nil {
		return err
	}
	d.settleDebts(ctx)
	return nil
}

// tenant is the only tenant of this version.
const tenant = "default"

// relearn looks at what servers list, now and again.
func (d *Daemon) relearn(ctx context.Context) {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		d.learnAll(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh keeps up with what other nodes commit. While it cannot, the view's
// lease runs out and nothing is permitted. It waits for nothing else: a server
// that is slow to list must not let the lease run out.
func (d *Daemon) refresh(ctx context.Context) {
	every := min(beatEvery, d.states.lease/4)
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		from := time.Now()
		bound, cancel := context.WithTimeout(ctx, d.states.lease/2)
		err := d.catchUp(bound)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			d.states.renewed(from)
			if failing {
				d.log.Info("reading what other nodes change again")
			}
		case !failing:
			d.log.Error("what other nodes change cannot be read; nothing is permitted until it can", "error", err, "after", d.states.lease)
		}
		failing = err != nil
	}
}

// catchUp takes over what other nodes committed. Where there is nothing it does
// not wait for a change this node is at.
func (d *Daemon) catchUp(ctx context.Context) error {
	// Read first: what of it is done stands in what is read after it.
	done, err := d.revoked.Refresh(ctx)
	if err != nil {
		return err
	}
	gen, err := d.store.Generation(ctx)
	if err == nil && gen != d.Admin.Current().View.Generation() {
		err = d.Admin.Refresh(ctx)
	}
	if err = errors.Join(err, d.vault.Reload(ctx), d.broker.Refresh(ctx), d.sessions.Refresh(ctx)); err != nil {
		d.revoked.Again(done)
		return err
	}
	d.follow(ctx, done)
	return d.store.Beat(ctx, d.node())
}

// Looks at the start: a few begin at once, and one that hangs delays nobody
// longer than its turn.
const (
	learnSlots = 8
	learnTurn  = 2 * time.Second
)

// learnAll looks at every server that may be called.
func (d *Daemon) learnAll(ctx context.Context) {
	view := d.Admin.Current().View
	var ids []string
	for _, s := range view.Servers() {
		if view.ServerStanding(s.ID).OK {
			ids = append(ids, s.ID)
		}
	}
	inTurn(ctx, ids, func(id string) {
		_ = d.Proxy.Learn(ctx, id) // logged there; the server is tried again later
	})
}

// inTurn looks at ids, learnSlots at once, and returns when every look that began
// is over. None begins after ctx ends.
func inTurn(ctx context.Context, ids []string, look func(id string)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, learnSlots)
	for _, id := range ids {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			free := sync.OnceFunc(func() { <-slots })
			defer free()
			defer time.AfterFunc(learnTurn, free).Stop()
			look(id)
		})
	}
	wg.Wait()
}

// Wait returns when a listener fails or ctx ends.
func (d *Daemon) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.lis.done:
		return err
	}
}

// Close stops the daemon: new requests are refused, calls in flight may finish
// within StopTimeout, then they are cancelled and the evidence is closed.
func (d *Daemon) Close(ctx context.Context) error {
	d.stopOnce.Do(func() { d.stopErr = d.close(ctx) })
	return d.stopErr
}

func (d *Daemon) close(ctx context.Context) error {
	d.stop()
	if d.stage != nil {
		d.stage.Stop(true)
	}
	if d.judge != nil { // it has servers listed, which nobody may any more
		d.judge.Close()
	}
	var errs []error
	if d.lis != nil {
		bound, cancel := context.WithTimeout(ctx, StopTimeout)
		if d.Proxy != nil {
			d.Proxy.Drain()
		}
		d.lis.shutdown(bound)
		cancel()
		d.lis.close()
	}
	d.work.Wait()
	if d.Proxy != nil {
		bound, cancel := context.WithTimeout(ctx, StopTimeout)
		if err := d.Proxy.Close(bound); err != nil {
			errs = append(errs, fmt.Errorf("ending upstream conversations: %w", err))
		}
		cancel()
	}
	for i := len(d.closers) - 1; i >= 0; i-- {
		bound, cancel := context.WithTimeout(ctx, closeTimeout)
		if err := d.closers[i].close(bound); err != nil {
			errs = append(errs, fmt.Errorf("closing the %s: %w", d.closers[i].what, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

// unlessAway is a closer that a database which does not answer does not make fail:
// what comes of that is said.
func (d *Daemon) unlessAway(f func(context.Context) error, so string) func(context.Context) error {
	return func(ctx context.Context) error {
		err := f(ctx)
		if c := access.CodeOf(err); c != access.CodeUnavailable && c != access.CodeTimeout {
			return err
		}
		d.log.Warn("the database does not answer: "+so, "error", access.Reasons(err))
		return nil
	}
}

// closeStore closes the database; one that does not answer is left to end with
// the process.
func (d *Daemon) closeStore(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- d.store.Close() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		d.log.Warn("the database does not answer; its connections are dropped")
		return nil
	}
}

func newLogger(cfg Log, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.level()}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
