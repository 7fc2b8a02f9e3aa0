package identity

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"
	"unsafe"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"rutile/internal/access"
)

// accessTokenType is the typ of our access tokens (RFC 9068 section 2.1).
const accessTokenType = "at+jwt"

// claims of an access token (access.md 1.4).
type claims struct {
	Issuer   string     `json:"iss"`
	Audience string     `json:"aud"`
	Expires  int64      `json:"exp"`
	Issued   int64      `json:"iat"`
	ID       string     `json:"jti"`
	Client   string     `json:"client_id"`
	Scope    string     `json:"scope"`
	Subject  string     `json:"sub"`           // the person, or the agent if it is autonomous
	Act      *actClaim  `json:"act,omitempty"` // present if a person stands behind the call
	Agent    agentClaim `json:"agent"`
	Session  string     `json:"sid"`
	Task     string     `json:"task,omitempty"`
	Epoch    uint64     `json:"epoch"`
}

type actClaim struct {
	Subject string `json:"sub"`
}

type agentClaim struct {
	ID string `json:"id"`
}

// What BearerToken answers. Both are *BearerError.
var (
	ErrNoToken   error = &BearerError{Problem: ProblemMissing, Msg: "no access token was sent; send one in the header \"Authorization: Bearer TOKEN\""}
	ErrMalformed error = &BearerError{Problem: ProblemMalformed, Msg: "the Authorization header cannot be read; send exactly one \"Authorization: Bearer TOKEN\""}
)

// BearerToken returns the token of a request's Authorization header values: no
// header, or one of another scheme, is ErrNoToken; several headers or an
// unreadable one are ErrMalformed. Tokens MUST be read from nowhere else.
func BearerToken(authorization []string) (string, error) {
	switch len(authorization) {
	case 0:
		return "", ErrNoToken
	case 1:
	default:
		return "", ErrMalformed
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoToken
	}
	if token = strings.Trim(token, " "); len(token) > maxToken || !token68(token) {
		return "", ErrMalformed
	}
	return token, nil
}

// token68 is the syntax of RFC 9110 section 11.2.
func token68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// Verify returns whom a token presented for a resource speaks for. The error is
// a *BearerError if the token is refused; any other error means that it could
// not be judged. resource is compared byte for byte.
//
// The order is that of access.md 1.4: type, algorithm, key, signature, issuer,
// audience, times, then the agent's standing and the session. What holds for
// good is remembered; audience, times and standing are checked every time, and
// a change of agents or Invalidate makes everything be checked again.
func (a *Authority) Verify(ctx context.Context, bearer, resource string) (access.Identity, error) {
	if bearer == "" {
		return access.Identity{}, ErrNoToken
	}
	if len(bearer) > maxToken {
		return access.Identity{}, invalidToken("the access token is longer than 8 KiB; request one at "+a.TokenEndpoint(), nil)
	}
	// A view, because converting would copy the token on every call; the hash
	// neither keeps nor changes it.
	sum := sha256.Sum256(unsafe.Slice(unsafe.StringData(bearer), len(bearer)))
	now := a.cfg.Now()
	gen := a.generation() // before anything that depends on it is read
	v := a.cache.get(&sum, gen)
	if v != nil {
		if err := a.admit(v, resource, now); err != nil {
			return access.Identity{}, err
		}
		return v.who, nil
	}
	v, err := a.read(bearer, now)
	if err != nil {
		return access.Identity{}, err
	}
	if err := a.admit(v, resource, now); err != nil {
		return access.Identity{}, err
	}
	if err := a.checkSession(ctx, v, now); err != nil {
		return access.Identity{}, err
	}
	v.gen = gen
	a.cache.put(&sum, v)
	return v.who, nil
}

// read checks what never changes about a token: form, type, algorithm, key,
// signature and issuer.
func (a *Authority) read(bearer string, now time.Time) (*verified, error) {
	refuse := func(err error) error {
		return invalidToken("the access token is not one of ours; request one at "+a.TokenEndpoint(), err)
	}
	p, err := parseCompact(bearer, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, refuse(err)
	}
	if p.typ != accessTokenType {
		return nil, refuse(errType)
	}
	public, ok := a.ring.Load().key(p.kid, now)
	if !ok {
		return nil, refuse(errKey)
	}
	if err := p.verify(public); err != nil {
		return nil, refuse(err)
	}
	var c claims
	if err := json.Unmarshal(p.payload, &c); err != nil {
		return nil, refuse(errClaims)
	}
	if c.Issuer != a.cfg.Issuer {
		return nil, refuse(errIssuer)
	}
	if !c.complete() {
		return nil, refuse(errClaims)
	}
	v := &verified{aud: c.Audience, issued: c.Issued, expires: c.Expires}
	v.who = access.Identity{
		Actor:   access.Actor{Agent: c.Client},
		Session: c.Session,
		Task:    c.Task,
		TokenID: c.ID,
		Scope:   c.Scope,
		Expires: time.Unix(c.Expires, 0).UTC(),
		Epoch:   c.Epoch,
	}
	if c.Act != nil {
		v.who.Subject = access.Subject{Issuer: c.Issuer, ID: c.Subject}
		v.subject = familySubject(v.who.Subject)
	}
	return v, nil
}

