//go:build !unix

package clientconfig_test

import (
	"os"
	"path/filepath"
	"testing"
)

func fifo(t *testing.T, m *machine, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(m.home, name), 0o755); err != nil {
		t.Fatal(err)
	}
}
