package flow

// Passages: k-grams of the letters and digits of a text, of which the smallest of every
// window is kept (winnowing: Schleimer, Wilkerson and Aiken, 2003). Any two texts that
// have gram+window-1 = 32 letters and digits in a row in common have a fingerprint in
// common, however they are spaced and punctuated.
const (
	gram   = 20
	window = 13
)

// winnower finds the passages of texts. It is not safe for concurrent use.
type winnower struct {
	ring [32]byte // the last gram letters and digits, by their number modulo 32
	mins [16]uint64
}

// passages gives the fingerprint of every passage of the folded text to emit.
func (w *winnower) passages(k *keys, text []byte, emit func(fingerprint uint64)) {
	var drop uint64 = 1 // base to the power of gram
	for range gram {
		drop *= k.base
	}
	var h uint64
	n := 0 // letters and digits so far
	last, at := uint64(0), -1
	for _, b := range text {
		if !isWord(b) {
			continue
		}
		h = h*k.base + uint64(b) + 1
		if n >= gram {
			h -= drop * (uint64(w.ring[(n-gram)&31]) + 1)
		}
		w.ring[n&31] = b
		n++
		if n < gram {
			continue
		}
		g := n - gram
		least := spread(h)
		w.mins[g&15] = least
		if g+1 < window || at > g-window && least > last {
			continue
		}
		// The smallest of the window, the last of equal ones.
		best := g
		if at <= g-window { // else all but the newest are larger than last
			for i := g - 1; i > g-window; i-- {
				if m := w.mins[i&15]; m < least {
					best, least = i, m
				}
			}
		}
		if best != at {
			last, at = least, best
			emit(k.number(kindPassage, last))
		}
	}
}

// spread makes the low bits of a rolling hash depend on all of them.
func spread(h uint64) uint64 {
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}
