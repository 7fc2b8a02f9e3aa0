package watch

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Bounds of what is watched for.
const (
	maxFolders = 4096 // of all
	maxDeep    = 10   // elements ** stands for
	maxHops    = 40   // links on the way to one path
)

// names are those of a folder that matter.
type names struct {
	exact map[string]bool
	globs []string
}

func (n *names) match(name string) bool {
	if n.exact[name] {
		return true
	}
	for _, g := range n.globs {
		if ok, err := path.Match(g, name); err == nil && ok {
			return true
		}
	}
	return false
}

// tracer finds the folders in which a change of paths would show: all that lead
// to them, as far as they are there, by whatever links.
type tracer struct {
	folders map[string]*names
	over    int // folders that are not watched: more than the bound
	done    map[string]bool
}

func newTracer() *tracer { return &tracer{folders: map[string]*names{}, done: map[string]bool{}} }

var drive = regexp.MustCompile(`^[A-Za-z]:/`)

// trace adds the folders of one path, which is absolute and has slashes. What is
// below a home is followed from where that really is: that a home itself is
// replaced needs no watching, and one folder under two names would be told of
// under one of them.
func (t *tracer) trace(p string, homes map[string]string) {
	p = path.Clean(p)
	for home, real := range homes {
		if rest, ok := strings.CutPrefix(p, home+"/"); ok {
			t.walk(real, strings.Split(rest, "/"), 0, 0)
			return
		}
	}
	top := "/"
	if drive.MatchString(p) {
		top = p[:3]
	}
	if rest := strings.TrimPrefix(p, top); rest != "" && rest != p {
		t.walk(top, strings.Split(rest, "/"), 0, 0)
	}
}

// note adds a name that matters in a folder, and reports false for a folder too
// many.
func (t *tracer) note(dir, name string) bool {
	n := t.folders[dir]
	if n == nil {
		if len(t.folders) >= maxFolders {
			t.over++
			return false
		}
		n = &names{exact: map[string]bool{}}
		t.folders[dir] = n
	}
	if strings.Contains(name, "*") {
		for _, g := range n.globs {
			if g == name {
				return true
			}
		}
		n.globs = append(n.globs, name)
		return true
	}
	n.exact[name] = true
	return true
}

func (t *tracer) walk(dir string, parts []string, deep, hops int) {
	key := dir + "\x00" + strings.Join(parts, "/")
	if len(parts) == 0 || hops > maxHops || t.done[key] {
		return
	}
	t.done[key] = true
	part, rest := parts[0], parts[1:]
	switch {
	case part == "**":
		if !t.note(dir, "*") {
			return
		}
		t.walk(dir, rest, 0, hops)
		if deep < maxDeep {
			for _, e := range list(dir) {
				if e.IsDir() {
					t.walk(join(dir, e.Name()), parts, deep+1, hops)
				}
			}
		}
	case strings.Contains(part, "*"):
		if !t.note(dir, part) {
			return
		}
		for _, e := range list(dir) {
			if ok, err := path.Match(part, e.Name()); err == nil && ok {
				t.step(dir, e.Name(), rest, hops)
			}
		}
	default:
		if t.note(dir, part) {
			t.step(dir, part, rest, hops)
		}
	}
}

// step goes on from one name of a folder, where a link leads if it is one.
func (t *tracer) step(dir, name string, rest []string, hops int) {
	at := join(dir, name)
	info, err := os.Lstat(filepath.FromSlash(at))
	switch {
	case err != nil:
	case info.Mode()&os.ModeSymlink != 0:
		to, err := os.Readlink(filepath.FromSlash(at))
		if err != nil {
			return
		}
		if to = filepath.ToSlash(to); !path.IsAbs(to) && !drive.MatchString(to) {
			to = join(dir, to)
		}
		if to = path.Clean(to); drive.MatchString(to) {
			t.walk(to[:3], append(elements(to[3:]), rest...), 0, hops+1)
		} else {
			t.walk("/", append(elements(to[1:]), rest...), 0, hops+1)
		}
	case info.IsDir():
		t.walk(at, rest, 0, hops)
	}
}

func elements(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "/")
}

func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

func list(dir string) []os.DirEntry {
	f, err := os.Open(filepath.FromSlash(dir))
	if err != nil {
		return nil
	}
	defer f.Close()
	all, _ := f.ReadDir(maxFolders) // as far as it can be read
	return all
}
