// Package discovery finds agents and MCP servers nobody registered, and says
// where it looked, what it saw and what follows from it.
//
// Sources look in one kind of place each and tell a Sink what they saw; Run asks
// them and draws what was seen together into servers, variants and sightings
// (discovery.md 14). A source MUST NOT start, load or evaluate anything it found,
// MUST stop when its context ends, and MUST tell the Sink what it has as it goes,
// so that an interrupted run keeps it. A secret's value MUST NOT reach a type of
// this package that outlives a call: SecretRef says its name, place and kind
// (discovery.md 11). What something says of itself is a claim, and where two
// readers could read a file differently every reading is reported. The package
// keeps nothing between runs and changes nothing.
package discovery

import (
	"context"
	"sync"
	"time"
)

// Source looks in one kind of place.
type Source interface {
	// Name is one word for coverage and reports, such as "client" or "process".
	Name() string
	// Discover tells into what it sees until it is done or ctx ends. An error says
	// that the source as a whole failed, without quoting what it read; what is not
	// to be seen is Coverage, not an error.
	Discover(ctx context.Context, into *Sink) error
}

// maxSightings bounds what one run keeps, of sightings and of findings each. What
// comes after is counted.
const maxSightings = 100_000

// Run asks the sources one after another and returns what they saw. When ctx ends
// it returns what was seen until then, marked as interrupted. looked is told of
// each place as it is done, for progress; it may be nil.
func Run(ctx context.Context, sources []Source, now func() time.Time, looked func(Coverage)) *Seen {
	s := &Seen{Started: now()}
	for _, src := range sources {
		sink := &Sink{source: src.Name(), into: s, now: s.Started, looked: looked}
		err := src.Discover(ctx, sink)
		switch {
		case ctx.Err() != nil:
			s.Interrupted = true
			sink.Looked(Coverage{Place: src.Name(), Outcome: Cut, Why: "interrupted"})
		case err != nil:
			sink.Looked(Coverage{Place: src.Name(), Outcome: Failed, Why: err.Error()})
		}
		if s.Interrupted {
			break
		}
	}
	s.Ended = now()
	return s
}

// Seen is what a run has gathered.
type Seen struct {
	Started, Ended time.Time
	Interrupted    bool
	Sightings      []Sighting
	Findings       []Finding
	Coverage       []Coverage
	Credentials    []Credential
	Agents         []Agent
	Copies         []Copy
	Identified     []Identified
	Whole          []Whole
	Dropped        int // sightings and findings over the bound

	mu sync.Mutex
}

// Sink takes what one source sees. It may be used by several goroutines at once.
type Sink struct {
	source string
	user   string
	into   *Seen
	now    time.Time
	looked func(Coverage)
}

// For is the sink of what one user of the machine has. user is a pseudonym.
func (k *Sink) For(user string) *Sink {
	own := *k
	own.user = user
	return &own
}

// Saw takes a sighting. Its source, user, id and times are filled in.
func (k *Sink) Saw(s Sighting) {
	s.Source, s.User, s.FirstSeen, s.LastSeen = k.source, k.user, k.now, k.now
	s.ID = digest("sgt", k.source, k.user, s.Place.key(), s.Target.Key, s.Reading)
	k.into.mu.Lock()
	defer k.into.mu.Unlock()
	if len(k.into.Sightings) >= maxSightings {
		k.into.Dropped++
		return
	}
	k.into.Sightings = append(k.into.Sightings, s)
}

// Find takes a finding.
func (k *Sink) Find(f Finding) {
	f.Source, f.User = k.source, k.user
	k.into.mu.Lock()
	defer k.into.mu.Unlock()
	if len(k.into.Findings) >= maxSightings {
		k.into.Dropped++
		return
	}
	k.into.Findings = append(k.into.Findings, f)
}

// Looked takes how looking in one place ended.
func (k *Sink) Looked(c Coverage) {
	c.Source, c.User = k.source, k.user
	k.into.mu.Lock()
	defer k.into.mu.Unlock()
	k.into.Coverage = append(k.into.Coverage, c)
	if k.looked != nil {
		k.looked(c)
	}
}

// Whole takes what the source looked through to the end.
func (k *Sink) Whole(w Whole) {
	w.Source, w.User = k.source, k.user
	k.into.mu.Lock()
	defer k.into.mu.Unlock()
	k.into.Whole = append(k.into.Whole, w)
}

// Keeps takes a credential that is kept somewhere by itself. Those that servers
// are given are drawn from their sightings.
func (k *Sink) Keeps(c Credential) {
	c.User = k.user
	k.into.mu.Lock()
	defer k.into.mu.Unlock()
	k.into.Credentials = append(k.into.Credentials, c)
}

// Uses takes a client somebody uses.
func (k *Sink) Uses(a Agent) {
	a.User = k.user
	k.into.mu.Lock()
	defer k.into.mu.Unlock()
	k.into.Agents = append(k.into.Agents, a)
}
