package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/notice"
	"rutile/internal/policy"
	"rutile/internal/registry"
	"rutile/internal/signal"
	"rutile/internal/sink"
	"rutile/internal/webhook"
)

var (
	day = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	// ann keeps the gateway: she may do everything without being registered.
	ann = admin.Actor{Kind: "user", ID: "ann", Host: true}
)

// memory is a Store and a registry.Store in memory, with faults on demand.
type memory struct {
	mu       sync.Mutex
	gen      uint64
	agents   map[string]registry.Agent
	servers  map[string]registry.Server
	tools    map[admin.ToolKey]registry.Tool
	teams    map[string]registry.Team
	users    map[string]registry.User
	used     map[string]time.Time
	policies map[string]policy.Policy
	rights   map[string]grant.Entitlement
	facts    map[string]fact.Fact
	sources  map[string]credential.Source
	webhooks map[string]webhook.Webhook
	sinks    map[string]sink.Sink
	signals  map[string]signal.Source
	mails    map[string]notice.Mail
	labels   map[string]registry.Label
	meta     map[string]string
	versions []admin.Version
	commits  int

	beforeCommit func() error // an error refuses the commit
	afterCommit  error        // returned although the commit took effect
	down         bool         // nothing answers
}

var errDown = errors.New("the store is down")

func newMemory() *memory {
	return &memory{
		agents: map[string]registry.Agent{}, servers: map[string]registry.Server{}, tools: map[admin.ToolKey]registry.Tool{},
		teams: map[string]registry.Team{}, users: map[string]registry.User{}, used: map[string]time.Time{}, policies: map[string]policy.Policy{}, rights: map[string]grant.Entitlement{}, facts: map[string]fact.Fact{}, sources: map[string]credential.Source{}, webhooks: map[string]webhook.Webhook{}, sinks: map[string]sink.Sink{}, signals: map[string]signal.Source{}, mails: map[string]notice.Mail{}, labels: map[string]registry.Label{}, meta: map[string]string{},
	}
}

func (m *memory) LoadRegistry(context.Context) (registry.Content, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return registry.Content{}, errDown
	}
	return through(registry.Content{
		Generation: m.gen, Agents: values(m.agents), Servers: values(m.servers), Tools: values(m.tools), Teams: values(m.teams), Users: values(m.users),
	}), nil
}

// through makes what is loaded share nothing with what was committed, and be
// what a store that keeps JSON returns.
func through[T any](v T) T {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}

func values[K comparable, V any](m map[K]V) []V { return slices.Collect(maps.Values(m)) }

func (m *memory) Generation(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return 0, errDown
	}
	return m.gen, nil
}

func (m *memory) LoadPolicies(context.Context) ([]policy.Policy, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	return values(m.policies), nil
}

func (m *memory) LoadEntitlements(context.Context) ([]grant.Entitlement, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return through(values(m.rights)), nil
}

func (m *memory) LoadFacts(context.Context) ([]fact.Fact, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return through(values(m.facts)), nil
}

func (m *memory) LoadSources(context.Context) ([]credential.Source, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return values(m.sources), nil
}

func (m *memory) LoadSinks(context.Context) ([]sink.Sink, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return values(m.sinks), nil
}

func (m *memory) LoadSignals(context.Context) ([]signal.Source, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return values(m.signals), nil
}

func (m *memory) LoadMails(context.Context) ([]notice.Mail, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return values(m.mails), nil
}

func (m *memory) LoadLabels(context.Context) ([]registry.Label, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return values(m.labels), nil
}

func (m *memory) LoadWebhooks(context.Context) ([]webhook.Webhook, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return values(m.webhooks), nil
}

func (m *memory) Meta(_ context.Context, key string) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.meta[key]
	return v, ok, nil
}

func (m *memory) SetMeta(_ context.Context, key, value string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errDown
	}
	m.meta[key] = value
	return nil
}

func (m *memory) Versions(_ context.Context, before uint64, limit int) ([]admin.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []admin.Version
	for _, v := range slices.Backward(m.versions) {
		if (before == 0 || v.N < before) && len(out) < limit {
			v.Rules = nil
			out = append(out, v)
		}
	}
	return through(out), nil
}

