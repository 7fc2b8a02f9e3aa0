package daemon_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/daemon"
	"rutile/internal/store/storetest"
)

func loopbackConfig(t *testing.T, data string) daemon.Config {
	t.Helper()
	storetest.Seed(t, data)
	return daemon.Config{Data: data, Mode: "enforce", Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"}, Log: daemon.Log{Level: "error"}}
}

// TestTheOperatorTokenStaysPrivate keeps the token over starts and refuses one
// that others could have read.
func TestTheOperatorTokenStaysPrivate(t *testing.T) {
	data := t.TempDir()
	file := filepath.Join(data, daemon.TokenName)
	start := func() error {
		d, err := daemon.New(t.Context(), loopbackConfig(t, data), daemon.Options{Version: "test", Log: io.Discard})
		if err != nil {
			return err
		}
		return d.Close(t.Context())
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 || len(bytes.TrimSpace(first)) < 40 {
		t.Fatalf("%v, %v, %d bytes", fi, err, len(first))
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the token did not survive a start: %v", err)
	}
	for what, spoil := range map[string]func() error{
		"open to others": func() error { return os.Chmod(file, 0o644) },
		"too short": func() error {
			return os.WriteFile(file, []byte("guess\n"), 0o600)
		},
		"a link": func() error { return os.Symlink("/dev/null", file) },
	} {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		if what != "a link" {
			if err := os.WriteFile(file, first, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		err := start()
		if access.CodeOf(err) != access.CodeInvalid || !strings.Contains(err.Error(), "remove it, and the next start makes a new one") {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && strings.Contains(err.Error(), strings.TrimSpace(string(first))) {
			t.Errorf("%s: the error holds the token", what)
		}
	}
}

func TestDoctorSaysWhatMendsIt(t *testing.T) {
	d, err := daemon.New(t.Context(), loopbackConfig(t, t.TempDir()), daemon.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(context.Background()) })
	c := api.NewSocketClient(filepath.Join(d.Config.Data, daemon.SocketName), "")
	level := func() map[string]api.Check {
		t.Helper()
		found, err := c.Doctor(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]api.Check{}
		for _, x := range found.Checks {
			if old := out[x.Name]; old.Level != api.LevelBroken {
				out[x.Name] = x
			}
			if x.Level != api.LevelOK && x.Mend == "" || x.Reason == "" {
				t.Errorf("%+v says not why or not what mends it", x)
			}
		}
		return out
	}
	for name, x := range level() {
		if x.Level == api.LevelBroken {
			t.Errorf("a fresh gateway: %s is broken: %s", name, x.Reason)
		}
	}
	if err := os.Chmod(d.Config.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	docs := []byte(`kind: Agent
id: old
owner: team
expires: 2020-01-01
---
kind: Server
id: keyed
owner: team
transport: {http: {url: "http://127.0.0.1:9/mcp"}}
credential: {ref: missing, header: Authorization}
state: sanctioned
`)
	apply(t, c, docs)
	got := level()
	for name, want := range map[string]api.Level{"data": api.LevelBroken, "server keyed": api.LevelBroken, "agent old": api.LevelWarning, "store": api.LevelOK, "evidence": api.LevelOK} {
		if got[name].Level != want {
			t.Errorf("%s: %+v, want %s", name, got[name], want)
		}
	}
}

// Doctor says in time whether somebody can break the glass with a passkey.
func TestDoctorSaysWhoCanBreakTheGlass(t *testing.T) {
	for rule, want := range map[string][3]api.Level{
		admin.SignAuto:    {api.LevelWarning, api.LevelWarning, api.LevelOK},
		admin.SignPasskey: {api.LevelBroken, api.LevelWarning, api.LevelOK},
		admin.SignPerson:  {"", "", ""},
	} {
		cfg := loopbackConfig(t, t.TempDir())
		cfg.Approvals.BreakGlass = rule
		d, err := daemon.New(t.Context(), cfg, daemon.Options{Version: "test", Log: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close(context.Background()) })
		c := api.NewSocketClient(filepath.Join(d.Config.Data, daemon.SocketName), "")
		check := func() (found api.Check) {
			t.Helper()
			list, err := c.Doctor(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range list.Checks {
				if x.Name == "break-glass" {
					found = x
				}
			}
			return found
		}
		if x := check(); x.Level != "" {
			t.Errorf("%s: nobody may break the glass: %+v", rule, x)
		}
		apply(t, c, []byte("kind: User\nid: ann\nroles: [operator, admin]\n---\nkind: User\nid: bob\nroles: [admin]\n---\nkind: User\nid: vic\nroles: [viewer]\n"))
		if x := check(); x.Level != want[0] || want[0] != "" && !strings.HasSuffix(x.Reason, ": ann, bob") {
			t.Errorf("%s: nobody has a passkey: %+v", rule, x)
		}
		d.Enrol(t.Context(), t, "ann")
		if x := check(); x.Level != want[1] || want[1] != "" && !strings.HasSuffix(x.Reason, "bob (ann can)") {
			t.Errorf("%s: one has a passkey: %+v", rule, x)
		}
		d.Enrol(t.Context(), t, "bob")
		if x := check(); x.Level != want[2] {
			t.Errorf("%s: both have a passkey: %+v", rule, x)
		}
	}
}

func apply(t *testing.T, c *api.Client, manifests []byte) {
	t.Helper()
	docs, err := admin.ParseReader("m.yaml", t.TempDir(), bytes.NewReader(manifests))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
}
