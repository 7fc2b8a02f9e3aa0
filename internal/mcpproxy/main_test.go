//go:build unix

package mcpproxy_test

import (
	"os"
	"testing"
)

// TestMain lets the test binary play the server processes the tests start.
func TestMain(m *testing.M) {
	if part := os.Getenv(childPart); part != "" {
		playChild(part)
		os.Exit(0)
	}
	os.Exit(m.Run())
}
