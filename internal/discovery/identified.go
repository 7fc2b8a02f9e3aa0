package discovery

import (
	"slices"
	"strings"
	"time"
)

// Copy is an offline copy of public data that what was found is compared with.
type Copy struct {
	Source  string    `json:"source"` // that read it
	Path    string    `json:"path"`   // as it may be shown
	Records int       `json:"records"`
	Unread  int       `json:"unread,omitempty"` // records that could not be read
	Newest  time.Time `json:"newest"`           // of its records, zero if none says
	Days    int       `json:"days"`             // since then
	Old     bool      `json:"old,omitempty"`    // too old to rely on
}

// Verdict is what a copy of vulnerability records says of a version of a package.
type Verdict string

// The verdicts. Only NotAffected is a clean one.
const (
	Affected       Verdict = "affected"
	NotAffected    Verdict = "not affected"
	UnknownVersion Verdict = "unknown version" // there are records, and which version runs is not known
	NoData         Verdict = "no data"         // the copy says nothing of the package
)

// Identified is what copies of public data say of one way a server is started or
// reached. None of it is a name or an owner of what was found: one address may
// stand under several names, which proves neither.
type Identified struct {
	Source  string `json:"source"`
	Key     string `json:"key"`
	Version string `json:"version,omitempty"`
	// By says by what it was matched: package, image, repository or address.
	By string `json:"by,omitempty"`
	// Candidates are the names the public registry has for it.
	Candidates []string `json:"candidates,omitempty"`
	Verdict    Verdict  `json:"verdict,omitempty"`
	Records    []string `json:"records,omitempty"` // ids of vulnerabilities
}

// maxRecorded bounds how many names and ids are told of one server.
const maxRecorded = 20

// Sightings are what was seen until now, for a source that compares.
func (k *Sink) Sightings() []Sighting {
	k.into.mu.Lock()
	defer k.into.mu.Unlock()
	return slices.Clone(k.into.Sightings)
}

// Compared takes the copy a source compares with.
func (k *Sink) Compared(c Copy) {
	c.Source = k.source
	k.into.mu.Lock()
	defer k.into.mu.Unlock()
	k.into.Copies = append(k.into.Copies, c)
}

// Identified takes what a copy says of a server.
func (k *Sink) Identified(i Identified) {
	i.Source = k.source
	i.Candidates = i.Candidates[:min(len(i.Candidates), maxRecorded)]
	i.Records = i.Records[:min(len(i.Records), maxRecorded)]
	k.into.mu.Lock()
	defer k.into.mu.Unlock()
	k.into.Identified = append(k.into.Identified, i)
}

// PackageURL is the purl without version of a package as found ones have it, ""
// for a registry or a name it does not know. kind is that of server.json and of
// OSV, in lower case: npm, pypi, nuget, oci. An image's name may have a tag and a
// digest, and version is its tag then.
func PackageURL(kind, name string) (purl, version string) {
	p := &peeled{pinned: true}
	switch kind {
	case "npm":
		if !npmName.MatchString(name) {
			return "", ""
		}
		return "pkg:npm/" + strings.Replace(name, "@", "%40", 1), ""
	case "pypi":
		if !pypiName.MatchString(name) {
			return "", ""
		}
		return "pkg:pypi/" + pep503(name), ""
	case "nuget":
		if !pypiName.MatchString(name) {
			return "", ""
		}
		return "pkg:nuget/" + strings.ToLower(name), ""
	case "oci":
		p.image(name)
		return p.pkg, p.version
	}
	return "", ""
}

// RepositoryURL is the purl without version of a source repository as found ones
// have it, "" for what is no address of one.
func RepositoryURL(address string) string {
	p := &peeled{pinned: true}
	if !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
		return ""
	}
	p.git("git+" + strings.TrimRight(address, "/"))
	return p.pkg
}

// NearName reports whether one name can be made from another by at most limit
// letters that are added, left out, changed or exchanged with their neighbour.
func NearName(a, b string, limit int) bool { return near(a, b, limit) }

// LooksAlike reports whether a package is named almost like a well-known one.
func LooksAlike(pkg string) bool { return len(lookalikes(pkg)) > 0 }
