package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"rutile/internal/access"
	"rutile/internal/registry"
	"rutile/internal/signal"
	"rutile/internal/signin"
)

// Logins keeps what identity providers say of sessions.
type Logins interface {
	signal.Inbox
	// PutProviderSession keeps whose a session at a provider is.
	PutProviderSession(ctx context.Context, issuer, session, subject string, until time.Time) error
	// ProviderSession returns whose a session at a provider is, false if nobody's.
	ProviderSession(ctx context.Context, issuer, session string) (subject string, ok bool, err error)
}

// providerSession is how long a session at a provider is known: longer than any here.
const providerSession = 24 * time.Hour

// SignInWithProvider lets the user in whose subject an identity provider vouched for, and
// remembers the session there, so that its end is the end of it here. Nobody is found by
// anything else it said, such as an address of mail.
func (s *SignIns) SignInWithProvider(ctx context.Context, who signin.Back) (Actor, error) {
	if who.Session != "" {
		if err := s.logins.PutProviderSession(ctx, who.Issuer, who.Session, who.ID, s.admin.now().Add(providerSession)); err != nil {
			return Actor{}, err
		}
	}
	return s.signInWithSubject(ctx, registry.ProviderSubject{Issuer: who.Issuer, ID: who.ID})
}

// EndedElsewhere ends the sessions of whoever signed out at their identity provider, on
// every node, and whatever they signed in with. What was said before is a CodeConflict;
// what could not be done may be said again.
func (s *SignIns) EndedElsewhere(ctx context.Context, l signin.Logout) error {
	doc, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("keeping a logout: %w", err)
	}
	source := "sign-in:" + l.Subject.Issuer
	kept, fresh, err := s.logins.TakeSignal(ctx, signal.Told{Source: source, ID: l.ID, Doc: doc, At: s.admin.now(), Until: l.Until})
	switch {
	case err != nil:
		return err
	case !fresh && kept.Done:
		return access.Errorf(access.CodeConflict, "this was said before and is done")
	}
	subject := l.Subject
	if subject.ID == "" {
		var known bool
		if subject.ID, known, err = s.logins.ProviderSession(ctx, subject.Issuer, l.Session); err != nil {
			return err
		}
		if !known { // no session of it is open here
			return s.logins.SignalDone(ctx, source, l.ID)
		}
	}
	cur, err := s.admin.fresh(ctx)
	if err != nil {
		return err
	}
	var errs error
	for _, user := range cur.View.SubjectUsers(registry.ProviderSubject{Issuer: subject.Issuer, ID: subject.ID}) {
		errs = errors.Join(errs, s.SignOut(ctx, System(), user, "signed out at "+clip(subject.Issuer)))
	}
	if errs != nil {
		return errs
	}
	return s.logins.SignalDone(ctx, source, l.ID)
}
