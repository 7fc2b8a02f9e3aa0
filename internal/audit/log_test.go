package audit_test

import (
	"bytes"
	"context"
	"testing"

	"rutile/internal/audit"
)

func TestFirstCall(t *testing.T) {
	m := newMemory()
	l := start(t, config(t.TempDir()), m)
	intent, outcome := call(t, l, 1)
	if intent.Index != 1 || outcome.Index != 2 {
		t.Errorf("indexes %d and %d, want 1 and 2 after log.open", intent.Index, outcome.Index)
	}
	leaf, err := l.Leaf(context.Background(), intent.Index)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d %s", len(leaf), leaf)
	for _, secret := range []string{"alice", "release-bot", "s3cr3t", "ses_1", "ship it", "/srv/docs"} {
		if bytes.Contains(leaf, []byte(secret)) {
			t.Errorf("the leaf shows %q", secret)
		}
	}
	leaf, _ = l.Leaf(context.Background(), 2)
	t.Logf("%s", leaf)
	stop(t, l)
	l = start(t, config(t.TempDir()), newMemory())
	_ = audit.Ref{}
}
