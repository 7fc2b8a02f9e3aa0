package clientconfig

import (
	_ "embed"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"

	"rutile/internal/access"
)

//go:embed clients.yaml
var builtin []byte

// Table says where clients keep their configuration. The head of clients.yaml
// explains its members.
type Table struct {
	Version   int                          `yaml:"version"`
	Variables map[string]map[string]string `yaml:"variables"`
	Sources   []Row                        `yaml:"sources"`
	Projects  []List                       `yaml:"project_lists"`
	Stores    []Store                      `yaml:"credential_stores"`
}

// Row is one place a client reads.
type Row struct {
	ID            string              `yaml:"id"`
	Client        string              `yaml:"client"`
	Name          string              `yaml:"name"`
	Scope         string              `yaml:"scope"`
	OS            map[string][]string `yaml:"os"`
	EnvOverride   map[string][]string `yaml:"env_override"`
	Format        string              `yaml:"format"`
	Container     string              `yaml:"container"`
	Root          [][]string          `yaml:"root"`
	Shape         string              `yaml:"shape"`
	NameField     string              `yaml:"name_field"`
	Fields        Fields              `yaml:"fields"`
	CommandForm   string              `yaml:"command_form"`
	Transports    []string            `yaml:"transports"`
	Types         map[string][]string `yaml:"types"`
	Gate          string              `yaml:"gate"`
	Manifest      string              `yaml:"manifest"`
	Walk          string              `yaml:"walk"`
	SecretRefs    []string            `yaml:"secret_refs"`
	SecretObjects []string            `yaml:"secret_objects"`
	SecretFields  []string            `yaml:"secret_fields"`
	AutoApprove   []string            `yaml:"auto_approve"`
	ToolFilter    []string            `yaml:"tool_filter"`
	Expands       []string            `yaml:"expands"`
	Ignored       []string            `yaml:"ignored"`
	SkipWhen      map[string][]any    `yaml:"skip_when"`
	EndOfLife     bool                `yaml:"end_of_life"`
	Read          string              `yaml:"read"`
	Writable      bool                `yaml:"writable"`
	Sure          string              `yaml:"sure"`
	Note          string              `yaml:"note"`
}

// Fields are the names of members of an entry, in the order its client prefers
// them.
type Fields struct {
	Command  []string `yaml:"command"`
	Args     []string `yaml:"args"`
	Env      []string `yaml:"env"`
	URL      []string `yaml:"url"`
	Headers  []string `yaml:"headers"`
	Type     []string `yaml:"type"`
	Disabled []string `yaml:"disabled"`
}

// List is where a client keeps the projects it has opened.
type List struct {
	Client      string              `yaml:"client"`
	OS          map[string][]string `yaml:"os"`
	EnvOverride map[string][]string `yaml:"env_override"`
	Format      string              `yaml:"format"`
	Take        string              `yaml:"take"`
	Sure        string              `yaml:"sure"`
}

// Store is where a client keeps tokens. It is looked at, never opened.
type Store struct {
	Client      string              `yaml:"client"`
	OS          map[string][]string `yaml:"os"`
	EnvOverride map[string][]string `yaml:"env_override"`
	Record      []string            `yaml:"record"`
	Sure        string              `yaml:"sure"`
	Note        string              `yaml:"note"`
}

// Builtin returns the table Rutile comes with. Rows may be added to what is
// returned; those that are there are shared.
func Builtin() (*Table, error) {
	t, err := parsed()
	if err != nil {
		return nil, err
	}
	own := *t
	own.Sources, own.Projects, own.Stores = slices.Clone(t.Sources), slices.Clone(t.Projects), slices.Clone(t.Stores)
	return &own, nil
}

// parsed is the table Rutile comes with, read once.
var parsed = sync.OnceValues(func() (*Table, error) { return ParseTable(builtin) }) //nolint:gochecknoglobals // never changed

// ParseTable reads a table strictly: an unknown member, a repeated id and a word
// that is not known are errors that name the row.
func ParseTable(raw []byte) (*Table, error) {
	var t Table
	if err := yaml.Load(raw, &t, yaml.WithKnownFields()); err != nil {
		return nil, fmt.Errorf("the table of clients: %w", err)
	}
	seen := map[string]bool{}
	for i := range t.Sources {
		r := &t.Sources[i]
		if r.ID == "" || seen[r.ID] {
			return nil, fmt.Errorf("the table of clients: row %d has no id of its own (%q)", i+1, r.ID)
		}
		seen[r.ID] = true
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("the table of clients: row %s: %w", r.ID, err)
		}
	}
	for _, l := range t.Projects {
		if !slices.Contains(lists, l.Client) {
			return nil, fmt.Errorf("the table of clients: how %s lists its projects is not known to this version", l.Client)
		}
	}
	return &t, nil
}

