package gate_test

import (
	"context"
	"rutile/internal/access"
	"rutile/internal/boundary"
	"testing"
	"time"

	"rutile/internal/gate"
	"rutile/internal/inspect"
)

// engine is the shipped detectors.
func engine(t testing.TB) *inspect.Engine {
	t.Helper()
	e, err := inspect.New()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// noValues is for calls in which nothing is masked or restored.
type noValues struct{ gate.Placeholders }

// noLabels is for sessions that touch nothing.
type noLabels struct{}

func (noLabels) Of(context.Context, string) *access.Touched           { return &access.Touched{} }
func (noLabels) Touched(context.Context, string) bool                 { return false }
func (noLabels) Raise(context.Context, []boundary.Mark) (bool, error) { return false, nil }
func (noLabels) Join(context.Context, string, string, string, time.Time) (bool, error) {
	return false, nil
}

func (noLabels) Parents(context.Context, string) ([]string, error)  { return nil, nil }
func (noLabels) Shared() bool                                       { return false }
func (noLabels) Key(context.Context, string) ([]byte, error)        { return nil, nil }
func (noLabels) Keep(context.Context, string, string, []byte) error { return nil }
func (noLabels) Kept(context.Context, string, func(string) bool) ([]string, [][]byte, error) {
	return nil, nil, nil
}

// fixedKeys gives each session a key that a restart does not change.
type fixedKeys struct{}

func (fixedKeys) Key(_ context.Context, session, purpose string) ([]byte, error) {
	return []byte(session + " for " + purpose + " and sixteen bytes more"), nil
}
