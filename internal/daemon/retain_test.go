package daemon_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/daemon"
)

// A gateway starts and records with a retention.json that somebody wrote to, and says so.
func TestDoctorSaysThatRetentionIsNotBelieved(t *testing.T) {
	data := t.TempDir()
	cfg := loopbackConfig(t, data)
	cfg.Evidence.Retention = daemon.Retention{PayloadDays: 30, DecisionDays: 400}
	look := func() (out api.Check) {
		t.Helper()
		d, err := daemon.New(t.Context(), cfg, daemon.Options{Version: "test", Log: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		found, err := api.NewSocketClient(filepath.Join(data, daemon.SocketName), "").Doctor(t.Context())
		if err != nil {
			t.Error(err)
		}
		if found.Checks != nil {
			for _, x := range found.Checks {
				if x.Name == "retention" {
					out = x
				}
			}
		}
		if _, err := d.Evidence.Admin(t.Context(), audit.Admin{ID: "chg_1", Actor: "user:root", Verb: "apply", Kind: "server", Object: "files"}); err != nil {
			t.Errorf("nothing is recorded: %v", err)
		}
		if _, err := d.Evidence.Retain(t.Context(), audit.RetentionOrder{}); (access.CodeOf(err) == access.CodeEvidence) != (out.Level == api.LevelBroken) {
			t.Errorf("doctor says %+v, and retention %v", out, err)
		}
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
		return out
	}
	for range 2 {
		if x := look(); x.Level != api.LevelOK {
			t.Fatalf("%+v", x)
		}
	}
	name := filepath.Join(data, "evidence", "retention.json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(b, []byte(`"payload":30`), []byte(`"payload":31`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if x := look(); x.Level != api.LevelBroken || !strings.Contains(x.Reason, "retention.json is not what this log wrote") {
			t.Errorf("%+v", x)
		}
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if x := look(); x.Level != api.LevelOK {
		t.Errorf("put back: %+v", x)
	}
	cfg.Evidence.Retention.Hold = true // another leaf, so that it is known that there was a file
	look()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if x := look(); x.Level != api.LevelWarning || !strings.Contains(x.Reason, "retention.json was missing") {
		t.Errorf("removed: %+v", x)
	}
}
