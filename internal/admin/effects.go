package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/pdp"
	"rutile/internal/registry"
	"rutile/internal/revocation"
)

// Sessions is what effects need of the sessions of agents.
type Sessions interface {
	// Put gives the sessions of sel a state and returns those it changed. When it
	// returns nothing passes in them, and the leaf that owe made of each is owed.
	Put(ctx context.Context, sel identity.Selection, to identity.SessionState, why string, owe func(identity.Family) access.Owed) ([]identity.Family, error)
	// Refused reports what stands against a session, "" if nothing.
	Refused(id string) identity.SessionState
	// Release takes the quarantine from a session.
	Release(ctx context.Context, id string) (identity.Family, error)
	// Of returns the newest sessions of sel, in whatever state.
	Of(ctx context.Context, sel identity.Selection, limit int) ([]identity.Family, error)
	// List returns sessions, newest first.
	List(ctx context.Context, before string, limit int, held bool) ([]identity.Family, error)
}

// Debts are the leaves of changes that take effect first.
type Debts interface {
	// Settle returns once the leaves that a change owes are durable. What cannot be
	// written is owed still.
	Settle(ctx context.Context, id string) error
}

// Traffic is what runs for agents.
type Traffic interface {
	// Catch notes the calls that of says, by the grant each is made under; what it
	// returns ends them and what began since. What refuses new ones stands then.
	Catch(of func(r *access.Request, grant string) bool) Ending
	// Count is how many calls in flight of says there are.
	Count(of func(r *access.Request, grant string) bool) int
	// End ends what servers have for nobody but whom whose says: conversations,
	// processes, calls that wait for input.
	End(whose func(who *access.Identity) bool)
	// EndServer ends the processes of a server and the conversations with it.
	EndServer(id string)
	// Wake has streams look again whether they may go on.
	Wake()
}

// Ending ends calls that were caught: they end with why, and a denial of a class.
type Ending func(why string, class access.Class) Cut

// Cut is calls that were ended.
type Cut struct {
	Calls int
	// Wait returns when they have returned or ctx ends, and says how many have not.
	Wait func(ctx context.Context) int
	// Late says of how many a result came all the same, and was withheld.
	Late func() int
}

// EffectsDeps is what Effects stands on. All of it is required.
type EffectsDeps struct {
	Admin    *Admin
	Broker   *grant.Broker
	Sessions Sessions
	Debts    Debts
	Traffic  Traffic
	State    func() *pdp.State // what decisions are made on
	Revoked  *revocation.Log
	Peers    Peers
	People   People
	Issuer   string // of our people, as agents' tokens name them
	// Touched says what a session has touched.
	Touched func(ctx context.Context, session string) *access.Touched
	End     grant.Ender // has issuers end what was minted under a grant
	Scores  Scores      // nil where nothing is scored
	// Told takes receipts that were kept, amended ones too; nil where nobody listens.
	Told func(Receipt)
}

// Scores knows how unusual what sessions do is.
type Scores interface {
	// Of returns the scores of a session of an agent, for a person ("issuer|id" or "").
	Of(agent, session, person string) *access.Risk
	// PardonSession forgets what was held against a session.
	PardonSession(agent, session string)
}

// Effects carries out what rules and people demand of what is under way: it
// quarantines, revokes and terminates. It is safe for concurrent use, and what it is
// asked for twice it does once. Close must be called.
type Effects struct {
	admin    *Admin
	broker   *grant.Broker
	sessions Sessions
	debts    Debts
	traffic  Traffic
	state    func() *pdp.State
	revoked  *revocation.Log
	peers    Peers
	people   People
	issuer   string
	end      grant.Ender
	touched  func(ctx context.Context, session string) *access.Touched
	scores   Scores
	told     func(Receipt)

	mu      sync.Mutex
	busy    sync.Map        // revocations that are being carried out, by id
	partial sync.Map        // receipts to amend, by id
	life    context.Context // what is ended in the background ends with it
	stop    context.CancelFunc
	work    sync.WaitGroup
}

// NewEffects returns Effects.
func NewEffects(d EffectsDeps) (*Effects, error) {
	if d.Admin == nil || d.Broker == nil || d.Sessions == nil || d.Debts == nil || d.Traffic == nil || d.State == nil || d.Revoked == nil || d.Peers == nil || d.People == nil || d.Issuer == "" || d.Touched == nil || d.End == nil {
		return nil, errors.New("admin: a dependency is missing")
	}
	e := &Effects{admin: d.Admin, broker: d.Broker, sessions: d.Sessions, debts: d.Debts, traffic: d.Traffic, state: d.State,
		revoked: d.Revoked, peers: d.Peers, people: d.People, issuer: d.Issuer, end: d.End, touched: d.Touched, scores: d.Scores, told: d.Told}
	e.life, e.stop = context.WithCancel(context.Background())
	return e, nil
}

