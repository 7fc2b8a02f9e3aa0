package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"rutile/internal/access"
)

// decoder reads the nodes of one file strictly and collects what is wrong.
type decoder struct {
	file     string
	keys     map[string]string
	problems Problems
}

func (d *decoder) fail(n *yaml.Node, field, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: max(n.Line, 1), Column: max(n.Column, 1), Field: field, Msg: fmt.Sprintf(format, args...)})
}

// documents returns the root node of each document of text that holds anything.
func (d *decoder) documents(text string) []*yaml.Node {
	start := &yaml.Node{Line: 1, Column: 1}
	if len(text) > MaxFile {
		d.fail(start, "", "the file has more than %d bytes: split it into several files", MaxFile)
		return nil
	}
	if at := invalidUTF8(text); at != nil {
		d.fail(at, "", "the file is not UTF-8 here: save it as UTF-8")
		return nil
	}
	loader, err := yaml.NewLoader(strings.NewReader(text))
	if err != nil {
		d.fail(start, "", "the file cannot be read as YAML")
		return nil
	}
	var out []*yaml.Node
	for {
		var n yaml.Node
		err := loader.Load(&n)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			d.syntax(err)
			return out
		}
		if n.Kind != yaml.DocumentNode || len(n.Content) != 1 {
			continue
		}
		if root := n.Content[0]; root.Kind != yaml.ScalarNode || root.Tag != "!!null" || root.Value != "" {
			if len(out) == MaxManifests {
				d.fail(root, "", "the file holds more than %d manifests: split it", MaxManifests)
				return out
			}
			if d.plain(root) {
				out = append(out, root)
			}
		}
	}
}

// syntax reports what the YAML library could not read, without its jargon.
func (d *decoder) syntax(err error) {
	at, msg := &yaml.Node{Line: 1, Column: 1}, "the file is not YAML"
	var le *yaml.LoadError
	if errors.As(err, &le) {
		at.Line, at.Column = le.Mark.Line, le.Mark.Column
		switch {
		case strings.Contains(le.Message, "unknown anchor"):
			msg = noAliases
		case strings.Contains(le.Message, "cannot start any token"):
			msg = "not YAML here: indent with spaces, not tabs, and quote text that starts with @, ` or %"
		default:
			msg = "not YAML here: " + le.Message
		}
	}
	d.fail(at, "", "%s", msg)
}

const noAliases = "anchors, aliases and merge keys are not allowed in manifests: write the value out"

// plain refuses what would make a reader see something else than what is
// written: anchors, aliases, merge keys and explicit tags. It reports the first.
func (d *decoder) plain(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode, n.Anchor != "", n.Tag == "!!merge":
		d.fail(n, "", noAliases)
		return false
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n, "", "explicit tags such as %q are not allowed in manifests: leave it out", clip(n.Tag))
		return false
	}
	for _, c := range n.Content {
		if !d.plain(c) {
			return false
		}
	}
	return true
}

// object is a mapping whose keys are known.
type object struct {
	d       *decoder
	node    *yaml.Node
	path    string
	members map[string]*yaml.Node
}

// object reads a mapping. It reports anything else, keys that are not known (no
// known keys: all are), and keys that are there twice.
func (d *decoder) object(n *yaml.Node, path string, known ...string) object {
	o := object{d: d, node: n, path: path, members: map[string]*yaml.Node{}}
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "must be a mapping (key: value), not %s", what(n))
		return o
	}
	if len(n.Content) > 2*maxEntries {
		d.fail(n, path, "has more than %d entries", maxEntries)
		return o
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.fail(k, path, "a key must be text, not %s", what(k))
			continue
		}
		if _, dup := o.members[k.Value]; dup {
			d.fail(k, join(path, k.Value), "the key is there twice: remove one")
			continue
		}
		o.members[k.Value] = v
		if len(known) > 0 && !slices.Contains(known, k.Value) {
			hint := "; known are " + strings.Join(known, ", ")
			if near := access.Nearest(k.Value, known); near != "" {
				hint = fmt.Sprintf(": do you mean %q?", near)
			}
			d.fail(k, join(path, k.Value), "unknown key%s", hint)
		}
	}
	return o
}

func (o object) has(key string) bool { return o.members[key] != nil }

// place returns the node of key for messages, or the object's where it is missing.
func (o object) place(key string) *yaml.Node {
	if n := o.members[key]; n != nil {
		return n
	}
	return o.node
}

func (o object) fail(key, format string, args ...any) {
	o.d.fail(o.place(key), join(o.path, key), format, args...)
}

