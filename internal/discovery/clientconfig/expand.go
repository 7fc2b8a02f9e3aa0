package clientconfig

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"rutile/internal/discovery"
)

// pattern is where to look: an absolute path with * and **, and the folder what
// it leads to may not lie outside of.
type pattern struct {
	path string
	base string
	// manifest names the only folders that are looked into, "" for all.
	manifest string
	// root is the folder of a project it is below of, "" for none, and rest the rest.
	root, rest string
	walk       string // how the row goes up from it
}

// Bounds of walking (discovery.md 4).
const (
	maxDepth     = 10     // elements ** stands for
	maxFiles     = 20_000 // files looked at for one pattern
	maxMatches   = 2_000  // files one pattern may lead to
	maxProjects  = 50_000
	maxAncestors = 32
)

// patterns are the paths of a row on this system, in its home and its projects.
func (x *scan) patterns(r *Row) []pattern {
	var out []pattern
	seen := map[string]bool{}
	for _, raw := range x.raw(r.OS, r.EnvOverride) {
		for _, p := range x.expand(raw, r.Walk) {
			if r.Manifest != "" {
				for _, m := range x.expand(r.Manifest, "") {
					p.manifest = m.path
				}
			}
			if !seen[p.path] {
				seen[p.path] = true
				out = append(out, p)
			}
		}
	}
	return out
}

// raw are the patterns for this system, then those of variables that are set.
func (x *scan) raw(system, override map[string][]string) []string {
	out := slices.Concat(system["any"], system[string(x.cfg.System)])
	for _, name := range slices.Sorted(maps.Keys(override)) {
		value := x.home.Env[name]
		if value == "" {
			continue
		}
		if abs, err := filepath.Abs(value); err == nil {
			value = filepath.ToSlash(abs)
		}
		for _, p := range override[name] {
			out = append(out, strings.ReplaceAll(p, "${"+name+"}", value))
		}
	}
	return out
}

var variableName = regexp.MustCompile(`\$\{([A-Z_]+)\}`)

// expand puts values for the variables of a pattern.
func (x *scan) expand(raw, walk string) []pattern {
	if rest, ok := strings.CutPrefix(raw, "${PROJECT}"); ok {
		var out []pattern
		for _, dir := range x.projects {
			for _, d := range x.ancestors(dir, walk) {
				out = append(out, pattern{path: d + rest, base: d, root: d, rest: rest, walk: walk})
			}
		}
		return out
	}
	var out []pattern
	for _, p := range x.substitute(raw) {
		out = append(out, x.placed(p))
	}
	return out
}

// substitute puts values for variables. What the home or the environment says is
// taken as it is, whatever it contains.
func (x *scan) substitute(raw string) []string {
	at := variableName.FindStringSubmatchIndex(raw)
	if at == nil {
		return []string{raw}
	}
	var out []string
	tails := x.substitute(raw[at[1]:])
	for _, value := range x.values(raw[at[2]:at[3]]) {
		for _, tail := range tails {
			out = append(out, raw[:at[0]]+value+tail)
		}
	}
	return out
}

// values are what a variable stands for: what the table says, and what the
// environment says where this is the scanner's own home.
func (x *scan) values(name string) []string {
	if name == "HOME" {
		return []string{filepath.ToSlash(x.home.Dir)}
	}
	var out []string
	if def := x.cfg.Table.Variables[name][string(x.cfg.System)]; strings.HasPrefix(def, "${") || drive.MatchString(def) {
		out = append(out, x.substitute(def)...)
	}
	if set := x.home.Env[name]; set != "" && filepath.IsAbs(set) {
		out = append(out, filepath.ToSlash(filepath.Clean(set)))
	}
	return out
}

// placed is an absolute path of the system, below where that is mounted.
func (x *scan) placed(p string) pattern {
	home := filepath.ToSlash(x.home.Dir)
	p = path.Clean(p)
	if inside(p, home) {
		return pattern{path: p, base: home}
	}
	if x.cfg.Root != "" && !inside(p, filepath.ToSlash(x.cfg.Root)) {
		if drive.MatchString(p) {
			p = p[2:]
		}
		p = path.Join(filepath.ToSlash(x.cfg.Root), p)
		return pattern{path: p, base: filepath.ToSlash(x.cfg.Root)}
	}
	base := "/"
	if drive.MatchString(p) {
		base = p[:3]
	}
	return pattern{path: p, base: base}
}

