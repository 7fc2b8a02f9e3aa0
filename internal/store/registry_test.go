package store_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/policy"
	"rutile/internal/registry"
	"rutile/internal/store"
)

const unicode = "Zoë 日本語 \U0001F9EA e\u0301 \u202e\ufffd <&>\\\"\x7f\u2028"

func agent(id string) *registry.Agent {
	return &registry.Agent{
		ID: id, Owner: "team-platform", Purpose: unicode, Runtime: "claude-code", Model: "any", Class: "release", RiskTier: 2, Expires: at(1000),
		Tools: []string{"github/list_*", "files/*"}, DataScopes: []string{"source:code"},
		Keys:  []json.RawMessage{json.RawMessage(`{ "kty":"OKP",  "crv":"Ed25519", "x":"<&>" }`)},
		State: registry.AgentSuspended, StateWhy: "holiday", Created: at(1), Changed: at(2),
	}
}

func server(id string) *registry.Server {
	return &registry.Server{
		ID: id, Owner: "team-dev",
		Transport:  registry.Transport{Stdio: &registry.Stdio{Command: "npx", Args: []string{"-y", unicode}, Env: map[string]string{"A": "b"}, Dir: "/srv"}},
		Credential: &registry.CredentialRef{Ref: "github-token", Header: "Authorization", Value: "Bearer {secret}"},
		DataScopes: []string{"source:docs"}, Classes: map[string]registry.ToolClass{"write_*": {Class: "write", Tier: 2}},
		Pinning: registry.PinningObserve, State: registry.ServerSanctioned, StateWhy: "applied", Era: "2026-07-28",
		Baseline: map[registry.Kind]time.Time{registry.KindTool: at(5)}, Created: at(3), Changed: at(4),
	}
}

func tool(server, name string) *registry.Tool {
	return &registry.Tool{
		Server: server, Name: name, State: registry.ToolChanged, Class: registry.ToolClass{Class: "read", Tier: 1},
		Pinned: json.RawMessage("{ \"name\" : \"<x>\",\n\t\"a\":1.0e0}"), PinDigest: "sha256:01", PinRaw: "sha256:02",
		Seen: json.RawMessage("{\"name\":\"x\\u0000\"}\n"), SeenDigest: "sha256:03", ApprovedBy: "user:ann", ApprovedAt: at(6), FirstSeen: at(7), LastSeen: at(8),
	}
}

func user(id string) *registry.User {
	return &registry.User{
		ID: id, Name: unicode, Email: "ann@example.com", Roles: []registry.Role{registry.RoleAdmin, registry.RoleViewer}, LocalUsers: []string{"1000", "ann"}, Expires: at(1000),
		Tokens: []registry.UserToken{{ID: "pat_" + id, Name: "ci", Hash: []byte{0, 0xff, 1}, Created: at(1), Expires: at(2), By: "user:bob"}},
		State:  registry.UserSuspended, StateWhy: "holiday", StateBy: "user:bob", Created: at(1), Changed: at(2),
	}
}

func everything() admin.Changes {
	bare := &registry.Tool{Server: "files", Name: "bare", State: registry.ToolPending}
	long := registry.NameOf(registry.KindResource, "file:///"+strings.Repeat("\u00e9\u4e2d", 800))
	return admin.Changes{
		Agents:  map[string]*registry.Agent{"release-bot": agent("release-bot"), "a-b": agent("a-b"), "a0": agent("a0")},
		Servers: map[string]*registry.Server{"files": server("files"), "empty": {ID: "empty", State: registry.ServerDiscovered}},
		Tools: map[admin.ToolKey]*registry.Tool{
			{Server: "files", Tool: "write_file"}: tool("files", "write_file"), {Server: "files", Tool: "bare"}: bare,
			{Server: "files", Tool: "B"}: tool("files", "B"), {Server: "files", Tool: long}: tool("files", long),
		},
		Teams:    map[string]*registry.Team{"team-platform": {ID: "team-platform", Members: []string{"ann", "bob"}}},
		Users:    map[string]*registry.User{"ann": user("ann"), "a0": user("a0"), "bare": {ID: "bare", State: registry.UserActive}},
		Policies: map[string]*policy.Policy{"p1": {ID: "p1", Cedar: "permit(principal, action, resource); // " + unicode, Layer: "team", File: "p.yaml", Line: 3, Created: at(9), Changed: at(10)}},
	}
}

