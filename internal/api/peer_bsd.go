//go:build darwin || freebsd

package api

import (
	"net"

	"golang.org/x/sys/unix"
)

// solLocal is the level of LOCAL_PEERCRED, which package unix does not name.
const solLocal = 0

// peerUID asks the kernel which user opened the other end (LOCAL_PEERCRED).
func peerUID(c *net.UnixConn) (int, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Xucred
	var cerr error
	if err := rc.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if cerr != nil {
		return 0, cerr
	}
	return int(cred.Uid), nil
}
