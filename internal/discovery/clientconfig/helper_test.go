package clientconfig_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
)

// machine is a made-up machine below a directory of the test.
type machine struct {
	t      *testing.T
	root   string
	home   string
	system clientconfig.System
	env    map[string]string
	paths  []string // projects named by the user
	table  *clientconfig.Table
	rows   clientconfig.Rows
	show   bool // projects' paths
}

func newMachine(t *testing.T, system clientconfig.System) *machine {
	t.Helper()
	root := t.TempDir()
	home := map[clientconfig.System]string{clientconfig.Linux: "home/mina", clientconfig.Darwin: "Users/mina", clientconfig.Windows: "Users/mina"}[system]
	m := &machine{t: t, root: root, home: filepath.Join(root, home), system: system, show: true}
	if err := os.MkdirAll(m.home, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.table, err = builtin(); err != nil {
		t.Fatal(err)
	}
	return m
}

// builtin is the table, parsed once: sources do not change it.
var builtin = sync.OnceValues(clientconfig.Builtin)

// write writes a file below the home, or below the root if its name begins with /.
func (m *machine) write(name, content string) string {
	m.t.Helper()
	file := filepath.Join(m.home, name)
	if strings.HasPrefix(name, "/") {
		file = filepath.Join(m.root, name)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return file
}

func now() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }

func (m *machine) source() *clientconfig.Source {
	m.t.Helper()
	paths := &discovery.Paths{Include: m.show, Root: m.root, Salt: []byte("a salt of this test")}
	src, err := clientconfig.New(clientconfig.Config{
		Table: m.table, System: m.system, Homes: []clientconfig.Home{{Dir: m.home, Env: m.env}}, Projects: func() []string { return m.paths }, Root: m.root,
		Paths: paths, Describe: &discovery.Describer{Paths: paths}, Now: now, Rows: m.rows,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return src
}

func (m *machine) discover(ctx context.Context) *discovery.Report {
	m.t.Helper()
	return discovery.Run(ctx, []discovery.Source{m.source()}, now, nil).Report(discovery.Registry{Says: "none"})
}

// inventory is a report in lines that tests compare.
func inventory(r *discovery.Report) string {
	var out []string
	for i := range r.Servers {
		for _, s := range r.Servers[i].Sightings() {
			t := s.Target
			line := fmt.Sprintf("%s  %s  %q  %s", s.Place.Path+"#"+s.Place.Pointer, strings.Join(s.Clients, ","), s.Name, t.Key)
			add := func(name, value string) {
				if value != "" {
					line += "  " + name + "=" + value
				}
			}
			add("via", strings.Join(t.Launchers, ">"))
			add("version", t.Version)
			if !t.Pinned {
				line += "  unpinned"
			}
			if t.Transport != "stdio" {
				add("transport", t.Transport)
			}
			add("args", strings.Join(t.Args, " "))
			add("reading", s.Reading)
			for _, ref := range s.Secrets {
				add(ref.Where+":"+ref.Name, strings.Trim(string(ref.Kind)+" "+ref.Shape+" "+ref.Ref, " "))
			}
			for _, sc := range s.Scopes {
				add("scope", sc.Name)
			}
			if s.Disabled {
				line += "  disabled"
			}
			out = append(out, line)
		}
	}
	slices.Sort(out)
	var findings []string
	for _, f := range r.Findings {
		if f.Rule != discovery.ShadowServer {
			findings = append(findings, fmt.Sprintf("%s %s  %s#%s", f.Severity, f.Rule, f.Place.Path, f.Place.Pointer))
		}
	}
	slices.Sort(findings)
	return strings.Join(out, "\n") + "\n--\n" + strings.Join(findings, "\n") + "\n"
}
