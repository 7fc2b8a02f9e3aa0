//go:build unix

package audit

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the exclusive lock that keeps a second writer out. The system
// drops it when the process ends, however it ends.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// unlock gives the lock back and closes f. A process that is being started from
// this one holds a copy of f for a moment, and with it the lock, unless it is
// given back expressly.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