func (m *memory) Version(_ context.Context, n uint64) (admin.Version, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.versions, func(v admin.Version) bool { return v.N == n })
	if i < 0 {
		return admin.Version{}, false, nil
	}
	return through(m.versions[i]), true, nil
}

func (m *memory) TokenUsed(_ context.Context, id string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errDown
	}
	m.used[id] = at
	return nil
}

func (m *memory) TokenUses(context.Context) (map[string]time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.used), nil
}

func (m *memory) Commit(ctx context.Context, c admin.Changes) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if m.beforeCommit != nil {
		if err := m.beforeCommit(); err != nil {
			return 0, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Base != m.gen {
		return 0, access.Errorf(access.CodeConflict, "the registry is at generation %d, not %d", m.gen, c.Base)
	}
	put(m.agents, c.Agents)
	put(m.servers, c.Servers)
	put(m.tools, c.Tools)
	put(m.teams, c.Teams)
	put(m.users, c.Users)
	put(m.policies, c.Policies)
	put(m.rights, c.Rights)
	m.versions = append(m.versions, through(c.Versions)...)
	put(m.facts, c.Facts)
	put(m.sources, c.Sources)
	put(m.webhooks, c.Webhooks)
	put(m.sinks, c.Sinks)
	put(m.signals, c.Signals)
	put(m.mails, c.Mails)
	put(m.labels, c.Labels)
	m.gen++
	m.commits++
	return m.gen, m.afterCommit
}

func put[K comparable, V any](into map[K]V, changes map[K]*V) {
	for k, v := range changes {
		if v == nil {
			delete(into, k)
		} else {
			into[k] = *v
		}
	}
}

// evidence collects admin leaves.
type evidence struct {
	mu     sync.Mutex
	leaves []audit.Admin
	fail   func(audit.Admin) error
}

func (e *evidence) Admin(ctx context.Context, a audit.Admin) (audit.Ref, error) {
	if err := ctx.Err(); err != nil {
		return audit.Ref{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail != nil {
		if err := e.fail(a); err != nil {
			return audit.Ref{}, err
		}
	}
	e.leaves = append(e.leaves, a)
	return audit.Ref{Index: uint64(len(e.leaves) - 1)}, nil
}

// said returns "verb kind object" of every leaf.
func (e *evidence) said() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]string, len(e.leaves))
	for i, l := range e.leaves {
		out[i] = l.Verb + " " + l.Kind + " " + l.Object
		if l.Verb == "void" && l.Kind == "change" {
			out[i] = "void"
		}
	}
	return out
}

// vault is a Vault that keeps values in clear.
type vault struct {
	values map[string]string
	list   map[string]credential.Secret
	err    error
	mu     sync.Mutex
	ended  []string
	used   map[string]credential.Use
}

func (v *vault) Set(_ context.Context, s credential.Secret, value []byte) (credential.Secret, error) {
	if v.err != nil {
		return credential.Secret{}, v.err
	}
	s.Version = 1
	v.values[s.ID], v.list[s.ID] = string(value), s
	return s, nil
}

func (v *vault) Rotate(_ context.Context, id string, value []byte) (credential.Secret, error) {
	if v.err != nil {
		return credential.Secret{}, v.err
	}
	s := v.list[id]
	s.Version++
	v.values[id], v.list[id] = string(value), s
	return s, nil
}

func (v *vault) Remove(_ context.Context, id string) (bool, error) {
	_, ok := v.list[id]
	delete(v.list, id)
	return ok, v.err
}

func (v *vault) End(_ context.Context, s credential.Source, by string) credential.Ended {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = append(v.ended, s.ID+" "+strings.Join(s.Origins, " ")+" "+by)
	return credential.Ended{Revoked: 2, Left: []string{"one"}}
}

func (v *vault) Guessable(_ context.Context, id string) (bool, error) {
	return credential.Guessable([]byte(v.values[id])), v.err
}

func (v *vault) Used(context.Context) (map[string]credential.Use, error) { return v.used, v.err }

func (v *vault) Rewrap(context.Context) (int, error) { return len(v.list), v.err }

