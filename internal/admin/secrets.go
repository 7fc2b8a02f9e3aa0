package admin

import (
	"context"
	"fmt"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/identity"
	"rutile/internal/registry"
)

// Vault is what admin needs of the credential vault. Values go in and never
// come out here.
type Vault interface {
	// Set seals value as the first version of s; CodeConflict if s.ID exists.
	Set(ctx context.Context, s credential.Secret, value []byte) (credential.Secret, error)
	// Rotate seals value as the next version of an existing secret.
	Rotate(ctx context.Context, id string, value []byte) (credential.Secret, error)
	// Remove deletes a secret; ok is false if there was none.
	Remove(ctx context.Context, id string) (ok bool, err error)
	// List returns the stored secrets without their values.
	List(ctx context.Context) ([]credential.Secret, error)
	// Guessable reports whether the value of a stored secret has less than 128 bits.
	Guessable(ctx context.Context, id string) (bool, error)
	// Used returns when each credential, sealed or declared, was last used.
	Used(ctx context.Context) (map[string]credential.Use, error)
	// Rewrap seals all of them anew under the key that is configured; sealed is how
	// many it came to, also where it did not come to all.
	Rewrap(ctx context.Context) (sealed int, err error)
	// End revokes, within a bound, what is alive of a declared credential that was
	// removed by somebody, and says what it could not revoke. Each is evidence.
	End(ctx context.Context, s credential.Source, by string) credential.Ended
}

// Authority issues tokens.
type Authority interface {
	// DevelopmentToken issues a token for one audience to an agent, on the word
	// of an operator.
	DevelopmentToken(ctx context.Context, r TokenRequest) (identity.Token, error)
}

// TokenRequest asks for a development token.
type TokenRequest struct {
	Agent   string        `json:"agent"`
	Server  string        `json:"server,omitempty"` // id, or "*" for the aggregate
	A2A     string        `json:"a2a,omitempty"`    // instead of Server
	Subject string        `json:"subject,omitempty"`
	Task    string        `json:"task,omitempty"`
	TTL     time.Duration `json:"ttl,omitempty"` // default 5 min
}

// The lifetimes of a development token.
const (
	defaultTTL = 5 * time.Minute
	maxTTL     = time.Hour
)

// IssueDevelopmentToken issues a token on the word of the actor. It is recorded
// before it is issued: no token exists without evidence.
func (a *Admin) IssueDevelopmentToken(ctx context.Context, actor Actor, r TokenRequest) (identity.Token, error) {
	cur, err := a.fresh(ctx)
	if err != nil {
		return identity.Token{}, err
	}
	if err := a.permit(ctx, cur, actor, OpToken, record{kind: "Token", object: r.Agent}); err != nil {
		return identity.Token{}, err
	}
	if r.TTL == 0 {
		r.TTL = defaultTTL
	}
	if err := a.checkToken(r); err != nil {
		return identity.Token{}, err
	}
	detail := map[string]any{"server": r.Server, "a2a": r.A2A, "subject": r.Subject, "task": r.Task, "seconds": int(r.TTL.Seconds())}
	if err := a.note(ctx, actor, record{verb: "issue", kind: "Token", object: r.Agent, detail: detail}); err != nil {
		return identity.Token{}, err
	}
	token, err := a.authority.DevelopmentToken(ctx, r)
	if err != nil {
		if verr := a.undone(ctx, actor, "Token", r.Agent, "issue"); verr != nil {
			return identity.Token{}, verr
		}
		return identity.Token{}, fmt.Errorf("issuing a development token: %w", err)
	}
	return token, nil
}

// undone records that what was just recorded did not take effect.
func (a *Admin) undone(ctx context.Context, actor Actor, kind, object, verb string) error {
	r := record{verb: "void", kind: kind, object: object, reason: verb + " did not take effect"}
	return a.note(context.WithoutCancel(ctx), actor, r)
}