func commit(t testing.TB, s *store.Store, c admin.Changes) uint64 {
	t.Helper()
	return must[uint64](t)(s.Commit(t.Context(), c))
}

func TestRegistryComesBackAsItWasCommitted(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		c := everything()
		if gen := commit(t, s, c); gen != 1 {
			t.Fatalf("first generation is %d, want 1", gen)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		got := must[registry.Content](t)(s.LoadRegistry(t.Context()))
		long := got.Tools[0].Name
		want := registry.Content{
			Generation: 1,
			// Sorted by bytes, whatever the locale of the database says.
			Agents:  []registry.Agent{*c.Agents["a-b"], *c.Agents["a0"], *c.Agents["release-bot"]},
			Servers: []registry.Server{*c.Servers["empty"], *c.Servers["files"]},
			Tools:   []registry.Tool{*c.Tools[admin.ToolKey{Server: "files", Tool: long}], *c.Tools[admin.ToolKey{Server: "files", Tool: "B"}], *c.Tools[admin.ToolKey{Server: "files", Tool: "bare"}], *c.Tools[admin.ToolKey{Server: "files", Tool: "write_file"}]},
			Teams:   []registry.Team{*c.Teams["team-platform"]},
			Users:   []registry.User{*c.Users["a0"], *c.Users["ann"], *c.Users["bare"]},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("registry differs (-want +got):\n%s", diff)
		}
		for _, a := range got.Agents {
			if a.Expires.Location() != time.UTC || a.Created.Location() != time.UTC {
				t.Errorf("times of agent %s are not UTC", a.ID)
			}
		}
		policies := must[[]policy.Policy](t)(s.LoadPolicies(t.Context()))
		if diff := cmp.Diff([]policy.Policy{*c.Policies["p1"]}, policies); diff != "" {
			t.Errorf("policies differ (-want +got):\n%s", diff)
		}
	})
}

func TestEveryStateCanBeStored(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		c := admin.Changes{Users: map[string]*registry.User{}, Agents: map[string]*registry.Agent{}, Servers: map[string]*registry.Server{}, Tools: map[admin.ToolKey]*registry.Tool{}}
		for i, st := range []registry.AgentState{registry.AgentActive, registry.AgentSuspended, registry.AgentQuarantined, registry.AgentRetired} {
			id := fmt.Sprintf("a%d", i)
			c.Agents[id] = &registry.Agent{ID: id, State: st}
		}
		for i, st := range []registry.ServerState{registry.ServerDiscovered, registry.ServerTriaged, registry.ServerSanctioned, registry.ServerDeprecated, registry.ServerQuarantined, registry.ServerBlocked, registry.ServerRetired} {
			id := fmt.Sprintf("s%d", i)
			c.Servers[id] = &registry.Server{ID: id, State: st}
		}
		for i, st := range []registry.ToolState{registry.ToolPending, registry.ToolApproved, registry.ToolChanged, registry.ToolAbsent, registry.ToolQuarantined, registry.ToolBlocked, registry.ToolRetired} {
			name := fmt.Sprintf("t%d", i)
			c.Tools[admin.ToolKey{Server: "s0", Tool: name}] = &registry.Tool{Server: "s0", Name: name, State: st}
		}
		for _, st := range []registry.UserState{registry.UserActive, registry.UserSuspended, registry.UserRetired} {
			c.Users[string(st)] = &registry.User{ID: string(st), State: st}
		}
		commit(t, s, c)
		got := must[registry.Content](t)(s.LoadRegistry(t.Context()))
		if len(got.Users) != 3 || len(got.Agents) != 4 || len(got.Servers) != 7 || len(got.Tools) != 7 {
			t.Errorf("got %d agents, %d servers, %d tools", len(got.Agents), len(got.Servers), len(got.Tools))
		}
	})
}

