package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
)

// minRSA is the smallest RSA modulus accepted, in bits.
const minRSA = 2048

// AssertionAlgorithms are the algorithms a client assertion may be signed with.
func AssertionAlgorithms() []string { return []string{"EdDSA", "ES256", "PS256", "RS256"} }

// assertionAlgorithms is AssertionAlgorithms for the JOSE library.
func assertionAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.PS256, jose.RS256}
}

// agentKey is a public key of an agent.
type agentKey struct {
	public     crypto.PublicKey
	kid        string
	algs       []jose.SignatureAlgorithm // that may be used with it
	thumbprint string
}

// CheckAgentKey reports whether a JWK may be a public key of an agent: Ed25519,
// P-256 or RSA of at least 2048 bits, for signatures, without private part. The
// error is an *access.Error for whoever wrote the manifest.
func CheckAgentKey(jwk json.RawMessage) error {
	_, err := parseAgentKey(jwk)
	return err
}

func parseAgentKey(raw json.RawMessage) (agentKey, error) {
	var jwk jose.JSONWebKey
	// The library's errors could quote a private key written here by mistake.
	if err := jwk.UnmarshalJSON(raw); err != nil {
		return agentKey{}, access.Errorf(access.CodeInvalid, "the key is not a JWK that is understood; give an Ed25519, P-256 or RSA public key")
	}
	if !jwk.IsPublic() || !jwk.Valid() {
		return agentKey{}, access.Errorf(access.CodeInvalid, "the key is not a valid public key; give the public part only and keep the private part with the agent")
	}
	if jwk.Use != "" && jwk.Use != "sig" {
		return agentKey{}, access.Errorf(access.CodeInvalid, "the key is for use %q; a key of an agent is for \"sig\"", jwk.Use)
	}
	k := agentKey{public: jwk.Key, kid: jwk.KeyID}
	switch key := jwk.Key.(type) {
	case ed25519.PublicKey:
		k.algs = []jose.SignatureAlgorithm{jose.EdDSA}
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return agentKey{}, access.Errorf(access.CodeInvalid, "the key is on another curve; use P-256 or Ed25519")
		}
		k.algs = []jose.SignatureAlgorithm{jose.ES256}
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return agentKey{}, access.Errorf(access.CodeInvalid, "the RSA key has %d bits; use at least %d", key.N.BitLen(), minRSA)
		}
		k.algs = []jose.SignatureAlgorithm{jose.PS256, jose.RS256}
	default:
		return agentKey{}, access.Errorf(access.CodeInvalid, "the key is of a type that cannot sign; use Ed25519, P-256 or RSA")
	}
	if alg := jose.SignatureAlgorithm(jwk.Algorithm); alg != "" {
		if !slices.Contains(k.algs, alg) {
			return agentKey{}, access.Errorf(access.CodeInvalid, "the key's \"alg\" does not fit its type; leave it out or use one of %v", k.algs)
		}
		k.algs = []jose.SignatureAlgorithm{alg}
	}
	var err error
	k.thumbprint, err = thumbprint(jwk.Key)
	return k, err
}

// may reports whether the key may have signed with alg under kid. A key without
// an id of its own answers to any.
func (k *agentKey) may(alg jose.SignatureAlgorithm, kid string) bool {
	if !slices.Contains(k.algs, alg) {
		return false
	}
	return kid == "" || k.kid == "" || kid == k.kid || kid == k.thumbprint
}
