package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/policy"
	"rutile/internal/registry"
	"rutile/internal/signin"
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
	// Insecure permits addresses other than loopback without TLS, for where
	// something in front of the gateway has it.
	Insecure bool `yaml:"insecure"`
	// Store is "sqlite" or a postgres:// address.
	Store string `yaml:"store"`
	// Vault says what seals credentials and evidence keys.
	Vault Vault `yaml:"vault"`
	// Evidence says how evidence is kept.
	Evidence Evidence `yaml:"evidence"`
	// Egress says where upstream servers may live.
	Egress Egress `yaml:"egress"`
	// Limits are the bounds that depend on how many agents there are. Every other
	// bound is fixed.
	Limits Limits `yaml:"limits"`
	// MCP says what of the protocol is carried besides its core.
	MCP MCP `yaml:"mcp"`
	// Discovery says what rutile discover looks for besides what it knows.
	Discovery Discovery `yaml:"discovery"`
	// Inspection says how strict the inspection of what servers send is.
	Inspection Inspection `yaml:"inspection"`
	// Registry says who may read the catalog of servers at /v0.1/servers of the
	// agents' listener, in the shape of the official MCP registry.
	Registry Registry `yaml:"registry"`
	// Lifecycle says what is asked of servers before their state changes, and of
	// their owners afterwards.
	Lifecycle Lifecycle `yaml:"lifecycle"`
	// Risk says what is done about unusual conduct of agents.
	Risk Risk `yaml:"risk"`
	// Approvals says how people approve what agents ask for.
	Approvals Approvals `yaml:"approvals"`
	// SignIn names an OpenID Connect provider that signs people in to the console.
	SignIn SignIn `yaml:"signIn"`
	// Log says what is logged and how.
	Log Log `yaml:"log"`
	// Telemetry says where traces go.
	Telemetry Telemetry `yaml:"telemetry"`

	file  string            // where it was read from, "" if nowhere
	lines map[string]int    // where each key stands in it
	said  map[string]string // the values it gives
}

// Listen are the listeners' addresses.
type Listen struct {
	Agents    string `yaml:"agents"`    // default 127.0.0.1:7433
	Operators string `yaml:"operators"` // default 127.0.0.1:7434
}

// URLs are public base addresses.
type URLs struct {
	Agents    string `yaml:"agents"`    // for example https://mcp.example.com
	Operators string `yaml:"operators"` // for example https://rutile.example.com:7434
}

// TLS names certificate files.
type TLS struct {
	Cert     string `yaml:"cert"`     // PEM chain
	Key      string `yaml:"key"`      // PEM private key
	ClientCA string `yaml:"clientCA"` // PEM; agents must then present a certificate of it
}

// Vault says what seals credentials and evidence keys. To change it, name the
// earlier one as previous, start, and run: rutile credential rewrap. With none of
// keyFile, passphraseFile and transit it is vault.key in the data directory.
type Vault struct {
	KeyFile        string   `yaml:"keyFile"`        // 32 bytes in hexadecimal, made at the first start; default vault.key in the data directory
	PassphraseFile string   `yaml:"passphraseFile"` // instead: a file with a passphrase the key is derived from, best where no backup of the data goes
	Transit        Transit  `yaml:"transit"`        // instead: a key that never leaves OpenBao or HashiCorp Vault
	Previous       Previous `yaml:"previous"`       // what it was before, until rewrap was run
}

// Transit is a key of the transit engine of OpenBao or HashiCorp Vault. It is
// asked at the start, and to rewrap.
type Transit struct {
	Address   string `yaml:"address"`   // https://host:port
	Namespace string `yaml:"namespace"` // default none
	CA        string `yaml:"ca"`        // PEM of the authority trusted instead of the system's
	Mount     string `yaml:"mount"`     // default transit
	Key       string `yaml:"key"`       // its name; a type that takes associated data, such as aes256-gcm96
	TokenFile string `yaml:"tokenFile"` // mode 0600, read for each request
}

// Previous is the vault's key before it was changed: one of the members of vault.
type Previous struct {
	KeyFile        string  `yaml:"keyFile"` // name vault.key in the data directory here if it was the default
	PassphraseFile string  `yaml:"passphraseFile"`
	Transit        Transit `yaml:"transit"`
}

