package daemon_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient/astest"
	"rutile/internal/daemon"
	"rutile/internal/registry"
	"rutile/internal/store"
)

// hanging is a way to an authorization server that takes revocations and never answers
// them. asked is closed when it was asked for one.
func hanging(t *testing.T) (as *astest.Server, asked chan struct{}) {
	t.Helper()
	as, asked = astest.New(t), make(chan struct{})
	to, err := url.Parse(as.URL)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	way, proxy := http.NewServeMux(), httputil.NewSingleHostReverseProxy(to)
	way.Handle("/", proxy)
	way.HandleFunc("POST /revoke", func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		select {
		case <-over:
		case <-r.Context().Done():
		}
	})
	front := httptest.NewServer(way)
	t.Cleanup(front.Close)
	t.Cleanup(func() { close(over) })
	as.Metadata = func(m map[string]any) {
		m["issuer"], m["token_endpoint"], m["revocation_endpoint"] = front.URL, front.URL+"/token", front.URL+"/revoke"
	}
	as.URL = front.URL
	return as, asked
}

// TestAnIssuerThatHangsTakesNoTimeOfOthersAtTheEnd: a gateway that is stopped while an
// issuer does not answer notes when its credentials were used all the same, and says
// nothing of the database.
func TestAnIssuerThatHangsTakesNoTimeOfOthersAtTheEnd(t *testing.T) {
	t.Parallel()
	as, asked := hanging(t)
	var log bytes.Buffer
	dir := t.TempDir()
	d, err := daemon.New(t.Context(), daemon.Config{Data: dir, Listen: free, Egress: daemon.Egress{Allow: []string{"127.0.0.0/8"}}}, daemon.Options{Version: "test", Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			d.Close(context.Background())
		}
	}()
	if _, err := d.Admin.SetCredential(t.Context(), admin.System(), credential.Secret{ID: "seed", MaxTier: 3}, []byte("a secret of some length")); err != nil {
		t.Fatal(err)
	}
	declare(t, d, mailServer+"---\n"+"kind: Credential\nid: box\nowner: team-a\nservers: [mail]\norigins: [\"https://mail.example\"]\nperCall: true\nsource:\n  clientCredentials: {issuer: \""+as.URL+"\", clientID: us, secret: seed, scopes: [read]}\n")
	if _, err := d.Admin.ChangeServer(t.Context(), admin.System(), "mail", registry.VerbApprove, "a test"); err != nil {
		t.Fatal(err)
	}
	lease, err := d.Mint().Lease(t.Context(), credential.LeaseRequest{
		Ref: "box", Header: "Authorization", Template: "Bearer {secret}", Server: "mail", Origin: "https://mail.example", URL: "https://mail.example/mcp",
		Decision: "dec_1", Outcome: access.Permit, Who: access.Identity{Actor: access.Actor{Agent: "bot"}}, Method: "tools/call", Kind: access.KindTool, Tool: "send",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	lease.Release()
	<-asked
	closed = true
	if err := d.Close(context.Background()); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if bytes.Contains(log.Bytes(), []byte("database")) {
		t.Errorf("it says %s", log.Bytes())
	}
	db, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if uses, err := db.CredentialUses(t.Context()); err != nil || uses["seed"].At.IsZero() {
		t.Errorf("noted %+v, %v", uses, err)
	}
}
