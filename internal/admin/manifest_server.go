package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"golang.org/x/net/http/httpguts"

	"rutile/internal/access"
	"rutile/internal/registry"
)

func (d *decoder) server(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "transport", "credential", "dataScopes", "classes", "pinning", "inspection", "restore", "labels", "description", "version", "replacement", "ends", "riskTier", "expires",
		"state", "stateWhy", "baseline", "pins", "wrapped")
	m.id = o.id()
	if m.id == access.OwnServer {
		o.fail("id", "%q is reserved for the gateway's own tools: choose another id", m.id)
	}
	m.state = o.choice("state", string(registry.ServerDiscovered), string(registry.ServerTriaged), string(registry.ServerSanctioned),
		string(registry.ServerDeprecated), string(registry.ServerQuarantined), string(registry.ServerBlocked), string(registry.ServerRetired))
	m.why = o.text("stateWhy")
	switch registry.ServerState(m.state) {
	case registry.ServerDiscovered, registry.ServerQuarantined, registry.ServerBlocked, registry.ServerRetired:
	default:
		o.required("owner", "team-name")
	}
	s := &registry.Server{ID: m.id, Owner: o.owner(), DataScopes: o.scopes(), Classes: o.classes(), Pinning: o.choice("pinning", registry.PinningEnforce, registry.PinningObserve), Wrapped: o.flag("wrapped")}
	s.Description, s.Version, s.Replacement, s.Ends = o.line("description", registry.MaxDescription), o.text("version"), o.text("replacement"), o.date("ends")
	s.RiskTier, s.Expires = o.integer("riskTier", 0, 3, 0), o.date("expires")
	if s.Version != "" {
		if msg := registry.CheckVersion(s.Version); msg != "" {
			o.fail("version", "%s", msg)
		}
	}
	if s.Replacement != "" && (!access.ValidID(s.Replacement) || s.Replacement == m.id) {
		o.fail("replacement", "%q is not the id of another server", clip(s.Replacement))
	}
	if s.Pinning == registry.PinningEnforce {
		s.Pinning = "" // the default is kept as nothing, so that both spellings are the same
	}
	if s.Inspection = o.choice("inspection", registry.InspectionEnforce, registry.InspectionObserve, registry.InspectionOff); s.Inspection == registry.InspectionEnforce {
		s.Inspection = ""
	}
	s.Restore, s.Labels = o.restore(), o.labels()
	o.required("transport", "{http: {url: …}} or {stdio: {command: …}}")
	if t, ok := o.sub("transport", "http", "stdio"); ok {
		if t.has("http") == t.has("stdio") {
			t.d.fail(t.node, "transport", "must have exactly one of http and stdio")
		}
		s.Transport.HTTP = t.http()
		s.Transport.Stdio = t.stdio()
	}
	s.Credential = o.credential(s.Transport)
	if x := s.Transport.Stdio; x != nil && x.Process == registry.ProcessServer && s.Credential != nil {
		o.fail("credential", "must not be in a process that everybody shares (transport.stdio.process: server): remove one of the two")
	}
	m.server, m.expires = s, o.has("expires")
	m.baseline = o.baseline()
	m.pins = o.pins(m.id)
}

// line reads one line of readable text of at most n characters.
func (o object) line(key string, n int) string {
	s := o.text(key)
	if utf8.RuneCountInString(s) > n || strings.ContainsFunc(s, hidden) || strings.TrimSpace(s) != s {
		o.fail(key, "must be one line of at most %d characters, without spaces around it", n)
		return ""
	}
	if literalSecret("", s) {
		o.fail(key, "looks like a secret: %s", adviceSecret)
		return ""
	}
	return s
}

