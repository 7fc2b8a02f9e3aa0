package pdp_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// given is the grants in force, whatever is asked.
type given []grant.Grant

func (g given) Covering(*grant.Call) []grant.Grant { return g }

func aGrant(id string, change ...func(*grant.Grant)) grant.Grant {
	g := grant.Grant{ID: id, State: grant.GrantActive, Expires: now.Add(time.Hour), Quorum: 1}
	for _, f := range change {
		f(&g)
	}
	return g
}

// entitled is a state in which bot may ask for files/tool_approved by each of
// the entitlements.
func entitled(t testing.TB, list []grant.Entitlement, policies ...policy.Policy) *pdp.State {
	t.Helper()
	c := crowded()
	v, err := registry.NewView(c)
	if err != nil {
		t.Fatal(err)
	}
	cat := policy.Catalog{Servers: []policy.ServerInfo{{ID: "files"}}}
	for _, tool := range c.Tools {
		cat.Tools = append(cat.Tools, policy.ToolInfo{Server: tool.Server, Name: tool.Bare(), Kind: access.Kind(tool.Kind()), Classes: []string{"read"}})
	}
	s := &pdp.State{View: v, Entitlements: map[string]grant.Entitlement{}}
	for _, e := range list {
		cat.Entitlements = append(cat.Entitlements, policy.Entitlement{ID: e.ID, Agents: []string{"bot"}, Patterns: []string{"files/tool_approved"}})
		s.Entitlements[e.ID] = e
	}
	if s.Set, err = policy.Compile(policies, cat); err != nil {
		t.Fatal(err)
	}
	return s
}

const asks = `@id("asks") @outcome("require_approval") forbid (principal, action == Mcp::Action::"files/tool_approved", resource) unless { context has grant && context.grant.quorum >= 2 };`

// TestTheFirstGrantPolicyAcceptsCounts: one it does not accept is skipped, the
// decision names the one it stands on, and its facts are of that one.
func TestTheFirstGrantPolicyAcceptsCounts(t *testing.T) {
	s := entitled(t, []grant.Entitlement{{ID: "e"}}, policy.Policy{ID: "p", Cedar: asks})
	r := request("tool_approved")
	if d := pdp.Decide(s, r); d.Outcome != access.RequireApproval || d.Class != access.ClassApproval || d.Grant != "" || d.Allowed() {
		t.Errorf("without grants: %+v", d)
	}
	two := func(g *grant.Grant) { g.Quorum = 2 }
	s.Grants = given{aGrant("grt_1"), aGrant("grt_2", two), aGrant("grt_3", two)}
	d := pdp.Decide(s, r)
	if !d.Allowed() || d.Grant != "grt_2" {
		t.Errorf("with three: %+v", d)
	}
	s.Grants = given{aGrant("grt_1")}
	if d := pdp.Decide(s, r); d.Outcome != access.RequireApproval || d.Grant != "" {
		t.Errorf("with one that is not enough: %+v", d)
	}
	r.Unknown = true
	s.Grants = given{aGrant("grt_2", two)}
	if d := pdp.Decide(s, r); d.Allowed() || !pdp.Visible(s, r) {
		t.Errorf("in a list: %+v", d)
	}
	r = request("tool_approved")
	r.Who.Actor.Agent = "other"
	if d := pdp.Decide(s, r); d.Allowed() || d.Grant != "" {
		t.Errorf("a grant alone permits: %+v", d)
	}
	for _, tool := range []string{"tool_blocked", "tool_quarantined", "tool_pending", "none"} {
		if d := pdp.Decide(s, request(tool)); d.Allowed() || d.Outcome == access.RequireApproval {
			t.Errorf("a grant lifts what the registry says of %s: %+v", tool, d)
		}
	}
}

