// Package registry is the catalog of agents, servers and tools: what exists,
// who owns it, its state and its pinned digests.
//
// The catalog is held as an immutable View; readers take the current one with
// Registry.View and never lock. Changes are planned on a View, persisted by the
// caller and then installed, so a reader sees a change whole or not at all.
// Unknown states deny. The registry decides nothing about a call and never
// contacts a server.
package registry

import (
	"context"
	"encoding/json"
	"time"
)

// AgentState is where an agent is in its life.
type AgentState string

// The states of an agent. Expired is derived from Agent.Expires, never stored.
const (
	AgentActive      AgentState = "active"
	AgentSuspended   AgentState = "suspended"
	AgentQuarantined AgentState = "quarantined"
	AgentRetired     AgentState = "retired"
)

// Agent is a governed non-human identity.
type Agent struct {
	ID       string    `json:"id"`
	Owner    string    `json:"owner"` // team or person, accountable
	Purpose  string    `json:"purpose"`
	Runtime  string    `json:"runtime,omitempty"`
	Model    string    `json:"model,omitempty"`
	Class    string    `json:"class,omitempty"`
	RiskTier int       `json:"riskTier"` // 0 low … 3 critical
	Expires  time.Time `json:"expires"`  // end of that day, UTC
	// Wrapped says that rutile wrap registered it and no manifest: a gateway
	// without a configuration goes on observing.
	Wrapped    bool              `json:"wrapped,omitempty"`
	Tools      []string          `json:"tools,omitempty"`
	DataScopes []string          `json:"dataScopes,omitempty"`
	Keys       []json.RawMessage `json:"keys,omitempty"` // public JWKs: of the manifest, resolved at apply, and enrolled
	Enrolled   []EnrolledKey     `json:"enrolled,omitempty"`
	Codes      []EnrollmentCode  `json:"codes,omitempty"`
	Attested   *Attestation      `json:"attested,omitempty"` // the last answer to a review
	Reminded   time.Time         `json:"reminded,omitzero"`  // that a review is owed
	State      AgentState        `json:"state"`
	StateWhy   string            `json:"stateWhy,omitempty"`
	StateBy    string            `json:"stateBy,omitempty"` // who put it in its state
	Created    time.Time         `json:"created"`
	Changed    time.Time         `json:"changed"`
}

// EnrolledKey says of one of an agent's keys that it came by enrollment, so that
// a manifest that does not know it leaves it alone.
type EnrolledKey struct {
	JWK string    `json:"jwk"` // as it stands in Keys
	At  time.Time `json:"at"`
	By  string    `json:"by"` // who gave out the code
}

// EnrollmentCode lets whoever holds its private half add one key, once.
type EnrollmentCode struct {
	Public  string    `json:"public"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by"`
}

// ServerState is where a server is in its life.
type ServerState string

// The states of a server. Only sanctioned and deprecated servers are callable.
const (
	ServerDiscovered  ServerState = "discovered"
	ServerTriaged     ServerState = "triaged"
	ServerSanctioned  ServerState = "sanctioned"
	ServerDeprecated  ServerState = "deprecated"
	ServerQuarantined ServerState = "quarantined"
	ServerBlocked     ServerState = "blocked"
	ServerRetired     ServerState = "retired"
)

