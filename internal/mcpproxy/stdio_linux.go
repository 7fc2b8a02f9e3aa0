package mcpproxy

import (
	"errors"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// stdioSysProcAttr puts the process into a session of its own, without a
// terminal and with a group that is signalled as a whole, and has the kernel kill
// it if we die without doing so.
func stdioSysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// stdioAwait waits for the end of the process and leaves it a zombie, so that
// the id of its group stays ours.
func stdioAwait(cmd *exec.Cmd) {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return // ended, or Wait will say why it cannot be waited for
		}
	}
}
