package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/finding"
	"rutile/internal/registry"
	"rutile/internal/signin"
)

// Bounds of factors.
const (
	maxFactors = 16 // of one user
	maxName    = 64 // of a factor, in bytes
	// freshFor is how long somebody who signed in may change what they sign in with.
	freshFor = 5 * time.Minute
	// handedFor is how long a personal token that somebody else made for a person may
	// add their first factor. Later it has lain about, and may be anybody's.
	handedFor = 24 * time.Hour

	findingSource = "sign-in"
)

// SignIns is where people sign in to the console, and where what they sign in with is
// added and removed. It is safe for concurrent use.
type SignIns struct {
	admin    *Admin
	store    signin.Store
	passkeys *signin.Passkeys // nil where there can be none
	why      string           // there can be none
	logins   Logins
	words    *signin.Passwords
	findings *Findings
}

// NewSignIns returns SignIns. passkeys is nil where there can be none, and why says why;
// everything else is required.
func NewSignIns(a *Admin, s signin.Store, logins Logins, passkeys *signin.Passkeys, why string, words *signin.Passwords, f *Findings) (*SignIns, error) {
	if a == nil || s == nil || logins == nil || words == nil || f == nil || passkeys == nil && why == "" {
		return nil, errors.New("admin: a dependency is missing")
	}
	return &SignIns{admin: a, store: s, logins: logins, passkeys: passkeys, why: why, words: words, findings: f}, nil
}

// Origin is where passkeys work; where they do not, why says why.
func (s *SignIns) Origin() (origin, why string) {
	if s.passkeys == nil {
		return "", s.why
	}
	return s.passkeys.Origin(), ""
}

// FactorUse is a factor and when it was last used.
type FactorUse struct {
	registry.Factor
	Used time.Time `json:"used,omitzero"`
	Left int       `json:"recoveryCodes,omitempty"` // that were not used
}

// Factors lists what a user signs in with. It is for the user themselves, and for who
// may change users.
func (s *SignIns) Factors(ctx context.Context, actor Actor, user string) ([]FactorUse, error) {
	if err := s.mayTouch(ctx, actor, user); err != nil {
		return nil, err
	}
	u, ok := s.admin.current.Load().View.User(user)
	if !ok {
		return nil, unknownUser(user)
	}
	rows, err := s.store.FactorsOf(ctx, user)
	if err != nil {
		return nil, err
	}
	var out []FactorUse
	for _, f := range u.Factors {
		use := FactorUse{Factor: f}
		for _, r := range rows {
			if r.ID == f.ID {
				use.Used = r.Used
				if f.Kind == registry.FactorPassword {
					use.Left = r.Left()
				}
			}
		}
		out = append(out, use)
	}
	return out, nil
}

func unknownUser(user string) error {
	return access.Errorf(access.CodeNotFound, "user %q is not registered: see rutile user list", clip(user))
}

// mayTouch lets people see and change their own factors, and whoever may change users
// those of everybody.
func (s *SignIns) mayTouch(ctx context.Context, actor Actor, user string) error {
	if actor.Kind == "user" && actor.ID == user {
		return s.admin.Authorize(ctx, actor, OpOwn)
	}
	return s.admin.Authorize(ctx, actor, OpUser)
}

// Fresh says why an actor cannot change now what they sign in with, nil if they can:
// they proved who they are a moment ago, and with a factor where they have one, so that
// neither a page left open nor a token that was stolen adds another.
func (s *SignIns) Fresh(actor Actor) error {
	u, live := s.admin.live(s.admin.current.Load(), actor)
	if !live {
		return unauthenticated()
	}
	now := s.admin.now()
	if since := actor.Since; since.IsZero() || now.Before(since.Truncate(time.Millisecond)) || now.Sub(since) >= freshFor {
		return access.Errorf(access.CodeDenied, "sign in again first: what one signs in with is changed within %d minutes of signing in", int(freshFor/time.Minute))
	}
	return s.vouched(u, actor)
}

