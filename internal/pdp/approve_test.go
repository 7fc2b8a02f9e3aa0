package pdp_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// asked is a state in which bot may ask for tool_approved under an entitlement with a
// rule, none if "-", and these policies. Registered are the team secops and its
// owner's.
func asked(t *testing.T, rule string, policies ...string) *pdp.State {
	t.Helper()
	c := content()
	c.Teams = append(c.Teams, registry.Team{ID: "secops", Members: []string{"ben", "cat"}}, registry.Team{ID: "team-platform", Members: []string{"ann"}},
		registry.Team{ID: "ops", Members: []string{"dee"}}, registry.Team{ID: "nobody"}, registry.Team{ID: "strangers", Members: []string{"not-here", "gone"}})
	for _, id := range []string{"ann", "ben", "cat", "dee"} {
		c.Users = append(c.Users, registry.User{ID: id, State: registry.UserActive})
	}
	c.Users = append(c.Users, registry.User{ID: "gone", State: registry.UserRetired})
	v, err := registry.NewView(c)
	if err != nil {
		t.Fatal(err)
	}
	cat := policy.Catalog{Servers: []policy.ServerInfo{{ID: "files"}}, Tools: []policy.ToolInfo{{Server: "files", Name: "tool_approved", Classes: []string{"read"}}}}
	s := &pdp.State{View: v, Entitlements: map[string]grant.Entitlement{}}
	if rule != "-" {
		r, err := grant.ParseRule(rule)
		if err != nil {
			t.Fatal(err)
		}
		s.Entitlements["e"] = grant.Entitlement{ID: "e", Approve: r, Ceiling: grant.Ceiling{Seconds: 600, Uses: 5}}
		cat.Entitlements = append(cat.Entitlements, policy.Entitlement{ID: "e", Agents: []string{"bot"}, Patterns: []string{"files/*"}})
	}
	if s.Set, err = policy.Compile([]policy.Policy{{ID: "p", Cedar: strings.Join(append(policies, "forbid (principal, action == Mcp::Action::\"x/y\", resource);"), "\n")}}, cat); err != nil {
		t.Fatal(err)
	}
	return s
}

func permitAsk(approve, when string) string {
	return `@approve("` + approve + `") permit (principal, action == Mcp::Action::"request", resource) when { ` + when + ` };`
}

const (
	forbidAsk = `@advice("not on my watch") forbid (principal, action == Mcp::Action::"request", resource);`
	wantTwo   = `@outcome("require_approval") forbid (principal, action in Mcp::Action::"call", resource) unless { context has grant && context.grant.quorum >= 2 };`
	allowAll  = `permit (principal, action in Mcp::Action::"call", resource);`
)

