package clientconfig_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
)

// Every row of the table, on every system it has a path for, leads to the entry
// that stands where its client reads it.
func TestEveryRowIsRead(t *testing.T) {
	table, err := clientconfig.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Sources) < 130 {
		t.Fatalf("the table has %d rows", len(table.Sources))
	}
	read := 0
	for _, row := range table.Sources {
		for _, system := range []clientconfig.System{clientconfig.Linux, clientconfig.Darwin, clientconfig.Windows} {
			for _, pattern := range slices.Concat(row.OS["any"], row.OS[string(system)]) {
				if row.Read != "parse" || row.Format == "sqlite" {
					continue
				}
				read++
				t.Run(fmt.Sprintf("%s/%s/%d", row.ID, system, read), func(t *testing.T) {
					t.Parallel()
					readsRow(t, row, system, pattern)
				})
			}
		}
	}
	if read < 300 {
		t.Errorf("only %d places were tried", read)
	}
}

func readsRow(t *testing.T, row clientconfig.Row, system clientconfig.System, pattern string) {
	m := newMachine(t, system)
	project := filepath.Join(m.root, "projects", "shop")
	m.write("/projects/shop/README", "a project")
	m.paths = []string{project}
	file := concrete(m, pattern, project)
	rel, err := filepath.Rel(m.root, file)
	if err != nil {
		t.Fatal(err)
	}
	if row.Manifest != "" {
		man := concrete(m, row.Manifest, project)
		r, _ := filepath.Rel(m.root, man)
		m.write("/"+r, `[{"identifier":{"id":"a.one"},"relativeLocation":"one"}]`)
	}
	m.write("/"+rel, fixture(t, row))
	r := m.discover(t.Context())
	var found []discovery.Sighting
	for i := range r.Servers {
		for _, s := range r.Servers[i].Sightings() {
			if slices.Contains(s.Rows, row.ID) {
				found = append(found, s)
			}
		}
	}
	if len(found) != 1 {
		t.Fatalf("the entry was seen %d times, in %s:\n%s%v", len(found), file, inventory(r), r.Coverage)
	}
	s := found[0]
	if len(row.Fields.Command) == 0 {
		return // names only
	}
	if s.Target.Key != "pkg:npm/%40acme/notes" || s.Target.Version != "1.4.2" || !s.Target.Pinned || s.Name != "notes" {
		t.Errorf("it was read as %q %+v", s.Name, s.Target)
	}
	if got := s.Target.Args; !slices.Equal(got, []string{"--mode", "read"}) {
		t.Errorf("its arguments were read as %q", got)
	}
	if !slices.ContainsFunc(s.Secrets, func(ref discovery.SecretRef) bool {
		return ref.Name == "NOTES_TOKEN" && ref.Kind == discovery.SecretLiteral
	}) {
		t.Errorf("its environment was read as %+v", s.Secrets)
	}
	if want := len(row.Fields.Disabled) > 0; s.Disabled != want {
		t.Errorf("disabled is %v, want %v", s.Disabled, want)
	}
}

var anyVariable = regexp.MustCompile(`\$\{([A-Z_]+)\}`)

// concrete is a pattern as a path of the made-up machine.
func concrete(m *machine, pattern, project string) string {
	for anyVariable.MatchString(pattern) {
		pattern = anyVariable.ReplaceAllStringFunc(pattern, func(v string) string {
			name := v[2 : len(v)-1]
			switch name {
			case "HOME":
				return m.home
			case "PROJECT":
				return project
			default:
				return m.table.Variables[name][string(m.system)]
			}
		})
	}
	pattern = strings.NewReplacer("**", "a/b", "*.config.toml", "work.config.toml").Replace(pattern)
	pattern = strings.ReplaceAll(pattern, "*", "one")
	pattern = strings.TrimPrefix(strings.TrimPrefix(pattern, "C:"), m.root)
	return filepath.Join(m.root, pattern)
}

// fixture is one server in the shape of a row.
func fixture(t *testing.T, row clientconfig.Row) string {
	t.Helper()
	root := row.Root[0]
	if row.Format == "plist" {
		return `<?xml version="1.0"?><plist version="1.0"><dict><key>config_toml_base64</key><string>` + base64TOML + `</string></dict></plist>`
	}
	first := func(names []string) string {
		if len(names) == 0 {
			return ""
		}
		return names[0]
	}
	members := []string{}
	member := func(name, value string) {
		if name != "" {
			members = append(members, `"`+name+`": `+value)
		}
	}
	if row.NameField != "" {
		member(row.NameField, `"notes"`)
	}
	if row.CommandForm == "array" {
		member(first(row.Fields.Command), `["npx", "-y", "@acme/notes@1.4.2", "--mode", "read"]`)
	} else {
		member(first(row.Fields.Command), `"npx"`)
		member(first(row.Fields.Args), `["-y", "@acme/notes@1.4.2", "--mode", "read"]`)
	}
	member(first(row.Fields.Env), `{"NOTES_TOKEN": "t0ps3cret"}`)
	if words := row.Types["stdio"]; len(words) > 0 {
		member(first(row.Fields.Type), `"`+words[0]+`"`)
	}
	if d := first(row.Fields.Disabled); d != "" {
		name, off := strings.CutPrefix(d, "!")
		member(name, fmt.Sprint(!off))
	}
	entry := "{" + strings.Join(members, ", ") + "}"
	if row.Format == "toml" {
		return tomlFixture(row, entry)
	}
	doc := `{"notes": ` + entry + `}`
	if row.Shape == "list" {
		doc = "[" + entry + "]"
	}
	if len(row.Fields.Command) == 0 {
		doc = `{"notes": {"ref": ""}}`
	}
	for _, key := range slices.Backward(root) {
		if key == "*" {
			key = "/some/folder"
		}
		doc = `{"` + key + `": ` + doc + `}`
	}
	if row.Container == "frontmatter" {
		return "---\n" + doc + "\n---\nYou are a helpful agent.\n"
	}
	return doc + "\n" // flow YAML is JSON
}

func tomlFixture(row clientconfig.Row, entry string) string {
	head := "[" + strings.Join(row.Root[0], ".") + ".notes]\n"
	if row.Shape == "list" {
		head = "[[" + strings.Join(row.Root[0], ".") + "]]\n"
	}
	body := strings.Trim(entry, "{}")
	body = strings.ReplaceAll(strings.ReplaceAll(body, `"NOTES_TOKEN": `, "NOTES_TOKEN = "), `"env": {`, "env = {")
	for _, k := range []string{"command", "args", "enabled", "name", "transport"} {
		body = strings.ReplaceAll(body, `, "`+k+`": `, "\n"+k+" = ")
		body = strings.TrimPrefix(strings.ReplaceAll(body, `"`+k+`": `, k+" = "), "\n")
	}
	body = strings.ReplaceAll(body, ", env = ", "\nenv = ")
	if !strings.Contains(body, "}") {
		body += "}"
	}
	return head + body + "\n"
}

const base64TOML = "W21jcF9zZXJ2ZXJzLm5vdGVzXQpjb21tYW5kID0gIm5weCIKYXJncyA9IFsiLXkiLCAiQGFjbWUvbm90ZXNAMS40LjIiLCAiLS1tb2RlIiwgInJlYWQiXQplbnYgPSB7Tk9URVNfVE9LRU4gPSAidDBwczNjcmV0In0KZW5hYmxlZCA9IGZhbHNlCg=="
