package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"rutile/internal/access"
	"rutile/internal/discovery"
)

// BatchVersion is the version of the form of a Batch.
const BatchVersion = 1

// Bounds of a batch.
const (
	MaxBatch  = 32 << 20 // bytes of one
	MaxRows   = 20_000   // sightings, and as many findings and places looked at
	maxWord   = 256
	maxString = 4096
	maxList   = 256
)

// PrefixBatch begins the id of a batch.
const PrefixBatch = "bat_"

// Batch is what one run at one host saw: sightings, findings and coverage, and no
// file. It says nothing of the host but its pseudonym, unless Name is set.
type Batch struct {
	Version int    `json:"version"`
	ID      string `json:"id"` // taken once
	Host    string `json:"host"`
	// Device is the enrolled device that signs it, "" for one an operator brings.
	Device string `json:"device,omitempty"`
	// Audience is the gateway a signed batch is for.
	Audience string `json:"audience,omitempty"`
	// Sequence grows with every batch of a device.
	Sequence    uint64                 `json:"sequence,omitempty"`
	Name        string                 `json:"name,omitempty"` // of the host
	System      string                 `json:"system"`
	Rutile      string                 `json:"rutile"` // version that looked
	Started     time.Time              `json:"started"`
	Ended       time.Time              `json:"ended"`
	Interrupted bool                   `json:"interrupted,omitempty"`
	Dropped     int                    `json:"dropped,omitempty"`
	Sources     []string               `json:"sources"` // that were asked
	Sightings   []discovery.Sighting   `json:"sightings"`
	Findings    []discovery.Finding    `json:"findings"`
	Agents      []discovery.Agent      `json:"agents"`
	Credentials []discovery.Credential `json:"credentials"`
	Coverage    []discovery.Coverage   `json:"coverage"`
	// Whole is what was looked through to the end: what is not told from there is
	// not there.
	Whole []discovery.Whole `json:"whole,omitempty"`
}

// NewBatch is the batch of what a run saw. What is over a bound is left out and
// counted.
func NewBatch(seen *discovery.Seen, host, system, version string, sources []string) Batch {
	b := Batch{
		Version: BatchVersion, ID: access.NewID(PrefixBatch), Host: host, System: system, Rutile: version,
		Started: seen.Started.UTC(), Ended: seen.Ended.UTC(), Interrupted: seen.Interrupted, Dropped: seen.Dropped, Sources: sources,
		Sightings: bounded(seen.Sightings), Findings: bounded(seen.Findings), Coverage: bounded(seen.Coverage), Whole: boundedWhole(seen.Whole),
		Agents: bounded(seen.Agents), Credentials: bounded(discovery.CredentialsOf(seen.Credentials, seen.Sightings)),
	}
	left := func(had, has int) { b.Dropped += had - has }
	left(len(seen.Sightings), len(b.Sightings))
	left(len(seen.Findings), len(b.Findings))
	left(len(seen.Coverage), len(b.Coverage))
	return b
}

// Bounds of what a batch says was looked through: what it says of patterns is
// compared with every sighting that it does not show.
const (
	maxWhole    = 20_000
	maxPatterns = 1_000
)

// boundedWhole leaves out what is over the bounds: less is taken for gone then.
func boundedWhole(all []discovery.Whole) []discovery.Whole {
	var out []discovery.Whole
	for i := range all {
		next := append(out[:len(out):len(out)], all[i])
		if wholeSize(next) {
			out = next
		}
	}
	return out
}

func wholeSize(all []discovery.Whole) bool {
	paths, patterns := 0, 0
	for i := range all {
		paths += len(all[i].Patterns) + len(all[i].Roots)
		patterns += len(all[i].Below)
		for _, p := range all[i].Patterns {
			if strings.Contains(p, "*") {
				patterns++
			}
		}
	}
	return len(all) <= maxList && paths <= maxWhole && patterns <= maxPatterns
}

func bounded[T any](list []T) []T {
	return append([]T{}, list[:min(len(list), MaxRows)]...)
}

