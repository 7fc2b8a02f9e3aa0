package policy

import (
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Query is one question put to a Set: the request with the facts about it.
type Query struct {
	Agent     AgentFacts
	Tool      ToolFacts
	Server    ServerFacts
	Action    string // "server/tool", see access.Request.Action
	Target    string // as in access.Request; the URI of a resource
	Method    string
	Subject   access.Subject
	Session   SessionFacts
	Grant     *GrantFacts
	Arguments rawjson.Value   // becomes context.input
	Unknown   bool            // arguments unknown: partial evaluation
	Whoever   bool            // person and session unknown too: what reads them is undecided
	Facts     *access.Facts   // becomes context.facts; nil: unknown
	Touched   *access.Touched // of the session; nil: unknown
	Risk      *access.Risk    // nil: 0
	Now       time.Time
	Output    *OutputFacts // what came back, at release; nil before
	Masked    []string     // ids of the rules whose masks have been applied
}

// OutputFacts is context.output.
type OutputFacts struct {
	Labels   []string
	Findings []string
	Bytes    int
}

// AgentFacts are the attributes of the principal.
type AgentFacts struct {
	ID, Owner, Class, Runtime, Model, Status string
	Tier                                     int
	Attested                                 bool
	DataScopes                               []string
}

// ToolFacts are the attributes of the resource.
type ToolFacts struct {
	Server, Name, Digest string
	Kind                 access.Kind
	Classes              []string // action groups: read, write, destroy, egress
	Tier                 int
	Pinned               bool
	Labels               []string
}

// ServerFacts are the attributes of the resource's parent.
type ServerFacts struct {
	ID, Owner, State string
}

// SessionFacts is context.session.
type SessionFacts struct {
	ID, Task  string
	Depth     int
	Bound     bool
	StartedAt time.Time
}

// GrantFacts is context.grant.
type GrantFacts struct {
	ID        string
	Remaining int64
	ExpiresAt time.Time
	Quorum    int
	ArgsBound bool
	Depth     int    // how many times it was handed on
	From      string // the session that handed it on; no policy reads it
}

// Verdict is what a Set answers. The zero value denies.
type Verdict struct {
	Outcome access.Outcome
	Permits []string         // ids of permits that matched
	Forbids []string         // ids of forbids that matched
	Asks    []string         // those of them that ask for an approval
	Limits  []access.Limit   // those that hold the call to a fact
	Masks   []access.Masking // those that want parts masked
	Met     []string         // those whose masks have been applied; they forbid no more
	// Consequences are those of all that matched, strongest first.
	Consequences []access.Consequence
	Errors       []string // ids of policies whose evaluation erred
	Lacking      []string // why facts cannot be computed that the erring policies read
	Advice       []string // @advice of the matching forbids, for the reader
	// ReadsOutput says that some policy about the request reads context.output, besides
	// the baseline's, which cannot match where nothing was found.
	ReadsOutput bool
	// ReadsData says that one asks what is secret or personal in what came back.
	ReadsData bool
	// Maybe says, for unknown arguments, that some arguments would be permitted.
	Maybe bool
	// Open are the ids of permits that may match, for what is unknown.
	Open []string
}