func inside(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// ancestors are a folder and those above it that a client also reads: up to the
// home it lies in, or the root of its repository.
func (x *scan) ancestors(dir, walk string) []string {
	out := []string{dir}
	if walk == "" {
		return out
	}
	home, root := filepath.ToSlash(x.home.Dir), filepath.ToSlash(x.cfg.Root)
	for d := dir; len(out) < maxAncestors; {
		if walk == "ancestors-to-repo" && exists(d+"/.git") {
			return out
		}
		up := path.Dir(d)
		if up == d || d == home || d == root {
			break
		}
		d = up
		out = append(out, d)
	}
	if walk == "ancestors-to-repo" {
		return out[:1] // not in a repository
	}
	return out
}

func exists(p string) bool {
	_, err := os.Lstat(filepath.FromSlash(p))
	return err == nil
}

// match returns the files a pattern leads to, and how looking ended where that is
// more than found or absent.
func (x *scan) match(ctx context.Context, p pattern) ([]string, discovery.Coverage) {
	x.tried(p.path)
	w := &walker{ctx: ctx, gate: x.installed(p.manifest)}
	i := strings.IndexByte(p.path, '*')
	if i < 0 {
		switch _, err := os.Lstat(filepath.FromSlash(p.path)); {
		case err == nil:
			return []string{p.path}, discovery.Coverage{}
		case errors.Is(err, fs.ErrPermission):
			return nil, discovery.Coverage{Outcome: discovery.Denied, Why: "not visible to this user"}
		}
		return nil, discovery.Coverage{}
	}
	cut := strings.LastIndexByte(p.path[:i], '/')
	w.walk(p.path[:cut], strings.Split(p.path[cut+1:], "/"), 0)
	slices.Sort(w.hits)
	return slices.Compact(w.hits), w.ended
}

// walker looks through folders for one pattern.
type walker struct {
	ctx   context.Context
	gate  map[string]bool // names of the only folders to look into, nil for all
	seen  int
	hits  []string
	ended discovery.Coverage
}

// walk follows the elements of a pattern below dir. deep is how many folders **
// stood for.
func (w *walker) walk(dir string, parts []string, deep int) {
	if w.ctx.Err() != nil {
		w.ended = discovery.Coverage{Outcome: discovery.Cut, Why: "took too long"}
		return
	}
	part, rest := parts[0], parts[1:]
	if part != "**" && !strings.Contains(part, "*") {
		next := dir + "/" + part
		info, err := os.Lstat(filepath.FromSlash(next))
		switch {
		case err != nil:
			w.failed(err)
		case len(rest) == 0:
			w.hit(next)
		case info.IsDir():
			w.walk(next, rest, 0)
		}
		return
	}
	entries, err := os.ReadDir(filepath.FromSlash(dir))
	w.failed(err)
	if part == "**" {
		w.walk(dir, rest, 0)
		if deep < maxDepth {
			for _, e := range entries {
				if e.IsDir() && w.count() {
					w.walk(dir+"/"+e.Name(), parts, deep+1)
				}
			}
		}
		return
	}
	for _, e := range entries {
		if ok, err := path.Match(part, e.Name()); err != nil || !ok || !w.count() {
			continue
		}
		next := dir + "/" + e.Name()
		switch {
		case w.gate != nil && !w.gate[next]:
		case len(rest) == 0:
			w.hit(next)
		case e.IsDir():
			inner := *w
			inner.gate = nil
			inner.walk(next, rest, 0)
			w.seen, w.hits, w.ended = inner.seen, inner.hits, inner.ended
		}
	}
}

func (w *walker) hit(file string) {
	if len(w.hits) < maxMatches {
		w.hits = append(w.hits, file)
		return
	}
	w.ended = discovery.Coverage{Outcome: discovery.Cut, Why: "leads to more files than are read"}
}

func (w *walker) count() bool {
	w.seen++
	if w.seen > maxFiles {
		w.ended = discovery.Coverage{Outcome: discovery.Cut, Why: "more files than are looked at"}
		return false
	}
	return true
}

func (w *walker) failed(err error) {
	if errors.Is(err, fs.ErrPermission) && w.ended.Outcome == "" {
		w.ended = discovery.Coverage{Outcome: discovery.Denied, Why: "not visible to this user"}
	}
}
