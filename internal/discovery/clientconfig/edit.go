package clientconfig

import (
	"cmp"
	"context"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"rutile/internal/discovery"
)

// File is a client's file as who edits it needs it. It holds what the client's
// file holds, secrets included, and MUST NOT be kept, shown or logged.
type File struct {
	Path    string // as the client names it
	Base    string // the folder it may not lead out of
	Show    string // the path as it may be shown
	Row     *Row   // the surest row that leads to it
	Project string // the project it belongs to, "" for none
	Tracked bool   // the project is under version control
	Raw     []byte
	Refused string // why nothing in it can be edited, "" if it can
	Entries []Entry
}

// Entry is one server a file names, in clear.
type Entry struct {
	Name     string // as written: any bytes
	Row      *Row   // how its client reads it
	Clients  []string
	Path     []Step
	Pointer  string // as it may be shown
	Line     int
	Disabled bool
	Spec     discovery.Spec
	Env      []Value
	Headers  []Value
	Fields   []Value // other members that hold secrets or name them
	Members  []string
	Server   string // the server of Rutile it leads to already, "" for none
	Wrapped  bool   // it leads to Rutile, to one server or to all
	Refused  string // why it cannot be edited, "" if it can
}

// Value is something with a name, in clear.
type Value struct {
	Name  string
	Value string
	// Given says how the client comes by the value: literal, reference, input or
	// command.
	Given discovery.SecretKind
}

