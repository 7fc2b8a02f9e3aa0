//go:build unix

package mcpproxy

import (
	"os"
	"syscall"
)

type stdioSignalKind = syscall.Signal

const (
	stdioTerm = syscall.SIGTERM
	stdioKill = syscall.SIGKILL
)

// stdioSignal signals the whole process group.
func stdioSignal(p *os.Process, sig stdioSignalKind) {
	_ = syscall.Kill(-p.Pid, sig) // fails only if the group is empty
}
