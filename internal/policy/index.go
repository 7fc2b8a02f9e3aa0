package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
)

// The index finds the policies whose scope matches a request without looking at
// the others (access.md 2.8). Every entity a scope names gets a number; a policy
// is listed under (action, principal, resource) of its scope, 0 for any. A
// request looks under every combination of its own entities and their
// ancestors that some policy names at all.
type index struct {
	numbers map[types.EntityUID]uint32
	lists   map[[3]uint32][]int32 // indices into Set.statements, ascending
}

func newIndex(statements []*statement) index {
	ix := index{numbers: make(map[types.EntityUID]uint32), lists: make(map[[3]uint32][]int32)}
	for i, s := range statements {
		for _, a := range ix.keys(s.scope.action) {
			for _, p := range ix.keys(s.scope.principal) {
				for _, r := range ix.keys(s.scope.resource) {
					k := [3]uint32{a, p, r}
					if l := ix.lists[k]; len(l) == 0 || l[len(l)-1] != int32(i) {
						ix.lists[k] = append(l, int32(i))
					}
				}
			}
		}
	}
	return ix
}

// keys returns the numbers a policy with this part of a scope is listed under.
func (ix *index) keys(d dim) []uint32 {
	if d.ids == nil {
		return []uint32{0}
	}
	out := make([]uint32, 0, len(d.ids))
	for _, id := range d.ids {
		n, ok := ix.numbers[id]
		if !ok {
			n = uint32(len(ix.numbers) + 1)
			ix.numbers[id] = n
		}
		out = append(out, n)
	}
	return out
}

// family is one entity of a request with everything it is in.
type family struct {
	self      types.EntityUID
	ancestors []types.EntityUID
}

func (f *family) add(id types.EntityUID) {
	if !slices.Contains(f.ancestors, id) {
		f.ancestors = append(f.ancestors, id)
	}
}

// of appends the numbers policies know f by, "any" first.
func (ix *index) of(f *family, dst []uint32) []uint32 {
	dst = append(dst, 0)
	if n, ok := ix.numbers[f.self]; ok {
		dst = append(dst, n)
	}
	for _, a := range f.ancestors {
		if n, ok := ix.numbers[a]; ok {
			dst = append(dst, n)
		}
	}
	return dst
}

// find appends the indices of the statements whose scope matches, ascending.
func (ix *index) find(statements []*statement, action, principal, resource *family, dst []int32) []int32 {
	var ab, pb, rb [16]uint32
	as, ps, rs := ix.of(action, ab[:0]), ix.of(principal, pb[:0]), ix.of(resource, rb[:0])
	for _, a := range as {
		for _, p := range ps {
			for _, r := range rs {
				for _, i := range ix.lists[[3]uint32{a, p, r}] {
					sc := &statements[i].scope
					if sc.action.fits(action) && sc.principal.fits(principal) && sc.resource.fits(resource) {
						dst = append(dst, i)
					}
				}
			}
		}
	}
	slices.Sort(dst)
	return slices.Compact(dst)
}

// fits checks what the index does not: "==" against ancestors, and "is".
func (d *dim) fits(f *family) bool {
	if d.eq && d.ids[0] != f.self {
		return false
	}
	return d.kind == "" || d.kind == f.self.Type
}