// Close waits until what is being ended in the background is ended or owed. It MUST be
// called before what that stands on is closed, and when nothing is carried out any more.
func (e *Effects) Close() {
	e.stop()
	e.work.Wait()
}

// Refusal says why nothing of who is permitted although its token was accepted, ""
// if nothing stands against it. Its token may have been accepted before this gateway
// heard of a revocation, of a session that was opened after it elsewhere.
func (e *Effects) Refusal(who *access.Identity) (access.Outcome, string) {
	switch e.sessions.Refused(who.Session) {
	case "":
		if e.revoked.Since(who.Actor.Agent, identity.SubjectOf(who.Subject), who.Session) > who.Epoch {
			return access.Revoke, "the access token is older than a revocation of its agent, its person or its session"
		}
		return access.Deny, ""
	case identity.SessionQuarantined:
		return access.Quarantine, "the session is quarantined"
	case identity.SessionTerminated:
		return access.Terminate, "the session was terminated"
	default:
		return access.Revoke, "the session was revoked"
	}
}

// Carry carries one consequence of dec out for the target it has in r. Where it is
// so already nothing changes. From its return on nothing of the target is permitted.
func (e *Effects) Carry(ctx context.Context, c access.Consequence, r *access.Request, dec *access.Decision) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	why := fmt.Sprintf("rule %s, decision %s", c.Policy, dec.ID)
	err := e.carry(ctx, c, r, dec, why)
	if err != nil {
		return &access.Error{Code: access.CodeUnavailable, Msg: "what a rule demands could not be done, and the call is denied; see the gateway's log",
			Err: fmt.Errorf("to %s the %s (%s): %w", c.Outcome, c.Target, why, err)}
	}
	return nil
}

func (e *Effects) carry(ctx context.Context, c access.Consequence, r *access.Request, dec *access.Decision, why string) error {
	switch c.Outcome {
	case access.Quarantine:
		err := e.quarantine(ctx, c.Target, r, why)
		e.traffic.Wake() // what it runs ends now, not at the next look
		return err
	case access.Revoke:
		return e.revoke(ctx, c.Target, r, dec, why)
	case access.Terminate:
		return e.terminate(ctx, selection(c.Target, &r.Who), why)
	default:
		return fmt.Errorf("outcome %s is no consequence", c.Outcome)
	}
}

// selection is the sessions a target stands for in a request.
func selection(t access.Target, who *access.Identity) identity.Selection {
	switch t {
	case access.TargetSession:
		return identity.Selection{ID: who.Session}
	case access.TargetAgent:
		return identity.Selection{Agent: who.Actor.Agent}
	case access.TargetSubject:
		return identity.Selection{Subject: identity.SubjectOf(who.Subject)} // none of an autonomous agent
	default:
		return identity.Selection{}
	}
}

// quarantine holds a target until a person lets it go. Where the gateway's own
// server is the target nothing more can be done than to deny.
func (e *Effects) quarantine(ctx context.Context, t access.Target, r *access.Request, why string) error {
	view := e.admin.Current().View
	var err error
	switch t {
	case access.TargetAgent:
		if a, ok := view.Agent(r.Who.Actor.Agent); !ok || !can(registry.AgentVerb(a.State, registry.AgentQuarantined)) {
			return nil
		}
		_, err = e.admin.ChangeAgent(ctx, System(), r.Who.Actor.Agent, registry.VerbQuarantine, why)
	case access.TargetServer:
		if s, ok := view.Server(r.Server); !ok || !can(registry.ServerVerb(s.State, registry.ServerQuarantined)) {
			return nil
		}
		_, err = e.admin.ChangeServer(ctx, System(), r.Server, registry.VerbQuarantine, why)
	case access.TargetTool:
		name := registry.NameOf(kindOf(r.Kind), r.Target)
		tool, ok := view.Tool(r.Server, name)
		if !ok {
			return nil
		}
		if _, err := registry.ChangeTool(tool, registry.VerbQuarantine); err != nil {
			return nil //nolint:nilerr // it is out of use already
		}
		_, err = e.admin.ChangeTool(ctx, System(), r.Server, name, registry.VerbQuarantine, why)
	case access.TargetSession:
		_, err = e.put(ctx, System(), selection(t, &r.Who), identity.SessionQuarantined, "quarantine", why)
	}
	return err
}

func can(v registry.Verb) bool { return v != "" }

