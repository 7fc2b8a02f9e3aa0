package gatetest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// OIDCProvider starts the oidc-provider package as an authorization server that sends
// people back to redirect; key is the private key of its client "keyed".
func OIDCProvider(tb testing.TB, redirect string) (issuer string, key []byte) {
	tb.Helper()
	npm := NewNPM(tb)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	jwk := jose.JSONWebKey{Key: private, KeyID: "k1", Use: "sig", Algorithm: "ES256"}
	public, err := jwk.Public().MarshalJSON()
	if err != nil {
		tb.Fatal(err)
	}
	if key, err = jwk.MarshalJSON(); err != nil {
		tb.Fatal(err)
	}
	complaints, err := os.Create(filepath.Join(tb.TempDir(), "stderr"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = complaints.Close() }) // only read by name
	cmd := exec.Command(npm.Node, filepath.Join(Root(tb), "internal/gatetest/npm/oidc.mjs"), npm.Dir, redirect, string(public))
	cmd.Stderr = complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // it has no other end
		_ = cmd.Wait()
	})
	said := bufio.NewScanner(out)
	if !said.Scan() {
		text, _ := os.ReadFile(complaints.Name()) // what it says is all there is
		tb.Fatalf("oidc-provider does not start: %s", text)
	}
	return said.Text(), key
}
