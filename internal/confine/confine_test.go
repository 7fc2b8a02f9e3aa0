package confine_test

import (
	"os"
	"testing"

	"rutile/internal/confine"
)

// attackPart makes the test binary play the hostile program: what it is told to
// do, from inside.
const attackPart = "RUTILE_TEST_ATTACK"

// TestMain lets the test binary confine itself, and play what the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == confine.Command {
		os.Exit(confine.Main())
	}
	if part := os.Getenv(attackPart); part != "" {
		os.Exit(attack(part, os.Args[1:]))
	}
	os.Exit(m.Run())
}
