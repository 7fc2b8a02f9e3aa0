package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/revocation"
)

// Peers are the gateways that share a database with this one.
type Peers interface {
	// Await returns once every one that is there has carried a revocation out, or its
	// lease has lapsed; began is when it was ordered.
	Await(ctx context.Context, id string, began time.Time) []Node
	// Gone reports whether a node has not been heard of for longer than its lease.
	Gone(ctx context.Context, node string) bool
}

// People are who is signed in to the console.
type People interface {
	// SignOut ends what an actor ("user:…") is signed in with and says how much it was.
	SignOut(actor string) int
}

// Order is what somebody wants revoked.
type Order struct {
	Kind   string
	ID     string
	Reason string
	Verb   string // VerbRevoke where it is ""
}

// The verbs of an Order.
const (
	VerbRevoke    = "revoke"
	VerbTerminate = "terminate" // the same, where somebody kills a session
)

// prefixRevocation starts the id of a revocation.
const prefixRevocation = "rev_"

// cutTime bounds how long a receipt waits for calls to return that were cut.
const cutTime = time.Second

// job is a revocation that is being carried out.
type job struct {
	*Receipt
	began time.Time
	cut   Cut
	// made is what lived of what was minted under the grants, before they ended.
	made  map[string][]grant.Minted
	later func(context.Context) credential.Ended // nil for nothing
	open  bool                                   // some of it could not be done: it has no receipt yet
}

// did notes how a step went.
func (j *job) did(err error) error {
	j.open = j.open || err != nil
	return err
}

// Revoke ends what o names and everything that hangs on it. From its return on nothing
// of the target is permitted, on no gateway that shares the database (access.md,
// invariant 9). The receipt says what it came to; with an error it says what of it
// stands all the same.
func (e *Effects) Revoke(ctx context.Context, actor Actor, o Order) (Receipt, error) {
	began := time.Now() // the gateway's clock may be a test's
	s, err := e.ordered(ctx, actor, &o)
	if err != nil {
		return Receipt{}, err
	}
	ctx = context.WithoutCancel(ctx) // whoever asked going away must not leave half of it
	again := e.revoked.Last(s.target) > 0
	verb := o.Verb
	if verb == "" {
		verb = VerbRevoke
	}
	id := prefixRevocation + access.NewID("")
	e.busy.Store(id, true)
	defer e.busy.Delete(id)
	catch := e.traffic.Catch(s.calls)
	e.mu.Lock()
	entry, err := e.enter(ctx, revocation.Entry{ID: id, Target: s.target, Cause: o.Reason, Actor: actor.String(), Node: e.admin.cfg.Node, At: e.admin.now()})
	if err != nil {
		e.mu.Unlock()
		return Receipt{}, err
	}
	j, err := e.carryOut(ctx, actor, s, entry, verb, began, catch)
	e.mu.Unlock()
	if err == nil {
		err = j.did(e.settle(ctx, j))
	}
	j.Again = again && !j.ended()
	if j.open { // Resume goes on with it; a receipt now would say that it is over
		j.State = ReceiptPartial
		return *j.Receipt, fmt.Errorf("revocation %s stands, and the gateway goes on with what of it could not be done: %w", j.Revocation, err)
	}
	return *j.Receipt, errors.Join(err, e.conclude(ctx, j.Receipt))
}

// ordered checks an order, and returns what it ends. A reason that what keeps grants
// would refuse is refused before anything is written: half of an order would stand.
func (e *Effects) ordered(ctx context.Context, actor Actor, o *Order) (*reach, error) {
	if err := checkReason(o.Reason); err != nil {
		return nil, err
	}
	o.Reason = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' ' // every space of every script is one
		}
		return r
	}, o.Reason)
	if strings.ContainsFunc(o.Reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, access.Errorf(access.CodeInvalid, "the reason must be printable: it holds a character nobody can see")
	}
	if o.Verb != "" && o.Verb != VerbRevoke && o.Verb != VerbTerminate {
		return nil, access.Errorf(access.CodeInvalid, "a revocation revokes or terminates, and both cut what runs")
	}
	s, err := e.scope(ctx, o.Kind, o.ID)
	if err != nil {
		return nil, err
	}
	if err := e.admin.Authorize(ctx, actor, s.op); err != nil {
		return nil, err
	}
	if !s.known && e.revoked.Last(s.target) == 0 {
		return nil, access.Errorf(access.CodeNotFound, "there is no %s %q to revoke: see rutile %s list", s.target.Kind, clip(s.target.ID), listed(s.target.Kind))
	}
	return s, nil
}

