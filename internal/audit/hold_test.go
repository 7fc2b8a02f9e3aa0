package audit_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// A hold on one log stops the erasure of keys that another shares with it, also of one
// that was ordered before; and no longer than it is set.
func TestAHoldOfAnotherLogStopsErasure(t *testing.T) {
	s := newShredder()
	a := s.start(t, config(t.TempDir()))
	other := newShredder()
	other.keys = s.keys
	two := config(t.TempDir())
	two.Origin, two.Node, two.Retention.Hold = "example.org/rutile/main/n2/1", "n2", true
	open := func() *audit.Log {
		b, err := audit.Open(t.Context(), two, s, newSealer(), other)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close(context.Background()) })
		return b
	}
	call(t, a, 1)
	order := audit.ErasureOrder{Person: "alice", Actor: "user:root", Reason: "request 4711"}

	s.killAt(2) // it is ordered, and nothing is destroyed
	if _, _, err := a.Erase(t.Context(), order); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	s.killAt(0)
	b := open()
	there := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for name := range s.keys {
			if strings.HasPrefix(name, "sub.") || strings.HasPrefix(name, "dek.") {
				n++
			}
		}
		return n
	}
	before := there()
	for range 2 {
		if err := a.ResumeErasures(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _, err := a.Erase(t.Context(), order)
		if access.CodeOf(err) != access.CodeConflict || !strings.Contains(err.Error(), "node n2 (log example.org/rutile/main/n2/1)") {
			t.Fatalf("%v", err)
		}
		if got := there(); got != before {
			t.Fatalf("%d of %d keys are left", got, before)
		}
		b.Close(context.Background()) // a node that is down holds still
	}
	two.Retention.Hold = false
	open()
	if err := a.ResumeErasures(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := there(); got >= before {
		t.Errorf("%d of %d keys are left after the hold was lifted", got, before)
	}
}

// meanwhile does something once an erasure was ordered.
type meanwhile struct {
	*shredder
	do func()
}

func (m *meanwhile) PutErasure(ctx context.Context, e audit.Erasure) error {
	err := m.shredder.PutErasure(ctx, e)
	m.do()
	return err
}

// A hold that is set while an erasure begins stops it before any key goes.
func TestAHoldIsLookedAtRightBeforeKeysGo(t *testing.T) {
	s := newShredder()
	two := config(t.TempDir())
	two.Origin, two.Node, two.Retention.Hold = "example.org/rutile/main/n2/1", "n2", true
	other := newShredder()
	other.keys = s.keys
	m := &meanwhile{shredder: s, do: func() {
		b, err := audit.Open(t.Context(), two, s, newSealer(), other)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { b.Close(context.Background()) })
	}}
	a, err := audit.Open(t.Context(), config(t.TempDir()), m, newSealer(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(context.Background()) })
	intent, _ := call(t, a, 1)
	_, _, err = a.Erase(t.Context(), audit.ErasureOrder{Person: "alice", Actor: "user:root", Reason: "request 4711"})
	if access.CodeOf(err) != access.CodeConflict || !strings.Contains(err.Error(), "node n2") {
		t.Errorf("%v", err)
	}
	if r, err := a.Reveal(t.Context(), intent.Index); err != nil || r.Erased || r.Row.Subject != "alice" {
		t.Errorf("%+v, %v", r, err)
	}
}