// TestFactsCoverTheGrant: every member of it changes their digest.
func TestFactsCoverTheGrant(t *testing.T) {
	s := entitled(t, []grant.Entitlement{{ID: "e"}})
	seen := map[string]string{}
	for name, c := range map[string]given{
		"none": nil, "one": {aGrant("grt_1")}, "id": {aGrant("grt_2")},
		"expires": {aGrant("grt_1", func(g *grant.Grant) { g.Expires = g.Expires.Add(1) })},
		"quorum":  {aGrant("grt_1", func(g *grant.Grant) { g.Quorum = 2 })},
		"uses":    {aGrant("grt_1", func(g *grant.Grant) { g.UsesMax = 3 })},
		"spent":   {aGrant("grt_1", func(g *grant.Grant) { g.UsesMax, g.Counts.Reserved = 3, 1 })},
		"bound": {aGrant("grt_1", func(g *grant.Grant) {
			c, err := grant.ParseConstraints(fmt.Appendf(nil, `[{"argsDigest":"%s"}]`, grant.ArgsDigest(arguments(t, "{}"))))
			if err != nil {
				t.Fatal(err)
			}
			g.Args = c
		})},
	} {
		s.Grants = c
		d := pdp.Decide(s, request("tool_approved"))
		if other, ok := seen[d.Facts]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[d.Facts] = name
	}
}

