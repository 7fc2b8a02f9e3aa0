package privilege_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/privilege"
	"rutile/internal/registry"
)

// granted is a grant in force of a tool, as it is approved.
func (r *rig) granted(id, agent, server, tool string, depth int) grant.Grant {
	r.Helper()
	d, ok := r.Current().View.Tool(server, tool)
	if !ok {
		r.Fatalf("no tool %s/%s", server, tool)
	}
	return grant.Grant{ID: id, State: grant.GrantActive, Party: grant.Party{Agent: agent, Issuer: "idp", Subject: "ann"}, Depth: depth, Expires: r.now.Add(time.Hour),
		Target: grant.Target{Server: server, Kind: access.KindTool, Name: tool, Digest: d.PinDigest, Tier: 3}}
}

// TestWhoMayUseAServerIsWhatDecisionsSay: an agent stands there exactly where some call of
// it, for whomever and in whatever session, would not be plainly denied, with what says
// so, its grants that are good for it and no others, and the calls that were counted.
func TestWhoMayUseAServerIsWhatDecisionsSay(t *testing.T) {
	r := newRig(t)
	r.server("files", "read:list", "write:put", "write:wipe", "read:held", "read:old")
	r.server("mail", "read:list", "write:send")
	agents := []string{"bot", "idle", "asks", "heir", "for-ann", "bound", "masked", "away"}
	for _, a := range agents {
		r.apply(agent(a, "mail/list"))
	}
	r.apply(agent("bot", "files/list") + "---\n" + agent("masked", "files/list") + "---\n" + agent("away", "files/*") + `---
kind: Entitlement
id: putting
owner: team
agents: [asks]
tools: ["files/put"]
delegate: {maxDepth: 1, agents: [heir]}
---
kind: Policy
id: eyes
cedar: |
  permit (principal == Mcp::Agent::"idle", action == Mcp::Action::"files/list", resource);
---
kind: Policy
id: persons
cedar: |
  permit (principal == Mcp::Agent::"for-ann", action == Mcp::Action::"files/list", resource) when { context has subject };
---
kind: Policy
id: sessions
cedar: |
  permit (principal == Mcp::Agent::"bound", action == Mcp::Action::"files/list", resource) when { context.session.bound };
---
kind: Policy
id: slow
cedar: |
  @outcome("rate_limit") @fact("calls_1m")
  forbid (principal == Mcp::Agent::"masked", action == Mcp::Action::"files/list", resource);
---
kind: Policy
id: short
cedar: |
  forbid (principal, action == Mcp::Action::"files/put", resource) when { context.input has text && context.input.text == "long" };
---
kind: Policy
id: hold
cedar: |
  permit (principal, action == Mcp::Action::"files/held", resource);
`)
	r.now = day.AddDate(0, 0, 60)
	if _, err := r.ChangeAgent(t.Context(), keeper, "away", registry.VerbSuspend, "off"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ChangeTool(t.Context(), keeper, "files", "held", registry.VerbQuarantine, "odd"); err != nil {
		t.Fatal(err)
	}
	r.used("bot", "files/list", 9)
	r.used("bot", "mail/list", 4)
	in := r.input()
	in.Server = "files"
	stale := r.granted("grt_5", "asks", "files", "put", 0)
	stale.Target.Digest = "sha256:other"
	in.Grants = []grant.Grant{r.granted("grt_1", "asks", "files", "put", 0), r.granted("grt_2", "asks", "mail", "send", 0), r.granted("grt_3", "heir", "files", "put", 1),
		r.granted("grt_4", "heir", "files", "wipe", 1), stale, r.granted("grt_6", "away", "files", "put", 0)}
	got := privilege.NewAccess(in)
	if got.Young != "" || got.Monitor || !slices.IsSortedFunc(got.Holders, func(a, b privilege.Holder) int { return strings.Compare(a.Key(), b.Key()) }) {
		t.Errorf("young %q, monitor %t, or not sorted", got.Young, got.Monitor)
	}
	said := map[string]string{}
	for _, h := range got.Holders {
		text := h.Outcome
		for _, b := range h.Basis {
			text += " " + b.Kind + ":" + b.ID
		}
		for _, g := range h.Grants {
			text += " " + g.ID + ":" + g.For
		}
		said[h.Agent+" "+h.Action] = text
		if want := map[string]int{"bot files/list": 9}[h.Agent+" "+h.Action]; h.Calls != want {
			t.Errorf("%s of %s was called %d times, not %d", h.Action, h.Agent, h.Calls, want)
		}
	}
	want := map[string]string{
		"bot files/list":     "permit agent:bot",
		"idle files/list":    "permit policy:eyes",
		"for-ann files/list": "depends policy:persons",
		"bound files/list":   "depends policy:sessions",
		"masked files/list":  "rate_limit policy:slow",
		"asks files/put":     "require_approval entitlement:putting grt_1:ann",
		"heir files/put":     "depends entitlement:putting grt_3:ann",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("who may (-want +got):\n%s", diff)
	}
	if want := []string{"files/held", "files/old", "files/resources/read", "files/wipe"}; !slices.Equal(got.Nobody, want) {
		t.Errorf("nobody may %v, not %v", got.Nobody, want)
	}

	// What decisions say of single calls bears it out.
	people := []access.Subject{{}, {Issuer: "idp", ID: "ann"}}
	for _, a := range agents {
		for _, tool := range []string{"list", "put", "wipe", "held", "old"} {
			may := false
			for _, who := range people {
				for _, bound := range []bool{false, true} {
					for i := -1; i < len(in.Grants); i++ {
						s := r.state()
						if i >= 0 {
							s.Grants = only{in.Grants[i]}
						}
						d := pdp.Decide(s, &access.Request{ID: "dec_1", At: r.now, Protocol: "mcp", Method: "tools/call", Server: "files", Kind: access.KindTool, Target: tool,
							Who: access.Identity{Actor: access.Actor{Agent: a, Attested: true}, Subject: who, Bound: bound}})
						may = may || d.Outcome == access.Permit || d.Outcome.Conditional()
					}
				}
			}
			if _, there := said[a+" files/"+tool]; may != there {
				t.Errorf("%s files/%s: some call may be %t, said %t", a, tool, may, there)
			}
		}
	}

	in.State.Monitor = true
	if got := privilege.NewAccess(in); !got.Monitor || len(got.Holders) != len(want) {
		t.Errorf("observing: %t, %d holders instead of %d", got.Monitor, len(got.Holders), len(want))
	}
}

// only is one grant that is in force.
type only struct{ grant.Grant }

func (o only) Covering(c *grant.Call) []grant.Grant {
	if !o.Covers(c) {
		return nil
	}
	return []grant.Grant{o.Grant}
}

// TestYoungEvidenceIsSaid: nobody takes for unused what only was not counted.
func TestYoungEvidenceIsSaid(t *testing.T) {
	r := newRig(t)
	r.server("files", "read:list")
	r.now = day.AddDate(0, 0, 10)
	in := r.input()
	in.Server = "files"
	if got := privilege.NewAccess(in); got.Young == "" {
		t.Error("evidence of ten days is taken for thirty")
	}
}
