package audit

import (
	"os"
	"syscall"
)

// syncData makes the file's bytes and its size durable; times do not matter.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}

func syncDirectory(d *os.File) error { return d.Sync() }
