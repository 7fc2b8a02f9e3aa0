package clientconfig

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"rutile/internal/discovery"
)

// mode is how a reader chooses among members of one name.
type mode string

// The modes: what Go, Java and older parsers, JavaScript and Python, and readers
// that do not mind case do.
const (
	first  mode = "first of repeated keys"
	last   mode = "last of repeated keys"
	folded mode = "keys in any case"
)

// pick is the member called key as a reader of this kind sees it.
func (n *node) pick(key string, m mode) *node {
	for {
		head, rest, more := strings.Cut(key, ".")
		vs := n.values(key, m == folded)
		if len(vs) > 0 {
			if m == first {
				return vs[0]
			}
			return vs[len(vs)-1]
		}
		if !more {
			return nil
		}
		if n = n.pick(head, m); n == nil {
			return nil
		}
		key = rest
	}
}

// pickText is the first of several members that is a text.
func (n *node) pickText(keys []string, m mode) (value, key string) {
	for _, k := range keys {
		if v := n.pick(k, m); v != nil && v.kind == text && v.text != "" {
			return v.text, k
		}
	}
	return "", ""
}

// raw is what a reader of one kind sees in an entry, in clear. It does not leave
// the package and does not outlive the file.
type raw struct {
	spec     discovery.Spec
	env      []pair
	headers  []pair
	fields   []pair // other members that hold secrets, or names of them
	disabled bool
	unsure   bool // whether it is disabled
	both     bool // a command and an address
	approves string
}

type pair struct{ name, value, where string }

// urlFirst are clients that take an address before a command where both are
// written; every other one is taken to start the command.
var urlFirst = []string{"gemini-cli", "qwen-code"}

// read reads an entry as one kind of reader does.
func (e *entry) read(r *Row, m mode) raw {
	var out raw
	n, f := e.node, r.Fields
	out.command(n, f, m)
	url, urlKey := n.pickText(f.URL, m)
	word, _ := n.pickText(f.Type, m)
	transport := r.transport(word)
	out.both = url != "" && out.spec.Command != ""
	switch {
	case url == "":
	case !out.both, transport != "" && transport != "stdio", transport == "" && slices.Contains(urlFirst, r.Client):
		out.spec = discovery.Spec{URL: url, Transport: transport}
		if out.spec.Transport == "" || transport == "stdio" {
			out.spec.Transport = map[string]string{"tcp": "ws"}[urlKey]
		}
	}
	if out.spec.URL == "" {
		out.spec.Transport = "stdio"
	}
	for _, k := range f.Env {
		out.env = append(out.env, pairs(n.pick(k, m), "env", m)...)
	}
	for _, k := range f.Headers {
		out.headers = append(out.headers, pairs(n.pick(k, m), "header", m)...)
	}
	out.others(n, r, m)
	out.switched(n, f, m)
	out.approved(e, r, m)
	return out
}

// command reads what an entry starts: a text and a list, one list of both, or an
// object with a path as one client had it.
func (out *raw) command(n *node, f Fields, m mode) {
	for _, k := range f.Command {
		c := n.pick(k, m)
		if c == nil {
			continue
		}
		switch {
		case c.kind == text && c.text != "":
			out.spec.Command = c.text
		case c.kind == list && len(c.items) > 0:
			out.spec.Command, out.spec.Args = c.items[0].text, texts(c.items[1:])
		case c.kind == object:
			out.spec.Command, _ = c.pickText([]string{"path", "command"}, m)
			if a := c.pick("args", m); a != nil {
				out.spec.Args = texts(a.items)
			}
			out.env = append(out.env, pairs(c.pick("env", m), "env", m)...)
		}
		break
	}
	for _, k := range f.Args {
		if a := n.pick(k, m); a != nil {
			out.spec.Args = append(out.spec.Args, texts(a.items)...)
			if a.kind == text {
				out.spec.Args = append(out.spec.Args, strings.Fields(a.text)...)
			}
		}
	}
	if c := n.pick("cwd", m); c != nil && c.kind == text {
		out.spec.Dir = c.text
	}
}

func texts(items []*node) []string {
	var out []string
	for _, i := range items {
		if i.kind == text || i.kind == number || i.kind == boolean {
			out = append(out, i.text)
		}
	}
	return out
}

// pairs are the members of a map, or a list of NAME=VALUE.
func pairs(n *node, where string, m mode) []pair {
	var out []pair
	if n == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, mem := range n.members {
		if !seen[mem.key] {
			seen[mem.key] = true
			out = append(out, pair{mem.key, n.pick(mem.key, m).text, where})
		}
	}
	for _, i := range n.items {
		if p, ok := listed(i, where, m); ok {
			out = append(out, p)
		}
	}
	return out
}

