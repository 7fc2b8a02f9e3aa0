package flow

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// keys are what fingerprints are made with.
type keys struct {
	k0, k1 uint64 // of SipHash
	base   uint64 // of the rolling hash, odd
	id     uint64 // tells apart what was made with other keys, and nothing else
}

// keysOf derives them from the key of a family of sessions.
func keysOf(family []byte) keys {
	mac := hmac.New(sha256.New, family)
	mac.Write([]byte("rutile flow fingerprints 1"))
	d := mac.Sum(nil)
	return keys{
		k0: binary.LittleEndian.Uint64(d), k1: binary.LittleEndian.Uint64(d[8:]),
		base: binary.LittleEndian.Uint64(d[16:]) | 1, id: binary.LittleEndian.Uint64(d[24:]),
	}
}

// of is the fingerprint of a text of one kind: SipHash-2-4 (Aumasson and Bernstein,
// 2012) of the text with the kind before it.
func (k *keys) of(kind byte, text []byte) uint64 {
	v0, v1 := k.k0^0x736f6d6570736575, k.k1^0x646f72616e646f6d
	v2, v3 := k.k0^0x6c7967656e657261, k.k1^0x7465646279746573
	// The first word takes the kind and seven bytes of the text.
	n := len(text) + 1
	m, room := uint64(kind), min(len(text), 7)
	if len(text) >= 8 {
		m |= binary.LittleEndian.Uint64(text) << 8
	} else {
		m |= few(text) << 8
	}
	text = text[room:]
	for last := false; ; { // the rounds are written out: calling them takes as long
		if room < 7 || last {
			m |= uint64(n) << 56
			last = true
		}
		v3 ^= m
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
		v0 ^= m
		switch {
		case last:
			v2 ^= 0xff
			for range 4 {
				v0, v1, v2, v3 = round(v0, v1, v2, v3)
			}
			return v0 ^ v1 ^ v2 ^ v3
		case len(text) >= 8:
			m = binary.LittleEndian.Uint64(text)
			text = text[8:]
		default:
			m, last = few(text), true
		}
	}
}

// few is up to seven bytes as a number.
func few(text []byte) (m uint64) {
	switch n := len(text); {
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(text)) | uint64(binary.LittleEndian.Uint32(text[n-4:]))<<(8*(n-4))
	case n > 0:
		return uint64(text[0]) | uint64(text[n/2])<<(8*(n/2)) | uint64(text[n-1])<<(8*(n-1))
	}
	return 0
}

func round(v0, v1, v2, v3 uint64) (a, b, c, d uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

// number is the fingerprint of a number of one kind.
func (k *keys) number(kind byte, n uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return k.of(kind, b[:])
}
