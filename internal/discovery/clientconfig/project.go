package clientconfig

import (
	"context"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"rutile/internal/discovery"
)

// listed are the projects of this home: those the user named, and those clients
// say they have opened, as far as they are there.
func (x *scan) listed(ctx context.Context) []string {
	var out []string
	seen := map[string]bool{}
	add := func(dir string) {
		dir = x.project(dir)
		if dir == "" || seen[dir] || len(out) >= maxProjects {
			return
		}
		seen[dir] = true
		if info, err := os.Stat(filepath.FromSlash(dir)); err == nil && info.IsDir() {
			out = append(out, dir)
		}
	}
	if x.cfg.Projects != nil {
		for _, p := range x.cfg.Projects() {
			if abs, err := filepath.Abs(p); err == nil {
				add(filepath.ToSlash(abs))
			}
		}
	}
	for _, l := range x.cfg.Table.Projects {
		for _, raw := range x.raw(l.OS, l.EnvOverride) {
			for _, p := range x.expand(raw, "") {
				hits, _ := x.match(ctx, p)
				for _, file := range hits {
					for _, dir := range x.take(ctx, l, file, p.base) {
						add(dir)
					}
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// project is an absolute folder as this machine has it, "" for one it cannot
// have.
func (x *scan) project(dir string) string {
	dir = strings.ReplaceAll(dir, `\`, "/")
	if !strings.HasPrefix(dir, "/") && (len(dir) < 3 || dir[1] != ':' || dir[2] != '/') {
		return ""
	}
	return strings.TrimSuffix(x.placed(dir).path, "/")
}

// lists are the clients whose lists of projects are understood.
var lists = []string{"claude-code", "codex", "vscode-family", "antigravity", "opencode"}

// take reads the folders a client's list names.
func (x *scan) take(ctx context.Context, l List, file, base string) []string {
	if l.Format == "sqlite" {
		if x.cfg.Rows == nil {
			x.into.Looked(discovery.Coverage{Row: l.Client + ".projects", Place: x.cfg.Paths.Show(file), Outcome: discovery.Skipped, Why: "SQLite is not read here"})
			return nil
		}
		dirs, err := x.cfg.Rows(ctx, file, "project", "worktree", maxProjects)
		if err != nil {
			x.into.Looked(discovery.Coverage{Row: l.Client + ".projects", Place: x.cfg.Paths.Show(file), Outcome: discovery.Unreadable, Why: "it is not read as SQLite"})
		}
		return dirs
	}
	raw, refused := x.within(ctx, &found{path: file, base: base})
	if refused != nil {
		return nil
	}
	d, bad := parse(raw, l.Format)
	if bad != nil {
		return nil
	}
	root := d.roots[0]
	switch l.Client {
	case "claude-code", "codex":
		var out []string
		for _, p := range root.values("projects", false) {
			for _, m := range p.members {
				out = append(out, m.key)
			}
		}
		return out
	case "vscode-family":
		return x.workspace(ctx, root)
	case "antigravity":
		var out []string
		for _, r := range root.values("projectResources", false) {
			for _, list := range r.values("resources", false) {
				for _, item := range list.items {
					uri, _ := item.pickText([]string{"folderUri"}, last)
					out = append(out, filePath(uri))
				}
			}
		}
		return out
	}
	return nil
}

// workspace reads one workspace.json: a folder, or a file that names several.
func (x *scan) workspace(ctx context.Context, root *node) []string {
	var out []string
	if uri, _ := root.pickText([]string{"folder"}, last); uri != "" {
		out = append(out, filePath(uri))
	}
	uri, _ := root.pickText([]string{"workspace", "configuration"}, last)
	file := x.project(filePath(uri))
	if file == "" || !strings.HasSuffix(file, ".code-workspace") {
		return out
	}
	dir := path.Dir(file)
	out = append(out, dir)
	raw, refused := x.within(ctx, &found{path: file, base: dir})
	if refused != nil {
		return out
	}
	d, bad := parse(raw, "jsonc")
	if bad != nil {
		return out
	}
	for _, list := range d.roots[0].values("folders", false) {
		for _, item := range list.items {
			if p, _ := item.pickText([]string{"path"}, last); p != "" {
				if !path.IsAbs(p) {
					p = path.Join(dir, p)
				}
				out = append(out, p)
			}
			if uri, _ := item.pickText([]string{"uri"}, last); uri != "" {
				out = append(out, filePath(uri))
			}
		}
	}
	return out
}

// filePath is the path of a file URI of this machine, "" for any other.
func filePath(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" || u.Host != "" && u.Host != "localhost" {
		return ""
	}
	p := u.Path
	if len(p) > 2 && p[0] == '/' && p[2] == ':' {
		p = strings.ToUpper(p[1:2]) + p[2:]
	}
	return p
}

// installed are the folders a manifest of extensions names, nil where a row has
// no manifest. Without its file nothing is installed.
func (x *scan) installed(manifest string) map[string]bool {
	if manifest == "" {
		return nil
	}
	out := map[string]bool{}
	x.tried(manifest)
	raw, _, refused := read(manifest, path.Dir(manifest))
	if refused != nil {
		return out
	}
	d, bad := parse(raw, "jsonc")
	if bad != nil {
		x.into.Looked(discovery.Coverage{Place: x.cfg.Paths.Show(manifest), Outcome: discovery.Unreadable, Why: bad.Error()})
		return out
	}
	dir := path.Dir(manifest)
	for _, item := range d.roots[0].items {
		if rel, _ := item.pickText([]string{"relativeLocation"}, last); rel != "" && !strings.ContainsAny(rel, `/\`) {
			out[dir+"/"+rel] = true
			continue
		}
		if p, _ := item.pickText([]string{"location.path", "location.fsPath"}, last); p != "" {
			out[dir+"/"+path.Base(strings.ReplaceAll(p, `\`, "/"))] = true
		}
	}
	return out
}
