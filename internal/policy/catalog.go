package policy

import (
	"encoding/json"
	"time"

	"rutile/internal/access"
)

// Catalog is what a Set is compiled against: the approved part of the registry.
type Catalog struct {
	Servers    []ServerInfo
	Agents     []AgentInfo // only for warnings; nil means that agents are not known
	Tools      []ToolInfo
	AllowLists []AllowList
	// Entitlements are the rights agents may ask for.
	Entitlements []Entitlement
	// Groups are the teams and people that may be named as who must approve; only for
	// warnings, nil means that they are not known.
	Groups []string
	// Labels are those that data may have; only for warnings, nil means that they are
	// not known. Where Declared is set somebody says what labels there are, and one that
	// is not among them is an error of Check.
	Labels   []string
	Declared bool
	// Facts are what policies may read of the past.
	Facts []FactInfo
	// Ladder says what the baseline's rules about risk do: LadderEnforce, LadderShadow or LadderOff.
	Ladder string
}

// ServerInfo names a server.
type ServerInfo struct{ ID string }

// AgentInfo names an agent and its class.
type AgentInfo struct{ ID, Class string }

// ToolInfo is one approved definition of a server: a tool or a prompt.
type ToolInfo struct {
	Server, Name string
	Kind         access.Kind     // "" means a tool
	Classes      []string        // read, write, destroy, egress
	Tier         int             // only for tests that say none
	InputSchema  json.RawMessage // JSON Schema of a tool's arguments
}

func (t ToolInfo) action() string {
	r := access.Request{Server: t.Server, Kind: t.kind(), Target: t.Name}
	return r.Action()
}

func (t ToolInfo) kind() access.Kind {
	if t.Kind == "" {
		return access.KindTool
	}
	return t.Kind
}

// AllowList is the standing right of one agent: the tools of its manifest.
type AllowList struct {
	Agent    string
	Expires  time.Time // becomes context.grant.expiresAt
	Patterns []string  // "server/name" with "*", see ParsePattern
}

// Entitlement is a right that agents may ask for: without a grant a call of these
// tools asks for one, with a grant it passes (access.md 2.4).
type Entitlement struct {
	ID       string
	Agents   []string // ids
	Classes  []string // of agents
	Patterns []string // as those of an AllowList
	// Heirs and HeirClasses may use a part of a grant that was handed on to them, and
	// may ask for nothing.
	Heirs       []string
	HeirClasses []string
}
