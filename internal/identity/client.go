package identity

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	josejson "github.com/go-jose/go-jose/v4/json"

	"rutile/internal/access"
)

// AssertionType is the client_assertion_type of RFC 7523 section 2.2.
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// maxAssertion is how far ahead of now an assertion may expire, and how old it
// may be.
const maxAssertion = 5 * time.Minute

// maxJTI bounds an assertion's jti, in bytes.
const maxJTI = 256

var (
	errType   = errors.New("another typ")
	errKey    = errors.New("unknown key id")
	errIssuer = errors.New("another issuer")
	errClaims = errors.New("the claims are incomplete, contradictory or of a wrong type")
)

// Assertion is the client authentication of a token request.
type Assertion struct {
	ClientID string // client_id parameter, "" if absent
	Type     string // client_assertion_type
	JWT      string // client_assertion
}

// Client is an agent that authenticated at the token endpoint. Only
// Authenticate makes one; the zero value is nobody and gets no token.
type Client struct {
	agent string
	proof string // thumbprint of the key that signed
}

// Agent returns the agent's id.
func (c Client) Agent() string { return c.agent }

// assertionClaims are the claims of RFC 7523 section 3 that are read.
type assertionClaims struct {
	Issuer    string      `json:"iss"`
	Subject   string      `json:"sub"`
	Audience  audience    `json:"aud"`
	Expires   numericDate `json:"exp"`
	Issued    numericDate `json:"iat"`
	NotBefore numericDate `json:"nbf"`
	ID        string      `json:"jti"`
}

// audience is one audience: a string, or an array of exactly one as some
// libraries write it.
type audience string

func (a *audience) UnmarshalJSON(b []byte) error {
	var list []string
	if err := josejson.Unmarshal(b, &list); err == nil {
		if len(list) != 1 {
			return errors.New("not one audience")
		}
		*a = audience(list[0])
		return nil
	}
	var s string
	if err := josejson.Unmarshal(b, &s); err != nil {
		return errors.New("not one audience")
	}
	*a = audience(s)
	return nil
}

// numericDate is Unix seconds. RFC 7519 allows fractions; they are cut off.
type numericDate int64

func (n *numericDate) UnmarshalJSON(b []byte) error {
	var f float64
	if err := josejson.Unmarshal(b, &f); err != nil || f < 1 || f > 1<<40 {
		return errors.New("not a date")
	}
	*n = numericDate(math.Floor(f))
	return nil
}

// Authenticate checks a private_key_jwt client assertion (RFC 7523): signed by
// a key of the agent that iss, sub and client_id all name, for our token
// endpoint or issuer, fresh, and never seen before. The error is an *Error if
// the client is refused.
func (a *Authority) Authenticate(ctx context.Context, as Assertion) (Client, error) {
	switch {
	case as.JWT == "" && as.Type == "":
		return Client{}, invalidClient("no client authentication; send client_assertion_type="+AssertionType+" and a client_assertion signed with the agent's key", nil)
	case as.Type != AssertionType:
		return Client{}, invalidClient("the client_assertion_type is not supported; use "+AssertionType, nil)
	}
	p, err := parseCompact(as.JWT, assertionAlgorithms(), "x5t", "x5t#S256", "cty")
	if err != nil {
		return Client{}, invalidClient("the client_assertion cannot be read; send a compact JWT with alg EdDSA, ES256, PS256 or RS256 and no header parameters but typ and kid", err)
	}
	if p.typ != "" && !strings.EqualFold(p.typ, "JWT") && !strings.EqualFold(p.typ, "client-authentication+jwt") {
		return Client{}, invalidClient("the client_assertion has a typ of another use; leave it out or use JWT", errType)
	}
	var c assertionClaims
	if err := josejson.Unmarshal(p.payload, &c); err != nil {
		return Client{}, invalidClient("the claims of the client_assertion cannot be read; send iss, sub, one aud, exp, iat and jti, each once", errClaims)
	}
	if !access.ValidID(c.Issuer) || c.Subject != c.Issuer || (as.ClientID != "" && as.ClientID != c.Issuer) {
		return Client{}, invalidClient("iss and sub of the client_assertion, and client_id if sent, must all be the agent's id", errIssuer)
	}
	client, err := a.authenticKey(p, c.Issuer)
	if err != nil {
		return Client{}, err
	}
	now := a.cfg.Now()
	if err := a.checkAssertion(&c, now); err != nil {
		return Client{}, err
	}
	// Last, so that only what would otherwise be accepted is recorded.
	until := time.Unix(int64(c.Expires), 0).Add(a.cfg.Skew + time.Second)
	fresh, err := a.store.UseAssertion(ctx, c.Issuer, c.ID, until)
	if err != nil {
		return Client{}, unavailable("the client_assertion cannot be checked now; try again", err)
	}
	if !fresh {
		return Client{}, invalidClient("the client_assertion was used before; sign a new one with a new jti for each request", nil)
	}
	return client, nil
}

// authenticKey finds the agent's key that signed. Nobody without such a key
// learns whether the agent exists or what became of it.
func (a *Authority) authenticKey(p *jws, agent string) (Client, error) {
	keys, refused := a.agents.AgentKeys(agent)
	for _, raw := range keys {
		k, err := parseAgentKey(raw)
		if err != nil || !k.may(p.alg, p.kid) || p.verify(k.public) != nil {
			continue
		}
		if refused != nil {
			return Client{}, invalidClient(reason(refused), refused)
		}
		return Client{agent: agent, proof: k.thumbprint}, nil
	}
	cause := refused
	if cause == nil {
		cause = errKey
	}
	return Client{}, invalidClient("no active agent of this id has a key that verifies the client_assertion; check the agent's manifest and that its keys hold the public part of the key that signed", cause)
}

// checkAssertion checks audience and times.
func (a *Authority) checkAssertion(c *assertionClaims, now time.Time) error {
	if c.Audience != audience(a.TokenEndpoint()) && c.Audience != audience(a.cfg.Issuer) {
		return invalidClient("the client_assertion is for another audience; use aud "+a.cfg.Issuer, nil)
	}
	at, skew, most := now.Unix(), int64(a.cfg.Skew/time.Second), int64(maxAssertion/time.Second)
	expires, issued := int64(c.Expires), int64(c.Issued)
	switch {
	case expires == 0 || issued == 0:
		return invalidClient("the client_assertion lacks exp or iat", nil)
	case at > expires+skew:
		return invalidClient("the client_assertion has expired; sign a new one, and check the clock", nil)
	case expires > at+skew+most:
		return invalidClient("the client_assertion expires more than 5 minutes ahead; sign one for a shorter time", nil)
	case issued > at+skew || int64(c.NotBefore) > at+skew:
		return invalidClient("the client_assertion is dated in the future; check the clock", nil)
	case issued < at-skew-most:
		return invalidClient("the client_assertion was issued more than 5 minutes ago; sign a new one for each request", nil)
	case c.ID == "" || len(c.ID) > maxJTI || !printable(c.ID):
		return invalidClient("the client_assertion needs a jti of 1 to 256 printable characters", nil)
	}
	return nil
}

// holdsKey reports whether one of the keys has this thumbprint.
func holdsKey(keys []json.RawMessage, thumbprint string) bool {
	return slices.ContainsFunc(keys, func(raw json.RawMessage) bool {
		k, err := parseAgentKey(raw)
		return err == nil && k.thumbprint == thumbprint
	})
}

// printable reports whether s is free of control and replacement characters.
func printable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError {
			return false
		}
	}
	return true
}
