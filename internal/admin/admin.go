// Package admin is every change an operator can make, authorised and recorded
// the same way.
//
// A change is planned against the current state, validated whole, recorded as
// evidence, committed in one transaction and then installed; it happens
// entirely or not at all. The command line, the API and the console all come
// through here. An Admin holds the state calls are decided on as one pointer:
// Current is never half of a change. Package admin reads no files but in
// ParseFiles, which the command line calls, and never holds a secret longer
// than it takes to hand it to the vault.
package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/notice"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/registry"
	"rutile/internal/signal"
	"rutile/internal/sink"
	"rutile/internal/webhook"
)

// Changes is one set of changes, committed together. A nil value in a map
// deletes the object.
type Changes struct {
	Base     uint64 // the generation the changes were planned on
	Agents   map[string]*registry.Agent
	Servers  map[string]*registry.Server
	Tools    map[ToolKey]*registry.Tool
	Teams    map[string]*registry.Team
	Users    map[string]*registry.User
	Policies map[string]*policy.Policy
	Rights   map[string]*grant.Entitlement
	Versions []Version // to be kept with the change, ascending
	Facts    map[string]*fact.Fact
	Sources  map[string]*credential.Source
	Webhooks map[string]*webhook.Webhook
	Sinks    map[string]*sink.Sink
	Signals  map[string]*signal.Source
	Mails    map[string]*notice.Mail
	Labels   map[string]*registry.Label
}

// ToolKey names a tool.
type ToolKey struct{ Server, Tool string }

// Store commits changes.
type Store interface {
	// Commit applies c in one transaction and returns the new generation. If the
	// stored generation is not c.Base it changes nothing and returns an
	// access.CodeConflict error.
	Commit(ctx context.Context, c Changes) (uint64, error)
	// LoadPolicies returns the stored policies sorted by id.
	LoadPolicies(ctx context.Context) ([]policy.Policy, error)
	// LoadEntitlements returns the stored entitlements sorted by id.
	LoadEntitlements(ctx context.Context) ([]grant.Entitlement, error)
	// Versions returns the versions below before (0: all), newest first and without
	// what they hold; Version returns one with it.
	Versions(ctx context.Context, before uint64, limit int) ([]Version, error)
	Version(ctx context.Context, n uint64) (v Version, ok bool, err error)
	// LoadFacts returns the stored facts sorted by id.
	LoadFacts(ctx context.Context) ([]fact.Fact, error)
	// LoadSources returns the declared credentials sorted by id.
	LoadSources(ctx context.Context) ([]credential.Source, error)
	// LoadWebhooks returns the declared webhooks sorted by id.
	LoadWebhooks(ctx context.Context) ([]webhook.Webhook, error)
	// LoadSinks returns the declared sinks sorted by id.
	LoadSinks(ctx context.Context) ([]sink.Sink, error)
	// LoadSignals returns the declared sources of signals sorted by id.
	LoadSignals(ctx context.Context) ([]signal.Source, error)
	// LoadMails returns the declared receivers of mail sorted by id.
	LoadMails(ctx context.Context) ([]notice.Mail, error)
	// LoadLabels returns the declared labels sorted by id.
	LoadLabels(ctx context.Context) ([]registry.Label, error)
	// Meta reads and SetMeta writes a small named value (node id, boot state).
	Meta(ctx context.Context, key string) (value string, ok bool, err error)
	SetMeta(ctx context.Context, key, value string) error
	// TokenUsed notes that a personal token was used; TokenUses says when each was.
	TokenUsed(ctx context.Context, id string, at time.Time) error
	TokenUses(ctx context.Context) (map[string]time.Time, error)
}

// Evidence is what admin needs of the log. Admin MUST NOT return before the
// leaf is durable.
type Evidence interface {
	Admin(ctx context.Context, a audit.Admin) (audit.Ref, error)
}

// Mode says when calls are observed instead of enforced.
type Mode string

// The modes. The zero value enforces.
const (
	ModeEnforce Mode = "enforce"
	ModeMonitor Mode = "monitor"
	// ModeBare monitors until an Agent, Server or Policy of a manifest stands in the
	// store: a gateway started with no configuration. What rutile wrap registered
	// is none: people look at what their clients do before they decide.
	ModeBare Mode = "bare"
)

