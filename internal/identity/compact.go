package identity

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// maxToken bounds a presented token or assertion, in bytes.
const maxToken = 8 << 10

// jws is a compact JWS, read and not yet verified.
type jws struct {
	sig     *jose.JSONWebSignature
	alg     jose.SignatureAlgorithm
	kid     string
	typ     string
	payload []byte
}

// parseCompact reads a compact JWS whose algorithm is one of algs and whose
// header holds alg, kid, typ and the parameters in ignored, and no other. So a
// header that brings a key or points to one (jwk, jku, x5c, x5u) or changes
// what is signed (crit, b64) is refused before anything reads it.
//
// Each token has one spelling: no whitespace, no padding, no loose bits at the
// end of a segment, no key twice in the header. A token changed in any byte is
// another token.
//
// Errors hold no byte of the token.
func parseCompact(token string, algs []jose.SignatureAlgorithm, ignored ...string) (*jws, error) {
	if len(token) > maxToken {
		return nil, errors.New("longer than 8 KiB")
	}
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return nil, errors.New("not three segments")
	}
	var raw [3][]byte
	for i, s := range segments {
		b, err := base64.RawURLEncoding.Strict().DecodeString(s)
		// The decoder skips line ends even when strict.
		if err != nil || s == "" || strings.ContainsAny(s, "\r\n") {
			return nil, errors.New("a segment is not base64url")
		}
		raw[i] = b
	}
	// This decoder refuses duplicate keys and does not fold their case.
	var header map[string]json.RawMessage
	if err := json.Unmarshal(raw[0], &header); err != nil {
		return nil, errors.New("the header is not one JSON object without duplicate keys")
	}
	p := &jws{payload: raw[1]}
	var alg string
	for name, value := range header {
		var to *string
		switch name {
		case "alg":
			to = &alg
		case "kid":
			to = &p.kid
		case "typ":
			to = &p.typ
		default:
			if slices.Contains(ignored, name) {
				continue
			}
			return nil, errors.New("the header holds a parameter that is not accepted")
		}
		if err := json.Unmarshal(value, to); err != nil {
			return nil, errors.New("a header parameter is not a string")
		}
	}
	p.alg = jose.SignatureAlgorithm(alg)
	if !slices.Contains(algs, p.alg) {
		return nil, errors.New("the algorithm is not accepted")
	}
	sig, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{p.alg})
	if err != nil {
		return nil, errors.New("not a compact JWS")
	}
	p.sig = sig
	return p, nil
}

// verify checks the signature with exactly this public key.
func (p *jws) verify(public any) error {
	if _, err := p.sig.Verify(public); err != nil {
		return errors.New("the signature does not verify")
	}
	return nil
}
