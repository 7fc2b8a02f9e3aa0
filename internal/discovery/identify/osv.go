package identify

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"

	"rutile/internal/discovery"
)

// record is what is read of an OSV record (schema 1.7). Members it does not name
// are left alone: the form grows.
type record struct {
	ID        string         `json:"id"`
	Modified  string         `json:"modified"`
	Withdrawn string         `json:"withdrawn"`
	Severity  []scored       `json:"severity"`
	Affected  []affected     `json:"affected"`
	Database  map[string]any `json:"database_specific"`
}

type scored struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Ranges   []ranges `json:"ranges"`
	Versions []string `json:"versions"`
	Severity []scored `json:"severity"`
}

type ranges struct {
	Type   string  `json:"type"`
	Events []event `json:"events"`
}

// event has one of the four members.
type event struct {
	Introduced   string `json:"introduced"`
	Fixed        string `json:"fixed"`
	LastAffected string `json:"last_affected"`
	Limit        string `json:"limit"`
}

var recordID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{1,99}$`)

// check says what is wrong with a record, nil if it is one.
func (r *record) check() error {
	if !recordID.MatchString(r.ID) {
		return errors.New("id is none of an OSV record")
	}
	if r.Modified == "" {
		return errors.New("modified is missing")
	}
	for _, a := range r.Affected {
		for _, rng := range a.Ranges {
			if !slices.Contains([]string{"SEMVER", "ECOSYSTEM", "GIT"}, rng.Type) {
				return errors.New("the type of a range is not known")
			}
			for _, e := range rng.Events {
				n := 0
				for _, s := range []string{e.Introduced, e.Fixed, e.LastAffected, e.Limit} {
					if s != "" {
						n++
					}
				}
				if n != 1 {
					return errors.New("an event of a range has not exactly one member")
				}
			}
		}
	}
	return nil
}

// ecosystems are those that are read, with the order of their versions.
var ecosystems = map[string]struct {
	kind  string
	order order
}{"npm": {"npm", semantic}, "PyPI": {"pypi", python}}

// purl is the package that is affected, and false for an ecosystem that is not read.
func (a *affected) purl() (purl string, by order, ok bool) {
	name, _, _ := strings.Cut(a.Package.Ecosystem, ":")
	eco, ok := ecosystems[name]
	if !ok {
		return "", nil, false
	}
	purl, _ = discovery.PackageURL(eco.kind, a.Package.Name)
	return purl, eco.order, purl != ""
}

// matches says whether a version is affected: the evaluation of the OSV schema.
// What cannot be put in order is not known, unless every version is affected.
func (a *affected) matches(version string, by order) discovery.Verdict {
	out := discovery.NotAffected
	if len(a.Versions) == 0 && len(a.Ranges) == 0 {
		return discovery.UnknownVersion // the record does not say which
	}
	_, exact := by(version, version)
	for _, v := range a.Versions {
		if v == version {
			return discovery.Affected
		}
		if diff, ok := by(v, version); ok && diff == 0 {
			return discovery.Affected
		}
	}
	if !exact && len(a.Versions) > 0 {
		out = discovery.UnknownVersion
	}
	for _, r := range a.Ranges {
		switch got := r.matches(version, exact, by); {
		case r.Type == "GIT": // commits say nothing of versions
			if len(a.Versions) == 0 && len(a.Ranges) == 1 {
				out = discovery.UnknownVersion
			}
		case got == discovery.Affected:
			return got
		case got == discovery.UnknownVersion:
			out = got
		}
	}
	return out
}

func (r *ranges) matches(version string, exact bool, by order) discovery.Verdict {
	switch {
	case r.Type == "GIT":
		return discovery.NotAffected
	case r.endless():
		return discovery.Affected
	case !exact:
		return discovery.UnknownVersion
	}
	events := slices.Clone(r.Events)
	for _, e := range events {
		if _, ok := by(e.at(), e.at()); !ok && e.at() != "0" && e.Limit != "*" {
			return discovery.UnknownVersion // its own bound has no place in the order
		}
	}
	// Events come in any order. Of one version, one that ends a range comes before
	// one that begins another, and what is the last affected after all of them.
	slices.SortStableFunc(events, func(x, y event) int { return cmp.Or(compare(x, y, by), cmp.Compare(x.rank(), y.rank())) })
	in := false
	for _, e := range events {
		diff := 1 // of version to the event
		if !(e.Introduced == "0") {
			diff, _ = by(version, e.at())
		}
		switch {
		case e.Limit == "*":
		case e.Introduced != "" && diff >= 0:
			in = true
		case e.Fixed != "" && diff >= 0, e.Limit != "" && diff >= 0, e.LastAffected != "" && diff > 0:
			in = false
		}
	}
	if in {
		return discovery.Affected
	}
	return discovery.NotAffected
}

// endless reports whether a range holds every version there is and will be.
func (r *ranges) endless() bool {
	return len(r.Events) > 0 && !slices.ContainsFunc(r.Events, func(e event) bool { return e.Introduced != "0" && e.Limit != "*" })
}

func (e event) at() string { return e.Introduced + e.Fixed + e.LastAffected + e.Limit }

func (e event) rank() int {
	switch {
	case e.Fixed != "", e.Limit != "":
		return 0
	case e.Introduced != "":
		return 1
	}
	return 2
}

// compare orders events; the version "0" of introduced is before all others.
func compare(x, y event, by order) int {
	a, b := x.Introduced == "0", y.Introduced == "0"
	switch {
	case a && b:
		return 0
	case a:
		return -1
	case b:
		return 1
	}
	diff, _ := by(x.at(), y.at())
	return diff
}

// fixedAfter are the versions a range ends before, of those after the one that runs.
func (a *affected) fixedAfter(version string, by order) []string {
	var out []string
	for _, r := range a.Ranges {
		for _, e := range r.Events {
			if e.Fixed == "" || r.Type == "GIT" || len(e.Fixed) > maxVersion {
				continue
			}
			if diff, ok := by(e.Fixed, version); !ok || diff > 0 {
				out = append(out, e.Fixed)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// grave is how grave a record is: its database's word, else its CVSS 3 score.
// Malicious packages are critical, and what says nothing is taken for high.
func (r *record) grave(a *affected) discovery.Severity {
	if strings.HasPrefix(r.ID, "MAL-") {
		return discovery.Critical
	}
	word, _ := r.Database["severity"].(string)
	switch strings.ToUpper(word) {
	case "LOW":
		return discovery.Low
	case "MODERATE", "MEDIUM":
		return discovery.Medium
	case "HIGH":
		return discovery.High
	case "CRITICAL":
		return discovery.Critical
	}
	for _, s := range append(slices.Clone(a.Severity), r.Severity...) {
		if score, ok := baseScore(s.Score); ok && s.Type == "CVSS_V3" {
			return rated(score)
		}
	}
	return discovery.High
}
