package cli_test

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rutile/internal/cli"
)

// Every command may come to hold a secret: a key, a token, a credential.
func TestCommandsHideTheirMemory(t *testing.T) {
	if got := cli.Main(t.Context(), "test", []string{"version"}, strings.NewReader(""), io.Discard, io.Discard); got != 0 {
		t.Fatalf("status %d", got)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		t.Errorf("dumpable is %d, %v", dumpable, err)
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil || l.Cur != 0 || l.Max != 0 {
		t.Errorf("cores up to %d bytes, %d at most, %v", l.Cur, l.Max, err)
	}
}
