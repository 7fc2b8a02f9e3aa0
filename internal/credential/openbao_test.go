package credential_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

func baoSource(b *baoServer) credential.OpenBao {
	return credential.OpenBao{
		Address: b.URL, Login: credential.Login{AppRole: &credential.AppRole{RoleID: baoRoleID, Secret: "seed"}},
		Path: "database/creds/{role}", Values: map[string]string{"secret": "password"}, Plain: map[string]string{"user": "username"}, MaxTTL: credential.Span(10 * time.Minute),
		Rules: []credential.BaoRule{
			{For: credential.For{Tools: []string{"read_*"}}, Role: "reader"},
			{For: credential.For{Tools: []string{"write"}}, Argument: "/db", Roles: map[string]string{"test": "writer", "Test ../x": "writer"}},
		},
	}
}

func baoMint(t *testing.T, s credential.OpenBao, tool, arguments string) (credential.Minted, error) {
	t.Helper()
	i := issuersOf(t, map[string]string{"seed": baoSecretID, "jwt": baoJWT, "token": baoStatic}, nil)
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	return i.Minters()[credential.SourceVault].Mint(t.Context(), callOf(credential.Source{ID: "db", Vault: &s}, tool, arguments))
}

func TestOpenBaoLeaseLivesForItsCall(t *testing.T) {
	for name, login := range map[string]credential.Login{
		"approle":    {AppRole: &credential.AppRole{RoleID: baoRoleID, Secret: "seed"}},
		"jwt":        {JWT: &credential.JWTLogin{Role: "gateway", JWT: "jwt"}},
		"kubernetes": {JWT: &credential.JWTLogin{Mount: "kubernetes", Role: "gateway", JWT: "jwt"}},
		"token":      {Token: "token"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBao(t)
			b.namespace = "team-a/prod"
			s := baoSource(b)
			s.Login, s.Namespace = login, b.namespace
			m, err := baoMint(t, s, "read_rows", `{}`)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(m.Values["secret"]), "canary-password-") || m.Plain["user"] != "v-reader-1" || len(m.Values) != 1 {
				t.Errorf("values %v", texts(m))
			}
			if !strings.HasPrefix(m.Version, "database/creds/reader/lease") || m.Reuse != "" || strings.Contains(m.Narrowed, "canary") {
				t.Errorf("version %q, reuse %q, narrowed %q", m.Version, m.Reuse, m.Narrowed)
			}
			if left := time.Until(m.Expires); left <= time.Minute || left > 2*time.Minute {
				t.Errorf("it expires in %v", left)
			}
			if leases, _ := b.left(); leases != 1 {
				t.Fatalf("%d leases", leases)
			}
			if err := m.Revoke(t.Context()); err != nil {
				t.Fatal(err)
			}
			if leases, logins := b.left(); leases != 0 || logins != 0 {
				t.Errorf("%d leases and %d logins live on", leases, logins)
			}
			if got := b.log(); !strings.Contains(strings.Join(got, "\n"), "POST sys/leases/revoke") {
				t.Errorf("asked %v", got)
			}
		})
	}
}

