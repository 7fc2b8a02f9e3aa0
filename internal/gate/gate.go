// Package gate is the one path every request takes: the policy enforcement
// point.
//
// A transport authenticates, parses and then calls Do with a continuation that
// forwards. Do MUST NOT run the continuation before the decision permits and
// its intent is durable, and MUST NOT return a result before its outcome is
// durable; if either cannot be kept, nothing leaves and nothing is released
// (evidence.md E1, E3, E6). A denial is a value; an error means that the gate
// could not decide or could not keep the decision. Gate knows no protocol.
package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/inspect"
	"rutile/internal/pdp"
	"rutile/internal/registry"
)

// Evidence is what the gate needs of the log.
type Evidence interface {
	// Intent and Outcome return once the leaf is durable.
	Intent(ctx context.Context, i audit.Intent) (audit.Ref, error)
	Verdict(ctx context.Context, i audit.Intent) (audit.Ref, error)
	Outcome(ctx context.Context, o audit.Outcome) (audit.Ref, error)
	// Listed records through a bounded queue and waits when it is full.
	Listed(ctx context.Context, i audit.Intent) error
}

// Leaser opens a credential for one request.
type Leaser interface {
	Lease(ctx context.Context, r credential.LeaseRequest) (*credential.Lease, error)
}

// States gives the state to decide on: one consistent generation.
type States interface{ State() *pdp.State }

// Meter observes requests: counts, durations, spans. Implementations MUST NOT
// block and MUST NOT change what is decided.
type Meter interface {
	// Start begins the observation of a request.
	Start(ctx context.Context, r *access.Request) context.Context
	// Forward begins the observation of what is sent to server.
	Forward(ctx context.Context, r *access.Request, server *registry.Server) context.Context
	// Forwarded ends what Forward began.
	Forwarded(ctx context.Context, r *access.Request, status audit.Status, took time.Duration)
	// End ends what Start began. status is "" where nothing was dispatched.
	End(ctx context.Context, r *access.Request, d *access.Decision, status audit.Status, err error)
}

// Dispatch is what the continuation may use. It is valid until it returns.
type Dispatch struct {
	Decision *access.Decision
	Server   registry.Server
	Lease    *credential.Lease // nil if the server needs no credential
	Session  string            // the caller's, "" for requests of the gateway itself
	Who      access.Identity   // the caller, as it was judged; nobody for requests of the gateway itself
	// Arguments are what is to be sent instead of those of the request, where parts
	// of them are masked; nil if they are to be sent as they came.
	Arguments []byte

	judged  []byte    // what Arguments were before values were put in
	intent  audit.Ref // what an outcome belongs to
	outflow *outflow  // of what comes back; nil for requests of the gateway itself
}

// Forward sends the request and returns the final message. It relays earlier
// messages of a stream itself. On error the Response still says whether the
// upstream was reached.
type Forward func(ctx context.Context, d *Dispatch) (access.Response, error)

// Gate enforces decisions.
type Gate struct {
	states  States
	log     Evidence
	leases  Leaser
	meter   Meter
	grants  Grants
	facts   Ledger
	now     func() time.Time
	holding chan struct{} // one for each call that waits for others

	effects Effects
	engine  *inspect.Engine
	values  Placeholders
	labels  Labels
	clean   *access.Touched // of sessions nobody has to look at
	flows   flows
	pages   pages
	running running
	conduct Conduct    // nil: nobody is told
	risks   Risks      // nil: nothing is scored
	judge   *Consulted // nil: nobody is asked
}

// New returns a Gate. Every dependency is required.
func New(states States, log Evidence, leases Leaser, grants Grants, facts Ledger, effects Effects, engine *inspect.Engine, values Placeholders, labels Labels, meter Meter, now func() time.Time) (*Gate, error) {
	if states == nil || log == nil || leases == nil || grants == nil || facts == nil || effects == nil || engine == nil || values == nil || labels == nil || meter == nil || now == nil {
		return nil, errors.New("gate: a dependency is missing")
	}
	return &Gate{states: states, log: log, leases: leases, grants: grants, facts: facts, effects: effects, engine: engine, values: values, labels: labels, clean: &access.Touched{}, meter: meter, now: now, holding: make(chan struct{}, maxHolding)}, nil
}

// Do decides r and, if it is permitted, runs fwd under a durable intent.
//
// The Response is only meaningful if the Decision allows and err is nil. An
// error of fwd is returned after its outcome is recorded.
func (g *Gate) Do(ctx context.Context, r *access.Request, fwd Forward) (access.Response, access.Decision, error) {
	ctx = g.meter.Start(ctx, r)
	resp, dec, status, err := g.do(ctx, r, fwd)
	g.meter.End(ctx, r, &dec, status, err)
	return resp, dec, err
}

