package gatetest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"rutile/internal/gatetest"
	"rutile/internal/sink"
)

// TestJoseTakesWhatIsTold: a library that is not ours takes what is fetched and what is
// pushed, by the keys that the metadata names, and nothing of it that was changed.
func TestJoseTakesWhatIsTold(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	var mu sync.Mutex
	var pushed []string
	ears := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		pushed = append(pushed, string(b))
		w.WriteHeader(http.StatusAccepted)
	}))
	defer ears.Close()
	r, _ := governed(t, newUpstream(t))
	r.secret("one", tokenOfOne)
	const of = "\nowner: team\nfrom: start\nform: ssf\naudience: https://one.example.com\n"
	r.apply("kind: Sink\nid: fetched\nurl: \"poll:\"\nreceiver: {ref: one}" + of + "---\nkind: Sink\nid: pushed\nurl: " + ears.URL + of)
	r.revoke("agent", "bot")

	var fetched []string
	eventually(t, "it is told both ways", func() bool {
		_, out := r.receives(tokenOfOne, "POST", "/ssf/poll/fetched", `{"returnImmediately":true}`)
		fetched = nil
		for _, raw := range out["sets"].(map[string]any) {
			fetched = append(fetched, raw.(string))
		}
		mu.Lock()
		defer mu.Unlock()
		return len(fetched) == 1 && len(pushed) == 1
	})
	parts := strings.Split(fetched[0], ".")
	part := func(i int, from, to string) string {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || !bytes.Contains(raw, []byte(from)) {
			t.Fatalf("%s: %v", raw, err)
		}
		changed := slices.Clone(parts)
		changed[i] = base64.RawURLEncoding.EncodeToString(bytes.Replace(raw, []byte(from), []byte(to), 1))
		return strings.Join(changed, ".")
	}
	id, _ := payloadOf(t, fetched[0])["jti"].(string)
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"secevent+jwt"}`)) + "." + parts[1] + "."
	asked := []struct{ token, want string }{
		{fetched[0], "ok " + id}, {pushed[0], "ok " + id}, // one deed has one id, however it is told
		{part(1, sink.EventType("session-revoked"), sink.EventType("account-enabled")), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{part(1, `"sub":"bot"`, `"sub":"boy"`), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{part(1, "https://one.example.com", "https://two.example.com"), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{part(0, "secevent+jwt", "at+jwt"), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{unsigned, "ERR_JOSE_NOT_SUPPORTED"},
	}
	_, metadata := r.receives("", "GET", "/.well-known/ssf-configuration", "")
	question := map[string]any{"issuer": metadata["issuer"], "jwks": metadata["jwks_uri"], "audience": "https://one.example.com"}
	answers := func(audience string) []string {
		question["audience"] = audience
		var tokens []string
		for _, a := range asked {
			tokens = append(tokens, a.token)
		}
		question["tokens"] = tokens
		in, err := json.Marshal(question)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), npm.Node, filepath.Join(gatetest.Root(t), "internal/gatetest/npm/ssf.mjs"), npm.Dir)
		cmd.Stdin = bytes.NewReader(in)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, stderr.String())
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	said := answers("https://one.example.com")
	if len(said) != len(asked) {
		t.Fatalf("said: %v", said)
	}
	for i, a := range asked {
		if said[i] != a.want {
			t.Errorf("token %d: %s, want %s", i, said[i], a.want)
		}
	}
	if other := answers("https://two.example.com"); other[0] != "ERR_JWT_CLAIM_VALIDATION_FAILED" {
		t.Errorf("as another receiver: %v", other)
	}
}
