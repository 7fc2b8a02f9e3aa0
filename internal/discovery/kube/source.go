package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rutile/internal/discovery"
)

// Bounds of one run.
const (
	maxFiles  = 20_000
	maxLevels = 10
	maxBytes  = 20 << 20
)

// Source tells of the servers that manifests name.
type Source struct {
	Roots    []string // files and folders
	Paths    *discovery.Paths
	Describe *discovery.Describer
}

// Name is "kubernetes".
func (Source) Name() string { return "kubernetes" }

var errEnough = errors.New("enough")

// Discover reads the manifests. Links are not followed, and what is no regular
// file is not opened.
func (s Source) Discover(ctx context.Context, into *discovery.Sink) error {
	files := 0
	for _, root := range s.Roots {
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				into.Looked(discovery.Coverage{Place: s.Paths.Show(file), Outcome: outcomeOf(err), Why: "it cannot be read"})
				return nil
			}
			if d.IsDir() {
				if file != root && (d.Name() == ".git" || d.Name() == "node_modules" || levels(root, file) > maxLevels) {
					return fs.SkipDir
				}
				return nil
			}
			if ext := strings.ToLower(filepath.Ext(file)); file != root && !slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
				return nil
			}
			if files++; files > maxFiles {
				into.Looked(discovery.Coverage{Place: s.Paths.Show(root), Outcome: discovery.Cut, Why: fmt.Sprintf("more than %d files", maxFiles)})
				return errEnough
			}
			s.file(file, file == root, d, into)
			return nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, errEnough) {
			into.Looked(discovery.Coverage{Place: s.Paths.Show(root), Outcome: discovery.Failed, Why: "it cannot be walked"})
		}
	}
	return nil
}

func levels(root, file string) int {
	rel, err := filepath.Rel(root, file)
	if err != nil {
		return maxLevels + 1
	}
	return strings.Count(filepath.ToSlash(rel), "/") + 1
}

func outcomeOf(err error) discovery.Outcome {
	if errors.Is(err, fs.ErrPermission) {
		return discovery.Denied
	}
	return discovery.Failed
}

// file reads one file. One that was named must be readable; of those a folder
// holds many are no manifests.
func (s Source) file(file string, named bool, d fs.DirEntry, into *discovery.Sink) {
	c := discovery.Coverage{Place: s.Paths.Show(file)}
	info, err := d.Info()
	switch {
	case err != nil:
		c.Outcome, c.Why = outcomeOf(err), "it cannot be read"
	case !info.Mode().IsRegular():
		c.Outcome, c.Why = discovery.Skipped, "it is no regular file"
	case info.Size() > maxBytes:
		c.Outcome, c.Why = discovery.Skipped, "it is larger than 20 MiB"
	}
	if c.Outcome != "" {
		into.Looked(c)
		return
	}
	data, err := os.ReadFile(file)
	if err != nil {
		c.Outcome, c.Why = outcomeOf(err), "it cannot be read"
		into.Looked(c)
		return
	}
	f, err := Read(data)
	for i := range f.Objects {
		s.tell(c.Place, &f.Objects[i], into)
	}
	for _, cm := range f.Configs {
		into.Looked(discovery.Coverage{Place: fmt.Sprintf("%s:%d", c.Place, cm.Line), Outcome: discovery.Skipped, Why: fmt.Sprintf("ConfigMap %s holds a client's file in %q: save it as a file in a project folder and give that with --path", cm.Name, cm.Key)})
	}
	c.Outcome, c.Entries = discovery.Read, len(f.Objects)
	if err != nil {
		c.Outcome, c.Why = discovery.Unreadable, err.Error()
	}
	if named || err == nil || len(f.Objects) > 0 || strings.Contains(string(data), "apiVersion") {
		into.Looked(c)
	}
}

// tell tells of one resource.
func (s Source) tell(file string, o *Object, into *discovery.Sink) {
	spec := discovery.Spec{URL: o.URL, Transport: o.Transport}
	if o.URL == "" {
		spec = discovery.Spec{Command: "docker", Args: append([]string{"run", "-i", o.Image}, o.Command...), Transport: o.Transport}
		if o.Image == "" {
			spec = discovery.Spec{Transport: o.Transport}
			if len(o.Command) > 0 {
				spec.Command, spec.Args = o.Command[0], o.Command[1:]
			}
		}
	}
	d := s.Describe.Describe(spec)
	d.Target.Launchers = slices.DeleteFunc(d.Target.Launchers, func(l string) bool { return l == "docker" && o.Image != "" })
	if o.Transport != "" {
		d.Target.Transport = o.Transport
	}
	at := discovery.Place{Path: file, Line: o.Line, Pointer: "/" + o.Kind + "/" + o.Namespace + "/" + o.Name}
	if d.Target.Key == "" {
		d.Target.Key = "kubernetes:" + o.Kind + "/" + o.Namespace + "/" + o.Name
	}
	one := discovery.Sighting{
		Fact: discovery.Configured, Strength: o.Strength, Scope: discovery.ScopeProject, Place: at, Name: o.Name, Target: d.Target, Secrets: append(d.Secrets, o.Secrets...), Scopes: d.Scopes, Why: append([]string{o.Kind + " " + o.Name}, o.Why...),
	}
	into.Saw(one)
	for _, f := range discovery.Judge(&one) {
		into.Find(f)
	}
}
