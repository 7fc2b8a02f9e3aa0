package clientconfig_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"rutile/internal/discovery/clientconfig"
)

var update = flag.Bool("update", false, "write the golden files")

// unpack writes the files of an archive, @HOME@ standing for the home.
func (m *machine) unpack(file string) {
	m.t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range a.Files {
		m.write(f.Name, strings.ReplaceAll(string(f.Data), "@HOME@", m.home))
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got); go test -update writes it anew:\n%s", file, d)
	}
}

// A home as people have it yields exactly this inventory.
func TestHomeYieldsItsInventory(t *testing.T) {
	m := newMachine(t, clientconfig.Linux)
	m.unpack(filepath.Join("testdata", "home.txtar"))
	r := m.discover(t.Context())
	if n := len(r.Agents); n < 40 {
		t.Errorf("%d clients were found, want 40 or more", n)
	}
	text := inventory(r)
	golden(t, filepath.Join("testdata", "home.golden"), text)
	for _, secret := range []string{"hunter22", "0ff1ce", "sbp_0123", "fc-0123", "hf_abc", "NDk5"} {
		if strings.Contains(text, secret) {
			t.Errorf("the inventory has %q in it", secret)
		}
	}
	for _, name := range []string{"never", "leftover", "not-this"} {
		if strings.Contains(text, name) {
			t.Errorf("the inventory has %q in it, which no client runs", name)
		}
	}
	again := inventory(m.discover(t.Context()))
	if d := cmp.Diff(text, again); d != "" {
		t.Errorf("a second scan sees something else:\n%s", d)
	}
}