func (o object) http() *registry.HTTP {
	h, ok := o.sub("http", "url", "sse", "headers", "tls", "proxy")
	if !ok {
		return nil
	}
	h.required("url", "https://mcp.example.com/mcp")
	out := &registry.HTTP{URL: h.text("url"), SSE: h.flag("sse"), Headers: h.mapping("headers"), Proxy: h.text("proxy")}
	if out.URL != "" {
		if msg := checkURL(out.URL); msg != "" {
			h.fail("url", "%s", msg)
		}
	}
	out.TLS = h.tls(out.URL)
	if out.Proxy != "" && out.Proxy != registry.ProxyNone {
		if msg := registry.CheckProxy(out.Proxy); msg != "" {
			h.fail("proxy", "%s", msg)
		}
	}
	headers := object{d: h.d, node: h.place("headers"), path: join(h.path, "headers"), members: map[string]*yaml.Node{}}
	if hs, ok := h.sub("headers"); ok {
		headers = hs
	}
	for name, value := range out.Headers {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			headers.fail(name, "is not a header name")
		case !httpguts.ValidHeaderFieldValue(value):
			headers.fail(name, "the value cannot be sent in a header")
		case secretHeader(name):
			headers.fail(name, "%s", adviceSecret)
		case managedHeader(name):
			headers.fail(name, "is set by the gateway and cannot be fixed here")
		case literalSecret(name, value):
			headers.fail(name, "looks like a secret: %s", adviceSecret)
		}
	}
	return out
}

// tls reads how an https server is verified. The files are read by the gateway
// when it connects, so that a renewed certificate needs no apply.
func (o object) tls(address string) *registry.TLS {
	t, ok := o.sub("tls", "ca", "cert", "key", "serverName")
	if !ok {
		return nil
	}
	out := &registry.TLS{CA: t.text("ca"), Cert: t.text("cert"), Key: t.text("key"), ServerName: t.text("serverName")}
	for key, file := range map[string]string{"ca": out.CA, "cert": out.Cert, "key": out.Key} {
		switch {
		case strings.Contains(file, "-----BEGIN"):
			t.fail(key, "must be the path of a PEM file, not its content")
		case file != "" && !filepath.IsAbs(file):
			t.fail(key, "must be an absolute path on the gateway's machine")
		}
	}
	if (out.Cert == "") != (out.Key == "") {
		t.d.fail(t.node, t.path, "cert and key belong together")
	}
	if out.ServerName != "" && !httpguts.ValidHostHeader(out.ServerName) {
		t.fail("serverName", "is not a host name")
	}
	if strings.HasPrefix(address, "http://") {
		t.d.fail(t.node, t.path, "has no meaning for an http:// url: write https://")
	}
	if *out == (registry.TLS{}) {
		return nil
	}
	return out
}

// checkURL returns what is wrong with the URL of an upstream, "" if nothing is.
func checkURL(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "" || u.Host == "" || u.Hostname() == "":
		return "is not a URL: write https://host/path"
	case u.Scheme != "https" && u.Scheme != "http":
		return "must start with https:// (or http://)"
	case u.User != nil:
		return "must not hold a user name or password: " + adviceSecret
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return "must not hold a fragment (#…): remove it"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "has a query that cannot be read"
	}
	for name, values := range query {
		for _, v := range values {
			if literalSecret(name, v) {
				return fmt.Sprintf("holds what looks like a secret in %q: %s", clip(name), adviceSecret)
			}
		}
	}
	if strings.Contains(u.Path, "://") || literalSecret("", u.Path) {
		return "holds what looks like a secret or another URL in its path"
	}
	return ""
}

