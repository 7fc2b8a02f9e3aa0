package credential_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"rutile/internal/credential"
)

// TestWhatHas128BitsPasses: whatever it was written with, made at random, and nothing that
// cannot have them.
func TestWhatHas128BitsPasses(t *testing.T) {
	for range 100 {
		var b [16]byte
		_, _ = rand.Read(b[:])
		for _, s := range []string{hex.EncodeToString(b[:]), base64.RawURLEncoding.EncodeToString(b[:]), rand.Text()} {
			if credential.Guessable([]byte(s)) {
				t.Fatalf("%q is guessable", s)
			}
		}
	}
	for _, s := range []string{
		"", "token-of-one", "hunter2hunter2", "4711471147114711471147114711", "0123456789abcdef0123456789abcde", strings.Repeat("a", 100), strings.Repeat("abc-", 40),
		"Tr0ub4dor&3", "zzzzzzzzzzzzzzzzzzzzzzzz", base64.RawURLEncoding.EncodeToString([]byte("fifteen bytes..")),
	} {
		if !credential.Guessable([]byte(s)) {
			t.Errorf("%q passes", s)
		}
	}
}
