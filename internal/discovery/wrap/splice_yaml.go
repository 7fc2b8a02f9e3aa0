package wrap

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"rutile/internal/discovery/clientconfig"
)

// editYAML changes members of a mapping: by lines where it is written in lines,
// anew where it is written in braces.
func editYAML(body []byte, at []clientconfig.Step, c change) (start, end int, text []byte, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(body, &doc); err != nil || len(doc.Content) != 1 {
		return 0, 0, nil, unfit("it cannot be parsed")
	}
	n, parent := doc.Content[0], (*yaml.Node)(nil)
	for _, s := range at {
		parent, n = n, yamlBelow(n, s)
		if n == nil {
			return 0, 0, nil, unfit("the entry is not where it was")
		}
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return 0, 0, nil, unfit("the entry is no mapping of its own")
	}
	if aliased(n) {
		return 0, 0, nil, unfit("the entry has an anchor, an alias or a tag, which other places may share")
	}
	y := &yamlText{body: body, lines: lineStarts(body)}
	if n.Style&yaml.FlowStyle != 0 {
		return y.flow(n, c)
	}
	return y.block(n, parent, c)
}

func yamlBelow(n *yaml.Node, s clientconfig.Step) *yaml.Node {
	switch {
	case s.List && n.Kind == yaml.SequenceNode && s.Index < len(n.Content):
		return n.Content[s.Index]
	case !s.List && n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == s.Key {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// aliased reports whether a part of n is an anchor, an alias or tagged.
func aliased(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 || n.Value == "<<" || slices.ContainsFunc(n.Content, aliased)
}

type yamlText struct {
	body  []byte
	lines []int // where each begins
}

func lineStarts(b []byte) []int {
	out := []int{0}
	for i, c := range b {
		if c == '\n' {
			out = append(out, i+1)
		}
	}
	return out
}

// offset is where a node begins.
func (y *yamlText) offset(n *yaml.Node) int {
	i := y.lines[n.Line-1]
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(y.body[i:])
		i += size
	}
	return i
}

// lineEnd is the offset behind line i, counted from 0.
func (y *yamlText) lineEnd(i int) int {
	if i+1 < len(y.lines) {
		return y.lines[i+1]
	}
	return len(y.body)
}

// deep is the indentation of line i; blank is true of one with nothing in it, or a
// comment only.
func (y *yamlText) deep(i int) (indent int, blank, comment bool) {
	line := string(y.body[y.lines[i]:y.lineEnd(i)])
	bare := strings.TrimLeft(line, " ")
	text := strings.TrimSpace(bare)
	return len(line) - len(bare), text == "", strings.HasPrefix(text, "#")
}

// last is the last line of what begins in line i and belongs to a key at column
// col, as indentation goes. seq says that a list may stand as deep as its key.
func (y *yamlText) last(i, col int, seq bool) int {
	end := i
	for j := i + 1; j < len(y.lines) && y.lines[j] < len(y.body); j++ {
		indent, blank, comment := y.deep(j)
		if blank {
			continue
		}
		dash := seq && indent == col && bytes.HasPrefix(y.body[y.lines[j]+indent:], []byte("-"))
		if indent <= col && !dash {
			if comment {
				continue
			}
			break
		}
		end = j
	}
	return end
}

// yamlMember is a member of a block: its key, and the lines it takes.
type yamlMember struct {
	key, value  *yaml.Node
	first, last int // lines from 0
}

// block edits a mapping in lines. The first member may stand behind the dash of a
// list, where it cannot go, only become another.
func (y *yamlText) block(n, _ *yaml.Node, c change) (start, end int, text []byte, err error) {
	col := n.Content[0].Column - 1
	var members []yamlMember
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Column-1 != col || i > 0 && k.Line-1 <= members[len(members)-1].last {
			return 0, 0, nil, unfit("it is written in a way that is not edited")
		}
		first := k.Line - 1
		members = append(members, yamlMember{k, v, first, y.last(first, col, v.Kind == yaml.SequenceNode)})
	}
	start = y.offset(members[0].key)
	end = y.lineEnd(members[len(members)-1].last)
	nl, indent := newline(y.body), strings.Repeat(" ", col)
	done := map[string]bool{}
	var out bytes.Buffer
	write := func(s setting) {
		if out.Len() > 0 {
			if !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
				out.WriteString(nl)
			}
			out.WriteString(indent)
		}
		out.WriteString(yamlKey(s.key) + ": " + string(quoted(s.value)) + nl)
		done[s.key] = true
	}
	has := func(key string) bool {
		return slices.ContainsFunc(members, func(m yamlMember) bool { return m.key.Value == key })
	}
	// What is new stands where what goes stood, or behind the member set before it.
	fresh := func() {
		for _, s := range c.set {
			if !done[s.key] && !has(s.key) {
				write(s)
			} else if !done[s.key] {
				return
			}
		}
	}
	at := start
	for _, m := range members {
		begin := y.lines[m.first]
		if m.first == members[0].first {
			begin = start
		}
		if between := y.body[at:begin]; out.Len() > 0 || at > start {
			out.Write(between) // comments and blank lines
		}
		at = y.lineEnd(m.last)
		set := slices.IndexFunc(c.set, func(s setting) bool { return s.key == m.key.Value })
		switch {
		case set >= 0:
			write(c.set[set])
			fresh()
		case slices.Contains(c.drop, m.key.Value):
			fresh()
		default:
			if out.Len() == 0 && begin != start {
				begin = y.offset(m.key)
			}
			out.Write(y.body[begin:at])
		}
	}
	for _, s := range c.set {
		if !done[s.key] {
			write(s)
		}
	}
	text = out.Bytes()
	if !bytes.HasSuffix(y.body[start:end], []byte("\n")) {
		text = bytes.TrimSuffix(text, []byte(nl))
	}
	return start, end, text, nil
}

