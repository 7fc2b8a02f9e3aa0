package flow

import (
	"errors"
	"slices"

	"rutile/internal/rawjson"
)

// Bounds of an index: about 2 MiB in memory and a quarter less as it is kept, and a MiB
// once something was forgotten. What is over goes from the oldest on; that it was there
// stays known, and shows as Lost.
const (
	maxSlots   = 96 << 10 // 16 bytes each, at most three quarters of a table of 1.5 MiB
	maxSources = 4096
	maxOrders  = 512
	maxWords   = 16 << 10 // of the user
	maxScopes  = 32
	maxName    = 128 // bytes of an id or name
	// MaxResult bounds the bytes of one result that are read.
	MaxResult = 4 << 20
)

// Index is what is known of the results of one family of sessions. It is not safe for
// concurrent use.
type Index struct {
	keys    keys
	sources []source
	first   int // how many sources before the first of sources were forgotten
	table   table
	orders  []order
	scopes  []string
	// said are the user's words in order, 0 between texts; typed their addresses and
	// numbers; wants what they ask for.
	said       []uint64
	typed      map[uint64]byte
	wants      []want
	stems      map[uint64]bool // of what the user said
	known      bool            // the user's words are known
	gone       map[uint64]bool
	buried     buried // what was forgotten
	lost       bool   // something untrusted was neither read nor buried
	missed     uint32 // scopes of what was neither read nor buried
	buriedFrom uint32 // scopes of what was buried
	untrusted  bool   // something untrusted was taken in
	worst      Tier   // of all untrusted results
	scratch    reader
	delegates  byte // how far the user hands over to texts
}

// source is a result as it is kept.
type source struct {
	call, server, tool string
	untrusted, pointed bool
	scopes             uint32
	tier               Tier
}

// order is what an untrusted result orders, with the fingerprints of its details.
type order struct {
	act
	source int
	hot    bool
	light  bool     // its verb says little of itself
	own    []uint64 // of its sentence; sorted
	far    []uint64 // addresses, numbers and names with signs in the sentences after it; sorted
	head   []uint64 // its verb and the words of its sentence after it, stemmed
}

// want is an act the user asked for.
type want struct {
	act
	name uint64 // of whom or what it is for, stemmed; 0 if it has none
}

// New returns an empty index. All sessions of a family must have one key: at least 16
// bytes that nobody else has.
func New(family []byte) (*Index, error) {
	if len(family) < 16 {
		return nil, errors.New("flow: the key of a family of sessions must have 16 bytes or more")
	}
	return &Index{keys: keysOf(family), typed: map[uint64]byte{}, gone: map[uint64]bool{}, stems: map[uint64]bool{}}, nil
}

// part is what one event adds to an index: a text of the user, a result, or a call that
// went out.
type part struct {
	kind   byte // partUser, partResult, partSent
	source source
	scopes []string
	lost   bool // not all of it was read
	prints []slot
	orders []order
	said   []uint64
	typed  []typedPrint
	wants  []want
	stems  []uint64
	deleg  byte
}

type typedPrint struct {
	fp   uint64
	kind byte
}

const (
	partUser   = 'u'
	partResult = 'r'
	partSent   = 's'
)

// User adds words of the user: a prompt, or an answer to a question. It returns what
// Add takes to add it again after a restart. Once it was called, what the user did not
// say counts as not asked for.
func (x *Index) User(text string) []byte {
	p := x.scratch.user(&x.keys, text)
	x.add(p)
	return p.append(nil, &x.keys)
}

// Ingest adds what a call brought back. It returns what Add takes, which must be kept
// before the result is released. What is returned tells nothing without the key.
func (x *Index) Ingest(o Origin, result rawjson.Value) []byte {
	p := x.scratch.result(x, o, result)
	x.add(p)
	return p.append(nil, &x.keys)
}

// Sent notes a call that was let out: its recipients are no longer novel, and what it
// carried from untrusted results stays untrusted wherever it comes back from.
func (x *Index) Sent(c Call) []byte {
	p := x.scratch.sent(x, c)
	x.add(p)
	return p.append(nil, &x.keys)
}

// Add adds what User, Ingest or Sent of this index, or of another with the same key,
// returned. It fails if it was made with another key or is damaged, and adds nothing then.
func (x *Index) Add(kept []byte) error {
	p, err := readPart(kept, &x.keys)
	if err != nil {
		return err
	}
	x.add(p)
	return nil
}

