package identify

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"rutile/internal/discovery"
	"rutile/internal/rawjson"
)

// page is one answer of the registry's /v0.1/servers. A copy is one or several.
type page struct {
	Servers  []entry `json:"servers"`
	Metadata struct {
		NextCursor string `json:"nextCursor"`
	} `json:"metadata"`
}

// entry is one version of one server: there is a record for each, in the order of
// the text of versions, so that neither the first nor the last is the newest.
type entry struct {
	Server struct {
		Name       string `json:"name"`
		Version    string `json:"version"`
		Repository struct {
			URL string `json:"url"`
		} `json:"repository"`
		Packages []struct {
			RegistryType string `json:"registryType"`
			Identifier   string `json:"identifier"`
			Version      string `json:"version"`
		} `json:"packages"`
		Remotes []struct {
			URL string `json:"url"`
		} `json:"remotes"`
	} `json:"server"`
	Meta struct {
		Official struct {
			Status      string `json:"status"`
			PublishedAt string `json:"publishedAt"`
			UpdatedAt   string `json:"updatedAt"`
		} `json:"io.modelcontextprotocol.registry/official"`
	} `json:"_meta"`
}

// The statuses of a record.
const (
	active     = "active"
	deprecated = "deprecated"
	deleted    = "deleted"
)

// serverName is the form of names in server.json (schema 2025-12-11).
var serverName = regexp.MustCompile(`^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$`)

func (e *entry) check() error {
	switch {
	case !serverName.MatchString(e.Server.Name) || len(e.Server.Name) < 3 || len(e.Server.Name) > 200:
		return errors.New("server.name is no name of a server")
	case e.Server.Version == "" || len(e.Server.Version) > 255:
		return errors.New("server.version is missing or too long")
	case !slices.Contains([]string{active, deprecated, deleted}, e.Meta.Official.Status):
		return errors.New("the status in _meta is none of active, deprecated, deleted")
	}
	return nil
}

// listed is one version of one server under one id.
type listed struct {
	name    string
	version string // of the package, "" for a remote
	status  string
}

// listing is a copy of the registry, by what its records can be known by.
type listing struct {
	packages     map[string][]listed // purl without version
	repositories map[string][]listed // purl
	addresses    map[string][]listed // canonical key
	templates    []template
	names        map[string][]string // last part of a package's name to packages
	records      int
	pages, ended int
	aged         aged
	bad          unread
}

type template struct {
	match *regexp.Regexp
	at    listed
}

// pageBounds are the bounds of a copy of the listing.
func pageBounds() bounds { return bounds{file: 256 << 20, total: 2 << 30, files: 100_000} }

const (
	maxEntries   = 1_000_000
	maxTemplates = 5_000
	maxOf        = 100 // packages and remotes of one record
)

func newListing() *listing {
	return &listing{packages: map[string][]listed{}, repositories: map[string][]listed{}, addresses: map[string][]listed{}, names: map[string][]string{}}
}

// take reads one page.
func (l *listing) take(name string, raw []byte) error {
	var p page
	if err := decode(raw, rawjson.Limits{Bytes: int(pageBounds().file)}, &p); err != nil {
		return fmt.Errorf("%q is no page of the registry's listing: %w", bounded(name), err)
	}
	if p.Servers == nil {
		return fmt.Errorf("%q is no page of the registry's listing: servers is missing", bounded(name))
	}
	l.pages++
	if p.Metadata.NextCursor == "" {
		l.ended++
	}
	for i := range p.Servers {
		e := &p.Servers[i]
		err := e.check()
		for _, when := range []string{e.Meta.Official.PublishedAt, e.Meta.Official.UpdatedAt} {
			if err == nil {
				err = l.aged.add(when)
			}
		}
		if err == nil && (len(e.Server.Packages) > maxOf || len(e.Server.Remotes) > maxOf) {
			err = errors.New("it has too many packages or remotes")
		}
		if err != nil {
			if l.bad.add(fmt.Sprintf("%s server %d", name, i), err.Error()); l.bad.n > maxUnread {
				return fmt.Errorf("more than %d records in it cannot be read, one in %q: %w", maxUnread, bounded(name), err)
			}
			continue
		}
		if l.records++; l.records > maxEntries {
			return fmt.Errorf("it has more than %d records", maxEntries)
		}
		l.add(e)
	}
	return nil
}

func (l *listing) add(e *entry) {
	at := listed{name: e.Server.Name, status: e.Meta.Official.Status}
	for _, p := range e.Server.Packages {
		purl, version := discovery.PackageURL(strings.ToLower(p.RegistryType), p.Identifier)
		if purl == "" {
			continue
		}
		one := at
		if one.version = p.Version; one.version == "" {
			one.version = version
		}
		if len(l.packages[purl]) == 0 {
			base := lastPart(purl)
			l.names[base] = append(l.names[base], purl)
		}
		l.packages[purl] = append(l.packages[purl], one)
	}
	if purl := discovery.RepositoryURL(e.Server.Repository.URL); purl != "" {
		l.repositories[purl] = append(l.repositories[purl], at)
	}
	for _, r := range e.Server.Remotes {
		if strings.ContainsAny(r.URL, "{}") {
			if m := folded(r.URL); m != nil && len(l.templates) < maxTemplates {
				l.templates = append(l.templates, template{m, at})
			}
		} else if key := addressKey(r.URL); key != "" {
			l.addresses[key] = append(l.addresses[key], at)
		}
	}
}

// addressKey is the canonical key of an address (discovery.md 14).
func addressKey(address string) string {
	if len(address) > 2048 {
		return ""
	}
	var d discovery.Describer
	return d.Describe(discovery.Spec{URL: address}).Target.Key
}

var variable = regexp.MustCompile(`\{[^{}]*\}`)

// folded matches what a URL template stands for: each variable is a part of one
// segment. A host needs two labels of its own, else it would be everybody's.
func folded(address string) *regexp.Regexp {
	if len(address) > 2048 {
		return nil
	}
	const mark = "x0variable0x"
	u, err := url.Parse(variable.ReplaceAllString(address, mark))
	if err != nil || u.Host == "" || strings.Contains(u.Scheme, mark) {
		return nil
	}
	labels := strings.Split(u.Hostname(), ".")
	if len(labels) < 2 || strings.Contains(strings.Join(labels[len(labels)-2:], "."), mark) {
		return nil
	}
	key := addressKey(u.String())
	if key == "" {
		return nil
	}
	m, err := regexp.Compile("^" + strings.ReplaceAll(regexp.QuoteMeta(key), mark, `[^/.]+`) + "$")
	if err != nil {
		return nil
	}
	return m
}

// lastPart is the name of a package without its namespace.
func lastPart(purl string) string {
	purl, _, _ = strings.Cut(purl, "?")
	return purl[strings.LastIndexByte(purl, '/')+1:]
}
