package wrap_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/wrap"
)

// home is a made-up home with a journal of its own.
type home struct {
	t      *testing.T
	dir    string
	book   *wrap.Book
	table  *clientconfig.Table
	system clientconfig.System
	paths  []string
	opts   wrap.Options
	env    map[string]string
}

// builtin is the table, parsed once: nothing changes it.
var builtin = sync.OnceValues(clientconfig.Builtin)

func newHome(t *testing.T) *home {
	t.Helper()
	table, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	h := &home{t: t, dir: filepath.Join(root, "home"), table: table, system: clientconfig.Linux}
	h.opts = wrap.Options{MoveSecrets: true, IncludeProject: true, Secret: func(_, _ string) bool { return false }, Own: func(string) bool { return false }}
	h.book = &wrap.Book{Dir: filepath.Join(root, "data", "wrap"), Disk: quick{}, Now: time.Now}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

// quick is the real file system without waiting for the disk.
type quick struct{ wrap.System }

func (quick) SyncDir(string) error { return nil }

func (quick) Create(path string, mode fs.FileMode) (wrap.File, error) {
	f, err := wrap.System{}.Create(path, mode)
	return quickFile{f}, err
}

type quickFile struct{ wrap.File }

func (quickFile) Sync() error { return nil }

func (h *home) write(name, text string) string {
	h.t.Helper()
	file := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		h.t.Fatal(err)
	}
	return file
}

