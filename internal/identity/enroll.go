package identity

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"

	"rutile/internal/access"
)

// enrollmentType is the typ of an enrollment, so that nothing else that was
// signed can be taken for one.
const enrollmentType = "rutile-enrollment+jwt"

const codePrefix = "enr_"

// Enrollment asks that a key becomes one of an agent's. It was signed with the
// code an operator gave out.
type Enrollment struct {
	Agent string
	Code  string          // public half of the code, as NewEnrollmentCode returned it
	Key   json.RawMessage // public JWK
}

// NewEnrollmentCode makes a code that lets its holder add one key to an agent.
// The code is a private key: what the gateway keeps of it, public, redeems
// nothing, and whoever redeems it signs for one gateway and one key, so that
// neither can be exchanged on the way.
func NewEnrollmentCode(agent string) (code, public string, err error) {
	pub, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", "", err
	}
	return codePrefix + agent + "." + base64.RawURLEncoding.EncodeToString(private.Seed()), base64.RawURLEncoding.EncodeToString(pub), nil
}

func parseCode(code string) (agent string, private ed25519.PrivateKey, ok bool) {
	rest, ok := strings.CutPrefix(code, codePrefix)
	agent, seed, ok2 := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(seed)
	if !ok || !ok2 || err != nil || len(raw) != ed25519.SeedSize || !access.ValidID(agent) {
		return "", nil, false
	}
	return agent, ed25519.NewKeyFromSeed(raw), true
}

// CodeAgent returns the agent a code is for. The error is an *access.Error.
func CodeAgent(code string) (string, error) {
	agent, _, ok := parseCode(code)
	if !ok {
		return "", access.Errorf(access.CodeInvalid, "this is no enrollment code: it begins with %s and is printed by rutile agent enroll AGENT", codePrefix)
	}
	return agent, nil
}

type enrollmentClaims struct {
	Agent    string          `json:"sub"`
	Audience string          `json:"aud"`
	Code     string          `json:"code"`
	Key      json.RawMessage `json:"jwk"`
}

// SignEnrollment makes the request that redeems a code at one gateway for one
// public key.
func SignEnrollment(code, issuer string, key json.RawMessage) (string, error) {
	agent, private, ok := parseCode(code)
	if !ok {
		_, err := CodeAgent(code)
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, (&jose.SignerOptions{}).WithType(enrollmentType))
	if err != nil {
		return "", errors.New("the enrollment code cannot sign")
	}
	public := base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	claims, err := json.Marshal(enrollmentClaims{agent, issuer, public, key})
	if err != nil {
		return "", errors.New("encoding an enrollment")
	}
	sig, err := signer.Sign(claims)
	if err != nil {
		return "", errors.New("the enrollment code cannot sign")
	}
	return sig.CompactSerialize()
}

// ReadEnrollment checks that an enrollment is for this gateway, for a key an
// agent may have and signed with the code it names. Whether that code counts is
// the caller's to find out. The error is an *Error.
func (a *Authority) ReadEnrollment(request string) (Enrollment, error) {
	refuse := func(description string, cause error) (Enrollment, error) {
		return Enrollment{}, &Error{Code: InvalidGrant, Description: description, Err: cause}
	}
	p, err := parseCompact(request, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || p.typ != enrollmentType {
		return refuse("the enrollment cannot be read; use rutile connect --enroll of the gateway's version", err)
	}
	var c enrollmentClaims
	if err := josejson.Unmarshal(p.payload, &c); err != nil || !access.ValidID(c.Agent) {
		return refuse("the enrollment cannot be read; use rutile connect --enroll of the gateway's version", errClaims)
	}
	public, err := base64.RawURLEncoding.Strict().DecodeString(c.Code)
	if err != nil || len(public) != ed25519.PublicKeySize || p.verify(ed25519.PublicKey(public)) != nil {
		return refuse("the enrollment is not signed with the code it names; ask for a new code", errKey)
	}
	if c.Audience != a.cfg.Issuer {
		return refuse("the enrollment is for another gateway; this one is "+a.cfg.Issuer, errIssuer)
	}
	if _, err := parseAgentKey(c.Key); err != nil {
		return refuse(reason(err), err)
	}
	return Enrollment{Agent: c.Agent, Code: c.Code, Key: c.Key}, nil
}

// KeyID returns the RFC 7638 thumbprint of a public JWK, "" if it is none an
// agent may have.
func KeyID(jwk json.RawMessage) string {
	k, err := parseAgentKey(jwk)
	if err != nil {
		return ""
	}
	return k.thumbprint
}
