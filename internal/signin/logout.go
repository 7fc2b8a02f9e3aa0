package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// logoutEvent is what a logout token is about (OpenID Connect Back-Channel Logout 1.0,
// section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Bounds of a logout token.
const (
	logoutAge  = 10 * time.Minute // from when it was made
	logoutLife = time.Hour        // at most, from when it was made
	logoutSkew = time.Minute
	maxLogout  = 8 << 10 // bytes
	maxClaim   = 512     // bytes of an id in it
)

// Logout says that somebody signed out at the provider: of one session there, or of all.
// It is about the subject, the session or both. It MUST be acted on once.
type Logout struct {
	Subject Subject // its ID is "" where only the session is named
	Session string  // at the provider, "" for all of them
	ID      string  // of the token, the only one of the issuer with it
	Until   time.Time
}

// Logout reads a logout token (Back-Channel Logout 1.0, section 2.6). Whatever does not
// count is ErrRefused, with why for the log alone.
func (p *Provider) Logout(ctx context.Context, raw string) (Logout, error) {
	if len(raw) > maxLogout || strings.Count(raw, ".") != 2 {
		return Logout{}, fmt.Errorf("%w: it is no token", ErrRefused)
	}
	k, err := p.learn(ctx)
	if err != nil {
		return Logout{}, err
	}
	signed, err := jose.ParseSignedCompact(raw, k.algorithms)
	if err != nil {
		return Logout{}, fmt.Errorf("%w: it is signed with no algorithm that is taken, or is no token", ErrRefused)
	}
	switch typ, _ := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string); strings.ToLower(strings.TrimPrefix(typ, "application/")) {
	case "logout+jwt", "jwt", "": // the type is recommended, not required
	default:
		return Logout{}, fmt.Errorf("%w: it is a token of another type", ErrRefused)
	}
	// The library checks the signature, iss, aud and exp, as of any token of the provider's.
	id, err := k.verifier.Verify(oidc.ClientContext(ctx, p.client), raw)
	if err != nil {
		return Logout{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var c struct {
		ID      string                     `json:"jti"`
		Session string                     `json:"sid"`
		Events  map[string]json.RawMessage `json:"events"`
	}
	var all map[string]json.RawMessage
	if err := errors.Join(id.Claims(&c), id.Claims(&all)); err != nil {
		return Logout{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var about map[string]any
	now := p.now()
	switch {
	case all["nonce"] != nil:
		return Logout{}, fmt.Errorf("%w: it has a nonce, so it is an id token", ErrRefused)
	case json.Unmarshal(c.Events[logoutEvent], &about) != nil || about == nil:
		return Logout{}, fmt.Errorf("%w: it is about no logout", ErrRefused)
	case c.ID == "" || len(c.ID) > maxClaim || len(c.Session) > maxClaim || len(id.Subject) > maxClaim:
		return Logout{}, fmt.Errorf("%w: it has no id, or one that is too long", ErrRefused)
	case id.Subject == "" && c.Session == "":
		return Logout{}, fmt.Errorf("%w: it names neither a person nor a session", ErrRefused)
	case id.IssuedAt.After(now.Add(logoutSkew)) || now.Sub(id.IssuedAt) > logoutAge || id.Expiry.Sub(id.IssuedAt) > logoutLife:
		return Logout{}, fmt.Errorf("%w: it is of the future, too old, or lives for too long", ErrRefused)
	}
	return Logout{Subject: Subject{p.cfg.Issuer, id.Subject}, Session: c.Session, ID: c.ID, Until: id.Expiry}, nil
}