// TestWhoMustApprove is what the entitlement and the policies about asking say
// together, and never less than the policies about the call want to see.
func TestWhoMustApprove(t *testing.T) {
	for name, tt := range map[string]struct {
		right    string
		policies []string
		want     string // "" is that it cannot be asked for
		why      string
	}{
		"no policy speaks, the entitlement does":    {"auto", nil, "auto", ""},
		"no policy speaks, the entitlement neither": {"policy", nil, "quorum:1", ""},
		"no policy speaks, a policy asks":           {"-", []string{allowAll, askAlways}, "quorum:1", ""},
		"no policy permits, one forbids":            {"auto", []string{forbidAsk}, "", "not on my watch"},
		"left to the policies":                      {"policy", []string{permitAsk("auto", "true")}, "auto", ""},
		"a policy asks, and policies say auto":      {"-", []string{allowAll, askAlways, permitAsk("auto", "true")}, "auto", ""},
		"an entitlement besides":                    {"auto", []string{askAlways, permitAsk("auto", "true")}, "auto", ""},
		"the entitlement is the least":              {"quorum:2", []string{permitAsk("auto", "true")}, "quorum:2", ""},
		"policies add":                              {"auto", []string{permitAsk("quorum:2:secops", "true")}, "quorum:2:secops", ""},
		"every group is met":                        {"quorum:1:ops", []string{permitAsk("quorum:1:owner", "true"), permitAsk("quorum:2:secops", "true")}, "quorum:1:ops then quorum:1:team-platform then quorum:2:secops", ""},
		"the strictest wins":                        {"policy", []string{permitAsk("auto", "true"), permitAsk("quorum:3", "true"), permitAsk("quorum:2", "true")}, "quorum:3", ""},
		"a person is a group of one":                {"policy", []string{permitAsk("quorum:1:ann", "true")}, "quorum:1:ann", ""},
		"policies permit less":                      {"auto", []string{permitAsk("auto", "context.seconds < 600")}, "", "no rule permits"},
		"within what they permit":                   {"auto", []string{permitAsk("auto", "context.seconds == 600 && context.uses == 1 && context.tier == 0")}, "auto", ""},
		"deny outweighs":                            {"auto", []string{permitAsk("auto", "true"), permitAsk("deny", "true")}, "", "denies"},
		"forbid outweighs":                          {"auto", []string{permitAsk("auto", "true"), forbidAsk}, "", "not on my watch"},
		"an error denies":                           {"auto", []string{permitAsk("auto", "true"), permitAsk("auto", "context.seconds + 9223372036854775807 > 1")}, "", "cannot be evaluated"},
		"nobody is called that":                     {"auto", []string{permitAsk("quorum:1:ghosts", "true")}, "", "neither a registered team"},
		"a team of nobody":                          {"auto", []string{permitAsk("quorum:1:nobody", "true")}, "", "team \"nobody\", which has no members"},
		"a team of nobody who is here":              {"auto", []string{permitAsk("quorum:1:strangers", "true")}, "", "nobody is an active registered user"},
		"a team that is too small":                  {"auto", []string{permitAsk("quorum:3:secops", "true")}, "", "of whom only 2 can approve, and it takes 3"},
		"two of one person":                         {"auto", []string{permitAsk("quorum:2:ann", "true")}, "", "\"ann\", of whom only 1 can approve"},
		"more groups than can be":                   {"quorum:1:a then quorum:1:b", []string{permitAsk("quorum:1:ann", "true"), permitAsk("quorum:1:owner", "true"), permitAsk("quorum:1:secops", "true")}, "", "more teams"},
		"the call wants two":                        {"policy", []string{permitAsk("auto", "true"), wantTwo}, "quorum:2", ""},
		"the call is forbidden anyway":              {"policy", []string{permitAsk("auto", "true"), never}, "", ""},
	} {
		s := asked(t, tt.right, tt.policies...)
		r := request("tool_approved")
		r.Arguments = arguments(t, `{}`)
		a, d, ok := pdp.Seek(s, r, grant.Ask{})
		if got := a.Rule.String(); ok && got != tt.want || ok != (tt.want != "") || !ok && (d.Allowed() || d.Outcome.Conditional()) {
			t.Errorf("%s: %t %s %+v; want %q", name, ok, got, d, tt.want)
		}
		if said := d.Reason + "; " + d.Help; !strings.Contains(said, tt.why) {
			t.Errorf("%s: says %q, want %q", name, said, tt.why)
		}
		if a.Set != s.Set.Digest() && ok {
			t.Errorf("%s: of set %q", name, a.Set)
		}
	}
}

// TestARightLeftToPoliciesIsNotStricterThanOneThatNamesPeople, however short its life,
// and stricter than one that names nobody.
func TestARightLeftToPoliciesIsNotStricterThanOneThatNamesPeople(t *testing.T) {
	for name, tt := range map[string]struct {
		left, other string // of e, which lives shorter, and f
		policies    []string
		want        string
	}{
		"people":            {"policy", "quorum:1:secops", []string{permitAsk("auto", "true")}, "quorum:1:secops"},
		"nobody":            {"auto", "policy", nil, "quorum:1"},
		"people, by itself": {"policy", "quorum:1:secops", nil, "quorum:1:secops"},
	} {
		s := asked(t, tt.left, tt.policies...)
		rule, err := grant.ParseRule(tt.other)
		if err != nil {
			t.Fatal(err)
		}
		s.Entitlements["f"] = grant.Entitlement{ID: "f", Approve: rule, Ceiling: grant.Ceiling{Seconds: 6000, Uses: 5}}
		cat := policy.Catalog{Servers: []policy.ServerInfo{{ID: "files"}}, Tools: []policy.ToolInfo{{Server: "files", Name: "tool_approved", Classes: []string{"read"}}}}
		for _, id := range []string{"e", "f"} {
			cat.Entitlements = append(cat.Entitlements, policy.Entitlement{ID: id, Agents: []string{"bot"}, Patterns: []string{"files/*"}})
		}
		text := strings.Join(append(tt.policies, "forbid (principal, action == Mcp::Action::\"x/y\", resource);"), "\n")
		if s.Set, err = policy.Compile([]policy.Policy{{ID: "p", Cedar: text}}, cat); err != nil {
			t.Fatal(err)
		}
		r := request("tool_approved")
		r.Arguments = arguments(t, `{}`)
		if a, _, ok := pdp.Seek(s, r, grant.Ask{}); !ok || a.Rule.String() != tt.want {
			t.Errorf("%s: %t %s, want %s", name, ok, a.Rule, tt.want)
		}
	}
}