func (v *vault) List(context.Context) ([]credential.Secret, error) { return values(v.list), nil }

// authority issues tokens that say what was asked.
type authority struct {
	issued []admin.TokenRequest
	err    error
}

func (a *authority) DevelopmentToken(_ context.Context, r admin.TokenRequest) (identity.Token, error) {
	if a.err != nil {
		return identity.Token{}, a.err
	}
	a.issued = append(a.issued, r)
	return identity.Token{ID: "tok"}, nil
}

// office is an Admin with everything around it.
type office struct {
	*admin.Admin
	t         testing.TB
	store     *memory
	evidence  *evidence
	vault     *vault
	authority *authority
}

// open is an office where every change of a definition waits for a person, which
// is what most tests are about; graded is one with the default.
func open(t *testing.T) *office {
	t.Helper()
	return reopen(t, newMemory(), &evidence{}, admin.ModeEnforce)
}

func graded(t *testing.T, m *memory) *office {
	t.Helper()
	return opened(t, m, &evidence{}, admin.Config{Node: "n1", Mode: admin.ModeEnforce})
}

func reopen(t testing.TB, m *memory, e *evidence, mode admin.Mode) *office {
	t.Helper()
	return opened(t, m, e, admin.Config{Node: "n1", Mode: mode, Drift: admin.DriftStrict})
}

func opened(t testing.TB, m *memory, e *evidence, c admin.Config) *office {
	t.Helper()
	o := &office{t: t, store: m, evidence: e, vault: &vault{values: map[string]string{}, list: map[string]credential.Secret{}}, authority: &authority{}}
	a, err := admin.New(t.Context(), c, o.deps())
	if err != nil {
		t.Fatal(err)
	}
	o.Admin = a
	return o
}

func (o *office) deps() admin.Deps {
	return admin.Deps{Store: o.store, Registry: o.store, Evidence: o.evidence, Vault: o.vault, Authority: o.authority, Now: func() time.Time { return day },
		Usage: func(context.Context, time.Time) (audit.Usage, error) { return audit.Usage{}, nil }}
}

func doc(text string) []admin.Document { return []admin.Document{{File: "m.yaml", Text: text}} }

// apply applies text and fails the test if it is refused.
func (o *office) apply(text string) admin.Plan {
	o.t.Helper()
	p, err := o.Apply(o.t.Context(), ann, doc(text), false)
	if err != nil {
		o.t.Fatalf("applying: %v", err)
	}
	return p
}

func (o *office) export() string {
	o.t.Helper()
	b, err := o.Export(o.t.Context())
	if err != nil {
		o.t.Fatalf("exporting: %v", err)
	}
	return string(b)
}

// listing observes tools of a server given as name and description.
func (o *office) listing(server string, pairs ...string) []registry.Change {
	o.t.Helper()
	c, err := o.Observe(o.t.Context(), server, listing(pairs...))
	if err != nil {
		o.t.Fatalf("observing: %v", err)
	}
	return c
}

func listing(pairs ...string) registry.Listing {
	var l registry.Listing
	for i := 0; i < len(pairs); i += 2 {
		b, err := json.Marshal(map[string]any{"name": pairs[i], "description": pairs[i+1], "inputSchema": map[string]any{"type": "object", "properties": map[string]any{"tag": map[string]any{"type": "string"}}}})
		if err != nil {
			panic(err)
		}
		l.Definitions = append(l.Definitions, registry.Definition{Name: pairs[i], Raw: b})
	}
	return l
}

func (o *office) state(server, tool string) registry.ToolState {
	t, _ := o.Current().View.Tool(server, tool)
	return t.State
}

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func hasCode(t *testing.T, what string, err error, code access.Code, words ...string) {
	t.Helper()
	if access.CodeOf(err) != code {
		t.Errorf("%s: code %q, want %q: %v", what, access.CodeOf(err), code, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q is not in: %v", what, w, err)
		}
	}
}

const filesServer = `kind: Server
id: files
owner: team-platform
transport: {stdio: {command: npx, args: ["-y", "@modelcontextprotocol/server-filesystem@1.2.3", "/srv/docs"]}}
state: sanctioned
`
