package daemon_test

import (
	"strings"
	"testing"

	"rutile/internal/daemon"
)

// TestSettingsSayWhereEachValueIsFrom: the file with its line, what was given besides,
// or nothing; and no secret.
func TestSettingsSayWhereEachValueIsFrom(t *testing.T) {
	cfg, err := daemon.ParseConfig([]byte("mode: enforce\nstore: postgres://rutile:s3cret@db.example.com/rutile?password=s3cret\nlisten:\n  agents: 127.0.0.1:1\negress: {allow: [10.0.0.0/8, 10.1.0.0/16]}\n"), "/etc/rutile.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen.Agents, cfg.Log.Level = "127.0.0.1:2", "debug"
	got := map[string]daemon.Setting{}
	for _, s := range cfg.Settings() {
		got[s.Key] = s
		if strings.Contains(s.Value, "s3cret") {
			t.Errorf("%s shows a secret: %s", s.Key, s.Value)
		}
	}
	for key, want := range map[string]daemon.Setting{
		"mode":          {Value: "enforce", Origin: "/etc/rutile.yaml:1"},
		"store":         {Value: "postgres://db.example.com/rutile", Origin: "/etc/rutile.yaml:2"},
		"listen.agents": {Value: "127.0.0.1:2", Origin: "command line or environment"},
		"log.level":     {Value: "debug", Origin: "command line or environment"},
		"log.format":    {Value: "", Origin: "default"},
		"egress.allow":  {Value: "10.0.0.0/8 10.1.0.0/16", Origin: "/etc/rutile.yaml:5"},
	} {
		want.Key = key
		if got[key] != want {
			t.Errorf("%s is %+v, want %+v", key, got[key], want)
		}
	}
}
