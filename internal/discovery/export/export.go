// Package export writes the inventory and its findings in the formats of others:
// CSV, SARIF, CycloneDX and Backstage entities (discovery.md 20).
//
// What it writes is a pure function of a Snapshot and Options: the same state gives
// the same bytes, and the snapshot's id stands in them. Names, paths and commands
// were written by whoever wrote a configuration, so no text reaches a document as
// anything but text: what a reader does not see is spelled out. A secret's value is
// not in the inventory and MUST NOT be in an export.
package export

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// Snapshot is what is exported: the inventory at one time, as it counts then.
type Snapshot struct {
	Generation uint64               `json:"generation"` // of the inventory
	Servers    []inventory.Entry    `json:"servers"`    // by key
	Variants   []inventory.Variant  `json:"variants"`   // by server and id; merged ones at what they count as
	Sightings  []inventory.Sighting `json:"sightings"`  // by server and id, likewise
	Hosts      []inventory.Host     `json:"hosts"`
	Agents     []inventory.Agent    `json:"agents"`
	Findings   []finding.Finding    `json:"findings"` // open and muted ones, by id
	Teams      []string             `json:"teams"`    // owners that are no person, sorted
	// Tools are those that are approved, by the id of their server, sorted.
	Tools map[string][]string `json:"tools"`
	// Gateway is the address agents reach the gateway at, "" if it has none.
	Gateway string `json:"gateway"`
}

// ID identifies the state: the generation of the inventory, which grows, and a
// digest of all that is exported. Two equal ids are the same state.
func (s *Snapshot) ID() (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("identifying a snapshot: %w", err)
	}
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%d-%s", s.Generation, hex.EncodeToString(sum[:16])), nil
}

// roots says of keys that were merged what they count as.
func (s *Snapshot) roots() map[string]string {
	out := map[string]string{}
	for i := range s.Servers {
		for _, k := range s.Servers[i].Merged {
			out[k] = s.Servers[i].Key
		}
	}
	return out
}

// Format is what an export is written as.
type Format string

// The formats.
const (
	Backstage Format = "backstage"
	CSV       Format = "csv"
	SARIF     Format = "sarif"
	CycloneDX Format = "cyclonedx"
	JSON      Format = "json" // the servers, as rutile inventory list -o json has them
)

// Formats lists them.
func Formats() []string {
	return []string{string(Backstage), string(CSV), string(CycloneDX), string(JSON), string(SARIF)}
}

// Rows is what a row of CSV is about.
type Rows string

// What rows are about.
const (
	Servers   Rows = "servers"
	Variants  Rows = "variants"
	Sightings Rows = "sightings"
)

// AllRows lists them.
func AllRows() []string { return []string{string(Servers), string(Variants), string(Sightings)} }

// Options say what is written.
type Options struct {
	As   Format
	Rows Rows // of CSV, Servers if empty; nothing else has rows
	// Identifiable adds what names machines and people where a format leaves it out.
	Identifiable bool
}

// Check returns an access.CodeInvalid error for options that mean nothing.
func (o Options) Check() error {
	switch {
	case !slices.Contains(Formats(), string(o.As)):
		return access.Errorf(access.CodeInvalid, "%q is no format of an export: say %s", shown(string(o.As)), strings.Join(Formats(), ", "))
	case o.Rows != "" && o.As != CSV:
		return access.Errorf(access.CodeInvalid, "only csv has rows, and %s has not", o.As)
	case o.Rows != "" && !slices.Contains(AllRows(), string(o.Rows)):
		return access.Errorf(access.CodeInvalid, "%q is not what a row can be about: say %s", shown(string(o.Rows)), strings.Join(AllRows(), ", "))
	}
	return nil
}

// Document is an export.
type Document struct {
	Snapshot string
	Type     string // its media type
	Bytes    []byte
}

// listing is an export as JSON.
type listing struct {
	SchemaVersion int               `json:"schemaVersion"`
	Snapshot      string            `json:"snapshot"`
	Servers       []inventory.Entry `json:"servers"`
}

// listed writes the servers as JSON, every text as it is shown.
func listed(s *Snapshot, id string) ([]byte, error) {
	out := listing{SchemaVersion: 1, Snapshot: id, Servers: slices.Clone(s.Servers)}
	for i := range out.Servers {
		e := &out.Servers[i]
		for _, text := range []*string{&e.Key, &e.Owner, &e.Registered, &e.State} {
			*text = shown(*text)
		}
		for _, list := range []*[]string{&e.Names, &e.Merged, &e.Sources, &e.Transports} {
			*list = slices.Clone(*list)
			for j := range *list {
				(*list)[j] = shown((*list)[j])
			}
		}
	}
	return json.MarshalIndent(out, "", "  ")
}

// Make writes a snapshot.
func Make(s *Snapshot, o Options) (Document, error) {
	if err := o.Check(); err != nil {
		return Document{}, err
	}
	id, err := s.ID()
	if err != nil {
		return Document{}, err
	}
	d := Document{Snapshot: id}
	switch o.As {
	case Backstage:
		d.Type = "application/yaml"
		d.Bytes, err = backstage(s, id)
	case CSV:
		d.Type = "text/csv; charset=utf-8; header=present"
		d.Bytes, err = tabular(s, id, o)
	case CycloneDX:
		d.Type = "application/vnd.cyclonedx+json; version=1.7"
		d.Bytes, err = cyclonedx(s, id, o)
	case JSON:
		d.Type = "application/json"
		d.Bytes, err = listed(s, id)
	case SARIF:
		d.Type = "application/sarif+json"
		d.Bytes, err = sarif(s, id)
	}
	if err != nil {
		return Document{}, fmt.Errorf("writing the inventory as %s: %w", o.As, err)
	}
	return d, nil
}

// stamp writes a time, nothing for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
