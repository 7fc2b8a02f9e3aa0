//go:build unix && !linux

package mcpproxy

import (
	"os/exec"
	"syscall"
)

// stdioSysProcAttr puts the process into a session of its own, without a
// terminal and with a group that is signalled as a whole.
func stdioSysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// stdioAwait waits for the end of the process.
func stdioAwait(cmd *exec.Cmd) {
	_ = cmd.Wait() // the state says it
}
