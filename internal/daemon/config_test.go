package daemon_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/daemon"
)

// TestConfigNamesThePlace: every mistake in rutile.yaml is refused with what is
// wrong and where.
func TestConfigNamesThePlace(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"unknown key", "mode: enforce\nmod: x\n", "line 2"},
		{"unknown nested key", "listen:\n  agent: 127.0.0.1:1\n", "line 2"},
		{"duplicate key", "mode: enforce\nmode: monitor\n", "line 2"},
		{"wrong type", "listen: [1]\n", "line 1"},
		{"not YAML", "mode: [\n", "line"},
		{"unknown mode", "mode: maybe\n", `mode: "maybe" is not one of enforce, monitor`},
		{"half a certificate", "tls: {cert: a.pem}\n", "cert and key belong together"},
		{"client CA alone", "tls: {clientCA: a.pem}\n", "needs tls.cert"},
		{"address without port", "listen: {agents: localhost}\n", "listen.agents"},
		{"public address with a slash", "urls: {agents: https://a.example/}\n", "urls.agents"},
		{"public address with a user", "urls: {agents: https://a:b@a.example}\n", "urls.agents"},
		{"not a range", "egress: {allow: [10.0.0.1]}\n", "egress.allow[0]"},
		{"extension without a prefix", "mcp: {extensions: [tasks]}\n", "mcp.extensions[0]"},
		{"extension with a path", "mcp: {extensions: [\"a.b/../c\"]}\n", "mcp.extensions[0]"},
		{"unknown store", "store: mysql://x\n", "store:"},
		{"unknown durability", "evidence: {durability: none}\n", "evidence.durability"},
		{"unknown log level", "log: {level: loud}\n", "log.level"},
		{"bad receiver", "telemetry: {otlp: here}\n", "telemetry.otlp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := daemon.ParseConfig([]byte(tt.yaml), "rutile.yaml")
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "rutile.yaml") {
				t.Fatalf("got %v, want an error with the file and %q", err, tt.want)
			}
			if access.CodeOf(err) != access.CodeInvalid {
				t.Errorf("code %q, want invalid", access.CodeOf(err))
			}
		})
	}
}

func TestConfigReportsEveryMistakeAtOnce(t *testing.T) {
	_, err := daemon.ParseConfig([]byte("mode: a\nstore: b\nlog: {level: c}\n"), "x.yaml")
	for _, want := range []string{"mode:", "store:", "log.level:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %q", err, want)
		}
	}
}

func TestContractConfigurationParses(t *testing.T) {
	text := `mode: enforce
data: /var/lib/rutile
listen: {agents: 127.0.0.1:7433, operators: 127.0.0.1:7434}
urls: {agents: https://mcp.example.com}
tls: {cert: /etc/rutile/tls.crt, key: /etc/rutile/tls.key, clientCA: /etc/rutile/agents-ca.crt}
insecure: false
store: sqlite
evidence: {durability: strict}
egress: {allow: ["10.20.0.0/16"]}
log: {level: info, format: text}
telemetry: {otlp: ""}
`
	if _, err := daemon.ParseConfig([]byte(text), "rutile.yaml"); err != nil {
		t.Fatal(err)
	}
	if c, err := daemon.ParseConfig(nil, ""); err != nil || c.Mode != "" {
		t.Fatalf("an empty configuration: %+v, %v", c, err)
	}
}

// TestOpenListenerNeedsTLS: tokens never travel in clear by accident.
func TestOpenListenerNeedsTLS(t *testing.T) {
	cfg := daemon.Config{Data: t.TempDir(), Listen: daemon.Listen{Agents: "0.0.0.0:0", Operators: "127.0.0.1:0"}}
	_, err := daemon.New(t.Context(), cfg, daemon.Options{Log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "listen.agents") || !strings.Contains(err.Error(), "tls") {
		t.Fatalf("got %v, want a refusal that names the listener and tls", err)
	}
	if entries, _ := os.ReadDir(cfg.Data); len(entries) != 0 {
		t.Errorf("a refused start left %d files", len(entries))
	}
}

func TestPortInUseIsAnErrorOfTheStart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := daemon.Config{Data: t.TempDir(), Listen: daemon.Listen{Agents: ln.Addr().String(), Operators: "127.0.0.1:0"}}
	_, err = daemon.New(t.Context(), cfg, daemon.Options{Log: io.Discard})
	if access.CodeOf(err) != access.CodeUnavailable || !strings.Contains(err.Error(), "listen.agents") {
		t.Fatalf("got %v, want unavailable naming listen.agents", err)
	}
	// Whatever was opened is closed again: the same directory starts elsewhere.
	cfg.Listen.Agents = "127.0.0.1:0"
	d, err := daemon.New(t.Context(), cfg, daemon.Options{Log: io.Discard})
	if err != nil {
		t.Fatalf("starting after a failed start: %v", err)
	}
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestDataDirectoryIsPrivate: what an earlier hand left open is closed.
func TestDataDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := start(t, daemon.Config{Data: dir})
	defer d.Close(context.Background())
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, daemon.SocketName): 0o600} {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(path), fi.Mode().Perm(), want)
		}
	}
}

func TestSecondDaemonOnTheSameDataIsRefused(t *testing.T) {
	dir := t.TempDir()
	d := start(t, daemon.Config{Data: dir})
	defer d.Close(context.Background())
	_, err := daemon.New(t.Context(), daemon.Config{Data: dir, Listen: free}, daemon.Options{Log: io.Discard})
	if access.CodeOf(err) != access.CodeConflict {
		t.Fatalf("got %v, want a conflict", err)
	}
}

var free = daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"}

func start(t *testing.T, cfg daemon.Config) *daemon.Daemon {
	t.Helper()
	cfg.Listen = free
	d, err := daemon.New(t.Context(), cfg, daemon.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	return d
}
