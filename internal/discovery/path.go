package discovery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"
)

// Paths shows paths of one home: what lies below the home begins with ~, and a
// project is its base name and a label made with the salt, which tells two
// projects of one name apart and does not tell where they are (discovery.md 11).
type Paths struct {
	Home    string
	Include bool // show projects' paths as they are
	// Salt of the labels. Without one labels do not outlast the run.
	Salt []byte
	Root string // where the system is mounted, "" for /

	projects map[string]bool
}

// SetProjects says which folders are projects.
func (p *Paths) SetProjects(dirs []string) {
	p.projects = make(map[string]bool, len(dirs))
	for _, d := range dirs {
		p.projects[slash(d)] = true
	}
}

// Show is how file may be shown.
func (p *Paths) Show(file string) string {
	s := slash(file)
	if root := slash(p.Root); root != "" && root != "/" {
		s = "/" + strings.TrimPrefix(strings.TrimPrefix(s, root), "/")
	}
	if !p.Include {
		if project := p.Project(file); project != "" {
			return p.Label(project) + strings.TrimPrefix(slash(file), project)
		}
	}
	if home := slash(p.Home); home != "" && within(slash(file), home) {
		return "~" + strings.TrimPrefix(slash(file), home)
	}
	return s
}

// Label is what a project is called: its base name and ten digits.
func (p *Paths) Label(project string) string {
	return path.Base(slash(project)) + "@" + p.Digest("project", slash(project))[:10]
}

// Digest is a keyed digest of words: 32 hexadecimal digits, the same only on a
// machine with the same salt.
func (p *Paths) Digest(words ...string) string {
	m := hmac.New(sha256.New, p.Salt)
	for _, w := range words {
		m.Write([]byte(w + "\x00"))
	}
	return hex.EncodeToString(m.Sum(nil))[:32]
}

// User is a pseudonym for whose home a folder is.
func (p *Paths) User(home string) string { return "usr_" + p.Digest("user", slash(home))[:12] }

// Host is a pseudonym for the machine.
func (p *Paths) Host() string { return "hst_" + p.Digest("host")[:12] }

// Project is the innermost project file lies in, "" if none.
func (p *Paths) Project(file string) string {
	if len(p.projects) == 0 {
		return ""
	}
	for dir := slash(file); len(dir) > 1; dir = path.Dir(dir) {
		if p.projects[dir] {
			return dir
		}
		if dir == path.Dir(dir) {
			break
		}
	}
	return ""
}

// within reports whether file is dir or lies below it. Both have slashes only.
func within(file, dir string) bool {
	return file == dir || strings.HasPrefix(file, strings.TrimSuffix(dir, "/")+"/")
}

func slash(s string) string {
	s = strings.ReplaceAll(s, `\`, "/")
	if len(s) > 1 {
		s = strings.TrimRight(s, "/")
	}
	return s
}

// digest is an id made of words: a prefix and 16 hexadecimal digits.
func digest(prefix string, words ...string) string {
	h := sha256.New()
	for _, w := range words {
		h.Write([]byte(w + "\x00"))
	}
	return prefix + "_" + hex.EncodeToString(h.Sum(nil))[:16]
}

func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