func yamlKey(k string) string {
	if k != "" && strings.IndexFunc(k, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '_'
	}) < 0 && !slices.Contains([]string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, strings.ToLower(k)) {
		return k
	}
	return string(quoted(k))
}

// flow edits a mapping in braces: members that stay keep their text.
func (y *yamlText) flow(n *yaml.Node, c change) (start, end int, text []byte, err error) {
	start = y.offset(n)
	end, parts, ok := flowParts(y.body, start)
	if !ok || len(parts) != len(n.Content)/2 {
		return 0, 0, nil, unfit("it is written in a way that is not edited")
	}
	if len(c.set) == 0 && len(c.drop) == 0 {
		return start, end, bytes.Clone(y.body[start:end]), nil
	}
	var out []string
	index := map[string]int{}
	for i, part := range parts {
		key := n.Content[2*i].Value
		if slices.Contains(c.drop, key) {
			continue
		}
		index[key] = len(out)
		out = append(out, part)
	}
	for i, s := range c.set {
		line := string(quoted(s.key)) + ": " + string(quoted(s.value))
		if j, ok := index[s.key]; ok {
			out[j] = line
			continue
		}
		at := 0
		if i > 0 {
			at = index[c.set[i-1].key] + 1
		}
		out = slices.Insert(out, at, line)
		for k, j := range index {
			if j >= at {
				index[k] = j + 1
			}
		}
		index[s.key] = at
	}
	return start, end, []byte("{" + strings.Join(out, ", ") + "}"), nil
}

// flowParts cuts the members of the mapping in braces at start.
func flowParts(b []byte, start int) (end int, parts []string, ok bool) {
	depth, from, fresh := 0, start+1, true // fresh: a quote here begins a string
	for i := start; i < len(b); i++ {
		c := b[i]
		switch {
		case (c == '"' || c == '\'') && fresh:
			j := i + 1
			for j < len(b) && (b[j] != c || c == '\'' && bytes.HasPrefix(b[j:], []byte("''"))) {
				if b[j] == '\\' && c == '"' || b[j] == c {
					j++
				}
				j++
			}
			i, fresh = j, false
			continue
		case c == '#' && i > 0 && strings.IndexByte(" \t\n", b[i-1]) >= 0:
			return 0, nil, false
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				if last := strings.TrimSpace(string(b[from:i])); last != "" {
					parts = append(parts, last)
				}
				return i + 1, parts, true
			}
		case c == ',' && depth == 1:
			parts = append(parts, strings.TrimSpace(string(b[from:i])))
			from = i + 1
		}
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			fresh = strings.IndexByte("{[,:", c) >= 0
		}
	}
	return 0, nil, false
}
