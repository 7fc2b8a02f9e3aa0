package admin

import (
	"context"
	"errors"

	"rutile/internal/access"
	"rutile/internal/registry"
	"rutile/internal/signin"
)

// SignInWithPassword lets a user in who knows their password and has a code of their app
// or a recovery code. Whatever does not count fails in one way (CodeUnauthenticated),
// after the same work, also where there is no such user.
func (s *SignIns) SignInWithPassword(ctx context.Context, user, password, code string) (Actor, error) {
	cur, err := s.admin.fresh(ctx)
	if err != nil {
		return Actor{}, err
	}
	u, _ := cur.View.User(user)
	proof, err := s.words.Check(ctx, user, factorIDs(u.Factors), password, code)
	if errors.Is(err, signin.ErrRefused) {
		return Actor{}, &access.Error{Code: access.CodeUnauthenticated, Msg: notCounted, Err: err}
	}
	if err != nil {
		return Actor{}, err
	}
	return s.whoHas(ctx, proof.User, proof.Factor)
}

// ChoosePassword takes a password the actor chose for themselves. It counts once
// SetPassword confirms it with a code.
func (s *SignIns) ChoosePassword(ctx context.Context, actor Actor, chosen string) (*signin.Enrolment, error) {
	if err := s.mayTouch(ctx, actor, actor.ID); err != nil {
		return nil, err
	}
	if err := s.Fresh(actor); err != nil {
		return nil, err
	}
	return s.words.Enrol(ctx, actor.ID, chosen)
}

// SetPassword makes a password the actor chose count, in place of the one before. A code
// that is not the app's is a CodeInvalid error.
func (s *SignIns) SetPassword(ctx context.Context, actor Actor, e *signin.Enrolment, code string) (registry.Factor, error) {
	if err := s.Fresh(actor); err != nil {
		return registry.Factor{}, err
	}
	if !s.words.Confirms(e, code) {
		return registry.Factor{}, access.Errorf(access.CodeInvalid, "this is not the code the app shows now: look at the app, and at the clock of both devices")
	}
	return s.keep(ctx, actor, actor.ID, e)
}

// NewPassword is what a person needs besides a password that somebody set for them.
type NewPassword struct {
	User     string   `json:"user"`
	Factor   string   `json:"factor"`
	Secret   string   `json:"secret"`        // a secret, to be typed into an app
	Address  string   `json:"otpauth"`       // the same, as apps read it
	Recovery []string `json:"recoveryCodes"` // secrets
}

// GivePassword sets the password of a user for them. It takes the right to change users.
func (s *SignIns) GivePassword(ctx context.Context, actor Actor, user, chosen string) (NewPassword, error) {
	if err := s.admin.Authorize(ctx, actor, OpUser); err != nil {
		return NewPassword{}, err
	}
	if _, ok := s.admin.current.Load().View.User(user); !ok {
		return NewPassword{}, unknownUser(user)
	}
	e, err := s.words.Enrol(ctx, user, chosen)
	if err != nil {
		return NewPassword{}, err
	}
	return s.given(ctx, actor, user, e)
}

// ResetCodes gives a user's password a new secret and new recovery codes: the phone is
// lost, the password is not. It takes the right to change users.
func (s *SignIns) ResetCodes(ctx context.Context, actor Actor, user string) (NewPassword, error) {
	if err := s.admin.Authorize(ctx, actor, OpUser); err != nil {
		return NewPassword{}, err
	}
	u, ok := s.admin.current.Load().View.User(user)
	if !ok {
		return NewPassword{}, unknownUser(user)
	}
	for _, f := range u.Factors {
		if f.Kind == registry.FactorPassword {
			e, err := s.words.Renew(ctx, user, f.ID)
			if err != nil {
				return NewPassword{}, err
			}
			return s.given(ctx, actor, user, e)
		}
	}
	return NewPassword{}, access.Errorf(access.CodeNotFound, "user %q has no password: see rutile user password set %s", clip(user), clip(user))
}

func (s *SignIns) given(ctx context.Context, actor Actor, user string, e *signin.Enrolment) (NewPassword, error) {
	f, err := s.keep(ctx, actor, user, e)
	if err != nil {
		return NewPassword{}, err
	}
	return NewPassword{User: user, Factor: f.ID, Secret: e.Secret, Address: e.Address, Recovery: e.Recovery}, nil
}

// keep makes an enrolment count in place of the password there is, whose sessions end.
func (s *SignIns) keep(ctx context.Context, actor Actor, user string, e *signin.Enrolment) (registry.Factor, error) {
	row, err := s.words.Keep(ctx, e)
	if err != nil {
		return registry.Factor{}, err
	}
	f := registry.Factor{ID: row.ID, Kind: registry.FactorPassword, Created: s.admin.now(), By: actor.String()}
	var gone []string
	err = s.add(ctx, actor, user, f, func(x registry.Factor) bool {
		if x.Kind == registry.FactorPassword {
			gone = append(gone, x.ID)
		}
		return x.Kind == registry.FactorPassword
	})
	if err != nil {
		_ = s.store.DropFactors(context.WithoutCancel(ctx), row.ID) // what nobody names counts for nobody
		return registry.Factor{}, err
	}
	_ = s.store.DropFactors(context.WithoutCancel(ctx), gone...)
	return f, nil
}