func (a *Admin) checkToken(r TokenRequest) error {
	view := a.current.Load().View
	agent, ok := view.Agent(r.Agent)
	if !ok {
		return access.Errorf(access.CodeNotFound, "agent %q is not registered: see rutile agent list", clip(r.Agent))
	}
	if err := registry.Usable(agent, a.now()); err != nil {
		return err
	}
	switch {
	case (r.Server == "") == (r.A2A == ""):
		return access.Errorf(access.CodeInvalid, "name what the token is for: --server SERVER, --server '*' for all, or --a2a AGENT")
	case r.TTL < time.Second || r.TTL > maxTTL:
		return access.Errorf(access.CodeInvalid, "a development token lives between 1s and %s", maxTTL)
	case len(r.Subject) > 256 || len(r.Task) > 256 || hasHidden(r.Subject) || hasHidden(r.Task):
		return access.Errorf(access.CodeInvalid, "subject and task must be one line of at most 256 characters")
	}
	if _, ok := view.Server(r.Server); r.Server != "" && r.Server != "*" && r.Server != access.OwnServer && !ok {
		return access.Errorf(access.CodeNotFound, "server %q is not registered: see rutile server list", clip(r.Server))
	}
	if _, ok := view.Agent(r.A2A); r.A2A != "" && !ok {
		return access.Errorf(access.CodeNotFound, "agent %q is not registered: see rutile agent list", clip(r.A2A))
	}
	return nil
}

func hasHidden(s string) bool { _, bad := unseen(s); return bad }

// SetCredential stores a new upstream credential. The value goes to the vault
// and nowhere else.
func (a *Admin) SetCredential(ctx context.Context, actor Actor, s credential.Secret, value []byte) (credential.Secret, error) {
	if !access.ValidID(s.ID) {
		return credential.Secret{}, access.Errorf(access.CodeInvalid, "%q cannot be the name of a credential: use at most 63 lower-case letters, digits and -", clip(s.ID))
	}
	for _, server := range s.Servers {
		if !access.ValidID(server) {
			return credential.Secret{}, access.Errorf(access.CodeInvalid, "%q cannot be the id of a server", clip(server))
		}
	}
	if _, declared := a.current.Load().Sources[s.ID]; declared {
		return credential.Secret{}, access.Errorf(access.CodeConflict, "credential %q is declared in a manifest and minted: seal its seed under another name", s.ID)
	}
	if err := a.shown(s.ID, value); err != nil {
		return credential.Secret{}, err
	}
	if _, err := a.secret(ctx, s.ID); access.CodeOf(err) != access.CodeNotFound {
		if err == nil {
			err = access.Errorf(access.CodeConflict, "credential %q is there already: use rutile credential rotate %s", s.ID, s.ID)
		}
		return credential.Secret{}, err
	}
	return a.sealing(ctx, actor, "set", s, func() (credential.Secret, error) { return a.vault.Set(ctx, s, value) })
}

// RotateCredential replaces the value of a credential. Calls in flight keep the
// version they leased.
func (a *Admin) RotateCredential(ctx context.Context, actor Actor, id string, value []byte) (credential.Secret, error) {
	s, err := a.secret(ctx, id)
	if err != nil {
		return credential.Secret{}, err
	}
	if err := a.shown(id, value); err != nil {
		return credential.Secret{}, err
	}
	return a.sealing(ctx, actor, "rotate", s, func() (credential.Secret, error) { return a.vault.Rotate(ctx, id, value) })
}

// shown refuses a value that could be guessed for a credential that a receiver of signals
// shows: whoever shows it hears whom we revoke.
func (a *Admin) shown(id string, value []byte) error {
	sinks := a.current.Load().Sinks
	for _, of := range keysOf(sinks) {
		if sinks[of].Receiver == id && credential.Guessable(value) {
			return access.Errorf(access.CodeInvalid, "credential %q is what the receiver of sink %q shows, and this value could be guessed: let it be %s", id, of, credential.Unguessable)
		}
	}
	return nil
}

// RemoveCredential deletes a credential, sealed or declared. Servers that name it
// can not be called until it is set or declared again. What was minted of a declared
// one, and what people connected with it, is ended: that is tried within a bound, and
// what it came to is said; the removal itself stands.
func (a *Admin) RemoveCredential(ctx context.Context, actor Actor, id string) (credential.Ended, error) {
	end, err := a.removeCredential(ctx, actor, id)
	if err != nil {
		return credential.Ended{}, err
	}
	return end(context.WithoutCancel(ctx)), nil
}

