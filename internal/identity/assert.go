package identity

import (
	"encoding/json"
	"fmt"
	"time"

	"rutile/internal/access"
)

// assertionTTL is how long a statement about a call lives.
const assertionTTL = time.Minute

// Statement says who acts for whom, for one other authorization server.
type Statement struct {
	Audience string         // issuer of who reads it
	Agent    string         // who acts
	Subject  access.Subject // for whom; nobody for an autonomous agent
}

// statementClaims are RFC 7523 section 3 with the act claim of RFC 8693 section 4.1.
type statementClaims struct {
	Issuer   string    `json:"iss"`
	Subject  string    `json:"sub"`
	From     string    `json:"sub_iss,omitempty"` // who knows the subject, where it is not us
	Audience string    `json:"aud"`
	Issued   int64     `json:"iat"`
	Expires  int64     `json:"exp"`
	ID       string    `json:"jti"`
	Act      *actClaim `json:"act,omitempty"`
}

// State signs a statement with our token keys, which /oauth/jwks publishes. Its
// type and audience differ from an access token's, so that it opens no door here.
func (a *Authority) State(s Statement) (string, error) {
	if s.Audience == "" || s.Audience == a.cfg.Issuer || s.Agent == "" {
		return "", access.Errorf(access.CodeInvalid, "a statement names an agent, and another issuer as its audience")
	}
	now := a.cfg.Now()
	c := statementClaims{Issuer: a.cfg.Issuer, Subject: s.Agent, Audience: s.Audience, Issued: now.Unix(), Expires: now.Add(assertionTTL).Unix(), ID: access.NewID("")}
	if !s.Subject.Autonomous() {
		c.Subject, c.Act = s.Subject.ID, &actClaim{Subject: s.Agent}
		if s.Subject.Issuer != a.cfg.Issuer {
			c.From = s.Subject.Issuer
		}
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encoding a statement: %w", err)
	}
	return a.signAs("JWT", payload)
}

// SignEvent signs the claims of a security event token (RFC 8417) with our token keys. Its
// type differs from an access token's, and it has no sub and no exp, so that it opens no
// door here.
func (a *Authority) SignEvent(claims []byte) (string, error) { return a.signAs("secevent+jwt", claims) }

func (a *Authority) signAs(typ string, payload []byte) (string, error) {
	signer, err := a.ring.Load().live()[0].typed(typ)
	if err != nil {
		return "", fmt.Errorf("signing a token of type %s: %w", typ, err)
	}
	sig, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing a token of type %s: %w", typ, err)
	}
	value, err := sig.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("encoding a token of type %s: %w", typ, err)
	}
	return value, nil
}
