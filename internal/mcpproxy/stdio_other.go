//go:build !unix

package mcpproxy

import (
	"os"
	"os/exec"
	"syscall"
)

type stdioSignalKind bool

const (
	stdioTerm stdioSignalKind = false
	stdioKill stdioSignalKind = true
)

func stdioSysProcAttr() *syscall.SysProcAttr { return nil }

// stdioAwait waits for the end of the process.
func stdioAwait(cmd *exec.Cmd) {
	_ = cmd.Wait() // the state says it
}

// stdioSignal can only kill, and only the process itself.
func stdioSignal(p *os.Process, sig stdioSignalKind) {
	if sig == stdioKill {
		_ = p.Kill() // fails only if it has ended
	}
}
