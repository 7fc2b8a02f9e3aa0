package wrap

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/discovery/clientconfig"
)

// statement is a line of TOML, or the lines of one value. way is where it stands
// in the tree: keys, and #n for the n-th table of an array.
type statement struct {
	way        []string
	header     bool
	start, end int // with the line's indentation and its end
	key        int // where its key begins
	value, to  int // the range of its value
}

// editTOML changes members of a table, however it is written: with a header of its
// own, with dotted keys, or inline.
func editTOML(body []byte, at []clientconfig.Step, _ string, c change) (start, end int, text []byte, err error) {
	all, err := statements(body)
	if err != nil {
		return 0, 0, nil, err
	}
	way := tomlWay(at)
	first, last := -1, -1
	for i, s := range all {
		switch {
		case hasPrefix(s.way, way) && (len(s.way) > len(way) || s.header):
			if first < 0 {
				first = i
			} else if last != i-1 {
				return 0, 0, nil, unfit("the tables of the entry stand apart from each other")
			}
			last = i
		case !s.header && hasPrefix(way, s.way) && s.value < s.to && body[s.value] == '{':
			return editInline(body, s, way[len(s.way):], c)
		}
	}
	if first < 0 {
		return 0, 0, nil, unfit("the entry is not where it was")
	}
	own := all[first : last+1]
	start, end = own[0].start, own[len(own)-1].end
	return start, end, tomlBlock(body, own, len(way), c), nil
}

func tomlWay(at []clientconfig.Step) []string {
	var way []string
	for _, s := range at {
		if s.List {
			way = append(way, "#"+strconv.Itoa(s.Index))
		} else {
			way = append(way, "."+s.Key)
		}
	}
	return way
}

func hasPrefix(way, prefix []string) bool {
	return len(way) >= len(prefix) && slices.Equal(way[:len(prefix)], prefix)
}

// tomlBlock is the text of an entry's statements with the change in them.
func tomlBlock(body []byte, own []statement, depth int, c change) []byte {
	type patch struct {
		start, end int
		text       string
	}
	var patches []patch
	nl := newline(body)
	where, indent, prefix := own[0].end, "", ""
	if own[0].header && len(own[0].way) == depth {
		for _, s := range own[1:] {
			if !s.header && len(s.way) > depth {
				indent = indentAt(body, s.key)
				break
			}
		}
	} else { // dotted keys: what stands before the last of them goes before a new one
		where = own[0].start
		if i := bytes.LastIndexByte(body[own[0].key:own[0].value], '.'); i >= 0 {
			prefix, indent = string(body[own[0].key:own[0].key+i+1]), indentAt(body, own[0].key)
		}
	}
	for _, s := range own {
		if len(s.way) > depth && slices.ContainsFunc(c.drop, func(k string) bool { return s.way[depth] == "."+k }) {
			patches = append(patches, patch{s.start, s.end, ""})
		}
	}
	for _, set := range c.set {
		i := slices.IndexFunc(own, func(s statement) bool {
			return !s.header && len(s.way) == depth+1 && s.way[depth] == "."+set.key
		})
		if i >= 0 {
			patches = append(patches, patch{own[i].value, own[i].to, string(tomlValue(set.value))})
			where = max(where, own[i].end)
			continue
		}
		patches = append(patches, patch{where, where, indent + prefix + tomlKey(set.key) + " = " + string(tomlValue(set.value)) + nl})
	}
	// What is put in comes before what is taken out at the same place.
	slices.SortStableFunc(patches, func(a, b patch) int {
		return cmp.Or(a.start-b.start, cmp.Compare(min(1, a.end-a.start), min(1, b.end-b.start)))
	})
	var out bytes.Buffer
	at, end := own[0].start, own[len(own)-1].end
	for _, p := range patches {
		if p.start < at {
			continue
		}
		out.Write(body[at:p.start])
		if p.start == p.end && out.Len() > 0 && !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
			out.WriteString(nl) // the file ends without one
			p.text = strings.TrimSuffix(p.text, nl)
		}
		out.WriteString(p.text)
		at = p.end
	}
	out.Write(body[at:end])
	return out.Bytes()
}

