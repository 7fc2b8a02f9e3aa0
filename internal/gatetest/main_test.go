package gatetest_test

import (
	"os"
	"testing"

	"rutile/internal/confine"
	"rutile/internal/gatetest"
)

// TestMain lets the test binary confine the processes its gateways start, and be
// what a conformance suite starts as the client under test.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == confine.Command {
		os.Exit(confine.Main())
	}
	if len(os.Args) == 4 && os.Args[1] == gatetest.ClientCommand {
		os.Exit(gatetest.ClientMain(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}
