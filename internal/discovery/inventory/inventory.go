// Package inventory keeps what discovery found, on this machine and on others:
// servers, the ways they are started, and where each was seen.
//
// It holds what was seen and what people said about that; what somebody answers
// for is the registry's. A server is one canonical key, a variant one way to start
// or reach it, a sighting one entry, process or answer at one host
// (discovery.md 14). Taking the same batch again changes nothing but when it was
// seen last. Nothing that was seen is deleted: it is gone when a later look at the
// same place shows it no more, and missing when nobody looked for long. A value of
// a secret MUST NOT reach this package.
package inventory

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery"
	"rutile/internal/finding"
)

// DefaultMissing is how long a sighting may go unseen before it counts as missing.
const DefaultMissing = 14 * 24 * time.Hour

// Host is a machine something was seen on. Its id is a pseudonym.
type Host struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"` // only where its enrolment lets it say so
	System string `json:"system,omitempty"`
	Device string `json:"device,omitempty"` // that may report it, "" for operators
	// Runs are the newest of each source that was asked, sorted by source.
	Runs []Run `json:"runs,omitempty"`
	// Took is the newest batch of it.
	Took  string    `json:"took"`
	First time.Time `json:"firstSeen"`
	Last  time.Time `json:"lastSeen"`
}

// Server is one thing that was found, wherever and under whatever names.
type Server struct {
	Key   string         `json:"key"` // canonical
	Kind  discovery.Kind `json:"kind"`
	Names []string       `json:"names,omitempty"` // entries call it so: text to show
	// Owner is the person or team that said it answers for it.
	Owner string    `json:"owner,omitempty"`
	First time.Time `json:"firstSeen"`
}

// Variant is one way a server is started or reached.
type Variant struct {
	ID     string           `json:"id"`
	Server string           `json:"server"`
	Target discovery.Target `json:"target"`
	First  time.Time        `json:"firstSeen"`
}

// Sighting is one place a server was seen in at one host.
type Sighting struct {
	ID       string                `json:"id"`
	Server   string                `json:"server"` // canonical key
	Variant  string                `json:"variant"`
	Host     string                `json:"host"`
	User     string                `json:"user,omitempty"` // pseudonym
	Source   string                `json:"source"`
	Fact     discovery.Fact        `json:"fact"`
	Strength float64               `json:"strength"`
	Clients  []string              `json:"clients,omitempty"`
	Rows     []string              `json:"rows,omitempty"`
	Scope    discovery.Scope       `json:"scope,omitempty"`
	Place    discovery.Place       `json:"place"`
	Name     string                `json:"name,omitempty"` // text to show
	Disabled bool                  `json:"disabled,omitempty"`
	Reading  string                `json:"reading,omitempty"`
	Secrets  []discovery.SecretRef `json:"secrets,omitempty"`
	Scopes   []discovery.DataScope `json:"dataScopes,omitempty"`
	// Executable says that a shell runs a part of it.
	Executable bool      `json:"executable,omitempty"`
	Routed     bool      `json:"routed"` // it goes through Rutile
	Why        []string  `json:"why,omitempty"`
	CodeOwners []string  `json:"codeOwners,omitempty"`
	First      time.Time `json:"firstSeen"`
	Last       time.Time `json:"lastSeen"`
	// Gone is when a look at its place showed it no more, zero while it is there.
	Gone time.Time `json:"gone,omitzero"`
	// Reappeared is when it was seen again after it was gone or missing.
	Reappeared time.Time `json:"reappeared,omitzero"`
}

// Agent is a client that a user of a host has.
type Agent struct {
	ID        string    `json:"id"`
	Host      string    `json:"host"`
	User      string    `json:"user,omitempty"`
	Client    string    `json:"client"`
	Name      string    `json:"name"`
	Supported bool      `json:"supported"`
	Owner     string    `json:"owner,omitempty"`
	First     time.Time `json:"firstSeen"`
	Last      time.Time `json:"lastSeen"`
}

