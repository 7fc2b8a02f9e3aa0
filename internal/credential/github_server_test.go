package credential_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// githubServer answers as the REST API of GitHub documents it for installations
// of a GitHub App. It checks the app's JWT itself, with nothing but the standard
// library.
type githubServer struct {
	*httptest.Server
	key *rsa.PrivateKey

	mu     sync.Mutex
	tokens map[string]bool // live
	made   int
	asked  []string
	bodies []string
	fault  func(w http.ResponseWriter, r *http.Request) bool
	change func(answer map[string]any)
}

const githubAppID, githubInstallation = "Iv23liCANARYno", "4711"

// of the installation
var githubHas = []string{"site", "tools", "Docs.Public"}

var githubKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newGitHub(t *testing.T) *githubServer {
	t.Helper()
	g := &githubServer{key: githubKey(), tokens: map[string]bool{}}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *githubServer) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(g.key)}))
}

func (g *githubServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked, g.bodies = append(g.asked, r.Method+" "+r.URL.Path), append(g.bodies, string(body))
	if g.fault != nil && g.fault(w, r) {
		return
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || r.Header.Get("X-GitHub-Api-Version") != "2022-11-28" || !strings.Contains(r.Header.Get("Accept"), "application/vnd.github") {
		githubAnswer(w, 401, map[string]any{"message": "Requires authentication"})
		return
	}
	switch {
	case r.Method == http.MethodDelete && r.URL.Path == "/installation/token":
		if !g.tokens[bearer] {
			githubAnswer(w, 401, map[string]any{"message": "Bad credentials"})
			return
		}
		delete(g.tokens, bearer)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && r.URL.Path == "/app/installations/"+githubInstallation+"/access_tokens":
		if why := g.jwt(bearer); why != "" {
			githubAnswer(w, 401, map[string]any{"message": why})
			return
		}
		g.issue(w, body)
	default:
		githubAnswer(w, 404, map[string]any{"message": "Not Found"})
	}
}

// jwt returns what is wrong with a JWT of the app.
func (g *githubServer) jwt(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "A JSON web token could not be decoded"
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			return "A JSON web token could not be decoded"
		}
	}
	var header struct{ Alg, Typ string }
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	if json.Unmarshal(raw[0], &header) != nil || json.Unmarshal(raw[1], &claims) != nil || header.Alg != "RS256" {
		return "A JSON web token could not be decoded"
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(&g.key.PublicKey, crypto.SHA256, sum[:], raw[2]) != nil {
		return "A JSON web token could not be decoded"
	}
	now := time.Now().Unix()
	switch {
	case claims.Iss != githubAppID:
		return "'Issuer' claim ('iss') must be an Integer or a client id"
	case claims.Iat > now:
		return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	case claims.Exp <= now:
		return "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	case claims.Exp > now+600 || claims.Exp-claims.Iat > 600:
		return "'Expiration time' claim ('exp') is too far in the future"
	}
	return ""
}

// issue is called with g.mu held.
func (g *githubServer) issue(w http.ResponseWriter, body []byte) {
	var in struct {
		Repositories []string          `json:"repositories"`
		Permissions  map[string]string `json:"permissions"`
	}
	if json.Unmarshal(body, &in) != nil {
		githubAnswer(w, 400, map[string]any{"message": "Problems parsing JSON"})
		return
	}
	selection, repos := "all", []map[string]any{}
	for _, name := range in.Repositories {
		selection = "selected"
		i := slices.IndexFunc(githubHas, func(h string) bool { return strings.EqualFold(h, name) })
		if i < 0 {
			githubAnswer(w, 422, map[string]any{"message": "There is at least one repository that does not exist or is not accessible to the parent installation.", "documentation_url": "https://docs.github.com"})
			return
		}
		repos = append(repos, map[string]any{"id": i + 1, "name": githubHas[i], "full_name": "acme/" + githubHas[i], "private": true})
	}
	permissions := map[string]string{"metadata": "read"}
	for k, v := range in.Permissions {
		if k != "contents" && k != "issues" && k != "metadata" {
			githubAnswer(w, 422, map[string]any{"message": "The permissions requested are not granted to this installation."})
			return
		}
		permissions[k] = v
	}
	g.made++
	token := fmt.Sprintf("ghs_canaryInstallationToken%014d", g.made)
	g.tokens[token] = true
	out := map[string]any{"token": token, "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "permissions": permissions, "repository_selection": selection}
	if selection == "selected" {
		out["repositories"] = repos
	}
	if g.change != nil {
		g.change(out)
	}
	githubAnswer(w, 201, out)
}

func githubAnswer(w http.ResponseWriter, status int, out map[string]any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(out)
}

func (g *githubServer) left() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.tokens)
}

func (g *githubServer) log() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.asked)
}