// Evidence says how evidence is kept.
type Evidence struct {
	Durability   string `yaml:"durability"`   // strict (default) or relaxed_reads
	Organisation string `yaml:"organisation"` // domain in the log's name, default "localhost"
	// Witnesses cosign the log's checkpoints, on machines of others (rutile audit witness).
	Witnesses []Witness `yaml:"witnesses"`
	Quorum    int       `yaml:"quorum"` // how many must have cosigned, default all of them
	// Retention says how long what the evidence holds is kept.
	Retention Retention `yaml:"retention"`
}

// Retention says how long what the evidence holds is kept (docs/evidence.md). What it
// says stands in the log, for whoever verifies it.
type Retention struct {
	PayloadDays  int  `yaml:"payloadDays"`  // excerpts of arguments and results, deleted by whole months; default 30, at least 1
	DecisionDays int  `yaml:"decisionDays"` // leaves of calls; default 400, at least 184
	Hold         bool `yaml:"hold"`         // a legal hold: nothing is erased and nothing goes while it is set
}

func (r Retention) policy() audit.RetentionPolicy {
	return audit.RetentionPolicy{Payload: cmp.Or(r.PayloadDays, 30), Decision: cmp.Or(r.DecisionDays, 400), Hold: r.Hold}
}

func (r Retention) check(note func(key, format string, args ...any)) {
	p := r.policy()
	if p.Payload < audit.MinPayloadDays {
		note("evidence.retention.payloadDays", "is %d: excerpts are kept for %d day at least", p.Payload, audit.MinPayloadDays)
	}
	if p.Decision < audit.MinDecisionDays {
		note("evidence.retention.decisionDays", "is %d: leaves of calls are kept for %d days at least, which the EU AI Act asks for", p.Decision, audit.MinDecisionDays)
	}
	if p.Payload > p.Decision {
		note("evidence.retention.payloadDays", "is %d, more than the %d days of the calls they belong to", p.Payload, p.Decision)
	}
}

// Witness is who is asked to cosign.
type Witness struct {
	URL string `yaml:"url"` // https://host/prefix; http:// on loopback
	Key string `yaml:"key"` // vkey rutile audit witness prints
}

// Egress says where upstream servers may live.
type Egress struct {
	Allow []string `yaml:"allow"` // CIDR ranges besides public addresses
	Proxy string   `yaml:"proxy"` // http(s)://host:port of the forward proxy to go through, "" for none; the environment is not asked
}

// Discovery says what rutile discover looks for besides what it knows.
type Discovery struct {
	Clients         []string      `yaml:"clients"`         // files with more rows for the table of clients (docs/discovery-clients.md)
	MissingAfter    time.Duration `yaml:"missingAfter"`    // how long what was found may go unseen before it counts as missing, such as 720h; default 336h
	Registry        string        `yaml:"registry"`        // a copy of the official registry's listing to compare with (docs/discovery-identify.md); default none
	Vulnerabilities string        `yaml:"vulnerabilities"` // a copy of OSV records to compare with; default none
	// Watch says what of its own machine the gateway looks at by itself, when it starts
	// and from then on. Nothing that is found is started or connected to.
	Watch Watch `yaml:"watch"`
}

// Watch is about the machine the gateway runs on.
type Watch struct {
	Clients   string        `yaml:"clients"`   // on (default): what clients are configured with, again within seconds of a change; off
	Processes string        `yaml:"processes"` // on (default): processes and listening sockets; off
	Homes     []string      `yaml:"homes"`     // home folders to look through instead of the one of the user the gateway runs as
	Projects  []string      `yaml:"projects"`  // folders of projects besides those that clients list
	Every     time.Duration `yaml:"every"`     // how often everything is looked at, changed or not; default 10m, from 1m to 24h
	Poll      time.Duration `yaml:"poll"`      // how often it is asked which processes there are, and every third time where is listened; default 5s, from 1s to 10m
}

// Inspection says how strict the inspection of what servers send is.
type Inspection struct {
	Drift string `yaml:"drift"` // graded (default): a change of an approved definition that needs nobody to look passes with a record; strict: every change waits for a person
	// Judge is an outside judge of what servers send; off unless it has a url.
	Judge JudgeConfig `yaml:"judge"`
}