// Credential is a secret that is kept at a host: what it is called and where,
// never what it is.
type Credential struct {
	ID     string               `json:"id"`
	Host   string               `json:"host"`
	User   string               `json:"user,omitempty"`
	Name   string               `json:"name"`
	Kind   discovery.SecretKind `json:"kind"`
	Shape  string               `json:"shape,omitempty"`
	Where  string               `json:"where"`
	Place  discovery.Place      `json:"place"`
	UsedBy []string             `json:"usedBy,omitempty"` // canonical keys
	Mode   string               `json:"mode,omitempty"`   // of a token cache
	// Written is when a token cache was written last, to the day, zero if unknown. A
	// credential is at least as old as First says.
	Written time.Time `json:"written,omitzero"`
	First   time.Time `json:"firstSeen"`
	Last    time.Time `json:"lastSeen"`
}

// Merge says that two canonical keys are one server: a person's word, taken back
// by undoing it. Nothing that was seen is changed by it.
type Merge struct {
	ID     string    `json:"id"`
	From   string    `json:"from"`
	Into   string    `json:"into"`
	By     string    `json:"by"`
	Why    string    `json:"why,omitempty"`
	Rule   string    `json:"rule,omitempty"` // that suggested it
	At     time.Time `json:"at"`
	Undone time.Time `json:"undone,omitzero"`
	UndoBy string    `json:"undoneBy,omitempty"`
}

// Scope names the rows a batch is about.
type Scope struct {
	Host     string
	Servers  []string // canonical keys
	Variants []string
}

// Kept is what is kept of a scope: the host with all its sightings, agents and
// credentials, and the servers and variants named.
type Kept struct {
	Generation  uint64
	Host        *Host
	Servers     map[string]Server
	Variants    map[string]Variant
	Sightings   map[string]Sighting
	Agents      map[string]Agent
	Credentials map[string]Credential
}

// Changes are what is written, together or not at all.
type Changes struct {
	Base        uint64 // the generation they were planned on
	At          time.Time
	Host        *Host // its row whole
	Servers     []Server
	Variants    []Variant
	Sightings   []Sighting
	Agents      []Agent
	Credentials []Credential
	Merges      []Merge
	// SeenSightings, SeenAgents and SeenCredentials were seen again as they
	// are: only their time moves.
	SeenSightings   []string
	SeenAgents      []string
	SeenCredentials []string
	Taken           *Taken // the batch they come from
	Owed            []access.Owed
	Findings        *finding.Changes
}

// Tally counts the sightings of a server that are alike.
type Tally struct {
	Server     string
	Fact       discovery.Fact
	Routed     bool
	Disabled   bool
	Gone       bool
	Count      int
	Hosts      int
	First      time.Time
	Last       time.Time
	Reappeared time.Time // the newest, zero if none
}

// Store keeps the inventory.
type Store interface {
	// Inventory returns what is kept of a scope.
	Inventory(ctx context.Context, s Scope) (Kept, error)
	// CommitInventory applies c in one transaction. If the generation is not c.Base it
	// changes nothing and returns an access.CodeConflict error.
	CommitInventory(ctx context.Context, c Changes) error
	// Found returns all servers sorted by key, and counts of their sightings; what was
	// last seen before missing is counted as gone.
	Found(ctx context.Context, missing time.Time) ([]Server, []Tally, error)
	// Seen returns the variants and sightings of servers, by id.
	Seen(ctx context.Context, keys []string) ([]Variant, []Sighting, error)
	// FoundBy returns what lists say of all sightings and variants; what was last seen
	// before missing is gone.
	FoundBy(ctx context.Context, missing time.Time) ([]Mark, []Way, error)
	// FoundGeneration is that of the newest commit.
	FoundGeneration(ctx context.Context) (uint64, error)
	// Around returns the other nouns of the inventory.
	Around(ctx context.Context) (Around, error)
	// Merges returns what people said is one server, and took back.
	Merges(ctx context.Context) ([]Merge, error)
	// Batch returns a batch that was taken, by its id.
	Batch(ctx context.Context, id string) (t Taken, ok bool, err error)
}

// Around is what stands around the servers.
type Around struct {
	Generation  uint64
	Hosts       []Host
	Agents      []Agent
	Credentials []Credential
	Merges      []Merge
}
