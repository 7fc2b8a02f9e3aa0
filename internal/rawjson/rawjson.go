// Package rawjson reads JSON strictly, once, and keeps the byte spans.
//
// It is shared by the proxies, inspection, discovery and evidence. A document
// is parsed into a flat tape of nodes over the caller's bytes; values are views
// into them, so nothing is copied and whatever is judged is what is forwarded.
// Parse MUST reject what lenient parsers disagree about: invalid UTF-8, a byte
// order mark, lone surrogate escapes, trailing data, and two keys of one object
// that are equal after unescaping (mcp.md section 3, rules 6, 7 and 9). Its
// time MUST stay linear in the document, whatever the document. It does not
// decide what a member means: that is the caller's.
//
// The caller's side: the source MUST NOT change while a Doc holds it, and a
// Value MUST NOT be used after the next Parse of its Doc. Between two parses
// the values of a Doc may be read by several goroutines at once.
package rawjson

import "strconv"

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

// Limits bound what Parse accepts. Zero means the default. A document of more
// than 4 Mi values and keys is too large whatever its bytes: each takes 16 bytes
// of memory, and a value may be written in two.
type Limits struct {
	Depth   int // nesting, default 64
	Members int // members of one object, default 10 000
	Bytes   int // of the whole document, default 4 MiB, at most 1 GiB
}

const (
	defaultDepth   = 64
	defaultMembers = 10_000
	defaultBytes   = 4 << 20
	// Spans and tape indices are 32 bits wide.
	maxBytes = 1 << 30
	maxNodes = 4 << 20
	// firstNodes is the most tape that is made before anything is read.
	firstNodes = 1 << 14
)

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = defaultDepth
	}
	if l.Members <= 0 {
		l.Members = defaultMembers
	}
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	l.Bytes = min(l.Bytes, maxBytes)
	return l
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

func (r Rule) text() string {
	switch r {
	case RuleSyntax:
		return "invalid JSON"
	case RuleEncoding:
		return "invalid encoding"
	case RuleDepth:
		return "nested too deep"
	case RuleMembers:
		return "too many members"
	case RuleDuplicate:
		return "duplicate key"
	case RuleTooLarge:
		return "document too large"
	default:
		return string(r)
	}
}

// Error says which rule was broken and where. It never holds document content
// other than the JSON pointer of the place.
type Error struct {
	Rule Rule
	// Pointer is the RFC 6901 pointer of the value, or of the object for a rule
	// about its keys. A segment longer than 64 bytes is cut and ends in "…".
	Pointer string
	Offset  int // byte offset
}

// Error returns "rule at pointer (byte n)"; a pointer that is not printable is
// quoted, so that a key cannot write control characters into a log.
func (e *Error) Error() string {
	dst := make([]byte, 0, 64)
	dst = append(dst, e.Rule.text()...)
	if e.Pointer != "" {
		dst = append(dst, " at "...)
		if printable(e.Pointer) {
			dst = append(dst, e.Pointer...)
		} else {
			dst = strconv.AppendQuote(dst, e.Pointer)
		}
	}
	dst = append(dst, " (byte "...)
	dst = strconv.AppendInt(dst, int64(e.Offset), 10)
	return string(append(dst, ')'))
}

func printable(s string) bool {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// Doc is a parsed document. It may be reused: Parse resets it and keeps its
// buffers, so that parsing documents of a usual size allocates nothing.
type Doc struct {
	src  []byte
	tape []node // empty unless the last Parse succeeded
	keys keyTable
}

// node is one value, or one key, on the tape: a container is followed by what
// it contains, a key by its value. The kind is not stored, because the first
// byte of the span tells it.
type node struct {
	start, end int32
	// next is the index of the first node after the value and all it contains.
	// In a container that is still open it is the index of the container around it.
	next int32
	// n counts the members or items of a container; in a string it is 1 if the
	// string holds escapes; otherwise 0.
	n int32
}

// keepNodes is how much tape a Doc keeps over Reset.
const keepNodes = 1 << 14

// Parse parses src, which the Doc keeps until the next Parse; src must not be
// changed meanwhile. Zero lim means the defaults. The error is always *Error;
// after it the root is Missing.
func (d *Doc) Parse(src []byte, lim Limits) error {
	lim = lim.withDefaults()
	d.src = src
	if len(src) > lim.Bytes {
		d.tape = d.tape[:0]
		return &Error{Rule: RuleTooLarge, Offset: lim.Bytes}
	}
	if d.tape == nil {
		d.tape = make([]node, 0, min(16+len(src)/12, firstNodes))
	}
	p := parser{src: src, tape: d.tape[:0], keys: &d.keys, open: -1, lim: lim}
	err := p.run()
	d.tape = p.tape
	if err != nil {
		d.tape = d.tape[:0]
		return err
	}
	return nil
}

// Size is the number of bytes the Doc holds besides its source.
func (d *Doc) Size() int { return cap(d.tape)*4*4 + cap(d.keys.slots)*8 + cap(d.keys.buf) }

// Clear forgets the document and keeps all buffers.
func (d *Doc) Clear() {
	d.src = nil
	d.tape = d.tape[:0]
}

// Reset forgets the document and gives back buffers that a large one has grown,
// so that a pooled Doc pins neither.
func (d *Doc) Reset() {
	d.Clear()
	if cap(d.tape) > keepNodes {
		d.tape = nil
	}
	d.keys.release()
}

// Parse parses src into a new Doc and returns its root.
func Parse(src []byte, lim Limits) (Value, error) {
	d := new(Doc)
	if err := d.Parse(src, lim); err != nil {
		return Value{}, err
	}
	return d.Root(), nil
}

// Validate returns the *Error that Parse with the default limits would return.
func Validate(src []byte) error {
	var d Doc
	return d.Parse(src, Limits{})
}

// Root returns the document's value, Missing unless the last Parse succeeded.
func (d *Doc) Root() Value {
	if len(d.tape) == 0 {
		return Value{}
	}
	return Value{doc: d}
}
