package api_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/audit"
)

// Who may only read evidence sees what is due and lets nothing go; an admin's order
// carries their name, and a dry run is none.
func TestRetentionIsRunByAdminsOnly(t *testing.T) {
	r := newRig(t)
	r.apply(people)
	admin, auditor := r.personal("root").Token, r.personal("aud").Token
	if a := r.as(auditor, "GET", "/api/v1/audit/retention", ""); a.status != http.StatusOK {
		t.Errorf("an auditor looks: %d %s", a.status, a.body)
	}
	for _, body := range []string{`{}`, `{"dryRun":true}`, `{"clock":true}`} {
		if a := r.as(auditor, "POST", "/api/v1/audit/retention", body); a.status != http.StatusForbidden {
			t.Errorf("an auditor orders %s: %d %s", body, a.status, a.body)
		}
	}
	if a := r.as(admin, "POST", "/api/v1/audit/retention", `{"dryRun":true}`); a.status != http.StatusOK || len(r.evidence.retained) != 0 {
		t.Errorf("a dry run: %d %s, %+v", a.status, a.body, r.evidence.retained)
	}
	if a := r.as(admin, "POST", "/api/v1/audit/retention", `{"reason":"r","clock":true}`); a.status != http.StatusOK {
		t.Errorf("an admin: %d %s", a.status, a.body)
	}
	if d := cmp.Diff([]audit.RetentionOrder{{Actor: "user:root", Reason: "r", Clock: true}}, r.evidence.retained); d != "" {
		t.Error(d)
	}
}