// TestTheStrictestEntitlementCounts of those that reach the call's arguments;
// with a policy that asks besides, nothing is automatic.
func TestTheStrictestEntitlementCounts(t *testing.T) {
	dev, err := grant.ParseConstraints([]byte(`[{"at":"/to","eq":"dev"}]`))
	if err != nil {
		t.Fatal(err)
	}
	auto := grant.Entitlement{ID: "auto", Approve: grant.Rule{Auto: true}}
	one, two := grant.Entitlement{ID: "one", Approve: grant.Rule{Quorum: 1}}, grant.Entitlement{ID: "two", Approve: grant.Rule{Quorum: 2, Team: "a"}}
	short := grant.Entitlement{ID: "short", Approve: grant.Rule{Quorum: 1}, Ceiling: grant.Ceiling{Seconds: 60}}
	long := grant.Entitlement{ID: "long", Approve: grant.Rule{Quorum: 1}, Ceiling: grant.Ceiling{Seconds: 600}}
	autoDev, twoDev := auto, two
	autoDev.Args, twoDev.Args = dev, dev
	for name, c := range map[string]struct {
		list   []grant.Entitlement
		args   string
		policy bool
		want   string
		rule   grant.Rule
	}{
		"one":                          {[]grant.Entitlement{one}, `{}`, false, "one", one.Approve},
		"automatic":                    {[]grant.Entitlement{auto}, `{}`, false, "auto", auto.Approve},
		"automatic, a policy asks":     {[]grant.Entitlement{auto}, `{}`, true, "auto", grant.Rule{Quorum: 2}},
		"two people, a policy asks":    {[]grant.Entitlement{two}, `{}`, true, "two", two.Approve},
		"all":                          {[]grant.Entitlement{auto, two, one}, `{}`, false, "two", two.Approve},
		"equal, the shorter":           {[]grant.Entitlement{long, short}, `{}`, false, "short", one.Approve},
		"the stricter does not reach":  {[]grant.Entitlement{auto, twoDev}, `{"to":"prod"}`, false, "auto", auto.Approve},
		"the stricter reaches":         {[]grant.Entitlement{auto, twoDev}, `{"to":"dev"}`, false, "two", two.Approve},
		"none reaches":                 {[]grant.Entitlement{autoDev, twoDev}, `{"to":"prod"}`, false, "two", two.Approve},
		"automatic here, people there": {[]grant.Entitlement{autoDev, two}, `{"to":"prod"}`, false, "two", two.Approve},
	} {
		var ps []policy.Policy
		if c.policy {
			ps = append(ps, policy.Policy{ID: "p", Cedar: asks})
		}
		s := entitled(t, c.list, ps...)
		r := request("tool_approved")
		r.Arguments = arguments(t, c.args)
		d := pdp.Decide(s, r)
		a, ok := pdp.Asking(s, r, &d)
		if !ok || d.Outcome != access.RequireApproval || a.Entitlement == nil || a.Entitlement.ID != c.want || a.Rule != c.rule || a.Scope != grant.ScopeOnce {
			t.Errorf("%s: %+v, %+v", name, d, a.Entitlement)
		}
		if a.Target.Digest != pin || a.Party.Agent != "bot" || !a.At.Equal(now) || len(a.Policies) != len(c.list)+len(ps) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	s := entitled(t, []grant.Entitlement{auto}, policy.Policy{ID: "p", Cedar: asks})
	delete(s.Entitlements, "auto") // a right nobody knows lets nothing be granted
	d := pdp.Decide(s, request("tool_approved"))
	if a, _ := pdp.Asking(s, request("tool_approved"), &d); a.Entitlement != nil || a.Rule.Auto {
		t.Errorf("%+v", a.Entitlement)
	}
}

// TestObservingPassesWhatWouldAsk, and says so.
func TestObservingPassesWhatWouldAsk(t *testing.T) {
	s := entitled(t, []grant.Entitlement{{ID: "e"}})
	s.Monitor = true
	if d := pdp.Decide(s, request("tool_approved")); !d.Allowed() || d.Would != access.RequireApproval {
		t.Errorf("%+v", d)
	}
}

// shelf is a store with nothing but live grants.
type shelf struct {
	grant.Store
	live grant.Live
}

func (s *shelf) AbandonUses(context.Context, string, string, time.Time) (int, error) { return 0, nil }
func (s *shelf) LoadGrants(context.Context) (grant.Live, error)                      { return s.live, nil }

type unused struct{}

func (unused) Record(context.Context, []grant.Event) error                    { return nil }
func (unused) Settle(context.Context, []access.Owed) error                    { return nil }
func (unused) Seal(context.Context, string, []byte) ([]byte, error)           { return nil, nil }
func (unused) Open(context.Context, string, []byte) (plain []byte, err error) { return nil, nil }

// BenchmarkDecideAmongGrants: 1,000 live grants, of one party (the one that fits
// comes last) and of 1,000, among few and many policies.
func BenchmarkDecideAmongGrants(b *testing.B) {
	for _, policies := range []int{10, 1000, 10000} {
		for _, parties := range []int{1, 1000} {
			b.Run(fmt.Sprintf("policies=%d/parties=%d", policies, parties), func(b *testing.B) {
				ps := make([]policy.Policy, policies)
				for i := range ps {
					ps[i] = policy.Policy{ID: fmt.Sprint("p", i), Cedar: fmt.Sprintf(`forbid (principal in Mcp::AgentClass::"c%d", action == Mcp::Action::"files/tool_%d", resource) when { context.input.path like "/etc/*" };`, i, i)}
				}
				s := entitled(b, []grant.Entitlement{{ID: "e"}}, ps...)
				f := &shelf{}
				for i := range 1000 {
					p := grant.Party{Agent: "bot"}
					name := fmt.Sprint("tool_", i)
					if parties > 1 && i < 999 {
						p.Subject = fmt.Sprint("s", i)
					}
					if i == 999 {
						name = "tool_approved"
					}
					g := aGrant(fmt.Sprintf("grt_%04d", i), func(g *grant.Grant) {
						g.Party, g.UsesMax = p, 10
						g.Target = grant.Target{Server: "files", Kind: access.KindTool, Name: name, Digest: pin}
					})
					f.live.Grants = append(f.live.Grants, g)
				}
				var err error
				if s.Grants, err = grant.New(b.Context(), grant.Config{Node: "n", Boot: "b"}, f, unused{}, unused{}, func() time.Time { return now }); err != nil {
					b.Fatal(err)
				}
				r := request("tool_approved")
				r.Arguments = arguments(b, `{"path":"/srv/a"}`)
				if d := pdp.Decide(s, r); d.Grant != "grt_0999" {
					b.Fatalf("%+v", d)
				}
				took := make([]time.Duration, 0, 1<<20)
				b.ReportAllocs()
				for b.Loop() {
					from := time.Now()
					pdp.Decide(s, r)
					took = append(took, time.Since(from))
				}
				slices.SortFunc(took, cmp.Compare[time.Duration])
				b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
				b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
			})
		}
	}
}
