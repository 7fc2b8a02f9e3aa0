// Package clientconfig reads where clients of MCP keep their servers.
//
// A table of clients says where each keeps its configuration and in what shape
// (clients.yaml; more rows may be added). Files are read as foreign text: a file
// MUST be a regular one inside of the folder it is looked for in, is never
// decoded into Go structures, and every reading a client could have of it is told
// (discovery.md 4 and 5). Nothing is expanded, started or written. A secret's
// value is consumed where it is read and goes no further.
package clientconfig

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"rutile/internal/discovery"
)

// System is whose paths are looked for.
type System string

// The systems.
const (
	Linux   System = "linux"
	Darwin  System = "darwin"
	Windows System = "windows"
)

// Home is one person's folder on this machine.
type Home struct {
	Dir string
	// Env is the scanner's environment where this is the scanner's own home; other
	// homes are read with their clients' defaults.
	Env map[string]string
}

// Config says what to look through.
type Config struct {
	Table  *Table
	System System
	Homes  []Home
	// Projects returns folders besides those that clients list; nil is none.
	Projects func() []string
	Root     string // where the system is mounted, "" for /
	// Paths shows files; it is told of the projects that are found.
	Paths    *discovery.Paths
	Describe *discovery.Describer
	Now      func() time.Time
	// Rows reads SQLite files; without it those are covered as not read.
	Rows Rows
	// Tried is told of every path that is looked for, with * and **, for who watches
	// them; nil tells nobody. It is called from the goroutine of Discover.
	Tried func(path string)
}

// Rows returns the first column of a table of a SQLite file it opens read-only,
// at most limit of them.
type Rows func(ctx context.Context, file, table, column string, limit int) ([]string, error)

// Source finds the servers that clients are configured with.
type Source struct {
	cfg Config
}

// New returns a source.
func New(cfg Config) (*Source, error) {
	if cfg.Table == nil || cfg.Paths == nil || cfg.Describe == nil || cfg.Now == nil {
		return nil, errors.New("client configurations need a table, paths, a describer and a clock")
	}
	s := &Source{cfg: cfg}
	if cfg.Describe.Local == nil {
		cfg.Describe.Local = s.local
	}
	return s, nil
}

// Name is "client".
func (*Source) Name() string { return "client" }

// rowTime bounds the time one row of the table is looked for in one home; each
// project adds a millisecond.
const rowTime = 2 * time.Second

// Discover looks through every home and every project.
func (s *Source) Discover(ctx context.Context, into *discovery.Sink) error {
	for _, home := range s.cfg.Homes {
		x := &scan{Source: s, home: home, into: into.For(s.cfg.Paths.User(home.Dir)), files: map[string]*found{}, whole: newWhole()}
		x.cfg.Paths.Home = home.Dir
		x.projects = x.listed(ctx)
		x.cfg.Paths.SetProjects(x.projects)
		for i := range s.cfg.Table.Sources {
			if ctx.Err() != nil {
				break
			}
			x.row(ctx, &s.cfg.Table.Sources[i])
		}
		x.tell(ctx)
		x.stores(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		x.looked()
	}
	return nil
}

// scan is one home being looked through.
type scan struct {
	*Source
	home     Home
	into     *discovery.Sink
	projects []string
	files    map[string]*found
	whole    *whole
}

// found is a file and the rows that read it, surest first.
type found struct {
	path string
	base string // the folder it may not lead out of
	rows []*Row
	// named says that a manifest led to it; it leads no further.
	named bool
}

// row looks for the files of one row within its time.
func (x *scan) row(ctx context.Context, r *Row) {
	if r.Read == "off" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, rowTime+time.Duration(len(x.projects))*time.Millisecond)
	defer cancel()
	n, any := 0, false
	for _, p := range x.patterns(r) {
		any = true
		hits, outcome := x.match(ctx, p)
		x.whole.add(p, outcome.Outcome == "" && ctx.Err() == nil)
		for _, hit := range hits {
			n++
			f := x.files[hit]
			if f == nil {
				f = &found{path: hit, base: p.base}
				x.files[hit] = f
			}
			f.rows = append(f.rows, r)
		}
		if outcome.Outcome != "" {
			outcome.Row, outcome.Place = r.ID, x.cfg.Paths.Show(p.path)
			x.into.Looked(outcome)
			n++
		}
	}
	if any && n == 0 {
		x.into.Looked(discovery.Coverage{Row: r.ID, Place: r.Name, Outcome: discovery.Absent})
	}
}

// tell reads every file that was found once, for all the rows that lead to it.
func (x *scan) tell(ctx context.Context) {
	files := make([]*found, 0, len(x.files))
	for _, f := range x.files {
		slices.SortStableFunc(f.rows, func(a, b *Row) int { return cmp.Compare(a.doubt(), b.doubt()) })
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *found) int { return cmp.Compare(a.path, b.path) })
	for _, f := range files {
		if ctx.Err() != nil {
			return
		}
		x.file(ctx, f)
	}
}