func (x *Index) add(p *part) {
	switch p.kind {
	case partUser:
		x.known = true
		x.delegates = max(x.delegates, p.deleg)
		x.said = append(append(x.said, 0), p.said...)
		if over := len(x.said) - maxWords; over > 0 {
			x.said = x.said[over:]
		}
		for _, t := range p.typed {
			if len(x.typed) < maxWords {
				x.typed[t.fp] = t.kind
			}
		}
		for _, s := range p.stems {
			if len(x.stems) < maxWords {
				x.stems[s] = true
			}
		}
		x.wants = append(x.wants, p.wants...)
		if over := len(x.wants) - 256; over > 0 {
			x.wants = x.wants[over:]
		}
	case partSent:
		for _, s := range p.prints {
			x.gone[s.fp] = true
			for t := range x.table.of(s.fp) {
				if x.source(*t).untrusted {
					t.where |= flagWritten
				}
			}
		}
		if len(x.gone) > maxWords {
			clear(x.gone) // novel again: asked once more
		}
	case partResult:
		x.result(p)
	}
}

// result adds a result to the table.
func (x *Index) result(p *part) {
	if len(x.sources) >= maxSources {
		x.forget(maxSources / 8)
	}
	src := p.source
	src.scopes = x.scopeBits(p.scopes)
	at := x.first + len(x.sources)
	x.sources = append(x.sources, src)
	if src.untrusted {
		x.untrusted = true
		x.worst = max(x.worst, src.tier)
	}
	if p.lost {
		x.miss(&src)
	}
	for _, s := range p.prints {
		s.where = s.where&^sourceMask | uint32(at)
		if !x.covered(s, src) {
			x.table.put(s)
		}
	}
	for _, o := range p.orders {
		o.source = at
		x.orders = append(x.orders, o)
	}
	if over := len(x.orders) - maxOrders; over > 0 {
		for i := range x.orders[:over] {
			x.buryOrder(&x.orders[i])
		}
		x.orders = slices.Delete(x.orders, 0, over)
	}
	for x.table.n > maxSlots && len(x.sources) > 1 {
		x.forget(max(1, len(x.sources)/4))
	}
}

// covered reports whether what is known of a fingerprint tells all that s would.
func (x *Index) covered(s slot, src source) bool {
	for t := range x.table.of(s.fp) {
		old := x.source(*t)
		if old.untrusted == src.untrusted && old.tier >= src.tier && old.pointed == src.pointed &&
			old.scopes&src.scopes == src.scopes && t.where&s.where&flagHot == s.where&flagHot && t.where&flagUnvouched == s.where&flagUnvouched {
			return true
		}
		if t.where&flagWritten != 0 && !src.untrusted {
			return true // it comes back from where we wrote it
		}
	}
	return false
}

// source is where a fingerprint was seen.
func (x *Index) source(s slot) *source { return &x.sources[int(s.where&sourceMask)-x.first] }

// forget drops what the first n sources said.
func (x *Index) forget(n int) {
	n = min(n, len(x.sources)-1)
	x.table.keep(func(s slot) bool {
		old := int(s.where&sourceMask) < x.first+n
		if old {
			x.bury(s, x.source(s))
		}
		return !old
	})
	x.orders = slices.DeleteFunc(x.orders, func(o order) bool {
		old := o.source < x.first+n
		if old {
			x.buryOrder(&o)
		}
		return old
	})
	x.first += n
	x.sources = slices.Delete(x.sources, 0, n)
}

// scopeBits gives every scope a bit. Over the bound they share the last one.
func (x *Index) scopeBits(scopes []string) (bits uint32) {
	for _, s := range scopes {
		i := slices.Index(x.scopes, s)
		if i < 0 {
			if len(x.scopes) < maxScopes {
				x.scopes = append(x.scopes, s)
			}
			i = slices.Index(x.scopes, s)
		}
		if i < 0 {
			i = maxScopes - 1
		}
		bits |= 1 << i
	}
	return bits
}

func (x *Index) scopesOf(bits uint32) []string {
	var out []string
	for i, s := range x.scopes {
		if bits&(1<<i) != 0 {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// has reports whether an order's details have a fingerprint: words in its sentence,
// whatever is more telling also in the next.
func (o *order) has(t *tok, far bool) bool {
	_, ok := slices.BinarySearch(o.own, t.fp)
	if !ok && far && t.kind != kindWord {
		_, ok = slices.BinarySearch(o.far, t.fp)
	}
	return ok
}

// calls reports whether an order names a tool.
func (o *order) calls(name uint64) bool {
	_, ok := slices.BinarySearch(o.own, name)
	return ok
}

// asked reports whether the user said these words one after the other.
func (x *Index) asked(words []uint64) bool {
	if len(words) == 0 {
		return false
	}
	for i := 0; i+len(words) <= len(x.said); i++ {
		if x.said[i] == words[0] && slices.Equal(x.said[i:i+len(words)], words) {
			return true
		}
	}
	return false
}

// Untrusted reports whether anything untrusted was taken in. What an agent answers is
// untrusted if this is so of its own index.
func (x *Index) Untrusted() bool { return x.untrusted }
