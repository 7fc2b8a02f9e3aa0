package credential_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// baoServer answers as the HTTP API of OpenBao documents it: auth/approle,
// auth/jwt, reading of dynamic secrets, sys/leases, auth/token/revoke-self.
type baoServer struct {
	*httptest.Server
	namespace string
	ttl       int64 // seconds of a lease
	renewable bool
	loginTTL  int64 // seconds of a login, default 600

	mu      sync.Mutex
	tokens  map[string]bool   // live → made by a login
	leases  map[string]string // live lease → token it was made under
	renewed int
	asked   []string // method and path, in order
	bodies  []string
	logins  int
	fault   func(w http.ResponseWriter, r *http.Request) bool // true: it answered
	change  func(path string, answer map[string]any)
}

const (
	baoSecretID = "canary-secret-id-1f2e3d4c"
	baoRoleID   = "role-id-of-the-gateway"
	baoJWT      = "eyJhbGciOi.canary-jwt.c2ln"
	baoStatic   = "s.canary-static-token"
)

func newBao(t *testing.T) *baoServer {
	t.Helper()
	b := &baoServer{ttl: 120, tokens: map[string]bool{baoStatic: false}, leases: map[string]string{}}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *baoServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	b.mu.Lock()
	b.asked, b.bodies = append(b.asked, r.Method+" "+path), append(b.bodies, string(body))
	fault := b.fault
	b.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	if r.Header.Get("X-Vault-Request") != "true" || r.Header.Get("X-Vault-Namespace") != b.namespace || r.URL.RawQuery != "" {
		baoAnswer(w, http.StatusBadRequest, map[string]any{"errors": []string{"missing header"}})
		return
	}
	var in map[string]any
	if len(body) > 0 && json.Unmarshal(body, &in) != nil {
		baoAnswer(w, http.StatusBadRequest, map[string]any{"errors": []string{"error parsing JSON"}})
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	status, out := b.answer(r.Method, path, r.Header.Get("X-Vault-Token"), in)
	if b.change != nil {
		b.change(path, out)
	}
	baoAnswer(w, status, out)
}

func baoAnswer(w http.ResponseWriter, status int, out map[string]any) {
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(out)
}

// answer is called with b.mu held.
func (b *baoServer) answer(method, path, token string, in map[string]any) (int, map[string]any) {
	denied := map[string]any{"errors": []string{"permission denied"}}
	switch {
	case method == http.MethodPost && path == "auth/approle/login":
		if in["role_id"] != baoRoleID || in["secret_id"] != baoSecretID {
			return http.StatusBadRequest, map[string]any{"errors": []string{"invalid role or secret ID"}}
		}
		return b.login()
	case method == http.MethodPost && (path == "auth/jwt/login" || path == "auth/kubernetes/login"):
		if in["role"] != "gateway" || in["jwt"] != baoJWT {
			return http.StatusForbidden, denied
		}
		return b.login()
	}
	if _, ok := b.tokens[token]; !ok {
		return http.StatusForbidden, denied
	}
	id, _ := in["lease_id"].(string)
	switch {
	case method == http.MethodPost && path == "auth/token/revoke-self":
		delete(b.tokens, token)
		for lease, under := range b.leases {
			if under == token {
				delete(b.leases, lease)
			}
		}
		return http.StatusNoContent, nil
	case method == http.MethodPost && path == "sys/leases/revoke":
		if in["sync"] != true {
			return http.StatusBadRequest, map[string]any{"errors": []string{"this test wants sync"}}
		}
		delete(b.leases, id)
		return http.StatusNoContent, nil
	case method == http.MethodPost && path == "sys/leases/renew":
		if _, ok := b.leases[id]; !ok {
			return http.StatusBadRequest, map[string]any{"errors": []string{"lease not found"}}
		}
		b.renewed++
		return http.StatusOK, map[string]any{"lease_id": id, "renewable": true, "lease_duration": in["increment"]}
	case method == http.MethodGet && (path == "database/creds/reader" || path == "database/creds/writer"):
		return b.issue(path, token, map[string]any{"username": "v-reader-1", "password": fmt.Sprintf("canary-password-%d", len(b.asked))})
	case method == http.MethodPost && strings.HasPrefix(path, "transit/"):
		return transitAnswer(path, in)
	case method == http.MethodPost && path == "pki/issue/agent":
		return http.StatusOK, map[string]any{"lease_id": "", "lease_duration": 0, "renewable": false, "data": map[string]any{
			"certificate": "-----BEGIN CERTIFICATE-----", "private_key": "-----BEGIN canary-private-key", "serial_number": "39:dd:2e", "expiration": time.Now().Add(5 * time.Minute).Unix(),
		}}
	case method == http.MethodGet && path == "secret/data/key":
		return http.StatusOK, map[string]any{"lease_id": "", "lease_duration": 0, "data": map[string]any{"data": map[string]any{"token": "canary-kv-token"}, "metadata": map[string]any{"version": 3}}}
	}
	return http.StatusNotFound, map[string]any{"errors": []string{}}
}

func (b *baoServer) login() (int, map[string]any) {
	b.logins++
	token := fmt.Sprintf("hvs.canary-login-token-%d", b.logins)
	b.tokens[token] = true
	life := b.loginTTL
	if life == 0 {
		life = 600
	}
	return http.StatusOK, map[string]any{"auth": map[string]any{"client_token": token, "accessor": "acc", "lease_duration": life, "renewable": true, "token_type": "service"}}
}

func (b *baoServer) issue(path, token string, data map[string]any) (int, map[string]any) {
	id := fmt.Sprintf("%s/lease%d", path, len(b.asked))
	b.leases[id] = token
	return http.StatusOK, map[string]any{"request_id": "x", "lease_id": id, "lease_duration": b.ttl, "renewable": b.renewable, "data": data}
}

// left returns how many leases and login tokens still live.
func (b *baoServer) left() (leases, logins int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, own := range b.tokens {
		if own {
			logins++
		}
	}
	return len(b.leases), logins
}

func (b *baoServer) log() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.asked...)
}

// transitAnswer seals with a key of the service. Its associated data is part of
// what it holds, and an older version of the key opens too.
func transitAnswer(path string, in map[string]any) (int, map[string]any) {
	key := sha256.Sum256([]byte("canary key of the transit engine"))
	block, _ := aes.NewCipher(key[:])
	aead, _ := cipher.NewGCM(block)
	nonce := make([]byte, aead.NonceSize()) // the same each time, which does in a test
	text, _ := in["associated_data"].(string)
	associated, err := base64.StdEncoding.DecodeString(text)
	bad := map[string]any{"errors": []string{"invalid ciphertext"}}
	switch {
	case err != nil:
		return http.StatusBadRequest, bad
	case path == "transit/encrypt/rutile":
		plain, err := base64.StdEncoding.DecodeString(in["plaintext"].(string))
		if err != nil {
			return http.StatusBadRequest, bad
		}
		return http.StatusOK, map[string]any{"data": map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(aead.Seal(nil, nonce, plain, associated)), "key_version": 1}}
	case path == "transit/decrypt/rutile":
		sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(in["ciphertext"].(string), "vault:v1:"))
		if err != nil {
			return http.StatusBadRequest, bad
		}
		plain, err := aead.Open(nil, nonce, sealed, associated)
		if err != nil {
			return http.StatusBadRequest, bad
		}
		return http.StatusOK, map[string]any{"data": map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}}
	}
	return http.StatusNotFound, bad
}
