package grant

import (
	"hash/maphash"
	"iter"
	"maps"
)

// index is a map that never changes: a change gives another one, which shares what
// did not change. The zero value is empty.
type index[K comparable, V any] struct{ *parts[K, V] }

// indexParts is how many parts a change copies one of.
const indexParts = 128

type parts[K comparable, V any] struct {
	seed maphash.Seed
	of   [indexParts]map[K]V
}

func (p *parts[K, V]) part(k K) uint64 { return maphash.Comparable(p.seed, k) % indexParts }

func (x index[K, V]) get(k K) V {
	if x.parts == nil {
		var none V
		return none
	}
	return x.of[x.part(k)][k]
}

func (x index[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if x.parts == nil {
			return
		}
		for _, p := range x.of {
			for k, v := range p {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// edit is an index in the making.
type edit[K comparable, V any] struct {
	index[K, V]
	own *[indexParts]bool // parts that are not shared
}

func (x index[K, V]) edit() *edit[K, V] { return &edit[K, V]{index: x} }

// at is the part of a key, to be changed.
func (e *edit[K, V]) at(k K) map[K]V {
	if e.own == nil {
		next := &parts[K, V]{}
		if e.parts != nil {
			*next = *e.parts
		} else {
			next.seed = maphash.MakeSeed()
		}
		e.parts, e.own = next, new([indexParts]bool)
	}
	n := e.part(k)
	if !e.own[n] {
		e.own[n] = true
		if e.of[n] = maps.Clone(e.of[n]); e.of[n] == nil {
			e.of[n] = map[K]V{}
		}
	}
	return e.of[n]
}

func (e *edit[K, V]) set(k K, v V) { e.at(k)[k] = v }
func (e *edit[K, V]) del(k K)      { delete(e.at(k), k) }
