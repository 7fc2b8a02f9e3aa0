package pdp_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const pin = "sha256:1111"

// content is one agent, one server and one tool of every state.
func content() registry.Content {
	c := registry.Content{
		Generation: 7,
		Agents: []registry.Agent{
			{ID: "bot", Owner: "team-platform", State: registry.AgentActive, Expires: now.Add(time.Hour)},
			{ID: "other", Owner: "team-platform", State: registry.AgentActive, Expires: now.Add(time.Hour)},
		},
		Servers: []registry.Server{{ID: "files", Owner: "team-files", State: registry.ServerSanctioned}},
	}
	for _, s := range []registry.ToolState{registry.ToolPending, registry.ToolApproved, registry.ToolChanged,
		registry.ToolAbsent, registry.ToolQuarantined, registry.ToolBlocked, registry.ToolRetired, "levitating", ""} {
		t := registry.Tool{Server: "files", Name: "tool_" + string(s), State: s, SeenDigest: pin, PinDigest: pin,
			Class: registry.ToolClass{Class: "read"}}
		switch s {
		case registry.ToolPending:
			t.PinDigest = ""
		case registry.ToolChanged:
			t.SeenDigest = "sha256:2222"
		}
		c.Tools = append(c.Tools, t)
	}
	return c
}

func state(t testing.TB, c registry.Content, patterns []string, policies ...policy.Policy) *pdp.State {
	t.Helper()
	v, err := registry.NewView(c)
	if err != nil {
		t.Fatal(err)
	}
	cat := policy.Catalog{Servers: []policy.ServerInfo{{ID: "files"}}}
	for _, tool := range c.Tools {
		kind := access.Kind(tool.Kind())
		cat.Tools = append(cat.Tools, policy.ToolInfo{Server: tool.Server, Name: tool.Bare(), Kind: kind, Classes: []string{"read"}})
	}
	if patterns != nil {
		cat.AllowLists = []policy.AllowList{{Agent: "bot", Expires: now.Add(time.Hour), Patterns: patterns}}
	}
	set, err := policy.Compile(policies, cat)
	if err != nil {
		t.Fatal(err)
	}
	return &pdp.State{View: v, Set: set}
}

func request(tool string) *access.Request {
	return &access.Request{
		ID: "dec_1", At: now, Protocol: "mcp", Method: "tools/call", Server: "files", Kind: access.KindTool, Target: tool,
		Who: access.Identity{Actor: access.Actor{Agent: "bot", Attested: true, Source: "private_key_jwt"}, Session: "ses_1"},
	}
}

func allowed(s *pdp.State, r *access.Request) bool {
	d := pdp.Decide(s, r)
	return d.Allowed()
}