// managedHeader reports whether the gateway sets a header itself.
func managedHeader(name string) bool {
	name = http.CanonicalHeaderKey(name)
	if strings.HasPrefix(name, "Mcp-") || strings.HasPrefix(name, "Proxy-") || strings.HasPrefix(name, "X-Forwarded-") {
		return true
	}
	return slices.Contains([]string{
		"Accept", "Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Forwarded", "Host", "Keep-Alive",
		"Last-Event-Id", "Origin", "Te", "Trailer", "Transfer-Encoding", "Traceparent", "Tracestate", "Baggage", "Upgrade",
	}, name)
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

func (o object) stdio() *registry.Stdio {
	s, ok := o.sub("stdio", "command", "args", "env", "dir", "confine", "process", "startTimeout", "idleTimeout")
	if !ok {
		return nil
	}
	s.required("command", "the program to start")
	out := &registry.Stdio{Command: s.text("command"), Args: s.texts("args"), Env: s.mapping("env"), Dir: s.text("dir")}
	out.Confine, out.Process = s.confine(), registry.Process(s.choice("process", string(registry.ProcessPrincipal), string(registry.ProcessSession), string(registry.ProcessServer)))
	if out.Process == registry.ProcessPrincipal {
		out.Process = "" // the default is kept as nothing
	}
	out.StartTimeout, out.IdleTimeout = s.duration("startTimeout", time.Second, time.Hour), s.duration("idleTimeout", time.Second, 7*24*time.Hour)
	if strings.TrimSpace(out.Command) != out.Command {
		s.fail("command", "must not start or end with a space; arguments go to args, one by one")
	}
	if out.Dir != "" && !filepath.IsAbs(out.Dir) {
		s.fail("dir", "must be an absolute path")
	}
	for i := range out.Args {
		name, value := argument(out.Args, i)
		if literalSecret(name, value) {
			s.d.fail(s.members["args"].Content[i], fmt.Sprintf("%s.args[%d]", s.path, i), "looks like a secret, which every process of the machine could read: %s", adviceSecret)
		}
	}
	if env, ok := s.sub("env"); ok {
		for name, value := range out.Env {
			switch {
			case !envName.MatchString(name):
				env.fail(name, "is not the name of an environment variable")
			case literalSecret(name, value):
				env.fail(name, "looks like a secret: %s", adviceSecret)
			}
		}
	}
	return out
}

func (o object) credential(t registry.Transport) *registry.CredentialRef {
	c, ok := o.sub("credential", "ref", "header", "env", "value", "also", "files", "args")
	if !ok {
		return nil
	}
	c.required("ref", "the name given to rutile credential set")
	out := &registry.CredentialRef{Ref: c.text("ref"), Header: c.text("header"), Env: c.text("env"), Value: c.text("value"), Also: c.also(t), Files: c.credentialFiles(t), Args: c.credentialArgs(t)}
	if out.Ref != "" && !access.ValidID(out.Ref) {
		c.fail("ref", "%q cannot be the name of a credential: use lower-case letters, digits and -", clip(out.Ref))
	}
	switch {
	case t.HTTP != nil && (out.Header == "" || out.Env != ""):
		c.d.fail(c.node, c.path, "an http server takes its credential in a header: add header: Authorization and no env")
	case t.Stdio != nil && (out.Env == "" && len(out.Files) == 0 && len(out.Args) == 0 || out.Header != ""):
		c.d.fail(c.node, c.path, "a stdio server takes its credential in a variable, a file or an argument: add env: NAME, files: {NAME: …} or args: {'0': …}, and no header")
	case t.Stdio != nil && out.Env == "" && (out.Value != "" || len(out.Also) > 0):
		c.d.fail(c.node, c.path, "value and also belong to env: add env: NAME")
	}
	if out.Header != "" && (!httpguts.ValidHeaderFieldName(out.Header) || managedHeader(out.Header)) {
		c.fail("header", "is not the name of a header that can carry a credential")
	}
	if out.Env != "" && !envName.MatchString(out.Env) {
		c.fail("env", "is not the name of an environment variable")
	}
	if t.HTTP != nil {
		for name := range t.HTTP.Headers {
			if strings.EqualFold(name, out.Header) {
				c.fail("header", "is fixed in transport.http.headers too: remove one")
			}
		}
	}
	if t.Stdio != nil && out.Env != "" {
		if _, both := t.Stdio.Env[out.Env]; both {
			c.fail("env", "is fixed in transport.stdio.env too: remove one")
		}
	}
	if c.has("value") && strings.Count(out.Value, "{secret}") != 1 {
		// The value is not quoted: a person may have written the secret itself.
		c.fail("value", "must hold {secret} exactly once, for example \"Bearer {secret}\"; %s", adviceSecret)
	} else if rest := strings.ReplaceAll(out.Value, "{secret}", ""); literalSecret("", rest) || !httpguts.ValidHeaderFieldValue(rest) {
		c.fail("value", "holds something besides {secret} that looks like a secret or cannot be sent; %s", adviceSecret)
	}
	if out.Value == "{secret}" {
		out.Value = "" // the default is kept as nothing
	}
	return out
}

// restore reads which tools may be given which values back.
func (o object) restore() map[string][]string {
	return o.byPattern("restore", func(l string) string {
		if slices.Contains(registry.RestoreLabels(), l) {
			return ""
		}
		return "is no label of values: use pii or secret"
	})
}

// labels reads what the results of tools carry.
func (o object) labels() map[string][]string {
	return o.byPattern("labels", func(l string) string {
		if slices.Contains(registry.LabelWords(), l) || scope(l) {
			return ""
		}
		return "is no label: use untrusted, public, pii, secret or kind:name, for example source:code"
	})
}

// byPattern reads lists of labels by patterns of tool names. wrong says what is wrong
// with a label.
func (o object) byPattern(key string, wrong func(label string) string) map[string][]string {
	rs, ok := o.sub(key)
	if !ok {
		return nil
	}
	out := make(map[string][]string, len(rs.members))
	for pattern := range rs.members {
		if r, bad := unseen(pattern); bad || pattern == "" || len(pattern) > 2*registry.MaxName {
			rs.fail(pattern, "is not a pattern of tool names (%U)", r)
			continue
		}
		labels := rs.set(pattern)
		for _, l := range labels {
			if msg := wrong(l); msg != "" {
				rs.fail(pattern, "%q %s", clip(l), msg)
			}
		}
		out[pattern] = labels
	}
	return out
}

// classes reads what a person says about tools: patterns of names to class and tier.
func (o object) classes() map[string]registry.ToolClass {
	cs, ok := o.sub("classes")
	if !ok {
		return nil
	}
	out := make(map[string]registry.ToolClass, len(cs.members))
	for pattern := range cs.members {
		if r, bad := unseen(pattern); bad || pattern == "" || len(pattern) > 2*registry.MaxName {
			cs.fail(pattern, "is not a pattern of tool names (%U)", r)
			continue
		}
		if c, ok := cs.class(pattern); ok {
			out[pattern] = c
		}
	}
	return out
}

func (o object) class(key string) (registry.ToolClass, bool) {
	c, ok := o.sub(key, "class", "tier")
	if !ok {
		return registry.ToolClass{}, false
	}
	c.required("class", "read, write or destroy")
	c.required("tier", "0, 1, 2 or 3")
	out := registry.ToolClass{Class: strings.ReplaceAll(c.text("class"), " ", ""), Tier: c.integer("tier", 0, registry.MaxTier, registry.MaxTier)}
	if out.Class == "" {
		return out, false
	}
	if _, err := out.Words(); err != nil {
		c.fail("class", "%s", err)
		return out, false
	}
	return out, true
}

func kinds() []string {
	return []string{string(registry.KindTool), string(registry.KindPrompt), string(registry.KindResource), string(registry.KindTemplate), string(registry.KindInstructions), string(registry.KindCapabilities)}
}

// baseline reads when first listings were taken. Export writes it.
func (o object) baseline() map[registry.Kind]time.Time {
	b, ok := o.sub("baseline", kinds()...)
	if !ok {
		return nil
	}
	out := make(map[registry.Kind]time.Time, len(b.members))
	for k := range b.members {
		out[registry.Kind(k)] = b.time(k)
	}
	return out
}

func (o object) time(key string) time.Time {
	n := o.members[key]
	if n == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || t.Year() < 2000 || t.Year() > maxYear {
		o.fail(key, "must be a time such as 2026-11-24T10:00:00Z")
	}
	return t.UTC()
}

// pins reads approved definitions as export writes them. A pin whose digest is
// not its definition's is refused: somebody changed one of them.
func (o object) pins(server string) []registry.Tool {
	n := o.members["pins"]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		o.fail("pins", "must be a list, not %s", what(n))
		return nil
	}
	out := make([]registry.Tool, 0, len(n.Content))
	seen := map[string]bool{}
	for i, c := range n.Content {
		path := fmt.Sprintf("pins[%d]", i)
		if i == registry.MaxDefinitions*len(kinds()) {
			o.d.fail(c, path, "more pins than a server can have")
			break
		}
		p := o.d.object(c, path, "kind", "name", "state", "digest", "definition", "class", "classBy", "approvedBy", "approvedAt", "accepted")
		t, ok := p.pin(server)
		if ok && seen[t.Name] {
			p.fail("name", "%s %q is pinned twice: remove one", t.Kind(), clip(t.Bare()))
			continue
		}
		if ok {
			seen[t.Name] = true
			out = append(out, t)
		}
	}
	return out
}