// Files returns the files of clients in the homes of this source, with their
// entries in clear. A file that is there and cannot be edited says why.
func (s *Source) Files(ctx context.Context) ([]File, error) {
	l := &lister{Source: s}
	discovery.Run(ctx, []discovery.Source{l}, s.cfg.Now, nil)
	slices.SortFunc(l.files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return l.files, ctx.Err()
}

// lister takes the files where a source tells what is in them.
type lister struct {
	*Source
	files []File
}

// Discover lists the files; it tells nothing.
func (l *lister) Discover(ctx context.Context, into *discovery.Sink) error {
	s := l.Source
	for _, home := range s.cfg.Homes {
		x := &scan{Source: s, home: home, into: into, files: map[string]*found{}, whole: newWhole()}
		x.cfg.Paths.Home = home.Dir
		x.projects = x.listed(ctx)
		x.cfg.Paths.SetProjects(x.projects)
		for i := range s.cfg.Table.Sources {
			x.row(ctx, &s.cfg.Table.Sources[i])
		}
		for _, f := range x.files {
			slices.SortStableFunc(f.rows, func(a, b *Row) int { return cmp.Compare(a.doubt(), b.doubt()) })
			l.files = append(l.files, x.editable(ctx, f))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// Refusal is why files of a row are never edited, "" if they are.
func (r *Row) Refusal() string {
	switch {
	case r.Scope == string(discovery.ScopeManaged):
		return "it is set for the machine by who manages it: see rutile policy export --for " + r.Client
	case r.Sure == "unverified":
		return "where and how this client keeps its servers is not verified, so it is never written"
	case r.Scope == string(discovery.ScopePlugin):
		return "it belongs to a plugin, whose next update would write it anew"
	case r.Read == "off":
		return "it is not read, so it cannot be edited"
	case r.Read == "presence":
		return "it is only looked for and not read, so it cannot be edited"
	case r.Format == "sqlite", r.Format == "plist", r.Format == "script", r.Format == "opaque", r.Container != "":
		return "its form (" + strings.Trim(r.Container+" "+r.Format, " ") + ") cannot be edited byte for byte"
	case !r.Writable:
		return "the table of clients says it must not be edited: " + r.Note
	}
	return ""
}

// editable reads one file for who edits it.
func (x *scan) editable(ctx context.Context, f *found) File {
	out := File{Path: f.path, Base: f.base, Show: x.cfg.Paths.Show(f.path), Row: f.rows[0]}
	if out.Row.Scope == string(discovery.ScopeProject) {
		out.Project = cmp.Or(x.cfg.Paths.Project(f.path), path.Dir(f.path))
		out.Tracked = x.tracked(out.Project)
	}
	var rows []*Row
	for _, r := range f.rows {
		if why := r.Refusal(); why == "" {
			rows = append(rows, r)
		} else if out.Refused == "" {
			out.Refused = why
		}
	}
	if len(rows) == 0 {
		return out
	}
	out.Refused, out.Row = "", rows[0]
	raw, refused := x.within(ctx, f)
	if refused != nil {
		out.Refused = refused.why
		return out
	}
	out.Raw = raw
	groups := byFormat(rows)
	if len(groups) > 1 {
		out.Refused = "clients read it in several forms"
		return out
	}
	x.readable(&out, f, groups[0])
	return out
}

// readable parses a file and takes its entries.
func (x *scan) readable(out *File, f *found, rows []*Row) {
	if len(strings.TrimSpace(strings.TrimPrefix(string(out.Raw), bom))) == 0 {
		return
	}
	d, bad := parse(out.Raw, rows[0].Format)
	if bad != nil {
		out.Refused = "it cannot be parsed: " + bad.Error()
		return
	}
	if len(d.doubts) > 0 || len(d.roots) > 1 {
		out.Refused = "programs read it differently: " + strings.Join(d.doubts, "; ")
		return
	}
	type group struct {
		e    entry
		rows []*Row
	}
	var groups []group
	for _, r := range rows {
		es := x.entries(d, r)
		if r.Gate == "shape" && !slices.ContainsFunc(es, func(e entry) bool { return isServer(e.node) }) {
			continue
		}
		for _, e := range es {
			i := slices.IndexFunc(groups, func(g group) bool { return g.e.node == e.node && g.e.pointer == e.pointer })
			if i < 0 {
				groups = append(groups, group{e: e})
				i = len(groups) - 1
			}
			groups[i].rows = append(groups[i].rows, r)
		}
	}
	for _, g := range groups {
		out.Entries = append(out.Entries, x.clear(f, &g.e, g.rows))
	}
	for _, e := range out.Entries {
		if strings.HasPrefix(e.Refused, ambiguous) {
			out.Refused = "the entry " + shown(e.Name) + ": " + e.Refused
			return
		}
	}
}

const ambiguous = "programs read it differently"

// clear is one entry as its client reads it.
func (x *scan) clear(f *found, e *entry, rows []*Row) Entry {
	readings := e.readings(rows)
	r := readings[0].raw
	out := Entry{Name: e.name, Row: rows[0], Path: e.path, Pointer: e.pointer, Line: e.line, Disabled: r.disabled, Spec: r.spec}
	for _, row := range rows {
		if !slices.Contains(out.Clients, row.Client) {
			out.Clients = append(out.Clients, row.Client)
		}
	}
	if d := x.describe(f, r); d.Target.Kind == discovery.KindGateway {
		out.Wrapped, out.Server = true, d.Target.Server
	}
	for _, m := range e.node.members {
		out.Members = append(out.Members, m.key)
	}
	for _, p := range r.env {
		out.Env = append(out.Env, given(p))
	}
	for _, p := range r.headers {
		out.Headers = append(out.Headers, given(p))
	}
	for _, p := range r.fields {
		out.Fields = append(out.Fields, given(p))
	}
	switch {
	case len(e.doubts) > 0 || r.unsure:
		out.Refused = ambiguous + ": " + strings.Join(e.doubts, "; ")
	case differ(readings):
		out.Refused = ambiguous + ": a key of the entry is there twice, in another case, or means another thing to another client"
	case r.both:
		out.Refused = "it has a command and an address, and clients differ in which one counts"
	case r.spec.Command == "" && r.spec.URL == "":
		out.Refused = "it names neither a command nor an address"
	}
	return out
}

// differ reports whether one client can read an entry in several ways, or two read
// different servers in it. That one knows a switch the other does not is neither.
func differ(readings []reading) bool {
	seen := map[*Row]bool{}
	for _, r := range readings {
		for _, row := range r.rows {
			if seen[row] {
				return true
			}
			seen[row] = true
		}
		a, b := r.raw, readings[0].raw
		if !reflect.DeepEqual(a.spec, b.spec) || !slices.Equal(a.env, b.env) || !slices.Equal(a.headers, b.headers) {
			return true
		}
	}
	return false
}

func given(p pair) Value {
	return Value{Name: p.name, Value: p.value, Given: discovery.Secret(p.name, p.where, p.value).Kind}
}

// tracked reports whether a folder is under version control, by what stands in it
// or above it.
func (x *scan) tracked(dir string) bool {
	home, root := filepath.ToSlash(x.home.Dir), cmp.Or(filepath.ToSlash(x.cfg.Root), "/")
	for range maxAncestors {
		for _, mark := range []string{".git", ".hg", ".svn", ".jj"} {
			if exists(dir + "/" + mark) {
				return true
			}
		}
		up := path.Dir(dir)
		if up == dir || dir == home || dir == root {
			break
		}
		dir = up
	}
	return false
}

// Same reports whether two texts in one format say the same but for the value at
// path, and whether each has a value there. It is what an edit is checked with.
func Same(before, after []byte, format string, at []Step) bool {
	a, bad := parse(before, format)
	if bad != nil {
		return false
	}
	b, bad := parse(after, format)
	if bad != nil || len(a.roots) != 1 || len(b.roots) != 1 {
		return false
	}
	return same(a.roots[0], b.roots[0], at)
}

// same compares two trees; at, if not empty, is where they may differ.
func same(a, b *node, at []Step) bool {
	if a.kind != b.kind || a.text != b.text || len(a.members) != len(b.members) || len(a.items) != len(b.items) {
		return false
	}
	for i := range a.members {
		m, n := a.members[i], b.members[i]
		if m.key != n.key || m.merged != n.merged {
			return false
		}
		here := len(at) > 0 && !at[0].List && at[0].Key == m.key
		switch {
		case here && len(at) == 1:
		case here && !same(m.value, n.value, at[1:]), !here && !same(m.value, n.value, nil):
			return false
		}
	}
	for i := range a.items {
		here := len(at) > 0 && at[0].List && at[0].Index == i
		switch {
		case here && len(at) == 1:
		case here && !same(a.items[i], b.items[i], at[1:]), !here && !same(a.items[i], b.items[i], nil):
			return false
		}
	}
	return true
}

// at is the value at the end of a way, nil if there is none or several.
func (n *node) at(way []Step) *node {
	for _, s := range way {
		switch {
		case n == nil:
			return nil
		case s.List && s.Index < len(n.items):
			n = n.items[s.Index]
		case s.List:
			return nil
		default:
			vs := n.values(s.Key, false)
			if len(vs) != 1 {
				return nil
			}
			n = vs[0]
		}
	}
	return n
}

// Named finds the entry of a list by its name instead of its place: a client may
// have put another before it. Of a map it is the way itself; false if it is gone.
func Named(raw []byte, row *Row, way []Step, name string) ([]Step, bool) {
	d, bad := parse(raw, row.Format)
	if bad != nil || len(d.roots) != 1 || len(way) == 0 {
		return nil, false
	}
	last := way[len(way)-1]
	if !last.List {
		return way, d.roots[0].at(way) != nil
	}
	holder := d.roots[0].at(way[:len(way)-1])
	if holder == nil {
		return nil, false
	}
	for i, item := range holder.items {
		if v := item.values(row.NameField, false); len(v) == 1 && v[0].text == name {
			return to(way[:len(way)-1], Step{Index: i, List: true}), true
		}
	}
	return nil, false
}

// Parses reports whether a text is of the format of a row, and if not why.
func (r *Row) Parses(raw []byte) error {
	d, bad := parse(raw, r.Format)
	if bad != nil {
		return bad
	}
	if len(d.doubts) > 0 || len(d.roots) != 1 {
		return &syntaxError{why: "programs read it differently"}
	}
	return nil
}

// SameEntry reports whether what stands at one place of a text says the same as
// what stood at a place of another.
func SameEntry(before []byte, was []Step, after []byte, at []Step, format string) bool {
	a, bad := parse(before, format)
	if bad != nil {
		return false
	}
	b, bad := parse(after, format)
	if bad != nil || len(a.roots) != 1 || len(b.roots) != 1 {
		return false
	}
	x, y := a.roots[0].at(was), b.roots[0].at(at)
	return x != nil && y != nil && same(x, y, nil)
}
