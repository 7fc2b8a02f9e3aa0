package clientconfig

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"regexp"
	"strings"

	"rutile/internal/discovery"
)

// follow reads the file inside of a plugin that its manifest names instead of
// servers. One outside of the plugin is not read.
func (x *scan) follow(ctx context.Context, f *found, d *document, r *Row) {
	if f.named || r.Scope != string(discovery.ScopePlugin) || len(r.Root) == 0 || len(r.Root[0]) == 0 {
		return
	}
	name, _ := d.roots[0].pickText(r.Root[0][:1], last)
	if name == "" {
		return
	}
	dir := path.Dir(f.path)
	if strings.HasPrefix(path.Base(dir), ".") {
		dir = path.Dir(dir)
	}
	target := path.Join(dir, path.Clean("/"+strings.ReplaceAll(name, `\`, "/")))
	if strings.Contains(name, "..") || path.IsAbs(name) || !inside(target, dir) {
		x.into.Looked(discovery.Coverage{Row: r.ID, Place: x.cfg.Paths.Show(f.path), Outcome: discovery.Skipped, Why: "it names a file outside of the plugin"})
		return
	}
	if _, known := x.files[target]; known {
		return
	}
	row := *r
	row.Root = append(r.Root[:len(r.Root):len(r.Root)], []string{})
	row.Format = "json"
	next := &found{path: target, base: dir, rows: []*Row{&row}, named: true}
	x.files[target] = next
	x.file(ctx, next)
}

// database reads the servers of a hub that keeps them in SQLite.
func (x *scan) database(ctx context.Context, f *found, r *Row) int {
	if x.cfg.Rows == nil || len(r.Root) == 0 || len(r.Root[0]) != 2 {
		x.into.Looked(discovery.Coverage{Row: r.ID, Place: x.cfg.Paths.Show(f.path), Outcome: discovery.Skipped, Why: "SQLite is not read here"})
		return 0
	}
	cells, err := x.cfg.Rows(ctx, f.path, r.Root[0][0], r.Root[0][1], maxMatches)
	if err != nil {
		x.into.Looked(discovery.Coverage{Row: r.ID, Place: x.cfg.Paths.Show(f.path), Outcome: discovery.Unreadable, Why: "it is not read as SQLite"})
		return 0
	}
	n := 0
	for i, cell := range cells {
		d, bad := parse([]byte(cell), "json")
		if bad != nil {
			continue
		}
		for j, item := range d.roots[0].items {
			n++
			x.into.Saw(x.hubbed(f, r, item, i, j))
		}
	}
	return n
}

var referenceScheme = regexp.MustCompile(`^(?:catalog|docker|oci|registry)://`)

// hubbed is one server of a hub's list: an image, an address or a name in its
// catalogue.
func (x *scan) hubbed(f *found, r *Row, item *node, i, j int) discovery.Sighting {
	name := item.text
	var spec discovery.Spec
	if item.kind == object {
		name, _ = item.pickText([]string{"name", "id", "ref"}, last)
		if s := item.pick("snapshot", last); name == "" && s != nil {
			name, _ = s.pickText([]string{"server.name", "name"}, last)
		}
		if u, _ := item.pickText([]string{"endpoint", "url", "remote.url"}, last); u != "" {
			spec.URL = u
		} else if image, _ := item.pickText([]string{"image"}, last); image != "" {
			spec.Command, spec.Args = "docker", []string{"run", referenceScheme.ReplaceAllString(image, "")}
		}
	}
	d := x.cfg.Describe.Describe(spec)
	if d.Target.Key == "" {
		d.Target = discovery.Target{Kind: discovery.KindHub, Key: "hub:docker-mcp:" + shown(referenceScheme.ReplaceAllString(name, ""))}
	}
	at := discovery.Place{Path: x.cfg.Paths.Show(f.path), Pointer: "/" + r.Root[0][0] + "/" + itoa(i) + "/" + itoa(j)}
	return discovery.Sighting{
		Fact: discovery.Configured, Strength: strengthConfigured, Clients: []string{r.Client}, Rows: []string{r.ID}, Scope: discovery.Scope(r.Scope),
		Place: at, Name: shown(name), Target: d.Target, Secrets: d.Secrets, Why: []string{"a server behind " + r.Name},
	}
}

// unpacked is the row of what a property list holds: servers of its client.
func (r *Row) unpacked() *Row {
	inner := *r
	inner.Format, inner.Container, inner.Root = "toml", "", [][]string{{"mcp_servers"}}
	return &inner
}

// plistTOML is the TOML a property list holds as base64 under a key. Binary lists
// are not read.
func plistTOML(raw []byte, root [][]string) ([]byte, bool) {
	if len(root) == 0 || len(root[0]) != 1 {
		return nil, false
	}
	d := xml.NewDecoder(bytes.NewReader(raw))
	d.Strict = true
	key, in, value := "", "", ""
	for range maxValues {
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) || err != nil {
			return nil, false
		}
		switch t := tok.(type) {
		case xml.StartElement:
			in, value = t.Name.Local, ""
		case xml.CharData:
			value += string(t)
		case xml.EndElement:
			if in == "key" {
				key = value
			} else if key == root[0][0] && (in == "string" || in == "data") {
				out, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), ""))
				return out, err == nil
			}
			in = ""
		}
	}
	return nil, false
}
