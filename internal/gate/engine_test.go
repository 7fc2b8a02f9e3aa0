package gate_test

import (
	"testing"

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
