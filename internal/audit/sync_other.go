//go:build !linux

package audit

import (
	"os"
	"runtime"
)

// syncData makes the file durable: F_FULLFSYNC on macOS, FlushFileBuffers on
// Windows, both by way of os.File.Sync.
func syncData(f *os.File) error { return f.Sync() }

// syncDirectory makes directory entries durable where a directory can be
// synced; Windows journals them with the rename.
func syncDirectory(d *os.File) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return d.Sync()
}
