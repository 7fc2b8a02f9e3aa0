package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"rutile/internal/access"
)

// Config is rutile.yaml. Every member may be left out; the zero value is a safe
// daemon on loopback with SQLite. Unknown keys are errors that name the line.
type Config struct {
	// Mode is "enforce" or "monitor". Left out: enforce as soon as there is a
	// configuration file or any manifest has been applied, monitor before.
	Mode string `yaml:"mode"`
	// Data is the data directory. Default: $XDG_DATA_HOME/rutile.
	Data string `yaml:"data"`
	// Listen says where to listen; port 0 picks a free port.
	Listen Listen `yaml:"listen"`
	// URLs are the public base addresses where they differ from the listeners.
	URLs URLs `yaml:"urls"`
	// TLS serves both listeners with TLS; the files are read again when they change.
	TLS TLS `yaml:"tls"`
	// Insecure permits listening on other addresses than loopback without TLS.
	Insecure bool `yaml:"insecure"`
	// Store is "sqlite" or a postgres:// address.
	Store string `yaml:"store"`
	// Evidence says how evidence is kept.
	Evidence Evidence `yaml:"evidence"`
	// Egress says where upstream servers may live.
	Egress Egress `yaml:"egress"`
	// MCP says what of the protocol is carried besides its core.
	MCP MCP `yaml:"mcp"`
	// Log says what is logged and how.
	Log Log `yaml:"log"`
	// Telemetry says where traces go.
	Telemetry Telemetry `yaml:"telemetry"`

	file string // where it was read from, "" if nowhere
}

// Listen are the listeners' addresses.
type Listen struct {
	Agents    string `yaml:"agents"`    // default 127.0.0.1:7433
	Operators string `yaml:"operators"` // default 127.0.0.1:7434
}

// URLs are public base addresses.
type URLs struct {
	Agents string `yaml:"agents"` // for example https://mcp.example.com
}

// TLS names certificate files.
type TLS struct {
	Cert     string `yaml:"cert"`     // PEM chain
	Key      string `yaml:"key"`      // PEM private key
	ClientCA string `yaml:"clientCA"` // PEM; agents must then present a certificate of it
}

// Evidence says how evidence is kept.
type Evidence struct {
	Durability   string `yaml:"durability"`   // strict (default) or relaxed_reads
	Organisation string `yaml:"organisation"` // domain in the log's name, default "localhost"
}

// Egress says where upstream servers may live.
type Egress struct {
	Allow []string `yaml:"allow"` // CIDR ranges besides public addresses
}

// MCP says what of the protocol is carried besides its core.
type MCP struct {
	Extensions []string `yaml:"extensions"` // protocol extensions carried as they are, such as io.modelcontextprotocol/ui; tasks always are
}

// Log says what is logged.
type Log struct {
	Level  string `yaml:"level"`  // debug, info (default), warn, error
	Format string `yaml:"format"` // text (default) or json
}

// Telemetry says where traces go.
type Telemetry struct {
	OTLP string `yaml:"otlp"` // http(s)://host:port of an OTLP/HTTP receiver, "" for none
}

// LoadConfig reads a configuration file. With required false a missing file is
// the zero Config.
func LoadConfig(path string, required bool) (Config, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !required {
		return Config{}, nil
	}
	if err != nil {
		return Config{}, access.Errorf(access.CodeInvalid, "the configuration %s cannot be read: %v", path, pathReason(err))
	}
	c, err := ParseConfig(raw, path)
	if err != nil {
		return Config{}, err
	}
	c.file = path
	return c, nil
}

// ParseConfig decodes a configuration strictly; file is for messages. Relative
// file names in it are relative to the file's directory.
func ParseConfig(raw []byte, file string) (Config, error) {
	var c Config
	if len(strings.TrimSpace(string(raw))) > 0 {
		if err := yaml.Load(raw, &c, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
			return Config{}, access.Errorf(access.CodeInvalid, "%s: %s", file, yamlReason(err))
		}
	}
	if file != "" {
		c.file = file
		dir := filepath.Dir(file)
		for _, p := range []*string{&c.TLS.Cert, &c.TLS.Key, &c.TLS.ClientCA, &c.Data} {
			if *p != "" && !filepath.IsAbs(*p) {
				*p = filepath.Join(dir, *p)
			}
		}
	}
	return c, c.check()
}

