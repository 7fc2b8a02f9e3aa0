package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/grant"
	"rutile/internal/registry"
	"rutile/internal/signin"
)

// Who signs approvals of tier 3, or a break-glass, with a passkey. Whoever has one does
// in any case.
const (
	SignAuto    = "auto"    // everybody, once one of those who may has a passkey
	SignPasskey = "passkey" // everybody
	SignPerson  = "person"  // nobody else
)

// signedTier is the tier from which approvals are signed (access.md 3.5).
const signedTier = 3

// mustSign reports whether an actor approves r with a signature. The error says why
// they cannot: they must, and have no passkey.
func (d *Desk) mustSign(actor Actor, r grant.Request) (bool, error) {
	if r.Target.Tier < signedTier {
		return false, nil
	}
	if d.hasPasskey(actor) {
		return true, nil
	}
	if !d.allSign() {
		return false, nil
	}
	return true, access.Errorf(access.CodeDenied, "an approval of tier %d is signed with a passkey, and you have none: add one on the account page of the console (%s), then approve request %s on its page (%s)", r.Target.Tier, d.page("/console/account"), r.ID, d.pageOf(r.ID))
}

// page is a page on the address that people use.
func (d *Desk) page(path string) string {
	return strings.TrimSuffix(d.admin.cfg.Operators, "/") + path
}

// pageOf is where people answer a request.
func (d *Desk) pageOf(request string) string { return d.page("/approve/" + request) }

func isPasskey(f registry.Factor) bool { return f.Kind == registry.FactorPasskey }

// hasPasskey reports whether an actor is a registered person who has one.
func (d *Desk) hasPasskey(actor Actor) bool {
	who, known := d.admin.Person(actor)
	return known && slices.ContainsFunc(who.Factors, isPasskey)
}

// allSign reports whether whoever has no passkey can approve nothing of tier 3.
func (d *Desk) allSign() bool { return d.everybodySigns(d.admin.cfg.Tier3, OpDecide) }

// everybodySigns reports whether, by a rule of the installation, an operation is nothing
// for whoever has no passkey.
func (d *Desk) everybodySigns(rule string, op Op) bool {
	switch rule {
	case SignPasskey:
		return true
	case SignPerson:
		return false
	}
	return slices.ContainsFunc(d.admin.Current().View.Users(), func(u registry.User) bool {
		return slices.ContainsFunc(u.Factors, isPasskey) && d.admin.Allows(Actor{Kind: "user", ID: u.ID}, op)
	})
}

// Unsigned lists who may approve requests but none of tier 3, because they have no
// passkey to sign with.
func (d *Desk) Unsigned() []string {
	if !d.allSign() {
		return nil
	}
	var out []string
	for _, u := range d.admin.Current().View.Users() {
		if !slices.ContainsFunc(u.Factors, isPasskey) && d.admin.Allows(Actor{Kind: "user", ID: u.ID}, OpDecide) {
			out = append(out, u.ID)
		}
	}
	return out
}

// signs refuses an approval of r that had to be signed and is not, or is with what is no
// passkey of the actor's.
func (d *Desk) signs(actor Actor, r grant.Request, s *access.Assertion) error {
	must, err := d.mustSign(actor, r)
	if err != nil {
		return err
	}
	if s == nil {
		if must {
			return access.Errorf(access.CodeDenied, "an approval of tier %d is signed with your passkey: approve request %s on its page (%s), where the browser asks for it", r.Target.Tier, r.ID, d.pageOf(r.ID))
		}
		return nil
	}
	return d.owns(actor, grant.KindRequest, r.ID, s)
}

// owns refuses what no passkey of the actor's signed for an object.
func (d *Desk) owns(actor Actor, kind, id string, s *access.Assertion) error {
	if err := audit.CheckAssertion(kind, id, s); err != nil {
		return access.Errorf(access.CodeDenied, "the signature does not count for %s %s: %w", strings.ToLower(kind), id, err)
	}
	who, _ := d.admin.Person(actor)
	if !slices.ContainsFunc(who.Factors, func(f registry.Factor) bool { return isPasskey(f) && f.Key == s.KeyName() }) {
		return access.Errorf(access.CodeDenied, "the signature is of no passkey of yours")
	}
	return nil
}

// Signing is a signature that was asked for. It MUST be answered at most once.
type Signing struct {
	asked        signin.Asked
	user         string
	object       string // its id: of a request, or of the grant that a break-glass becomes
	terms, nonce []byte
}

// AskToSign asks an actor to sign an approval with one of their passkeys. It fails where
// the approval would.
func (s *SignIns) AskToSign(ctx context.Context, d *Desk, actor Actor, id string, a grant.Answer) (options []byte, g Signing, err error) {
	if s.passkeys == nil {
		return nil, g, access.Errorf(access.CodeUnsupported, "%s", s.why)
	}
	r, err := d.answering(ctx, actor, id, &a)
	if err != nil {
		return nil, g, err
	}
	if _, err := d.mustSign(actor, r); err != nil {
		return nil, g, err
	}
	g = Signing{user: actor.ID, object: r.ID, nonce: make([]byte, 32)}
	_, _ = rand.Read(g.nonce) // never fails
	if g.terms, err = d.broker.Terms(ctx, r.ID, a); err != nil {
		return nil, g, err
	}
	who, _ := d.admin.Person(actor)
	options, g.asked, err = s.passkeys.AskToSign(ctx, actor.ID, factorIDs(who.Factors), audit.ChallengeOf(grant.KindRequest, r.ID, g.terms, g.nonce))
	return options, g, err
}

// Signed takes the answer to AskToSign or AskToBreak. Whatever does not count is a CodeDenied error.
func (s *SignIns) Signed(ctx context.Context, actor Actor, id string, g Signing, answer []byte) (*access.Assertion, error) {
	if s.passkeys == nil || actor.Kind != "user" || g.user != actor.ID || g.object != id {
		return nil, access.Errorf(access.CodeDenied, "this is no signature for %s", clip(id))
	}
	proof, err := s.check(ctx, g.asked, answer)
	if access.CodeOf(err) == access.CodeUnauthenticated {
		return nil, &access.Error{Code: access.CodeDenied, Msg: "the signature does not count: it is of another passkey, or of something else, or was used before", Err: err}
	}
	if err != nil {
		return nil, err
	}
	if u, ok := s.admin.Person(actor); !ok || !slices.ContainsFunc(u.Factors, func(f registry.Factor) bool { return f.ID == proof.Factor }) {
		return nil, &access.Error{Code: access.CodeDenied, Msg: "the signature is of no passkey of yours", Err: errors.New("the passkey is not named by its user")}
	}
	out := proof.Assertion
	out.Terms, out.Nonce = g.terms, g.nonce
	return &out, nil
}
