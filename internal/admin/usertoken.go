package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/registry"
)

// Bounds of personal tokens.
const (
	DefaultUserTokenTTL = 90 * 24 * time.Hour
	MaxUserTokenTTL     = 365 * 24 * time.Hour
	minUserTokenTTL     = time.Minute
	maxUserTokens       = 16 // of one user, that have not expired
	maxTokenName        = 64
	useInterval         = time.Hour // how often a use is noted at most
)

// UserTokenPrefix starts every personal token; what follows is the rest of its
// id, "_" and 256 random bits.
const UserTokenPrefix = "rut_" + userTokenID

const userTokenID = "pat_"

// NewUserToken is a personal token as it is given out, once.
type NewUserToken struct {
	Token   string    `json:"token"` // a secret
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Name    string    `json:"name,omitempty"`
	Expires time.Time `json:"expires"`
}

// UserTokenUse is a personal token without its digest and when it was last used,
// to the hour.
type UserTokenUse struct {
	registry.UserToken
	Used time.Time `json:"used,omitzero"`
}

// CreateUserToken makes a personal token for a user. ttl 0 is 90 days. Only its
// SHA-256 is kept, and it is recorded that it was made, never what it is.
func (a *Admin) CreateUserToken(ctx context.Context, actor Actor, user, name string, ttl time.Duration) (NewUserToken, error) {
	if ttl == 0 {
		ttl = DefaultUserTokenTTL
	}
	switch {
	case ttl < minUserTokenTTL || ttl > MaxUserTokenTTL:
		return NewUserToken{}, access.Errorf(access.CodeInvalid, "a personal token lives between %s and %d days", minUserTokenTTL, MaxUserTokenTTL/(24*time.Hour))
	case len(name) > maxTokenName || hasHidden(name):
		return NewUserToken{}, access.Errorf(access.CodeInvalid, "the name of a token must be one line of at most %d characters", maxTokenName)
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	id := access.NewID(userTokenID)
	token := "rut_" + id + "_" + base64.RawURLEncoding.EncodeToString(secret[:])
	hash := sha256.Sum256([]byte(token))
	now := a.now()
	t := registry.UserToken{ID: id, Name: name, Hash: hash[:], Created: now, Expires: now.Add(ttl), By: actor.String()}
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		u, ok := cur.View.User(user)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "user %q is not registered: see rutile user list", clip(user))
		}
		if s := registry.UserStatus(u, now); s != registry.UserActive {
			return nil, access.Errorf(access.CodeConflict, "user %q is %s and can have no token", user, s)
		}
		u.Tokens = slices.DeleteFunc(slices.Clone(u.Tokens), func(t registry.UserToken) bool { return !now.Before(t.Expires) })
		if len(u.Tokens) >= maxUserTokens {
			return nil, access.Errorf(access.CodeConflict, "user %q has %d tokens already: revoke one with rutile user token revoke %s ID", user, maxUserTokens, user)
		}
		u.Tokens = append(u.Tokens, t)
		u.Changed = now
		return userDraft(u, "issue-token", "token "+id, map[string]any{"token": id, "name": name, "expires": t.Expires}), nil
	})
	if err != nil {
		return NewUserToken{}, err
	}
	return NewUserToken{Token: token, ID: id, User: user, Name: name, Expires: t.Expires}, nil
}

// RevokeUserToken ends a personal token. When it returns the token counts
// nowhere any more, also in requests that are under way.
func (a *Admin) RevokeUserToken(ctx context.Context, actor Actor, user, id, why string) error {
	if err := checkReason(why); err != nil {
		return err
	}
	return a.change(ctx, actor, func(cur *Current) (*draft, error) {
		u, t, ok := cur.View.UserToken(id)
		if !ok || u.ID != user {
			return nil, access.Errorf(access.CodeNotFound, "user %q has no token %q: see rutile user token list %s", clip(user), clip(id), clip(user))
		}
		u.Tokens = slices.DeleteFunc(slices.Clone(u.Tokens), func(t registry.UserToken) bool { return t.ID == id })
		u.Changed = a.now()
		return userDraft(u, "revoke-token", strings.TrimSuffix("token "+id+": "+why, ": "), map[string]any{"token": id, "name": t.Name}), nil
	})
}

// UserTokens lists the tokens of a user, oldest first, without their digests.
func (a *Admin) UserTokens(ctx context.Context, user string) ([]UserTokenUse, error) {
	u, ok := a.current.Load().View.User(user)
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "user %q is not registered: see rutile user list", clip(user))
	}
	used, err := a.store.TokenUses(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading when tokens were used: %w", err)
	}
	var out []UserTokenUse
	for _, t := range bareTokens(u.Tokens) {
		out = append(out, UserTokenUse{UserToken: t, Used: used[t.ID]})
	}
	return out, nil
}

// Authenticate returns whose a personal token is. Whatever does not count fails
// in one way (CodeUnauthenticated), after the same comparison. It compares with
// what the store holds now, so that a token another node revoked counts nowhere.
func (a *Admin) Authenticate(ctx context.Context, token string) (Actor, error) {
	cur, err := a.fresh(ctx)
	if err != nil {
		return Actor{}, err
	}
	id := ""
	rest, ok := strings.CutPrefix(token, "rut_")
	if end := len(rest) - secretChars - 1; ok && end > 0 && rest[end] == '_' {
		id = rest[:end]
	}
	u, t, known := cur.View.UserToken(id)
	if !known {
		t.Hash = make([]byte, sha256.Size) // nobody's: the comparison costs the same
	}
	actor := Actor{Kind: "user", ID: u.ID, Token: id}
	if matches := t.Matches(sha256.Sum256([]byte(token))); !matches || !known {
		return Actor{}, unauthenticated()
	}
	if _, ok := a.live(cur, actor); !ok {
		return Actor{}, unauthenticated()
	}
	a.used(ctx, id)
	return actor, nil
}

// fresh returns the state the store holds now: what another node changed counts
// here before it has come by itself.
func (a *Admin) fresh(ctx context.Context) (*Current, error) {
	gen, err := a.registry.Generation(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the generation: %w", err)
	}
	if a.current.Load().View.Generation() != gen {
		if err := a.Refresh(ctx); err != nil {
			return nil, err
		}
	}
	return a.current.Load(), nil
}

// secretChars is the length of 256 bits in unpadded base64url.
const secretChars = 43

// used notes that a token was used, at most once in useInterval. It is for
// people who look for tokens nobody needs: that it cannot be kept stops nobody.
func (a *Admin) used(ctx context.Context, id string) {
	now := a.now()
	a.usesMu.Lock()
	recent := now.Sub(a.uses[id]) < useInterval
	if !recent {
		maps.DeleteFunc(a.uses, func(_ string, at time.Time) bool { return now.Sub(at) >= useInterval })
		a.uses[id] = now
	}
	a.usesMu.Unlock()
	if recent {
		return
	}
	if err := a.store.TokenUsed(ctx, id, now); err != nil {
		a.usesMu.Lock()
		delete(a.uses, id)
		a.usesMu.Unlock()
	}
}
