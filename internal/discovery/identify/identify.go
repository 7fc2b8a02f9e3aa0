// Package identify compares what was found with offline copies of public data:
// the listing of the official registry of MCP servers, and records of
// vulnerabilities in the OSV form (discovery.md 12).
//
// Nothing is fetched. A copy is input of strangers: reading it is strict and
// bounded, and its text is a claim. A match says under which names others know
// the same package or address, and never whose it is. What the copy cannot tell
// is told as unknown and MUST NOT be shown as clean.
package identify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/rawjson"
)

// old is the age of its newest record from which a copy is not relied on: both
// kinds get records every day.
const old = 14 * 24 * time.Hour

// aged is a copy with its age at now. Records of the future do not make it young.
type aged struct {
	now    time.Time
	newest time.Time
}

func (a *aged) add(when string) error {
	if when == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, when)
	if err != nil {
		return errors.New("a time in it is none of RFC 3339")
	}
	if t.After(a.newest) && !t.After(a.now.Add(24*time.Hour)) {
		a.newest = t.UTC()
	}
	return nil
}

func (a *aged) copy(path string, records, unread int) discovery.Copy {
	c := discovery.Copy{Path: path, Records: records, Unread: unread, Newest: a.newest, Old: true}
	if !a.newest.IsZero() {
		age := max(a.now.Sub(a.newest), 0)
		c.Days, c.Old = int(age.Hours()/24), age > old
	}
	return c
}

// decode reads a document strictly into v: no key twice, no key in two cases, and
// every type as it must be. Errors name the place and no content.
func decode(raw []byte, lim rawjson.Limits, v any) error {
	doc, err := rawjson.Parse(raw, lim)
	if err != nil {
		return err
	}
	if at := doc.FoldDuplicate(true); at != "" {
		return fmt.Errorf("the key at %s is there in two cases", bounded(at))
	}
	err = json.Unmarshal(raw, v)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s is not of the type it must be", bounded(wrong.Field))
	}
	return err
}

// subjects are the sightings of servers that run outside of us, by what would run.
func subjects(seen []discovery.Sighting) (order []string, by map[string][]discovery.Sighting) {
	by = map[string][]discovery.Sighting{}
	for _, s := range seen {
		if s.Target.Kind == discovery.KindGateway {
			continue
		}
		id := strings.Join([]string{s.Target.Key, s.Target.Package, s.Target.Version, s.Target.URL}, "\x00")
		if by[id] == nil {
			order = append(order, id)
		}
		by[id] = append(by[id], s)
	}
	slices.Sort(order)
	return order, by
}

// find raises one finding at every place a server was seen in.
func find(into *discovery.Sink, seen []discovery.Sighting, rule discovery.Rule, severity discovery.Severity, why, next string, evidence []string) {
	for _, s := range seen {
		f := discovery.NewFinding(rule, severity, s.Target.Key, s.Place, why, next)
		f.Evidence = evidence
		into.For(s.User).Find(f)
	}
}