// vouched says why what an actor came with is not enough to change what they, the user
// u, sign in with; nil if it is.
func (s *SignIns) vouched(u registry.User, actor Actor) error {
	switch {
	case len(u.Factors) > 0 && actor.Factor == "": // nor what somebody else vouched for
		return access.Errorf(access.CodeDenied, "sign in with your passkey or password first: whoever has one changes nothing with a token or a link; if it is lost, an admin removes it (rutile user factor remove)")
	case actor.Token != "" && !s.handed(u, actor.Token):
		return access.Errorf(access.CodeDenied, "a token adds the first passkey or password within %d hours of an admin making it for you: sign in with a link or single sign-on, or ask an admin for a new token (rutile user token create %s) or a password (rutile user password set %s)", int(handedFor/time.Hour), u.ID, u.ID)
	}
	return nil
}

// handed reports whether a token of u was made a short while ago by somebody else, so
// that it stands for that person's word about who u is.
func (s *SignIns) handed(u registry.User, id string) bool {
	now := s.admin.now()
	return slices.ContainsFunc(u.Tokens, func(t registry.UserToken) bool {
		self := Actor{Kind: "user", ID: u.ID}.String()
		return t.ID == id && t.By != self && !now.Before(t.Created) && now.Sub(t.Created) < handedFor
	})
}

// AskPasskey asks for a new passkey of the actor's own.
func (s *SignIns) AskPasskey(ctx context.Context, actor Actor) (options []byte, a signin.Asked, err error) {
	if s.passkeys == nil {
		return nil, a, access.Errorf(access.CodeUnsupported, "%s", s.why)
	}
	if err := s.mayTouch(ctx, actor, actor.ID); err != nil {
		return nil, a, err
	}
	if err := s.Fresh(actor); err != nil {
		return nil, a, err
	}
	u, _ := s.admin.current.Load().View.User(actor.ID)
	return s.passkeys.AskToMake(ctx, u.ID, factorIDs(u.Factors))
}

// AddPasskey takes the answer to AskPasskey and adds the passkey to the actor's own.
func (s *SignIns) AddPasskey(ctx context.Context, actor Actor, a signin.Asked, name string, answer []byte) (registry.Factor, error) {
	if s.passkeys == nil {
		return registry.Factor{}, access.Errorf(access.CodeUnsupported, "%s", s.why)
	}
	if err := s.Fresh(actor); err != nil {
		return registry.Factor{}, err
	}
	name = strings.TrimSpace(name)
	if name == "" || len(name) > maxName || hasHidden(name) {
		return registry.Factor{}, access.Errorf(access.CodeInvalid, "give the passkey a name of at most %d characters, such as the device it is on", maxName)
	}
	row, key, err := s.passkeys.Made(ctx, a, answer)
	if errors.Is(err, signin.ErrRefused) {
		return registry.Factor{}, access.Errorf(access.CodeDenied, "this passkey does not count: the browser's answer is none to what was asked. Try again")
	}
	if err != nil {
		return registry.Factor{}, err
	}
	f := registry.Factor{ID: row.ID, Kind: registry.FactorPasskey, Name: name, Created: s.admin.now(), By: actor.String(), Key: key}
	if err := s.add(ctx, actor, actor.ID, f, nil); err != nil {
		_ = s.store.DropFactors(context.WithoutCancel(ctx), row.ID) // what nobody names counts for nobody
		return registry.Factor{}, err
	}
	return f, nil
}

