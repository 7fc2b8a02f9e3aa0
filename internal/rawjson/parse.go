package rawjson

import (
	"bytes"
	"unicode/utf8"
)

// parser fills a tape. It keeps no stack: open containers are linked through
// node.next until they close.
type parser struct {
	src    []byte
	tape   []node
	keys   *keyTable
	lim    Limits
	i      int
	depth  int
	open   int32 // innermost open container, -1 at the top level
	object bool  // whether it is an object
}

func (p *parser) run() error {
	if bytes.HasPrefix(p.src, []byte("\xef\xbb\xbf")) {
		return p.fail(RuleEncoding, 0, false)
	}
	p.space()
	for {
		if p.object {
			if err := p.key(); err != nil {
				return err
			}
		}
		nested, err := p.value()
		if err != nil {
			return err
		}
		if nested {
			continue
		}
		if more, err := p.after(); err != nil || !more {
			return err
		}
	}
}

// space skips white space.
func (p *parser) space() {
	for p.i < len(p.src) {
		switch p.src[p.i] {
		case ' ', '\n', '\r', '\t':
			p.i++
		default:
			return
		}
	}
}

// at returns the current byte, 0 at the end; no rule of the grammar wants a 0.
func (p *parser) at() byte {
	if p.i < len(p.src) {
		return p.src[p.i]
	}
	return 0
}

// key reads a key and its colon.
func (p *parser) key() error {
	if p.at() != '"' {
		return p.unexpected(false)
	}
	end, escaped, rule := scanString(p.src, p.i)
	if rule != "" {
		return p.fail(rule, end, false)
	}
	obj := &p.tape[p.open]
	obj.n++
	if int(obj.n) > p.lim.Members {
		return p.fail(RuleMembers, p.i, false)
	}
	p.push(end, escaped)
	p.space()
	if p.at() != ':' {
		return p.unexpected(false)
	}
	p.i++
	p.space()
	return nil
}

// push appends a node without children and moves behind it.
func (p *parser) push(end int, n int32) {
	p.tape = append(p.tape, node{start: int32(p.i), end: int32(end), next: int32(len(p.tape) + 1), n: n})
	p.i = end
}

// value reads a value. nested means that it is a container with content, which
// comes next.
func (p *parser) value() (nested bool, err error) {
	switch c := p.at(); c {
	case '"':
		end, escaped, rule := scanString(p.src, p.i)
		if rule != "" {
			return false, p.fail(rule, end, true)
		}
		p.push(end, escaped)
		return false, nil
	case '{', '[':
		return p.begin(c)
	case 't':
		return false, p.literal("true")
	case 'f':
		return false, p.literal("false")
	case 'n':
		return false, p.literal("null")
	default:
		end, ok := scanNumber(p.src, p.i)
		if !ok {
			p.i = end
			return false, p.unexpected(true)
		}
		p.push(end, 0)
		return false, nil
	}
}

func (p *parser) literal(want string) error {
	for k := range len(want) {
		if p.i+k >= len(p.src) || p.src[p.i+k] != want[k] {
			p.i += k
			return p.unexpected(true)
		}
	}
	p.push(p.i+len(want), 0)
	return nil
}

// begin opens a container, and closes it at once if it is empty.
func (p *parser) begin(c byte) (nested bool, err error) {
	if p.depth == p.lim.Depth {
		return false, p.fail(RuleDepth, p.i, true)
	}
	start := p.i
	p.i++
	p.space()
	if p.at() == c+2 { // '{' + 2 is '}', '[' + 2 is ']'
		p.tape = append(p.tape, node{start: int32(start), end: int32(p.i + 1), next: int32(len(p.tape) + 1)})
		p.i++
		return false, nil
	}
	p.depth++
	p.tape = append(p.tape, node{start: int32(start), next: p.open})
	p.open, p.object = int32(len(p.tape)-1), c == '{'
	if !p.object {
		p.tape[p.open].n = 1
	}
	return true, nil
}

// after reads what follows a value: the ends of containers, then a comma
// (more) or the end of the document.
func (p *parser) after() (more bool, err error) {
	for {
		p.space()
		if p.open < 0 {
			if p.i < len(p.src) {
				return false, p.unexpected(false)
			}
			return false, nil
		}
		switch c := p.at(); {
		case c == ',':
			if len(p.tape) > maxNodes {
				return false, p.fail(RuleTooLarge, p.i, false)
			}
			p.i++
			p.space()
			if !p.object {
				p.tape[p.open].n++
			}
			return true, nil
		case c == '}' && p.object:
			if k := p.keys.duplicate(p.src, p.tape, p.open); k >= 0 {
				return false, p.duplicate(k)
			}
		case c == ']' && !p.object:
		default:
			return false, p.unexpected(false)
		}
		p.end()
	}
}

// end closes the innermost container at its bracket.
func (p *parser) end() {
	p.i++
	p.depth--
	c := &p.tape[p.open]
	p.open, c.next, c.end = c.next, int32(len(p.tape)), int32(p.i)
	p.object = p.open >= 0 && p.src[p.tape[p.open].start] == '{'
}

// unexpected is the error for a byte the grammar does not allow here.
func (p *parser) unexpected(inside bool) error {
	if p.at() >= utf8.RuneSelf {
		if r, n := utf8.DecodeRune(p.src[p.i:]); r == utf8.RuneError && n == 1 {
			return p.fail(RuleEncoding, p.i, inside)
		}
	}
	return p.fail(RuleSyntax, p.i, inside)
}

func (p *parser) duplicate(key int32) error {
	e := p.fail(RuleDuplicate, int(p.tape[key].start), false)
	e.Pointer = string(appendSegment([]byte(e.Pointer), content(p.src, p.tape[key])))
	return e
}

// fail makes an error. inside means that it concerns the value about to be read
// in the open container, and not that container.
func (p *parser) fail(rule Rule, offset int, inside bool) *Error {
	var path []int32 // containers, and the value, from the inside out
	if inside {
		path = append(path, int32(len(p.tape)))
	}
	for c := p.open; c >= 0; c = p.tape[c].next {
		path = append(path, c)
	}
	var ptr []byte
	for k := len(path) - 1; k > 0; k-- {
		parent, child := p.tape[path[k]], path[k-1]
		if p.src[parent.start] == '{' {
			ptr = appendSegment(ptr, content(p.src, p.tape[child-1]))
		} else {
			ptr = appendIndex(ptr, parent.n-1)
		}
	}
	return &Error{Rule: rule, Pointer: string(ptr), Offset: offset}
}

// scanNumber returns the end of the number at i, or where it stops being one.
func scanNumber(src []byte, i int) (end int, ok bool) {
	if i < len(src) && src[i] == '-' {
		i++
	}
	first := i
	if i, ok = scanDigits(src, i); !ok {
		return i, false
	}
	if src[first] == '0' && i > first+1 {
		return first + 1, false
	}
	if i < len(src) && src[i] == '.' {
		if i, ok = scanDigits(src, i+1); !ok {
			return i, false
		}
	}
	if i < len(src) && src[i]|0x20 == 'e' {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		return scanDigits(src, i)
	}
	return i, true
}

// scanDigits skips digits and reports whether there was one.
func scanDigits(src []byte, i int) (end int, ok bool) {
	first := i
	for i < len(src) && src[i]-'0' <= 9 {
		i++
	}
	return i, i > first
}
