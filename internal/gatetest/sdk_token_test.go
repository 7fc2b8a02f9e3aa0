package gatetest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"rutile/internal/gatetest"
)

// Clients of the official TypeScript SDK are given an address and a key and need
// nothing else: they follow the challenge to our metadata, find the token
// endpoint and fetch a token for exactly that address, in both eras and at both
// endpoints.
func TestTypeScriptClientsFetchTheirTokens(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	file := gatetest.TempFile(t, "bot.pem", encode("PUBLIC KEY", public))
	r := newRig(t)
	r.apply(strings.Replace(botAndServer(newUpstream(t).URL+"/mcp", `["up/*"]`), "tools:", "keys: [{file: "+file+"}]\ntools:", 1), "up")
	own := gatetest.Key{Agent: "bot", PEM: encode("PRIVATE KEY", private), Issuer: r.d.AgentsURL}
	for _, server := range []string{"up", ""} {
		tool := map[string]string{"up": "echo", "": "up__echo"}[server]
		for _, modern := range []bool{false, true} {
			v, err := npm.VisitWithKey(t.Context(), r.url(server), modern, own, gatetest.Call{Tool: tool, Arguments: map[string]any{"text": "hello"}})
			if err != nil || v.IsError || (v.Revision == v2026) != modern {
				t.Errorf("%s, modern %v: %+v %v", r.url(server), modern, v, err)
			}
		}
	}
	if strings.Contains(r.logs.String(), "refusing") {
		t.Errorf("a request was refused on the way:\n%s", r.logs.String())
	}
}