// required reports a missing key and what to write.
func (o object) required(key, example string) {
	if !o.has(key) {
		o.fail(key, "is required: add %s: %s", key, example)
	}
}

// text reads one line of text, "" if the key is missing.
func (o object) text(key string) string {
	n := o.members[key]
	if n == nil {
		return ""
	}
	return o.d.text(n, join(o.path, key))
}

func (d *decoder) text(n *yaml.Node, field string) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.fail(n, field, "must be text, not %s", what(n))
	case n.Tag == "!!null" || n.Value == "":
		d.fail(n, field, "is empty: give a value or remove the key")
	case n.Tag != "!!str":
		d.fail(n, field, "must be text, not %s: put it in quotes", what(n))
	case len(n.Value) > maxText:
		d.fail(n, field, "has more than %d bytes", maxText)
	default:
		if r, bad := unseen(n.Value); bad {
			d.fail(n, field, "holds the invisible character %U: remove it", r)
			return ""
		}
		return n.Value
	}
	return ""
}

// Bounds of a manifest: one line of text, and the entries of one list or mapping.
const (
	maxText    = 16 << 10
	maxEntries = 10_000
)

// texts reads a list of lines of text.
func (o object) texts(key string) []string {
	n := o.members[key]
	if n == nil {
		return nil
	}
	field := join(o.path, key)
	if n.Kind != yaml.SequenceNode {
		o.d.fail(n, field, "must be a list, not %s", what(n))
		return nil
	}
	if len(n.Content) > maxEntries {
		o.d.fail(n, field, "has more than %d entries", maxEntries)
		return nil
	}
	out := make([]string, 0, len(n.Content))
	for i, c := range n.Content {
		out = append(out, o.d.text(c, fmt.Sprintf("%s[%d]", field, i)))
	}
	return out
}

// set reads a list of texts in which nothing may be twice, sorted.
func (o object) set(key string) []string {
	list := o.texts(key)
	seen := make(map[string]bool, len(list))
	for i, s := range list {
		if s != "" && seen[s] {
			o.d.fail(o.members[key].Content[i], fmt.Sprintf("%s[%d]", join(o.path, key), i), "%q is there twice: remove one", clip(s))
		}
		seen[s] = true
	}
	slices.Sort(list)
	return list
}

// integer reads a whole number between low and high, def if the key is missing.
func (o object) integer(key string, low, high, def int) int {
	n := o.members[key]
	if n == nil {
		return def
	}
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v < low || v > high {
		o.fail(key, "must be a whole number from %d to %d", low, high)
		return def
	}
	return v
}

// sub reads a mapping below key; ok is false if it is missing or none.
func (o object) sub(key string, known ...string) (object, bool) {
	n := o.members[key]
	if n == nil {
		return object{}, false
	}
	s := o.d.object(n, join(o.path, key), known...)
	return s, n.Kind == yaml.MappingNode
}

// mapping reads a mapping of text to text.
func (o object) mapping(key string) map[string]string {
	s, ok := o.sub(key)
	if !ok {
		return nil
	}
	out := make(map[string]string, len(s.members))
	for k := range s.members {
		if r, bad := unseen(k); bad {
			s.fail(k, "the key holds the invisible character %U: remove it", r)
			continue
		}
		out[k] = s.text(k)
	}
	return out
}

func join(path, key string) string {
	key = clip(key)
	if path == "" {
		return key
	}
	return path + "." + key
}

// what names a node's type as people do.
func what(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
	default:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	default:
		return "text"
	}
}

// clip shortens what a message quotes.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// unseen returns the first character of s that a reader of a manifest does not
// see as what it is: control, zero-width and direction characters, tags.
func unseen(s string) (rune, bool) {
	for _, r := range s {
		if hidden(r) {
			return r, true
		}
	}
	return 0, false
}

// hidden reports whether r has no appearance of its own.
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp, unicode.Variation_Selector) || r == utf8.RuneError ||
		r == 0x115F || r == 0x1160 || r == 0x3164 || r == 0xFFA0 || r == 0x034F || r == 0x2800 || r == 0x17B4 || r == 0x17B5
}

func invalidUTF8(text string) *yaml.Node {
	if utf8.ValidString(text) {
		return nil
	}
	b := []byte(text)
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			line := bytes.Count(b[:i], []byte("\n"))
			return &yaml.Node{Line: line + 1, Column: i - bytes.LastIndexByte(b[:i], '\n')}
		}
		i += n
	}
	return nil
}
