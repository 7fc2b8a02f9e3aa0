package mcpproxy_test

import (
	"testing"
	"time"

	"rutile/internal/mcpproxy"
)

// Looks at a server that is down come soon at first and never stop, and never
// come more often than once in five minutes for long.
func TestLooksAreHeldBackAfterFailures(t *testing.T) {
	for failed, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: 5 * time.Minute, 1 << 30: 5 * time.Minute,
	} {
		if got := mcpproxy.RetryAfter(failed); got != want {
			t.Errorf("after %d failures: %v, want %v", failed, got, want)
		}
	}
}