func (m Mode) monitors(v *registry.View, policies []policy.Policy) bool {
	switch m {
	case ModeMonitor:
		return true
	case ModeBare:
		return len(policies) == 0 &&
			!slices.ContainsFunc(v.Agents(), func(a registry.Agent) bool { return !a.Wrapped }) &&
			!slices.ContainsFunc(v.Servers(), func(s registry.Server) bool { return !s.Wrapped })
	default:
		return false
	}
}

// Config configures an Admin. The zero value enforces.
type Config struct {
	// Node names this process among those that share the store.
	Node   string
	Mode   Mode
	Guards Guards // of the life of servers
	// Drift is DriftGraded (default) or DriftStrict.
	Drift string
	// Tier3 is SignAuto (default), SignPasskey or SignPerson.
	Tier3 string
	// Ladder says what the baseline's rules about risk do: policy.LadderEnforce (default),
	// LadderShadow or LadderOff.
	Ladder string
	// BreakGlass says the same of who breaks the glass.
	BreakGlass string
	// Operators is the address people use, as in https://gateway.example:7434.
	Operators string
}

// What may pass of changed definitions.
const (
	DriftGraded = "graded" // what needs nobody to look, with a record
	DriftStrict = "strict" // nothing: every change waits for a person
)

// Deps are the parts an Admin stands on. All are required.
type Deps struct {
	Store     Store
	Registry  registry.Store
	Evidence  Evidence
	Vault     Vault
	Authority Authority
	Now       func() time.Time
	// LastUse says when servers were used; nil where nobody knows.
	LastUse LastUse
	// Usage counts what was permitted; nil where nobody counts.
	Usage Usage
	// Resumed is told of an agent that a person lets go; nil where nobody is told.
	Resumed func(agent string)
}

// Current is the state calls are decided on: one generation, never half of a
// change.
type Current struct {
	View     *registry.View
	Set      *policy.Set
	Policies []policy.Policy // sorted by id
	Rights   map[string]grant.Entitlement
	Facts    map[string]fact.Fact
	Sources  map[string]credential.Source
	Webhooks map[string]webhook.Webhook
	Sinks    map[string]sink.Sink
	Signals  map[string]signal.Source
	Mails    map[string]notice.Mail
	Labels   map[string]registry.Label
	Monitor  bool   // observe, do not enforce
	Ladder   string // what the baseline's rules about risk do
}

func (c *Current) policy(id string) (policy.Policy, bool) {
	i, ok := slices.BinarySearchFunc(c.Policies, id, func(p policy.Policy, id string) int { return compare(p.ID, id) })
	if !ok {
		return policy.Policy{}, false
	}
	return c.Policies[i], true
}

// deciding is what people's part in requests is decided on.
func (a *Admin) deciding(cur *Current) *pdp.State {
	return &pdp.State{View: cur.View, Set: cur.Set, Entitlements: cur.Rights, Answer: a.answer}
}

// Admin makes changes. It is safe for concurrent use.
type Admin struct {
	cfg       Config
	store     Store
	registry  registry.Store
	evidence  Evidence
	vault     Vault
	authority Authority
	clock     func() time.Time
	lastUse   LastUse
	usage     Usage
	resumed   func(agent string)
	office    *policy.Office
	answer    []registry.Role // of whom may answer requests
	inspect   *inspection

	current atomic.Pointer[Current]

	mu        sync.Mutex // serialises writers
	unsettled bool       // a change may be recorded and not committed

	usesMu sync.Mutex
	uses   map[string]time.Time // personal token → the use last noted
}

