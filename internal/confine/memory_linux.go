package confine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HideMemory keeps what this process holds, secrets among it, out of core dumps
// and out of reach of other processes of the user. What it starts leaves no core
// either, confined or not.
func HideMemory() error {
	if err := noCore(); err != nil {
		return err
	}
	// A kernel that pipes cores to a program does not ask for the limit.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hiding the process's memory: %w", err)
	}
	return nil
}
