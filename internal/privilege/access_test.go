package privilege_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/privilege"
)

// TestWhoMayUseAServerIsWhatDecisionsSay: an agent stands there exactly where a call of it
// would not be plainly denied, with what says so, its grants of that server and no other,
// and the calls that were counted.
func TestWhoMayUseAServerIsWhatDecisionsSay(t *testing.T) {
	r := newRig(t)
	r.server("files", "read:list", "write:put")
	r.server("mail", "read:list", "write:send")
	r.apply(agent("bot", "files/*") + "---\n" + agent("idle", "mail/list") + "---\n" + agent("asks", "mail/list") + `---
kind: Entitlement
id: putting
owner: team
agents: [asks]
tools: ["files/put"]
---
kind: Policy
id: eyes
cedar: |
  permit (principal == Mcp::Agent::"idle", action == Mcp::Action::"files/list", resource);
`)
	r.now = day.AddDate(0, 0, 60)
	r.used("bot", "files/list", 9)
	r.used("bot", "mail/list", 4)
	in := r.input()
	in.Server = "files"
	held := func(id, server, tool string) grant.Grant {
		return grant.Grant{ID: id, Party: grant.Party{Agent: "asks", Subject: "ann"}, Target: grant.Target{Server: server, Kind: access.KindTool, Name: tool}, Expires: r.now.Add(time.Hour)}
	}
	in.Grants = []grant.Grant{held("grt_1", "files", "put"), held("grt_2", "mail", "send")}
	got := privilege.NewAccess(in)
	if got.Young != "" || !slices.IsSortedFunc(got.Holders, func(a, b privilege.Holder) int { return strings.Compare(a.Key(), b.Key()) }) {
		t.Errorf("young %q, or not sorted", got.Young)
	}
	by := map[string]privilege.Holder{}
	for _, h := range got.Holders {
		if !strings.HasPrefix(h.Action, "files/") && h.Action != "files" {
			t.Errorf("%s of another server", h.Action)
		}
		by[h.Agent+" "+h.Action] = h
	}
	for _, a := range []string{"bot", "idle", "asks"} {
		for _, action := range []string{"files/list", "files/put"} {
			h, there := by[a+" "+action]
			if may := r.outcome(a, action) != access.Deny; may != there {
				t.Errorf("%s %s: decided %v, said %v (%+v)", a, action, r.outcome(a, action), there, h)
			}
		}
	}
	if h := by["bot files/list"]; h.Calls != 9 || len(h.Basis) != 1 || h.Basis[0].Kind != privilege.BasisList || h.Basis[0].ID != "bot" {
		t.Errorf("by its list: %+v", h)
	}
	if h := by["idle files/list"]; h.Calls != 0 || len(h.Basis) != 1 || h.Basis[0].Kind != privilege.BasisPolicy || h.Basis[0].ID != "eyes" {
		t.Errorf("by a policy: %+v", h)
	}
	h := by["asks files/put"]
	if h.Outcome != access.RequireApproval.String() || len(h.Grants) != 1 || h.Grants[0].ID != "grt_1" || h.Grants[0].For != "ann" ||
		!slices.ContainsFunc(h.Basis, func(b privilege.Basis) bool { return b.Kind == privilege.BasisEntitlement && b.ID == "putting" }) {
		t.Errorf("by an entitlement: %+v", h)
	}
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
