package clientconfig

import (
	"errors"

	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML reads TOML: dotted keys, tables and inline tables are one tree. What
// is defined twice is kept twice.
func parseTOML(body []byte) (*document, *syntaxError) {
	if err := boundTOML(body); err != nil {
		return nil, err
	}
	var p unstable.Parser
	p.Reset(body)
	t := &tomlTree{p: &p, body: body, lines: linesOf(body), root: &node{kind: object, line: 1}, defined: map[*node]bool{}, closed: map[*node]bool{}}
	t.at = t.root
	for p.NextExpression() {
		if err := t.expression(p.Expression()); err != nil {
			return nil, err
		}
	}
	if err := p.Error(); err != nil {
		line := 0
		var pe *unstable.ParserError
		if errors.As(err, &pe) && len(pe.Highlight) > 0 {
			line = p.Shape(p.Range(pe.Highlight)).Start.Line
		}
		return nil, &syntaxError{why: "it stops being TOML", line: line}
	}
	d := &document{roots: []*node{t.root}}
	if t.twice {
		d.doubts = append(d.doubts, "a table or key that is defined twice")
	}
	return d, nil
}

// boundTOML is boundJSON for TOML.
func boundTOML(b []byte) *syntaxError {
	depth, values := 0, 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '#':
			for i < len(b) && b[i] != '\n' {
				i++
			}
			depth = min(depth, maxNesting)
		case '"', '\'':
			i = skipTOMLString(b, i)
		case '[', '{':
			depth++
			values++
		case ']', '}':
			depth = max(0, depth-1)
		case '=', ',', '.':
			values++
		}
		if depth > maxNesting {
			return &syntaxError{why: "nested too deep", line: lineAt(b, i)}
		}
		if values > maxValues {
			return &syntaxError{why: "more values than are read", line: lineAt(b, i)}
		}
	}
	return nil
}

// skipTOMLString returns the last byte of the string at i.
func skipTOMLString(b []byte, i int) int {
	quote := b[i]
	long := i+2 < len(b) && b[i+1] == quote && b[i+2] == quote
	if long {
		i += 2
	}
	for i++; i < len(b); i++ {
		switch {
		case b[i] == '\\' && quote == '"':
			i++
		case !long && (b[i] == quote || b[i] == '\n'):
			return i
		case long && b[i] == quote && i+2 < len(b) && b[i+1] == quote && b[i+2] == quote:
			return i + 2
		}
	}
	return i
}

// tomlTree draws nodes from the expressions of a file.
type tomlTree struct {
	p       *unstable.Parser
	body    []byte
	lines   lines
	root    *node
	at      *node          // the table that keys go to
	defined map[*node]bool // tables that had a header of their own
	closed  map[*node]bool // inline tables, which nothing may be added to
	twice   bool
}

func (t *tomlTree) expression(e *unstable.Node) *syntaxError {
	switch e.Kind {
	case unstable.KeyValue:
		v, err := t.value(e.Value(), 0)
		if err != nil {
			return err
		}
		return t.put(t.at, e.Key(), v)
	case unstable.Table, unstable.ArrayTable:
		return t.table(e)
	default:
		return nil
	}
}

type tomlKey struct {
	name string
	line int
}

func (t *tomlTree) keys(it unstable.Iterator) ([]tomlKey, *syntaxError) {
	var out []tomlKey
	for it.Next() {
		n := it.Node()
		k := tomlKey{name: string(n.Data), line: t.lines.of(int(n.Raw.Offset))}
		if out = append(out, k); len(out) > maxNesting {
			return nil, &syntaxError{why: "nested too deep", line: k.line}
		}
	}
	return out, nil
}

// down goes to a table below n, made where it is missing.
func (t *tomlTree) down(n *node, k tomlKey) *node {
	if vs := n.values(k.name, false); len(vs) > 0 {
		last := vs[len(vs)-1]
		if last.kind == list && len(last.items) > 0 && !t.closed[last] {
			last = last.items[len(last.items)-1]
		}
		if last.kind == object {
			if t.closed[last] {
				t.twice = true
			}
			return last
		}
		t.twice = true
	}
	next := &node{kind: object, line: k.line}
	n.members = append(n.members, member{key: k.name, value: next, line: k.line})
	return next
}

func (t *tomlTree) put(n *node, it unstable.Iterator, v *node) *syntaxError {
	path, err := t.keys(it)
	if err != nil || len(path) == 0 {
		return err
	}
	for _, k := range path[:len(path)-1] {
		n = t.down(n, k)
	}
	k := path[len(path)-1]
	if n.has(k.name) {
		t.twice = true
	}
	v.line = k.line
	n.members = append(n.members, member{key: k.name, value: v, line: k.line})
	return nil
}

func (t *tomlTree) table(e *unstable.Node) *syntaxError {
	path, err := t.keys(e.Key())
	if err != nil || len(path) == 0 {
		return err
	}
	n := t.root
	for _, k := range path[:len(path)-1] {
		n = t.down(n, k)
	}
	k := path[len(path)-1]
	if e.Kind == unstable.Table {
		next := t.down(n, k)
		if t.defined[next] {
			// A second table of one name is another one to readers that take the last.
			t.twice = true
			next = &node{kind: object, line: k.line}
			n.members = append(n.members, member{key: k.name, value: next, line: k.line})
		}
		t.defined[next], t.at = true, next
		return nil
	}
	item := &node{kind: object, line: k.line}
	t.at = item
	if vs := n.values(k.name, false); len(vs) > 0 {
		last := vs[len(vs)-1]
		if last.kind == list && !t.closed[last] {
			last.items = append(last.items, item)
			return nil
		}
		t.twice = true
	}
	n.members = append(n.members, member{key: k.name, value: &node{kind: list, items: []*node{item}, line: k.line}, line: k.line})
	return nil
}

func (t *tomlTree) value(v *unstable.Node, depth int) (*node, *syntaxError) {
	n := &node{line: t.lines.of(int(v.Raw.Offset))}
	if depth > maxNesting {
		return nil, &syntaxError{why: "nested too deep", line: n.line}
	}
	switch v.Kind {
	case unstable.String:
		n.kind, n.text = text, string(v.Data)
	case unstable.Bool:
		n.kind, n.text = boolean, string(v.Data)
	case unstable.Array:
		n.kind = list
		t.closed[n] = true
		for it := v.Children(); it.Next(); {
			item, err := t.value(it.Node(), depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	case unstable.InlineTable:
		n.kind = object
		for it := v.Children(); it.Next(); {
			kv := it.Node()
			item, err := t.value(kv.Value(), depth+1)
			if err != nil {
				return nil, err
			}
			if err := t.put(n, kv.Key(), item); err != nil {
				return nil, err
			}
		}
		t.closed[n] = true
	default:
		n.kind, n.text = number, string(v.Data)
	}
	return n, nil
}
