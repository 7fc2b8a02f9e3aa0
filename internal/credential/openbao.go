package credential

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// OpenBao makes credentials by reading a dynamic secret of OpenBao or HashiCorp
// Vault: a database user, a cloud key, a certificate. It lives under a lease of
// that service, which is revoked after the call.
type OpenBao struct {
	Address   string `json:"address"` // https://host:port
	Namespace string `json:"namespace,omitempty"`
	TLS       TLS    `json:"tls,omitzero"`
	Login     Login  `json:"login"`
	// Path is what is read, with {role} where the rule's role goes, for example
	// database/creds/{role}.
	Path string `json:"path"`
	// Parameters make it a write, which pki/issue and aws/sts want. {role} may
	// stand in them too.
	Parameters map[string]string `json:"parameters,omitempty"`
	Rules      []BaoRule         `json:"rules"`
	// Values names what of the answer's data is the credential: name of the value
	// → member. Nothing else of the answer is kept.
	Values map[string]string `json:"values"`
	// Plain is the same for what is no secret and may stand in answers, such as a
	// user name.
	Plain map[string]string `json:"plain,omitempty"`
	// MaxTTL is the longest lease that is taken; default 1 h.
	MaxTTL Span `json:"maxTTL,omitempty"`
	// Leaseless says that the answer has no lease and so cannot be revoked: a
	// secret of the kv engine, a certificate.
	Leaseless bool `json:"leaseless,omitempty"`
}

// Login is how the gateway proves itself to OpenBao: exactly one is set. Token,
// Secret and JWT name sealed credentials.
type Login struct {
	Token   string    `json:"token,omitempty"`
	AppRole *AppRole  `json:"appRole,omitempty"`
	JWT     *JWTLogin `json:"jwt,omitempty"`
}

// AppRole is the auth method of that name.
type AppRole struct {
	Mount  string `json:"mount,omitempty"` // default approle
	RoleID string `json:"roleId"`
	Secret string `json:"secret"` // the secret id
}

// JWTLogin is the auth method jwt or kubernetes, which are asked alike.
type JWTLogin struct {
	Mount string `json:"mount,omitempty"` // default jwt
	Role  string `json:"role"`
	JWT   string `json:"jwt"`
}

// BaoRule says which role is read for whom. The role is fixed, or looked up in a
// list by what an argument says; an argument never becomes part of a path.
type BaoRule struct {
	For
	Role     string            `json:"role,omitempty"`
	Argument string            `json:"argument,omitempty"` // pointer into the arguments
	Roles    map[string]string `json:"roles,omitempty"`    // what stands there → role
}

const (
	baoName       = "the OpenBao server"
	defaultMaxTTL = time.Hour
	jsonType      = "application/json"
	rolePlace     = "{role}"
)

// Check refuses what cannot work; the error names the member.
func (b *OpenBao) Check() error {
	if _, err := checkService(b.Address); err != nil {
		return access.Errorf(access.CodeInvalid, "address %w", err)
	}
	if err := b.Login.check(); err != nil {
		return err
	}
	if !baoPath(strings.ReplaceAll(b.Path, rolePlace, "role")) {
		return access.Errorf(access.CodeInvalid, "path %q is not the path of a secret such as database/creds/{role}", b.Path)
	}
	if b.Namespace != "" && !baoPath(b.Namespace) {
		return access.Errorf(access.CodeInvalid, "namespace %q is not the path of a namespace", b.Namespace)
	}
	if len(b.Values) == 0 {
		return access.Errorf(access.CodeInvalid, "values is required: which members of the answer are the credential, for example {username: username, password: password}")
	}
	for _, names := range []map[string]string{b.Values, b.Plain} {
		for name, member := range names {
			if !only(name, "_", 64) || member == "" {
				return access.Errorf(access.CodeInvalid, "values and plain: %q must be letters, digits and _, and stand for a member", name)
			}
		}
	}
	if b.MaxTTL < 0 || time.Duration(b.MaxTTL) > 24*time.Hour {
		return access.Errorf(access.CodeInvalid, "maxTTL must be at most 24h")
	}
	if len(b.Rules) == 0 {
		return access.Errorf(access.CodeInvalid, "rules is required")
	}
	for i, r := range b.Rules {
		if err := r.check(); err != nil {
			return access.Errorf(access.CodeInvalid, "rules[%d] %w", i, err)
		}
	}
	return nil
}

// seeds returns the sealed credentials a login is made with.
func (l Login) seeds() []string {
	refs := []string{l.Token}
	if l.AppRole != nil {
		refs = append(refs, l.AppRole.Secret)
	}
	if l.JWT != nil {
		refs = append(refs, l.JWT.JWT)
	}
	return refs
}