func (h *home) read(file string) string {
	h.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

func (h *home) describe() *discovery.Describer {
	return &discovery.Describer{Paths: &discovery.Paths{Include: true, Home: h.dir}}
}

// files are the files of clients in the home.
func (h *home) files() []clientconfig.File {
	h.t.Helper()
	d := h.describe()
	src, err := clientconfig.New(clientconfig.Config{
		Table: h.table, System: h.system, Homes: []clientconfig.Home{{Dir: h.dir, Env: h.env}}, Projects: func() []string { return h.paths }, Root: filepath.Dir(h.dir),
		Paths: d.Paths, Describe: d, Now: time.Now,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	files, err := src.Files(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return files
}

// file is the one at a path.
func (h *home) file(path string) *clientconfig.File {
	h.t.Helper()
	for _, f := range h.files() {
		if f.Path == path {
			return &f
		}
	}
	h.t.Fatalf("%s is not among the files of clients", path)
	return nil
}

const shim = "/opt/rutile/bin/rutile"

// routes are those of every entry that can be routed; why holds the others.
func (h *home) routes(f *clientconfig.File) (out []wrap.Route, why map[string]string) {
	why = map[string]string{}
	if err := wrap.Whole(f, h.opts); err != nil {
		why[""] = err.Error()
		return nil, why
	}
	for _, e := range f.Entries {
		if e.Wrapped {
			continue
		}
		up, err := wrap.Of(f, &e, h.opts)
		if err != nil {
			why[e.Name] = err.Error()
			continue
		}
		out = append(out, wrap.Route{Entry: e, Server: e.Name, Agent: "a", Key: h.describe().Describe(e.Spec).Target.Key, Command: shim, Args: []string{"connect", e.Name, "--agent", "a"}, DropEnv: len(up.SecretEnv) > 0})
	}
	return out, why
}

// wrapped routes everything in a file.
func (h *home) wrapped(path string) {
	h.t.Helper()
	f := h.file(path)
	routes, why := h.routes(f)
	if len(routes) == 0 {
		h.t.Fatalf("nothing can be routed: %v", why)
	}
	if err := h.locked(func() error { return h.book.Wrap(f, routes) }); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) locked(do func() error) error {
	h.t.Helper()
	free, err := h.book.Lock()
	if err != nil {
		h.t.Fatal(err)
	}
	defer free()
	return do()
}

func (h *home) unwrapped(path string) []wrap.EntryOutcome {
	h.t.Helper()
	var out []wrap.EntryOutcome
	if err := h.locked(func() (err error) { out, err = h.book.Unwrap(path); return err }); err != nil {
		h.t.Fatal(err)
	}
	return out
}

// leftovers are files of ours beside those of clients.
func (h *home) leftovers() []string {
	var out []string
	_ = filepath.WalkDir(h.dir, func(path string, _ os.DirEntry, _ error) error {
		if strings.Contains(filepath.Base(path), "rutile-") {
			out = append(out, path)
		}
		return nil
	})
	return out
}

// entryText is one entry of a row, with everything in it that must stay.
func entryText(row *clientconfig.Row, name string, remote bool) []pair {
	var out []pair
	first := func(names []string) string {
		if len(names) == 0 {
			return ""
		}
		return names[0]
	}
	add := func(key string, v any) {
		if key != "" {
			out = append(out, pair{key, v})
		}
	}
	if row.NameField != "" {
		add(row.NameField, name)
	}
	kind := "stdio"
	if remote {
		kind = "http"
	}
	if words := row.Types[kind]; len(words) > 0 {
		add(first(row.Fields.Type), words[0])
	}
	switch {
	case remote:
		add(first(row.Fields.URL), "https://"+name+".example.com/mcp")
		if k := first(row.Fields.Headers); k != "" && !strings.Contains(k, ".") {
			add(k, map[string]string{"Authorization": "Bearer s3cr3t-" + name})
		}
	case row.CommandForm == "array":
		add(first(row.Fields.Command), []string{"npx", "-y", "@acme/" + name + "@1.4.2", "--mode", "read"})
	default:
		add(first(row.Fields.Command), "npx")
		add(first(row.Fields.Args), []string{"-y", "@acme/" + name + "@1.4.2", "--mode", "read"})
	}
	if !remote {
		add(first(row.Fields.Env), map[string]string{"NOTES_TOKEN": "t0ps3cret-" + name})
	}
	if d := first(row.Fields.Disabled); d != "" && !strings.Contains(d, ".") {
		key, off := strings.CutPrefix(d, "!")
		add(key, !off)
	}
	add("timeout", 30)
	if k := first(row.ToolFilter); k != "" && !strings.Contains(k, ".") {
		add(k, []string{"read_*"})
	}
	return out
}

type pair struct {
	key   string
	value any
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func tomlText(v any) string {
	if m, ok := v.(map[string]string); ok {
		var parts []string
		for k, x := range m {
			parts = append(parts, k+" = "+text(x))
		}
		slices.Sort(parts)
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	return text(v)
}

// document is a file of a row with these entries, in one of several spellings.
func document(row *clientconfig.Row, style string, entries ...[]pair) string {
	var s string
	switch row.Format {
	case "toml":
		s = tomlDocument(row, style, entries)
	case "yaml":
		s = yamlDocument(row, style, entries)
	default:
		s = jsonDocument(row, style, entries)
	}
	if strings.Contains(style, "crlf") {
		s = strings.ReplaceAll(s, "\n", "\r\n")
	}
	if strings.Contains(style, "bom") {
		s = "\xef\xbb\xbf" + s
	}
	if strings.Contains(style, "cut") {
		s = strings.TrimRight(s, "\r\n")
	}
	return s
}

func nameOf(row *clientconfig.Row, i int) string { return fmt.Sprintf("notes%c", 'a'+i) }

func jsonDocument(row *clientconfig.Row, style string, entries [][]pair) string {
	in, nl, comment := "\t", "\n", ""
	if strings.Contains(style, "comment") {
		comment = " // kept"
	}
	if strings.Contains(style, "compact") {
		in, nl, comment = "", " ", ""
	}
	keys := slices.Clone(row.Root[0])
	for i := range keys {
		if keys[i] == "*" {
			keys[i] = "/some/folder"
		}
	}
	depth := len(keys) + 1
	pad := func(n int) string { return strings.Repeat(in, n) }
	var items []string
	for i, e := range entries {
		var members []string
		for _, p := range e {
			members = append(members, pad(depth+1)+text(p.key)+": "+text(p.value))
		}
		item := "{" + comment + nl + strings.Join(members, ","+comment+nl) + nl + pad(depth) + "}"
		if row.Shape != "list" {
			item = text(nameOf(row, i)) + ": " + item
		}
		items = append(items, pad(depth)+item)
	}
	open, shut := "{", "}"
	if row.Shape == "list" {
		open, shut = "[", "]"
	}
	body := open + nl + strings.Join(items, ","+nl) + nl + pad(depth-1) + shut
	for i := len(keys) - 1; i >= 0; i-- {
		before := ""
		if i == 0 {
			before = pad(1) + `"before": {"a": [1, 2.50, "x\u0041"]},` + nl
		}
		body = "{" + nl + before + pad(i+1) + text(keys[i]) + ": " + body + nl + pad(i) + "}"
	}
	return body + "\n"
}

func tomlDocument(row *clientconfig.Row, style string, entries [][]pair) string {
	root := strings.Join(row.Root[0], ".")
	var b strings.Builder
	b.WriteString("# top\nmodel = \"x\" # of mine\n\n")
	if strings.Contains(style, "compact") && row.Shape == "map" {
		fmt.Fprintf(&b, "[%s]\n", root)
		for i, e := range entries {
			var parts []string
			for _, p := range e {
				parts = append(parts, p.key+" = "+tomlText(p.value))
			}
			fmt.Fprintf(&b, "%s = { %s } # one\n", nameOf(row, i), strings.Join(parts, ", "))
		}
	} else {
		for i, e := range entries {
			if row.Shape == "list" {
				fmt.Fprintf(&b, "[[%s]]\n", root)
			} else {
				fmt.Fprintf(&b, "[%s.%s]\n", root, nameOf(row, i))
			}
			var subs strings.Builder
			for _, p := range e {
				m, isMap := p.value.(map[string]string)
				if isMap && strings.Contains(style, "comment") && row.Shape == "map" {
					fmt.Fprintf(&subs, "\n[%s.%s.%s] # apart\n", root, nameOf(row, i), p.key)
					for k, v := range m {
						fmt.Fprintf(&subs, "%s = %s\n", k, text(v))
					}
					continue
				}
				fmt.Fprintf(&b, "%s = %s # kept\n", p.key, tomlText(p.value))
			}
			b.WriteString(subs.String() + "\n# between\n")
		}
	}
	b.WriteString("\n[tail]\nlast = true\n")
	return b.String()
}

func yamlDocument(row *clientconfig.Row, style string, entries [][]pair) string {
	var b strings.Builder
	b.WriteString("# top\nmodel: gpt # of mine\n")
	b.WriteString(row.Root[0][0] + ":\n")
	for i, e := range entries {
		if strings.Contains(style, "compact") {
			var parts []string
			for _, p := range e {
				parts = append(parts, text(p.key)+": "+text(p.value))
			}
			if row.Shape == "list" {
				fmt.Fprintf(&b, "  - { %s }\n", strings.Join(parts, ", "))
			} else {
				fmt.Fprintf(&b, "  %s: { %s }\n", nameOf(row, i), strings.Join(parts, ", "))
			}
			continue
		}
		lead := "    "
		if row.Shape == "list" {
			lead = "  - "
		} else {
			fmt.Fprintf(&b, "  %s:\n", nameOf(row, i))
		}
		for _, p := range e {
			switch v := p.value.(type) {
			case []string:
				fmt.Fprintf(&b, "%s%s:\n", lead, p.key)
				for _, s := range v {
					fmt.Fprintf(&b, "    - %s\n", text(s))
				}
			case map[string]string:
				fmt.Fprintf(&b, "%s%s:\n", lead, p.key)
				for k, s := range v {
					fmt.Fprintf(&b, "      # inside\n      %s: %s\n", k, s)
				}
			default:
				fmt.Fprintf(&b, "%s%s: %v # kept\n", lead, p.key, v)
			}
			lead = "    "
		}
		b.WriteString("\n  # between\n")
	}
	b.WriteString("tail: {last: true}\n")
	return b.String()
}