// Load is the table Rutile comes with and the rows of these files.
func Load(files []string) (*Table, error) {
	table, err := Builtin()
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "discovery.clients: %w", err)
		}
		more, err := ParseTable(raw)
		if err == nil {
			err = table.Add(more)
		}
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "discovery.clients %s: %w", file, err)
		}
	}
	return table, nil
}

// Here is the system this program runs on, Linux where its own paths are not
// known.
func Here() System {
	switch runtime.GOOS {
	case "darwin", "windows":
		return System(runtime.GOOS)
	default:
		return Linux
	}
}

// Add adds the rows of another table. A row with an id that is there replaces
// nothing: it is an error.
func (t *Table) Add(other *Table) error {
	for _, r := range other.Sources {
		if slices.ContainsFunc(t.Sources, func(had Row) bool { return had.ID == r.ID }) {
			return fmt.Errorf("the table of clients has a row %s already", r.ID)
		}
		t.Sources = append(t.Sources, r)
	}
	t.Projects = append(t.Projects, other.Projects...)
	t.Stores = append(t.Stores, other.Stores...)
	return nil
}

// Markers are the names, with *, that files of clients begin with in a project.
func (t *Table) Markers() []string {
	var out []string
	for i := range t.Sources {
		for _, list := range t.Sources[i].OS {
			for _, p := range list {
				if rest, ok := strings.CutPrefix(p, "${PROJECT}/"); ok && t.Sources[i].Read != "off" {
					first, _, _ := strings.Cut(rest, "/")
					out = append(out, first)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// words are what members of a row may say.
var words = map[string][]string{
	"scope":        {"user", "project", "workspace", "managed", "plugin"},
	"format":       {"json", "jsonc", "json5", "toml", "yaml", "sqlite", "plist", "script", "opaque"},
	"container":    {"", "frontmatter", "base64-toml"},
	"shape":        {"map", "list"},
	"command_form": {"", "array"},
	"gate":         {"", "shape", "key"},
	"walk":         {"", "ancestors", "ancestors-to-repo"},
	"read":         {"parse", "presence", "off"},
	"sure":         {"verified-in-code", "second-hand", "unverified"},
}

var rowID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*\.[a-z0-9][a-z0-9.-]*$`)

func (r *Row) check() error {
	if !rowID.MatchString(r.ID) || !strings.HasPrefix(r.ID, r.Client+".") || r.Client == "" {
		return fmt.Errorf("the id must be the client, a point and a word, such as %s.user", r.Client)
	}
	for what, word := range map[string]string{"scope": r.Scope, "format": r.Format, "container": r.Container, "shape": r.Shape, "command_form": r.CommandForm, "gate": r.Gate, "walk": r.Walk, "read": r.Read, "sure": r.Sure} {
		if !slices.Contains(words[what], word) {
			return fmt.Errorf("%s is %q; it must be one of %s", what, word, strings.Join(words[what], ", "))
		}
	}
	if r.Shape == "list" && r.NameField == "" && r.Format != "sqlite" {
		return fmt.Errorf("a list needs name_field")
	}
	if r.Writable && r.Sure == "unverified" {
		return fmt.Errorf("what is unverified is not writable")
	}
	for _, patterns := range []map[string][]string{r.OS, r.EnvOverride} {
		for _, list := range patterns {
			for _, p := range list {
				if strings.Contains(p, "..") || !strings.HasPrefix(p, "${") && !strings.HasPrefix(p, "/") && !drive.MatchString(p) {
					return fmt.Errorf("the path %q must begin with a variable, / or a drive and not lead up", p)
				}
			}
		}
	}
	return nil
}

var drive = regexp.MustCompile(`^[A-Z]:/`)

// doubt orders rows: the surest first.
func (r *Row) doubt() int { return slices.Index(words["sure"], r.Sure) }

// expandsCommands reports whether the client runs what values contain.
func (r *Row) expandsCommands() bool { return slices.Contains(r.Expands, "command") }
