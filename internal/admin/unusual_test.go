package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/finding"
	"rutile/internal/risk"
)

// What stands out by its score is a finding of its severity, told by each node for itself:
// it ends when no node sees it any more, and its words are of the session where there is
// one.
func TestWhatStandsOutIsAFinding(t *testing.T) {
	w := watching(t)
	_, f := found(t, w.Admin)
	w.apply("kind: Agent\nid: bot\nowner: ann\n")
	stands := func(agent, session string, score int) risk.Standing {
		s := risk.Standing{Agent: agent, Session: session, Risk: access.Risk{Agent: score, Top: []access.RiskPoint{{Family: "volume", Signal: "calls", Points: 31, Observed: 90, Expected: 4, Unit: "calls"}}}}
		if session != "" {
			s.Risk.Agent, s.Risk.Session = 0, score
		}
		return s
	}
	tell := func(node string, over ...risk.Standing) {
		t.Helper()
		if err := f.Stands(t.Context(), node, over); err != nil {
			t.Fatal(err)
		}
	}
	open := func() string {
		t.Helper()
		list, err := f.List(t.Context(), finding.Filter{State: finding.Open})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, x := range list {
			if x.Rule != admin.Unusual || x.Subject.Kind != finding.SubjectAgent {
				t.Errorf("%+v", x)
			}
			out = append(out, fmt.Sprintf("%s %s %q %q", x.Severity, x.Subject.ID, x.Place, x.Owner))
		}
		slices.Sort(out)
		return strings.Join(out, "\n")
	}
	tell("n1", stands("bot", "", 60), stands("bot", "ses_1", 90), stands("ghost", "ses_2", 75))
	const all = `critical bot "ses_1" "ann"` + "\n" + `high ghost "ses_2" ""` + "\n" + `medium bot "" "ann"`
	if got := open(); got != all {
		t.Fatalf("open:\n%s", got)
	}
	list, err := f.List(t.Context(), finding.Filter{State: finding.Open})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		want := "what the agent did over its last sessions is unusual: its score is 60 of 100"
		next := "rutile session list"
		if x.Place != "" {
			want, next = "what the agent did in session "+x.Place+" is unusual", "rutile session show "+x.Place
		}
		if !strings.Contains(x.Why, want) || !strings.Contains(x.Next, next) || !strings.Contains(x.Next, "rutile agent suspend "+x.Subject.ID) || !slices.Contains(x.Evidence, "volume calls: 31 points, 90 calls, usual 4") {
			t.Errorf("%+v", x)
		}
	}
	tell("n2", stands("bot", "ses_1", 80))
	tell("n1", stands("bot", "", 61)) // what it says no more it lets go, and not for another node
	if got := open(); !strings.Contains(got, `bot "ses_1"`) || strings.Contains(got, "ghost") || !strings.Contains(got, `medium bot ""`) {
		t.Errorf("after n1 looked again:\n%s", got)
	}
	tell("n2")
	if got := open(); got != `medium bot "" "ann"` {
		t.Errorf("after n2 looked again:\n%s", got)
	}
	tell("n1")
	if got := open(); got != "" {
		t.Errorf("after nothing stands out:\n%s", got)
	}
}
