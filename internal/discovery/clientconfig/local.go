package clientconfig

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"rutile/internal/discovery"
)

// LocalKey is the canonical key of a program or script of the home or a project of
// p, for a Describer.
func LocalKey(p *discovery.Paths) func(file string) (string, bool) {
	s := &Source{cfg: Config{Paths: p}}
	return s.local
}

// local is the canonical key of a program or script: its repository and its path
// in that, else a digest of what is in it. Only files of the home and of projects
// are looked at: of others a digest would tell what nobody asked for.
func (s *Source) local(file string) (string, bool) {
	file = path.Clean(strings.ReplaceAll(file, `\`, "/"))
	base := s.cfg.Paths.Project(file)
	if home := filepath.ToSlash(s.cfg.Paths.Home); base == "" && home != "" && inside(file, home) {
		base = home
	}
	if base == "" {
		return "", false
	}
	if remote, rel, ok := repository(file, base); ok {
		return "git:" + remote + "//" + rel, true
	}
	raw, _, refused := read(file, base)
	if refused != nil || len(raw) == 0 {
		return "", false
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), true
}

// repository is where the repository a file lies in comes from, and the file's
// path in it.
func repository(file, base string) (remote, rel string, ok bool) {
	for dir := path.Dir(file); inside(dir, base); dir = path.Dir(dir) {
		raw, _, refused := read(dir+"/.git/config", base)
		if refused == nil {
			remote = origin(string(raw))
			return remote, strings.TrimPrefix(file, dir+"/"), remote != ""
		}
		if dir == "/" || dir == base {
			break
		}
	}
	return "", "", false
}

// Origin is where the repository at dir comes from: host and path of its remote,
// without user and password, "" if that is not known.
func Origin(dir string) string {
	raw, _, refused := read(dir+"/.git/config", dir)
	if refused != nil {
		return ""
	}
	return origin(string(raw))
}

var (
	section = regexp.MustCompile(`^\[remote "([^"]+)"\]`)
	scpForm = regexp.MustCompile(`^(?:[\w.-]+@)?([\w.-]+):([^/].*)$`)
)

// origin is host and path of the remote called origin, without user, password or
// ending.
func origin(config string) string {
	in := ""
	for line := range strings.Lines(config) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			in = ""
			if m := section.FindStringSubmatch(line); m != nil {
				in = m[1]
			}
			continue
		}
		name, value, has := strings.Cut(line, "=")
		if !has || in != "origin" || strings.TrimSpace(name) != "url" {
			continue
		}
		value = strings.TrimSuffix(strings.TrimSpace(value), ".git")
		if m := scpForm.FindStringSubmatch(value); m != nil && !strings.Contains(value, "://") {
			return strings.ToLower(m[1]) + "/" + m[2]
		}
		if u, err := url.Parse(value); err == nil && u.Host != "" {
			return strings.ToLower(u.Hostname()) + "/" + strings.Trim(u.Path, "/")
		}
		return ""
	}
	return ""
}
