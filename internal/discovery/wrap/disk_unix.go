//go:build unix

package wrap

import (
	"io/fs"
	"os"
	"syscall"
)

// openRegular does not wait for a pipe to have a writer.
func openRegular(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// ownership says whose a file is and how many names it has.
func ownership(info fs.FileInfo) (ours bool, names uint64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false, 0
	}
	return int(st.Uid) == os.Getuid(), uint64(st.Nlink) //nolint:unconvert // another type elsewhere
}

func group(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	now, err := os.Lstat(to)
	if err != nil {
		return err
	}
	a, ok := info.Sys().(*syscall.Stat_t)
	b, is := now.Sys().(*syscall.Stat_t)
	if !ok || !is || a.Gid == b.Gid {
		return nil
	}
	if err := os.Lchown(to, -1, int(a.Gid)); err != nil {
		return err
	}
	return os.Chmod(to, info.Mode().Perm())
}

// lock takes the exclusive lock of a file and waits for it; the system drops it
// when the process ends, however it ends.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		// A child being started holds a copy for a moment: give it back expressly.
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		f.Close()
	}, nil
}
