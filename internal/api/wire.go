package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/conduct"
	"rutile/internal/confine"
	"rutile/internal/credential"
	"rutile/internal/registry"
)

// Page is a part of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	More  int    `json:"more"`             // how many follow; -1 if that is not counted
	Next  string `json:"cursor,omitempty"` // names the next page, "" at the end
}

// Bounds of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// paged cuts the page of a sorted list that follows cursor.
func paged[T any](all []T, key func(T) string, cursor string, limit int) (Page[T], error) {
	if limit == 0 {
		limit = defaultLimit
	}
	if limit < 1 || limit > maxLimit {
		return Page[T]{}, access.Errorf(access.CodeInvalid, "limit must be between 1 and %d", maxLimit)
	}
	start := 0
	for cursor != "" && start < len(all) && key(all[start]) <= cursor {
		start++
	}
	end := min(start+limit, len(all))
	p := Page[T]{Items: append([]T{}, all[start:end]...), More: len(all) - end}
	if p.More > 0 {
		p.Next = key(all[end-1])
	}
	return p, nil
}

// Agent is an agent as the registry keeps it and the state that counts now.
type Agent struct {
	registry.Agent
	Status   registry.AgentState `json:"status"`             // state, or expired
	Orphaned string              `json:"orphaned,omitempty"` // why nobody answers for it
}

// Server is a server as the registry keeps it.
type Server struct {
	registry.Server
	Callable bool           `json:"callable"`
	Why      string         `json:"why,omitempty"`      // it is not
	Orphaned string         `json:"orphaned,omitempty"` // why nobody answers for it
	Tools    map[string]int `json:"tools,omitempty"`    // definitions by state
	// Risk is where its risk tier comes from, and Checklist what stands against
	// sanctioning it, or against retiring it once it is deprecated. Lists leave
	// both out.
	Risk      *admin.Risk   `json:"risk,omitempty"`
	Checklist []admin.Unmet `json:"checklist,omitempty"`
	// Findings are the listed definitions in which something was found, worst first.
	// Lists leave them out.
	Findings []ToolFindings `json:"findings,omitempty"`
	// Process is how the processes of a stdio server fare. Lists leave it out.
	Process *Process `json:"process,omitempty"`
}

// ToolFindings is what was found in one listed definition.
type ToolFindings struct {
	Kind     registry.Kind      `json:"kind"`
	Name     string             `json:"name"`
	State    registry.ToolState `json:"state"`
	Tier     string             `json:"tier"`
	Findings []registry.Finding `json:"findings"`
}

// Process is how the processes of a server fare and what holds them.
type Process struct {
	State    string         `json:"state"` // idle, running or waiting (for the next try)
	Running  int            `json:"running"`
	Starts   int            `json:"starts"`             // since the gateway started or the entry changed
	Failed   int            `json:"failed,omitempty"`   // starts in a row
	Crashes  int            `json:"crashes,omitempty"`  // ends nobody wanted within a minute
	LastExit string         `json:"lastExit,omitempty"` // why the last one ended by itself or did not start
	LastAt   time.Time      `json:"lastAt,omitzero"`
	NextTry  time.Time      `json:"nextTry,omitzero"`
	Confined bool           `json:"confined"` // false: the manifest says confine: off
	Holds    confine.Report `json:"holds"`    // measures in force, and those this machine lacks
}

// Tool is one definition of a server. List leaves out the definitions.
type Tool struct {
	Server     string             `json:"server"`
	Kind       registry.Kind      `json:"kind"`
	Name       string             `json:"name"` // as the server calls it
	State      registry.ToolState `json:"state"`
	Callable   bool               `json:"callable"`
	Why        string             `json:"why,omitempty"` // it is not
	Class      registry.ToolClass `json:"class"`
	ClassBy    string             `json:"classBy,omitempty"`
	PinDigest  string             `json:"pinDigest,omitempty"`
	SeenDigest string             `json:"seenDigest,omitempty"`
	ApprovedBy string             `json:"approvedBy,omitempty"`
	ApprovedAt time.Time          `json:"approvedAt,omitzero"`
	FirstSeen  time.Time          `json:"firstSeen"`
	LastSeen   time.Time          `json:"lastSeen"`
	// Tier is what the findings in the listed definition call for: review, block or
	// nothing. Accepted are those of the approved one that whoever approved it saw.
	Tier     string             `json:"tier,omitempty"`
	Findings []registry.Finding `json:"findings,omitempty"`
	Accepted []registry.Finding `json:"accepted,omitempty"`
	Drift    *registry.Drift    `json:"drift,omitempty"` // from the approved definition to the listed one
	Pinned   json.RawMessage    `json:"pinned,omitempty"`
	Seen     json.RawMessage    `json:"seen,omitempty"`
	// Conduct is how the tool behaved on this node, when one is shown.
	Conduct *conduct.Summary `json:"conduct,omitempty"`
}

