package admin

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
	"golang.org/x/net/http/httpguts"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/registry"
)

// credential reads a credential that is minted. It holds no secret: what proves
// who we are to its issuer is sealed and named.
func (d *decoder) credential(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "servers", "origins", "maxTier", "perCall", "source")
	o.required("owner", "team-name")
	o.required("servers", "[server]")
	o.required("source", "{clientCredentials: {…}}, {vault: {…}}, {githubApp: {…}} or {awsSTS: {…}}")
	m.id = o.id()
	s := &credential.Source{ID: m.id, Owner: o.owner(), Servers: o.set("servers"), MaxTier: o.integer("maxTier", 0, registry.MaxTier, registry.MaxTier), PerCall: o.flag("perCall")}
	for _, id := range s.Servers {
		if id != "" && !access.ValidID(id) {
			o.fail("servers", "%q cannot be the id of a server", clip(id))
		}
	}
	if o.has("servers") && len(s.Servers) == 0 {
		o.fail("servers", "is empty: name the servers it is for")
	}
	for _, raw := range o.set("origins") {
		at, err := credential.Origin(raw)
		if err != nil {
			o.fail("origins", "%v", err)
			continue
		}
		s.Origins = append(s.Origins, at)
	}
	if slices.Sort(s.Origins); o.has("origins") && len(s.Origins) == 0 {
		o.fail("origins", "is empty: name where it may be sent, or leave origins out to bind it to where its servers are")
	}
	s.Origins = slices.Compact(s.Origins)
	if src, ok := o.sub("source", credential.SourceClientCredentials, credential.SourceTokenExchange, credential.SourceUserOAuth,
		credential.SourceVault, credential.SourceGitHubApp, credential.SourceAWSSTS); ok {
		if len(src.members) != 1 {
			src.d.fail(src.node, src.path, "must have exactly one kind of source")
		}
		s.ClientCredentials, s.TokenExchange, s.UserOAuth = src.clientCredentials(), src.tokenExchange(), src.userOAuth()
		s.Vault, s.GitHubApp, s.AWSSTS = src.vault(), src.githubApp(), src.awsSTS()
	}
	m.source = s
}

func (o object) clientCredentials() *credential.ClientCredentials {
	c, ok := o.sub(credential.SourceClientCredentials, clientKeys()...)
	if !ok {
		return nil
	}
	c.required("clientID", "the id we are registered under")
	return &credential.ClientCredentials{Client: c.client(credential.AuthBasic, credential.AuthPost, credential.AuthPrivateKey)}
}

func (o object) tokenExchange() *credential.TokenExchange {
	c, ok := o.sub(credential.SourceTokenExchange, append(clientKeys(), "audience", "listing")...)
	if !ok {
		return nil
	}
	c.required("clientID", "the id we are registered under")
	return &credential.TokenExchange{Client: c.client(credential.AuthBasic, credential.AuthPost, credential.AuthPrivateKey), Audience: c.text("audience"), Listing: c.ref("listing")}
}

func (o object) userOAuth() *credential.UserOAuth {
	c, ok := o.sub(credential.SourceUserOAuth, "issuer", "clientID", "auth", "secret", "scopes", "toolScopes", "resource", "tls", "listing")
	if !ok {
		return nil
	}
	u := &credential.UserOAuth{Client: c.client(credential.AuthNone, credential.AuthBasic, credential.AuthPost, credential.AuthPrivateKey), Listing: c.ref("listing")}
	for _, pattern := range keysOf(u.ToolScopes) {
		scopes := u.ToolScopes[pattern]
		switch more := slices.IndexFunc(scopes, func(s string) bool { return !slices.Contains(u.Scopes, s) }); {
		case len(scopes) == 0:
			c.fail("toolScopes", "%q names no scope: a token of a person cannot be narrowed to none", clip(pattern))
		case more >= 0:
			c.fail("toolScopes", "%q asks for %q, which is not among scopes: people agree to those", clip(pattern), clip(scopes[more]))
		}
	}
	if u.ClientID == "" && u.Auth != credential.AuthNone {
		c.fail("auth", "has a meaning only with a clientID: without one we register ourselves")
	}
	return u
}

func clientKeys() []string {
	return []string{"issuer", "clientID", "auth", "secret", "scopes", "toolScopes", "resource", "tls"}
}

