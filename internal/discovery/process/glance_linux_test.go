package process_test

import (
	"os"
	"path/filepath"
	"testing"

	"rutile/internal/discovery/process"
)

// TestAGlanceNoticesWhatALookWouldTell: of processes that come and go only those
// that may be servers or clients are worth a look, also when one becomes another
// program after it was seen.
func TestAGlanceNoticesWhatALookWouldTell(t *testing.T) {
	root := t.TempDir()
	put := func(pid, line string) {
		t.Helper()
		dir := filepath.Join(root, pid)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cmdline"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := process.NewGlance(process.Scanner{Root: root})
	expect := func(what string, want bool) {
		t.Helper()
		got, err := g.Changed(t.Context())
		if err != nil || got != want {
			t.Errorf("%s: changed %v, %v, want %v", what, got, err, want)
		}
	}
	put("1", "init\x00")
	expect("the first glance", true)
	expect("nothing", false)
	put("20", "bash\x00-c\x00ls\x00")
	expect("a shell", false)
	put("20", "npx\x00-y\x00notes-mcp\x00") // it has run another program meanwhile
	expect("a server that a shell became", true)
	expect("the same server", false)
	put("21", "grep\x00mcp\x00")
	expect("somebody who looks for a word", false)
	put("22", "claude\x00")
	expect("a client", true)
	for _, pid := range []string{"21"} {
		if err := os.RemoveAll(filepath.Join(root, pid)); err != nil {
			t.Fatal(err)
		}
	}
	expect("the end of something else", false)
	if err := os.RemoveAll(filepath.Join(root, "20")); err != nil {
		t.Fatal(err)
	}
	expect("the end of a server", true)
	if err := os.MkdirAll(filepath.Join(root, "net"), 0o700); err != nil {
		t.Fatal(err)
	}
	socket := "  sl  local_address\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1\n"
	if err := os.WriteFile(filepath.Join(root, "net", "tcp"), []byte(socket), 0o600); err != nil {
		t.Fatal(err)
	}
	changes := 0
	for range 6 { // sockets are looked at every third time
		changed, err := g.Changed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if changed {
			changes++
		}
	}
	if changes != 1 {
		t.Errorf("%d changes were noticed for one socket that listens", changes)
	}
}

func BenchmarkGlance(b *testing.B) {
	g := process.NewGlance(process.Scanner{})
	for b.Loop() {
		if _, err := g.Changed(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
