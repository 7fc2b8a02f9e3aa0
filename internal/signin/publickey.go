package signin

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// publicKey turns the public key of a passkey (COSE) into the DER of a
// SubjectPublicKeyInfo, which verifiers of evidence read without a library. It takes
// what AskToMake asks for: Ed25519, P-256 and RSA of at least 2048 bits.
func publicKey(cose []byte) ([]byte, error) {
	parsed, err := webauthncose.ParsePublicKey(cose)
	if err != nil {
		return nil, fmt.Errorf("its public key cannot be read: %w", err)
	}
	var key any
	switch k := parsed.(type) {
	case webauthncose.OKPPublicKeyData:
		if k.Curve != int64(webauthncose.Ed25519) || len(k.XCoord) != ed25519.PublicKeySize {
			return nil, errors.New("its public key is on no curve that is taken")
		}
		key = ed25519.PublicKey(k.XCoord)
	case webauthncose.EC2PublicKeyData:
		if k.Curve != int64(webauthncose.P256) || len(k.XCoord) != 32 || len(k.YCoord) != 32 {
			return nil, errors.New("its public key is on no curve that is taken")
		}
		if key, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, k.XCoord, k.YCoord)); err != nil {
			return nil, fmt.Errorf("its public key cannot be read: %w", err)
		}
	case webauthncose.RSAPublicKeyData:
		n, e := new(big.Int).SetBytes(k.Modulus), new(big.Int).SetBytes(k.Exponent)
		if n.BitLen() < 2048 || n.BitLen() > 4096 || !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil, errors.New("its RSA key has no size that is taken")
		}
		key = &rsa.PublicKey{N: n, E: int(e.Int64())}
	default:
		return nil, errors.New("its public key is of no kind that is taken")
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("its public key cannot be written: %w", err)
	}
	return der, nil
}

// keyName names a public key.
func keyName(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