// Server is an MCP server behind the gateway.
type Server struct {
	ID         string               `json:"id"`
	Owner      string               `json:"owner"`
	Transport  Transport            `json:"transport"`
	Credential *CredentialRef       `json:"credential,omitempty"`
	DataScopes []string             `json:"dataScopes,omitempty"`
	Classes    map[string]ToolClass `json:"classes,omitempty"` // glob of tool names → class set by a person
	Pinning    string               `json:"pinning,omitempty"` // "enforce" (default) or "observe": drift is recorded and passes
	Wrapped    bool                 `json:"wrapped,omitempty"` // as Agent.Wrapped
	// Inspection says what becomes of findings in what it sends: "enforce" (default),
	// "observe": they are recorded and nothing is withheld, "off": nobody looks.
	Inspection string `json:"inspection,omitempty"`
	// Restore says which tools may be given values for placeholders: glob of tool
	// names → labels (secret, pii). A secret goes back only to the server it is of.
	Restore map[string][]string `json:"restore,omitempty"`
	// Labels says what single tools' results carry besides DataScopes: glob of action
	// names → labels. See LabelsOf.
	Labels map[string][]string `json:"labels,omitempty"`
	// Description and Version are what readers of the catalog are told: one line of
	// at most MaxDescription characters, and an exact version, never a range.
	Description string `json:"description,omitempty"`
	Version     string `json:"version,omitempty"`
	// Replacement and Ends say of a deprecated server what to use instead, the id
	// of a server or "" for nothing, and when it goes: the end of that day, UTC.
	Replacement string    `json:"replacement,omitempty"`
	Ends        time.Time `json:"ends,omitzero"`
	// RiskTier is the least risk tier its owner wants it to have, 0 for none: the
	// computed one may be higher. Lowered is an exception, nil for none.
	RiskTier int      `json:"riskTier,omitempty"`
	Lowered  *Lowered `json:"lowered,omitempty"`
	// Expires is when its sanction is to be looked at again: the end of that day, UTC.
	Expires time.Time `json:"expires,omitzero"`
	// Asked is the person who asked for its review, nil for nobody; Blocking the one
	// who wants it blocked where that takes two.
	Asked    *Asked `json:"asked,omitempty"`
	Blocking *Asked `json:"blocking,omitempty"`
	// Attested is the last answer to a review, and Reminded when its owner was told
	// that one is owed.
	Attested *Attestation `json:"attested,omitempty"`
	Reminded time.Time    `json:"reminded,omitzero"`
	State    ServerState  `json:"state"`
	StateWhy string       `json:"stateWhy,omitempty"`
	StateBy  string       `json:"stateBy,omitempty"` // who put it in its state
	Era      string       `json:"era,omitempty"`     // newest revision the upstream was seen to speak
	// Baseline says for each kind of definition when the first listing after
	// sanction was taken. Only that listing approves what it holds.
	Baseline map[Kind]time.Time `json:"baseline,omitempty"`
	Created  time.Time          `json:"created"`
	Changed  time.Time          `json:"changed"`
}

// Attestation is the answer to a review; what was shown is in the evidence.
type Attestation struct {
	By       string    `json:"by"`
	At       time.Time `json:"at"`
	Decision string    `json:"decision"` // keep, quarantine or retire
	Due      time.Time `json:"due"`      // when it was owed
}

// Asked is what a person asked for.
type Asked struct {
	By  string    `json:"by"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
}

// Lowered is a risk tier below the computed one, until a time.
type Lowered struct {
	Tier  int       `json:"tier"`
	Until time.Time `json:"until"` // the end of that day, UTC
	By    string    `json:"by"`
	Why   string    `json:"why"`
}

// Transport is how the server is reached: exactly one member is set.
type Transport struct {
	HTTP  *HTTP  `json:"http,omitempty"`
	Stdio *Stdio `json:"stdio,omitempty"`
}

// HTTP is a streamable-HTTP upstream.
type HTTP struct {
	URL string `json:"url"`
	// SSE says that URL is the event stream of a server that only speaks the
	// two-endpoint transport of 2024-11-05.
	SSE     bool              `json:"sse,omitempty"`
	Headers map[string]string `json:"headers,omitempty"` // fixed, not secret
	TLS     *TLS              `json:"tls,omitempty"`
	// Proxy is the http(s) address of the forward proxy to go through, ProxyNone
	// to go direct whatever the configuration says, "" to do as it says.
	Proxy string `json:"proxy,omitempty"`
}

// ProxyNone is the proxy of a server that is reached directly.
const ProxyNone = "none"

// TLS says how an https upstream is verified and what it is shown. All names are
// absolute paths of PEM files on the gateway's machine, "" for none.
type TLS struct {
	CA         string `json:"ca,omitempty"`         // trusted instead of the system's authorities
	Cert       string `json:"cert,omitempty"`       // client certificate chain
	Key        string `json:"key,omitempty"`        // of the client certificate
	ServerName string `json:"serverName,omitempty"` // what the certificate must be for, default the host of the url
}

// Stdio is a process that speaks MCP on its standard input and output. It is
// started only from an approved registry entry, without a shell.
type Stdio struct {
	Command string            `json:"command"`
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"` // not secret; the rest of the environment is built from nothing
	Dir     string            `json:"dir,omitempty"`
	Confine *Confine          `json:"confine,omitempty"` // nil is the default profile
	Process Process           `json:"process,omitempty"`
	// StartTimeout bounds the start and the handshake, IdleTimeout the time
	// without a call. 0 is the gateway's default.
	StartTimeout time.Duration `json:"startTimeout,omitempty"`
	IdleTimeout  time.Duration `json:"idleTimeout,omitempty"`
}