// add names a factor in its user, in place of those that drop takes. Who adds one to
// their own by a token, or at the console, must be vouched for, whatever they may change
// of others: a token of an admin that was stolen does not become the admin.
func (s *SignIns) add(ctx context.Context, actor Actor, user string, f registry.Factor, drop func(registry.Factor) bool) error {
	return s.admin.change(ctx, actor, func(cur *Current) (*draft, error) {
		u, ok := cur.View.User(user)
		if !ok {
			return nil, unknownUser(user)
		}
		if st := registry.UserStatus(u, s.admin.now()); st != registry.UserActive {
			return nil, access.Errorf(access.CodeConflict, "user %q is %s and can have nothing to sign in with", user, st)
		}
		if own := actor.Kind == "user" && actor.ID == user; own && (actor.Token != "" || !actor.Since.IsZero()) {
			if err := s.vouched(u, actor); err != nil { // by what is so now, on whatever node it was changed
				return nil, err
			}
		}
		u.Factors = slices.Clone(u.Factors)
		if drop != nil {
			u.Factors = slices.DeleteFunc(u.Factors, drop)
		}
		if len(u.Factors) >= maxFactors {
			return nil, access.Errorf(access.CodeConflict, "user %q has %d passkeys already: remove one", user, maxFactors)
		}
		u.Factors, u.Changed = append(u.Factors, f), s.admin.now()
		return factorDraft(actor, u, "add-factor", fmt.Sprintf("%s %s", f.Kind, f.ID), f), nil
	})
}

// factorDraft is a change of nothing but what a user signs in with. It takes the right
// to change users unless it is the actor's own.
func factorDraft(actor Actor, u registry.User, verb, why string, detail any) *draft {
	d := userDraft(u, verb, why, detail)
	if actor.Kind == "user" && actor.ID == u.ID {
		d.own, d.records[0].op = u.ID, OpOwn
	}
	return d
}

// RemoveFactor removes what a user signs in with. Sessions opened with it end at once.
// Their last one only somebody else removes, who may change users: whoever finds a
// page left open does not reduce it to a token.
func (s *SignIns) RemoveFactor(ctx context.Context, actor Actor, user, id, why string) error {
	if err := checkReason(why); err != nil {
		return err
	}
	own := actor.Kind == "user" && actor.ID == user
	if own {
		if err := s.Fresh(actor); err != nil {
			return err
		}
	}
	err := s.admin.change(ctx, actor, func(cur *Current) (*draft, error) {
		u, ok := cur.View.User(user)
		if !ok {
			return nil, unknownUser(user)
		}
		f, ok := u.Factor(id)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "user %q signs in with nothing called %q: see rutile user factor list %s", clip(user), clip(id), clip(user))
		}
		if own && len(u.Factors) == 1 {
			return nil, access.Errorf(access.CodeConflict, "this is the last one you can sign in with: add another first, or have an admin remove it (rutile user factor remove %s %s)", user, id)
		}
		u.Factors = slices.DeleteFunc(slices.Clone(u.Factors), func(x registry.Factor) bool { return x.ID == id })
		u.Changed = s.admin.now()
		return factorDraft(actor, u, "remove-factor", strings.TrimSuffix(fmt.Sprintf("%s %s: %s", f.Kind, f.ID, why), ": "), f), nil
	})
	if err != nil {
		return err
	}
	_ = s.store.DropFactors(context.WithoutCancel(ctx), id) // what nobody names counts for nobody
	return s.findings.Tell(ctx, finding.Says{Source: findingSource, Covers: func(f *finding.Finding) bool { return f.Place == id }, About: []string{user}})
}

// SignOut ends every session of a user at the console, on every node. It is for the
// user themselves, and for who may change users.
func (s *SignIns) SignOut(ctx context.Context, actor Actor, user, why string) error {
	if err := checkReason(why); err != nil {
		return err
	}
	return s.admin.change(ctx, actor, func(cur *Current) (*draft, error) {
		u, ok := cur.View.User(user)
		if !ok {
			return nil, unknownUser(user)
		}
		u.SignedOut, u.Changed = s.admin.now(), s.admin.now()
		return factorDraft(actor, u, "sign-out", why, nil), nil
	})
}

