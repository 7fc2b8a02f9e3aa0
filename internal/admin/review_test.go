package admin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/registry"
)

// watched is an office at a time of its own, with what the evidence counts.
type watched struct {
	*office
	now  time.Time
	uses []audit.Use
}

func watching(t *testing.T) *watched {
	t.Helper()
	w := &watched{office: open(t), now: day}
	deps := w.deps()
	deps.Now = func() time.Time { return w.now }
	deps.Usage = func(_ context.Context, since time.Time) (audit.Usage, error) {
		u := audit.Usage{Oldest: day.AddDate(-1, 0, 0)}
		for _, x := range w.uses {
			if !x.Last.Before(since) {
				u.Uses = append(u.Uses, x)
			}
		}
		return u, nil
	}
	a, err := admin.New(t.Context(), admin.Config{Node: "n1"}, deps)
	if err != nil {
		t.Fatal(err)
	}
	w.Admin = a
	w.apply(reviewers + `kind: Team
id: docs
members: [rita]
---
kind: Server
id: s
owner: docs
state: sanctioned
expires: 2027-02-20
` + pinnedServer + scoped + `---
kind: Agent
id: reader
owner: docs
expires: 2027-02-22
tools: ["s/read", "s/write"]
`)
	w.listing("s", "read", "reads", "write", "writes")
	w.now = day.AddDate(0, 2, 20) // 2027-02-13
	w.use("read", 10)
	return w
}

func (w *watched) use(tool string, daysAgo int) {
	w.uses = append(w.uses, audit.Use{Agent: "reader", Server: "s", Method: "tools/call", Target: tool, Calls: 3, Last: w.now.AddDate(0, 0, -daysAgo)})
}