func (l Login) check() error {
	n := 0
	for _, set := range []bool{l.Token != "", l.AppRole != nil, l.JWT != nil} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return access.Errorf(access.CodeInvalid, "login must have exactly one of token, appRole and jwt")
	case l.AppRole != nil && (l.AppRole.RoleID == "" || l.AppRole.Secret == "" || !baoPath(or(l.AppRole.Mount, "approle"))):
		return access.Errorf(access.CodeInvalid, "login.appRole needs roleId, and secret, the name of a sealed credential")
	case l.JWT != nil && (l.JWT.Role == "" || l.JWT.JWT == "" || !baoPath(or(l.JWT.Mount, "jwt"))):
		return access.Errorf(access.CodeInvalid, "login.jwt needs role, and jwt, the name of a sealed credential")
	}
	return nil
}

func (r BaoRule) check() error {
	if err := r.For.check(); err != nil {
		return err
	}
	if (r.Role == "") == (r.Argument == "") {
		return access.Errorf(access.CodeInvalid, "must have exactly one of role and argument")
	}
	if r.Argument == "" {
		if len(r.Roles) > 0 || !baoRole(r.Role) {
			return access.Errorf(access.CodeInvalid, "role must be a role's name, and roles only beside argument")
		}
		return nil
	}
	if err := checkPointer(r.Argument); err != nil {
		return err
	}
	if r.Discovery || len(r.Roles) == 0 {
		return access.Errorf(access.CodeInvalid, "argument needs tools, and roles that says which role each of its values stands for")
	}
	for _, role := range r.Roles {
		if !baoRole(role) {
			return access.Errorf(access.CodeInvalid, "roles: %q is not a role's name", role)
		}
	}
	return nil
}

// baoRole reports whether s can be one segment of a path.
func baoRole(s string) bool { return only(s, "-_.", 128) && s != "." && s != ".." }