func (o object) pin(server string) (registry.Tool, bool) {
	kind := registry.Kind(o.choice("kind", kinds()...))
	if kind == "" {
		kind = registry.KindTool
	}
	bare := ""
	if !kind.OfServer() {
		o.required("name", "the name of the "+string(kind))
		bare = o.text("name")
	}
	before := len(o.d.problems)
	if o.has("name") || kind.OfServer() {
		if err := registry.ValidName(kind, bare); err != nil {
			o.fail("name", "%s", err)
		}
	}
	t := registry.Tool{Server: server, Name: registry.NameOf(kind, bare), ClassBy: o.text("classBy"), ApprovedBy: o.text("approvedBy"), ApprovedAt: o.time("approvedAt")}
	t.State = registry.ToolState(o.choice("state", string(registry.ToolApproved), string(registry.ToolChanged), string(registry.ToolAbsent),
		string(registry.ToolQuarantined), string(registry.ToolBlocked), string(registry.ToolRetired)))
	if t.State == "" {
		t.State = registry.ToolApproved
	}
	t.Class, _ = o.class("class")
	t.Accepted = o.accepted()
	held := t.State == registry.ToolQuarantined || t.State == registry.ToolBlocked || t.State == registry.ToolRetired
	if !o.has("definition") && held {
		return t, len(o.d.problems) == before // held by a person and never approved
	}
	o.required("class", "{class: read, tier: 0}")
	o.required("digest", "sha256:…")
	o.required("definition", "the definition as the server listed it")
	def, want := o.definition(), o.text("digest")
	if def == "" || want == "" {
		return t, false
	}
	canonical, raw, err := registry.CheckDefinition(kind, registry.Definition{Name: bare, Raw: []byte(def)})
	switch {
	case err != nil:
		o.fail("definition", "%s", err)
	case canonical != want:
		o.fail("digest", "is not the digest of the definition, which is %s: one of the two was changed; export the pins again", canonical)
	}
	t.Pinned, t.PinDigest, t.PinRaw = []byte(def), canonical, raw
	return t, len(o.d.problems) == before
}

// accepted reads which findings whoever approved a pin was shown: "TIER RULE POINTER".
func (o object) accepted() []registry.Finding {
	var out []registry.Finding
	for _, text := range o.set("accepted") {
		tier, rest, _ := strings.Cut(text, " ")
		rule, pointer, ok := strings.Cut(rest, " ")
		if !ok || rule == "" || tier != registry.TierReview && tier != registry.TierBlock || pointer != "" && pointer[0] != '/' {
			o.fail("accepted", "%q must be a tier, a rule and a JSON pointer, as export writes it", clip(text))
			continue
		}
		out = append(out, registry.Finding{Rule: rule, Tier: tier, Pointer: pointer})
	}
	return out
}

// definition reads a pinned definition: any text, because hidden characters of
// a definition are kept as they are.
func (o object) definition() string {
	n := o.members["definition"]
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value == "" {
		o.fail("definition", "must be the definition's JSON as text, in quotes")
		return ""
	}
	return n.Value
}
