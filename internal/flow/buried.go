package flow

import "math/bits"

// buried tells which fingerprints were forgotten, in a fixed number of bytes: a filter
// (Bloom, 1970) that never misses one and is wrong of few others. It knows no sources,
// so what it has is lost and not explained.
type buried struct {
	bits []uint64
	set  int // of bits
}

const (
	buriedBits   = 1 << 23 // 1 MiB, once something was forgotten
	buriedMost   = buriedBits / 2
	buriedProbes = 5 // half full it is wrong of one in 32
)

// What a fingerprint was. Private ones are kept for each scope, orders for each verb.
const (
	buriedUntrusted uint64  = iota // stood in an untrusted result
	buriedHot                      // such a one where inspection found something
	buriedTool                     // stands in an order, which may name a tool
	buriedPrivate   = 0x100        // and the number of the scope
	buriedOrder     = 0x200        // and the number of the verb
	buriedOwn       = 0x300        // the same of orders in results that nobody else writes
)

const anyVerb = 16 // stands for every verb of an order

// put adds a fingerprint. It reports false where the filter is full: nothing is added
// then.
func (b *buried) put(what, fp uint64) bool {
	if b.bits == nil {
		b.bits = make([]uint64, buriedBits/64)
	}
	if b.set >= buriedMost {
		return false
	}
	for at, step, i := probe(what, fp); i > 0; i-- {
		w, bit := &b.bits[at%buriedBits/64], uint64(1)<<(at%64)
		if *w&bit == 0 {
			*w |= bit
			b.set++
		}
		at += step
	}
	return true
}

func (b *buried) has(what, fp uint64) bool {
	if b.bits == nil {
		return false
	}
	for at, step, i := probe(what, fp); i > 0; i-- {
		if b.bits[at%buriedBits/64]&(1<<(at%64)) == 0 {
			return false
		}
		at += step
	}
	return true
}

// probe is the first bit of a fingerprint, how far the next are, and how many there are.
// Fingerprints are keyed already; they are only spread here (splitmix64).
func probe(what, fp uint64) (at, step uint64, n int) {
	at = fp + (what+1)*0x9e3779b97f4a7c15
	at = (at ^ at>>30) * 0xbf58476d1ce4e5b9
	at = (at ^ at>>27) * 0x94d049bb133111eb
	at ^= at >> 31
	return at, bits.RotateLeft64(at, 32) | 1, buriedProbes
}

// bury remembers that a fingerprint of a source was forgotten.
func (x *Index) bury(s slot, src *source) {
	ok := true
	if src.untrusted {
		ok = x.buried.put(buriedUntrusted, s.fp)
		if s.where&flagHot != 0 {
			ok = x.buried.put(buriedHot, s.fp) && ok
		}
	}
	for i := range x.scopes {
		if src.scopes&(1<<i) != 0 {
			ok = x.buried.put(buriedPrivate+uint64(i), s.fp) && ok
		}
	}
	if x.buriedFrom |= src.scopes; !ok {
		x.miss(src)
	}
}

// buryOrder remembers that an order was forgotten.
func (x *Index) buryOrder(o *order) {
	src := &x.sources[o.source-x.first]
	what := uint64(buriedOwn)
	if src.untrusted {
		what = buriedOrder
	}
	ok := true
	for _, list := range [][]uint64{o.own, o.far} {
		for _, fp := range list {
			for verbs := uint32(o.verbs) | 1<<anyVerb; verbs != 0; verbs &= verbs - 1 {
				ok = x.buried.put(what+uint64(bits.TrailingZeros32(verbs)), fp) && ok
			}
			ok = x.buried.put(buriedTool, fp) && ok
		}
	}
	if !ok {
		x.lost = true
	}
}

// miss notes that a source had values nothing is known of.
func (x *Index) miss(src *source) {
	x.lost = x.lost || src.untrusted
	x.missed |= src.scopes
}

// hadAll reports whether a value was forgotten: an address, number or name of it, or all
// of its words.
func (b *buried) hadAll(what uint64, prints []tok) bool {
	words := 0
	for _, t := range prints {
		switch has := b.has(what, t.fp); {
		case t.kind != kindWord && has:
			return true
		case t.kind == kindWord && !has:
			return false
		case t.kind == kindWord:
			words++
		}
	}
	return words > 0
}

// buriedScopes are the scopes of forgotten results that had a value.
func (x *Index) buriedScopes(prints []tok) (scopes uint32) {
	for i := range x.scopes {
		if x.buriedFrom&(1<<i) != 0 && x.buried.hadAll(buriedPrivate+uint64(i), prints) {
			scopes |= 1 << i
		}
	}
	return scopes
}

// lostOrder reports whether an order that was forgotten may have described a call by one
// of its open leaves.
func (l *look) lostOrder(tool *tool, open []int) bool {
	x := l.x
	if x.lost {
		return true
	}
	verbs := uint32(tool.around)
	if tool.verbs == 0 || x.buried.has(buriedTool, l.name) {
		verbs = 1 << anyVerb
	}
	for ; verbs != 0; verbs &= verbs - 1 {
		verb := uint64(bits.TrailingZeros32(verbs))
		for _, j := range open {
			if x.buried.hadAll(buriedOrder+verb, l.seen[j].prints) || x.known && x.buried.hadAll(buriedOwn+verb, l.seen[j].prints) {
				return true
			}
		}
	}
	return false
}

// buriedAny reports whether a forgotten result had a fingerprint.
func (x *Index) buriedAny(fp uint64) bool {
	return x.buried.has(buriedUntrusted, fp) || x.buriedScopes([]tok{{fp: fp, kind: kindPhrase}}) != 0
}