// TestOpenBaoRoleComesFromAList: what the client chose never becomes part of a
// path.
func TestOpenBaoRoleComesFromAList(t *testing.T) {
	b := newBao(t)
	for name, c := range map[string]struct {
		tool, args, want string
	}{
		"listed":          {"write", `{"db":"test"}`, "database/creds/writer"},
		"listed, odd":     {"write", `{"db":"Test ../x"}`, "database/creds/writer"},
		"not listed":      {"write", `{"db":"prod"}`, ""},
		"a path":          {"write", `{"db":"../../sys/seal"}`, ""},
		"a role's name":   {"write", `{"db":"writer"}`, ""},
		"missing":         {"write", `{}`, ""},
		"no text":         {"write", `{"db":["test"]}`, ""},
		"empty":           {"write", `{"db":""}`, ""},
		"another case":    {"write", `{"DB":"test"}`, ""},
		"two of one name": {"write", `{"db":"test","DB":"prod"}`, ""},
		"no rule":         {"drop", `{"db":"test"}`, ""},
		"no call":         {"", ``, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(b.log())
			m, err := baoMint(t, baoSource(b), c.tool, c.args)
			if c.want == "" {
				if access.CodeOf(err) != access.CodeDenied {
					t.Errorf("got %v", err)
				}
				if n := len(b.log()); n != before {
					t.Errorf("the server was asked %d times", n-before)
				}
				return
			}
			if err != nil || !strings.HasPrefix(m.Version, c.want+"/") {
				t.Fatalf("version %q, error %v", m.Version, err)
			}
			if err := m.Revoke(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOpenBaoWhatIsNotUsedIsRevoked: whatever is wrong with an answer, nothing
// made for it lives on.
func TestOpenBaoWhatIsNotUsedIsRevoked(t *testing.T) {
	read := func(f func(w http.ResponseWriter, r *http.Request)) func(b *baoServer) {
		return func(b *baoServer) {
			b.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/v1/database/") {
					return false
				}
				f(w, r)
				return true
			}
		}
	}
	change := func(f func(a map[string]any)) func(b *baoServer) {
		return func(b *baoServer) {
			b.change = func(path string, a map[string]any) {
				if strings.HasPrefix(path, "database/") {
					f(a)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		prepare func(b *baoServer)
		code    access.Code
	}{
		"a longer lease than is taken": {func(b *baoServer) { b.ttl = 601 }, access.CodeUpstream},
		"a lease for ever":             {func(b *baoServer) { b.ttl = 1 << 40 }, access.CodeUpstream},
		"a lease of nothing":           {func(b *baoServer) { b.ttl = 0 }, access.CodeUpstream},
		"no lease":                     {change(func(a map[string]any) { a["lease_id"] = "" }), access.CodeUpstream},
		"another's lease":              {change(func(a map[string]any) { a["lease_id"] = "database/creds/admin/x1" }), access.CodeUpstream},
		"a lease with a path in it":    {change(func(a map[string]any) { a["lease_id"] = "database/creds/reader/../x" }), access.CodeUpstream},
		"no password":                  {change(func(a map[string]any) { delete(a["data"].(map[string]any), "password") }), access.CodeUpstream},
		"a password that is no text":   {change(func(a map[string]any) { a["data"].(map[string]any)["password"] = 12345678 }), access.CodeUpstream},
		"a redirect": {read(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/v1/x", http.StatusTemporaryRedirect)
		}), access.CodeUpstream},
		"another content type": {read(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte(`{"lease_id":"database/creds/reader/x"}`))
		}), access.CodeUpstream},
		"no JSON": {read(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte("canary"))
		}), access.CodeUpstream},
		"two members of one name": {read(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"lease_id":"database/creds/reader/x","lease_id":"database/creds/reader/y"}`))
		}), access.CodeUpstream},
		"a huge body": {read(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"pad":"` + strings.Repeat("canary", 1<<17) + `"}`))
		}), access.CodeUpstream},
		"sealed": {read(func(w http.ResponseWriter, _ *http.Request) {
			baoAnswer(w, 503, map[string]any{"errors": []string{"Vault is sealed canary"}})
		}), access.CodeUnavailable},
		"a bound": {read(func(w http.ResponseWriter, _ *http.Request) { baoAnswer(w, 429, map[string]any{"errors": []string{}}) }), access.CodeUnavailable},
		"no such": {read(func(w http.ResponseWriter, _ *http.Request) { baoAnswer(w, 404, map[string]any{"errors": []string{}}) }), access.CodeUpstream},
		"not allowed": {read(func(w http.ResponseWriter, _ *http.Request) {
			baoAnswer(w, 403, map[string]any{"errors": []string{"1 error"}})
		}), access.CodeUpstream},
		"its end in the middle": {read(func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }), access.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBao(t)
			c.prepare(b)
			_, err := baoMint(t, baoSource(b), "read_rows", `{}`)
			if access.CodeOf(err) != c.code {
				t.Errorf("code %q of %v", access.CodeOf(err), err)
			}
			noCanary(t, err)
			if leases, logins := b.left(); leases != 0 || logins != 0 {
				t.Errorf("%d leases and %d logins live on", leases, logins)
			}
		})
	}
}