func (w *watched) reviews(f admin.ReviewFilter) map[string]admin.ReviewItem {
	w.t.Helper()
	items, err := w.Reviews(w.t.Context(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]admin.ReviewItem{}
	for _, i := range items {
		out[string(i.Kind)+"/"+i.ID] = i
	}
	return out
}

// TestAReviewShowsUseBesideWhatIsGranted: and proposes what follows from it.
func TestAReviewShowsUseBesideWhatIsGranted(t *testing.T) {
	w := watching(t)
	got := w.reviews(admin.ReviewFilter{})
	s, a := got["server/s"], got["agent/reader"]
	if s.State != admin.ReviewDue || s.Proposal != "narrow" || a.Proposal != "narrow" {
		t.Errorf("server %s %s, agent %s", s.State, s.Proposal, a.Proposal)
	}
	if diff := cmp.Diff([][]string{{"read", "write"}, {"read"}, {"reader"}, {"s/read", "s/write"}, {"s/read"}}, [][]string{s.Granted, s.Used30, s.Users90, a.Granted, a.Used90}); diff != "" {
		t.Error(diff)
	}
	w.use("write", 70)
	if s := w.reviews(admin.ReviewFilter{})["server/s"]; s.Proposal != "keep" || len(s.Used30) != 1 || len(s.Used90) != 2 || s.Calls90 != 6 {
		t.Errorf("with a use 70 days ago: %+v", s)
	}
	w.uses = w.uses[1:] // the only use is older than 60 days
	if s := w.reviews(admin.ReviewFilter{})["server/s"]; s.Proposal != "retire" {
		t.Errorf("not used for 70 days: %+v", s)
	}
	w.now = day.AddDate(0, 0, 20)
	if s := w.reviews(admin.ReviewFilter{All: true})["server/s"]; s.Proposal != "keep" || s.Young == "" {
		t.Errorf("young and not used: %+v", s)
	}
	if got := w.reviews(admin.ReviewFilter{}); len(got) != 0 {
		t.Errorf("due in three months: %v", got)
	}
}

// TestOnlyTheOwnerAnswersAReview: the answer is kept with what was shown, and sets
// when it is due next.
func TestOnlyTheOwnerAnswersAReview(t *testing.T) {
	w := watching(t)
	ctx := t.Context()
	_, err := w.AnswerReview(ctx, otto, admin.ReviewServer, "s", admin.ReviewAnswer{Decision: "keep"})
	hasCode(t, "somebody else", err, access.CodeDenied, "the owner answers")
	_, err = w.AnswerReview(ctx, rita, admin.ReviewServer, "s", admin.ReviewAnswer{Decision: "maybe"})
	hasCode(t, "no answer", err, access.CodeInvalid)
	_, err = w.AnswerReview(ctx, rita, admin.ReviewServer, "none", admin.ReviewAnswer{Decision: "keep"})
	hasCode(t, "of nothing", err, access.CodeNotFound)
	if _, err := w.AnswerReview(ctx, rita, admin.ReviewServer, "s", admin.ReviewAnswer{Decision: "keep", Reason: "used daily"}); err != nil {
		t.Fatal(err)
	}
	s, _ := w.Current().View.Server("s")
	tier := w.Current().RiskOf(s, w.now).Tier
	if want := w.now.AddDate(0, 0, map[int]int{0: 365, 1: 365, 2: 180, 3: 90}[tier]); s.Expires.Sub(want) > 24*time.Hour || s.Expires.Before(want) || s.Attested == nil || s.Attested.By != "user:rita" {
		t.Errorf("due next %s, attested %+v", s.Expires, s.Attested)
	}
	last := w.evidence.leaves[len(w.evidence.leaves)-1]
	if last.Verb != "attest" || last.Reason != "used daily" || !strings.Contains(string(last.Detail), `"used90":["read"]`) {
		t.Errorf("the evidence holds %s %s", last.Verb, last.Detail)
	}
	if _, err := w.AnswerReview(ctx, rita, admin.ReviewAgent, "reader", admin.ReviewAnswer{Decision: "retire"}); err != nil {
		t.Fatal(err)
	}
	if a, _ := w.Current().View.Agent("reader"); a.State != registry.AgentRetired {
		t.Errorf("agent is %s", a.State)
	}
}

// TestACampaignNeverPutsAReviewOff: it brings forward what is due later.
func TestACampaignNeverPutsAReviewOff(t *testing.T) {
	w := watching(t)
	ctx := t.Context()
	due := time.Date(2027, 2, 22, 0, 0, 0, 0, time.UTC)
	for _, bad := range []time.Time{{}, w.now, w.now.AddDate(2, 0, 0)} {
		_, err := w.StartReviews(ctx, otto, admin.ReviewFilter{}, bad, "")
		hasCode(t, bad.String(), err, access.CodeInvalid)
	}
	c, err := w.StartReviews(ctx, otto, admin.ReviewFilter{}, due, "spring")
	if err != nil || len(c.Items) != 2 || c.Moved != 1 {
		t.Fatalf("%v, %+v", err, c)
	}
	got := w.reviews(admin.ReviewFilter{All: true})
	if !got["agent/reader"].Due.Equal(due) || !got["server/s"].Due.Before(due) {
		t.Errorf("due %s and %s", got["agent/reader"].Due, got["server/s"].Due)
	}
	_, err = w.StartReviews(ctx, otto, admin.ReviewFilter{Owner: "nobody"}, due, "")
	hasCode(t, "of nobody", err, access.CodeNotFound)
}

// TestAnUnansweredReviewEndsInQuarantine: reminded first, once, and only where the
// configuration says so.
func TestAnUnansweredReviewEndsInQuarantine(t *testing.T) {
	w := watching(t)
	ctx, patience := t.Context(), 14*24*time.Hour
	remind := func(patience time.Duration) int {
		t.Helper()
		before := len(w.evidence.leaves)
		if err := w.RemindReviews(ctx, patience); err != nil {
			t.Fatal(err)
		}
		return len(w.evidence.leaves) - before
	}
	state := func() registry.ServerState { s, _ := w.Current().View.Server("s"); return s.State }
	if n := remind(patience); n != 0 {
		t.Errorf("%d leaves before it is due", n)
	}
	w.now = w.now.AddDate(0, 0, 9) // server overdue, agent's last day
	if n := remind(patience); n != 1 || state() != registry.ServerSanctioned {
		t.Errorf("%d leaves when it is due, %s", n, state())
	}
	if n := remind(patience); n != 0 {
		t.Errorf("%d leaves, reminded again", n)
	}
	w.now = w.now.AddDate(0, 0, 30)
	if n := remind(0); n != 1 || state() != registry.ServerSanctioned { // the agent's reminder
		t.Errorf("%d leaves without patience configured, %s", n, state())
	}
	if n := remind(patience); n != 1 || state() != registry.ServerQuarantined {
		t.Errorf("%d leaves after its time, %s", n, state())
	}
}
