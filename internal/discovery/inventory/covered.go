package inventory

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"rutile/internal/discovery"
)

// Covered tells of what a batch says that it looked at, and so what is gone when
// it does not show it. Where that is not sure nothing is.
type Covered struct {
	host      string
	places    map[looked]bool // by source, user and path: whether it was read
	absent    map[looked]bool // by source, user and row of the table of clients
	roots     map[looked]bool // of sources that look through folders
	processes bool
	seen      map[looked]bool                 // places of what the batch shows
	whole     map[[2]string]*discovery.Looker // by source and user
}

type looked struct{ source, user, place string }

// The sources whose absence means something (discovery.Source).
const (
	sourceClient     = "client"
	sourceProcess    = "process"
	sourceRepository = "repository"
	sourceKubernetes = "kubernetes"
)

func (t *Taking) covered(r *rows) Covered {
	c := Covered{host: t.Batch.Host, places: map[looked]bool{}, absent: map[looked]bool{}, roots: map[looked]bool{}, seen: map[looked]bool{}}
	for i := range t.Batch.Coverage {
		v := &t.Batch.Coverage[i]
		at := looked{v.Source, v.User, v.Place}
		read := v.Outcome == discovery.Read && t.Batch.Dropped == 0
		if had, ok := c.places[at]; ok {
			read = read && had
		}
		c.places[at] = read
		switch {
		case v.Source == sourceProcess && v.Place == "processes":
			c.processes = read
		case v.Source == sourceClient && v.Row != "" && v.Outcome == discovery.Absent:
			c.absent[looked{v.Source, v.User, v.Row}] = t.Batch.Dropped == 0
		case v.Source == sourceRepository || v.Source == sourceKubernetes:
			c.roots[at] = read
		}
	}
	if t.Batch.Dropped == 0 {
		c.whole = discovery.Lookers(t.Batch.Whole)
	}
	for id := range r.sightings {
		s := r.sightings[id]
		c.seen[looked{s.Source, s.User, s.Place.Path}] = true
	}
	return c
}

// Sighting reports whether a kept sighting that the batch does not show is gone.
func (c *Covered) Sighting(s *Sighting) bool {
	if s.Host != c.host {
		return false
	}
	if s.Source == sourceProcess {
		return c.processes
	}
	if read, ok := c.place(s.Source, s.User, s.Place.Path); ok {
		return read
	}
	if c.whole[[2]string{s.Source, s.User}].Looked(s.Place.Path) {
		return true
	}
	// The file of a client is no more. A project's may be one that this run did not
	// look at.
	return s.Source == sourceClient && s.Scope != discovery.ScopeProject && s.Scope != discovery.ScopeWorkspace && len(s.Rows) > 0 &&
		!slices.ContainsFunc(s.Rows, func(row string) bool { return !c.absent[looked{s.Source, s.User, row}] })
}

// wholly reports whether a source looked to the end at a place as findings name
// it, where nothing is said to be.
func (c *Covered) wholly(source, at string) bool {
	who, path, ok := strings.Cut(at, ":")
	host, user, _ := strings.Cut(who, "/")
	return ok && host == c.host && c.whole[[2]string{source, user}].Looked(path)
}

// place reports whether a source read a path, and false for ok if it does not say.
func (c *Covered) place(source, user, path string) (read, ok bool) {
	if read, ok := c.places[looked{source, user, path}]; ok {
		return read, true
	}
	if source != sourceRepository && source != sourceKubernetes {
		return false, false
	}
	for dir := path; ; { // the innermost folder it says something of
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			return false, false
		}
		dir = dir[:i]
		if read, ok := c.roots[looked{source, user, dir}]; ok {
			return read, true
		}
	}
}

// fingerprint is what of a sighting makes it another one: all but the times.
func fingerprint(s *Sighting) string {
	bare := *s
	bare.First, bare.Last, bare.Gone, bare.Reappeared = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	b, err := json.Marshal(bare)
	if err != nil {
		return s.ID // no value of ours cannot be written
	}
	return string(b)
}
