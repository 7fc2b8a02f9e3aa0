package flow_test

import (
	"math/rand/v2"
	"testing"

	"rutile/internal/flow"
)

// The vectors of the reference implementation of SipHash-2-4 (Aumasson and Bernstein):
// the key is 00 to 0f, the message the first bytes of 00, 01, 02…
func TestFingerprintIsSipHash(t *testing.T) {
	message := make([]byte, 64)
	for i := range message {
		message[i] = byte(i)
	}
	for n, want := range map[int]uint64{1: 0x74f839c593dc67fd, 7: 0xab0200f58b01d137, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5, 16: 0x3f2acc7f57c29bdb, 63: 0x958a324ceb064572} {
		if got := flow.Fingerprint(0x0706050403020100, 0x0f0e0d0c0b0a0908, message[0], message[1:n]); got != want {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
	}
}

// Two texts with 32 letters and digits in common have a passage in common, however they
// are spaced and whatever stands around.
func TestPassagesAreFoundAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	letters := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('a' + r.IntN(26))
		}
		return b
	}
	for range 500 {
		common := letters(32)
		var spaced []byte
		for _, b := range common {
			if r.IntN(4) == 0 {
				spaced = append(spaced, " .-,\n"[r.IntN(5)])
			}
			spaced = append(spaced, b)
		}
		one := append(append(letters(r.IntN(80)), common...), letters(r.IntN(80))...)
		two := append(append(letters(r.IntN(80)), spaced...), letters(r.IntN(80))...)
		found, other := false, flow.Passages([]byte(family), two)
		for p := range flow.Passages([]byte(family), one) {
			found = found || other[p]
		}
		if !found {
			t.Fatalf("%q and %q have no passage in common", one, two)
		}
	}
}