// removeCredential returns what ends what is alive of the credential. From its
// return on nothing is opened or minted of it.
func (a *Admin) removeCredential(ctx context.Context, actor Actor, id string) (end func(context.Context) credential.Ended, err error) {
	if source, declared := a.current.Load().Sources[id]; declared {
		if err := a.undeclare(ctx, actor, id); err != nil {
			return nil, err
		}
		return func(ctx context.Context) credential.Ended { return a.vault.End(ctx, source, actor.String()) }, nil
	}
	s, err := a.secret(ctx, id)
	if err != nil {
		return nil, err
	}
	_, err = a.sealing(ctx, actor, "remove", s, func() (credential.Secret, error) {
		_, err := a.vault.Remove(ctx, id)
		return credential.Secret{}, err
	})
	return func(context.Context) credential.Ended { return credential.Ended{} }, err
}

// undeclare takes a declared credential out, so that nothing is minted of it and
// nobody's connection is used. Its seeds stay sealed.
func (a *Admin) undeclare(ctx context.Context, actor Actor, id string) error {
	return a.change(ctx, actor, func(cur *Current) (*draft, error) {
		d := newDraft()
		if _, declared := cur.Sources[id]; !declared {
			return nil, access.Errorf(access.CodeNotFound, "credential %q is not declared any more", clip(id))
		}
		d.changes.Sources[id] = nil
		d.records = append(d.records, record{verb: "remove", kind: kindCredential, object: id})
		return d, nil
	})
}

// RewrapCredentials seals every credential anew under the key of the vault that
// is configured. What was done before an error stays done.
func (a *Admin) RewrapCredentials(ctx context.Context, actor Actor) (sealed int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refresh(ctx); err != nil {
		return 0, err
	}
	r := record{verb: "rewrap", kind: "Credential", object: "*"}
	if err := a.permit(ctx, a.current.Load(), actor, OpCredential, r); err != nil {
		return 0, err
	}
	if err := a.note(ctx, actor, r); err != nil {
		return 0, err
	}
	sealed, err = a.vault.Rewrap(ctx)
	r.verb, r.detail = "rewrapped", map[string]any{"sealed": sealed, "complete": err == nil}
	if nerr := a.note(context.WithoutCancel(ctx), actor, r); nerr != nil {
		return sealed, nerr
	}
	if err != nil {
		return sealed, fmt.Errorf("sealing the credentials anew: %w", err)
	}
	return sealed, nil
}

func (a *Admin) secret(ctx context.Context, id string) (credential.Secret, error) {
	list, err := a.vault.List(ctx)
	if err != nil {
		return credential.Secret{}, fmt.Errorf("listing credentials: %w", err)
	}
	for _, s := range list {
		if s.ID == id {
			return s, nil
		}
	}
	return credential.Secret{}, access.Errorf(access.CodeNotFound, "credential %q is not stored: use rutile credential set %s", clip(id), clip(id))
}

// sealing records a change of the vault, makes it, and records if it failed.
func (a *Admin) sealing(ctx context.Context, actor Actor, verb string, s credential.Secret, do func() (credential.Secret, error)) (credential.Secret, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refresh(ctx); err != nil {
		return credential.Secret{}, err
	}
	if err := a.permit(ctx, a.current.Load(), actor, OpCredential, record{kind: "Credential", object: s.ID}); err != nil {
		return credential.Secret{}, err
	}
	detail := map[string]any{"version": s.Version, "servers": s.Servers, "origins": s.Origins, "maxTier": s.MaxTier}
	r := record{verb: verb, kind: "Credential", object: s.ID, detail: detail}
	if err := a.note(ctx, actor, r); err != nil {
		return credential.Secret{}, err
	}
	out, err := do()
	if err != nil {
		if verr := a.undone(ctx, actor, "Credential", s.ID, verb); verr != nil {
			return credential.Secret{}, verr
		}
		return credential.Secret{}, fmt.Errorf("%s of credential %q: %w", verb, s.ID, err)
	}
	return out, nil
}

// note records one leaf that changes nothing in the registry.
func (a *Admin) note(ctx context.Context, actor Actor, r record) error {
	return a.record(ctx, access.NewID(access.PrefixChange), actor, []record{r})
}
