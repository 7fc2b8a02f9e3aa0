package pdp_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
)

// TestWhatNobodyConfirmedCannotBeAskedFor: from the moment it is overdue, where it says
// so; a quarter after it was made or confirmed last, unless it says another time.
func TestWhatNobodyConfirmedCannotBeAskedFor(t *testing.T) {
	r := request("tool_approved")
	at := r.At
	for name, tt := range map[string]struct {
		made, confirmed time.Time
		confirm         grant.Confirm
		ok              bool
	}{
		"in time":                       {at.Add(-grant.Quarter + time.Second), time.Time{}, grant.Confirm{Refuse: true}, true},
		"overdue":                       {at.Add(-grant.Quarter), time.Time{}, grant.Confirm{Refuse: true}, false},
		"overdue, and only warned of":   {at.Add(-9 * grant.Quarter), time.Time{}, grant.Confirm{}, true},
		"confirmed since":               {at.Add(-9 * grant.Quarter), at.Add(-time.Hour), grant.Confirm{Refuse: true}, true},
		"confirmed, and overdue again":  {at.Add(-9 * grant.Quarter), at.Add(-time.Hour), grant.Confirm{Seconds: 3600, Refuse: true}, false},
		"a draft that was never stored": {time.Time{}, time.Time{}, grant.Confirm{Seconds: 1, Refuse: true}, true},
	} {
		s := rights(t, map[string]grant.Rule{"a": {Quorum: 1}}, "")
		e := s.Entitlements["a"]
		e.Owner, e.State, e.Created, e.Confirmed, e.Confirm = "team-x", grant.EntitlementActive, tt.made, tt.confirmed, tt.confirm
		s.Entitlements["a"] = e
		_, d, ok := pdp.Seek(s, r, grant.Ask{})
		if ok != tt.ok {
			t.Errorf("%s: may be asked for: %v (%+v)", name, ok, d)
		}
		if !tt.ok && (d.Outcome != access.Deny || !strings.Contains(d.Reason, "has not confirmed it by")) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