// maxSpent bounds how often a call is decided anew because other calls took what
// was left of the grant it was permitted under.
const maxSpent = 3

func (g *Gate) do(ctx context.Context, r *access.Request, fwd Forward) (access.Response, access.Decision, audit.Status, error) {
	if err := g.follow(ctx, r); err != nil {
		return access.Response{}, access.Decision{ID: r.ID}, "", err
	}
	var until time.Time // it waits for others
	for n := 1; ; {
		state := g.states.State()
		no, err := g.names(ctx, state, r)
		if err != nil {
			return access.Response{}, access.Decision{ID: r.ID}, "", err
		}
		if no != nil {
			dec, err := g.denied(ctx, state, r, *no)
			return access.Response{}, dec, "", err
		}
		ru := g.decide(ctx, state, r)
		if ru.Outcome == access.RequireApproval {
			var err error
			if state, err = g.ask(ctx, state, r, &ru); err != nil {
				return access.Response{}, access.Decision{ID: r.ID}, "", err
			}
		}
		dec := ru.Decision
		if !dec.Allowed() {
			if dec.Outcome != access.RequireApproval && len(dec.Consequences) == 0 && g.hold(ctx, state, r, &until) {
				continue
			}
			dec, err := g.denied(ctx, state, r, dec)
			return access.Response{}, dec, "", err
		}
		server, ok := state.View.Server(r.Server)
		if !ok {
			return access.Response{}, access.Decision{ID: r.ID}, "", access.Errorf(access.CodeInternal, "permitted a server that is not registered")
		}
		resp, status, err := g.dispatch(ctx, state, r, &ru, &dec, server, fwd)
		var m moved
		switch came := errors.As(err, &m); {
		case n < maxSpent && (came || errors.Is(err, errSpent)):
			n++
		case came && m.dec.Allowed(): // under something else, each time
			return access.Response{}, access.Decision{ID: r.ID}, status, errSpent
		case came:
			dec, err := g.denied(ctx, state, r, m.dec)
			return access.Response{}, dec, "", err
		default:
			return resp, dec, status, err
		}
	}
}

// denied carries out what a denial demands besides, and records it.
func (g *Gate) denied(ctx context.Context, state *pdp.State, r *access.Request, dec access.Decision) (access.Decision, error) {
	if dec.Outcome == access.RateLimit {
		dec.RetryAfter = g.retryAfter(ctx, state, r, dec.Limits)
	}
	g.rated(r, &dec)
	cerr := g.carry(ctx, r, &dec) // before anybody reads that it happened
	if _, err := g.log.Verdict(ctx, audit.Intent{Request: r, Decision: &dec}); err != nil {
		return access.Decision{ID: r.ID}, evidenceError("recording the verdict", err)
	}
	if cerr != nil {
		return access.Decision{ID: r.ID}, cerr
	}
	return dec, nil
}

func (g *Gate) decide(ctx context.Context, state *pdp.State, r *access.Request) pdp.Ruling {
	start := time.Now() // monotonic; the gate's clock may be a test's
	if no := g.refusal(r); no != nil {
		return pdp.Ruling{Decision: *no}
	}
	if why := g.task(r); why != nil {
		return pdp.Ruling{Decision: access.Decision{ID: r.ID, Class: access.ClassTask, Reason: why.Error(), Help: "open a task, or name one that is open"}}
	}
	g.look(ctx, state, r)
	g.touch(ctx, state, r)
	g.score(state, r)
	ru := pdp.Judge(state, r)
	ru.Duration = time.Since(start)
	return ru
}