func TestTimesKeepMicrosecondsInUTC(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		zone := time.FixedZone("east", 5*3600)
		a := agent("a")
		a.Created = time.Date(2026, 11, 24, 1, 2, 3, 123456789, zone)
		a.Expires = time.Time{}
		commit(t, s, admin.Changes{Agents: map[string]*registry.Agent{"a": a}})
		got := must[registry.Content](t)(s.LoadRegistry(t.Context())).Agents[0]
		if want := "2026-11-23T20:02:03.123456Z"; got.Created.Format(time.RFC3339Nano) != want {
			t.Errorf("created is %s, want %s", got.Created.Format(time.RFC3339Nano), want)
		}
		if !got.Expires.IsZero() {
			t.Errorf("the zero time came back as %v", got.Expires)
		}
	})
}

func TestCommitOnAnotherGenerationChangesNothing(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commit(t, s, everything())
		before := must[registry.Content](t)(s.LoadRegistry(t.Context()))
		for _, base := range []uint64{0, 2, 1 << 63, ^uint64(0)} {
			_, err := s.Commit(t.Context(), admin.Changes{Base: base, Agents: map[string]*registry.Agent{"release-bot": nil}})
			if access.CodeOf(err) != access.CodeConflict {
				t.Errorf("commit on %d: got %v, want a conflict", base, err)
			}
		}
		if diff := cmp.Diff(before, must[registry.Content](t)(s.LoadRegistry(t.Context()))); diff != "" {
			t.Errorf("a refused commit changed something:\n%s", diff)
		}
	})
}

func TestOfConcurrentCommitsExactlyOneWins(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for round := range uint64(5) {
			const n = 8
			errs := make([]error, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					id := fmt.Sprintf("a%d", i)
					_, errs[i] = s.Commit(t.Context(), admin.Changes{Base: round, Agents: map[string]*registry.Agent{id: agent(id)}, Policies: map[string]*policy.Policy{"who": {ID: "who", Cedar: id}}})
				})
			}
			wg.Wait()
			won := ""
			for i, err := range errs {
				switch {
				case err == nil && won == "":
					won = fmt.Sprintf("a%d", i)
				case access.CodeOf(err) != access.CodeConflict:
					t.Fatalf("commit %d: got %v, want one success and conflicts", i, err)
				}
			}
			if gen := must[uint64](t)(s.Generation(t.Context())); gen != round+1 || won == "" {
				t.Fatalf("generation is %d after round %d, won by %q", gen, round, won)
			}
			if p := must[[]policy.Policy](t)(s.LoadPolicies(t.Context())); len(p) != 1 || p[0].Cedar != won {
				t.Errorf("the state is not the winner's: %v, want %s", p, won)
			}
		}
	})
}

func TestCommitDeletesAndReplaces(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commit(t, s, everything())
		gone := everything()
		gone.Base = 1
		for k := range gone.Tools {
			gone.Tools[k] = nil
		}
		gone.Servers["files"], gone.Agents["a0"], gone.Teams["team-platform"], gone.Policies["p1"] = nil, nil, nil, nil
		gone.Agents["never-was"], gone.Users["ann"], gone.Users["bare"] = nil, nil, nil
		gone.Agents["a-b"].State = registry.AgentRetired
		commit(t, s, gone)
		got := must[registry.Content](t)(s.LoadRegistry(t.Context()))
		want := registry.Content{Generation: 2, Agents: []registry.Agent{*gone.Agents["a-b"], *gone.Agents["release-bot"]}, Servers: []registry.Server{*gone.Servers["empty"]}, Users: []registry.User{*gone.Users["a0"]}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("registry differs (-want +got):\n%s", diff)
		}
		if p := must[[]policy.Policy](t)(s.LoadPolicies(t.Context())); len(p) != 0 {
			t.Errorf("policies are left: %v", p)
		}
	})
}