func kindOf(k access.Kind) registry.Kind {
	switch k {
	case access.KindPrompt:
		return registry.KindPrompt
	case access.KindResource:
		return registry.KindResource
	default:
		return registry.KindTool
	}
}

// revoke takes rights back.
func (e *Effects) revoke(ctx context.Context, t access.Target, r *access.Request, dec *access.Decision, why string) error {
	switch t {
	case access.TargetGrant:
		return e.revokeGrants(ctx, r, dec, why)
	case access.TargetCredential:
		s, ok := e.admin.Current().View.Server(r.Server)
		if !ok || s.Credential == nil {
			return nil
		}
		end, err := e.admin.removeCredential(ctx, System(), s.Credential.Ref)
		if access.CodeOf(err) == access.CodeNotFound {
			return nil
		}
		if err == nil {
			e.work.Go(func() { end(e.life) }) // it is bounded, and an issuer must not hold up the call
		}
		return err
	default:
		return e.endOf(ctx, selection(t, &r.Who), identity.SessionRevoked, "revoke", why)
	}
}

// revokeGrants ends the grant the decision was made under, or where it was made
// under none those that cover the call. An allow-list is no grant to take back.
func (e *Effects) revokeGrants(ctx context.Context, r *access.Request, dec *access.Decision, why string) error {
	var ids []string
	if dec.Grant != "" {
		ids = append(ids, dec.Grant)
	} else if s := e.state(); s != nil && s.View != nil {
		call := pdp.CallOf(s, r)
		for _, g := range e.broker.Covering(&call) {
			ids = append(ids, g.ID)
		}
	}
	var errs error
	for _, id := range ids {
		_, err := e.broker.Revoke(ctx, id, system, why)
		if code := access.CodeOf(err); code != access.CodeNotFound && code != access.CodeConflict { // it has ended
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

// endOf gives sessions a state that ends them, and takes back the grants of whom they
// are all of.
func (e *Effects) endOf(ctx context.Context, sel identity.Selection, to identity.SessionState, verb, why string) error {
	_, err := e.put(ctx, System(), sel, to, verb, why)
	if sel.ID != "" || sel == (identity.Selection{}) {
		return err // the grants are the agent's, in other sessions too
	}
	_, gerr := e.broker.RevokeOf(ctx, func(p grant.Party) bool {
		return matches(sel, p.Agent, access.Subject{Issuer: p.Issuer, ID: p.Subject})
	}, system, why)
	return errors.Join(err, gerr)
}

// matches reports whether somebody is whom a selection is about.
func matches(sel identity.Selection, agent string, subject access.Subject) bool {
	return (sel.Agent == "" || sel.Agent == agent) && (sel.Subject == "" || sel.Subject == identity.SubjectOf(subject))
}

// terminate revokes and ends what runs.
func (e *Effects) terminate(ctx context.Context, sel identity.Selection, why string) error {
	if sel == (identity.Selection{}) {
		return nil
	}
	whose := func(who *access.Identity) bool {
		return (sel.ID == "" || sel.ID == who.Session) && matches(sel, who.Actor.Agent, who.Subject)
	}
	end := e.traffic.Catch(func(r *access.Request, _ string) bool { return whose(&r.Who) })
	err := e.endOf(ctx, sel, identity.SessionTerminated, "terminate", why)
	end("it was terminated", access.ClassAgent)
	e.traffic.End(whose)
	return err
}

// put gives sessions a state and records each that it changed. It stands even where
// it cannot be recorded at once, which is an error all the same: its leaves are kept
// with it and written as soon as they can be.
func (e *Effects) put(ctx context.Context, actor Actor, sel identity.Selection, to identity.SessionState, verb, why string) ([]identity.Family, error) {
	id := access.NewID(access.PrefixChange)
	changed, err := e.sessions.Put(ctx, sel, to, why, func(f identity.Family) access.Owed {
		return access.Owed{ID: id, Node: e.admin.cfg.Node, Actor: actor.String(), Verb: verb, Kind: kindSession, Object: f.ID, Reason: why,
			Detail: detailOf(map[string]string{"agent": f.Agent, "subject": f.Subject, "state": string(to)})}
	})
	if err != nil || len(changed) == 0 {
		return nil, err
	}
	e.traffic.Wake()
	return changed, e.debts.Settle(context.WithoutCancel(ctx), id)
}

// detailOf is a detail of a leaf; words are always JSON.
func detailOf(words map[string]string) json.RawMessage {
	raw, err := json.Marshal(words)
	if err != nil {
		return nil
	}
	return raw
}

const kindSession = "Session"