// dispatch runs fwd between a durable intent and a durable outcome. dec is the
// decision of ru; where what came back is withheld it becomes that.
func (g *Gate) dispatch(ctx context.Context, state *pdp.State, r *access.Request, ru *pdp.Ruling, dec *access.Decision, server registry.Server, fwd Forward) (access.Response, audit.Status, error) {
	intent := audit.Intent{Request: r, Decision: dec, Arguments: ru.Arguments}
	d := &Dispatch{Decision: &ru.Decision, Server: server, Session: r.Who.Session, Who: r.Who, Arguments: ru.Arguments, judged: ru.Arguments,
		outflow: &outflow{gate: g, req: r, ruling: ru, screen: g.screenOf(r, &server, ru.ReadsData || g.labelled(ctx, r, ru))}}
	ctx, end := g.running.begin(ctx, r, underOf(r, &ru.Decision))
	defer end()
	if no := g.refusal(r); no != nil { // it was pronounced before the call could be cut
		var err error
		*dec, err = g.denied(ctx, state, r, *no)
		return access.Response{}, "", err
	}
	if g.states.State() != state { // what was taken out of use since is not cut: it was not seen
		if again := g.decide(ctx, g.states.State(), r); !again.Allowed() {
			return access.Response{}, "", moved{again.Decision}
		}
	}
	if len(r.Placeholders) > 0 {
		sent, values, err := g.restore(ctx, state, r, ru.Sent(r))
		if err != nil {
			return access.Response{}, audit.StatusRefused, g.refuse(ctx, r, dec, err)
		}
		d.Arguments, intent.Restored, d.outflow.restored = sent, sent, values
	}
	if c := server.Credential; c != nil {
		lease, err := g.leases.Lease(ctx, leaseRequest(r, dec, server, ru.Sent(r), true))
		if err != nil {
			return access.Response{}, audit.StatusRefused, g.refuse(ctx, r, dec, fmt.Errorf("leasing credential %q: %w", c.Ref, err))
		}
		d.Lease = lease
		defer d.Release()
		intent.Cred = c.Ref
		if lease != nil {
			intent.CredVer, intent.CredKind = lease.Version(), lease.Source()
		}
	}
	ref, err := g.log.Intent(ctx, intent)
	if err != nil {
		return access.Response{}, "", evidenceError("recording the intent", err)
	}
	d.intent, d.outflow.intent = ref, ref
	run, err := g.enter(ctx, state, r, ru, ref)
	if err != nil {
		return access.Response{}, audit.StatusRefused, g.refused(ctx, r, ref, d.unlocks(g.now()), err)
	}
	run.out, d.outflow.raised = d.outflow, run.raised
	returned := false
	var unlocks []audit.Unlock
	defer func() {
		if !returned { // it panicked, and nobody knows what it did before
			out := audit.Outcome{Request: r, Intent: ref, Status: audit.StatusUnknown, In: r.BytesIn, Unlocks: unlocks}
			d.outflow.dropped(&out)
			_, _ = g.log.Outcome(context.WithoutCancel(ctx), out)
			_ = run.close(ctx, audit.StatusUnknown, &access.Response{})
		}
	}()
	// Minting asks somebody else, so that it follows the intent (docs/decisions/0057).
	if err := d.ready(ctx); err != nil {
		returned = true
		if serr := run.close(ctx, audit.StatusRefused, &access.Response{Reached: access.ReachNo}); serr != nil {
			return access.Response{}, audit.StatusRefused, evidenceError("settling what the call used", serr)
		}
		return access.Response{}, audit.StatusRefused, g.refused(ctx, r, ref, nil, err)
	}
	if cut := (*cutError)(nil); errors.As(context.Cause(ctx), &cut) { // nothing was sent, and nothing is
		returned = true
		if serr := run.close(ctx, audit.StatusRefused, &access.Response{Reached: access.ReachNo}); serr != nil {
			return access.Response{}, audit.StatusRefused, evidenceError("settling what the call used", serr)
		}
		if err := g.refused(ctx, r, ref, nil, nil); err != nil {
			return access.Response{}, audit.StatusRefused, err
		}
		return access.Response{}, audit.StatusRefused, g.pronounce(r, dec, cut)
	}
	unlocks = d.unlocks(g.now())
	start := g.now()
	fctx := g.meter.Forward(ctx, r, &d.Server)
	resp, ferr := fwd(fctx, d)
	returned = true
	if now := d.unlocks(g.now()); len(now) > len(unlocks) { // the server did not take the first
		unlocks = append(unlocks, now[len(unlocks):]...)
	}
	resp.Body = d.Scrub(resp.Body)
	resp.Findings = d.findings(resp.Findings)
	came := resp.Body
	took := g.now().Sub(start)
	out := audit.Outcome{
		Request: r, Intent: ref, Status: statusOf(ctx, resp, ferr), Reached: resp.Reached.String(), Took: took,
		In: r.BytesIn, Out: len(resp.Body), Result: resp.Body, Findings: resp.Findings, Unlocks: unlocks,
	}
	ferr = g.answered(ctx, d, dec, &resp, ferr, &out)
	d.outflow.dropped(&out)
	g.conducted(state, d, came, &out)
	g.returned(d, came, &out)
	g.offer(d, &resp, &out)
	status := out.Status
	g.meter.Forwarded(fctx, r, status, took)
	// Before the outcome is released: what was used is used. Where it cannot be
	// kept the use stays reserved, which counts as used.
	serr := run.close(ctx, status, &resp)
	withheld := access.CodeOf(serr) == access.CodeDenied
	if withheld {
		out.Findings = append(out.Findings, "withheld.bytes_out_max")
	}
	// The outcome is kept even when the caller has gone away.
	if _, err := g.log.Outcome(context.WithoutCancel(ctx), out); err != nil {
		return access.Response{}, status, evidenceError("recording the outcome", err)
	}
	if withheld {
		return access.Response{Reached: resp.Reached}, status, serr
	}
	if serr != nil && ferr == nil {
		return access.Response{}, status, evidenceError("settling what the call used", serr)
	}
	return resp, status, ferr
}