func TestToolWithoutServerIsRefusedWhole(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		orphan := admin.Changes{
			Agents: map[string]*registry.Agent{"a": agent("a")},
			Tools:  map[admin.ToolKey]*registry.Tool{{Server: "nowhere", Tool: "x"}: tool("nowhere", "x")},
		}
		if _, err := s.Commit(t.Context(), orphan); access.CodeOf(err) != access.CodeInvalid {
			t.Fatalf("got %v, want an invalid change", err)
		}
		got := must[registry.Content](t)(s.LoadRegistry(t.Context()))
		if diff := cmp.Diff(registry.Content{}, got); diff != "" {
			t.Errorf("half of a refused change was kept:\n%s", diff)
		}
		commit(t, s, everything())
		if _, err := s.Commit(t.Context(), admin.Changes{Base: 1, Servers: map[string]*registry.Server{"files": nil}}); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("removing a server with tools: got %v, want an invalid change", err)
		}
	})
}

func TestWhatCannotBeStoredIsRefused(t *testing.T) {
	agents := func(change func(*registry.Agent)) admin.Changes {
		a := agent("a")
		change(a)
		return admin.Changes{Agents: map[string]*registry.Agent{"a": a}}
	}
	cases := map[string]admin.Changes{
		"derived state":  agents(func(a *registry.Agent) { a.State = registry.AgentExpired }),
		"no state":       agents(func(a *registry.Agent) { a.State = "" }),
		"other id":       agents(func(a *registry.Agent) { a.ID = "b" }),
		"NUL":            agents(func(a *registry.Agent) { a.Purpose = "a\x00b" }),
		"NUL in owner":   agents(func(a *registry.Agent) { a.Owner = "\x00" }),
		"NUL in a list":  agents(func(a *registry.Agent) { a.Tools = []string{"ok", "\x00"} }),
		"not UTF-8":      agents(func(a *registry.Agent) { a.StateWhy = "\xff" }),
		"year 10000":     agents(func(a *registry.Agent) { a.Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }),
		"derived user":   {Users: map[string]*registry.User{"a": {ID: "a", State: registry.UserExpired}}},
		"stateless user": {Users: map[string]*registry.User{"a": {ID: "a"}}},
		"other user":     {Users: map[string]*registry.User{"a": user("b")}},
		"NUL in a role":  {Users: map[string]*registry.User{"a": {ID: "a", State: registry.UserActive, Roles: []registry.Role{"\x00"}}}},
		"no id":          {Teams: map[string]*registry.Team{"": {}}},
		"long id":        {Teams: map[string]*registry.Team{strings.Repeat("a", 2000): {ID: strings.Repeat("a", 2000)}}},
		"NUL in id":      {Policies: map[string]*policy.Policy{"\x00": {ID: "\x00"}}},
		"NUL in map key": {Servers: map[string]*registry.Server{"s": {ID: "s", State: registry.ServerTriaged, Classes: map[string]registry.ToolClass{"\x00": {}}}}},
		"unknown server": {Servers: map[string]*registry.Server{"s": {ID: "s", State: "shiny"}}},
		"unknown tool":   {Servers: map[string]*registry.Server{"s": server("s")}, Tools: map[admin.ToolKey]*registry.Tool{{Server: "s", Tool: "t"}: {Server: "s", Name: "t", State: "shiny"}}},
		"renamed tool":   {Servers: map[string]*registry.Server{"s": server("s")}, Tools: map[admin.ToolKey]*registry.Tool{{Server: "s", Tool: "t"}: tool("s", "u")}},
		"moved tool":     {Servers: map[string]*registry.Server{"s": server("s")}, Tools: map[admin.ToolKey]*registry.Tool{{Server: "s", Tool: "t"}: tool("z", "t")}},
	}
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for name, c := range cases {
			if _, err := s.Commit(t.Context(), c); err == nil {
				t.Errorf("%s: it was stored", name)
			}
			if gen := must[uint64](t)(s.Generation(t.Context())); gen != 0 {
				t.Fatalf("%s: generation is %d", name, gen)
			}
		}
	})
}

