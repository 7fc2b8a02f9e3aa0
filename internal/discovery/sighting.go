package discovery

import (
	"strconv"
	"strings"
	"time"
)

// Fact is what a sighting shows of a server.
type Fact string

// The facts.
const (
	Configured Fact = "configured" // a client, a repository or a manifest names it
	Running    Fact = "running"    // a process of it runs
	Reachable  Fact = "reachable"  // something answers, or listens, at an address
	Used       Fact = "used"       // calls to it were seen
	Sourced    Fact = "sourced"    // its source code or its declaration was seen, which runs nothing
)

// Scope is whose a configuration is.
type Scope string

// The scopes, as the table of clients has them.
const (
	ScopeUser      Scope = "user"
	ScopeProject   Scope = "project"
	ScopeWorkspace Scope = "workspace" // kept outside of the project but bound to it
	ScopeManaged   Scope = "managed"   // set for the machine by who runs it
	ScopePlugin    Scope = "plugin"
)

// Place is where something was seen, as it may be shown: paths below a home begin
// with ~, and projects are a name and a label unless asked otherwise.
type Place struct {
	Path    string `json:"path,omitempty"`
	Pointer string `json:"pointer,omitempty"` // RFC 6901, inside of the file
	Line    int    `json:"line,omitempty"`    // from 1
	PID     int    `json:"pid,omitempty"`
	Address string `json:"address,omitempty"` // host:port, or an address without its secrets
	Commit  string `json:"commit,omitempty"`
}

// String is the place in one line.
func (p Place) String() string {
	s := p.Path
	switch {
	case p.Line > 0:
		s += ":" + strconv.Itoa(p.Line)
	case p.PID > 0:
		s = strings.TrimLeft(s+" pid "+strconv.Itoa(p.PID), " ")
	}
	if p.Address != "" {
		if s != "" {
			s += " "
		}
		s += p.Address
	}
	return s
}

// key identifies the place from run to run: a line moves when another is edited,
// and a process has another number when it is started again.
func (p Place) key() string {
	return p.Path + "\x00" + p.Pointer + "\x00" + p.Address
}

// Sighting is one place a server was seen in by one source.
type Sighting struct {
	ID       string  `json:"id"` // the same for the same entry in every run
	Source   string  `json:"source"`
	Fact     Fact    `json:"fact"`
	Strength float64 `json:"strength"` // of the evidence, 0 to 1 (discovery.md 3)
	// Clients read the entry or started the process, the surest first.
	Clients []string `json:"clients,omitempty"`
	// Rows are the rows of the table of clients that led to it.
	Rows  []string `json:"rows,omitempty"`
	Scope Scope    `json:"scope,omitempty"`
	// User is whose configuration or process it is: a pseudonym, the same in every
	// run on this machine, "" where nobody's.
	User  string `json:"user,omitempty"`
	Place Place  `json:"place"`
	// Name is what the entry calls itself: text to show, never an identity.
	Name     string `json:"name,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
	// Reading says which of several possible readings of the file this is, ""
	// where there is only one.
	Reading string      `json:"reading,omitempty"`
	Target  Target      `json:"target"`
	Secrets []SecretRef `json:"secrets,omitempty"`
	Scopes  []DataScope `json:"dataScopes,omitempty"`
	// Executable says that a shell runs a part of it, which may do anything.
	Executable bool `json:"executable,omitempty"`
	// Routed says that it goes through Rutile.
	Routed bool     `json:"routed"`
	Why    []string `json:"why,omitempty"` // what makes us think so
	// CodeOwners are the handles its repository says own the file, to suggest an owner.
	CodeOwners []string  `json:"codeOwners,omitempty"`
	FirstSeen  time.Time `json:"firstSeen"`
	LastSeen   time.Time `json:"lastSeen"`
}

// Target is what would run or be reached, without secrets.
type Target struct {
	Key       string   `json:"key"` // canonical; discovery.md 14
	Kind      Kind     `json:"kind"`
	Transport string   `json:"transport,omitempty"` // stdio, http, sse, ws
	Launchers []string `json:"launchers,omitempty"` // what was peeled off, outermost first
	Package   string   `json:"package,omitempty"`   // purl without a version
	Version   string   `json:"version,omitempty"`   // as written: exact, a range or a tag
	Pinned    bool     `json:"pinned"`              // the same thing runs tomorrow
	Command   string   `json:"command,omitempty"`   // after peeling
	Args      []string `json:"args,omitempty"`      // redacted
	URL       string   `json:"url,omitempty"`       // scheme, host, port, path and names of the query
	// Server is the id at the gateway where the entry is Rutile's own shim or
	// address.
	Server string `json:"server,omitempty"`
}

// Kind is what sort of thing a target is.
type Kind string

// The kinds.
const (
	KindPackage Kind = "package" // from a package registry
	KindImage   Kind = "image"   // of a container
	KindRemote  Kind = "remote"  // an address
	KindLocal   Kind = "local"   // a program or script of this machine
	KindHub     Kind = "hub"     // stands for servers behind it
	KindGateway Kind = "gateway" // Rutile itself
	KindOpaque  Kind = "opaque"  // something is configured, and not how
	KindAgent   Kind = "agent"   // an A2A agent
)

// DataScope is what a server may touch, as derived: a proposal until its owner
// confirms it.
type DataScope struct {
	Name string `json:"name"` // system and class: fs:~/src, db:prod, github:*
	From string `json:"from"` // what it was derived from
}