// TestOpenBaoCallThatGoesAwayLeavesNothing: the answer to a read is lost because
// its call was cancelled; the login is ended all the same, and its leases with it.
func TestOpenBaoCallThatGoesAwayLeavesNothing(t *testing.T) {
	b := newBao(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.change = func(path string, _ map[string]any) { // the lease is made
		if strings.HasPrefix(path, "database/") {
			cancel()
		}
	}
	s := baoSource(b)
	i := issuersOf(t, map[string]string{"seed": baoSecretID}, nil)
	m, err := i.Minters()[credential.SourceVault].Mint(ctx, callOf(credential.Source{ID: "db", Vault: &s}, "read_rows", `{}`))
	if err == nil { // the answer came first
		err = m.Revoke(t.Context())
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if leases, logins := b.left(); leases != 0 || logins != 0 {
		t.Errorf("%d leases and %d logins live on: %v", leases, logins, err)
	}
}

func TestOpenBaoFailedRevocationIsAnErrorUntilItIsDone(t *testing.T) {
	b := newBao(t)
	s := baoSource(b)
	s.Login = credential.Login{Token: "token"}
	m, err := baoMint(t, s, "read_rows", `{}`)
	if err != nil {
		t.Fatal(err)
	}
	b.fault = func(w http.ResponseWriter, _ *http.Request) bool {
		baoAnswer(w, 500, map[string]any{"errors": []string{"failed to revoke canary-password"}})
		return true
	}
	err = m.Revoke(t.Context())
	if access.CodeOf(err) != access.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	noCanary(t, err)
	b.fault = nil
	for range 2 { // the second finds nothing
		if err := m.Revoke(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if leases, _ := b.left(); leases != 0 {
		t.Errorf("%d leases live on", leases)
	}
}

// TestOpenBaoLeaseIsRenewedOnlyWithinItsCall drives the clock by hand.
func TestOpenBaoLeaseIsRenewedOnlyWithinItsCall(t *testing.T) {
	b := newBao(t)
	b.renewable, b.ttl = true, 60
	turn, waits := make(chan struct{}), make(chan time.Duration)
	wait := func(ctx context.Context, d time.Duration) error {
		select {
		case waits <- d:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-turn:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s := baoSource(b)
	i := issuersOf(t, map[string]string{"seed": baoSecretID}, wait)
	m, err := i.Minters()[credential.SourceVault].Mint(t.Context(), callOf(credential.Source{ID: "db", Vault: &s}, "read_rows", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if d := <-waits; d != 30*time.Second {
			t.Fatalf("it waits %v", d)
		}
		if got := b.renewals(); got != n {
			t.Fatalf("renewed %d times after %d waits", got, n)
		}
		turn <- struct{}{}
	}
	<-waits
	if left := time.Until(m.Expires); left > 10*time.Minute {
		t.Errorf("it may last %v, longer than maxTTL", left)
	}
	if err := m.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := b.renewals()
	select {
	case <-waits:
		t.Error("it is still looked after")
	case turn <- struct{}{}:
		t.Error("it still waits to be renewed")
	default:
	}
	if leases, logins := b.left(); leases != 0 || logins != 0 || b.renewals() != before || before != 3 {
		t.Errorf("%d leases, %d logins, renewed %d times", leases, logins, b.renewals())
	}
}

// TestOpenBaoRenewalForLongerEndsTheLease: nobody would know how long it lives.
func TestOpenBaoRenewalForLongerEndsTheLease(t *testing.T) {
	b := newBao(t)
	b.renewable, b.ttl = true, 60
	b.change = func(path string, a map[string]any) {
		if path == "sys/leases/renew" {
			a["lease_duration"] = 1 << 20
		}
	}
	ended := make(chan struct{})
	b.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v1/sys/leases/revoke" {
			close(ended)
			b.mu.Lock()
			b.fault = nil
			b.mu.Unlock()
		}
		return false
	}
	s := baoSource(b)
	i := issuersOf(t, map[string]string{"seed": baoSecretID}, func(context.Context, time.Duration) error { return nil })
	m, err := i.Minters()[credential.SourceVault].Mint(t.Context(), callOf(credential.Source{ID: "db", Vault: &s}, "read_rows", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := m.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	if leases, logins := b.left(); leases != 0 || logins != 0 {
		t.Errorf("%d leases, %d logins", leases, logins)
	}
}

func TestOpenBaoSecretsWithoutALease(t *testing.T) {
	b := newBao(t)
	s := baoSource(b)
	s.Leaseless, s.Path, s.Plain = true, "pki/issue/{role}", nil
	s.Parameters = map[string]string{"common_name": "{role}.example", "ttl": "5m"}
	s.Values = map[string]string{"secret": "private_key", "certificate": "certificate"}
	s.Rules = []credential.BaoRule{{For: credential.For{Discovery: true}, Role: "agent"}}
	m, err := baoMint(t, s, "", ``)
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != "pki/issue/agent@39:dd:2e" || string(m.Values["secret"]) != "-----BEGIN canary-private-key" {
		t.Errorf("version %q, values %v", m.Version, texts(m))
	}
	if left := time.Until(m.Expires); left > 5*time.Minute {
		t.Errorf("it expires in %v", left)
	}
	b.mu.Lock()
	if got := b.bodies[1]; got != `{"common_name":"agent.example","ttl":"5m"}` {
		t.Errorf("asked %s", got)
	}
	b.mu.Unlock()
	if err := m.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	s.MaxTTL = credential.Span(time.Minute)
	if _, err := baoMint(t, s, "", ``); access.CodeOf(err) != access.CodeUpstream {
		t.Errorf("a certificate of five minutes was taken for one of at most one: %v", err)
	}
	s.MaxTTL, s.Path, s.Parameters, s.Values = 0, "secret/data/key", nil, map[string]string{"secret": "data.token"}
	if m, err = baoMint(t, s, "", ``); err != nil || m.Version != "secret/data/key@3" || string(m.Values["secret"]) != "canary-kv-token" {
		t.Errorf("version %q, values %v, error %v", m.Version, texts(m), err)
	}
	if _, logins := b.left(); logins != 1 {
		t.Errorf("%d logins live on, one is not revoked yet", logins)
	}
}

// TestOpenBaoReadsNoEnvironment: none of the variables its own clients read
// changes what is configured.
func TestOpenBaoReadsNoEnvironment(t *testing.T) {
	b, other := newBao(t), newBao(t)
	for _, p := range []string{"VAULT_", "BAO_"} {
		for name, value := range map[string]string{
			"ADDR": other.URL, "AGENT_ADDR": other.URL, "TOKEN": baoStatic, "NAMESPACE": "evil", "CACERT": "/nowhere", "SKIP_VERIFY": "1",
			"HTTP_PROXY": other.URL, "PROXY_ADDR": other.URL, "CLIENT_TIMEOUT": "x", "RATE_LIMIT": "x",
		} {
			t.Setenv(p+name, value)
		}
	}
	t.Setenv("HTTP_PROXY", other.URL)
	t.Setenv("HTTPS_PROXY", other.URL)
	if _, err := baoMint(t, baoSource(b), "read_rows", `{}`); err != nil {
		t.Error(err)
	}
	if n := len(other.log()); n != 0 {
		t.Errorf("the other server was asked %d times", n)
	}
}

func TestOpenBaoIsVerified(t *testing.T) {
	b := newBao(t)
	secure := httptest.NewTLSServer(b)
	t.Cleanup(secure.Close)
	s := baoSource(b)
	s.Address = secure.URL
	if _, err := baoMint(t, s, "read_rows", `{}`); access.CodeOf(err) != access.CodeUnavailable {
		t.Errorf("an unknown authority: %v", err)
	}
	if n := len(b.log()); n != 0 {
		t.Fatalf("the seed was sent to a server nobody vouches for")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s.TLS = credential.TLS{CA: ca}
	if _, err := baoMint(t, s, "read_rows", `{}`); err != nil {
		t.Error(err)
	}
	s.TLS.ServerName = "another.example"
	if _, err := baoMint(t, s, "read_rows", `{}`); access.CodeOf(err) != access.CodeUnavailable {
		t.Errorf("another name: %v", err)
	}
}

func TestOpenBaoSeedIsBoundToTheServer(t *testing.T) {
	b, other := newBao(t), newBao(t)
	i := issuersOf(t, map[string]string{"seed": baoSecretID}, nil)
	s := baoSource(b)
	src := credential.Source{ID: "db", Vault: &s}
	if _, err := i.Minters()[credential.SourceVault].Mint(t.Context(), callOf(src, "read_rows", `{}`)); err != nil {
		t.Fatal(err)
	}
	moved := s
	moved.Address, src.Vault = other.URL, &moved
	if _, err := i.Minters()[credential.SourceVault].Mint(t.Context(), callOf(src, "read_rows", `{}`)); access.CodeOf(err) != access.CodeDenied {
		t.Errorf("got %v", err)
	}
	if n := len(other.log()); n != 0 {
		t.Errorf("the seed went to another address")
	}
}

// TestOpenBaoCredentialEndsWithItsLogin: the service revokes what was made under a
// login when that ends.
func TestOpenBaoCredentialEndsWithItsLogin(t *testing.T) {
	for _, renewable := range []bool{false, true} {
		b := newBao(t)
		b.loginTTL, b.renewable = 30, renewable
		m, err := baoMint(t, baoSource(b), "read_rows", `{}`)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(m.Expires); left > 30*time.Second {
			t.Errorf("it is said to last %v", left)
		}
		if err := m.Revoke(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestOpenBaoRefusedRevocationIsNoSuccess: a token that may not revoke is answered
// as one that is not there any more.
func TestOpenBaoRefusedRevocationIsNoSuccess(t *testing.T) {
	refuse := func(paths ...string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			for _, p := range paths {
				if r.URL.Path == "/v1/"+p {
					baoAnswer(w, 403, map[string]any{"errors": []string{"permission denied"}})
					return true
				}
			}
			return false
		}
	}
	for name, c := range map[string]struct {
		refused []string
		done    bool
	}{
		"both":      {[]string{"sys/leases/revoke", "auth/token/revoke-self"}, false},
		"the lease": {[]string{"sys/leases/revoke"}, true}, // it goes with the login
		"the login": {[]string{"auth/token/revoke-self"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBao(t)
			m, err := baoMint(t, baoSource(b), "read_rows", `{}`)
			if err != nil {
				t.Fatal(err)
			}
			b.mu.Lock()
			b.fault = refuse(c.refused...)
			b.mu.Unlock()
			err = m.Revoke(t.Context())
			if leases, _ := b.left(); (err == nil) != c.done || (leases == 0) != c.done {
				t.Errorf("%d leases live on, and it says %v", leases, err)
			}
			b.mu.Lock()
			b.fault = nil
			b.mu.Unlock()
			if err := m.Revoke(t.Context()); err != nil {
				t.Errorf("tried again: %v", err)
			}
		})
	}
}

func TestOpenBaoManifestIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *credential.OpenBao)
		want   string
	}{
		"http":            {func(s *credential.OpenBao) { s.Address = "http://bao.example" }, "https"},
		"a query":         {func(s *credential.OpenBao) { s.Address = "https://bao.example?token=x" }, "query"},
		"a user":          {func(s *credential.OpenBao) { s.Address = "https://me:pw@bao.example" }, "user"},
		"no login":        {func(s *credential.OpenBao) { s.Login = credential.Login{} }, "login"},
		"two logins":      {func(s *credential.OpenBao) { s.Login.Token = "t" }, "login"},
		"path upwards":    {func(s *credential.OpenBao) { s.Path = "database/../sys/{role}" }, "path"},
		"path with query": {func(s *credential.OpenBao) { s.Path = "database/creds/{role}?x=1" }, "path"},
		"namespace":       {func(s *credential.OpenBao) { s.Namespace = "a b" }, "namespace"},
		"no values":       {func(s *credential.OpenBao) { s.Values = nil }, "values"},
		"long":            {func(s *credential.OpenBao) { s.MaxTTL = credential.Span(25 * time.Hour) }, "maxTTL"},
		"no rules":        {func(s *credential.OpenBao) { s.Rules = nil }, "rules"},
		"rule for none":   {func(s *credential.OpenBao) { s.Rules[0].Tools = nil }, "rules[0]"},
		"role and list":   {func(s *credential.OpenBao) { s.Rules[1].Role = "x" }, "rules[1]"},
		"no list":         {func(s *credential.OpenBao) { s.Rules[1].Roles = nil }, "rules[1]"},
		"list, discovery": {func(s *credential.OpenBao) { s.Rules[1].Discovery = true }, "rules[1]"},
		"role is a path":  {func(s *credential.OpenBao) { s.Rules[0].Role = "a/b" }, "rules[0]"},
		"role upwards":    {func(s *credential.OpenBao) { s.Rules[1].Roles["x"] = ".." }, "rules[1]"},
		"pointer":         {func(s *credential.OpenBao) { s.Rules[1].Argument = "db" }, "rules[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			s := baoSource(&baoServer{Server: &httptest.Server{URL: "https://bao.example:8200"}})
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
			c.change(&s)
			if err := s.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func (b *baoServer) renewals() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.renewed
}

// TestSlowServiceIsNotWaitedFor: what answers neither yes nor no ends with the
// time of the call, and what it may have made is ended.
func TestSlowServiceIsNotWaitedFor(t *testing.T) {
	b := newBao(t)
	asked := make(chan struct{})
	b.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/v1/database/") {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"lease_id":"`)) // and then byte by byte, for ever
		_ = http.NewResponseController(w).Flush()
		close(asked)
		<-r.Context().Done()
		return true
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		cancel(context.DeadlineExceeded)
	}()
	s := baoSource(b)
	i := issuersOf(t, map[string]string{"seed": baoSecretID}, nil)
	if _, err := i.Minters()[credential.SourceVault].Mint(ctx, callOf(credential.Source{ID: "db", Vault: &s}, "read_rows", `{}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, logins := b.left(); logins != 0 {
		t.Errorf("%d logins live on", logins)
	}
}
