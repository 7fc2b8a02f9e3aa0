package clientconfig

import (
	"slices"
	"strconv"
	"strings"

	"rutile/internal/discovery"
)

// entry is one server a file names.
type entry struct {
	name    string
	pointer string
	line    int
	node    *node
	beside  *node    // the object the map or list of servers stands in
	path    []Step   // where it stands in the document
	doubts  []string // why not every reader sees this entry, or sees it so
}

// place is somewhere a root leads to.
type place struct {
	node    *node
	beside  *node
	pointer string
	path    []Step
	doubts  []string
}

// Step is one step of the way to a value: an exact key, or the place in a list.
type Step struct {
	Key   string `json:"key,omitempty"`
	Index int    `json:"index,omitempty"` // where List is set
	List  bool   `json:"list,omitempty"`
}

// to is the way to what stands one step below.
func to(path []Step, next Step) []Step { return append(slices.Clip(path), next) }

// entries are the servers a row finds in a document, of every reading: repeated
// and differently written keys each give theirs.
func (x *scan) entries(d *document, r *Row) []entry {
	var out []entry
	for i, root := range d.roots {
		var doubts []string
		if len(d.roots) > 1 {
			doubts = []string{"in document " + strconv.Itoa(i+1) + " of " + strconv.Itoa(len(d.roots))}
		}
		for _, path := range r.Root {
			places := []place{{node: root, doubts: doubts}}
			for _, step := range path {
				places = x.step(places, step)
			}
			for _, p := range places {
				out = append(out, x.list(p, r, len(path) == 0)...)
			}
		}
	}
	return out
}

// step follows one key of a root.
func (x *scan) step(from []place, key string) []place {
	var out []place
	for _, p := range from {
		if p.node.kind != object {
			continue
		}
		if key == "*" {
			for _, m := range p.node.members {
				out = append(out, place{node: m.value, beside: p.node, pointer: p.pointer + "/" + x.segment(m.key), path: to(p.path, Step{Key: m.key}), doubts: p.doubts})
			}
			continue
		}
		exact, other := 0, 0
		first := len(out)
		for _, m := range p.node.members {
			switch {
			case m.key == key:
				exact++
			case strings.EqualFold(m.key, key) && holdsServers(m.value):
				other++
			default:
				continue
			}
			next := place{node: m.value, beside: p.node, pointer: p.pointer + "/" + x.segment(m.key), path: to(p.path, Step{Key: m.key}), doubts: slices.Clone(p.doubts)}
			if m.key != key {
				next.doubts = append(next.doubts, "the key is written in another case, which only some readers take for "+key)
			}
			out = append(out, next)
		}
		if exact > 1 {
			for i := first; i < len(out); i++ {
				out[i].doubts = append(out[i].doubts, key+" is there "+strconv.Itoa(exact)+" times")
			}
		}
		if exact > 0 && other > 0 {
			for i := first; i < len(out); i++ {
				out[i].doubts = append(out[i].doubts, key+" is there in several cases")
			}
		}
	}
	return out
}

// holdsServers reports whether a value is what servers look like: a map or list
// whose members have a command or an address.
func holdsServers(n *node) bool {
	if n == nil {
		return false
	}
	for _, m := range n.members {
		if isServer(m.value) || holdsServers(m.value) {
			return true
		}
	}
	return slices.ContainsFunc(n.items, isServer)
}

// isServer reports whether a value has a command or an address of a server.
func isServer(n *node) bool {
	if n == nil || n.kind != object {
		return false
	}
	for _, m := range n.members {
		switch strings.ToLower(m.key) {
		case "command", "cmd":
			if m.value.kind == text || m.value.kind == list {
				return true
			}
		case "url", "serverurl", "httpurl", "uri", "tcp":
			if m.value.kind == text {
				return true
			}
		}
	}
	return false
}

// list are the entries of a place. bare says that it is the file itself, where
// only what looks like a server is one.
func (x *scan) list(p place, r *Row, bare bool) []entry {
	var out []entry
	count := map[string]int{}
	add := func(name string, m *node, pointer string, at Step, line int, merged bool) {
		named := len(r.Fields.Command) == 0 && m.kind == null // a hub's list may hold names only
		if m.kind != object && !named || bare && !isServer(m) || r.skips(m) {
			return
		}
		count[name]++
		e := entry{name: name, pointer: p.pointer + "/" + pointer, line: line, node: m, beside: p.beside, path: to(p.path, at), doubts: slices.Clone(p.doubts)}
		if merged || slices.ContainsFunc(m.members, func(x member) bool { return x.merged }) {
			e.doubts = append(e.doubts, "a merge key, which only some readers follow")
		}
		out = append(out, e)
	}
	switch {
	case p.node.kind == object:
		for _, m := range p.node.members {
			add(m.key, m.value, x.segment(m.key), Step{Key: m.key}, m.line, m.merged)
		}
	case p.node.kind == list && r.NameField != "":
		for i, item := range p.node.items {
			name := ""
			if v := item.values(r.NameField, false); len(v) > 0 {
				name = v[0].text
			}
			add(name, item, strconv.Itoa(i), Step{Index: i, List: true}, item.line, false)
		}
	}
	for i := range out {
		if n := count[out[i].name]; n > 1 && p.node.kind == object {
			out[i].doubts = append(out[i].doubts, "the name is there "+strconv.Itoa(n)+" times")
			out[i].pointer += "#" + strconv.Itoa(i+1)
		}
	}
	return out
}

// skips reports whether an entry is none, as the row says.
func (r *Row) skips(n *node) bool {
	for key, values := range r.SkipWhen {
		v := n.values(key, false)
		if len(v) == 0 {
			continue
		}
		for _, want := range values {
			switch w := want.(type) {
			case string:
				if v[len(v)-1].text == w {
					return true
				}
			case bool:
				if v[len(v)-1].kind == boolean && v[len(v)-1].text == strconv.FormatBool(w) {
					return true
				}
			}
		}
	}
	return false
}

// maxName bounds what is shown of a name, in bytes.
const maxName = 256

// segment is a key as a step of a pointer. The folder of a project is shown as
// paths are.
func (x *scan) segment(key string) string {
	if strings.HasPrefix(key, "/") || len(key) > 2 && key[1] == ':' && (key[2] == '/' || key[2] == '\\') {
		key = x.cfg.Paths.Show(key)
	}
	return strings.ReplaceAll(strings.ReplaceAll(shown(key), "~", "~0"), "/", "~1")
}

// shown is text of a file as far as it may be told: not what looks like a secret,
// and not without end.
func shown(s string) string {
	if discovery.Sensitive(s) {
		return "<redacted:secret>"
	}
	if len(s) > maxName {
		return strings.ToValidUTF8(s[:maxName], "") + "…"
	}
	return s
}
