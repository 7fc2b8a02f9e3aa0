package admin

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/grant"
	"rutile/internal/signin"
)

// GlassPage is where, on the operators' address, people sign a break-glass; the id of
// the grant it becomes follows.
const GlassPage = "/console/break-glass/"

// waiting is a break-glass that waits for its signature.
type waiting struct {
	id    string // of the grant it becomes
	spec  EmergencySpec
	terms []byte // of what it gave when it was begun, and its page showed
}

// Glass is a break-glass that waits for the signature of who began it.
type Glass struct {
	ID          string // of the grant it becomes
	Entitlement grant.Entitlement
	Would       grant.Request // give, if it were signed now
}

// mustSignGlass reports whether an actor breaks the glass with a signature. The error
// says why they cannot: they must, and have no passkey.
func (d *Desk) mustSignGlass(actor Actor) (bool, error) {
	if d.hasPasskey(actor) {
		return true, nil
	}
	if !d.everybodySigns(d.admin.cfg.BreakGlass, OpBreak) {
		return false, nil
	}
	return true, access.Errorf(access.CodeDenied, "breaking the glass is signed with a passkey, and you have none: add one on the account page of the console (%s), or let somebody who has one", d.page("/console/account"))
}

// Breakers lists who may break the glass: those who have a passkey to sign it with, and
// those who have none.
func (d *Desk) Breakers() (with, without []string) {
	for _, u := range d.admin.Current().View.Users() {
		switch {
		case !d.admin.Allows(Actor{Kind: "user", ID: u.ID}, OpBreak):
		case slices.ContainsFunc(u.Factors, isPasskey):
			with = append(with, u.ID)
		default:
			without = append(without, u.ID)
		}
	}
	return with, without
}

// keepGlass keeps what an actor asked for until it is signed, in place of what they
// asked for before, and returns the id of the grant it becomes. It fails where breaking
// the glass would.
func (d *Desk) keepGlass(ctx context.Context, actor Actor, s EmergencySpec, e grant.Emergency) (string, error) {
	e.ID = access.NewID(access.PrefixGrant)
	_, terms, err := d.broker.Emergency(ctx, e)
	if err != nil {
		return "", err
	}
	d.glass.Put(actor.String(), waiting{e.ID, s, terms})
	return e.ID, nil
}

// BeginGlass keeps a break-glass that its page asks the signature for, and returns the
// id of the grant it becomes. It fails where breaking the glass would.
func (d *Desk) BeginGlass(ctx context.Context, actor Actor, s EmergencySpec) (string, error) {
	e, err := d.emergency(ctx, actor, s)
	if err != nil {
		return "", err
	}
	must, err := d.mustSignGlass(actor)
	if err != nil {
		return "", err
	}
	if !must {
		return "", access.Errorf(access.CodeDenied, "on this page breaking the glass is signed with a passkey, and you have none: add one on the account page (%s), or break it with rutile grant break-glass and a personal token", d.page("/console/account"))
	}
	return d.keepGlass(ctx, actor, s, e)
}

// begun is what an actor began under an id, and what it would give now. It is refused
// where that is something else than what was begun: nobody signs what no page showed.
func (d *Desk) begun(ctx context.Context, actor Actor, id string) (e grant.Emergency, r grant.Request, err error) {
	w, ok := d.glass.Look(actor.String())
	if !ok || w.id != id {
		return e, r, access.Errorf(access.CodeNotFound, "no break-glass of yours waits for a signature here under %q: it waits for %v, on the node it was begun on, until you begin another or the gateway restarts; begin it anew", clip(id), signin.ChallengeLife)
	}
	if e, err = d.emergency(ctx, actor, w.spec); err != nil {
		return e, r, err
	}
	e.ID, e.Method = id, "page"
	r, terms, err := d.broker.Emergency(ctx, e)
	if err == nil && !bytes.Equal(terms, w.terms) {
		err = access.Errorf(access.CodeConflict, "what you began would give something else now, since the entitlement or the tool was changed: begin it anew, and look at it again")
	}
	return e, r, err
}

// Glass returns what an actor began.
func (d *Desk) Glass(ctx context.Context, actor Actor, id string) (Glass, error) {
	e, r, err := d.begun(ctx, actor, id)
	if err != nil {
		return Glass{}, err
	}
	return Glass{ID: id, Entitlement: e.Entitlement, Would: r}, nil
}

// AskToBreak asks an actor to sign what they began with one of their passkeys. It fails
// where breaking the glass would.
func (s *SignIns) AskToBreak(ctx context.Context, d *Desk, actor Actor, id string) (options []byte, g Signing, err error) {
	if s.passkeys == nil {
		return nil, g, access.Errorf(access.CodeUnsupported, "%s", s.why)
	}
	e, _, err := d.begun(ctx, actor, id)
	if err != nil {
		return nil, g, err
	}
	if _, err := d.mustSignGlass(actor); err != nil {
		return nil, g, err
	}
	g = Signing{user: actor.ID, object: id, nonce: make([]byte, 32)}
	_, _ = rand.Read(g.nonce) // never fails
	if _, g.terms, err = d.broker.Emergency(ctx, e); err != nil {
		return nil, g, err
	}
	who, _ := d.admin.Person(actor)
	options, g.asked, err = s.passkeys.AskToSign(ctx, actor.ID, factorIDs(who.Factors), audit.ChallengeOf(grant.KindGrant, id, g.terms, g.nonce))
	return options, g, err
}

// BreakSigned gives what an actor began and signed.
func (d *Desk) BreakSigned(ctx context.Context, actor Actor, id string, signed *access.Assertion) (grant.Grant, error) {
	e, _, err := d.begun(ctx, actor, id)
	if err != nil {
		return grant.Grant{}, err
	}
	if signed == nil {
		return grant.Grant{}, access.Errorf(access.CodeDenied, "on this page breaking the glass is signed with your passkey: the browser asks for it")
	}
	if err := d.owns(actor, grant.KindGrant, id, signed); err != nil {
		return grant.Grant{}, err
	}
	e.Signed = signed
	g, err := d.broker.BreakGlass(ctx, e)
	if err == nil {
		d.glass.Take(actor.String())
	}
	return g, err
}
