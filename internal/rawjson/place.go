package rawjson

import (
	"cmp"
	"slices"
	"strconv"
)

// Every is the step of a path that goes to every member of an object and every
// item of an array.
const Every = "*"

// Replace returns the edits, for one Splice of the source of v, that put text at
// every value the paths lead to. A step is a key, the index of an item, or Every;
// what lies in a value that is replaced is replaced with it.
//
// missed is the first path that leads nowhere, -1 if all lead somewhere. A path
// through an object or array without members leads somewhere: there is nothing
// that could be missed in it. One past a key that a lenient reader could take for
// another spelling of its step leads nowhere (rule 11).
func Replace(v Value, paths [][]string, text []byte) (edits []Edit, missed int) {
	missed = -1
	for i, path := range paths {
		found, clear := v.follow(path, text, &edits)
		if missed < 0 && !(found && clear) {
			missed = i
		}
	}
	slices.SortFunc(edits, func(x, y Edit) int { return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(y.End, x.End)) })
	kept := edits[:0]
	for _, e := range edits {
		if n := len(kept); n == 0 || e.Start >= kept[n-1].End {
			kept = append(kept, e)
		}
	}
	return kept, missed
}

// follow adds the edits of one path. found says that it leads somewhere, clear
// that nothing on the way could be read in two ways.
func (v Value) follow(path []string, text []byte, edits *[]Edit) (found, clear bool) {
	if !v.Exists() {
		return false, true
	}
	if len(path) == 0 {
		start, end := v.Span()
		*edits = append(*edits, Edit{Start: start, End: end, Text: text})
		return true, true
	}
	step := path[0]
	if step != Every {
		if _, _, twice := v.FoldsTo(step); twice {
			return false, false
		}
		next := v.Get(step)
		if v.Kind() == Array {
			next = v.item(step)
		}
		return next.follow(path[1:], text, edits)
	}
	if k := v.Kind(); k == Array || k == Object {
		found = v.Len() == 0
	}
	clear = true
	each := func(kid Value) {
		f, c := kid.follow(path[1:], text, edits)
		found, clear = found || f, clear && c
	}
	for _, kid := range v.Members() {
		each(kid)
	}
	for kid := range v.Items() {
		each(kid)
	}
	return found, clear
}

// item returns the item of an array with this index, written as RFC 6901 says:
// digits without leading zeros.
func (v Value) item(index string) Value {
	n, err := strconv.Atoi(index)
	if err != nil || n < 0 || n >= v.Len() || strconv.Itoa(n) != index {
		return Value{}
	}
	for kid := range v.Items() {
		if n == 0 {
			return kid
		}
		n--
	}
	return Value{}
}
