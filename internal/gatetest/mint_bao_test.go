package gatetest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"rutile/internal/credential"
	"rutile/internal/daemon"
)

// bao is as much of an OpenBao server as one role needs.
type bao struct {
	*httptest.Server
	mu      sync.Mutex
	made    int
	leases  map[string]bool // live
	logins  map[string]bool // live
	refuses bool            // to revoke
	ttl     int             // seconds of a lease, which then is not renewable; 0: a minute, renewable
}

func newBao(t *testing.T) *bao {
	t.Helper()
	b := &bao{leases: map[string]bool{}, logins: map[string]bool{}}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *bao) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	raw, _ := io.ReadAll(r.Body)
	var in map[string]any
	_ = json.Unmarshal(raw, &in)
	token := r.Header.Get("X-Vault-Token")
	switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
	case path == "auth/approle/login" && in["secret_id"] == "canary-secret-id-of-bao":
		b.made++
		token = fmt.Sprintf("hvs.canary-login-%d", b.made)
		b.logins[token] = true
		_, _ = fmt.Fprintf(w, `{"auth":{"client_token":%q,"lease_duration":600,"token_type":"service"}}`, token)
	case !b.logins[token]:
		w.WriteHeader(http.StatusForbidden)
	case strings.HasPrefix(path, "database/creds/"):
		b.made++
		id := fmt.Sprintf("%s/l%d", path, b.made)
		b.leases[id] = true
		ttl, renewable := b.ttl, false
		if ttl == 0 {
			ttl, renewable = 60, true
		}
		_, _ = fmt.Fprintf(w, `{"lease_id":%q,"lease_duration":%d,"renewable":%v,"data":{"username":"v-%d","password":"canary+pass/%s-%d"}}`, id, ttl, renewable, b.made, path[15:], b.made)
	case b.refuses:
		w.WriteHeader(http.StatusInternalServerError)
	case path == "sys/leases/revoke":
		delete(b.leases, in["lease_id"].(string))
		w.WriteHeader(http.StatusNoContent)
	case path == "auth/token/revoke-self":
		delete(b.logins, token)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (b *bao) live() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.leases) + len(b.logins)
}

// lends reports whether the lease a password came with lives.
func (b *bao) lends(password string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	role, n, ok := strings.Cut(strings.TrimPrefix(password, "canary+pass/"), "-")
	return ok && b.leases["database/creds/"+role+"/l"+n]
}

const baoManifests = `
kind: Agent
id: bot
owner: team
purpose: test
riskTier: 1
tools: ["up/*"]
---
kind: Credential
id: db
owner: team
servers: [up]
source:
  vault:
    address: BAO
    login: {appRole: {roleId: gateway, secret: bao-seed}}
    path: database/creds/{role}
    rules:
      - {tools: [echo], argument: /path, roles: {a: reader, b: writer}}
      - {discovery: true, role: nobody}
    values: {secret: password}
    plain: {username: username}
    maxTTL: 5m
---
kind: Server
id: up
owner: team
transport: {http: {url: "UP"}}
credential: {ref: db, header: X-Db-Password, also: {X-Db-User: "{username}"}}
state: sanctioned
`

