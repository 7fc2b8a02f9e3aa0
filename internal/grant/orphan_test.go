package grant_test

import (
	"testing"
	"time"

	"rutile/internal/grant"
)

// TestOrphanedGrantsAreSuspendedAndThenWithdrawn, with what is waiting; who has an
// owner again goes on, and so does what stands on no entitlement.
func TestOrphanedGrantsAreSuspendedAndThenWithdrawn(t *testing.T) {
	r := newRig(t)
	right := r.open(r.ask(grant.Rule{Auto: true}, func(a *grant.Ask) { a.Scope, a.Entitlement.Ceiling.Seconds = grant.ScopeTime, 86400 })).Grant
	bare := r.create(func(s *grant.Spec) { s.Life = 24 * time.Hour })
	sweep := func(orphan string, digest string) grant.State {
		t.Helper()
		if err := r.Sweep(t.Context(), grant.Standing{Digest: func(grant.Target) string { return digest }, Orphan: func(id string) string {
			if id != deploys {
				t.Errorf("asked of %q", id)
			}
			return orphan
		}}); err != nil {
			t.Fatal(err)
		}
		return r.grant(right).State
	}
	equal(t, "owned", sweep("", deploy.Digest), grant.GrantActive)
	equal(t, "orphaned", sweep("ann is gone", deploy.Digest), grant.GrantSuspended)
	equal(t, "covers", r.covering(), []string{bare.ID})
	equal(t, "why", r.grant(right).Why, "ann is gone")
	r.clock.set(noon.Add(time.Hour - time.Second))
	equal(t, "within an hour", sweep("ann is gone", deploy.Digest), grant.GrantSuspended)
	equal(t, "owned again", sweep("", deploy.Digest), grant.GrantActive)
	equal(t, "orphaned again", sweep("ann is gone", deploy.Digest), grant.GrantSuspended)
	r.clock.set(noon.Add(time.Hour + time.Second))
	equal(t, "the hour begins anew", sweep("ann is gone", deploy.Digest), grant.GrantSuspended)
	equal(t, "and the definition is another", sweep("", "sha256:9"), grant.GrantSuspended)
	r.clock.set(noon.Add(2 * time.Hour))
	equal(t, "an hour", sweep("ann is gone", deploy.Digest), grant.GrantWithdrawn)
	equal(t, "for good", sweep("", deploy.Digest), grant.GrantWithdrawn)
	equal(t, "without an entitlement", r.grant(bare.ID).State, grant.GrantActive)
}
