package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/boundary"
	"rutile/internal/identity"
	"rutile/internal/store"
)

// Placeholders are of one session and are there as long as it is open.
func TestPlaceholdersGoWithTheirSession(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		for _, id := range []string{"ses_1", "ses_2"} {
			f := family(id, 0)
			f.Proof, f.Agent = id, id+"-bot"
			must[identity.Family](t)(s.JoinFamily(t.Context(), f, 0))
			row := boundary.Row{Session: id, Token: "RUTILE_EMAIL_x", Label: "pii", Kind: "email", Server: "crm", Tool: "find", Sealed: []byte(id), At: at(1)}
			for range 2 { // again is no other
				if err := s.PutPlaceholders(t.Context(), []boundary.Row{row}); err != nil {
					t.Fatal(err)
				}
				row.Sealed = []byte("another")
			}
			key := must[[]byte](t)(s.SessionKey(t.Context(), id, []byte("first")))
			if again := must[[]byte](t)(s.SessionKey(t.Context(), id, []byte("second"))); string(key) != "first" || string(again) != "first" {
				t.Errorf("the key is %q and then %q", key, again)
			}
		}
		find := func(session, token string) []string {
			var out []string
			for _, r := range must[[]boundary.Row](t)(s.Placeholders(t.Context(), session, []string{token, "RUTILE_EMAIL_y"})) {
				out = append(out, r.Session+" "+r.Label+" "+r.Kind+" "+r.Server+" "+string(r.Sealed))
			}
			return out
		}
		if d := cmp.Diff([]string{"ses_1 pii email crm ses_1"}, find("ses_1", "RUTILE_EMAIL_x")); d != "" {
			t.Error(d)
		}
		if got := find("ses_3", "RUTILE_EMAIL_x"); got != nil {
			t.Errorf("a session that is none has %v", got)
		}
		owe := func(f identity.Family) access.Owed { return owedBy("chg_"+f.ID, f.ID) }
		must[[]identity.Family](t)(s.StateFamilies(t.Context(), identity.Selection{ID: "ses_2"}, identity.SessionQuarantined, "why", owe))
		if got := find("ses_2", "RUTILE_EMAIL_x"); got != nil {
			t.Errorf("in quarantine it has %v", got)
		}
		if _, ok, err := s.ReleaseFamily(t.Context(), "ses_2"); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if got := find("ses_2", "RUTILE_EMAIL_x"); len(got) != 1 {
			t.Errorf("released it has %v", got)
		}
		must[[]identity.Family](t)(s.StateFamilies(t.Context(), identity.Selection{ID: "ses_1"}, identity.SessionRevoked, "why", owe))
		if got := find("ses_1", "RUTILE_EMAIL_x"); got != nil {
			t.Errorf("revoked it has %v", got)
		}
		if key := must[[]byte](t)(s.SessionKey(t.Context(), "ses_1", []byte("third"))); string(key) != "third" {
			t.Errorf("its key is still %q", key)
		}
		// Time ends a session too: of the other nothing is left either.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		later := cfg
		now := at(0).Add(13 * time.Hour)
		later.Now = func() time.Time { return now }
		s = open(t, later)
		if got := find("ses_2", "RUTILE_EMAIL_x"); got != nil {
			t.Errorf("after its time it has %v", got)
		}
	})
}