// A row that another version or a hand left in an unknown state is handed on for
// the registry to deny, and said in the log.
func TestUnknownStoredStateIsDeniedAndLogged(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		commit(t, s, everything())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		s = open(t, cfg)
		allowAnything(t, s, "agents", "servers", "tools", "users")
		for _, q := range []string{"UPDATE users SET state = 'Active'", "UPDATE agents SET state = 'Active'", "UPDATE servers SET state = ''", "UPDATE tools SET state = 'approved '"} {
			if _, err := s.Writer().Exec(q); err != nil {
				t.Fatal(err)
			}
		}
		got := must[registry.Content](t)(s.LoadRegistry(t.Context()))
		view := must[*registry.View](t)(registry.NewView(got))
		for _, a := range view.Agents() {
			if registry.Usable(a, at(0)) == nil {
				t.Errorf("agent %s is usable in the state %q", a.ID, a.State)
			}
		}
		for _, u := range view.Users() {
			if registry.UserStatus(u, at(0)) == registry.UserActive {
				t.Errorf("user %s is active in the state %q", u.ID, u.State)
			}
		}
		if st := view.ServerStanding("files"); st.OK {
			t.Errorf("a server in an unknown state may be called")
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != len(got.Agents)+len(got.Servers)+len(got.Tools)+len(got.Users) {
			t.Errorf("%d rows were logged:\n%s", n, log.String())
		}
	})
}

// allowAnything takes the checks off columns, as a broken tool would.
func allowAnything(t *testing.T, s *store.Store, tables ...string) {
	t.Helper()
	if s.Dialect() == "sqlite" {
		if _, err := s.Writer().Exec("PRAGMA ignore_check_constraints = 1"); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, table := range tables {
		if _, err := s.Writer().Exec("ALTER TABLE " + table + " DROP CONSTRAINT " + table + "_state_check"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSchemaRefusesUnknownStates(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commit(t, s, everything())
		for _, table := range []string{"agents", "servers", "tools", "users"} {
			if _, err := s.Writer().Exec("UPDATE " + table + " SET state = 'shiny'"); err == nil {
				t.Errorf("%s took an unknown state", table)
			}
		}
	})
}

// A member nobody here knows may be a restriction: the row is not used without it.
func TestUnknownMemberOfADocumentIsRefused(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		commit(t, s, everything())
		if _, err := s.Writer().Exec(`UPDATE servers SET doc = replace(doc, '"era"', '"onlyFrom":"secret-value","era"') WHERE id = 'files'`); err != nil {
			t.Fatal(err)
		}
		_, err := s.LoadRegistry(t.Context())
		if err == nil || !strings.Contains(err.Error(), `"files" of servers`) || strings.Contains(err.Error(), "secret-value") {
			t.Errorf("got %v, want an error that names the row and not its values", err)
		}
	})
}

func TestMetaIsKept(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		if _, ok, err := s.Meta(t.Context(), "node"); ok || err != nil {
			t.Errorf("got %v, %v before anything was stored", ok, err)
		}
		for _, v := range []string{"n1", unicode, ""} {
			if err := s.SetMeta(t.Context(), "node", v); err != nil {
				t.Fatal(err)
			}
			if got, ok, err := s.Meta(t.Context(), "node"); got != v || !ok || err != nil {
				t.Errorf("got %q, %v, %v, want %q", got, ok, err, v)
			}
		}
		for _, kv := range [][2]string{{"", "x"}, {"a\x00", "x"}, {"a", "x\x00"}, {"a", "\xc3\x28"}} {
			if err := s.SetMeta(t.Context(), kv[0], kv[1]); access.CodeOf(err) != access.CodeInvalid {
				t.Errorf("SetMeta(%q, %q): got %v, want invalid", kv[0], kv[1], err)
			}
		}
	})
}
