package rawjson

import (
	"bytes"
	"hash/maphash"
)

const (
	// smallObject is up to how many members keys are compared pairwise.
	smallObject = 16
	// keepSlots is how much of a table a Doc keeps over Reset.
	keepSlots = 1 << 12
)

// keyTable finds duplicate keys in linear time: an open-addressed hash table
// whose seed is random, so that a document cannot be built to collide.
type keyTable struct {
	seed  maphash.Seed
	slots []uint64 // upper half of the hash, index of the key + 1; 0 is free
	buf   []byte   // an unescaped key
}

func (t *keyTable) release() {
	if cap(t.slots) > keepSlots {
		t.slots = nil
	}
	if cap(t.buf) > keepSlots {
		t.buf = nil
	}
}

// reset empties the table for n keys.
func (t *keyTable) reset(n int32) {
	if t.seed == (maphash.Seed{}) {
		t.seed = maphash.MakeSeed()
	}
	size := 4 * smallObject
	for size < 2*int(n) {
		size *= 2
	}
	if cap(t.slots) < size {
		t.slots = make([]uint64, size)
		return
	}
	t.slots = t.slots[:size]
	clear(t.slots)
}

// insert adds the key whose text is hashed and returns -1, or the key that same
// says is equal to it.
func (t *keyTable) insert(text []byte, key int32, same func(other int32) bool) int32 {
	h := maphash.Bytes(t.seed, text)
	mask := uint64(len(t.slots) - 1)
	tag := h &^ (1<<32 - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s == 0 {
			t.slots[i] = tag | uint64(uint32(key+1))
			return -1
		}
		if s&^(1<<32-1) == tag {
			if other := int32(uint32(s)) - 1; same(other) {
				return other
			}
		}
	}
}

// duplicate returns the first key of the object obj, whose members end the
// tape, that is equal to an earlier one after unescaping, or -1.
func (t *keyTable) duplicate(src []byte, tape []node, obj int32) int32 {
	n := tape[obj].n
	if n < 2 {
		return -1
	}
	if n > smallObject {
		return t.search(src, tape, obj)
	}
	var keys [smallObject]int32
	var filter uint64 // one bit per key already seen; most keys need no comparison
	count := 0
	for k := obj + 1; int(k) < len(tape); k = tape[k+1].next {
		key := tape[k]
		if key.n != 0 {
			return t.search(src, tape, obj)
		}
		text := content(src, key)
		bit := fingerprint(text)
		if filter&bit != 0 {
			for _, other := range keys[:count] {
				if bytes.Equal(text, content(src, tape[other])) {
					return k
				}
			}
		}
		filter |= bit
		keys[count] = k
		count++
	}
	return -1
}

// fingerprint maps a key to one of 64 bits.
func fingerprint(text []byte) uint64 {
	n := len(text)
	if n == 0 {
		return 1
	}
	h := uint32(n) + uint32(text[0])<<8 + uint32(text[n-1])<<16 + uint32(text[n/2])<<24
	return 1 << (h * 0x9e3779b1 >> 26)
}

// search does the same through the table, for many keys or escaped ones.
func (t *keyTable) search(src []byte, tape []node, obj int32) int32 {
	t.reset(tape[obj].n)
	for k := obj + 1; int(k) < len(tape); k = tape[k+1].next {
		text := content(src, tape[k])
		if tape[k].n != 0 {
			t.buf = appendUnescaped(t.buf[:0], text)
			text = t.buf
		}
		same := func(other int32) bool { return equalText(content(src, tape[other]), string(text)) }
		if t.insert(text, k, same) >= 0 {
			return k
		}
	}
	return -1
}
