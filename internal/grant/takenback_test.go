package grant_test

import (
	"strings"
	"testing"
)

// TestWhatIsRevokedIsTakenBackWithItsTree: no call goes on under a part of what was
// revoked, and what it was carved out of is not touched.
func TestWhatIsRevokedIsTakenBackWithItsTree(t *testing.T) {
	r := newRig(t)
	root := r.given(2)
	child := r.handed(root.ID, "other", deep(1))
	grand := r.handed(child.ID, "third")
	taken := func(id string) bool {
		why, err := r.TakenBack(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(why, id)
	}
	if taken(root.ID) || taken(child.ID) || taken(grand.ID) {
		t.Error("something is taken back before")
	}
	if _, err := r.Revoke(t.Context(), child.ID, "user:ann", ""); err != nil {
		t.Fatal(err)
	}
	if taken(root.ID) || !taken(child.ID) || !taken(grand.ID) {
		t.Errorf("root %t, child %t, below %t", taken(root.ID), taken(child.ID), taken(grand.ID))
	}
	if !taken("grt_nobody") {
		t.Error("what is not there lets calls go on")
	}
}
