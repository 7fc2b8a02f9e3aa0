package identify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/discovery"
)

// Registry compares servers that were seen before it with a copy of the official
// registry's listing. It comes after the sources that see.
type Registry struct {
	Path  string // a page, or a folder of pages
	Paths *discovery.Paths
	Now   func() time.Time
}

// Name is "registry".
func (Registry) Name() string { return "registry" }

// Discover reads the copy and compares.
func (r Registry) Discover(ctx context.Context, into *discovery.Sink) error {
	l := newListing()
	l.aged, l.bad = aged{now: r.Now()}, unread{into: into}
	shown := r.Paths.Show(r.Path)
	w := walk{bounds: pageBounds(), each: l.take, skipped: l.bad.add}
	if err := w.run(ctx, r.Path); err != nil {
		return fmt.Errorf("the copy of the registry's listing %s is not used: %w", shown, err)
	}
	if l.records == 0 {
		return fmt.Errorf("the copy of the registry's listing %s is not used: no record in it can be read", shown)
	}
	if l.ended == 0 {
		l.bad.add(shown, "none of its pages is the last: the rest of the listing is missing")
	}
	into.Compared(l.aged.copy(shown, l.records, l.bad.n))
	into.Looked(discovery.Coverage{Place: shown, Outcome: discovery.Read, Entries: l.records})
	ids, by := subjects(into.Sightings())
	for _, id := range ids {
		l.judge(into, by[id])
	}
	return nil
}

// match finds the records of what would run, by the surest thing that has any.
func (l *listing) match(t *discovery.Target) (by string, found []listed) {
	if found = l.packages[t.Package]; len(found) > 0 {
		if t.Kind == discovery.KindImage {
			return "image", found
		}
		return "package", found
	}
	if found = l.repositories[t.Package]; len(found) > 0 {
		return "repository", found
	}
	if t.Kind != discovery.KindRemote || t.Key == "" {
		return "", nil
	}
	found = slices.Clone(l.addresses[t.Key])
	for _, m := range l.templates {
		if m.match.MatchString(t.Key) {
			found = append(found, m.at)
		}
	}
	if len(found) == 0 {
		return "", nil
	}
	return "address", found
}

// judge says what the listing says of one way a server is run.
func (l *listing) judge(into *discovery.Sink, seen []discovery.Sighting) {
	t := &seen[0].Target
	by, found := l.match(t)
	if by == "" {
		l.lookalike(into, seen)
		return
	}
	names := []string{}
	for _, f := range found {
		names = append(names, f.name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	into.Identified(discovery.Identified{Key: t.Key, Version: t.Version, By: by, Candidates: names})
	if by == "repository" {
		return // a repository may hold many servers, and a status is of one
	}
	status := statusOf(t, found)
	where := names[:min(len(names), maxNamed)]
	what := strings.TrimSpace(cmpText(t.Package, t.URL) + " " + bounded(t.Version))
	switch {
	case status == deleted && by == "address":
		find(into, seen, discovery.RegistryDeleted, discovery.Medium, what+": every record the registry has of this address is deleted", "ask who runs it whether it still should be used", where)
	case status == deleted:
		find(into, seen, discovery.RegistryDeleted, discovery.High, what+" was deleted from the registry, which is done to what is malicious or was published by mistake", "find out why, and remove it until then", where)
	case status == deprecated:
		find(into, seen, discovery.RegistryDeprecated, discovery.Low, what+" is deprecated in the registry", "move to what its maker says instead, or to a version that is active", where)
	}
}

func cmpText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// statusOf is the best status that what runs has under any name: of its version
// where the listing has that one, else of all.
func statusOf(t *discovery.Target, found []listed) string {
	same := slices.DeleteFunc(slices.Clone(found), func(f listed) bool { return t.Version == "" || f.version != t.Version })
	if len(same) > 0 {
		found = same
	}
	for _, status := range []string{active, deprecated} {
		if slices.ContainsFunc(found, func(f listed) bool { return f.status == status }) {
			return status
		}
	}
	return deleted
}

// shortest is the fewest letters of a name, without words that are in every name,
// that are told apart: mysql and mssql are both real.
const shortest = 7

// lookalike finds a package of the listing that one which is not in it is named
// almost like: the same kind, one letter off in the same namespace, or the same
// name in another one that only one package of the listing has.
func (l *listing) lookalike(into *discovery.Sink, seen []discovery.Sighting) {
	t := &seen[0].Target
	if t.Package == "" || strings.Contains(t.Package, "?") || discovery.LooksAlike(t.Package) {
		return
	}
	like := l.like(t.Package)
	if like == "" {
		return
	}
	find(into, seen, discovery.LookalikeName, discovery.High, t.Package+" is not in the registry and named almost like "+like+", which is",
		"compare the two; if it was meant to be the listed one, remove this and rotate what it was given", nil)
}

func (l *listing) like(purl string) string {
	base := lastPart(purl)
	space := strings.TrimSuffix(purl, base)
	kind, _, _ := strings.Cut(purl, "/")
	if len(stem(base)) < shortest {
		return ""
	}
	if same := l.names[base]; len(same) == 1 && kind == "pkg:npm" && strings.HasPrefix(same[0], kind+"/") && l.live(same[0]) {
		return same[0] // it has another namespace: with the same it would have been found
	}
	var out []string
	for other, purls := range l.names {
		if len(stem(other)) < shortest || !discovery.NearName(stem(base), stem(other), 1) || stem(base) == stem(other) || stem(base)+"s" == stem(other) || stem(base) == stem(other)+"s" {
			continue
		}
		for _, p := range purls {
			if p == space+other && l.live(p) {
				out = append(out, p)
			}
		}
	}
	if len(out) == 0 {
		return ""
	}
	return slices.Min(out)
}

// live reports whether a package has a version that is active: what was deleted is
// nobody's model.
func (l *listing) live(purl string) bool {
	return slices.ContainsFunc(l.packages[purl], func(f listed) bool { return f.status == active })
}

// stem is a name without the words that every name of a server has.
func stem(name string) string {
	for _, word := range []string{"mcp", "server"} {
		name = strings.ReplaceAll(name, word, "")
	}
	return strings.Trim(strings.ToLower(name), "-_.")
}