// client reads who we are to an authorization server; auths are the ways to
// prove it, the first the default.
func (o object) client(auths ...string) credential.Client {
	c := credential.Client{
		Issuer: o.text("issuer"), ClientID: o.text("clientID"), Auth: o.choice("auth", auths...), Secret: o.ref("secret"),
		Scopes: o.scopeList("scopes"), ToolScopes: o.toolScopes(), Resource: o.text("resource"),
	}
	if c.Auth == "" {
		c.Auth = auths[0]
	}
	if t, ok := o.sub("tls", "ca"); ok {
		t.required("ca", "/etc/rutile/private-ca.pem")
		if c.TLS.CA = t.text("ca"); c.TLS.CA != "" && !filepath.IsAbs(c.TLS.CA) {
			t.fail("ca", "must be an absolute path of a PEM file on the gateway's machine")
		}
	}
	for key, u := range map[string]string{"issuer": c.Issuer, "resource": c.Resource} {
		if u == "" {
			continue
		}
		if msg := checkURL(u); msg != "" {
			o.fail(key, "%s", msg)
		} else if strings.HasPrefix(u, "http:") && !loopback(u) {
			o.fail(key, "must start with https://: tokens would travel in clear")
		} else if key == "issuer" && strings.Contains(u, "?") {
			o.fail(key, "must have no query (RFC 8414 section 2)")
		}
	}
	if len(c.ClientID) > 1024 || literalSecret("", c.ClientID) {
		o.fail("clientID", "is too long or looks like a secret; %s", adviceSecret)
	}
	switch {
	case c.Auth != credential.AuthNone && c.Secret == "":
		o.fail("secret", "is required with auth %s: add secret: NAME and seal it with rutile credential set NAME", c.Auth)
	case c.Auth == credential.AuthNone && c.Secret != "":
		o.fail("secret", "has no use with auth none: remove it")
	}
	return c
}

// ref reads the name of a sealed credential.
func (o object) ref(key string) string {
	ref := o.text(key)
	if ref != "" && !access.ValidID(ref) {
		// The value is not quoted: a person may have written the secret itself.
		o.fail(key, "must be the name of a sealed credential: lower-case letters, digits and -; %s", adviceSecret)
		return ""
	}
	return ref
}

