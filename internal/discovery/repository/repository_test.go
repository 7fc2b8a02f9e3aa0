package repository_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/repository"
)

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, ctx context.Context, roots ...string) (*repository.Source, *discovery.Report) {
	t.Helper()
	table, err := clientconfig.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	paths := &discovery.Paths{Include: true, Salt: []byte("salt")}
	src, err := repository.New(repository.Config{Roots: roots, Markers: table.Markers(), Paths: paths, Describe: &discovery.Describer{Paths: paths}})
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Unix(1_700_000_000, 0) }
	return src, discovery.Run(ctx, []discovery.Source{src}, now, nil).Report(discovery.Registry{})
}

// A tree shows its projects, what declares a server, and what is built with an
// SDK; what was fetched or generated is not looked at.
func TestTreesAreLookedThrough(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "shop/.git/config", "[remote \"origin\"]\n\turl = https://bot:s3cr3t@github.com/acme/Shop.git\n")
	write(t, dir, "shop/.mcp.json", `{}`)
	write(t, dir, "shop/web/.vscode/mcp.json", `{}`)
	write(t, dir, "shop/web/package.json", `{"dependencies": {"@modelcontextprotocol/sdk": "^1.20.0", "react": "19"}}`)
	write(t, dir, "shop/node_modules/x/.mcp.json", `{}`)
	write(t, dir, "shop/node_modules/x/package.json", `{"dependencies": {"fastmcp": "1"}}`)
	write(t, dir, "notes/.git/HEAD", "ref: refs/heads/main\n")
	write(t, dir, "notes/server.json", `{"$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json", "name": "com.example/notes", "version": "1.2.0",
		"packages": [{"registryType": "npm", "identifier": "@acme/notes", "version": "1.2.0", "transport": {"type": "stdio"}}, {"registryType": "oci", "identifier": "ghcr.io/acme/notes:1.2.0"}],
		"remotes": [{"type": "streamable-http", "url": "https://notes.example.com/mcp"}]}`)
	write(t, dir, "notes/src/main.py", "from fastmcp import FastMCP\nmcp = FastMCP(\"notes\")\n")
	write(t, dir, "kit/.git/HEAD", "")
	write(t, dir, "kit/examples/demo/requirements.txt", "mcp[cli]>=1.2\n")
	write(t, dir, "plain/.git/HEAD", "")
	write(t, dir, "plain/server.json", `{"port": 80}`)
	write(t, dir, "plain/go.mod", "module plain\n\nrequire example.com/mcp v1.0.0\n")
	src, r := run(t, t.Context(), dir)
	want := []string{dir, filepath.Join(dir, "shop"), filepath.Join(dir, "shop", "web")}
	if got := src.Projects(); !slices.Equal(got, want) {
		t.Errorf("projects %q, want %q", got, want)
	}
	strength := map[string]float64{}
	for i := range r.Servers {
		for _, s := range r.Servers[i].Sightings() {
			key := s.Target.Key
			if strings.HasPrefix(key, "path:") {
				key = s.Name
			}
			strength[key] = s.Strength
		}
		if r.Servers[i].Status != discovery.StatusSource {
			t.Errorf("%s is %s", r.Servers[i].Key, r.Servers[i].Status)
		}
	}
	wanted := map[string]float64{"git:github.com/acme/Shop//": 0.6, "pkg:npm/%40acme/notes": 0.9, "pkg:docker/acme/notes?repository_url=ghcr.io": 0.9, "https://notes.example.com/mcp": 0.9, "notes": 0.6, "kit": 0.3}
	if fmt.Sprint(strength) != fmt.Sprint(wanted) {
		t.Errorf("seen %v\nwant %v", strength, wanted)
	}
	if len(r.Findings) > 0 {
		t.Errorf("source code by itself has findings: %+v", r.Findings)
	}
}

// Links lead nowhere, depth and number are bounded, and a tree that is cut says so.
func TestTreesAreBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, strings.Repeat("d/", 30)+".mcp.json", `{}`)
	src, r := run(t, t.Context(), dir)
	if n := len(src.Projects()); n != 1 {
		t.Errorf("%d projects", n)
	}
	if !slices.ContainsFunc(r.Coverage, func(c discovery.Coverage) bool {
		return c.Outcome == discovery.Cut && strings.Contains(c.Why, "deeper")
	}) {
		t.Errorf("coverage %+v", r.Coverage)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, r := run(t, ctx, dir); !r.Interrupted {
		t.Error("an interrupt is not told")
	}
}
