//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the exclusive lock of f; held says that another process has it.
// The system drops it when the process ends, however it ends.
func tryLock(f *os.File) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
