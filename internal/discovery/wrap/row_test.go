package wrap_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rutile/internal/discovery/clientconfig"
)

var styles = []string{"plain", "compact", "bom crlf comment cut"}

// Every row that may be written comes back from a wrap to the same bytes, in every
// spelling, with commands and with addresses; what does not say how to reach the
// server stays in between.
func TestEveryWritableRowComesBack(t *testing.T) {
	table, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for i := range table.Sources {
		row := &table.Sources[i]
		if row.Refusal() != "" {
			continue
		}
		tried++
		t.Run(row.ID, func(t *testing.T) {
			t.Parallel()
			for _, style := range styles {
				comesBack(t, row, style, false)
				if len(row.Fields.URL) > 0 {
					comesBack(t, row, style, true)
				}
			}
		})
	}
	if tried < 85 {
		t.Errorf("only %d rows were tried", tried)
	}
}

func comesBack(t *testing.T, row *clientconfig.Row, style string, remote bool) {
	t.Helper()
	what := fmt.Sprintf("%s, remote %v", style, remote)
	h := newHome(t)
	h.system = systemOf(row)
	h.table = &clientconfig.Table{Variables: h.table.Variables, Sources: []clientconfig.Row{*row}}
	project := filepath.Join(h.dir, "src", "shop")
	h.write("src/shop/README", "a project")
	h.paths = []string{project}
	file := placeOf(h, row, project)
	before := document(row, style, entryText(row, "notesa", remote), entryText(row, "notesb", false))
	rel, err := filepath.Rel(h.dir, file)
	if err != nil || strings.HasPrefix(rel, "..") {
		t.Fatalf("%s: %s lies outside of the home", what, file)
	}
	h.write(rel, before)
	if err := os.Chmod(file, 0o604); err != nil {
		t.Fatal(err)
	}
	f := h.file(file)
	routes, why := h.routes(f)
	if len(routes) != 2 {
		t.Fatalf("%s: %d entries can be routed: %v\n%s", what, len(routes), why, before)
	}
	if err := h.locked(func() error { return h.book.Wrap(f, routes) }); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, before)
	}
	after := h.read(file)
	now := h.file(file)
	for i, e := range now.Entries {
		if !e.Wrapped || e.Server != "notes"+string(rune('a'+i)) || e.Spec.URL != "" || e.Disabled != f.Entries[i].Disabled || e.Name != f.Entries[i].Name || e.Refused != "" {
			t.Errorf("%s: the entry reads %+v", what, e)
		}
		for _, keep := range append([]string{"timeout"}, row.ToolFilter...) {
			if slices.Contains(f.Entries[i].Members, keep) && !slices.Contains(e.Members, keep) {
				t.Errorf("%s: %s is gone", what, keep)
			}
		}
	}
	for _, gone := range []string{"s3cr3t", "t0ps3cret", "@acme", "example.com"} {
		if strings.Contains(after, gone) {
			t.Errorf("%s: %s still stands in\n%s", what, gone, after)
		}
	}
	if strings.Count(after, "kept") == 0 && strings.Contains(before, "kept") {
		t.Errorf("%s: comments are gone:\n%s", what, after)
	}
	h.unwrapped(file)
	if got := h.read(file); got != before {
		t.Errorf("%s: it came back as\n%q\nand was\n%q", what, got, before)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("%s: its mode is %v %v", what, info.Mode(), err)
	}
	if left := h.leftovers(); len(left) > 0 {
		t.Errorf("%s: left behind %v", what, left)
	}
	// Later edits beside ours: every entry is put back by itself.
	h.wrapped(file)
	edited := h.read(file) + trailing(row)
	if err := os.WriteFile(file, []byte(edited), 0o604); err != nil {
		t.Fatal(err)
	}
	h.unwrapped(file)
	if got := h.read(file); got != before+trailing(row) {
		t.Errorf("%s: after an edit it came back as\n%q\nand was\n%q", what, got, before)
	}
}

// trailing is an edit that means nothing, at the end of a file.
func trailing(row *clientconfig.Row) string {
	if row.Format == "toml" || row.Format == "yaml" {
		return "\n# edited\n"
	}
	return "\n"
}

func systemOf(row *clientconfig.Row) clientconfig.System {
	for _, s := range []clientconfig.System{clientconfig.Linux, clientconfig.Darwin, clientconfig.Windows} {
		if len(row.OS["any"])+len(row.OS[string(s)]) > 0 {
			return s
		}
	}
	return clientconfig.Linux
}

var variable = regexp.MustCompile(`\$\{([A-Z_]+)\}`)

// placeOf is the first path of a row in the made-up home.
func placeOf(h *home, row *clientconfig.Row, project string) string {
	list := append(slices.Clone(row.OS["any"]), row.OS[string(h.system)]...)
	pattern := list[0]
	for variable.MatchString(pattern) {
		pattern = variable.ReplaceAllStringFunc(pattern, func(v string) string {
			switch name := v[2 : len(v)-1]; name {
			case "HOME":
				return h.dir
			case "PROJECT":
				return project
			default:
				return h.table.Variables[name][string(h.system)]
			}
		})
	}
	pattern = strings.NewReplacer("**", "a/b", "*.config.toml", "work.config.toml").Replace(pattern)
	return strings.ReplaceAll(pattern, "*", "one")
}

// Every row that may not be written is refused, with a reason of its own kind.
func TestEveryOtherRowIsRefused(t *testing.T) {
	table, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range table.Sources {
		row := &table.Sources[i]
		why := row.Refusal()
		switch {
		case row.Writable && row.Read == "parse" && row.Container == "" && why != "":
			t.Errorf("%s may be written and is refused: %s", row.ID, why)
		case !row.Writable && why == "":
			t.Errorf("%s may not be written and is not refused", row.ID)
		case row.Sure == "unverified" && why == "":
			t.Errorf("%s is unverified and is not refused", row.ID)
		case row.Scope == "managed" && !strings.Contains(why, "policy export"):
			t.Errorf("%s is refused without the next step: %s", row.ID, why)
		}
		if why == "" {
			continue
		}
		refused++
		if row.Read != "parse" || len(row.OS["any"])+len(row.OS["linux"]) == 0 || row.Manifest != "" || row.Format == "sqlite" {
			continue
		}
		t.Run(row.ID, func(t *testing.T) {
			h := newHome(t)
			project := filepath.Join(h.dir, "src", "shop")
			h.write("src/shop/README", "a project")
			h.paths = []string{project}
			file := placeOf(h, row, project)
			rel, err := filepath.Rel(h.dir, file)
			if err != nil || strings.HasPrefix(rel, "..") {
				rel = filepath.Join("..", file) // below the root of the made-up machine
				file = filepath.Join(filepath.Dir(h.dir), file)
			}
			h.write(rel, `{"mcpServers": {"notes": {"command": "npx"}}}`)
			f := h.file(file)
			routes, whys := h.routes(f)
			if len(routes) != 0 || whys[""] == "" {
				t.Errorf("it can be routed: %v", whys)
			}
			if err := h.locked(func() error { return h.book.Wrap(f, nil) }); err != nil && h.read(file) == "" {
				t.Error(err)
			}
		})
	}
	if refused < 40 {
		t.Errorf("only %d rows are refused", refused)
	}
}