// JudgeConfig is a service that is asked about texts beside the calls
// (docs/inspection.md). What it is sent leaves the gateway.
type JudgeConfig struct {
	URL        string        `yaml:"url"`        // https:// address it is asked at with POST; http:// on loopback only
	Model      string        `yaml:"model"`      // version of its model, which its answers must name; another version asks anew
	Credential string        `yaml:"credential"` // sealed credential sent as a bearer token, default none
	About      []string      `yaml:"about"`      // definitions, review (results with a finding at review), results (all); default definitions and review
	Threshold  int           `yaml:"threshold"`  // of its confidence in percent, 50 to 100, below which a verdict does nothing; default 80
	Lower      bool          `yaml:"lower"`      // soft findings do not count where it calls a text benign; default false
	Timeout    time.Duration `yaml:"timeout"`    // of one answer, 1s to 2m; default 20s
}

// Registry is the catalog of servers for MCP clients. It holds the names of the
// sanctioned and deprecated servers, and is read without a token.
type Registry struct {
	Serve     string   `yaml:"serve"`     // open, or off; left out: open where the listener is on loopback, else off
	Namespace string   `yaml:"namespace"` // what stands before the slash of each name, such as com.example; default evidence.organisation in reverse
	Origins   []string `yaml:"origins"`   // web origins whose pages may read it, such as https://portal.example.com, or "*"; default none
}

// Lifecycle is about the life of servers (docs/lifecycle.md).
type Lifecycle struct {
	Guards          string        `yaml:"guards"`          // warn (default), or enforce: a guard that is not met refuses the change
	QuarantineAfter time.Duration `yaml:"quarantineAfter"` // such as 336h: a server whose review is overdue for so long is put in quarantine; default never
}

// Risk is about how unusual what agents do is (docs/risk.md).
type Risk struct {
	Ladder string `yaml:"ladder"` // enforce (default): from a score of 60 people are asked, from 75 sessions and from 90 agents are held; shadow: what would have been is noted; off
}

// Approvals says how people approve what agents ask for.
type Approvals struct {
	Tier3 string `yaml:"tier3"` // auto (default): from tier 3 approvals are signed with a passkey as soon as one of those who may approve has one; passkey: always; person: only by whoever has one

	BreakGlass string `yaml:"breakGlass"` // auto (default): breaking the glass is signed with a passkey as soon as one of those who may has one; passkey: always; person: only by whoever has one
}

// SignIn is an OpenID Connect provider. It sends people back to /console/sign-in/back
// of urls.operators, and signs in whose User names what it says in iss and sub.
type SignIn struct {
	Issuer     string `yaml:"issuer"`     // such as https://login.example.com; default none
	ClientID   string `yaml:"clientID"`   // ours there
	SecretFile string `yaml:"secretFile"` // a file with our secret there, read for each sign-in; default none, a public client
	Name       string `yaml:"name"`       // what people call it, default its host
}

func (s *SignIn) check(note func(key, format string, args ...any)) {
	if *s == (SignIn{}) {
		return
	}
	if msg := signin.CheckIssuer(s.Issuer); msg != "" {
		note("signIn.issuer", "%s", msg)
	}
	if s.ClientID == "" {
		note("signIn.clientID", "is missing: what the provider knows this gateway by")
	}
}

// Limits are bounds on what agents may use. The zero value of each is its
// default.
type Limits struct {
	Connections           int           `yaml:"connections"`           // open ones of each listener, default 20000
	ConnectionsPerAddress int           `yaml:"connectionsPerAddress"` // of them, from one IPv4 address or IPv6 /64, default 4000; to be raised where a proxy stands in front of many agents
	InFlight              int           `yaml:"inFlight"`              // requests of agents at once, default 8192
	InFlightPerPrincipal  int           `yaml:"inFlightPerPrincipal"`  // of them, of one agent on behalf of one person, default 512
	Sessions              int           `yaml:"sessions"`              // sessions of revisions before 2026-07-28, default 10000
	SessionsPerPrincipal  int           `yaml:"sessionsPerPrincipal"`  // of them; also long streams, and conversations with one server; default 64
	Parked                int           `yaml:"parked"`                // calls that wait for their client's input, default 1024
	ParkedPerPrincipal    int           `yaml:"parkedPerPrincipal"`    // of them, default 8
	Body                  Bytes         `yaml:"body"`                  // of a request, such as 512KiB; default 4MiB
	CallTimeout           time.Duration `yaml:"callTimeout"`           // a server's silence that ends a call, such as 30s; default 1m
	CallMax               time.Duration `yaml:"callMax"`               // the longest a call runs, default 10m
	Idle                  time.Duration `yaml:"idle"`                  // until an unused session or conversation ends, default 30m
}