// Applied is what an apply did, or would do.
type Applied struct {
	admin.Plan
	// Warnings name servers whose tools could not be listed yet.
	Warnings []Warning `json:"warnings,omitempty"`
}

// Warning is something that did not work and stops nothing.
type Warning struct {
	Server  string `json:"server"`
	Message string `json:"message"`
}

// Sealed is a credential that was sealed, without its value.
type Sealed struct {
	credential.Secret
	// Warnings name servers that wait for it and could not list their tools yet.
	Warnings []Warning `json:"warnings,omitempty"`
}

// ServerChange is a server after a change.
type ServerChange struct {
	Server
	Warnings []Warning `json:"warnings,omitempty"`
}

// Manifests is what apply and diff are given.
type Manifests struct {
	Documents []admin.Document `json:"documents"`
}

// Reason is why something is changed.
type Reason struct {
	Reason string `json:"reason,omitempty"`
}

// DenySpec is a no to a request.
type DenySpec struct {
	Reason string `json:"reason,omitempty"`
	// SuspendAgent suspends the agent that asks besides. Whoever may not do both does
	// neither.
	SuspendAgent bool `json:"suspendAgent,omitempty"`
}

// ToolChange names a definition and what is to happen to it.
type ToolChange struct {
	Kind   registry.Kind       `json:"kind,omitempty"` // default tool
	Name   string              `json:"name"`
	Digest string              `json:"digest,omitempty"` // for approve: what was reviewed
	Class  *registry.ToolClass `json:"class,omitempty"`
	Reason string              `json:"reason,omitempty"`
}

// TokenSpec says what a development token is for.
type TokenSpec struct {
	Server  string `json:"server,omitempty"`
	A2A     string `json:"a2a,omitempty"`
	Subject string `json:"subject,omitempty"`
	Task    string `json:"task,omitempty"`
	Seconds int    `json:"seconds,omitempty"` // default 300
}

// InviteSpec says how long an enrollment code lives.
type InviteSpec struct {
	Seconds int `json:"seconds,omitempty"` // default 600
}

// UnenrollSpec says which enrolled keys go.
type UnenrollSpec struct {
	Key    string `json:"key,omitempty"` // start of its id; "" is all
	Reason string `json:"reason,omitempty"`
}

// Token is an issued development token.
type Token struct {
	Token    string    `json:"token"`
	ID       string    `json:"id"`
	Agent    string    `json:"agent"`
	Resource string    `json:"resource"`
	Session  string    `json:"session"`
	Expires  time.Time `json:"expires"`
}

// Disconnected says that a link is gone here. Left is what could not be revoked at
// its authorization server, "" if nothing.
type Disconnected struct {
	Done bool   `json:"done"`
	Left string `json:"left,omitempty"`
}

// ShownCredential is one credential, and what people connected with it.
type ShownCredential struct {
	admin.Credential
	Links int `json:"links,omitempty"`
	// Callbacks are the redirect addresses to register a client of one's own with,
	// where people connect: with the address of its issuer alone where the issuer does
	// not say who it is in its answers (RFC 9207).
	Callbacks []string `json:"callbacks,omitempty"`
}

// RemovedCredential says what of a removed credential could be revoked.
type RemovedCredential struct {
	Done bool `json:"done"`
	credential.Ended
}

// CredentialSpec is a credential on its way in. Value goes to the vault only.
type CredentialSpec struct {
	Servers []string `json:"servers,omitempty"`
	Origins []string `json:"origins,omitempty"`
	MaxTier *int     `json:"maxTier,omitempty"` // default 3
	Value   []byte   `json:"value"`             // base64
}

// Export is the state as manifests.
type Export struct {
	Manifests string `json:"manifests"`
}

// Done answers what has nothing else to say.
type Done struct {
	Done bool `json:"done"`
}

// Status is what the gateway says about itself.
type Status struct {
	Version    string    `json:"version"`
	Node       string    `json:"node"`
	PID        int       `json:"pid"`
	Started    time.Time `json:"started"`
	Mode       string    `json:"mode"` // enforce or monitor
	Agents     string    `json:"agents"`
	Operators  string    `json:"operators"`
	Data       string    `json:"data"`
	Store      string    `json:"store"` // sqlite or postgres
	Generation uint64    `json:"generation"`
	Evidence   uint64    `json:"evidence"` // durable leaves
}

// Level says how a check ended.
type Level string

// The levels.
const (
	LevelOK      Level = "ok"
	LevelWarning Level = "warning"
	LevelBroken  Level = "broken"
)

// Check is one thing doctor looked at.
type Check struct {
	Name   string `json:"name"`
	Level  Level  `json:"level"`
	Reason string `json:"reason"`
	Mend   string `json:"mend,omitempty"` // command or step that mends it
}

// Checks are what doctor found.
type Checks struct {
	Checks []Check `json:"checks"`
}

// decodeJSON decodes one document without unknown members into v.
func decodeJSON(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return errors.New("member " + typ.Field + " is not a " + typ.Type.String())
		}
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the document")
	}
	return nil
}
