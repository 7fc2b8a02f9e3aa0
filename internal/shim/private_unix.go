//go:build unix

package shim

import (
	"io/fs"
	"os"
	"syscall"

	"rutile/internal/access"
)

// openPrivate opens a file without following a link and without waiting for a
// pipe to have a writer.
func openPrivate(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// checkOwner refuses what belongs to somebody else or whose mode has one of the
// forbidden bits: the key in it may be known, or another's.
func checkOwner(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Getuid() {
		return access.Errorf(access.CodeDenied, "%s belongs to another user; enrol as the user the client runs as", path)
	}
	if info.Mode().Perm()&forbidden != 0 {
		return access.Errorf(access.CodeDenied, "%s is open to others (mode %04o): the key in it may be known to them; remove it and enroll again", path, info.Mode().Perm())
	}
	return nil
}
