package console_test

import (
	"net/http"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// TestWhoDecidesSeesHowUnusualItIs: the score of then with its level and its reasons
// stands on the card; where nobody looked nothing is said of it.
func TestWhoDecidesSeesHowUnusualItIs(t *testing.T) {
	r := newRig(t)
	r.console(&work{})
	req := r.ask(`{"item":"tea"}`, func(a *grant.Ask) {
		a.Risk = &access.Risk{Session: 78, Agent: 31, Without: 44, Top: []access.RiskPoint{
			{Family: "volume", Signal: "sent", Points: 34, Observed: 9000, Expected: 120, Unit: "bytes", Sample: 411},
			{Family: "tool", Signal: "<b>new-tool</b>", Points: 12},
			{Family: "hours", Signal: "hour", Points: 4},
		}}
	})
	b := r.signedIn("ann", req.ID)
	page := b.get("/approve/" + req.ID)
	page.wants(t, "the card", http.StatusOK, "How unusual it was when it asked", "high", "<strong>78</strong>", "<strong>31</strong>", "44", "volume: sent", "9000 bytes", "120", "411", "&lt;b&gt;new-tool", "hours: hour")
	plain := r.ask(`{"item":"milk"}`)
	if got := b.get("/approve/" + plain.ID); got.status != http.StatusOK || strings.Contains(got.body, "How unusual") {
		t.Errorf("where nobody looked: %d %s", got.status, text(got.body))
	}
}