// TestMintedForEachCall is the path of a credential that is minted for a call,
// narrowed by its argument and revoked after it: nothing of it is shared, left
// behind or told, and the server that repeats it is found out.
func TestMintedForEachCall(t *testing.T) {
	t.Parallel()
	b, u, data := newBao(t), newUpstream(t), t.TempDir()
	u.keep = true
	u.onCall(func(w http.ResponseWriter, r *http.Request, id json.RawMessage, _ []byte) bool {
		text, _ := json.Marshal("it is " + r.Header.Get("X-Db-Password"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(id)+`,"result":{"resultType":"complete","content":[{"type":"text","text":`+string(text)+`}]}}`)
		return true
	})
	r := newRig(t, func(c *daemon.Config) { c.Data = data })
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "bao-seed", MaxTier: 3}, []byte("canary-secret-id-of-bao")); err != nil {
		t.Fatal(err)
	}
	r.apply(strings.NewReplacer("UP", u.URL+"/mcp", "BAO", b.URL).Replace(baoManifests), "up")
	token := r.token("bot", "up")
	said := []string{}
	var work sync.WaitGroup
	var mu sync.Mutex
	for _, args := range []string{`{"path":"a"}`, `{"path":"b"}`, `{"path":"a"}`} {
		work.Go(func() {
			got := r.call(token, "up", "echo", args)
			mu.Lock()
			defer mu.Unlock()
			if said = append(said, got.body); !strings.Contains(got.body, "it is [credential removed]") {
				t.Errorf("answered %d %s", got.status, got.body)
			}
		})
	}
	work.Wait()
	for _, args := range []string{`{"path":"c"}`, `{"path":"a/../b"}`, `{}`} {
		if got := r.call(token, "up", "echo", args); got.msg.Error == nil {
			t.Errorf("%s was answered %s", args, got.body)
		}
	}
	seen := map[string]bool{}
	u.mu.Lock()
	for i, body := range u.bodies {
		if strings.Contains(string(body), `"tools/call"`) {
			seen[u.heads[i].Get("X-Db-Password")+u.heads[i].Get("X-Db-User")] = true
		}
	}
	u.mu.Unlock()
	if len(seen) != 3 || u.count() != 3 {
		t.Errorf("%d calls came with %d credentials", u.count(), len(seen))
	}
	eventually(t, "only what lists are looked at with lives on", func() bool { return b.live() <= 2 })
	evidence := ""
	for _, l := range r.leaves(0) {
		evidence += l.raw
	}
	for _, want := range []string{"database/creds/reader/l", "database/creds/writer/l", "credential.repeated", `"mint"`} {
		if !strings.Contains(evidence, want) {
			t.Errorf("the evidence does not hold %s", want)
		}
	}
	export, err := r.d.Admin.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said = append(said, evidence, string(export), r.logs.String(), httpGet(t, r.d.OperatorsURL+"/metrics"))
	r.stop()
	if n := b.live(); n != 0 {
		t.Errorf("%d leases and logins outlive the gateway", n)
	}
	said = append(append(said, files(t, data)...), r.logs.String())
	for _, secret := range []string{"canary-secret-id-of-bao", "hvs.canary-login", "canary+pass/reader", "canary+pass/writer", "canary+pass/nobody"} {
		noneHolds(t, said, secret)
	}
}

// TestProcessesHoldWhatIsMintedForTheirPrincipal: a process is given its
// credential in a file, is shared between the calls of one agent and never
// between two, and is started again with a new one when the old one ends.
func TestProcessesHoldWhatIsMintedForTheirPrincipal(t *testing.T) {
	t.Parallel()
	b := newBao(t)
	notes := filepath.Join(t.TempDir(), "notes")
	r := newRig(t)
	if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "bao-seed", MaxTier: 3}, []byte("canary-secret-id-of-bao")); err != nil {
		t.Fatal(err)
	}
	source := strings.Split(strings.NewReplacer("BAO", b.URL).Replace(baoManifests), "---")[1]
	r.apply(source + "---" + stdioManifest("modern", notes, "sanctioned") + "credential: {ref: db, files: {TOKEN_FILE: \"user={username}\\npassword={secret}\\n\"}}\n" + eve + strings.Replace(eve, "id: eve", "id: kim", 1))
	learn(t, r)
	call := func(agent, text string) (pid, held string) {
		t.Helper()
		got := r.call(r.token(agent, "up"), "up", "do", do("file", text))
		if !strings.Contains(got.body, "password=[credential removed]") || strings.Contains(got.body, "canary") {
			t.Fatalf("answered %d %s", got.status, got.body)
		}
		lines := noted(t, notes, "file "+text+" ")
		words := strings.Fields(lines[len(lines)-1])
		return words[2], words[3]
	}
	pid, held := call("bot", "first")
	if again, same := call("bot", "second"); again != pid || same != held {
		t.Error("two calls of one agent have two processes")
	}
	if other, its := call("eve", "third"); other == pid || its == held {
		t.Error("two agents share a process or its credential")
	}
	b.mu.Lock()
	b.ttl = 2 // of what is minted from now on
	b.mu.Unlock()
	pid, held = call("kim", "short")
	n := 0
	eventually(t, "the process is started again with a new credential", func() bool {
		n++
		next, its := call("kim", fmt.Sprint("again", n))
		return next != pid && its != held
	})
	r.stop()
	if n := b.live(); n != 0 {
		t.Errorf("%d leases and logins outlive the gateway", n)
	}
}