// Digest is that of the bytes of a batch.
func Digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ValidBatchID reports whether s can be the id of a batch.
func ValidBatchID(s string) bool { return batchID.MatchString(s) }

var (
	batchID = regexp.MustCompile(`^bat_[0-9A-HJKMNP-TV-Z]{26}$`)
	hostID  = regexp.MustCompile(`^hst_[0-9a-f]{12,32}$`)
	userID  = regexp.MustCompile(`^(?:usr_[0-9a-f]{12,32})?$`)
	words   = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)
)

// ValidHost reports whether s can be the id of a host.
func ValidHost(s string) bool { return hostID.MatchString(s) }

// Check says why a batch cannot be taken as it is, nil if it can. What a machine
// says of itself is bounded here; none of it is believed.
func (b *Batch) Check() error {
	bad := func(format string, args ...any) error {
		return access.Errorf(access.CodeInvalid, "the batch cannot be taken: "+format, args...)
	}
	switch {
	case b.Version != BatchVersion:
		return bad("its form is version %d and this gateway reads %d: use one version of rutile on both", b.Version, BatchVersion)
	case !ValidBatchID(b.ID):
		return bad("its id is none")
	case !ValidHost(b.Host):
		return bad("its host is no pseudonym such as hst_0123456789ab")
	case len(b.Sightings) > MaxRows || len(b.Findings) > MaxRows || len(b.Coverage) > MaxRows || len(b.Agents) > MaxRows || len(b.Credentials) > MaxRows:
		return bad("it has more than %d rows of one kind: look at less at once", MaxRows)
	case len(b.Sources) > 16 || slices.ContainsFunc(b.Sources, func(s string) bool { return !words.MatchString(s) }):
		return bad("its sources are not words")
	case b.Ended.Before(b.Started) || b.Started.Year() < 2020 || b.Ended.Year() > 9000 || b.Dropped < 0:
		return bad("its times make no sense")
	case !plain(b.System, maxWord) || !plain(b.Rutile, maxWord) || !plain(b.Name, maxWord) || !plain(b.Device, maxWord) || !plain(b.Audience, maxString):
		return bad("a name in it is too long or no text")
	}
	for i := range b.Sightings {
		why := checkSighting(&b.Sightings[i])
		if !slices.Contains(b.Sources, b.Sightings[i].Source) {
			why = "its source was not asked"
		}
		if why != "" {
			return bad("sighting %d: %s", i, why)
		}
	}
	return b.checkRest(bad)
}

func (b *Batch) checkRest(bad func(string, ...any) error) error {
	for i := range b.Findings {
		f := &b.Findings[i]
		if !words.MatchString(string(f.Rule)) || !slices.Contains(b.Sources, f.Source) || !userID.MatchString(f.User) || !slices.Contains(discovery.Severities(), f.Severity) ||
			!plain(f.Key, maxString) || !plain(f.Why, maxString) || !plain(f.Next, maxString) || !placed(f.Place) || !texts(f.Evidence) {
			return bad("finding %d is not one", i)
		}
	}
	for i := range b.Coverage {
		c := &b.Coverage[i]
		if !slices.Contains(b.Sources, c.Source) || !userID.MatchString(c.User) || !plain(c.Row, maxWord) || !plain(c.Place, maxString) || !plain(c.Why, maxString) || !slices.Contains(discovery.Outcomes(), c.Outcome) || c.Entries < 0 {
			return bad("place %d is not one", i)
		}
	}
	if !wholeSize(b.Whole) {
		return bad("it says of too much that it was looked through")
	}
	for i := range b.Whole {
		w := &b.Whole[i]
		if !slices.Contains(b.Sources, w.Source) || !userID.MatchString(w.User) || !paths(w.Patterns) || !paths(w.Roots) || !paths(w.Below) {
			return bad("what was looked through is not told as it must be (%d)", i)
		}
	}
	for i := range b.Agents {
		a := &b.Agents[i]
		if !plain(a.Client, maxWord) || a.Client == "" || !plain(a.Name, maxWord) || !plain(a.Home, maxString) || !userID.MatchString(a.User) {
			return bad("agent %d is not one", i)
		}
	}
	for i := range b.Credentials {
		c := &b.Credentials[i]
		if !plain(c.Name, maxWord) || !words.MatchString(string(c.Kind)) || !plain(c.Shape, maxWord) || !plain(c.Where, maxWord) || !placed(c.Place) || !userID.MatchString(c.User) || !plain(c.Mode, maxWord) || !texts(c.UsedBy) || c.Age < 0 || c.Age > 100_000 {
			return bad("credential %d is not one", i)
		}
	}
	return nil
}