func arguments(t testing.TB, s string) rawjson.Value {
	t.Helper()
	v, err := rawjson.Parse([]byte(s), rawjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestZeroDecisionDenies(t *testing.T) {
	full := state(t, content(), []string{"files/*"})
	var zero access.Decision
	if zero.Allowed() {
		t.Error("the zero decision allows")
	}
	for name, tt := range map[string]struct {
		s *pdp.State
		r *access.Request
	}{
		"nothing":                      {},
		"no state":                     {nil, request("tool_approved")},
		"zero state":                   {&pdp.State{}, request("tool_approved")},
		"zero state, observed":         {&pdp.State{Monitor: true}, request("tool_approved")},
		"no policies":                  {&pdp.State{View: full.View}, request("tool_approved")},
		"no registry":                  {&pdp.State{Set: full.Set}, request("tool_approved")},
		"zero set":                     {&pdp.State{View: full.View, Set: &policy.Set{}}, request("tool_approved")},
		"zero view":                    {&pdp.State{View: &registry.View{}, Set: full.Set}, request("tool_approved")},
		"no request":                   {full, nil},
		"zero request":                 {full, &access.Request{}},
		"zero request in monitor mode": {&pdp.State{View: full.View, Set: full.Set, Monitor: true}, &access.Request{}},
	} {
		if d := pdp.Decide(tt.s, tt.r); d.Allowed() || d.Class == "" || d.Reason == "" {
			t.Errorf("%s: %+v", name, d)
		}
		if pdp.Visible(tt.s, tt.r) {
			t.Errorf("%s: visible", name)
		}
	}
	if d := pdp.Decide(full, request("tool_approved")); !d.Allowed() {
		t.Errorf("the control is denied: %+v", d)
	}
}

func TestRequestWithoutTimeOrIdentityDenies(t *testing.T) {
	s := state(t, content(), []string{"files/*"})
	r := request("tool_approved")
	r.At = time.Time{} // every agent would look unexpired
	if d := pdp.Decide(s, r); d.Allowed() || d.Class != access.ClassAgent {
		t.Errorf("no time: %+v", d)
	}
	r = request("tool_approved")
	r.Who = access.Identity{}
	if d := pdp.Decide(s, r); d.Allowed() || d.Class != access.ClassAgent {
		t.Errorf("nobody: %+v", d)
	}
}

func TestAgentStateDenies(t *testing.T) {
	for name, change := range map[string]func(*registry.Agent){
		"suspended":     func(a *registry.Agent) { a.State = registry.AgentSuspended },
		"quarantined":   func(a *registry.Agent) { a.State = registry.AgentQuarantined },
		"retired":       func(a *registry.Agent) { a.State = registry.AgentRetired },
		"expired":       func(a *registry.Agent) { a.Expires = now },
		"no end":        func(a *registry.Agent) { a.Expires = time.Time{} },
		"no owner":      func(a *registry.Agent) { a.Owner = "" },
		"unregistered":  func(a *registry.Agent) { a.ID = "someone-else" },
		"unknown state": func(a *registry.Agent) { a.State = "ascended" },
		"no state":      func(a *registry.Agent) { a.State = "" },
	} {
		c := content()
		change(&c.Agents[0])
		s := state(t, c, []string{"files/*"})
		for _, s.Monitor = range []bool{false, true} {
			d := pdp.Decide(s, request("tool_approved"))
			if d.Allowed() || d.Class != access.ClassAgent || d.Reason == "" || d.Help == "" {
				t.Errorf("%s, monitor %t: %+v", name, s.Monitor, d)
			}
			if pdp.Visible(s, request("tool_approved")) {
				t.Errorf("%s, monitor %t: visible", name, s.Monitor)
			}
		}
	}
}

func TestServerStateDenies(t *testing.T) {
	for st, want := range map[registry.ServerState]access.Class{
		registry.ServerDiscovered: access.ClassServer, registry.ServerTriaged: access.ClassServer,
		registry.ServerQuarantined: access.ClassServer, registry.ServerBlocked: access.ClassServer,
		registry.ServerRetired: access.ClassServer, "": access.ClassServer, "promoted": access.ClassServer,
		registry.ServerSanctioned: "", registry.ServerDeprecated: "",
	} {
		c := content()
		c.Servers[0].State = st
		s := state(t, c, []string{"files/*"})
		for _, s.Monitor = range []bool{false, true} {
			d := pdp.Decide(s, request("tool_approved"))
			if d.Class != want || d.Allowed() != (want == "") {
				t.Errorf("%q, monitor %t: %+v", st, s.Monitor, d)
			}
		}
	}
	s := state(t, content(), []string{"*/*"})
	r := request("tool_approved")
	r.Server = "elsewhere"
	if d := pdp.Decide(s, r); d.Allowed() || d.Class != access.ClassHidden {
		t.Errorf("unregistered server: %+v", d)
	}
}

func TestUnknownStateDenies(t *testing.T) {
	want := map[registry.ToolState]access.Class{
		registry.ToolPending: access.ClassHidden, registry.ToolApproved: "", registry.ToolChanged: access.ClassTool,
		registry.ToolAbsent: access.ClassTool, registry.ToolQuarantined: access.ClassTool, registry.ToolBlocked: access.ClassHidden,
		registry.ToolRetired: access.ClassHidden, "levitating": access.ClassTool, "": access.ClassTool,
	}
	s := state(t, content(), []string{"files/*"})
	for st, class := range want {
		d := pdp.Decide(s, request("tool_"+string(st)))
		if d.Class != class || d.Allowed() != (class == "") {
			t.Errorf("%q: %+v", st, d)
		}
		if pdp.Visible(s, request("tool_"+string(st))) != (class == "") {
			t.Errorf("%q: the list and the call disagree", st)
		}
	}
	c := content()
	for i := range c.Tools {
		c.Tools[i].Class.Class = "benign"
	}
	d := pdp.Decide(state(t, c, []string{"files/*"}), request("tool_approved"))
	if d.Allowed() || d.Class != access.ClassTool {
		t.Errorf("unknown class: %+v", d)
	}
	r := request("tool_approved")
	r.Kind = "gesture"
	if d := pdp.Decide(s, r); d.Allowed() || d.Class != access.ClassHidden {
		t.Errorf("unknown kind: %+v", d)
	}
}

// What is hidden must answer alike whether it exists or not.
func TestHiddenLooksAbsent(t *testing.T) {
	s := state(t, content(), []string{"files/*"})
	seen := map[string]bool{}
	for _, name := range []string{"tool_pending", "tool_blocked", "tool_retired", "no_such_tool"} {
		d := pdp.Decide(s, request(name))
		seen[string(d.Class)+"|"+d.Reason+"|"+d.Help] = true
	}
	if len(seen) != 1 {
		t.Errorf("answers differ: %v", seen)
	}
}

func TestOtherDigestThanPinDenies(t *testing.T) {
	c := content()
	for i := range c.Tools {
		c.Tools[i].SeenDigest = "sha256:other"
	}
	d := pdp.Decide(state(t, c, []string{"files/*"}), request("tool_approved"))
	if d.Allowed() || d.Class != access.ClassTool {
		t.Errorf("%+v", d)
	}
}

func TestObserveLetsDriftPassMarked(t *testing.T) {
	c := content()
	c.Servers[0].Pinning = registry.PinningObserve
	s := state(t, c, []string{"files/*"})
	for name, want := range map[string]bool{"tool_changed": true, "tool_pending": true, "tool_approved": true,
		"tool_absent": false, "tool_quarantined": false, "tool_blocked": false, "tool_retired": false} {
		d := pdp.Decide(s, request(name))
		if d.Allowed() != want {
			t.Errorf("%s: %+v", name, d)
		}
		if drift := name == "tool_changed" || name == "tool_pending"; drift != (d.Allowed() && d.Reason != "") {
			t.Errorf("%s: note is %q", name, d.Reason)
		}
	}
	if d := pdp.Decide(s, request("tool_changed")); d.Tool != "sha256:2222" {
		t.Errorf("the digest judged is %q, not the one offered", d.Tool)
	}
}

func TestMonitorRelaxesOnlyWhatNobodyDecided(t *testing.T) {
	s := state(t, content(), nil) // nothing is permitted
	s.Monitor = true
	for name, want := range map[string]bool{"tool_approved": true, "tool_pending": true, "tool_changed": true, "tool_absent": true,
		"tool_quarantined": false, "tool_blocked": false, "tool_retired": false, "tool_levitating": false, "no_such_tool": false} {
		d := pdp.Decide(s, request(name))
		if d.Allowed() != want || d.Would != access.Deny || !d.Monitor || d.Class == "" {
			t.Errorf("%s: %+v", name, d)
		}
	}
	s = state(t, content(), []string{"files/*"})
	s.Monitor = true
	if d := pdp.Decide(s, request("tool_approved")); !d.Allowed() || d.Would != access.Permit || !d.Monitor {
		t.Errorf("permitted anyway: %+v", d)
	}
}

func TestAttestationIsDemanded(t *testing.T) {
	s := state(t, content(), []string{"files/*"})
	r := request("tool_approved")
	r.Who.Actor.Attested = false
	d := pdp.Decide(s, r)
	if diff := cmp.Diff([]string{"baseline.attested"}, d.Forbids); d.Allowed() || d.Class != access.ClassPolicy || diff != "" {
		t.Errorf("%+v\n%s", d, diff)
	}
}

func TestReasonsNameRulesNotContents(t *testing.T) {
	p := policy.Policy{ID: "no-secrets", Cedar: `forbid (principal, action == Mcp::Action::"files/tool_approved", resource)
when { context.input.path like "*hunter2*" };`}
	s := state(t, content(), []string{"files/*"}, p)
	for name, tt := range map[string]struct {
		arguments string
		agent     string
		class     access.Class
		reason    string
		help      string
	}{
		"forbidden": {`{"path":"/x/hunter2"}`, "bot", access.ClassPolicy,
			`rule "no-secrets" forbids agent "bot" to call tool "tool_approved" of server "files"`,
			`ask team-platform, the agent's owner, whether the rule is meant for this; calling again as it is will not help`},
		"erring": {`{"path":5}`, "bot", access.ClassPolicyError,
			`rule "no-secrets" cannot be evaluated for this request, so it is denied`,
			`give every argument the rule needs in the form the tool's schema asks for; if that is so already, ask team-platform, the agent's owner, to correct the rule`},
		"not permitted": {`{"path":"/x"}`, "other", access.ClassDefault,
			`no rule permits agent "other" to call tool "tool_approved" of server "files"`,
			`ask team-platform, the agent's owner, to add "files/tool_approved" to its tools or to have a policy permit it`},
	} {
		r := request("tool_approved")
		r.Who.Actor.Agent = tt.agent
		r.Arguments = arguments(t, tt.arguments)
		d := pdp.Decide(s, r)
		got := []string{string(d.Class), d.Reason, d.Help}
		if diff := cmp.Diff([]string{string(tt.class), tt.reason, tt.help}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestUnknownArgumentsNeverPermitADispatch(t *testing.T) {
	p := policy.Policy{ID: "p", Cedar: `permit (principal, action == Mcp::Action::"files/tool_approved", resource) when { context.input.path like "/srv/*" };`}
	s := state(t, content(), nil, p)
	r := request("tool_approved")
	r.Unknown = true
	if d := pdp.Decide(s, r); d.Allowed() {
		t.Errorf("a call nobody knows the arguments of is permitted: %+v", d)
	}
	if !pdp.Visible(s, r) {
		t.Error("a tool some call of which is permitted is hidden")
	}
	r.Unknown, r.Arguments = false, arguments(t, `{"path":"/etc"}`)
	if pdp.Visible(s, r) {
		t.Error("known arguments that are denied are visible")
	}
}

// A tool's name must not reach the definition of another kind.
func TestToolNameCannotNamePrompt(t *testing.T) {
	c := content()
	c.Tools = append(c.Tools, registry.Tool{Server: "files", Name: "#prompt/hi", State: registry.ToolApproved, PinDigest: pin, SeenDigest: pin,
		Class: registry.ToolClass{Class: "read"}})
	s := state(t, c, []string{"files/*"})
	if d := pdp.Decide(s, request("#prompt/hi")); d.Allowed() || d.Class != access.ClassHidden {
		t.Errorf("%+v", d)
	}
	r := request("hi")
	r.Kind, r.Method = access.KindPrompt, "prompts/get"
	if d := pdp.Decide(s, r); !d.Allowed() {
		t.Errorf("the prompt itself: %+v", d)
	}
}

func TestKindsOfRequest(t *testing.T) {
	c := content()
	c.Tools = append(c.Tools, registry.Tool{Server: "files", Name: "#resource/file:///blocked", State: registry.ToolBlocked, PinDigest: pin})
	listed := state(t, c, []string{"files/*"})
	none := state(t, c, nil)
	for name, tt := range map[string]struct {
		kind           access.Kind
		method, target string
		listed, none   bool
	}{
		"list":            {access.KindServer, "tools/list", "", true, true},
		"unlisted file":   {access.KindResource, "resources/read", "file:///a", true, false},
		"blocked file":    {access.KindResource, "resources/read", "file:///blocked", false, false},
		"sampling":        {access.KindAsk, "sampling/createMessage", "sampling", false, false},
		"unlisted prompt": {access.KindPrompt, "prompts/get", "nope", false, false},
	} {
		r := request(tt.target)
		r.Kind, r.Method = tt.kind, tt.method
		if got := allowed(listed, r); got != tt.listed {
			t.Errorf("%s with an allow-list: %t", name, got)
		}
		if got := allowed(none, r); got != tt.none {
			t.Errorf("%s without: %t", name, got)
		}
	}
}

func TestFactsDigestCoversEveryFact(t *testing.T) {
	s := state(t, content(), []string{"files/*"})
	base := pdp.GatherFacts(s, request("tool_approved")).Digest
	if again := pdp.GatherFacts(s, request("tool_approved")).Digest; again != base {
		t.Fatalf("two digests of the same facts: %s, %s", base, again)
	}
	seen := map[string]string{base: "the base"}
	note := func(name, digest string) {
		if other, dup := seen[digest]; dup {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[digest] = name
	}
	for name, change := range map[string]func(*access.Request){
		"target":   func(r *access.Request) { r.Target = "tool_changed" },
		"attested": func(r *access.Request) { r.Who.Actor.Attested = false },
		"session":  func(r *access.Request) { r.Who.Session = "ses_2" },
		"task":     func(r *access.Request) { r.Who.Task = "t" },
		"bound":    func(r *access.Request) { r.Who.Bound = true },
		"subject":  func(r *access.Request) { r.Who.Subject.ID = "ann" },
		"issuer":   func(r *access.Request) { r.Who.Subject.Issuer = "ann" },
		"time":     func(r *access.Request) { r.At = r.At.Add(time.Nanosecond) },
		"unknown":  func(r *access.Request) { r.Unknown = true },
		"agent":    func(r *access.Request) { r.Who.Actor.Agent = "other" },
		"method":   func(r *access.Request) { r.Method = "x" },
		"kind":     func(r *access.Request) { r.Kind = access.KindServer },
	} {
		r := request("tool_approved")
		change(r)
		note(name, pdp.GatherFacts(s, r).Digest)
	}
	for name, change := range map[string]func(*registry.Content){
		"generation":   func(c *registry.Content) { c.Generation++ },
		"agent owner":  func(c *registry.Content) { c.Agents[0].Owner = "x" },
		"agent class":  func(c *registry.Content) { c.Agents[0].Class = "x" },
		"runtime":      func(c *registry.Content) { c.Agents[0].Runtime = "x" },
		"model":        func(c *registry.Content) { c.Agents[0].Model = "x" },
		"agent tier":   func(c *registry.Content) { c.Agents[0].RiskTier = 1 },
		"agent scopes": func(c *registry.Content) { c.Agents[0].DataScopes = []string{"x"} },
		"agent state":  func(c *registry.Content) { c.Agents[0].State = registry.AgentSuspended },
		"server owner": func(c *registry.Content) { c.Servers[0].Owner = "x" },
		"server state": func(c *registry.Content) { c.Servers[0].State = registry.ServerDeprecated },
		"labels":       func(c *registry.Content) { c.Servers[0].DataScopes = []string{"x"} },
		"tool class":   func(c *registry.Content) { c.Tools[1].Class.Class = "write" },
		"tool tier":    func(c *registry.Content) { c.Tools[1].Class.Tier = 2 },
		"pin":          func(c *registry.Content) { c.Tools[1].PinDigest, c.Tools[1].SeenDigest = "sha256:3", "sha256:3" },
	} {
		c := content()
		change(&c)
		v, err := registry.NewView(c)
		if err != nil {
			t.Fatal(err)
		}
		note(name, pdp.GatherFacts(&pdp.State{View: v, Set: s.Set}, request("tool_approved")).Digest)
	}
}

func TestDecisionNamesWhatItStandsOn(t *testing.T) {
	s := state(t, content(), []string{"files/*"})
	d := pdp.Decide(s, request("tool_approved"))
	want := access.Decision{ID: "dec_1", Outcome: access.Permit, Would: access.Permit, Permits: []string{"allow.bot.files"},
		Set: s.Set.Digest(), Schema: s.Set.Schema(), Facts: pdp.GatherFacts(s, request("tool_approved")).Digest, Tool: pin}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkDecide(b *testing.B) {
	s := state(b, content(), []string{"files/*"})
	r := request("tool_approved")
	b.ReportAllocs()
	for b.Loop() {
		pdp.Decide(s, r)
	}
}

func BenchmarkGatherFacts(b *testing.B) {
	s := state(b, content(), []string{"files/*"})
	r := request("tool_approved")
	b.ReportAllocs()
	for b.Loop() {
		pdp.GatherFacts(s, r)
	}
}

func TestReasonsFitWhatWasAsked(t *testing.T) {
	c := content()
	c.Tools = append(c.Tools, registry.Tool{Server: "files", Name: "#prompt/hi", State: registry.ToolApproved, PinDigest: pin, SeenDigest: pin,
		Class: registry.ToolClass{Class: "read"}})
	long := strings.Repeat("é", 300)
	s := state(t, c, nil, policy.Policy{ID: "no", Cedar: strings.Repeat(`forbid (principal == Mcp::Agent::"other", action, resource);`, 7)},
		policy.Policy{ID: "ask", Cedar: `@advice("Use the archive.") forbid (principal, action == Mcp::Action::"files/requests/roots", resource);`})
	for name, tt := range map[string]struct {
		agent, target string
		kind          access.Kind
		reason, help  string
	}{
		"tool":     {"bot", "tool_approved", access.KindTool, `no rule permits agent "bot" to call tool "tool_approved" of server "files"`, `to add "files/tool_approved" to its tools`},
		"prompt":   {"bot", "hi", access.KindPrompt, `no rule permits agent "bot" to get prompt "hi" of server "files"`, `to add "files/prompts/hi" to its tools`},
		"resource": {"bot", "file:///secret-name", access.KindResource, `no rule permits agent "bot" to read this resource of server "files"`, `to add "files/resources/read" to its tools`},
		"ask":      {"bot", "sampling", access.KindAsk, `no rule permits agent "bot" to answer the request "sampling" of server "files"`, `the agent's owner, to have a policy permit it`},
		"advice":   {"bot", "roots", access.KindAsk, `rule "ask" forbids agent "bot" to answer the request "roots" of server "files"`, `Use the archive.`},
		"long":     {"bot", long, access.KindAsk, "é…\" of server", "to have a policy permit it"},
		"many":     {"other", "tool_approved", access.KindTool, `rules "no.1", "no.2", "no.3", "no.4", "no.5" and 2 more forbid agent "other" to call`, "will not help"},
		"two":      {"other", "roots", access.KindServer, `rules "no.1", "no.2", "no.3", "no.4", "no.5" and 2 more forbid agent "other" to use "tools/call" of server "files"`, "will not help"},
	} {
		r := request(tt.target)
		r.Who.Actor.Agent, r.Kind = tt.agent, tt.kind
		d := pdp.Decide(s, r)
		if d.Allowed() || !strings.Contains(d.Reason, tt.reason) || !strings.Contains(d.Help, tt.help) {
			t.Errorf("%s: %q, %q", name, d.Reason, d.Help)
		}
		if len(d.Reason) > 600 || strings.Contains(d.Reason, "secret-name") {
			t.Errorf("%s says too much: %q", name, d.Reason)
		}
	}
	s = state(t, c, nil, policy.Policy{ID: "pair", Cedar: strings.Repeat(`forbid (principal, action == Mcp::Action::"files/tool_approved", resource);`, 2)})
	if d := pdp.Decide(s, request("tool_approved")); !strings.HasPrefix(d.Reason, `rules "pair.1" and "pair.2" forbid agent "bot"`) {
		t.Errorf("%q", d.Reason)
	}
}

// The cost of a decision does not grow with the number of policies.
func BenchmarkDecideAmongPolicies(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			ps := make([]policy.Policy, n)
			for i := range ps {
				ps[i] = policy.Policy{ID: "p" + strconv.Itoa(i), Cedar: fmt.Sprintf(
					`forbid (principal in Mcp::AgentClass::"c%d", action == Mcp::Action::"files/tool_%d", resource) when { context.input.path like "/etc/*" };`, i, i)}
			}
			ps[0].Cedar = `forbid (principal, action == Mcp::Action::"files/tool_approved", resource) when { context.input.path like "/etc/*" || context.session.depth > 3 };`
			s := state(b, content(), []string{"files/*"}, ps...)
			r := request("tool_approved")
			r.Arguments = arguments(b, `{"path":"/srv/a"}`)
			if d := pdp.Decide(s, r); !d.Allowed() {
				b.Fatalf("%+v", d)
			}
			b.ReportAllocs()
			for b.Loop() {
				pdp.Decide(s, r)
			}
		})
	}
}