// TestWhatIsAskedForAheadIsMeasured by its own life and uses, and a tool of tier 3
// needs two whatever policies say.
func TestWhatIsAskedForAheadIsMeasured(t *testing.T) {
	s := asked(t, "policy", permitAsk("auto", "context.seconds <= 60 && context.uses <= 2"), permitAsk("quorum:1:secops", "context.seconds > 60 || context.uses > 2"))
	for name, tt := range map[string]struct {
		want grant.Ask
		rule string
	}{
		"short and few": {grant.Ask{Scope: grant.ScopeTime, Life: time.Minute, Uses: 2}, "auto"},
		"long":          {grant.Ask{Scope: grant.ScopeTime, Uses: 2}, "quorum:1:secops"},
		"many":          {grant.Ask{Scope: grant.ScopeTime, Life: time.Minute}, "quorum:1:secops"},
		"once":          {grant.Ask{Life: time.Minute}, "auto"},
	} {
		r := request("tool_approved")
		r.Unknown = tt.want.Scope != ""
		if !r.Unknown {
			r.Arguments = arguments(t, `{}`)
		}
		if a, _, ok := pdp.Seek(s, r, tt.want); !ok || a.Rule.String() != tt.rule || len(a.RuleBy) != 1 {
			t.Errorf("%s: %t %s by %v", name, ok, a.Rule, a.RuleBy)
		}
	}
}

// TestARequestThatWaitsIsHeldToThePolicies: what they would refuse now, or want more
// people for, is void; what they would let through more easily is not.
func TestARequestThatWaitsIsHeldToThePolicies(t *testing.T) {
	q := grant.Request{Created: now, Party: grant.Party{Agent: "bot"}, Target: grant.Target{Server: "files", Kind: access.KindTool, Name: "tool_approved", Digest: pin},
		Rule: grant.Rule{Quorum: 1, Team: "secops"}, Life: 600, Uses: 1, Bound: true}
	for name, tt := range map[string]struct {
		policies []string
		void     string
	}{
		"nothing is said": {nil, ""},
		"the same":        {[]string{permitAsk("quorum:1:secops", "context.session.bound")}, ""},
		"less":            {[]string{permitAsk("auto", "true")}, ""},
		"more people":     {[]string{permitAsk("quorum:2:secops", "true")}, "another approval"},
		"others":          {[]string{permitAsk("quorum:1:owner", "true")}, "another approval"},
		"less time":       {[]string{permitAsk("auto", "context.seconds < 600")}, "do not let it be asked"},
		"not at all":      {[]string{forbidAsk}, "do not let it be asked"},
		"at another time": {[]string{permitAsk("auto", `context.now == datetime("`+now.UTC().Format("2006-01-02T15:04:05Z")+`")`)}, ""},
	} {
		if got := pdp.Void(asked(t, "quorum:1:secops", tt.policies...), &q, now); (got == "") != (tt.void == "") || !strings.Contains(got, tt.void) {
			t.Errorf("%s: %q, want %q", name, got, tt.void)
		}
	}
}

// TestNothingIsAskedForWithoutAnOwner, nor taken in an emergency.
func TestNothingIsAskedForWithoutAnOwner(t *testing.T) {
	s := asked(t, "auto")
	e := s.Entitlements["e"]
	for owner, gone := range map[string]bool{"team-platform": false, "gone": true, "": false} {
		e.Owner = owner
		s.Entitlements["e"] = e
		r := request("tool_approved")
		r.Arguments = arguments(t, `{}`)
		_, d, ok := pdp.Seek(s, r, grant.Ask{})
		if ok == gone || gone && !strings.Contains(d.Reason, "is not active") {
			t.Errorf("%q: %t, %+v", owner, ok, d)
		}
		why := pdp.Breakable(s, &grant.Emergency{Entitlement: e, Party: grant.Party{Agent: "bot"}, Target: grant.Target{Server: "files", Kind: access.KindTool, Name: "tool_approved", Digest: pin}}, now)
		if (why != "") != gone {
			t.Errorf("%q: %s", owner, why)
		}
	}
}