// New loads the state and settles a change that a crash interrupted.
func New(ctx context.Context, cfg Config, d Deps) (*Admin, error) {
	if d.Store == nil || d.Registry == nil || d.Evidence == nil || d.Vault == nil || d.Authority == nil || d.Now == nil {
		return nil, errors.New("admin: a dependency is missing")
	}
	switch cfg.Mode {
	case "", ModeEnforce, ModeMonitor, ModeBare:
	default:
		return nil, access.Errorf(access.CodeInvalid, "mode %q is unknown: use enforce or monitor", string(cfg.Mode))
	}
	switch cfg.Drift {
	case "", DriftGraded, DriftStrict:
	default:
		return nil, access.Errorf(access.CodeInvalid, "drift %q is unknown: use graded or strict", cfg.Drift)
	}
	switch cfg.Guards {
	case "", GuardsWarn, GuardsEnforce:
	default:
		return nil, access.Errorf(access.CodeInvalid, "guards %q are unknown: use warn or enforce", string(cfg.Guards))
	}
	switch cfg.Ladder {
	case "", policy.LadderEnforce, policy.LadderShadow, policy.LadderOff:
	default:
		return nil, access.Errorf(access.CodeInvalid, "ladder %q is unknown: use enforce, shadow or off", cfg.Ladder)
	}
	office, err := newOffice()
	if err != nil {
		return nil, err
	}
	inspection, err := newInspection(cfg.Drift == DriftStrict)
	if err != nil {
		return nil, err
	}
	a := &Admin{cfg: cfg, inspect: inspection, store: d.Store, registry: d.Registry, evidence: d.Evidence, vault: d.Vault, authority: d.Authority, clock: d.Now, lastUse: d.LastUse, usage: d.Usage, resumed: d.Resumed, office: office, answer: answerers(office), unsettled: true, uses: map[string]time.Time{}}
	if err := a.refresh(ctx); err != nil {
		return nil, fmt.Errorf("loading the state: %w", err)
	}
	if err := a.settle(ctx); err != nil {
		return nil, err
	}
	if err := a.bindEarlier(ctx); err != nil {
		return nil, fmt.Errorf("binding the credentials of an earlier version to origins: %w", err)
	}
	return a, nil
}

// Current returns the state to decide on. It MUST NOT be changed.
func (a *Admin) Current() *Current { return a.current.Load() }

// Refresh installs what another node committed. On error the state stands as it
// was; the caller decides how long it may still be used.
func (a *Admin) Refresh(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refresh(ctx)
}

// now is the time changes carry: what every store keeps exactly.
func (a *Admin) now() time.Time { return a.clock().UTC().Truncate(time.Millisecond) }

// Actor is who asks for a change: never an agent.
type Actor struct {
	Kind string // user, local, signal, system
	ID   string // name, uid of a local user or id of a source of signals; "" for system
	// Host says that the edge has seen what only the gateway's keeper has: the
	// operator token, or the account of root or of the gateway itself. It is an
	// admin's right besides what the registry says of the user.
	Host bool
	// Token is the id of the personal token the actor came with, "" for none.
	Token string
	// Account is what made the edge take the actor for a user, zero if nothing of
	// the kind did.
	Account Account
	// Factor is the id of what the actor signed in to the console with, "" where that
	// was no factor of theirs.
	Factor string
	// Subject is who an identity provider said the actor is, zero where none did.
	Subject registry.ProviderSubject
	// Since is when the actor proved at the console who they are, zero elsewhere.
	Since time.Time
}

// Account is an account of the gateway's machine: its uid in decimal and its
// name, "" where the system knows none.
type Account struct{ UID, Name string }

const system = "system"

// System is the actor of what the gateway does by itself.
func System() Actor { return Actor{Kind: system} }

// String returns "user:NAME", "local:UID" or "system".
func (a Actor) String() string {
	if a.Kind == system {
		return system
	}
	return a.Kind + ":" + a.ID
}

func (a Actor) valid() error {
	switch {
	case a.Kind == system && a.ID == "":
	case (a.Kind == "user" || a.Kind == "local" || a.Kind == signalActor) && a.ID != "" && len(a.ID) <= 256 && !strings.ContainsFunc(a.ID, hidden):
	default:
		return access.Errorf(access.CodeUnauthenticated, "nobody is known to ask for this change: sign in")
	}
	return nil
}

// digest returns "sha256:…" over the JSON of v.
func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "" // only for values with members no JSON can hold: none of ours
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func compare(a, b string) int { return strings.Compare(a, b) }