var facts = []discovery.Fact{discovery.Configured, discovery.Running, discovery.Reachable, discovery.Used, discovery.Sourced}

func checkSighting(s *discovery.Sighting) string {
	t := &s.Target
	switch {
	case !words.MatchString(s.Source) || !userID.MatchString(s.User):
		return "its source or user is none"
	case !slices.Contains(facts, s.Fact):
		return "its fact is none"
	case !(s.Strength >= 0 && s.Strength <= 1):
		return "its strength is not between 0 and 1"
	case !plain(s.Name, maxString) || !plain(s.Reading, maxString) || !plain(string(s.Scope), maxWord) || !placed(s.Place) || !texts(s.Clients) || !texts(s.Rows) || !texts(s.Why) || !texts(s.CodeOwners):
		return "a text in it is too long or none"
	case !words.MatchString(string(t.Kind)) || !plain(t.Key, maxString) || !plain(t.Transport, maxWord) || !plain(t.Package, maxString) || !plain(t.Version, maxWord) ||
		!plain(t.Command, maxString) || !plain(t.URL, maxString) || !plain(t.Server, maxWord) || !texts(t.Launchers) || !texts(t.Args):
		return "what would run is too long or none"
	case len(s.Secrets) > maxList || len(s.Scopes) > maxList:
		return "it has too many secrets or data scopes"
	}
	for i := range s.Secrets {
		r := &s.Secrets[i]
		if !plain(r.Name, maxWord) || !plain(r.Where, maxWord) || !words.MatchString(string(r.Kind)) || !plain(r.Shape, maxWord) || !plain(r.Ref, maxWord) {
			return "a secret in it is described too long"
		}
	}
	for i := range s.Scopes {
		if !plain(s.Scopes[i].Name, maxString) || !plain(s.Scopes[i].From, maxWord) {
			return "a data scope in it is described too long"
		}
	}
	return ""
}

func placed(p discovery.Place) bool {
	return plain(p.Path, maxString) && plain(p.Pointer, maxString) && plain(p.Address, maxString) && plain(p.Commit, maxWord) && p.Line >= 0 && p.PID >= 0
}

// paths reports whether all of many paths are plain.
func paths(list []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !plain(s, maxString) })
}

func texts(list []string) bool {
	return len(list) <= maxList && !slices.ContainsFunc(list, func(s string) bool { return !plain(s, maxString) })
}

// plain reports whether both databases can hold s, and how it is shown stays
// bounded.
func plain(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// Taken is a batch that was taken, and what it changed.
type Taken struct {
	ID       string    `json:"id"`
	Host     string    `json:"host"`
	Device   string    `json:"device,omitempty"`
	Sequence uint64    `json:"sequence,omitempty"`
	Digest   string    `json:"digest"` // of its bytes
	At       time.Time `json:"at"`
	Result   Result    `json:"result"`
}

// Result says what a batch changed.
type Result struct {
	Batch     string `json:"batch"`
	Host      string `json:"host"`
	Again     bool   `json:"again,omitempty"` // it was taken before, and nothing was changed now
	Servers   int    `json:"newServers"`
	Variants  int    `json:"newVariants"`
	Sightings int    `json:"newSightings"`
	Changed   int    `json:"changedSightings"`
	Seen      int    `json:"unchangedSightings"` // only when they were seen last moved
	Gone      int    `json:"goneSightings"`
	Opened    int    `json:"openedFindings"`
	Resolved  int    `json:"resolvedFindings"`
}
