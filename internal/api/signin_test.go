package api_test

import (
	"net/http"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/api"
)

// TestALinkIsForAnAccountOfTheMachine: neither the operator token nor a personal one,
// which do not open a session by a link, get one.
func TestALinkIsForAnAccountOfTheMachine(t *testing.T) {
	made := 0
	r := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.SignInLink = func(admin.Actor) (string, time.Time, error) {
			made++
			return "http://127.0.0.1/console/enter?code=x", time.Time{}, nil
		}
	})
	r.apply("kind: User\nid: ann\nroles: [admin]\nlocalUsers: [\"1001\"]\n")
	const path = "/api/v1/own/sign-in-link"
	if a := r.do("POST", path, "{}"); a.status != http.StatusForbidden {
		t.Errorf("the operator token: %d %s", a.status, a.body)
	}
	if a := r.as(r.personal("ann").Token, "POST", path, "{}"); a.status != http.StatusForbidden {
		t.Errorf("a personal token: %d %s", a.status, a.body)
	}
	if made != 0 {
		t.Errorf("%d links were made", made)
	}
	for _, account := range []int{uid, 0, 1001} {
		q := request("POST", path, "{}")
		q.Header.Del("Authorization")
		if a := r.serve(r.api.Local(), q.WithContext(api.WithPeer(q.Context(), account, nil))); a.status != http.StatusOK {
			t.Errorf("account %d: %d %s", account, a.status, a.body)
		}
	}
	if made != 3 {
		t.Errorf("%d links were made for three accounts", made)
	}
}