// baoPath reports whether s is some segments.
func baoPath(s string) bool {
	return len(s) <= 512 && !slices.ContainsFunc(strings.Split(s, "/"), func(p string) bool { return !baoRole(p) })
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// role returns the role to read for n.
func (b *OpenBao) role(n Need) (string, error) {
	for _, r := range b.Rules {
		if !r.meant(n) {
			continue
		}
		if r.Argument == "" {
			return r.Role, nil
		}
		said, err := textAt(n.Arguments, r.Argument)
		if err != nil {
			return "", err
		}
		role, ok := r.Roles[said]
		if !ok {
			return "", access.Errorf(access.CodeDenied, "the argument %s has a value no role is listed for: add it to rules[].roles of the credential, or call with another", r.Argument)
		}
		return role, nil
	}
	return "", noRule(n)
}

// maxSeconds is as far as a time that is told is believed.
const maxSeconds = 365 * 24 * 3600

// baoMints mints by sources of OpenBao.
type baoMints struct{ *Issuers }

// baoMinter is one minting.
type baoMinter struct {
	*Issuers
	spec OpenBao
	at   *service
}

// most is the longest life of what is taken.
func (m *baoMinter) most() time.Duration { return time.Duration(m.spec.MaxTTL) }

// ReuseKey is empty where there is a call: what has a lease is made for it and
// ends with it.
func (baoMints) ReuseKey(n Need) string { return reuseOf(n) }

// Mint mints for n.
func (i baoMints) Mint(ctx context.Context, n Need) (Minted, error) {
	spec := *n.Source.Vault
	if spec.MaxTTL == 0 {
		spec.MaxTTL = Span(defaultMaxTTL)
	}
	at, err := i.Issuers.at(baoName, spec.Address, spec.TLS)
	if err != nil {
		return Minted{}, err
	}
	return (&baoMinter{Issuers: i.Issuers, spec: spec, at: at}).mint(ctx, n)
}

// mint logs in and reads the secret of the role that is for n. Whatever fails
// after the service may have made something is undone.
func (m *baoMinter) mint(ctx context.Context, n Need) (Minted, error) {
	role, err := m.spec.role(n)
	if err != nil {
		return Minted{}, err
	}
	s, err := m.login(ctx, n)
	if err != nil {
		return Minted{}, err
	}
	out, err := m.read(ctx, s, role)
	out.Reuse, out.Ends = reuseOf(n), true
	if err != nil {
		// With the login's token go the leases made under it, also one whose
		// answer was lost.
		return Minted{}, errors.Join(err, undo(ctx, s.end))
	}
	return out, nil
}

// read reads the secret and takes what the manifest names of it.
func (m *baoMinter) read(ctx context.Context, s *baoSession, role string) (Minted, error) {
	method, body := http.MethodGet, []byte(nil)
	if m.spec.Parameters != nil {
		method = http.MethodPost
		body = []byte("{")
		for i, name := range sortedKeys(m.spec.Parameters) {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(rawjson.AppendString(body, name), ':')
			body = rawjson.AppendString(body, strings.ReplaceAll(m.spec.Parameters[name], rolePlace, role))
		}
		body = append(body, '}')
	}
	where := strings.ReplaceAll(m.spec.Path, rolePlace, role)
	a, err := s.ask(ctx, method, where, body)
	if err != nil {
		return Minted{}, err
	}
	defer clear(a.body)
	if a.status != http.StatusOK {
		return Minted{}, m.at.refused("reading "+where, a)
	}
	v, err := m.at.object(a)
	if err != nil {
		return Minted{}, err
	}
	out, err := m.take(s, where, v)
	if err != nil && out.Revoke != nil {
		err = errors.Join(err, undo(ctx, out.Revoke))
	}
	return out, err
}

// take checks the answer. Where its lease is known but not to be used, Revoke is
// set beside the error.
func (m *baoMinter) take(s *baoSession, where string, v rawjson.Value) (Minted, error) {
	id, _ := v.Get("lease_id").Str()
	seconds, ok := v.Get("lease_duration").Int64()
	ttl := time.Duration(min(max(seconds, 0), maxSeconds)) * time.Second
	switch {
	case id == "" && !m.spec.Leaseless:
		return Minted{}, access.Errorf(access.CodeUpstream, "%s gave %s without a lease, so that it could not be revoked: write leaseless: true if it is such a secret", baoName, where)
	case id == "":
		return m.leaseless(s, where, v)
	case !strings.HasPrefix(id, where+"/") || !baoPath(id):
		return Minted{}, access.Errorf(access.CodeUpstream, "%s gave a lease of something else than %s", baoName, where)
	}
	l := &baoLease{s: s, id: id}
	out := Minted{
		Values: map[string][]byte{}, Version: id, Expires: s.before(m.now().Add(ttl)), Revoke: l.revoke, How: s.how(id),
		Narrowed: fmt.Sprintf("role %s by %s, lease of %v", path.Base(where), where, ttl),
	}
	if !ok || ttl <= 0 || ttl > m.most() {
		return out, access.Errorf(access.CodeUpstream, "%s gave a lease of %d seconds, and at most %v is taken: shorten it there, or raise maxTTL", baoName, seconds, m.most())
	}
	if err := m.values(&out, v.Get("data")); err != nil {
		return out, err
	}
	if renewable, _ := v.Get("renewable").Bool(); renewable && ttl < m.most() {
		// What it can last at the most is what counts for who looks after it.
		out.Expires = s.before(m.now().Add(m.most()))
		l.until = out.Expires
		l.keep(m, ttl)
	}
	return out, nil
}

// leaseless is what cannot be revoked. The login ends all the same.
func (m *baoMinter) leaseless(s *baoSession, where string, v rawjson.Value) (Minted, error) {
	out := Minted{
		Values: map[string][]byte{}, Version: where, Revoke: s.end, How: s.how(""),
		Expires: m.now().Add(m.most()), Narrowed: where + ", without a lease",
	}
	if n, ok := v.Path("data", "metadata", "version").Int64(); ok { // kv version 2
		out.Version = fmt.Sprintf("%s@%d", where, n)
	}
	if serial, ok := v.Path("data", "serial_number").Str(); ok && only(serial, ":-", 128) { // pki
		out.Version = where + "@" + serial
	}
	if at, ok := v.Path("data", "expiration").Int64(); ok {
		if out.Expires = time.Unix(at, 0); out.Expires.Sub(m.now()) > m.most() {
			return out, access.Errorf(access.CodeUpstream, "%s gave a certificate that is valid longer than maxTTL, %v: ask for a shorter one with parameters: {ttl: …}", baoName, m.most())
		}
	}
	return out, m.values(&out, v.Get("data"))
}

// values takes what the manifest names.
func (m *baoMinter) values(into *Minted, data rawjson.Value) error {
	into.Plain = map[string]string{}
	for name, member := range m.spec.Values {
		s, err := baoMember(data, member)
		if err != nil {
			return err
		}
		into.Values[name] = []byte(s)
	}
	for name, member := range m.spec.Plain {
		s, err := baoMember(data, member)
		if err != nil {
			return err
		}
		into.Plain[name] = s
	}
	return nil
}

// baoMember returns the text of a member of data, whose name is its path with
// dots.
func baoMember(data rawjson.Value, member string) (string, error) {
	s, ok := data.Path(strings.Split(member, ".")...).Str()
	if !ok || s == "" {
		return "", access.Errorf(access.CodeUpstream, "the answer of %s has no text %q in its data, which the credential's manifest names", baoName, member)
	}
	return s, nil
}
