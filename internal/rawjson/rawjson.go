// Package rawjson reads JSON strictly, once, and keeps the byte spans.
//
// It is shared by the proxies, inspection, discovery and evidence. A document
// is parsed into a flat tape of nodes over the caller's bytes; values are views
// into them, so nothing is copied and whatever is judged is what is forwarded.
// Parse MUST reject what lenient parsers disagree about: invalid UTF-8, a byte
// order mark, lone surrogate escapes, trailing data, and two keys of one object
// that are equal after unescaping (mcp.md section 3, rules 6, 7 and 9). It does
// not decide what a member means: that is the caller's.
package rawjson

import "iter"

// Kind is the type of a value. The zero value is Missing.
type Kind uint8

// The kinds of value.
const (
	Missing Kind = iota
	Null
	False
	True
	Number
	String
	Array
	Object
)

// Limits bound what Parse accepts. Zero means the default.
type Limits struct {
	Depth   int // nesting, default 64
	Members int // members of one object, default 10 000
	Bytes   int // of the whole document, default 4 MiB
}

// Rule names which rule of strict parsing was broken.
type Rule string

// The rules.
const (
	RuleSyntax    Rule = "syntax"    // not JSON, empty, trailing data
	RuleEncoding  Rule = "encoding"  // not UTF-8, byte order mark, lone surrogate
	RuleDepth     Rule = "depth"     // nested too deep
	RuleMembers   Rule = "members"   // too many members in one object
	RuleDuplicate Rule = "duplicate" // two equal keys after unescaping
	RuleTooLarge  Rule = "too_large" // over Limits.Bytes
)

// Error says which rule was broken and where. It never holds document content
// other than the JSON pointer of the place.
type Error struct {
	Rule    Rule
	Pointer string // RFC 6901
	Offset  int    // byte offset
}

// Error returns "rule at pointer (byte n)".
func (e *Error) Error() string { return string(e.Rule) }

// Doc is a parsed document. It may be reused: Parse resets it. A Value is valid
// until the next Parse of its Doc.
type Doc struct{}

// Parse parses src, which the Doc keeps until the next Parse; src must not be
// changed meanwhile. Zero lim means the defaults. The error is always *Error.
func (d *Doc) Parse(src []byte, lim Limits) error { panic("rawjson: under construction") }

// Parse parses src into a new Doc and returns its root.
func Parse(src []byte, lim Limits) (Value, error) { panic("rawjson: under construction") }

// Root returns the document's value.
func (d *Doc) Root() Value { panic("rawjson: under construction") }

// Value is a view of one value of a Doc. The zero Value is Missing; every
// method is safe on it.
type Value struct {
	doc  *Doc
	node int32
}

// Kind returns the value's type.
func (v Value) Kind() Kind { panic("rawjson: under construction") }

// Exists reports whether the value is not Missing.
func (v Value) Exists() bool { panic("rawjson: under construction") }

// Raw returns the value's bytes as they stand in the source, nil if Missing.
func (v Value) Raw() []byte { panic("rawjson: under construction") }

// Span returns the half-open byte range of the value in the source.
func (v Value) Span() (start, end int) { panic("rawjson: under construction") }

// Get returns the member with exactly this key (after unescaping), or Missing.
func (v Value) Get(key string) Value { panic("rawjson: under construction") }

// Path follows keys from v.
func (v Value) Path(keys ...string) Value { panic("rawjson: under construction") }

// Len returns the number of members or items, 0 for anything else.
func (v Value) Len() int { panic("rawjson: under construction") }

// Members yields the members of an object in source order: the key as a String
// value and the value.
func (v Value) Members() iter.Seq2[Value, Value] { panic("rawjson: under construction") }

// Items yields the items of an array in order.
func (v Value) Items() iter.Seq[Value] { panic("rawjson: under construction") }

// Str returns the unescaped string and true, or "" and false if v is not a
// String. It allocates.
func (v Value) Str() (string, bool) { panic("rawjson: under construction") }

// Equals reports whether v is a String equal to s after unescaping, without
// allocating.
func (v Value) Equals(s string) bool { panic("rawjson: under construction") }

// Bool returns the boolean and whether v is one.
func (v Value) Bool() (val, ok bool) { panic("rawjson: under construction") }

// Int64 returns the exact integer value of a Number written without fraction or
// exponent that fits int64.
func (v Value) Int64() (int64, bool) { panic("rawjson: under construction") }

// FoldDuplicate returns the pointer of the first key in the object v that
// equals another key of the same object under strings.EqualFold, or "" (rule
// 10). deep also looks into nested objects.
func (v Value) FoldDuplicate(deep bool) string { panic("rawjson: under construction") }

// FoldsTo returns the key of the object v, unescaped, that is not equal to but
// case-folds to one of names, and that name (rule 11); ok is false if none does.
func (v Value) FoldsTo(names ...string) (key, name string, ok bool) {
	panic("rawjson: under construction")
}

// AppendCanonical appends the canonical form of v: RFC 8785 except that a
// number keeps its exact decimal value (shortest form without superfluous
// zeros; numbers RFC 8785 would round are written in full), so that two values
// have the same form only if every exact reader sees the same value.
func AppendCanonical(dst []byte, v Value) []byte { panic("rawjson: under construction") }

// Edit replaces the bytes [Start, End) of a source.
type Edit struct {
	Start, End int
	Text       []byte
}

// Splice returns a copy of src with the edits applied. Edits must be sorted and
// must not overlap; it panics if they are not, because the caller made them.
func Splice(src []byte, edits ...Edit) []byte { panic("rawjson: under construction") }

// SetMember returns the edit that sets key of the object v to raw, replacing
// the value in place or inserting the member at the end.
func SetMember(v Value, key string, raw []byte) Edit { panic("rawjson: under construction") }

// DeleteMember returns the edit that removes key from the object v together
// with one comma, and whether it was there.
func DeleteMember(v Value, key string) (Edit, bool) { panic("rawjson: under construction") }

// AppendString appends s as a JSON string: minimal escaping, invalid UTF-8
// replaced by U+FFFD.
func AppendString(dst []byte, s string) []byte { panic("rawjson: under construction") }