// listed is the noun whose list shows targets of a kind.
func listed(k revocation.Kind) string {
	switch k {
	case revocation.User, revocation.Approver:
		return "user"
	case revocation.Tenant:
		return "session"
	default:
		return string(k)
	}
}

// enter appends the entry. What it ends is denied by its position from here on, where
// that is enough.
func (e *Effects) enter(ctx context.Context, entry revocation.Entry) (revocation.Entry, error) {
	change := access.NewID(access.PrefixChange)
	entry, err := e.revoked.Begin(ctx, entry, func(x revocation.Entry) access.Owed {
		detail, err := json.Marshal(audit.Revocation{ID: x.ID, Epoch: x.Position, Kind: string(x.Target.Kind), Target: x.Target.ID})
		if err != nil {
			detail = nil
		}
		return access.Owed{ID: change, Node: x.Node, Actor: x.Actor, Verb: VerbRevoke, Kind: audit.KindRevocation, Object: string(x.Target.Kind) + " " + x.Target.ID, Reason: x.Cause, Detail: detail}
	})
	if err != nil {
		return entry, err
	}
	// What narrows stands also where it cannot be recorded: its leaf is owed.
	_ = e.debts.Settle(ctx, change)
	return entry, nil
}

// carryOut ends what there is and cuts what runs here; e.mu is held. What it can do it
// does, whatever else fails.
func (e *Effects) carryOut(ctx context.Context, actor Actor, s *reach, entry revocation.Entry, verb string, began time.Time, catch Ending) (*job, error) {
	rec := &Receipt{Revocation: entry.ID, Epoch: entry.Position, Kind: string(s.target.Kind), ID: s.target.ID, Verb: verb, Cause: entry.Cause, Actor: entry.Actor, At: entry.At,
		Sessions: []string{}, Grants: []string{}, Nodes: []Node{}, Undo: s.undo}
	j := &job{Receipt: rec, began: began}
	var errs error
	to := identity.SessionRevoked
	if verb == VerbTerminate {
		to = identity.SessionTerminated
	}
	changed, err := e.put(ctx, actor, s.sessions, to, verb, entry.Cause)
	if len(changed) == 0 || access.CodeOf(err) != access.CodeEvidence { // else they have ended, and their leaves are owed
		_ = j.did(err)
	}
	errs = errors.Join(errs, err)
	for _, f := range changed {
		rec.Sessions = append(rec.Sessions, f.ID)
	}
	if s.act != nil {
		rec.Said, j.later, err = s.act(ctx, actor, entry.Cause)
		errs = errors.Join(errs, j.did(err))
	}
	if s.requests != nil {
		list, err := e.broker.InvalidateAll(ctx, s.requests, actor.String(), because(entry))
		errs = errors.Join(errs, j.did(err))
		for _, r := range list {
			rec.Requests = append(rec.Requests, r.ID)
		}
	}
	errs = errors.Join(errs, e.endGrants(ctx, actor, s, j))
	rec.DeniedUS = time.Since(began).Microseconds()
	j.cut = e.halt(s, entry, catch)
	rec.Calls = j.cut.Calls
	return j, errs
}

