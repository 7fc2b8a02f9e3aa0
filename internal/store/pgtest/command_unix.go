//go:build unix

package pgtest

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// command returns a program of the server, run as c.as.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	// Its own group: a Ctrl-C for the tests must not end it before they are done.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.as != nil {
		uid, _ := strconv.ParseUint(c.as.Uid, 10, 32) // numbers where there is root
		gid, _ := strconv.ParseUint(c.as.Gid, 10, 32)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return cmd
}
