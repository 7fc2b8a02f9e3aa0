package rawjson

import (
	"iter"
	"strconv"
)

// Value is a view of one value of a Doc. The zero Value is Missing; every
// method is safe on it.
type Value struct {
	doc  *Doc
	node int32
}

// Kind returns the value's type.
func (v Value) Kind() Kind {
	if v.doc == nil {
		return Missing
	}
	return kindOf(v.doc.src[v.doc.tape[v.node].start])
}

// kindOf tells the type of a value from its first byte.
func kindOf(c byte) Kind {
	switch c {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't':
		return True
	case 'f':
		return False
	case 'n':
		return Null
	default:
		return Number
	}
}

// Exists reports whether the value is not Missing.
func (v Value) Exists() bool { return v.doc != nil }

// Raw returns the value's bytes as they stand in the source, nil if Missing.
// They must not be changed.
func (v Value) Raw() []byte {
	if v.doc == nil {
		return nil
	}
	n := v.doc.tape[v.node]
	return v.doc.src[n.start:n.end:n.end]
}

// Span returns the half-open byte range of the value in the source, 0, 0 if
// Missing.
func (v Value) Span() (start, end int) {
	if v.doc == nil {
		return 0, 0
	}
	n := v.doc.tape[v.node]
	return int(n.start), int(n.end)
}

// Get returns the member with exactly this key (after unescaping), or Missing.
func (v Value) Get(key string) Value {
	if v.Kind() != Object {
		return Value{}
	}
	src, tape := v.doc.src, v.doc.tape
	for k, end := v.node+1, tape[v.node].next; k < end; k = tape[k+1].next {
		if nodeEquals(src, tape[k], key) {
			return Value{v.doc, k + 1}
		}
	}
	return Value{}
}

func nodeEquals(src []byte, n node, s string) bool {
	if n.n == 0 {
		return string(content(src, n)) == s
	}
	return equalText(content(src, n), s)
}

// Path follows keys from v.
func (v Value) Path(keys ...string) Value {
	for _, key := range keys {
		v = v.Get(key)
	}
	return v
}

// Len returns the number of members or items, 0 for anything else.
func (v Value) Len() int {
	switch v.Kind() {
	case Object, Array:
		return int(v.doc.tape[v.node].n)
	default:
		return 0
	}
}

// Members yields the members of an object in source order: the key as a String
// value and the value.
func (v Value) Members() iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		if v.Kind() != Object {
			return
		}
		tape := v.doc.tape
		for k, end := v.node+1, tape[v.node].next; k < end; k = tape[k+1].next {
			if !yield(Value{v.doc, k}, Value{v.doc, k + 1}) {
				return
			}
		}
	}
}

// Items yields the items of an array in order.
func (v Value) Items() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		tape := v.doc.tape
		for k, end := v.node+1, tape[v.node].next; k < end; k = tape[k].next {
			if !yield(Value{v.doc, k}) {
				return
			}
		}
	}
}

// Str returns the unescaped string and true, or "" and false if v is not a
// String. It allocates.
func (v Value) Str() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	n := v.doc.tape[v.node]
	text := content(v.doc.src, n)
	if n.n == 0 {
		return string(text), true
	}
	return string(appendUnescaped(make([]byte, 0, len(text)), text)), true
}

// Equals reports whether v is a String equal to s after unescaping, without
// allocating.
func (v Value) Equals(s string) bool {
	return v.Kind() == String && nodeEquals(v.doc.src, v.doc.tape[v.node], s)
}

// Bool returns the boolean and whether v is one.
func (v Value) Bool() (val, ok bool) {
	k := v.Kind()
	return k == True, k == True || k == False
}

// Int64 returns the exact integer value of a Number written without fraction or
// exponent that fits int64. -0 does not: there is no such int64, and peers
// differ about it (rule 14).
func (v Value) Int64() (int64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	raw := v.Raw()
	if len(raw) > len("-9223372036854775808") || string(raw) == "-0" {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, false
	}
	return n, true
}

// Pointer returns the RFC 6901 pointer of v from the root of its document, for
// messages: a segment longer than 64 bytes is cut and ends in "…". The pointer
// of a key is that of its member. It walks the document.
func (v Value) Pointer() string {
	if v.doc == nil || v.node == 0 {
		return ""
	}
	src, tape := v.doc.src, v.doc.tape
	var ptr []byte
	for at := int32(0); at < v.node; {
		object := src[tape[at].start] == '{'
		at++
		for index := int32(0); ; index++ {
			child := at
			if object {
				at++
			}
			if v.node >= tape[at].next {
				at = tape[at].next
				continue
			}
			if object {
				ptr = appendSegment(ptr, content(src, tape[child]))
			} else {
				ptr = appendIndex(ptr, index)
			}
			break
		}
	}
	return string(ptr)
}