// scopeToken is RFC 6749 section 3.3.
var scopeToken = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,256}$`)

func (o object) scopeList(key string) []string {
	list := o.set(key)
	for _, s := range list {
		if s != "" && !scopeToken.MatchString(s) {
			o.fail(key, "%q is not a scope", clip(s))
		}
	}
	return list
}

// toolScopes reads patterns of tool names and what is asked for such a tool.
func (o object) toolScopes() map[string][]string {
	t, ok := o.sub("toolScopes")
	if !ok {
		return nil
	}
	out := make(map[string][]string, len(t.members))
	for pattern := range t.members {
		if r, bad := unseen(pattern); bad || pattern == "" || len(pattern) > 2*registry.MaxName {
			t.fail(pattern, "is not a pattern of tool names (%U)", r)
			continue
		}
		out[pattern] = t.scopeList(pattern)
	}
	return out
}

var valueName = regexp.MustCompile(`^[^{}]*\{[a-zA-Z][a-zA-Z0-9_]{0,39}\}[^{}]*$`)

// also reads further headers or variables of a credential, with their templates.
func (o object) also(t registry.Transport) map[string]string {
	a, ok := o.sub("also")
	if !ok {
		return nil
	}
	out := o.mapping("also")
	for name, template := range out {
		switch {
		case !valueName.MatchString(template):
			a.fail(name, "must hold one value such as {username} exactly once; %s", adviceSecret)
		case literalSecret("", template) || !httpguts.ValidHeaderFieldValue(template):
			a.fail(name, "holds something besides its value that looks like a secret or cannot be sent")
		case t.HTTP != nil && (!httpguts.ValidHeaderFieldName(name) || managedHeader(name)):
			a.fail(name, "is not the name of a header that can carry a credential")
		case t.Stdio != nil && !envName.MatchString(name):
			a.fail(name, "is not the name of an environment variable")
		case t.HTTP != nil && fixedHeader(t.HTTP, name), t.Stdio != nil && t.Stdio.Env[name] != "", strings.EqualFold(name, o.text("header")), name == o.text("env"):
			a.fail(name, "is set twice: remove one")
		}
	}
	return out
}

// fileTemplate is what is in a file: at least one value in it, and no other brace.
var fileTemplate = regexp.MustCompile(`^[^{}]*(\{[a-zA-Z][a-zA-Z0-9_]{0,39}\}[^{}]*)+$`)

// placeOf is a value's place in it.
var placeOf = regexp.MustCompile(`\{[a-zA-Z0-9_]*\}`)

// credentialFiles reads what is in the files of a process.
func (o object) credentialFiles(t registry.Transport) map[string]string {
	f, ok := o.sub("files")
	if !ok {
		return nil
	}
	if t.Stdio == nil {
		o.fail("files", "are for the process of a stdio server: use header and also")
		return nil
	}
	out := map[string]string{}
	for name, n := range f.members {
		if !envName.MatchString(name) {
			f.fail(name, "is not the name of an environment variable")
			continue
		}
		if t.Stdio.Env[name] != "" || name == o.text("env") || o.has("also") && o.mapping("also")[name] != "" {
			f.fail(name, "is set twice: remove one")
		}
		text := f.lines(name)
		if n.Kind == yaml.ScalarNode && text != "" && (!fileTemplate.MatchString(text) || literalSecret("", placeOf.ReplaceAllString(text, ""))) {
			f.fail(name, "must hold values such as {secret}, and nothing else in braces or that looks like a secret; %s", adviceSecret)
			continue
		}
		out[name] = text
	}
	return out
}

// credentialArgs reads which arguments are replaced at a start, by their index.
func (o object) credentialArgs(t registry.Transport) map[string]string {
	a, ok := o.sub("args")
	if !ok {
		return nil
	}
	if t.Stdio == nil {
		o.fail("args", "are for the process of a stdio server: use header and also")
		return nil
	}
	out := o.mapping("args")
	for index, template := range out {
		n, err := strconv.Atoi(index)
		switch {
		case err != nil || n < 0 || n >= len(t.Stdio.Args) || strconv.Itoa(n) != index:
			a.fail(index, "is not the index of one of the server's args, counted from 0")
		case !valueName.MatchString(template) || literalSecret("", placeOf.ReplaceAllString(template, "")):
			a.fail(index, "must hold one value such as {secret} exactly once, and nothing else that looks like a secret; %s", adviceSecret)
		}
	}
	return out
}

// lines reads text of several lines.
func (o object) lines(key string) string {
	n := o.members[key]
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || !strings.ContainsAny(n.Value, "\n") {
		return o.text(key)
	}
	if r, bad := unseen(strings.NewReplacer("\n", "", "\t", "").Replace(n.Value)); bad || len(n.Value) > maxText {
		o.fail(key, "holds an invisible character (%U) or is longer than %d bytes", r, maxText)
		return ""
	}
	return n.Value
}

func fixedHeader(h *registry.HTTP, name string) bool {
	for fixed := range h.Headers {
		if strings.EqualFold(fixed, name) {
			return true
		}
	}
	return false
}

// credentials notes which credentials are declared after the manifests.
func (p *planner) credentials(manifests []*manifest) {
	p.minted = map[string]bool{}
	for id := range p.cur.Sources {
		p.minted[id] = true
	}
	for _, m := range manifests {
		if m.kind == kindCredential {
			p.minted[m.id] = true
		}
	}
}

func (p *planner) source(m *manifest, it *Item) {
	if p.secrets[m.id] {
		p.fail(m, "id", "a sealed credential has the name %q: give this one another, and let it name that as its seed", m.id)
		return
	}
	old, exists := p.cur.Sources[m.id]
	next := *m.source
	next.Created, next.Changed = p.now, p.now
	if exists {
		next.Created = old.Created
	}
	switch {
	case len(next.Origins) > 0:
	case exists && len(old.Origins) > 0:
		next.Origins = old.Origins
	default:
		next.Origins = originsOf(next, p.planned)
	}
	var before any
	if exists {
		before = old
	}
	if !it.decide(exists, before, next) {
		return
	}
	p.draft.changes.Sources[m.id] = &next
	p.owner(next.Owner, it)
	p.unbound(next, it)
	for _, id := range next.Servers {
		if !p.servers[id] {
			it.note("servers: %q is not registered", id)
		}
	}
	for _, ref := range next.Seeds() {
		switch {
		case p.minted[ref]:
			p.fail(m, "source", "%q is minted itself and cannot be a seed: name a sealed credential", ref)
		case !p.secrets[ref]:
			it.note("credential %q is not stored yet: use rutile credential set %s", ref, ref)
		}
	}
}

func (e *emitter) source(s credential.Source) {
	e.document(kindCredential, s.ID)
	e.text(0, "owner", s.Owner)
	e.list(0, "servers", s.Servers)
	e.list(0, "origins", s.Origins)
	e.number(0, "maxTier", s.MaxTier)
	if s.PerCall {
		e.line(0, "perCall", "true")
	}
	e.open(0, "source")
	if x := s.ClientCredentials; x != nil {
		e.open(1, credential.SourceClientCredentials)
		e.client(x.Client)
	}
	if x := s.TokenExchange; x != nil {
		e.open(1, credential.SourceTokenExchange)
		e.client(x.Client)
		e.text(2, "audience", x.Audience)
		e.text(2, "listing", x.Listing)
	}
	if x := s.UserOAuth; x != nil {
		e.open(1, credential.SourceUserOAuth)
		e.client(x.Client)
		e.text(2, "listing", x.Listing)
	}
	if s.Vault != nil {
		e.minted(credential.SourceVault, s.Vault)
	}
	if s.GitHubApp != nil {
		e.minted(credential.SourceGitHubApp, s.GitHubApp)
	}
	if s.AWSSTS != nil {
		e.minted(credential.SourceAWSSTS, s.AWSSTS)
	}
}

// client writes the members of a client two levels deep.
func (e *emitter) client(c credential.Client) {
	e.text(2, "issuer", c.Issuer)
	e.text(2, "clientID", c.ClientID)
	e.text(2, "auth", c.Auth)
	e.text(2, "secret", c.Secret)
	e.list(2, "scopes", c.Scopes)
	if len(c.ToolScopes) > 0 {
		e.open(2, "toolScopes")
		for _, pattern := range keysOf(c.ToolScopes) {
			scopes := slices.Clone(c.ToolScopes[pattern])
			for i := range scopes {
				scopes[i] = scalar(scopes[i])
			}
			e.line(3, pattern, "["+strings.Join(scopes, ", ")+"]")
		}
	}
	e.text(2, "resource", c.Resource)
	if c.TLS.CA != "" {
		e.open(2, "tls")
		e.text(3, "ca", c.TLS.CA)
	}
}