// Intent is what Late is told of the call; who waits for input need keep no more.
func (d *Dispatch) Intent() audit.Ref { return d.intent }

// Late records how a dispatched call ended whose outcome said that it waits for
// input and that nobody came back for: a second outcome of the intent Do
// dispatched r with, which MUST have returned. A nil cause is a result nobody
// took.
func (g *Gate) Late(ctx context.Context, r *access.Request, intent audit.Ref, resp access.Response, cause error) error {
	out := audit.Outcome{Request: r, Intent: intent, Status: audit.StatusLateResult, Reached: resp.Reached.String(), Findings: resp.Findings}
	if cause != nil {
		out.Status = audit.StatusAbandoned
		out.Findings = append(out.Findings, "ended."+string(statusOf(ctx, resp, cause)))
	}
	_, err := g.log.Outcome(context.WithoutCancel(ctx), out)
	if err != nil {
		return evidenceError("recording how a call ended", err)
	}
	return g.settleWaiting(ctx, r)
}

// refuse records that a permitted call did not happen.
func (g *Gate) refuse(ctx context.Context, r *access.Request, dec *access.Decision, cause error) error {
	ref, err := g.log.Intent(ctx, audit.Intent{Request: r, Decision: dec})
	if err != nil {
		return evidenceError("recording a refused call", err)
	}
	return g.refused(ctx, r, ref, nil, cause)
}

// refused closes the intent of a call that did not happen after all.
func (g *Gate) refused(ctx context.Context, r *access.Request, intent audit.Ref, unlocks []audit.Unlock, cause error) error {
	_, err := g.log.Outcome(context.WithoutCancel(ctx), audit.Outcome{
		Request: r, Intent: intent, Status: audit.StatusRefused, Reached: access.ReachNo.String(), In: r.BytesIn, Unlocks: unlocks,
	})
	if err != nil {
		return evidenceError("recording a refused call", err)
	}
	return cause
}

// Check decides r where nothing of an agent's call is dispatched for it: a
// list, a handshake, a request of the server to the client. The decision is
// recorded through the bounded queue; a denial durably.
func (g *Gate) Check(ctx context.Context, r *access.Request) (access.Decision, error) {
	ctx = g.meter.Start(ctx, r)
	dec, err := g.check(ctx, r, nil)
	g.meter.End(ctx, r, &dec, "", err)
	return dec, err
}

// Recheck decides r anew, which is a call that goes on under d: what is sent of its
// arguments must still be what d says.
func (g *Gate) Recheck(ctx context.Context, r *access.Request, d *Dispatch) (access.Decision, error) {
	ctx = g.meter.Start(ctx, r)
	dec, err := g.check(ctx, r, d.judged)
	g.meter.End(ctx, r, &dec, "", err)
	return dec, err
}

func (g *Gate) check(ctx context.Context, r *access.Request, sent []byte) (access.Decision, error) {
	if err := g.follow(ctx, r); err != nil {
		return access.Decision{ID: r.ID}, err
	}
	ru := g.decide(ctx, g.states.State(), r)
	dec := ru.Decision
	if dec.Allowed() && !bytes.Equal(ru.Arguments, sent) { // nobody would send what is left of the arguments
		dec.Outcome, dec.Class, dec.Reason, dec.Help = access.Mask, access.ClassMask, "a rule wants parts masked that cannot be", "send it without them"
	}
	if !dec.Allowed() {
		return g.denied(ctx, g.states.State(), r, dec)
	}
	if err := g.log.Listed(ctx, audit.Intent{Request: r, Decision: &dec}); err != nil {
		return access.Decision{ID: r.ID}, evidenceError("recording a list", err)
	}
	return dec, nil
}