// AskToSignIn asks whoever it is to sign in with a passkey.
func (s *SignIns) AskToSignIn() (options []byte, a signin.Asked, err error) {
	if s.passkeys == nil {
		return nil, a, access.Errorf(access.CodeUnsupported, "%s", s.why)
	}
	return s.passkeys.AskToSignIn()
}

// SignInWithPasskey takes the answer to AskToSignIn. Whatever does not count fails in
// one way (CodeUnauthenticated).
func (s *SignIns) SignInWithPasskey(ctx context.Context, a signin.Asked, answer []byte) (Actor, error) {
	if s.passkeys == nil {
		return Actor{}, access.Errorf(access.CodeUnsupported, "%s", s.why)
	}
	proof, err := s.check(ctx, a, answer)
	if err != nil {
		return Actor{}, err
	}
	return s.whoHas(ctx, proof.User, proof.Factor)
}

// signInWithSubject lets the user in whose subject an identity provider vouched for.
func (s *SignIns) signInWithSubject(ctx context.Context, subject registry.ProviderSubject) (Actor, error) {
	cur, err := s.admin.fresh(ctx)
	if err != nil {
		return Actor{}, err
	}
	ids := cur.View.SubjectUsers(subject)
	if len(ids) == 1 {
		actor := Actor{Kind: "user", ID: ids[0], Subject: subject}
		if _, ok := s.admin.live(cur, actor); ok {
			return actor, nil
		}
	}
	return Actor{}, access.Errorf(access.CodeUnauthenticated, "%s; an admin names who you are there in your manifest: subjects: [{issuer: %s, subject: %q}]", notCounted, clip(subject.Issuer), clip(subject.ID))
}

// check checks an answer of a passkey. One that counts back is recorded and raised,
// whatever else is so.
func (s *SignIns) check(ctx context.Context, a signin.Asked, answer []byte) (signin.Proof, error) {
	proof, err := s.passkeys.Check(ctx, a, answer)
	if errors.Is(err, signin.ErrCopied) {
		if err := s.copied(ctx, proof); err != nil {
			return proof, err
		}
	}
	if errors.Is(err, signin.ErrRefused) {
		return proof, &access.Error{Code: access.CodeUnauthenticated, Msg: notCounted, Err: err}
	}
	return proof, err
}

// notCounted is what everybody is told who is not let in, whatever it was.
const notCounted = "this does not count: it is wrong or not known, was used or is too old, or the user is not active"

// copied says that there may be two of a passkey.
func (s *SignIns) copied(ctx context.Context, p signin.Proof) error {
	why := "the counter of passkey " + p.Factor + " went back, so there may be a copy of it"
	if err := s.admin.note(ctx, System(), record{verb: "refuse", kind: kindUser, object: p.User, reason: why, detail: map[string]string{"factor": p.Factor}}); err != nil {
		return err
	}
	return s.findings.Tell(ctx, finding.Says{Source: findingSource, Raised: []finding.Raised{{
		Rule: "passkey-copied", Severity: finding.High, Subject: finding.Subject{Kind: finding.SubjectUser, ID: p.User}, Place: p.Factor,
		Why: why + "; it was refused", Next: "ask the person, and remove it: rutile user factor remove " + p.User + " " + p.Factor,
	}}})
}

// whoHas is the active user who names a factor, as the store has it now.
func (s *SignIns) whoHas(ctx context.Context, user, factor string) (Actor, error) {
	cur, err := s.admin.fresh(ctx)
	if err != nil {
		return Actor{}, err
	}
	actor := Actor{Kind: "user", ID: user, Factor: factor}
	if _, ok := s.admin.live(cur, actor); !ok || factor == "" {
		return Actor{}, access.Errorf(access.CodeUnauthenticated, notCounted)
	}
	return actor, nil
}

func factorIDs(list []registry.Factor) []string {
	var out []string
	for _, f := range list {
		out = append(out, f.ID)
	}
	return out
}
