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

// unlock gives the lock back and closes f. A process that is being started from
// this one holds a copy of f for a moment, and with it the lock, unless it is
// given back expressly.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