// Bytes is an amount of bytes, written as 512KiB or 4MiB.
type Bytes int

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
	return ParseConfig(raw, path)
}

// ParseConfig decodes a configuration strictly; file is for messages. Relative
// file names in it are relative to the file's directory.
func ParseConfig(raw []byte, file string) (Config, error) {
	var c Config
	f := &configFile{lines: map[string]int{}}
	if root := f.document(raw); root != nil {
		f.read(root, reflect.ValueOf(&c).Elem(), "")
	}
	if len(f.bad) > 0 {
		return Config{}, access.Errorf(access.CodeInvalid, "%s: %s", file, strings.Join(f.bad, "; "))
	}
	c.file, c.lines = file, f.lines
	if file != "" {
		dir := filepath.Dir(file)
		relative := []*string{&c.SignIn.SecretFile, &c.Discovery.Registry, &c.Discovery.Vulnerabilities, &c.TLS.Cert, &c.TLS.Key, &c.TLS.ClientCA, &c.Data,
			&c.Vault.KeyFile, &c.Vault.PassphraseFile, &c.Vault.Transit.CA, &c.Vault.Transit.TokenFile,
			&c.Vault.Previous.KeyFile, &c.Vault.Previous.PassphraseFile, &c.Vault.Previous.Transit.CA, &c.Vault.Previous.Transit.TokenFile}
		for _, list := range [][]string{c.Discovery.Clients, c.Discovery.Watch.Homes, c.Discovery.Watch.Projects} {
			for i := range list {
				relative = append(relative, &list[i])
			}
		}
		for _, p := range relative {
			if *p != "" && !filepath.IsAbs(*p) {
				*p = filepath.Join(dir, *p)
			}
		}
	}
	c.said = c.values()
	return c, c.check()
}

// extensionName is prefix/name of MCP 2026-07-28, with a prefix of DNS labels.
var extensionName = regexp.MustCompile(`^[A-Za-z](?:[A-Za-z0-9.-]*[A-Za-z0-9])?/[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$`)

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
	note := func(key, format string, args ...any) {
		bad = append(bad, place(c.lines[key], key)+fmt.Sprintf(format, args...))
	}
	oneOf := func(key, v string, words ...string) {
		if v != "" && !slices.Contains(words, v) {
			note(key, "%q is not one of %s", v, strings.Join(words, ", "))
		}
	}
	oneOf("mode", c.Mode, "enforce", "monitor")
	oneOf("evidence.durability", c.Evidence.Durability, "strict", "relaxed_reads")
	oneOf("inspection.drift", c.Inspection.Drift, "graded", "strict")
	oneOf("risk.ladder", c.Risk.Ladder, policy.LadderEnforce, policy.LadderShadow, policy.LadderOff)
	oneOf("approvals.tier3", c.Approvals.Tier3, "auto", "passkey", "person")
	oneOf("approvals.breakGlass", c.Approvals.BreakGlass, "auto", "passkey", "person")
	oneOf("lifecycle.guards", c.Lifecycle.Guards, "warn", "enforce")
	oneOf("discovery.watch.clients", c.Discovery.Watch.Clients, "on", "off")
	oneOf("discovery.watch.processes", c.Discovery.Watch.Processes, "on", "off")
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	if c.Store != "" && c.Store != "sqlite" && !strings.HasPrefix(c.Store, "postgres://") && !strings.HasPrefix(c.Store, "postgresql://") {
		note("store", "must be sqlite or a postgres:// address")
	}
	c.checkListen(note)
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		note("tls", "cert and key belong together")
	}
	if c.TLS.ClientCA != "" && c.TLS.Cert == "" {
		note("tls.clientCA", "needs tls.cert and tls.key")
	}
	c.checkVault(note)
	if o := c.Evidence.Organisation; o != "" && !organisation.MatchString(o) {
		note("evidence.organisation", "must be a domain such as example.com, at most 64 characters")
	}
	c.checkWitnesses(note)
	c.Evidence.Retention.check(note)
	for i, r := range c.Egress.Allow {
		if _, err := netip.ParsePrefix(r); err != nil {
			note(fmt.Sprintf("egress.allow[%d]", i), "%q is not a CIDR range such as 10.20.0.0/16", r)
		}
	}
	if p := c.Egress.Proxy; p != "" {
		if msg := registry.CheckProxy(p); msg != "" {
			note("egress.proxy", "%s", msg)
		}
	}
	c.Inspection.Judge.check(note)
	c.Limits.check(note)
	c.SignIn.check(note)
	c.Registry.check(note)
	for i, e := range c.MCP.Extensions {
		if !extensionName.MatchString(e) {
			note(fmt.Sprintf("mcp.extensions[%d]", i), "%q is not the name of an extension, such as io.modelcontextprotocol/ui", e)
		}
	}
	if o := c.Telemetry.OTLP; o != "" {
		if p, err := url.Parse(o); err != nil || p.Host == "" || p.User != nil || (p.Scheme != "http" && p.Scheme != "https") {
			note("telemetry.otlp", "must be http(s)://host:port")
		}
	}
	within := func(key string, d, least, most time.Duration, says string) {
		if d != 0 && (d < least || d > most) {
			note(key, "must be between %s, not %s", says, d)
		}
	}
	within("discovery.missingAfter", c.Discovery.MissingAfter, time.Hour, maxMissing, "1h and "+maxMissing.String())
	within("discovery.watch.every", c.Discovery.Watch.Every, time.Minute, 24*time.Hour, "1m and 24h")
	within("discovery.watch.poll", c.Discovery.Watch.Poll, time.Second, 10*time.Minute, "1s and 10m")
	if len(bad) == 0 {
		return nil
	}
	where := c.file
	if where == "" {
		where = "configuration"
	}
	return access.Errorf(access.CodeInvalid, "%s: %s", where, strings.Join(bad, "; "))
}