// listed reads an item of a list of variables or headers: NAME=VALUE, "Name: value",
// or an object of both. What has no name of the usual form is told without one.
func listed(n *node, where string, m mode) (pair, bool) {
	if n.kind == object {
		name, _ := n.pickText([]string{"name", "key"}, m)
		value, _ := n.pickText([]string{"value"}, m)
		return pair{name, value, where}, name != ""
	}
	cut := "="
	if i := strings.IndexAny(n.text, ":="); where == "header" && i >= 0 {
		cut = n.text[i : i+1]
	}
	name, value, ok := strings.Cut(n.text, cut)
	if name = strings.TrimSpace(name); ok && !listedName.MatchString(name) {
		name, value = where, n.text
	}
	return pair{name, value, where}, ok
}

var listedName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)

// transport is ours for a client's word, "" for none.
func (r *Row) transport(word string) string {
	for _, t := range []string{"stdio", "http", "sse", "ws"} {
		for _, w := range r.Types[t] {
			if strings.EqualFold(w, word) && word != "" {
				return t
			}
		}
	}
	return ""
}

// others reads members that are not the entry's usual ones: those the row knows
// to hold secrets or their names, and any that looks like one.
func (out *raw) others(n *node, r *Row, m mode) {
	usual := slices.Concat(r.Fields.Command, r.Fields.Args, r.Fields.Env, r.Fields.URL, r.Fields.Headers, r.Fields.Type, r.Fields.Disabled, r.AutoApprove, r.ToolFilter)
	for _, k := range usual {
		head, _, _ := strings.Cut(k, ".")
		usual = append(usual, head)
	}
	for _, mem := range n.members {
		switch {
		case slices.Contains(r.SecretRefs, mem.key):
			out.named(mem.key, mem.value)
		case slices.Contains(usual, mem.key) || slices.Contains(usual, "!"+mem.key):
		default:
			all := slices.Contains(r.SecretObjects, mem.key) || slices.Contains(r.SecretFields, mem.key)
			out.leaves(mem.key, mem.value, all, 0)
		}
	}
}

// named reads a member that says what secrets are called: a variable, a list of
// them, or a map of headers to them.
func (out *raw) named(key string, n *node) {
	ref := func(name, variable string) {
		if variableWord.MatchString(variable) {
			out.fields = append(out.fields, pair{name, "${" + variable + "}", "field"})
		} else {
			out.fields = append(out.fields, pair{name, "${file:}", "field"})
		}
	}
	switch n.kind {
	case text:
		ref(key, n.text)
	case list:
		for _, i := range n.items {
			ref(key, i.text)
		}
	case object:
		for _, mem := range n.members {
			ref(mem.key, mem.value.text)
		}
	}
}

var variableWord = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// maxLeaves bounds how deep an unusual member is looked into.
const maxLeaves = 4

func (out *raw) leaves(name string, n *node, all bool, depth int) {
	if depth > maxLeaves {
		return
	}
	switch n.kind {
	case text, number:
		bare := name[strings.LastIndexByte(name, '.')+1:]
		if all || discovery.SecretName(bare) || discovery.Sensitive(n.text) {
			out.fields = append(out.fields, pair{name, n.text, "field"})
		}
	case object:
		for _, mem := range n.members {
			out.leaves(name+"."+mem.key, mem.value, all || discovery.SecretName(name), depth+1)
		}
	case list:
		for _, i := range n.items {
			out.leaves(name, i, all, depth+1)
		}
	}
}

// switched reads whether an entry is off. YAML's yes and no are true and false to
// some readers only.
func (out *raw) switched(n *node, f Fields, m mode) {
	for _, k := range f.Disabled {
		key, off := strings.CutPrefix(k, "!")
		v := n.pick(key, m)
		if v == nil {
			continue
		}
		word := strings.ToLower(v.text)
		yes := word == "true" || word == "yes" || word == "on" || word == "y"
		no := word == "false" || word == "no" || word == "off" || word == "n"
		if v.kind == boolean && (word == "true" || word == "false") {
			out.disabled = yes != off
			continue
		}
		if yes || no {
			out.unsure = true // a text to one reader
		}
	}
}

// approved reads the switches that let calls through without asking.
func (out *raw) approved(e *entry, r *Row, m mode) {
	for _, k := range r.AutoApprove {
		v := e.node.pick(k, m)
		if v == nil && e.beside != nil {
			v = e.beside.pick(k, m)
		}
		if v != nil && (v.kind == boolean && v.text == "true" || len(v.items) > 0 || len(v.members) > 0) {
			out.approves = k
		}
	}
}

// reading is one way an entry is read, and who reads it so.
type reading struct {
	raw   raw
	modes []mode
	rows  []*Row
}

// readings are the different ways an entry is read by the rows and by kinds of
// readers.
func (e *entry) readings(rows []*Row) []reading {
	var out []reading
	for _, r := range rows {
		for _, m := range []mode{last, first, folded} {
			got := e.read(r, m)
			i := slices.IndexFunc(out, func(had reading) bool { return reflect.DeepEqual(had.raw, got) })
			if i < 0 {
				i = len(out)
				out = append(out, reading{raw: got})
			}
			if !slices.Contains(out[i].modes, m) {
				out[i].modes = append(out[i].modes, m)
			}
			if !slices.Contains(out[i].rows, r) {
				out[i].rows = append(out[i].rows, r)
			}
		}
	}
	return out
}