// complete reports whether the claims name one agent consistently, and a person
// only together with the agent that acts.
func (c *claims) complete() bool {
	if !access.ValidID(c.Client) || c.Agent.ID != c.Client || c.ID == "" || c.Session == "" || c.Audience == "" || c.Issued <= 0 || c.Expires < c.Issued {
		return false
	}
	if c.Act == nil {
		return c.Subject == c.Client
	}
	return c.Act.Subject == c.Client && c.Subject != ""
}

// admit checks what may differ from one use of a verified token to the next.
func (a *Authority) admit(v *verified, resource string, now time.Time) error {
	refuse := func(msg string, cause error) error {
		return &BearerError{Problem: ProblemInvalid, Msg: msg, Agent: v.who.Actor.Agent, Err: cause}
	}
	if v.aud != resource || resource == "" {
		return refuse("the access token is for another resource; request one with resource="+resource, nil)
	}
	at, skew := now.Unix(), int64(a.cfg.Skew/time.Second)
	if at > v.expires+skew {
		return refuse("the access token has expired; request a new one at "+a.TokenEndpoint(), nil)
	}
	if at < v.issued-skew {
		return refuse("the access token was issued in the future; check the clocks and request a new one at "+a.TokenEndpoint(), nil)
	}
	if _, refused := a.agents.AgentKeys(v.who.Actor.Agent); refused != nil {
		return refuse(reason(refused), refused)
	}
	// Also where its session was not ended: it was minted by who had not heard.
	if a.revoked.Since(v.who.Actor.Agent, v.subject, v.who.Session) > v.who.Epoch {
		return refuse("the access token is older than a revocation of its agent, its person or its session; request a new one at "+a.TokenEndpoint(), nil)
	}
	if !hasScope(v.who.Scope) {
		return &BearerError{Problem: ProblemScope, Msg: "the access token lacks the scope " + Scope + "; request one with it", Agent: v.who.Actor.Agent}
	}
	return nil
}

func hasScope(scopes string) bool {
	for s := range strings.SplitSeq(scopes, " ") {
		if s == Scope {
			return true
		}
	}
	return false
}

// checkSession checks that the token's session stands and that the key that
// opened it is still one of the agent's, and completes the identity from it.
func (a *Authority) checkSession(ctx context.Context, v *verified, now time.Time) error {
	refuse := func(msg string) error {
		return &BearerError{Problem: ProblemInvalid, Msg: msg + "; request a new token at " + a.TokenEndpoint(), Agent: v.who.Actor.Agent}
	}
	f, ok, err := a.store.LoadFamily(ctx, v.who.Session)
	if err != nil {
		return unavailable("the session of the access token cannot be checked now; try again", err)
	}
	if !ok || f.Agent != v.who.Actor.Agent || f.Subject != familySubject(v.who.Subject) || f.Task != v.who.Task {
		return refuse("the session of the access token is unknown")
	}
	switch {
	case f.State == SessionQuarantined:
		return &BearerError{Problem: ProblemInvalid, Msg: "the session of the access token is quarantined; only a person can release it", Agent: f.Agent}
	case f.State != "":
		return refuse("the session of the access token was " + string(f.State))
	}
	if !now.Before(f.Absolute) {
		return refuse("the session of the access token has ended")
	}
	switch f.Source {
	case SourcePrivateKeyJWT:
		keys, refused := a.agents.AgentKeys(f.Agent)
		if refused != nil {
			return &BearerError{Problem: ProblemInvalid, Msg: reason(refused), Agent: f.Agent, Err: refused}
		}
		if !holdsKey(keys, f.Proof) {
			return refuse("the key that opened the session is no longer one of the agent's keys")
		}
	case SourceDevelopment:
	default:
		return refuse("the session was opened in a way that is not accepted")
	}
	v.who.Actor.Source, v.who.Actor.Attested = f.Source, true
	return nil
}

// Over reports whether a session is over: nothing can be done in it any more, whatever
// token somebody has. One that is quarantined is not.
func (a *Authority) Over(ctx context.Context, session string) (bool, error) {
	f, ok, err := a.store.LoadFamily(ctx, session)
	if err != nil {
		return false, unavailable("the session cannot be checked now; try again", err)
	}
	if !ok {
		return true, nil
	}
	if f.State != "" {
		return f.State != SessionQuarantined, nil
	}
	now := a.cfg.Now()
	// The last token was issued at the last use.
	return !now.Before(f.Absolute) || now.After(f.Last.Add(max(a.cfg.Idle, max(a.cfg.TokenTTL, a.cfg.DevelopmentTTL)+a.cfg.Skew))), nil
}

// familySubject is how a Family names a subject.
func familySubject(s access.Subject) string {
	if s.Autonomous() {
		return ""
	}
	return s.Issuer + "|" + s.ID
}

func unavailable(msg string, cause error) error {
	return &access.Error{Code: access.CodeUnavailable, Msg: msg, Err: cause}
}