func tomlKey(k string) string {
	for _, r := range k {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' {
			return string(quoted(k))
		}
	}
	return k
}

// editInline changes members of an inline table, or of one inside of it.
func editInline(body []byte, s statement, rest []string, c change) (start, end int, text []byte, err error) {
	start, end = s.value, s.to
	for {
		members := inlineMembers(body, start, end)
		if len(rest) == 0 {
			return start, end, tomlInline(body, start, end, members, c), nil
		}
		i := slices.IndexFunc(members, func(m statement) bool { return len(m.way) == 1 && m.way[0] == rest[0] })
		if i < 0 || body[members[i].value] != '{' {
			return 0, 0, nil, unfit("the entry is written in a way that is not edited")
		}
		start, end, rest = members[i].value, members[i].to, rest[1:]
	}
}

func tomlInline(body []byte, start, end int, members []statement, c change) []byte {
	var parts []string
	seen := map[string]int{}
	for _, m := range members {
		if slices.ContainsFunc(c.drop, func(k string) bool { return m.way[0] == "."+k }) {
			continue
		}
		if len(m.way) == 1 {
			seen[m.way[0]] = len(parts)
		}
		parts = append(parts, string(body[m.key:m.to]))
	}
	for n, set := range c.set {
		line := tomlKey(set.key) + " = " + string(tomlValue(set.value))
		if i, ok := seen["."+set.key]; ok {
			parts[i] = line
			continue
		}
		at := 0
		if n > 0 {
			at = seen["."+c.set[n-1].key] + 1
		}
		parts = slices.Insert(parts, at, line)
		for k, i := range seen {
			if i >= at {
				seen[k] = i + 1
			}
		}
		seen["."+set.key] = at
	}
	if len(c.set) == 0 && len(c.drop) == 0 {
		return bytes.Clone(body[start:end])
	}
	return []byte("{ " + strings.Join(parts, ", ") + " }")
}

// statements reads a text that is TOML already: where its statements stand.
func statements(body []byte) ([]statement, error) {
	var out []statement
	var table []string
	arrays := map[string]int{}
	s := &tomlScan{b: body}
	for s.blank(); s.i < len(s.b); s.blank() {
		st := statement{start: bytes.LastIndexByte(body[:s.i], '\n') + 1, key: s.i}
		if s.b[s.i] == '[' {
			double := s.i+1 < len(s.b) && s.b[s.i+1] == '['
			s.i++
			if double {
				s.i++
			}
			table = resolved(s.keys(), arrays, double)
			st.way, st.header = table, true
			s.i++
			if double {
				s.i++
			}
		} else {
			st.way = append(slices.Clone(table), s.keys()...)
			s.i++ // =
			s.space()
			st.value = s.i
			s.skip()
			st.to = s.i
		}
		s.line()
		st.end = s.i
		if st.end <= st.start || s.bad {
			return nil, unfit("it is written in a way that is not edited")
		}
		out = append(out, st)
	}
	return out, nil
}

// resolved says which table of an array each key of a header leads to.
func resolved(keys []string, arrays map[string]int, double bool) []string {
	var way []string
	for i, k := range keys {
		way = append(way, k)
		name := strings.Join(way, "\x00")
		n, is := arrays[name]
		switch {
		case double && i == len(keys)-1:
			if is {
				n++
			}
			arrays[name] = n
			way = append(way, "#"+strconv.Itoa(n))
		case is:
			way = append(way, "#"+strconv.Itoa(n))
		}
	}
	return way
}

// inlineMembers are the members of the inline table in a range.
func inlineMembers(body []byte, start, end int) []statement {
	s := &tomlScan{b: body[:end], i: start + 1}
	var out []statement
	for {
		s.blank()
		for s.i < end && s.b[s.i] == ',' {
			s.i++
			s.blank()
		}
		if s.i >= end || s.b[s.i] == '}' || s.bad {
			return out
		}
		m := statement{key: s.i}
		m.way = s.keys()
		s.i++
		s.space()
		m.value = s.i
		s.skip()
		m.to = s.i
		if m.to <= m.value {
			return out
		}
		out = append(out, m)
	}
}
