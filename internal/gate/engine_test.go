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
