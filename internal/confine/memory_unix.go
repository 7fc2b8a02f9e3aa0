//go:build unix

package confine

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// noCore leaves this process, and what it starts, no core dump in a file.
func noCore() error {
	if err := syscall.Setrlimit(unix.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("switching core dumps off: %w", err)
	}
	return nil
}
