package gatetest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/credential/oauthclient/astest"
)

// issuers are the four sorts of them that are no client credentials. What asks them to
// end something waits while they are held.
type issuers struct {
	exchange *astest.Server
	bao      *bao
	github   *httptest.Server
	sts      *httptest.Server

	mu    sync.Mutex
	hold  chan struct{} // nil: nothing waits
	asked map[string]int
	live  map[string]bool // tokens of the GitHub App
	made  int
}

func startIssuers(t *testing.T) *issuers {
	t.Helper()
	s := &issuers{exchange: astest.New(t), bao: newBao(t), asked: map[string]int{}, live: map[string]bool{}}
	s.exchange.Secret = seedCanary
	s.exchange.Config.Handler = s.held("exchange", func(r *http.Request) bool { return r.URL.Path == "/revoke" }, s.exchange.Config.Handler)
	s.bao.Config.Handler = s.held("bao", func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/revoke") }, s.bao)
	s.github = httptest.NewServer(s.held("github", func(r *http.Request) bool { return r.Method == http.MethodDelete }, http.HandlerFunc(s.installation)))
	s.sts = httptest.NewServer(http.HandlerFunc(s.role))
	t.Cleanup(func() { s.release(); s.github.Close(); s.sts.Close() })
	return s
}

// held has what ends something wait, and counts it.
func (s *issuers) held(who string, ends func(*http.Request) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ends(r) {
			s.mu.Lock()
			s.asked[who]++
			hold := s.hold
			s.mu.Unlock()
			if hold != nil {
				select {
				case <-hold:
				case <-r.Context().Done():
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// wait has what ends something wait from now on, until release.
func (s *issuers) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = make(chan struct{})
}

func (s *issuers) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		close(s.hold)
		s.hold = nil
	}
}

// tries is how often each was asked to end something.
func (s *issuers) tries(who string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[who]
}

// lives is whose credential still counts, of those that calls came with to a server
// that serves all of them.
func (s *issuers) lives(calls []seen) (out []string) {
	for _, c := range calls {
		switch token := strings.TrimPrefix(c.header.Get("Authorization"), "Bearer "); {
		case s.exchange.Access()[token] != nil:
			out = append(out, "exchange")
		case s.bao.lends(token):
			out = append(out, "bao")
		case s.installed(token):
			out = append(out, "github")
		}
	}
	return out
}

func (s *issuers) installed(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[token]
}

// installation is the REST API of GitHub for one installation of an app.
func (s *issuers) installation(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/app/installations/4711/access_tokens":
		s.made++
		token := fmt.Sprintf("ghs_canaryInstallationToken%014d", s.made)
		s.live[token] = true
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
			"permissions": map[string]string{"contents": "read", "metadata": "read"}, "repository_selection": "all"})
	case r.Method == http.MethodDelete && r.URL.Path == "/installation/token" && s.live[bearer]:
		delete(s.live, bearer)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// role is AssumeRole of AWS STS, which offers no end.
func (s *issuers) role(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	source := ""
	if id := r.Form.Get("SourceIdentity"); id != "" {
		source = "<SourceIdentity>" + id + "</SourceIdentity>"
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>%[3]s
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/reader/%[1]s</Arn><AssumedRoleId>AROA3XFRBF535PLBIFPI4:%[1]s</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>canarySecretAccessKey/x+y</SecretAccessKey>
<SessionToken>canarySessionToken//AQoDYXdzEPT</SessionToken><Expiration>%[2]s</Expiration></Credentials><PackedPolicySize>6</PackedPolicySize></AssumeRoleResult>
<ResponseMetadata><RequestId>c6104cbe</RequestId></ResponseMetadata></AssumeRoleResponse>`, r.Form.Get("RoleSessionName"), time.Now().Add(15*time.Minute).UTC().Format(time.RFC3339), source)
}

// appKey is the private key of the app.
var appKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
})

// mintedBy are the servers that get what these issue, by the kind of their credential.
var mintedBy = []string{"exchange", "bao", "github", "sts"}

// manifests declare a server for each sort of issuer, at the same address, and that bot
// may ask for its tool.
func (s *issuers) manifests(at string) string {
	sources := map[string]string{
		"exchange": "tokenExchange: {issuer: \"" + s.exchange.URL + "\", clientID: rutile, secret: seed, audience: crm-api, scopes: [read]}",
		"bao":      "vault: {address: \"" + s.bao.URL + "\", login: {appRole: {roleId: gateway, secret: bao-seed}}, path: \"database/creds/{role}\", rules: [{tools: [echo], role: reader}, {discovery: true, role: nobody}], values: {secret: password}, plain: {username: username}}",
		"github":   "githubApp: {url: \"" + s.github.URL + "\", app: Iv23liCANARYno, installation: 4711, owner: acme, key: app-key, rules: [{tools: [echo], all: true, permissions: {contents: read}}, {discovery: true, all: true, permissions: {contents: read}}]}",
		"sts":      "awsSTS: {endpoint: \"" + s.sts.URL + "\", region: eu-central-1, role: \"arn:aws:iam::123456789012:role/reader\", accessKey: AKIAIOSFODNN7EXAMPLE, secret: aws-key, duration: 15m, rules: [{tools: [echo], wholeRole: true}, {discovery: true, wholeRole: true}]}",
	}
	var b strings.Builder
	b.WriteString("kind: Agent\nid: bot\nowner: team\npurpose: test\nriskTier: 1\n---\nkind: Entitlement\nid: echoes\nowner: team\nagents: [bot]\ntools: [\"exchange/echo\", \"bao/echo\", \"github/echo\", \"sts/echo\"]\n")
	for _, id := range mintedBy {
		fmt.Fprintf(&b, "---\nkind: Credential\nid: of-%s\nowner: team\nservers: [%s]\nsource:\n  %s\n", id, id, sources[id])
		fmt.Fprintf(&b, "---\nkind: Server\nid: %s\nowner: team\ntransport: {http: {url: %q}}\ncredential: {ref: of-%s, header: Authorization, value: \"Bearer {secret}\"}\nstate: sanctioned\n", id, at, id)
	}
	return b.String()
}

// seeds are the sealed secrets these are asked with.
func (s *issuers) seeds() map[string]string {
	return map[string]string{"seed": seedCanary, "bao-seed": "canary-secret-id-of-bao", "app-key": appKey(), "aws-key": "canary/wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
}
