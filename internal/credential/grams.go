package credential

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// grams finds out, with one look at every few bytes of a text, that none of some
// forms stands in it, which is so of nearly every text: a form that did would
// cover four bytes that begin at a multiple of the stride, and the set holds all
// fours of all forms.
type grams struct {
	set     [1 << 10]uint64 // a bit for each hash of four bytes
	forms   [][]byte
	stride  int
	longest int
	useless bool // the forms are so long that most fours are in the set
}

const (
	gram      = 4  // bytes looked at together; minForm is twice as many
	maxStride = 16 // where every form is long
	maxFill   = 64 * len(grams{}.set) / 8
)

// newGrams makes the set of forms, each of at least minForm bytes.
func newGrams(forms [][]byte) *grams {
	g := &grams{forms: forms, stride: maxStride}
	for _, f := range forms {
		g.stride, g.longest = min(g.stride, len(f)-gram+1), max(g.longest, len(f))
		for i := 0; i+gram <= len(f); i++ {
			h := hashGram(f[i:])
			g.set[h/64] |= 1 << (h % 64)
		}
	}
	fill := 0
	for _, w := range g.set {
		fill += bits.OnesCount64(w)
	}
	g.useless = fill > maxFill
	return g
}

// hashGram has 16 bits.
func hashGram(b []byte) uint32 { return binary.LittleEndian.Uint32(b) * 0x9e3779b1 >> 16 }

func (g *grams) has(b []byte) bool {
	h := hashGram(b)
	return g.set[h/64%uint32(len(g.set))]>>(h%64)&1 != 0
}

// absent reports that no form stands in text. It may be false of a text in which
// none does, if that is made to look as if one did again and again.
func (g *grams) absent(text []byte) bool {
	if g.useless {
		return false
	}
	looked := 0 // bytes; to look at all of them for each form is what this saves
	for i := 0; i+gram <= len(text); i += g.stride {
		if !g.has(text[i:]) {
			continue
		}
		// A form that begins before i has the four bytes at i-1, and one that
		// begins at i those behind.
		if (i == 0 || !g.has(text[i-1:])) && (i+2*gram > len(text) || !g.has(text[i+gram:])) {
			continue
		}
		around := text[max(0, i-g.longest):min(len(text), i+g.longest)]
		if looked += len(around); looked > len(text)/4 || g.holds(around) {
			return false
		}
	}
	return true
}

// holds reports whether a form stands in text.
func (g *grams) holds(text []byte) bool {
	for _, f := range g.forms {
		if bytes.Contains(text, f) {
			return true
		}
	}
	return false
}
