//go:build !unix

package pgtest

import (
	"os/exec"
	"path/filepath"
)

// command returns a program of the server.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	return cmd
}