// endGrants ends the grants of s, and notes what lives of what was minted under them.
func (e *Effects) endGrants(ctx context.Context, actor Actor, s *reach, j *job) error {
	if s.grants == nil {
		return nil
	}
	ids, err := e.left(ctx, s)
	errs := j.did(err)
	for _, g := range e.broker.Falls(s.grants) {
		ids = append(ids, g.ID)
	}
	j.made, err = e.broker.MintedUnder(ctx, ids)
	errs = errors.Join(errs, j.did(err))
	list, err := e.broker.RevokeAll(ctx, s.grants, actor.String(), j.Cause)
	errs = errors.Join(errs, j.did(err))
	for _, g := range list {
		j.Grants = append(j.Grants, g.ID)
	}
	return errs
}

// because is what ends with an entry is told.
func because(entry revocation.Entry) string {
	return "the " + string(entry.Target.Kind) + " was revoked"
}

// halt cuts what runs here.
func (e *Effects) halt(s *reach, entry revocation.Entry, catch Ending) Cut {
	cut := catch(because(entry), s.class)
	if s.whose != nil {
		e.traffic.End(s.whose)
	}
	if s.server != "" {
		e.traffic.EndServer(s.server)
	}
	e.traffic.Wake()
	return cut
}

// settle lets other gateways carry it out, and waits, within bounds, until what was cut
// has returned, issuers have answered and the others have done the same.
func (e *Effects) settle(ctx context.Context, j *job) error {
	if err := e.revoked.Done(ctx, j.Revocation); err != nil {
		return err
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		bound, cancel := context.WithTimeout(ctx, cutTime)
		defer cancel()
		j.Running = j.cut.Wait(bound)
		j.CutUS = time.Since(j.began).Microseconds()
		j.Late = j.cut.Late()
	})
	wait.Go(func() { j.Nodes = e.peers.Await(ctx, j.Revocation, j.began) })
	var err error
	var ended credential.Ended
	wait.Go(func() {
		if j.later != nil {
			ended = j.later(ctx)
		}
	})
	wait.Go(func() {
		bound, cancel := context.WithTimeout(ctx, endTime)
		defer cancel()
		j.Credentials, err = e.endMinted(bound, j.made)
	})
	wait.Wait()
	if ended.Revoked > 0 {
		j.Said = append(slices.Clone(j.Said), access.Count(int64(ended.Revoked), "token")+" made of it ended at the issuer")
	}
	for _, l := range ended.Left {
		j.Credentials = append(j.Credentials, EndedCredential{ID: j.ID, Result: l})
	}
	return err
}

// endMinted has issuers end what was minted under grants that were revoked, and says
// what of it lives.
func (e *Effects) endMinted(ctx context.Context, made map[string][]grant.Minted) ([]EndedCredential, error) {
	if len(made) == 0 {
		return nil, nil
	}
	if err := e.broker.Finish(ctx, e.end); err != nil && ctx.Err() == nil {
		return nil, err
	}
	return e.outcomes(context.WithoutCancel(ctx), made)
}

// outcomes says of what was minted what of it lives.
func (e *Effects) outcomes(ctx context.Context, minted map[string][]grant.Minted) ([]EndedCredential, error) {
	now := map[string]grant.Grant{}
	for id := range minted {
		g, ok, err := e.broker.Archive().Grant(ctx, id)
		if err != nil {
			return nil, err
		}
		if ok {
			now[id] = g
		}
	}
	out := credentialsOf(minted, now)
	slices.SortFunc(out, func(x, y EndedCredential) int { return compare(x.Grant+x.ID+x.Version, y.Grant+y.ID+y.Version) })
	return out, nil
}

// conclude keeps a receipt, with its leaf.
func (e *Effects) conclude(ctx context.Context, r *Receipt) error {
	r.settle()
	owed, doc, err := r.owed(e.admin.cfg.Node)
	if err != nil {
		return err
	}
	if err := e.revoked.Finish(ctx, r.Revocation, doc, owed); err != nil {
		return err
	}
	if r.State == ReceiptPartial {
		e.partial.Store(r.Revocation, true)
	} else {
		e.partial.Delete(r.Revocation)
	}
	if e.told != nil {
		e.told(*r)
	}
	return e.debts.Settle(ctx, owed.ID)
}