// CredentialRef says which sealed secret is injected, where and in which form.
type CredentialRef struct {
	Ref    string `json:"ref"`
	Header string `json:"header,omitempty"` // for HTTP
	Env    string `json:"env,omitempty"`    // for stdio
	Value  string `json:"value,omitempty"`  // template with {secret}; default "{secret}"
	// Also are further headers, or variables for stdio, each with its template. A
	// credential that is minted may have values besides its secret.
	Also map[string]string `json:"also,omitempty"`
	// Files are variables for stdio, each with the template of what is in the file
	// it names, which only the process can read.
	Files map[string]string `json:"files,omitempty"`
	// Args are arguments of a stdio server that are replaced when it starts, each
	// by its index in Stdio.Args, with its template.
	Args map[string]string `json:"args,omitempty"`
}

// ToolClass is the class and tier of a tool.
type ToolClass struct {
	Class string `json:"class"` // read, write, destroy; egress may follow after a comma
	Tier  int    `json:"tier"`  // 0 … 3 (access.md "Words")
}

// ToolState says whether a definition may be called.
type ToolState string

// The states of a tool. Only approved tools are listed and callable.
const (
	ToolPending     ToolState = "pending"  // seen, never approved: hidden
	ToolApproved    ToolState = "approved" // pinned, and the last listing matches
	ToolChanged     ToolState = "changed"  // pinned, and the last listing differs
	ToolAbsent      ToolState = "absent"   // pinned, and gone from the last listing
	ToolQuarantined ToolState = "quarantined"
	ToolBlocked     ToolState = "blocked"
	ToolRetired     ToolState = "retired"
)

// Tool is one tool of a server with its pin. Prompts, resources, templates and
// instructions are pinned as further definitions of the same table; NameOf says
// how their Name is told from a tool's.
type Tool struct {
	Server     string          `json:"server"`
	Name       string          `json:"name"` // unique in the server, see NameOf
	State      ToolState       `json:"state"`
	Class      ToolClass       `json:"class"`
	ClassBy    string          `json:"classBy,omitempty"`    // who set the class; "" is the proposal
	Pinned     json.RawMessage `json:"pinned,omitempty"`     // approved definition, raw bytes as received
	PinDigest  string          `json:"pinDigest,omitempty"`  // "sha256:…" of its canonical form
	PinRaw     string          `json:"pinRaw,omitempty"`     // "sha256:…" of its raw bytes
	Seen       json.RawMessage `json:"seen,omitempty"`       // last definition listed, raw bytes
	SeenDigest string          `json:"seenDigest,omitempty"` // of its canonical form
	ApprovedBy string          `json:"approvedBy,omitempty"`
	ApprovedAt time.Time       `json:"approvedAt,omitzero"`
	Found      *Inspection     `json:"found,omitempty"`    // in what was last listed, nil if it was not inspected
	Accepted   []Finding       `json:"accepted,omitempty"` // what whoever approved the pin was shown
	Drift      *Drift          `json:"drift,omitempty"`    // from the pin to what was last listed, nil if they are the same
	Returns    int             `json:"returns,omitempty"`  // how often a stopped change was taken back since the approval
	FirstSeen  time.Time       `json:"firstSeen"`
	LastSeen   time.Time       `json:"lastSeen"` // of the last listing that changed this row
	// LearnedFrom is since when a person has what is usual of the tool learned anew,
	// zero for since its approval.
	LearnedFrom time.Time `json:"learnedFrom,omitzero"`
}

// Team is a group of people who may own things and approve together.
type Team struct {
	ID      string   `json:"id"`
	Members []string `json:"members,omitempty"` // ids of users, or of people an identity provider knows
}

// Content is everything the registry holds, as stored. Slices are sorted by id.
type Content struct {
	Generation uint64 // grows with every committed change of registry or policies
	Agents     []Agent
	Servers    []Server
	Tools      []Tool
	Teams      []Team
	Users      []User
}

// Store reads what the registry keeps. Writes go through admin's one commit.
type Store interface {
	// LoadRegistry returns everything in one consistent read.
	LoadRegistry(ctx context.Context) (Content, error)
	// Generation returns the newest committed generation, cheaply.
	Generation(ctx context.Context) (uint64, error)
}
