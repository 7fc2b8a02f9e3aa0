package browsertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/daemon"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/registry"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// crowded is more than a page of a list shows.
const crowded = 52

// crowd is one of each sort there is, by its number.
const crowd = `kind: Agent
id: crowd-NN
owner: team-dev
purpose: be many
riskTier: 1
---
kind: Server
id: crowd-NN
owner: team-dev
transport: {http: {url: "http://127.0.0.1:1"}}
---
kind: Team
id: crowd-NN
members: [ann]
---
kind: User
id: crowd-NN
roles: [viewer]
---
kind: Policy
id: crowd-NN
cedar: |
  forbid (principal, action == Mcp::Action::"crowd-NN/x", resource);
---
kind: Entitlement
id: crowd-NN
owner: team-dev
agents: [crowd-NN]
tools: ["shop/order"]
`

// seeded has a gateway begin with what write puts into its database.
func seeded(t *testing.T, write func(s *store.Store) error) func(*daemon.Config) {
	t.Helper()
	dir := storetest.Dir(t)
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := write(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return func(c *daemon.Config) { c.Data = dir }
}

// newCrowd is a rig whose every list goes on after its first page.
func newCrowd(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, seeded(t, func(s *store.Store) error { return past(t.Context(), s) }))
	var text []string
	for i := range crowded {
		text = append(text, strings.ReplaceAll(crowd, "NN", fmt.Sprintf("%02d", i)))
	}
	wide := mcp.NewServer(&mcp.Implementation{Name: "wide", Version: "1"}, nil)
	for i := range crowded {
		wide.AddTool(&mcp.Tool{Name: fmt.Sprintf("tool-%02d", i), InputSchema: json.RawMessage(`{"type":"object"}`)},
			func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				return &mcp.CallToolResult{}, nil
			})
	}
	up := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return wide }, &mcp.StreamableHTTPOptions{Stateless: true}))
	t.Cleanup(up.Close)
	r.apply(strings.Join(text, "---\n") + "---\nkind: Agent\nid: wide-bot\nowner: team-dev\npurpose: reach far\ntools: [\"wide/*\"]\n---\nkind: Server\nid: wide\nowner: team-dev\nstate: sanctioned\ntransport: {http: {url: \"" + up.URL + "\"}}\n")
	if err := r.d.Proxy.Learn(t.Context(), "wide"); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	for i := range crowded {
		id := fmt.Sprintf("crowd-%02d", i)
		if _, err := r.d.Admin.SetCredential(t.Context(), keeper, credential.Secret{ID: id}, []byte("secret-enough")); err != nil {
			t.Fatal(err)
		}
		if _, err := r.d.Effects.Revoke(t.Context(), keeper, admin.Order{Kind: "agent", ID: id}); err != nil {
			t.Fatal(err)
		}
		place := discovery.Place{Path: "~/.cursor/mcp.json", Pointer: "/mcpServers/" + id}
		key := "pkg:npm/" + id
		seen := discovery.Sighting{Source: "client", User: "usr_0123456789ab", Fact: discovery.Configured, Strength: 0.9, Clients: []string{"cursor"}, Place: place, Name: id,
			Target:  discovery.Target{Key: key, Kind: discovery.KindPackage, Package: key, Command: "npx", Args: []string{"-y", id}},
			Secrets: []discovery.SecretRef{{Name: "TOKEN", Where: "env", Kind: discovery.SecretLiteral, Sensitive: true}}}
		b := inventory.NewBatch(&discovery.Seen{Started: now, Ended: now, Sightings: []discovery.Sighting{seen}}, fmt.Sprintf("hst_%012d", i+1), "linux", "test", []string{"client"})
		if _, err := r.d.Inventory.Report(t.Context(), keeper, b); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// past has sessions, requests, grants and tasks that are over.
func past(ctx context.Context, s *store.Store) error {
	now := time.Now().UTC()
	party, target := grant.Party{Agent: "release-bot"}, grant.Target{Server: "shop", Kind: access.KindTool, Name: "order", Tier: 1}
	var b grant.Batch
	for range crowded {
		f := identity.Family{ID: access.NewID(access.PrefixSession), Agent: "release-bot", Proof: access.NewID("key_"), Source: "development", Opened: now, Last: now, Absolute: now.Add(time.Hour)}
		if _, err := s.JoinFamily(ctx, f, time.Hour); err != nil {
			return err
		}
		r := grant.Request{ID: access.NewID(access.PrefixRequest), State: grant.RequestDenied, Party: party, Target: target, Scope: grant.ScopeOnce, Created: now, Expires: now, Changed: now}
		copy(r.Identity[:], r.ID)
		b.Requests = append(b.Requests, r)
		b.Grants = append(b.Grants, grant.Grant{ID: access.NewID(access.PrefixGrant), State: grant.GrantRevoked, Party: party, Target: target, Scope: grant.ScopeTime, NotBefore: now, Expires: now, Created: now, Changed: now})
		b.Tasks = append(b.Tasks, grant.Task{ID: access.NewID("tsk_"), State: grant.TaskClosed, Party: party, Purpose: "be over", Opened: now, Expires: now, Changed: now})
	}
	return s.CommitGrants(ctx, b)
}

// aged is an agent that has been there for long and used less than it may.
const aged = "aged-bot"

// ages has the aged agent, and evidence of what it used.
func ages(ctx context.Context, s *store.Store) error {
	long, lately := time.Now().UTC().AddDate(0, 0, -100), time.Now().UTC().AddDate(0, 0, -20)
	generation, err := s.Generation(ctx)
	if err != nil {
		return err
	}
	a := registry.Agent{ID: aged, Owner: "team-dev", Purpose: "be old", RiskTier: 1, Expires: time.Now().UTC().AddDate(0, 1, 0), Tools: []string{"shop/look", "shop/slow"}, State: registry.AgentActive, Created: long, Changed: long}
	if _, err := s.Commit(ctx, admin.Changes{Base: generation, Agents: map[string]*registry.Agent{aged: &a}}); err != nil {
		return err
	}
	use := audit.Row{Type: "intent", Agent: aged, Server: "shop", Method: "tools/call", Tool: "look", Outcome: "permit", Intent: -1}
	first, last := use, use
	first.Index, first.LeafID, first.At = 1, "L1", long
	last.Index, last.LeafID, last.At = 2, "L2", lately
	return s.PutRows(ctx, "before", []audit.Row{first, last}, 3)
}
