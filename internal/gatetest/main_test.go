package gatetest_test

import (
	"fmt"
	"os"
	"testing"

	"rutile/internal/confine"
	"rutile/internal/gatetest"
	"rutile/internal/store/pgtest"
)

// cluster is the PostgreSQL of this test binary.
var cluster pgtest.Cluster

// TestMain lets the test binary confine the processes its gateways start, and be
// what a conformance suite starts as the client under test.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == confine.Command {
		os.Exit(confine.Main())
	}
	if len(os.Args) == 4 && os.Args[1] == gatetest.ClientCommand {
		os.Exit(gatetest.ClientMain(os.Args[2], os.Args[3]))
	}
	code := m.Run()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping PostgreSQL:", err)
		code = 1
	}
	os.Exit(code)
}
