package clientconfig

import (
	"fmt"

	"github.com/tailscale/hujson"
)

// parseJSON reads JSON, with the comments and trailing commas of JSONC.
func parseJSON(body []byte) (*document, *syntaxError) {
	if err := boundJSON(body); err != nil {
		return nil, err
	}
	v, err := hujson.Parse(body)
	if err != nil {
		return nil, &syntaxError{why: "it stops being JSON", line: stopped(err)}
	}
	c := &jsonTree{lines: linesOf(body)}
	d := &document{roots: []*node{c.node(v)}}
	c.extra(v.BeforeExtra)
	c.extra(v.AfterExtra)
	if c.comments {
		d.loose = append(d.loose, "a comment")
	}
	if c.commas {
		d.loose = append(d.loose, "a trailing comma")
	}
	return d, nil
}

// stopped is the line hujson says it stopped in. The rest of its message may quote
// the file and is dropped.
func stopped(err error) int {
	line := 0
	if _, scan := fmt.Sscanf(err.Error(), "hujson: line %d,", &line); scan != nil {
		return 0
	}
	return line
}

// boundJSON refuses what nests too deep or holds too much before a parser, which
// goes down with every bracket, sees it.
func boundJSON(b []byte) *syntaxError {
	depth, values := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '/':
			i = skipComment(b, i)
		case '{', '[':
			depth++
			if depth > maxNesting {
				return &syntaxError{why: "nested too deep", line: lineAt(b, i)}
			}
			values++
		case '}', ']':
			depth--
		case ',', ':':
			values++
		}
		if values > maxValues {
			return &syntaxError{why: "more values than are read", line: lineAt(b, i)}
		}
	}
	return nil
}

// skipComment returns the last byte of the comment at i, or i if none begins
// there.
func skipComment(b []byte, i int) int {
	if i+1 >= len(b) {
		return i
	}
	switch b[i+1] {
	case '/':
		for i < len(b) && b[i] != '\n' {
			i++
		}
	case '*':
		for i += 2; i+1 < len(b) && (b[i] != '*' || b[i+1] != '/'); i++ {
		}
		i++
	}
	return i
}

// jsonTree draws nodes from what hujson parsed.
type jsonTree struct {
	lines            lines
	comments, commas bool
}

func (c *jsonTree) extra(e hujson.Extra) {
	if !e.IsStandard() {
		c.comments = true
	}
}

func (c *jsonTree) node(v hujson.Value) *node {
	n := &node{line: c.lines.of(v.StartOffset)}
	switch x := v.Value.(type) {
	case *hujson.Object:
		n.kind = object
		for i, m := range x.Members {
			name, _ := m.Name.Value.(hujson.Literal)
			n.members = append(n.members, member{key: name.String(), value: c.node(m.Value), line: c.lines.of(m.Name.StartOffset)})
			c.extra(m.Name.BeforeExtra)
			c.extra(m.Name.AfterExtra)
			c.around(m.Value, i == len(x.Members)-1)
		}
		c.extra(x.AfterExtra)
	case *hujson.Array:
		n.kind = list
		for i, e := range x.Elements {
			n.items = append(n.items, c.node(e))
			c.around(e, i == len(x.Elements)-1)
		}
		c.extra(x.AfterExtra)
	case hujson.Literal:
		switch x.Kind() {
		case '"':
			n.kind, n.text = text, x.String()
		case 't', 'f':
			n.kind, n.text = boolean, string(x)
		case '0':
			n.kind, n.text = number, string(x)
		}
	}
	return n
}

// around looks at what stands about a member or an item. hujson says that a
// comma follows the last one by keeping what stands before it.
func (c *jsonTree) around(v hujson.Value, last bool) {
	c.extra(v.BeforeExtra)
	c.extra(v.AfterExtra)
	if last && v.AfterExtra != nil {
		c.commas = true
	}
}