// maxMissing bounds discovery.missingAfter.
const maxMissing = 10 * 365 * 24 * time.Hour

// organisation leaves room for the rest of the log's name, which has 128
// characters at most.
var organisation = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$`)

// checkListen checks the listeners' addresses and what clients call them.
func (c *Config) checkListen(note func(key, format string, args ...any)) {
	for _, l := range []struct{ key, addr string }{{"listen.agents", c.Listen.Agents}, {"listen.operators", c.Listen.Operators}} {
		if msg := CheckAddress(l.addr); l.addr != "" && msg != "" {
			note(l.key, "%s", msg)
		}
	}
	for _, l := range []struct{ key, url string }{{"urls.agents", c.URLs.Agents}, {"urls.operators", c.URLs.Operators}} {
		if l.url == "" {
			continue
		}
		p, err := url.Parse(l.url)
		switch {
		case err != nil || (p.Scheme != "https" && p.Scheme != "http") || p.Hostname() == "" || l.url != p.Scheme+"://"+p.Host:
			note(l.key, "must be http(s)://host without a user, path, query or trailing slash")
		case strings.ToLower(l.url) != l.url || p.Scheme == "https" && p.Port() == "443" || p.Scheme == "http" && p.Port() == "80":
			note(l.key, "must be spelled as clients do: in lower case and without the scheme's own port")
		case p.Scheme == "http" && !c.Insecure && !loopback(net.JoinHostPort(p.Hostname(), "0")):
			note(l.key, "tokens would travel in clear; write https, or insecure: true")
		}
	}
}

// CheckAddress returns what is wrong with an address to listen on, "" if nothing.
func CheckAddress(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Sprintf("%q is not host:port", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("%q has no port from 0 to 65535", addr)
	}
	return ""
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
	def(&c.Inspection.Drift, "graded")
	def(&c.Approvals.Tier3, "auto")
	def(&c.Approvals.BreakGlass, "auto")
	c.Inspection.Judge.withDefaults()
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
		for _, l := range []struct{ key, addr string }{{"listen.agents", c.Listen.Agents}, {"listen.operators", c.Listen.Operators}} {
			if !loopback(l.addr) {
				return c, access.Errorf(access.CodeInvalid, "%s: %s is not loopback, and without tls.cert and tls.key tokens would travel in clear; configure tls, or write insecure: true if something in front of it does", l.key, l.addr)
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
