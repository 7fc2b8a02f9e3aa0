package rawjson

import "slices"

// Edit replaces the bytes [Start, End) of a source.
type Edit struct {
	Start, End int
	Text       []byte
}

// Splice returns a copy of src with the edits applied. Edits must be sorted and
// must not overlap; it panics if they are not, because the caller made them.
func Splice(src []byte, edits ...Edit) []byte {
	return AppendSplice(make([]byte, 0, SpliceLen(src, edits...)), src, edits...)
}

// SpliceLen is the number of bytes of a Splice.
func SpliceLen(src []byte, edits ...Edit) int {
	size, at := len(src), 0
	for _, e := range edits {
		if e.Start < at || e.End < e.Start || e.End > len(src) {
			panic("rawjson: edits overlap, are not sorted or leave the source")
		}
		at = e.End
		size += len(e.Text) - (e.End - e.Start)
	}
	return size
}

// AppendSplice appends what Splice returns.
func AppendSplice(dst, src []byte, edits ...Edit) []byte {
	at := 0
	for _, e := range edits {
		dst = append(append(dst, src[at:e.Start]...), e.Text...)
		at = e.End
	}
	return append(dst, src[at:]...)
}

// Change is one change of the members of an object: Key gets the value Raw, or
// is removed if Raw is nil.
type Change struct {
	Key string
	Raw []byte
}

// EditObject returns the edits, for one Splice, that make the changes to the
// object v. Their keys must differ and each Raw must be one JSON value; a value
// is replaced where it stands, a new member is added at the end, and removing
// what is not there is no change. It panics if v is not an Object, because a
// change that goes nowhere is a bug of the caller.
func EditObject(v Value, changes ...Change) []Edit {
	if v.Kind() != Object {
		panic("rawjson: EditObject of a value that is not an object")
	}
	var edits []Edit
	found := make([]bool, len(changes))
	start, _ := v.Span()
	at := start + 1 // end of the bracket or member before
	first := -1     // start of removed members that nothing stays before
	kept := false   // whether a member before stays
	for k, val := range v.Members() {
		key, _ := k.Span()
		from, to := val.Span()
		c := slices.IndexFunc(changes, func(c Change) bool { return k.Equals(c.Key) })
		if c >= 0 {
			found[c] = true
		}
		switch remove := c >= 0 && changes[c].Raw == nil; {
		case remove && kept: // with the comma before it
			edits = append(edits, Edit{Start: at, End: to})
		case remove && first < 0:
			first = key
		case remove:
		case !kept && first >= 0: // up to here, with the comma behind
			edits = append(edits, Edit{Start: first, End: key})
			fallthrough
		default:
			kept = true
			if c >= 0 {
				edits = append(edits, Edit{Start: from, End: to, Text: changes[c].Raw})
			}
		}
		at = to
	}
	if !kept && first >= 0 {
		edits = append(edits, Edit{Start: first, End: at})
	}
	if text := newMembers(changes, found, kept); text != nil {
		edits = append(edits, Edit{Start: at, End: at, Text: text})
	}
	return edits
}

// newMembers returns the text of the members to add.
func newMembers(changes []Change, found []bool, comma bool) (text []byte) {
	for i, c := range changes {
		if found[i] || c.Raw == nil {
			continue
		}
		if comma {
			text = append(text, ',')
		}
		text = append(append(AppendString(text, c.Key), ':'), c.Raw...)
		comma = true
	}
	return text
}

// SetMember returns the edit that sets key of the object v to raw, replacing
// the value in place or inserting the member at the end; nil is null. Like
// EditObject it panics if v is not an Object. Several changes of one object
// need EditObject, because two such edits know nothing of each other.
func SetMember(v Value, key string, raw []byte) Edit {
	if raw == nil {
		raw = []byte("null")
	}
	return EditObject(v, Change{Key: key, Raw: raw})[0]
}

// DeleteMember returns the edit that removes key from the object v together
// with one comma, and whether it was there.
func DeleteMember(v Value, key string) (Edit, bool) {
	if v.Kind() != Object {
		return Edit{}, false
	}
	edits := EditObject(v, Change{Key: key})
	if len(edits) == 0 {
		return Edit{}, false
	}
	return edits[0], true
}
