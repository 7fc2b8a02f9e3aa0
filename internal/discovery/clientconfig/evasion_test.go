package clientconfig_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
)

// Whatever is done to a file, the inventory has what a client would run, and
// where clients would run different things all of them (discovery.md 5).
func TestEvasionsAreSeen(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "evasion", "*.txtar"))
	if err != nil || len(files) < 25 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, clientconfig.Linux)
			m.unpack(file)
			r := m.discover(t.Context())
			text := inventory(r) + "--\n"
			for _, c := range r.Coverage {
				if c.Outcome != discovery.Absent && c.Outcome != discovery.Read {
					text += fmt.Sprintf("%s %s: %s\n", c.Outcome, c.Place, c.Why)
				}
			}
			if strings.Contains(text, "hunter22") {
				t.Errorf("a secret is shown:\n%s", text)
			}
			golden(t, strings.TrimSuffix(file, ".txtar")+".golden", text)
		})
	}
}
