package api_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/api"
	"rutile/internal/audit"
)

func TestNobodyErasesThemselvesAndADryRunErasesNobody(t *testing.T) {
	r := newRig(t)
	r.apply(people)
	token := r.personal("root").Token
	a := r.as(token, "POST", "/api/v1/audit/erase", `{"person":"root","reason":"r"}`)
	if a.status != http.StatusForbidden {
		t.Errorf("an admin erases themselves: %d %s", a.status, a.body)
	}
	a = r.as(token, "POST", "/api/v1/audit/erase", `{"person":"bob","dryRun":true}`)
	var got api.Erased
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK || got.Keys != 2 || !got.DryRun || got.ID != "" || len(got.Stays) == 0 {
		t.Errorf("a dry run: %d %s", a.status, a.body)
	}
	if len(r.evidence.erased) != 0 {
		t.Fatalf("erased: %+v", r.evidence.erased)
	}
	a = r.as(token, "POST", "/api/v1/audit/erase", `{"person":"bob","issuer":"https://idp.example","reason":"r"}`)
	want := []audit.ErasureOrder{{Person: "bob", Issuer: "https://idp.example", Actor: "user:root", Reason: "r"}}
	if d := cmp.Diff(want, r.evidence.erased); d != "" || a.status != http.StatusOK {
		t.Errorf("%d %s: %s", a.status, a.body, d)
	}
}
