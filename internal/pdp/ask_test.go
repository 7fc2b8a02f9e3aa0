package pdp_test

import (
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// rights is a state in which "bot" may ask for one approved tool under these
// rules.
func rights(t *testing.T, rules map[string]grant.Rule, cedar string) *pdp.State {
	t.Helper()
	v, err := registry.NewView(crowded())
	if err != nil {
		t.Fatal(err)
	}
	cat := policy.Catalog{Servers: []policy.ServerInfo{{ID: "files"}}, Tools: []policy.ToolInfo{{Server: "files", Name: "tool_approved", Classes: []string{"read"}}}}
	s := &pdp.State{View: v, Entitlements: map[string]grant.Entitlement{}}
	for id, rule := range rules {
		s.Entitlements[id] = grant.Entitlement{ID: id, Approve: rule, Ceiling: grant.Ceiling{Seconds: 60}}
		cat.Entitlements = append(cat.Entitlements, policy.Entitlement{ID: id, Agents: []string{"bot"}, Patterns: []string{"files/*"}})
	}
	var policies []policy.Policy
	if cedar != "" {
		policies = []policy.Policy{{ID: "more", Cedar: cedar}}
	}
	if s.Set, err = policy.Compile(policies, cat); err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	askAbove  = `@outcome("require_approval") forbid (principal, action, resource) when { context has input && context.input has n && context.input.n > 9 } unless { context has grant };`
	askAlways = `@outcome("require_approval") forbid (principal, action in Mcp::Action::"call", resource) unless { context has grant };`
	never     = `forbid (principal, action in Mcp::Action::"call", resource);`
	notAbove  = `forbid (principal, action, resource) when { context has input && context.input has n && context.input.n > 9 };`
)

// What may be asked for ahead is what a call would ask for, and nothing is granted
// without a person where a policy could ask for one.
func TestSeekingAsksAsACallWould(t *testing.T) {
	auto, two := map[string]grant.Rule{"a": {Auto: true}}, map[string]grant.Rule{"a": {Auto: true}, "b": {Quorum: 2}}
	for name, tt := range map[string]struct {
		rules map[string]grant.Rule
		cedar string
		args  string // "" for any
		ok    bool
		rule  grant.Rule
		from  string // entitlement
	}{
		"one call":                              {auto, "", `{}`, true, grant.Rule{Auto: true}, "a"},
		"every call":                            {auto, "", "", true, grant.Rule{Auto: true}, "a"},
		"the strictest counts":                  {two, "", "", true, grant.Rule{Quorum: 2}, "b"},
		"a policy asks besides":                 {auto, askAlways, "", true, grant.Rule{Quorum: 1}, "a"},
		"a policy asks for these arguments":     {auto, askAbove, `{"n":10}`, true, grant.Rule{Quorum: 1}, "a"},
		"a policy does not ask for these":       {auto, askAbove, `{"n":9}`, true, grant.Rule{Auto: true}, "a"},
		"a policy may ask, by the arguments":    {auto, askAbove, "", true, grant.Rule{Quorum: 1}, "a"},
		"a policy may forbid, by the arguments": {two, notAbove, "", true, grant.Rule{Quorum: 2}, "b"},
		"a policy forbids these arguments":      {auto, notAbove, `{"n":10}`, false, grant.Rule{}, ""},
		"a policy forbids":                      {auto, never, "", false, grant.Rule{}, ""},
		"nothing permits":                       {nil, askAlways, "", false, grant.Rule{}, ""},
	} {
		r := request("tool_approved")
		if r.Unknown = tt.args == ""; !r.Unknown {
			r.Arguments = arguments(t, tt.args)
		}
		a, d, ok := pdp.Seek(rights(t, tt.rules, tt.cedar), r, grant.Ask{})
		switch {
		case ok != tt.ok:
			t.Errorf("%s: may be asked for: %v, want %v (%+v)", name, ok, tt.ok, d)
		case !ok && d.Allowed():
			t.Errorf("%s: permitted", name)
		case ok && (a.Entitlement == nil || a.Entitlement.ID != tt.from || a.Rule != tt.rule || a.Party.Agent != "bot" || a.Target.Digest != pin):
			t.Errorf("%s: asks for %+v under %+v", name, a, a.Entitlement)
		}
	}
}

// What a person must not be asked for cannot be asked for: hidden and unknown
// things, what agents without standing want, and what is permitted.
func TestSeekingFindsNothingElse(t *testing.T) {
	s := rights(t, map[string]grant.Rule{"a": {Auto: true}}, "")
	for name, change := range map[string]func(*access.Request){
		"a pending tool":     func(r *access.Request) { r.Target = "tool_" + string(registry.ToolPending) },
		"a blocked tool":     func(r *access.Request) { r.Target = "tool_" + string(registry.ToolBlocked) },
		"an absent tool":     func(r *access.Request) { r.Target = "nothing" },
		"an absent server":   func(r *access.Request) { r.Server = "nowhere" },
		"another agent":      func(r *access.Request) { r.Who.Actor.Agent = "other" },
		"an unknown agent":   func(r *access.Request) { r.Who.Actor.Agent = "nobody" },
		"an unproved agent":  func(r *access.Request) { r.Who.Actor.Attested = false },
		"an expired agent":   func(r *access.Request) { r.At = now.Add(2 * time.Hour) },
		"nobody":             func(r *access.Request) { r.Who = access.Identity{} },
		"another sort":       func(r *access.Request) { r.Kind = access.KindPrompt },
		"the gateway's own?": func(r *access.Request) { r.Server, r.Target = access.OwnServer, "rutile_task_open" },
	} {
		for _, unknown := range []bool{true, false} {
			r := request("tool_approved")
			r.Unknown, r.Arguments = unknown, rawjson.Value{}
			change(r)
			if a, d, ok := pdp.Seek(s, r, grant.Ask{}); ok || d.Allowed() {
				t.Errorf("%s: %v %+v %+v", name, ok, a, d)
			}
		}
	}
	if _, d, ok := pdp.Seek(&pdp.State{}, request("tool_approved"), grant.Ask{}); ok || d.Allowed() {
		t.Errorf("without a state: %v %+v", ok, d)
	}
}

// What is asked for ahead is asked for under an entitlement that reaches it.
func TestSeekingTakesTheRightThatReaches(t *testing.T) {
	bounds := func(prefix string) grant.Constraints {
		c, err := grant.ParseConstraints([]byte(`[{"at":"/path","prefix":"` + prefix + `"}]`))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s := entitled(t, []grant.Entitlement{{ID: "tmp", Args: bounds("/tmp/"), Approve: grant.Rule{Quorum: 1}}, {ID: "etc", Args: bounds("/etc/"), Approve: grant.Rule{Quorum: 2}}})
	for wanted, right := range map[string]string{"/tmp/a": "tmp", "/etc/": "etc", "/srv/": "etc"} { // what none reaches the strictest refuses
		r := request("tool_approved")
		r.Unknown = true
		if a, _, ok := pdp.Seek(s, r, grant.Ask{Wanted: bounds(wanted)}); !ok || a.Entitlement.ID != right {
			t.Errorf("%s: asked for under %+v", wanted, a.Entitlement)
		}
	}
}

// What a standing right covers spends no grant.
func TestStandingRightSpendsNoGrant(t *testing.T) {
	s := state(t, content(), []string{"files/*"})
	s.Grants = given{aGrant("grt_1")}
	if d := pdp.Decide(s, request("tool_approved")); !d.Allowed() || d.Grant != "" {
		t.Errorf("%+v", d)
	}
}
