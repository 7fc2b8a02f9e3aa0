package gate_test

import (
	"testing"

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
