package flow

import "iter"

// slot is one place a fingerprint was seen.
type slot struct {
	fp    uint64 // 0 is none
	where uint32 // the source, and the flags below
}

const (
	flagHot     uint32 = 1 << 31 // where inspection found something
	flagWritten uint32 = 1 << 30 // a call carried it on, so that it comes back from sources that are trusted
	// flagUnvouched is set in a sentence that orders something, and where a result repeats
	// the arguments of its call: it makes nothing trusted.
	flagUnvouched uint32 = 1 << 29
	flagPassage   uint32 = 1 << 28 // of a longer text
	sourceMask           = 1<<28 - 1
)

// table is a hash table with several slots to a fingerprint.
type table struct {
	slots []slot
	n     int
}

// of is every slot of a fingerprint.
func (t *table) of(fp uint64) iter.Seq[*slot] {
	return func(yield func(*slot) bool) {
		if len(t.slots) == 0 {
			return
		}
		mask := uint64(len(t.slots) - 1)
		for i := fp & mask; t.slots[i].fp != 0; i = (i + 1) & mask {
			if t.slots[i].fp == fp && !yield(&t.slots[i]) {
				return
			}
		}
	}
}

func (t *table) put(s slot) {
	if t.n*4 >= len(t.slots)*3 {
		t.grow()
	}
	mask := uint64(len(t.slots) - 1)
	i := s.fp & mask
	for t.slots[i].fp != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = s
	t.n++
}

func (t *table) grow() {
	old := t.slots
	t.slots, t.n = make([]slot, max(256, 2*len(old))), 0
	for _, s := range old {
		if s.fp != 0 {
			t.put(s)
		}
	}
}

// keep drops every slot that ok does not want.
func (t *table) keep(ok func(slot) bool) {
	old := t.slots
	t.slots, t.n = make([]slot, len(old)), 0
	for _, s := range old {
		if s.fp != 0 && ok(s) {
			t.put(s)
		}
	}
}
