package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"rutile/internal/access"
)

// How a session was opened (Family.Source, access.Actor.Source).
const (
	SourcePrivateKeyJWT = "private_key_jwt"
	SourceDevelopment   = "development"
)

// prefixToken starts the id (jti) of an access token.
const prefixToken = "tok_"

// maxWord bounds a subject or task given for a development token, in bytes.
const maxWord = 128

// Token is an issued access token. Printing or logging one shows its id only.
type Token struct {
	Value    string // the bearer token itself, a secret
	ID       string // jti
	Session  string
	Agent    string
	Resource string
	Scope    string
	Issued   time.Time
	Expires  time.Time
}

// String returns the token's id.
func (t Token) String() string { return t.ID }

// GoString returns the token's id.
func (t Token) GoString() string { return t.ID }

// LogValue returns the token's id.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.ID) }

// ClientCredentials issues a token for an agent acting by itself (RFC 6749
// section 4.4) on one resource (RFC 8707). scope may be empty. The error is an
// *Error if the request is refused.
func (a *Authority) ClientCredentials(ctx context.Context, c Client, resource, scope string) (Token, error) {
	if c.agent == "" {
		return Token{}, invalidClient("the client is not authenticated; send a client_assertion", nil)
	}
	if !a.resources.Known(resource) {
		return Token{}, &Error{Code: InvalidTarget, Description: "the resource is not known here; use the exact URL the agent connects to, as its protected resource metadata names it"}
	}
	if scope != "" {
		for s := range strings.SplitSeq(scope, " ") {
			if s != Scope {
				return Token{}, &Error{Code: InvalidScope, Description: "the only scope is " + Scope + "; ask for it or for none"}
			}
		}
	}
	return a.issue(ctx, Family{Agent: c.agent, Proof: c.proof, Source: SourcePrivateKeyJWT}, access.Subject{}, resource, a.cfg.TokenTTL)
}

// Development issues a token without any proof by the agent, on the word of the
// operator who asked for it; the caller MUST have authorised and recorded that.
// subject is a person the agent is to act for, or "" for an autonomous agent; a
// ttl of 0 is the usual one. Errors are *access.Error for the operator.
func (a *Authority) Development(ctx context.Context, agent, resource, subject, task string, ttl time.Duration) (Token, error) {
	if _, refused := a.agents.AgentKeys(agent); refused != nil {
		return Token{}, refused
	}
	if !a.resources.Known(resource) {
		return Token{}, access.Errorf(access.CodeNotFound, "no server has the resource %q; list them with: rutile server list", resource)
	}
	if ttl == 0 {
		ttl = a.cfg.TokenTTL
	}
	if ttl < time.Second || ttl > a.cfg.DevelopmentTTL {
		return Token{}, access.Errorf(access.CodeInvalid, "a development token lives between 1s and %v, not %v; choose a --ttl in between", a.cfg.DevelopmentTTL, ttl)
	}
	for name, word := range map[string]string{"subject": subject, "task": task} {
		if len(word) > maxWord || !printable(word) {
			return Token{}, access.Errorf(access.CodeInvalid, "the %s must be at most %d printable bytes", name, maxWord)
		}
	}
	who := access.Subject{}
	if subject != "" {
		who = access.Subject{Issuer: a.cfg.Issuer, ID: subject}
	}
	f := Family{Agent: agent, Subject: familySubject(who), Source: SourceDevelopment, Task: task}
	t, err := a.issue(ctx, f, who, resource, ttl)
	if err != nil {
		return Token{}, fmt.Errorf("issuing a development token: %w", err)
	}
	return t, nil
}

// issue joins the session f describes, or opens it, and signs a token for it.
func (a *Authority) issue(ctx context.Context, f Family, who access.Subject, resource string, ttl time.Duration) (Token, error) {
	// Read before the session and the keys: a token claims to have seen no more
	// than it did.
	epoch := a.revoked.Position()
	now := a.cfg.Now()
	f.ID = access.NewID(access.PrefixSession)
	f.Opened, f.Last, f.Absolute = now, now, now.Add(a.cfg.Absolute)
	joined, err := a.store.JoinFamily(ctx, f, a.cfg.Idle)
	if err != nil {
		return Token{}, unavailable("the session cannot be opened now; try again", err)
	}
	if joined.State != "" {
		return Token{}, held(joined.ID)
	}
	// A token does not outlive its session.
	if left := joined.Absolute.Sub(now); ttl > left {
		ttl = left
	}
	c := claims{
		Issuer:   a.cfg.Issuer,
		Audience: resource,
		Issued:   now.Unix(),
		Expires:  now.Add(ttl).Unix(),
		ID:       access.NewID(prefixToken),
		Client:   f.Agent,
		Scope:    Scope,
		Subject:  f.Agent,
		Agent:    agentClaim{ID: f.Agent},
		Session:  joined.ID,
		Task:     f.Task,
		Epoch:    epoch,
	}
	if !who.Autonomous() {
		c.Subject, c.Act = who.ID, &actClaim{Subject: f.Agent}
	}
	value, err := a.sign(c)
	if err != nil {
		return Token{}, err
	}
	return Token{
		Value: value, ID: c.ID, Session: c.Session, Agent: c.Client, Resource: resource, Scope: c.Scope,
		Issued: time.Unix(c.Issued, 0).UTC(), Expires: time.Unix(c.Expires, 0).UTC(),
	}, nil
}

// held refuses a token for a session that is quarantined. It is an *Error for the
// client and an *access.Error for an operator.
func held(session string) error {
	msg := "session " + session + " is quarantined, and no other is opened beside it; a person can release it with rutile session release"
	return &Error{Code: InvalidGrant, Description: msg, Err: access.Errorf(access.CodeDenied, "%s", msg)}
}

func (a *Authority) sign(c claims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encoding an access token: %w", err)
	}
	sig, err := a.ring.Load().signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing an access token: %w", err)
	}
	value, err := sig.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("encoding an access token: %w", err)
	}
	return value, nil
}