// Refuse records a request that was turned away before it could be decided,
// where its token shows whose it was.
func (g *Gate) Refuse(ctx context.Context, r *access.Request, why string) error {
	ctx = g.meter.Start(ctx, r)
	dec := access.Decision{ID: r.ID, Class: access.ClassAgent, Reason: why}
	_, err := g.log.Verdict(ctx, audit.Intent{Request: r, Decision: &dec})
	if err != nil {
		err = evidenceError("recording the verdict", err)
	}
	g.meter.End(ctx, r, &dec, "", err)
	return err
}

// Turn records a request that its own caller or a person ended before it was
// decided again; d says why.
func (g *Gate) Turn(ctx context.Context, r *access.Request, d *access.Decision) error {
	ctx = g.meter.Start(ctx, r)
	_, err := g.log.Verdict(ctx, audit.Intent{Request: r, Decision: d})
	if err != nil {
		err = evidenceError("recording the verdict", err)
	}
	g.meter.End(ctx, r, d, "", err)
	return err
}

// Lease opens the server's credential for a request of the gateway itself that
// Check permitted: a list or a handshake. It is nil if the server needs none.
func (g *Gate) Lease(ctx context.Context, r *access.Request, dec *access.Decision) (*Dispatch, error) {
	if !dec.Allowed() {
		return nil, access.Errorf(access.CodeDenied, "no lease without a permit")
	}
	server, ok := g.states.State().View.Server(r.Server)
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "server %q is not registered", r.Server)
	}
	d := &Dispatch{Decision: dec, Server: server, Session: r.Who.Session, Who: r.Who}
	if server.Credential == nil {
		return d, nil
	}
	lease, err := g.leases.Lease(ctx, leaseRequest(r, dec, server, r.Arguments, false))
	if err != nil {
		return nil, fmt.Errorf("leasing credential %q: %w", server.Credential.Ref, err)
	}
	d.Lease = lease
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// Again opens the credential of d for what lasts longer than the call r it was
// opened for: what was minted is shared with it.
func (g *Gate) Again(ctx context.Context, r *access.Request, d *Dispatch) (*Dispatch, error) {
	if d.Minted() {
		return d.Share()
	}
	return g.Lease(ctx, r, d.Decision)
}

// System opens what the gateway itself needs to look at a server that may be
// called: to list its definitions. No agent is behind it.
func (g *Gate) System(ctx context.Context, server string) (*Dispatch, error) {
	view := g.states.State().View
	if st := view.ServerStanding(server); !st.OK {
		return nil, access.Errorf(access.CodeConflict, "server %q cannot be looked at: %s", server, st.Why)
	}
	r := &access.Request{ID: access.NewID(access.PrefixDecision), At: g.now(), Protocol: "mcp", Method: "tools/list", Server: server, Kind: access.KindServer}
	return g.Lease(ctx, r, &access.Decision{ID: r.ID, Outcome: access.Permit})
}

// Visible reports whether r's target belongs in a list shown to its actor: some
// call of it would not be plainly denied (access.md 2.4).
func (g *Gate) Visible(r *access.Request) bool {
	if g.refusal(r) != nil {
		return false
	}
	if g.risks != nil && r.Risk == nil {
		r.Risk = g.risks.Peek(&r.Who)
	}
	return pdp.Visible(g.states.State(), r)
}

// State returns the state calls are decided on now.
func (g *Gate) State() *pdp.State { return g.states.State() }

func statusOf(ctx context.Context, resp access.Response, err error) audit.Status {
	switch {
	case err == nil && resp.Failed:
		return audit.StatusProtocolError
	case err == nil && resp.ToolErr:
		return audit.StatusToolError
	case err == nil && resp.Asked:
		return audit.StatusInputRequired
	case err == nil:
		return audit.StatusOK
	case access.CodeOf(err) == access.CodeTimeout || errors.Is(err, context.DeadlineExceeded):
		return audit.StatusTimeout
	case access.CodeOf(err) == access.CodeDenied:
		return audit.StatusRevoked // it was permitted when it began
	case ctx.Err() != nil || errors.Is(err, context.Canceled):
		return audit.StatusCancelled
	case resp.Reached == access.ReachNo:
		return audit.StatusRefused
	case access.CodeOf(err) == access.CodeUpstream:
		return audit.StatusProtocolError
	default:
		return audit.StatusUnknown
	}
}

func evidenceError(doing string, err error) error {
	return &access.Error{Code: access.CodeEvidence, Msg: "evidence cannot be kept, so nothing was done; see the gateway's log", Err: fmt.Errorf("%s: %w", doing, err)}
}
