package oauthclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// authenticate adds the proof of who we are to a request to at, in the form or
// its header. A secret is opened for the origin of at alone, so that an upstream
// that names another authorization server gets nothing.
func (e *endpoint) authenticate(ctx context.Context, at *url.URL, form url.Values, header http.Header) error {
	if e.client.Auth == credential.AuthNone {
		form.Set("client_id", e.client.ClientID)
		return nil
	}
	if !e.server.supports(e.client.Auth) {
		return access.Errorf(access.CodeUpstream, "the authorization server does not take %s; change auth in the credential's manifest", e.client.Auth)
	}
	if e.secret != nil {
		return e.prove(e.secret, form, header)
	}
	lease, err := e.seeds.Lease(ctx, credential.LeaseRequest{
		Ref: e.client.Secret, Server: e.need.Server, Origin: originOf(at), Decision: e.need.Decision, Outcome: e.need.Outcome, Tier: e.need.Tier,
	})
	if err != nil {
		return err
	}
	defer lease.Release()
	return lease.Use(func(value []byte) error { return e.prove(value, form, header) })
}

// prove puts the proof made with a client secret or a private key where it goes.
func (e *endpoint) prove(value []byte, form url.Values, header http.Header) error {
	switch e.client.Auth {
	case credential.AuthBasic:
		// RFC 6749 section 2.3.1: both are form-encoded first.
		both := url.QueryEscape(e.client.ClientID) + ":" + url.QueryEscape(string(value))
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(both)))
	case credential.AuthPost:
		form.Set("client_id", e.client.ClientID)
		form.Set("client_secret", string(value))
	case credential.AuthPrivateKey:
		assertion, err := e.assertion(value)
		if err != nil {
			return err
		}
		form.Set("client_id", e.client.ClientID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	default:
		return access.Errorf(access.CodeInvalid, "the credential's manifest names an unknown way to authenticate")
	}
	return nil
}

// assertionTime is how long a client assertion lives.
const assertionTime = time.Minute

// assertion proves possession of the private key (RFC 7523 section 2.2). Its
// audience is the issuer alone, so that no other server can use it, and its jti is
// new.
func (e *endpoint) assertion(key []byte) (string, error) {
	signer, err := signerOf(key)
	if err != nil {
		return "", err
	}
	now := e.now()
	claims, err := json.Marshal(map[string]any{
		"iss": e.client.ClientID, "sub": e.client.ClientID, "aud": e.server.Issuer, "jti": access.NewID(""),
		"iat": now.Unix(), "exp": now.Add(assertionTime).Unix(),
	})
	if err != nil {
		return "", err
	}
	return sign(signer, claims)
}

func sign(signer jose.Signer, claims []byte) (string, error) {
	jws, err := signer.Sign(claims)
	if err != nil {
		return "", errKey
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		return "", errKey
	}
	return out, nil
}

// errKey says nothing of the key.
var errKey = access.Errorf(access.CodeInvalid, "the sealed private key cannot be used: seal a JWK or PEM of type Ed25519, P-256 or RSA")

// signerOf reads a private key, JWK or PEM.
func signerOf(text []byte) (jose.Signer, error) {
	jwk := jose.JSONWebKey{}
	if block, _ := pem.Decode(text); block != nil {
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
				if key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
					return nil, errKey
				}
			}
		}
		jwk.Key = key
	} else if err := jwk.UnmarshalJSON(text); err != nil || jwk.IsPublic() {
		return nil, errKey
	}
	var alg jose.SignatureAlgorithm
	switch k := jwk.Key.(type) {
	case ed25519.PrivateKey:
		alg = jose.EdDSA
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return nil, errKey
		}
		alg = jose.ES256
	case *rsa.PrivateKey:
		alg = jose.RS256
		if jwk.Algorithm == string(jose.PS256) {
			alg = jose.PS256
		}
	default:
		return nil, errKey
	}
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if jwk.KeyID != "" {
		opts = opts.WithHeader(jose.HeaderKey("kid"), jwk.KeyID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jwk.Key}, opts)
	if err != nil {
		return nil, errKey
	}
	return signer, nil
}
