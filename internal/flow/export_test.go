package flow

// Fingerprint is what SipHash-2-4 under a key makes of a kind and a text.
func Fingerprint(k0, k1 uint64, kind byte, text []byte) uint64 {
	k := keys{k0: k0, k1: k1}
	return k.of(kind, text)
}

// Passages are those of a text under a key.
func Passages(family, text []byte) map[uint64]bool {
	k, out := keysOf(family), map[uint64]bool{}
	var w winnower
	w.passages(&k, fold(nil, text, false).text, func(p uint64) { out[p] = true })
	return out
}

// Size is how much an index holds.
func (x *Index) Size() (slots, sources, orders int) { return x.table.n, len(x.sources), len(x.orders) }

// Bounds of an index, for tests.
const (
	MaxSlots   = maxSlots
	MaxSources = maxSources
	MaxOrders  = maxOrders
)

// BuriedBits is how many bits of what was forgotten are set.
func (x *Index) BuriedBits() int { return x.buried.set }

// Forgotten is how many sources were forgotten.
func (x *Index) Forgotten() int { return x.first }
