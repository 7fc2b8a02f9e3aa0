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
		{"unknown key", "mode: enforce\nmod: x\n", "line 2: mod: unknown key; known here are mode, data,"},
		{"unknown nested key", "listen:\n  agent: 127.0.0.1:1\n", "line 2: listen.agent: unknown key; known here are agents, operators"},
		{"another case", "Mode: enforce\n", "line 1: Mode: unknown key"},
		{"a key that is no text", "? [a]\n: b\n", "line 1: unknown key"},
		{"duplicate key", "mode: enforce\nmode: monitor\n", "line 2: mode: the key is there twice, first in line 1"},
		{"a list for keys", "\nlisten: [1]\n", "line 2: listen: must hold keys and values"},
		{"a list in all", "- mode\n", "line 1: must hold keys and values"},
		{"text in all", "hello\n", "line 1: must hold keys and values"},
		{"a word for a list", "egress: {allow: 10.0.0.0/8}\n", "line 1: egress.allow: must be a list"},
		{"a word for a switch", "\ninsecure: \"true\"\n", "line 2: insecure: must be true or false"},
		{"yes for a switch", "insecure: yes\n", "line 1: insecure: must be true or false"},
		{"a number for text", "data: 5\n", "line 1: data: must be text"},
		{"an anchor", "mode: &a enforce\n", "line 1: mode: anchors, aliases and tags are not allowed"},
		{"an alias", "mode: *a\n", "line 1: not YAML here: unknown anchor"},
		{"a tag", "mode: !!str enforce\n", "line 1: mode: anchors, aliases and tags are not allowed"},
		{"a merge", "<<: {mode: enforce}\n", "line 1: <<: unknown key"},
		{"two documents", "mode: enforce\n---\nmode: monitor\n", "line 2: a second document starts here"},
		{"not YAML", "mode: enforce\nlog: [\n", "line 3: not YAML here"},
		{"a tab", "log:\n\tlevel: info\n", "line 2: not YAML here: indent with spaces, not tabs"},
		{"not UTF-8", "mode: \xff\n", "not UTF-8"},
		{"UTF-16", "\xff\xfem\x00", "not UTF-8"},
		{"unknown mode", "\nmode: maybe\n", `line 2: mode: "maybe" is not one of enforce, monitor`},
		{"half a certificate", "tls: {cert: a.pem}\n", "line 1: tls: cert and key belong together"},
		{"client CA alone", "tls:\n  clientCA: a.pem\n", "line 2: tls.clientCA: needs tls.cert"},
		{"address without port", "listen:\n  agents: localhost\n", "line 2: listen.agents:"},
		{"address with a port too large", "listen: {operators: \"127.0.0.1:65536\"}\n", "line 1: listen.operators:"},
		{"public address with a slash", "urls: {agents: https://a.example/}\n", "line 1: urls.agents:"},
		{"public address with a path", "urls: {agents: https://a.example/b}\n", "urls.agents:"},
		{"public address with a query", "urls: {agents: https://a.example?}\n", "urls.agents:"},
		{"public address with a user", "urls: {agents: https://a:b@a.example}\n", "urls.agents:"},
		{"public address in upper case", "urls: {agents: https://A.example}\n", "urls.agents: must be spelled as clients do"},
		{"public address with its own port", "urls: {operators: \"https://a.example:443\"}\n", "urls.operators: must be spelled as clients do"},
		{"public address in clear", "urls: {agents: http://a.example}\n", "urls.agents: tokens would travel in clear"},
		{"not a range", "egress:\n  allow:\n    - 10.0.0.0/8\n    - 10.0.0.1\n", "line 4: egress.allow[1]:"},
		{"unknown store", "store: mysql://x\n", "line 1: store:"},
		{"unknown durability", "evidence: {durability: none}\n", "evidence.durability:"},
		{"two keys", "vault:\n  keyFile: a\n  passphraseFile: b\n", "line 1: vault: keyFile, passphraseFile and transit exclude one another"},
		{"two earlier keys", "vault:\n  previous:\n    keyFile: a\n    passphraseFile: b\n", "line 2: vault.previous: keyFile, passphraseFile and transit exclude one another"},
		{"missing at once", "discovery: {missingAfter: 1m}\n", "line 1: discovery.missingAfter: must be between 1h and"},
		{"missing before it was seen", "discovery:\n  missingAfter: -24h\n", "line 2: discovery.missingAfter: must be"},
		{"watching now and then", "discovery:\n  watch: {clients: sometimes}\n", "line 2: discovery.watch.clients: \"sometimes\" is not one of on, off"},
		{"watching without end", "discovery: {watch: {poll: 10ms}}\n", "line 1: discovery.watch.poll: must be between 1s and 10m"},
		{"watching what", "discovery: {watch: {sockets: on}}\n", "line 1: discovery.watch.sockets: unknown key; known here are clients, processes"},
		{"the catalog for whom", "registry: {serve: lan}\n", "registry.serve: \"lan\" is not one of open, off"},
		{"a namespace with a slash", "registry: {namespace: com.example/x}\n", "registry.namespace: must be a domain in reverse"},
		{"an origin with a path", "registry: {origins: [\"https://a.example/\"]}\n", "is not a web origin"},
		{"the same key", "vault:\n  keyFile: a\n  previous:\n    keyFile: a\n", "vault.previous: is the same as what is configured now"},
		{"transit over http", "vault:\n  transit: {address: \"http://bao.example\", key: k, tokenFile: t}\n", "vault.transit: address must start with https://"},
		{"organisation with a path", "evidence: {organisation: a/b}\n", "line 1: evidence.organisation: must be a domain"},
		{"organisation too long", "evidence: {organisation: " + strings.Repeat("a", 65) + "}\n", "evidence.organisation:"},
		{"unknown log level", "log: {level: loud}\n", "log.level:"},
		{"bad receiver", "telemetry: {otlp: here}\n", "telemetry.otlp:"},
		{"receiver with a user", "telemetry: {otlp: http://a:b@here}\n", "telemetry.otlp:"},
		{"extension without a prefix", "mcp:\n  extensions: [tasks]\n", "line 2: mcp.extensions[0]:"},
		{"extension with a path", "mcp: {extensions: [\"a.b/../c\"]}\n", "mcp.extensions[0]:"},
		{"a word for a number", "limits:\n  connections: many\n", "line 2: limits.connections: must be a whole number"},
		{"a quoted number", "limits: {connections: \"5\"}\n", "line 1: limits.connections: must be a whole number"},
		{"no room at all", "limits:\n  connections: 0\n", "line 2: limits.connections: must be a whole number of at least 1"},
		{"less than none", "limits: {connections: -1}\n", "limits.connections: must be a whole number of at least 1"},
		{"half a connection", "limits: {connections: 1.5}\n", "limits.connections: must be a whole number"},
		{"an octal number", "limits: {connections: 0777}\n", "limits.connections: must be a whole number"},
		{"a hexadecimal number", "limits: {connections: 0x10}\n", "limits.connections: must be a whole number"},
		{"more than a machine has", "\nlimits:\n  connections: 1000001\n", "line 3: limits.connections: must be a whole number from 1 to 1000000"},
		{"more than a number holds", "limits: {connections: 99999999999999999999}\n", "limits.connections: must be a whole number"},
		{"more for one than for all", "limits: {connections: 100, connectionsPerAddress: 101}\n", "limits.connectionsPerAddress: is over limits.connections, which is 100"},
		{"more for one than for all by default", "limits: {connectionsPerAddress: 20001}\n", "limits.connectionsPerAddress: is over limits.connections, which is 20000"},
		{"more in flight for one than for all", "limits:\n  inFlight: 10\n  inFlightPerPrincipal: 11\n", "line 3: limits.inFlightPerPrincipal: is over limits.inFlight, which is 10"},
		{"more sessions for one than for all", "limits: {sessions: 3, sessionsPerPrincipal: 4}\n", "limits.sessionsPerPrincipal: is over limits.sessions, which is 3"},
		{"more parked for one than for all", "limits: {parkedPerPrincipal: 1025}\n", "limits.parkedPerPrincipal: is over limits.parked, which is 1024"},
		{"too many in flight", "limits: {inFlight: 1000001}\n", "limits.inFlight: must be a whole number from 1 to 1000000"},
		{"too many in flight of one", "limits: {inFlightPerPrincipal: 1000001}\n", "limits.inFlightPerPrincipal: must be a whole number from 1 to 1000000"},
		{"too many sessions", "limits: {sessions: 1000001}\n", "limits.sessions: must be a whole number from 1 to 1000000"},
		{"too many sessions of one", "limits: {sessionsPerPrincipal: 10001}\n", "limits.sessionsPerPrincipal: must be a whole number from 1 to 10000"},
		{"too many parked", "limits: {parked: 100001}\n", "limits.parked: must be a whole number from 1 to 100000"},
		{"too many parked of one", "limits: {parkedPerPrincipal: 10001}\n", "limits.parkedPerPrincipal: must be a whole number from 1 to 10000"},
		{"a body without a unit", "limits:\n  body: 4\n", "line 2: limits.body: must be an amount such as"},
		{"a body of another unit", "limits: {body: 4MB}\n", "limits.body: must be an amount such as"},
		{"a body of nothing", "limits: {body: 0MiB}\n", "limits.body: must be an amount such as"},
		{"a body less than nothing", "limits: {body: -1MiB}\n", "limits.body: must be an amount such as"},
		{"a body that overflows", "limits: {body: 17592186044416MiB}\n", "limits.body: must be an amount such as"},
		{"a body too large", "limits: {body: 33MiB}\n", "line 1: limits.body: must be an amount from 1KiB to 32MiB"},
		{"a number for a time", "limits:\n  idle: 30\n", "line 2: limits.idle: must be a time such as"},
		{"no time", "limits: {idle: 0s}\n", "limits.idle: must be a time such as"},
		{"a time in the past", "limits: {callTimeout: -30s}\n", "limits.callTimeout: must be a time such as"},
		{"a time too short", "limits: {callTimeout: 10ms}\n", "line 1: limits.callTimeout: must be a time from 1s to 1h"},
		{"a time too long", "limits: {callMax: 25h}\n", "limits.callMax: must be a time from 1s to 24h"},
		{"an idle time too long", "limits: {idle: 169h}\n", "limits.idle: must be a time from 1s to 168h"},
		{"silence longer than a call", "limits: {callTimeout: 20m}\n", "limits.callTimeout: is over limits.callMax, which is 10m"},
		{"unknown limit", "limits: {connection: 1}\n", "line 1: limits.connection: unknown key; known here are connections, connectionsPerAddress"},
		{"proxy with a password", "egress:\n  proxy: http://a:b@p:1\n", "line 2: egress.proxy: must not hold"},
		{"proxy that is none", "egress: {proxy: p:1}\n", "egress.proxy: is not the address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := daemon.ParseConfig([]byte(tt.yaml), "rutile.yaml")
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "rutile.yaml") {
				t.Fatalf("got %v, want an error with the file and %q", err, tt.want)
			}
			if access.CodeOf(err) != access.CodeInvalid {
				t.Errorf("code %q, want invalid", access.CodeOf(err))
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the message has several lines: %v", err)
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
limits: {connections: 100, connectionsPerAddress: 100, inFlight: 50, inFlightPerPrincipal: 50, sessions: 20, sessionsPerPrincipal: 10, parked: 5, parkedPerPrincipal: 5, body: 1MiB, callTimeout: 30s, callMax: 1h, idle: 24h}
`
	if _, err := daemon.ParseConfig([]byte(text), "rutile.yaml"); err != nil {
		t.Fatal(err)
	}
	for _, empty := range []string{"", "\n", "# nothing but a comment\n", "---\n", "null\n", "mode:\ntls:\n", "\ufeffmode: \"\"\n"} {
		if c, err := daemon.ParseConfig([]byte(empty), ""); err != nil || c.Mode != "" {
			t.Errorf("the configuration %q, which says nothing: %+v, %v", empty, c, err)
		}
	}
}

// TestConfigQuotesNoSecret: an address with a password in the wrong place does
// not end up in an error.
func TestConfigQuotesNoSecret(t *testing.T) {
	const dsn = "postgres://user:canary@db.example/rutile"
	for _, text := range []string{
		dsn, "store: [" + dsn + "]\n", "data: {x: " + dsn + "}\n", "tls: " + dsn + "\n", "insecure: " + dsn + "\n", "egress: {allow: " + dsn + "}\n",
		"database: " + dsn + "\n", "store: &a " + dsn + "\n", "store: \"" + strings.Replace(dsn, "postgres", "mysql", 1) + "\"\n", "store: \"" + dsn + "\n",
	} {
		_, err := daemon.ParseConfig([]byte(text), "rutile.yaml")
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", text, err)
		}
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

// TestInsecureHasToBeWrittenDown: an address other clients reach in clear is
// served where the configuration says so in as many words, and only there.
func TestInsecureHasToBeWrittenDown(t *testing.T) {
	cfg := daemon.Config{Data: t.TempDir(), Listen: free, URLs: daemon.URLs{Agents: "http://gateway.example"}}
	if _, err := daemon.New(t.Context(), cfg, daemon.Options{Log: io.Discard}); err == nil || !strings.Contains(err.Error(), "urls.agents") {
		t.Fatalf("got %v, want a refusal that names urls.agents", err)
	}
	cfg.Insecure, cfg.Listen.Agents = true, "0.0.0.0:0"
	d, err := daemon.New(t.Context(), cfg, daemon.Options{Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(context.Background())
	if d.AgentsURL != "http://gateway.example" {
		t.Errorf("agents are told %s", d.AgentsURL)
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
	if cfg.Listen == (daemon.Listen{}) {
		cfg.Listen = free
	}
	d, err := daemon.New(t.Context(), cfg, daemon.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	return d
}
