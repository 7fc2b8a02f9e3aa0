package audit

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes the exclusive lock that keeps a second writer out. The system
// drops it when the process ends, however it ends.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	if err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// unlock closes f, which gives the lock back.
func unlock(f *os.File) error { return f.Close() }
