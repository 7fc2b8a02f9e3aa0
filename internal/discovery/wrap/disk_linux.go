package wrap

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// exchange is renameat2 with RENAME_EXCHANGE (Linux 3.15).
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return errors.New("the file system cannot exchange two files at once")
	}
	return err
}

// attributes takes over the group, the access list and what users noted.
func attributes(from, to string) error {
	if err := group(from, to); err != nil {
		return err
	}
	size, err := unix.Llistxattr(from, nil)
	if err != nil || size <= 0 {
		return nil //nolint:nilerr // the file system has none
	}
	names := make([]byte, size)
	if size, err = unix.Llistxattr(from, names); err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:size]), "\x00"), "\x00") {
		if name != "system.posix_acl_access" && !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(from, name, value)
		if err != nil {
			return err
		}
		if err := unix.Lsetxattr(to, name, value[:n], 0); err != nil {
			return err
		}
	}
	return nil
}
