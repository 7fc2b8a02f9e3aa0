package gatetest_test

import (
	"os"
	"testing"

	"rutile/internal/confine"
)

// TestMain lets the test binary confine the processes its gateways start.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == confine.Command {
		os.Exit(confine.Main())
	}
	os.Exit(m.Run())
}
