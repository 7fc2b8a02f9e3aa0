//go:build unix

package mcpproxy_test

import (
	"os"
	"testing"

	"rutile/internal/confine"
)

// TestMain lets the test binary play the server processes the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == confine.Command {
		os.Exit(confine.Main())
	}
	if part := os.Getenv(childPart); part != "" {
		playChild(part)
		os.Exit(0)
	}
	os.Exit(m.Run())
}
