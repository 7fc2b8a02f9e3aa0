//go:build unix && !linux

package mcpproxy

import (
	"os/exec"
	"syscall"
)

// stdioSysProcAttr puts the process into a group of its own, which is signalled
// as a whole.
func stdioSysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// stdioAwait waits for the end of the process.
func stdioAwait(cmd *exec.Cmd) {
	_ = cmd.Wait() // the state says it
}
