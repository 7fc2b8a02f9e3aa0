// Package astest is an OAuth authorization server to test against, honest unless
// a test makes it hostile.
package astest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Server is an authorization server on loopback. Its hooks are set before it is
// used; its records are read through the methods.
type Server struct {
	*httptest.Server
	Resource string // its tokens are for; "" takes whatever is asked
	Life     int    // seconds of an access token, default 3600
	Secret   string // client secret it wants, "" takes any client
	Rotate   bool   // refresh tokens are good once
	Wide     string // scopes it says every token is for; "" says nothing, which means what was asked for

	// Metadata changes the metadata document before it is sent.
	Metadata func(m map[string]any)
	// Token answers a token request instead of the server where it returns true.
	Token func(w http.ResponseWriter, r *http.Request, form url.Values) bool
	// Return changes where a person is sent back to.
	Return func(q url.Values)
	// Revoke answers a revocation with a status, 0 is 200.
	Revoke int

	mu      sync.Mutex
	forms   []url.Values
	auths   []string
	codes   map[string]url.Values // by code, the authorization request
	live    map[string]bool       // refresh tokens
	access  map[string]url.Values // access tokens that count, with what they were asked with
	revoked []string
	clients int
	n       int
}

// New starts a server.
func New(t *testing.T) *Server {
	t.Helper()
	s := &Server{Life: 3600, Rotate: true, codes: map[string]url.Values{}, live: map[string]bool{}, access: map[string]url.Values{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /revoke", s.revoke)
	mux.HandleFunc("POST /register", s.register)
	mux.HandleFunc("GET /authorize", s.authorize)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	m := map[string]any{
		"issuer": s.URL, "token_endpoint": s.URL + "/token", "authorization_endpoint": s.URL + "/authorize", "revocation_endpoint": s.URL + "/revoke",
		"registration_endpoint": s.URL + "/register", "code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
	}
	if s.Metadata != nil {
		s.Metadata(m)
	}
	answer(w, http.StatusOK, m)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": "told by the server"})
}

func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	code := Random()
	s.mu.Lock()
	s.codes[code] = q
	s.mu.Unlock()
	back := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {s.URL}}
	if s.Return != nil {
		s.Return(back)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuse(w, "invalid_request")
		return
	}
	form := r.PostForm
	s.mu.Lock()
	s.forms, s.auths = append(s.forms, form), append(s.auths, r.Header.Get("Authorization"))
	s.mu.Unlock()
	if s.Token != nil && s.Token(w, r, form) {
		return
	}
	if s.Secret != "" {
		_, basic, _ := r.BasicAuth()
		basic, _ = url.QueryUnescape(basic)
		if basic != s.Secret && form.Get("client_secret") != s.Secret {
			refuse(w, "invalid_client")
			return
		}
	}
	s.grant(w, form)
}

func (s *Server) grant(w http.ResponseWriter, form url.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refresh := false
	switch form.Get("grant_type") {
	case "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange":
	case "authorization_code":
		q, ok := s.codes[form.Get("code")]
		delete(s.codes, form.Get("code"))
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		if !ok || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) ||
			q.Get("redirect_uri") != form.Get("redirect_uri") || q.Get("resource") != form.Get("resource") {
			refuse(w, "invalid_grant")
			return
		}
		refresh = true
	case "refresh_token":
		old := form.Get("refresh_token")
		if !s.live[old] {
			clear(s.live) // its second use ends the family
			refuse(w, "invalid_grant")
			return
		}
		if s.Rotate {
			delete(s.live, old)
		}
		refresh = s.Rotate
	default:
		refuse(w, "unsupported_grant_type")
		return
	}
	if s.Resource != "" && form.Get("resource") != s.Resource {
		refuse(w, "invalid_target")
		return
	}
	s.n++
	token := fmt.Sprintf("access-%d-%s", s.n, Random())
	s.access[token] = form
	out := map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": s.Life}
	if s.Wide != "" {
		out["scope"] = s.Wide
	}
	if refresh {
		next := fmt.Sprintf("refresh-%d-%s", s.n, Random())
		s.live[next] = true
		out["refresh_token"] = next
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Revoke != 0 {
		w.WriteHeader(s.Revoke)
		return
	}
	token := r.PostForm.Get("token")
	s.revoked = append(s.revoked, token)
	delete(s.access, token)
	delete(s.live, token)
	w.WriteHeader(http.StatusOK)
}

func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	s.clients++
	in["client_id"] = fmt.Sprintf("registered-%d", s.clients)
	s.mu.Unlock()
	answer(w, http.StatusCreated, in)
}

// Revoking changes how revocations are answered from now on: with a status, 0 is 200.
func (s *Server) Revoking(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Revoke = status
}

// Forms returns the token requests so far.
func (s *Server) Forms() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]url.Values{}, s.forms...)
}

// Auths returns their Authorization headers.
func (s *Server) Auths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.auths...)
}

// Access returns what the access tokens that count were asked with.
func (s *Server) Access() map[string]url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.access)
}

// Revoked returns the revoked tokens.
func (s *Server) Revoked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.revoked...)
}

// Clients is how many clients registered.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients
}

// Random returns a new secret.
func Random() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Soon is a time long enough for anything on loopback.
const Soon = 20 * time.Second
