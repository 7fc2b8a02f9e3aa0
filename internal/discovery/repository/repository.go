// Package repository looks through trees of source code: which folders are
// projects with configurations of MCP clients, what declares that it is an MCP
// server, and what is built with an SDK of MCP or A2A (discovery.md 8).
//
// It reads working trees. It builds nothing, asks no program and follows no
// links; its time and memory MUST stay bounded whatever the tree. The
// configurations it leads to are read by package clientconfig. Bare repositories
// are not opened.
package repository

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
)

// Bounds of one run.
const (
	maxDepth    = 10        // folders below a root or a repository
	maxFiles    = 20_000    // looked at in one repository or tree
	maxTotal    = 5_000_000 // looked at in all
	maxProjects = 50_000
	maxFile     = 256 << 10 // bytes of a file that is searched
)

// Weights of what is seen (discovery.md 3). What lies under tests, examples and
// templates counts half.
const (
	strengthDeclared = 0.9
	strengthSDK      = 0.6
)

// Config says what to look through.
type Config struct {
	Roots    []string // folders
	Markers  []string // names, with *, that make a folder a project
	Paths    *discovery.Paths
	Describe *discovery.Describer
}

// Source looks through trees.
type Source struct {
	cfg Config

	mu       sync.Mutex
	projects []string
}

// New returns a source.
func New(cfg Config) (*Source, error) {
	if cfg.Paths == nil || cfg.Describe == nil {
		return nil, errors.New("repositories need paths and a describer")
	}
	return &Source{cfg: cfg}, nil
}

// Name is "repository".
func (*Source) Name() string { return "repository" }

// Projects are the folders with configurations that were found so far.
func (s *Source) Projects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.projects)
}

// Discover walks the roots.
func (s *Source) Discover(ctx context.Context, into *discovery.Sink) error {
	s.cfg.Paths.SetProjects(s.cfg.Roots)
	total := 0
	for _, root := range s.cfg.Roots {
		w := &walk{Source: s, ctx: ctx, into: into, tree: &tree{dir: filepath.ToSlash(root)}, total: &total}
		s.add(filepath.ToSlash(root))
		w.folder(filepath.ToSlash(root), 0)
		w.end()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (s *Source) add(dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.projects) >= maxProjects {
		return false
	}
	s.projects = append(s.projects, dir)
	return true
}

// tree is one repository, or what lies in none.
type tree struct {
	dir  string
	seen int
	cut  string // why not all of it was looked at
	sdk  []use
	n    int // servers it declares
}

// use is a file that shows the use of an SDK.
type use struct {
	file, what string
	half       bool
}

// walk is a root being looked through.
type walk struct {
	*Source
	ctx   context.Context
	into  *discovery.Sink
	tree  *tree
	total *int
}

// skipped are folders of things that were fetched or made.
var skipped = []string{".git", "node_modules", "vendor", ".venv", "venv", "__pycache__", "site-packages", "dist", "build", "target", ".tox", ".cache", ".next", "Pods", ".terraform"}

// folder looks through one folder and those below it.
func (w *walk) folder(dir string, depth int) {
	if w.ctx.Err() != nil {
		w.tree.cut = "interrupted"
		return
	}
	entries, err := os.ReadDir(filepath.FromSlash(dir))
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			w.into.Looked(discovery.Coverage{Place: w.cfg.Paths.Show(dir), Outcome: discovery.Denied, Why: "not visible to this user"})
		}
		return
	}
	if dir != w.tree.dir && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ".git" }) {
		inner := *w
		inner.tree = &tree{dir: dir}
		inner.entries(dir, entries, 0)
		inner.end()
		return
	}
	w.entries(dir, entries, depth)
}

func (w *walk) entries(dir string, entries []fs.DirEntry, depth int) {
	marked := dir == w.tree.dir && slices.Contains(w.cfg.Roots, filepath.FromSlash(dir)) // was added as a root
	for _, e := range entries {
		w.tree.seen++
		*w.total++
		if w.tree.seen > maxFiles || *w.total > maxTotal {
			w.tree.cut = "more files than are looked at"
			return
		}
		if !marked && w.marker(e.Name()) {
			marked = w.add(dir)
		}
		switch {
		case e.Type().IsRegular():
			w.file(dir + "/" + e.Name())
		case !e.IsDir() || slices.Contains(skipped, e.Name()):
		case depth >= maxDepth:
			w.tree.cut = "folders deeper than are looked at"
		default:
			w.folder(dir+"/"+e.Name(), depth+1)
		}
	}
}

func (w *walk) marker(name string) bool {
	return slices.ContainsFunc(w.cfg.Markers, func(m string) bool {
		ok, err := path.Match(m, name)
		return err == nil && ok
	})
}

// end tells what a tree has shown.
func (w *walk) end() {
	c := discovery.Coverage{Place: w.cfg.Paths.Show(w.tree.dir), Outcome: discovery.Read, Entries: w.tree.n}
	if w.tree.cut != "" {
		c.Outcome, c.Why = discovery.Cut, w.tree.cut
	}
	w.into.Looked(c)
	w.uses()
}

// uses tells of each SDK a repository is built with, once.
func (w *walk) uses() {
	slices.SortFunc(w.tree.sdk, func(a, b use) int {
		return cmp.Or(cmp.Compare(b2i(a.half), b2i(b.half)), cmp.Compare(a.file, b.file), cmp.Compare(a.what, b.what))
	})
	if len(w.tree.sdk) == 0 {
		return
	}
	first := w.tree.sdk[0]
	s := discovery.Sighting{
		Fact: discovery.Sourced, Strength: strengthSDK, Scope: discovery.ScopeProject, Place: discovery.Place{Path: w.cfg.Paths.Show(first.file)},
		Name: path.Base(w.tree.dir), Target: discovery.Target{Kind: discovery.KindLocal, Key: w.key(), Pinned: true},
		CodeOwners: discovery.CodeOwners(filepath.FromSlash(first.file)),
	}
	if first.half {
		s.Strength /= 2
	}
	for _, u := range w.tree.sdk {
		if s.Why = append(s.Why, u.what); len(s.Why) == 3 {
			break
		}
	}
	w.into.Saw(s)
}

// key is the canonical key of what a repository builds: where it comes from, else
// its folder on this machine.
func (w *walk) key() string {
	if remote := clientconfig.Origin(w.tree.dir); remote != "" {
		return "git:" + remote + "//"
	}
	return "path:" + w.cfg.Paths.Digest("path", w.cfg.Paths.Show(w.tree.dir))[:20]
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// halves are folders whose contents show how something might be.
var halves = []string{"test", "tests", "testdata", "__tests__", "fixtures", "fixture", "docs", "doc", "examples", "example", "templates", "template", "samples"}

// half reports whether a file of the tree counts half.
func (w *walk) half(file string) bool {
	rel := strings.TrimPrefix(strings.TrimPrefix(path.Dir(file), w.tree.dir), "/")
	return slices.ContainsFunc(strings.Split(rel, "/"), func(part string) bool { return slices.Contains(halves, strings.ToLower(part)) })
}
