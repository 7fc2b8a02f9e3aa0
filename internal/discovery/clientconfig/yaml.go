package clientconfig

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// parseYAML reads every document of a YAML file.
func parseYAML(body []byte) (*document, *syntaxError) {
	if n := bytes.Count(body, []byte("\n")) + bytes.Count(body, []byte(",")) + bytes.Count(body, []byte(":")); n > maxValues {
		return nil, &syntaxError{why: "more values than are read"}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(body))
	if err != nil {
		return nil, &syntaxError{why: "it is not read as YAML"}
	}
	d := &document{}
	for {
		var n yaml.Node
		err := loader.Load(&n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, &syntaxError{why: "it stops being YAML", line: yamlLine(err)}
		}
		t := &yamlTree{left: maxAliases}
		root, bad := t.node(&n, 0)
		if bad != nil {
			return nil, bad
		}
		d.roots = append(d.roots, root)
	}
	if len(d.roots) > 1 {
		d.doubts = append(d.doubts, strconv.Itoa(len(d.roots))+" documents in one file")
	}
	return d, nil
}

var yamlPlace = regexp.MustCompile(`line (\d+)`)

// yamlLine is the line an error names; its text may quote the file and is dropped.
func yamlLine(err error) int {
	var le *yaml.LoadError
	if errors.As(err, &le) && le.Mark.Line > 0 {
		return le.Mark.Line
	}
	if m := yamlPlace.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

// coreTags are those of YAML itself. Any other asks a reader to build something.
var coreTags = map[string]bool{"!!str": true, "!!int": true, "!!float": true, "!!bool": true, "!!null": true, "!!seq": true, "!!map": true, "!!merge": true, "!!timestamp": true, "!!binary": true}

// yamlTree draws nodes from what the YAML library parsed.
type yamlTree struct {
	left   int // nodes that aliases may still stand for
	inside int // aliases being followed
}

func (t *yamlTree) node(y *yaml.Node, depth int) (*node, *syntaxError) {
	if depth > maxNesting {
		return nil, &syntaxError{why: "nested too deep", line: y.Line}
	}
	if t.inside > 0 {
		if t.left--; t.left < 0 {
			return nil, &syntaxError{why: "aliases that stand for more than is read", line: y.Line}
		}
	}
	if y.Tag != "" && y.Tag != "!" && !coreTags[y.ShortTag()] {
		return nil, &syntaxError{why: "a tag of its own", line: y.Line}
	}
	n := &node{line: y.Line}
	switch y.Kind {
	case yaml.DocumentNode:
		if len(y.Content) == 0 {
			return n, nil
		}
		return t.node(y.Content[0], depth)
	case yaml.AliasNode:
		t.inside++
		defer func() { t.inside-- }()
		return t.node(y.Alias, depth+1)
	case yaml.SequenceNode:
		n.kind = list
		for _, c := range y.Content {
			item, bad := t.node(c, depth+1)
			if bad != nil {
				return nil, bad
			}
			n.items = append(n.items, item)
		}
	case yaml.MappingNode:
		n.kind = object
		return n, t.members(n, y, depth)
	case yaml.ScalarNode:
		n.kind, n.text = scalar(y), y.Value
	}
	return n, nil
}

func (t *yamlTree) members(n *node, y *yaml.Node, depth int) *syntaxError {
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		for key.Kind == yaml.AliasNode && key.Alias != nil {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			continue // no client names a server by a list
		}
		v, bad := t.node(value, depth+1)
		if bad != nil {
			return bad
		}
		if key.Value == "<<" && key.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
			n.merge(v)
			continue
		}
		n.members = append(n.members, member{key: key.Value, value: v, line: key.Line})
	}
	return nil
}

// merge takes over members of a mapping, or of several, the first of which win.
func (n *node) merge(from *node) {
	sources := []*node{from}
	if from.kind == list {
		sources = from.items
	}
	for _, s := range sources {
		for _, m := range s.members {
			if len(n.values(m.key, false)) == 0 || !n.has(m.key) {
				m.merged = true
				n.members = append(n.members, m)
			}
		}
	}
}

func (n *node) has(key string) bool {
	for _, m := range n.members {
		if m.key == key {
			return true
		}
	}
	return false
}

func scalar(y *yaml.Node) kind {
	switch y.ShortTag() {
	case "!!null":
		return null
	case "!!bool":
		return boolean
	case "!!int", "!!float":
		return number
	}
	return text
}

// frontMatter cuts the YAML at the head of a Markdown file. It is false where
// there is none.
func frontMatter(body []byte) ([]byte, bool) {
	marked := bytes.TrimPrefix(body, []byte(bom))
	first, rest, ok := bytes.Cut(marked, []byte("\n"))
	if !ok || strings.TrimRight(string(first), " \t\r") != "---" {
		return nil, false
	}
	out := []byte("#\n") // keeps the numbers of lines
	for len(rest) > 0 {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if l := strings.TrimRight(string(line), " \t\r"); l == "---" || l == "..." {
			return out, true
		}
		out = append(append(out, line...), '\n')
		rest = after
	}
	return nil, false
}
