package credential

import (
	"context"
	"math"
)

// Bounds of a secret that lets in whoever shows it: the chance to guess it is 2^-128 at most
// (RFC 6749, section 10.10), so that nobody has to be turned away to keep it from being
// tried.
const (
	minBits      = 128
	minDifferent = 8 // bytes in it: one letter often is no secret
)

// Unguessable is what Guessable asks of a secret, in words.
const Unguessable = "made at random of 128 bits or more: 32 hexadecimal digits, or 22 letters and digits"

// Guessable reports whether a secret has less than 128 bits even if it was made at random
// of the kinds of characters that are in it. Of words nobody can tell: those that are long
// enough pass.
func Guessable(value []byte) bool {
	pool, other := 10.0, 0.0
	seen := map[byte]bool{}
	for _, c := range value {
		seen[c] = true
		switch {
		case '0' <= c && c <= '9':
		case 'a' <= c && c <= 'f':
			pool = max(pool, 16)
		case 'g' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			pool = 62 // the others could have come up
		default:
			other = 33 // of printable ASCII
		}
	}
	pool += other
	return len(seen) < minDifferent || float64(len(value))*math.Log2(pool) < minBits
}

// Guessable reports whether the value of a sealed credential is. The error is an
// access.CodeNotFound where there is none.
func (v *Vault) Guessable(ctx context.Context, id string) (bool, error) {
	s, ok := v.secret(id)
	if !ok {
		return false, unknown(id)
	}
	value, err := v.open(ctx, s)
	if err != nil {
		return false, err
	}
	defer clear(value)
	return Guessable(value), nil
}
