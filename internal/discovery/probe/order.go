package probe

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// order is a permutation of the numbers below n that needs no memory: a Feistel
// network over the next even number of bits, walked until it lands below n. The
// same seed gives the same order, so that a run can be resumed.
type order struct {
	n    uint64
	half uint // bits of one half
	keys [4]uint64
}

func newOrder(seed, n uint64) order {
	o := order{n: n, half: max(1, (uint(bits.Len64(max(n, 1)-1))+1)/2)}
	for i := range o.keys {
		b := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, seed), uint64(i)))
		o.keys[i] = binary.BigEndian.Uint64(b[:])
	}
	return o
}

// at returns the i-th number of the order; i is below n.
func (o order) at(i uint64) uint64 {
	for {
		if i = o.shuffle(i); i < o.n {
			return i
		}
	}
}

func (o order) shuffle(i uint64) uint64 {
	mask := uint64(1)<<o.half - 1
	left, right := i>>o.half, i&mask
	for _, k := range o.keys {
		x := (right + k) * 0x9E3779B97F4A7C15
		x ^= x >> 29
		x *= 0xBF58476D1CE4E5B9
		left, right = right, left^((x>>32)&mask)
	}
	return left<<o.half | right
}
