package admin

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rutile/internal/credential"
)

// issuedFor reads which needs a rule of a source is for.
func (o object) issuedFor() credential.For {
	return credential.For{Tools: o.set("tools"), Discovery: o.flag("discovery")}
}

// rules reads a list of mappings, one after the other.
func (o object) rules(known []string, read func(r object)) {
	n := o.members["rules"]
	if n == nil {
		return
	}
	if n.Kind != yaml.SequenceNode {
		o.fail("rules", "must be a list, not %s", what(n))
		return
	}
	for i, c := range n.Content {
		r := o.d.object(c, fmt.Sprintf("%s[%d]", join(o.path, "rules"), i), append([]string{"tools", "discovery"}, known...)...)
		if c.Kind == yaml.MappingNode {
			read(r)
		}
	}
}

// issuerTLS reads how the service of a source is verified.
func (o object) issuerTLS(address string) credential.TLS {
	t := o.tls(address)
	if t == nil {
		return credential.TLS{}
	}
	return credential.TLS{CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName}
}

// checked reports what the source itself finds wrong, once what was read is well
// formed.
func (o object) checked(before int, check func() error) {
	if len(o.d.problems) > before {
		return
	}
	if err := check(); err != nil {
		o.d.fail(o.node, o.path, "%v", err)
	}
}

func (o object) vault() *credential.OpenBao {
	before := len(o.d.problems)
	v, ok := o.sub(credential.SourceVault, "address", "namespace", "tls", "login", "path", "parameters", "rules", "values", "plain", "maxTTL", "leaseless")
	if !ok {
		return nil
	}
	for _, k := range [][2]string{{"address", "https://bao.example.com:8200"}, {"login", "{appRole: {…}}"}, {"path", "database/creds/{role}"}, {"rules", "[{tools: […], role: …}]"}, {"values", "{secret: password}"}} {
		v.required(k[0], k[1])
	}
	s := &credential.OpenBao{
		Address: v.text("address"), Namespace: v.text("namespace"), Path: v.text("path"), Parameters: v.mapping("parameters"),
		Values: v.mapping("values"), Plain: v.mapping("plain"), Leaseless: v.flag("leaseless"), MaxTTL: credential.Span(v.duration("maxTTL", time.Second, 24*time.Hour)),
	}
	s.TLS = v.issuerTLS(s.Address)
	if l, ok := v.sub("login", "token", "appRole", "jwt"); ok {
		s.Login.Token = l.ref("token")
		if a, ok := l.sub("appRole", "mount", "roleId", "secret"); ok {
			s.Login.AppRole = &credential.AppRole{Mount: a.text("mount"), RoleID: a.text("roleId"), Secret: a.ref("secret")}
		}
		if j, ok := l.sub("jwt", "mount", "role", "jwt"); ok {
			s.Login.JWT = &credential.JWTLogin{Mount: j.text("mount"), Role: j.text("role"), JWT: j.ref("jwt")}
		}
	}
	v.rules([]string{"role", "argument", "roles"}, func(r object) {
		s.Rules = append(s.Rules, credential.BaoRule{For: r.issuedFor(), Role: r.text("role"), Argument: r.text("argument"), Roles: r.mapping("roles")})
	})
	v.checked(before, s.Check)
	return s
}

func (o object) githubApp() *credential.GitHubApp {
	before := len(o.d.problems)
	g, ok := o.sub(credential.SourceGitHubApp, "url", "tls", "app", "installation", "owner", "key", "rules")
	if !ok {
		return nil
	}
	for _, k := range [][2]string{{"app", "Iv23li…"}, {"installation", "the number in its address"}, {"owner", "acme"}, {"key", "the name given to rutile credential set"}, {"rules", "[{tools: […], argument: /repo, permissions: {…}}]"}} {
		g.required(k[0], k[1])
	}
	s := &credential.GitHubApp{
		URL: g.text("url"), App: g.text("app"), Installation: int64(g.integer("installation", 1, 1<<53, 0)), Owner: g.text("owner"), Key: g.ref("key"),
	}
	s.TLS = g.issuerTLS(s.URL)
	g.rules([]string{"permissions", "argument", "ownerArgument", "repositories", "all"}, func(r object) {
		s.Rules = append(s.Rules, credential.GitHubRule{
			For: r.issuedFor(), Permissions: r.mapping("permissions"), Argument: r.text("argument"), OwnerArgument: r.text("ownerArgument"),
			Repositories: r.set("repositories"), All: r.flag("all"),
		})
	})
	g.checked(before, s.Check)
	return s
}

func (o object) awsSTS() *credential.AWSSTS {
	before := len(o.d.problems)
	a, ok := o.sub(credential.SourceAWSSTS, "region", "endpoint", "tls", "role", "externalId", "accessKey", "secret", "webIdentity", "duration", "sourceIdentity", "tags", "slots", "rules")
	if !ok {
		return nil
	}
	for _, k := range [][2]string{{"region", "eu-central-1"}, {"role", "arn:aws:iam::123456789012:role/reader"}, {"rules", "[{tools: […], policy: {…}}]"}} {
		a.required(k[0], k[1])
	}
	s := &credential.AWSSTS{
		Region: a.text("region"), Endpoint: a.text("endpoint"), Role: a.text("role"), ExternalID: a.text("externalId"), AccessKey: a.text("accessKey"),
		Secret: a.ref("secret"), WebIdentity: a.ref("webIdentity"), Duration: credential.Span(a.duration("duration", 15*time.Minute, 12*time.Hour)),
		SourceIdentity: a.choice("sourceIdentity", "agent", "subject"), Tags: a.mapping("tags"),
	}
	s.TLS = a.issuerTLS(s.Endpoint)
	if slots, ok := a.sub("slots"); ok {
		s.Slots = map[string]credential.Slot{}
		for name := range slots.members {
			if t, ok := slots.sub(name, "argument", "fact", "form", "oneOf"); ok {
				s.Slots[name] = credential.Slot{Argument: t.text("argument"), Fact: t.text("fact"), Form: t.choice("form", "name", "path"), OneOf: t.set("oneOf")}
			}
		}
	}
	a.rules([]string{"policy", "wholeRole"}, func(r object) {
		s.Rules = append(s.Rules, credential.STSRule{For: r.issuedFor(), Policy: r.json("policy"), WholeRole: r.flag("wholeRole")})
	})
	a.checked(before, s.Check)
	return s
}

// json reads a mapping as JSON, or text that is JSON already.
func (o object) json(key string) string {
	n := o.members[key]
	if n == nil || n.Kind != yaml.MappingNode {
		return o.text(key)
	}
	var b strings.Builder
	if err := writeJSON(&b, n, 0); err != nil {
		o.fail(key, "%v", err)
	}
	return b.String()
}

// minted writes a source as JSON, which is YAML on one line.
func (e *emitter) minted(kind string, spec any) {
	raw, _ := json.Marshal(spec) // what was read has a JSON form
	e.line(1, kind, string(raw))
}
