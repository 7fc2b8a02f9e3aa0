package credential

import (
	"context"
	"net/http"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// baoSession is what one login, made for one credential, may do. Nothing is kept
// between two: with its token end all leases made under it.
type baoSession struct {
	at        *service
	namespace string
	token     string
	own       bool // the token was made for us and is ours to revoke
	until     time.Time
	now       func() time.Time
}

// login proves who the gateway is.
func (m *baoMinter) login(ctx context.Context, n Need) (*baoSession, error) {
	s := &baoSession{at: m.at, namespace: m.spec.Namespace, now: m.now}
	began := m.now()
	if ref := m.spec.Login.Token; ref != "" {
		return s, m.proof(ctx, ref, n, func(v []byte) error { s.token = string(v); return nil })
	}
	var mount, ref string
	var body []byte
	if a := m.spec.Login.AppRole; a != nil {
		mount, ref = or(a.Mount, "approle"), a.Secret
		body = append(rawjson.AppendString([]byte(`{"role_id":`), a.RoleID), `,"secret_id":`...)
	} else {
		j := m.spec.Login.JWT
		mount, ref = or(j.Mount, "jwt"), j.JWT
		body = append(rawjson.AppendString([]byte(`{"role":`), j.Role), `,"jwt":`...)
	}
	var a said
	err := m.proof(ctx, ref, n, func(v []byte) (err error) {
		full := append(rawjson.AppendString(body, strings.TrimSpace(string(v))), '}')
		defer clear(full)
		a, err = s.ask(ctx, http.MethodPost, "auth/"+mount+"/login", full)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer clear(a.body)
	if a.status != http.StatusOK {
		return nil, m.at.refused("the login", a)
	}
	v, err := m.at.object(a)
	if err != nil {
		return nil, err
	}
	token, ok := v.Path("auth", "client_token").Str()
	if !ok || !headerText(token) {
		return nil, access.Errorf(access.CodeUpstream, "%s answered the login without a token", baoName)
	}
	kind, _ := v.Path("auth", "token_type").Str()
	s.token, s.own = token, kind != "batch" // a batch token cannot be revoked
	if n, ok := v.Path("auth", "lease_duration").Int64(); ok && n > 0 {
		s.until = began.Add(time.Duration(min(n, maxSeconds)) * time.Second)
	}
	return s, nil
}

// proof hands the value of a sealed credential to use, which must not keep it.
func (m *baoMinter) proof(ctx context.Context, ref string, n Need, use func([]byte) error) error {
	return m.Issuers.seed(ctx, m.at, ref, n, func(v []byte) error {
		if !headerText(string(v)) {
			return access.Errorf(access.CodeInvalid, "credential %q holds a control character: set it again without", ref)
		}
		return use(v)
	})
}

// headerText reports whether s can be sent in a header and is not empty.
func headerText(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// ask sends one request below /v1/. The header X-Vault-Request tells an agent in
// between that it was not made by accident.
func (s *baoSession) ask(ctx context.Context, method, path string, body []byte) (said, error) {
	h := http.Header{"X-Vault-Request": {"true"}}
	if s.token != "" {
		h.Set("X-Vault-Token", s.token)
	}
	if s.namespace != "" {
		h.Set("X-Vault-Namespace", s.namespace)
	}
	if body != nil {
		h.Set("Content-Type", jsonType)
	}
	return s.at.ask(ctx, method, append([]string{"v1"}, strings.Split(path, "/")...), h, body, jsonType)
}

// before returns the earlier of at and the end of the login, with which what was
// made under it ends.
func (s *baoSession) before(at time.Time) time.Time {
	if !s.until.IsZero() && s.until.Before(at) {
		return s.until
	}
	return at
}

// over reports whether the login has ended by itself.
func (s *baoSession) over() bool { return !s.until.IsZero() && !s.now().Before(s.until) }

// end revokes the token of the login and so what was made under it.
func (s *baoSession) end(ctx context.Context) error {
	if !s.own || s.over() {
		return nil
	}
	a, err := s.ask(ctx, http.MethodPost, "auth/token/revoke-self", []byte("{}"))
	if err != nil {
		return err
	}
	clear(a.body)
	if a.status/100 != 2 {
		return s.at.refused("the end of the login", a)
	}
	s.own = false
	return nil
}
