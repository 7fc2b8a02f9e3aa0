//go:build unix

package clientconfig_test

import (
	"os"
	"syscall"
	"testing"
)

// fifo puts a pipe nobody writes to where a file should be.
func fifo(t *testing.T, m *machine, name string) {
	t.Helper()
	file := m.write(name, "")
	os.Remove(file)
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
}
