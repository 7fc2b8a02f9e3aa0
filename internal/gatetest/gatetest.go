// Package gatetest runs a whole daemon between real clients and real upstream
// servers, honest and hostile.
//
// It holds the fixtures of those tests: the conformance suites and their
// ceilings, the SDK's conformance server behind a dispatcher for both eras, npm
// servers and clients, and upstream servers that misbehave on purpose. Only
// tests may import it. Everything a fixture starts MUST end with the test that
// asked for it, and a fixture MUST reach nothing but the loopback interface.
// A tool that is missing skips the test with the reason, or fails it where CI
// is true.
//
// It judges nothing: what Rutile has to do is said by the tests that use it.
package gatetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Lack ends a test that needs something this machine does not have.
func Lack(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}

// Root is the directory of the module.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(mod), "module rutile\n") {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			tb.Fatal("the tests run outside of the module")
		}
		dir = up
	}
}

// NPM is what scripts/prepare installed: a Node that is new enough, and packages.
type NPM struct {
	Node string // absolute path of the program
	Dir  string // directory that holds node_modules
}

// NewNPM finds the npm packages.
func NewNPM(tb testing.TB) NPM {
	tb.Helper()
	n := NPM{Dir: filepath.Join(Root(tb), ".cache", "npm")}
	if _, err := os.Stat(filepath.Join(n.Dir, ".stamp")); err != nil {
		Lack(tb, "the npm packages are not installed: run make prepare")
	}
	found, err := filepath.Glob(filepath.Join(n.Dir, "node_modules", "node-*", "bin", "node"))
	if err != nil {
		tb.Fatal(err)
	}
	if len(found) > 0 {
		n.Node = found[0]
		return n
	}
	if n.Node, err = exec.LookPath("node"); err != nil { // no package of it for this machine
		Lack(tb, "there is no node: install Node 22 or newer")
	}
	return n
}

// Package returns the path of a file of an installed package.
func (n NPM) Package(name, file string) string {
	return filepath.Join(n.Dir, "node_modules", filepath.FromSlash(name), filepath.FromSlash(file))
}

// FilesystemServer is the command line of the public file server over stdio,
// confined to dir.
func (n NPM) FilesystemServer(dir string) []string {
	return []string{n.Node, n.Package("@modelcontextprotocol/server-filesystem", "dist/index.js"), dir}
}

// EverythingServer is the command line of the public demonstration server over
// stdio. It is not the conformance fixture (see Everything).
func (n NPM) EverythingServer() []string {
	return []string{n.Node, n.Package("@modelcontextprotocol/server-everything", "dist/index.js"), "stdio"}
}

// MemoryServer is the command line of the public knowledge graph server over
// stdio. It keeps its graph in the file MEMORY_FILE_PATH of its environment
// names, which is therefore returned too.
func (n NPM) MemoryServer(file string) (command []string, env map[string]string) {
	return []string{n.Node, n.Package("@modelcontextprotocol/server-memory", "dist/index.js")}, map[string]string{"MEMORY_FILE_PATH": file}
}