var (
	lineAt = regexp.MustCompile(`line (\d+)`)
	mark   = regexp.MustCompile(`\bL(\d+)\.C(\d+)\b`)
	// extensionName is prefix/name of MCP 2026-07-28, with a prefix of DNS labels.
	extensionName = regexp.MustCompile(`^[A-Za-z](?:[A-Za-z0-9.-]*[A-Za-z0-9])?/[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$`)
)

// yamlReason is the decoder's own text on one line: it names lines and keys,
// not values.
func yamlReason(err error) string {
	text := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
	text = mark.ReplaceAllString(strings.TrimPrefix(text, "yaml: "), "line $1, column $2")
	if !lineAt.MatchString(text) {
		return "the configuration is not valid YAML: " + text
	}
	return text + " (see: rutile up --help)"
}

func pathReason(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// check validates every member and reports all mistakes at once.
func (c *Config) check() error {
	var bad []string
	note := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	oneOf := func(key, v string, words ...string) {
		for _, w := range words {
			if v == w || v == "" {
				return
			}
		}
		note("%s: %q is not one of %s", key, v, strings.Join(words, ", "))
	}
	oneOf("mode", c.Mode, "enforce", "monitor")
	oneOf("evidence.durability", c.Evidence.Durability, "strict", "relaxed_reads")
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	if c.Store != "" && c.Store != "sqlite" && !strings.HasPrefix(c.Store, "postgres://") && !strings.HasPrefix(c.Store, "postgresql://") {
		note("store: must be sqlite or a postgres:// address")
	}
	for key, v := range map[string]string{"listen.agents": c.Listen.Agents, "listen.operators": c.Listen.Operators} {
		if v != "" {
			if _, _, err := net.SplitHostPort(v); err != nil {
				note("%s: %q is not host:port", key, v)
			}
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		note("tls: cert and key belong together")
	}
	if c.TLS.ClientCA != "" && c.TLS.Cert == "" {
		note("tls.clientCA: needs tls.cert and tls.key")
	}
	if u := c.URLs.Agents; u != "" {
		p, err := url.Parse(u)
		if err != nil || (p.Scheme != "https" && p.Scheme != "http") || p.Host == "" || strings.HasSuffix(u, "/") || p.RawQuery != "" || p.Fragment != "" || p.User != nil {
			note("urls.agents: must be http(s)://host without a trailing slash, query or fragment")
		}
	}
	for i, r := range c.Egress.Allow {
		if _, err := netip.ParsePrefix(r); err != nil {
			note("egress.allow[%d]: %q is not a CIDR range such as 10.20.0.0/16", i, r)
		}
	}
	for i, e := range c.MCP.Extensions {
		if !extensionName.MatchString(e) {
			note("mcp.extensions[%d]: %q is not the name of an extension, such as io.modelcontextprotocol/ui", i, e)
		}
	}
	if o := c.Telemetry.OTLP; o != "" {
		if p, err := url.Parse(o); err != nil || p.Host == "" || (p.Scheme != "http" && p.Scheme != "https") {
			note("telemetry.otlp: must be http(s)://host:port")
		}
	}
	if len(bad) == 0 {
		return nil
	}
	where := c.file
	if where == "" {
		where = "configuration"
	}
	return access.Errorf(access.CodeInvalid, "%s: %s", where, strings.Join(bad, "; "))
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	def := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	def(&c.Listen.Agents, "127.0.0.1:7433")
	def(&c.Listen.Operators, "127.0.0.1:7434")
	def(&c.Store, "sqlite")
	def(&c.Evidence.Durability, "strict")
	def(&c.Evidence.Organisation, "localhost")
	def(&c.Log.Level, "info")
	def(&c.Log.Format, "text")
	if c.Data == "" {
		dir, err := DefaultData()
		if err != nil {
			return c, err
		}
		c.Data = dir
	}
	if c.TLS.Cert == "" && !c.Insecure {
		for key, addr := range map[string]string{"listen.agents": c.Listen.Agents, "listen.operators": c.Listen.Operators} {
			if !loopback(addr) {
				return c, access.Errorf(access.CodeInvalid, "%s: %s is not loopback, and without tls.cert and tls.key tokens would travel in clear; configure tls, or write insecure: true if something in front of it does", key, addr)
			}
		}
	}
	return c, c.check()
}

// DefaultData is ${XDG_DATA_HOME}/rutile.
func DefaultData() (string, error) {
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "rutile"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", access.Errorf(access.CodeInvalid, "no data directory: set --data, XDG_DATA_HOME or HOME")
	}
	return filepath.Join(home, ".local", "share", "rutile"), nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (l Log) level() slog.Level {
	switch l.Level {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}
