package inventory_test

import (
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// What is called through the gateway is used, as long as a sighting would count, and
// it is not gone whatever configurations say.
func TestCallsThroughTheGatewayAreUse(t *testing.T) {
	const missing = 14 * 24 * time.Hour
	seen := noon.Add(-time.Hour)
	for name, c := range map[string]struct {
		status discovery.Status
		called time.Time
		used   bool
		want   discovery.Status
		last   time.Time
	}{
		"never":                         {discovery.StatusRouted, time.Time{}, false, discovery.StatusRouted, seen},
		"now":                           {discovery.StatusRouted, noon, true, discovery.StatusRouted, noon},
		"before it was seen":            {discovery.StatusBypass, seen.Add(-time.Hour), true, discovery.StatusBypass, seen},
		"too long ago":                  {discovery.StatusRouted, noon.Add(-missing), false, discovery.StatusRouted, seen},
		"nothing configures it":         {inventory.StatusGone, noon, true, discovery.StatusRouted, noon},
		"nothing configures it any way": {inventory.StatusGone, noon.Add(-missing), false, inventory.StatusGone, seen},
	} {
		e := inventory.Entry{Status: c.status, Facts: map[discovery.Fact]inventory.Standing{}, Last: seen}
		e.Use(c.called, noon, missing)
		st, told := e.Facts[discovery.Used]
		if st.Now != c.used || told == c.called.IsZero() || !st.Last.Equal(c.called) || e.Status != c.want || !e.Last.Equal(c.last) || !e.Called.Equal(c.called) {
			t.Errorf("%s: %+v", name, e)
		}
	}
	// Requests in a log that are newer than any call stay the last.
	e := inventory.Entry{Facts: map[discovery.Fact]inventory.Standing{discovery.Used: {Now: true, Count: 2, Last: noon}}}
	e.Use(seen, noon, missing)
	if st := e.Facts[discovery.Used]; st.Count != 2 || !st.Last.Equal(noon) {
		t.Errorf("%+v", st)
	}
}
