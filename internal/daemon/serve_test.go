package daemon_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"rutile/internal/credential/oauthclient"
	"rutile/internal/daemon"
	"rutile/internal/store/storetest"
)

// ask gets a path of a listener under a Host of the caller's choice.
func ask(t *testing.T, base, path, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestForeignHostIsRefused: whatever a loopback listener says, a page in a
// browser of this machine cannot read it under a name of its own.
func TestForeignHostIsRefused(t *testing.T) {
	d := start(t, daemon.Config{Data: storetest.Dir(t), URLs: daemon.URLs{Agents: "https://mcp.example", Operators: "https://ops.example"}})
	defer d.Close(context.Background())
	agents, operators := "http://"+d.AgentsAddr(), "http://"+d.OperatorsAddr()
	for _, tt := range []struct{ base, path, public string }{
		{operators, "/metrics", "ops.example"}, {operators, "/readyz", "ops.example"}, {operators, "/healthz", "ops.example"},
		{agents, "/.well-known/oauth-authorization-server", "mcp.example"}, {agents, "/oauth/jwks", "mcp.example"}, {agents, "/v0.1/servers", "mcp.example"},
	} {
		for _, host := range []string{"", tt.public, strings.Replace(strings.TrimPrefix(tt.base, "http://"), "127.0.0.1", "localhost", 1)} {
			if status, body := ask(t, tt.base, tt.path, host); status != http.StatusOK {
				t.Errorf("%s as %q: %d %s", tt.path, host, status, body)
			}
		}
		for _, host := range []string{"evil.example", "127.0.0.1", "127.0.0.1:1"} {
			if status, _ := ask(t, tt.base, tt.path, host); status != http.StatusForbidden {
				t.Errorf("%s as %q: %d, want 403", tt.path, host, status)
			}
		}
	}
	for _, base := range []string{agents, operators} {
		if status, _ := ask(t, base, "/api/v1/status", "evil.example"); status == http.StatusOK {
			t.Error("the API answers under a foreign Host")
		}
	}
	// Its own public host gets as far as being asked for the token.
	if status, _ := ask(t, operators, "/api/v1/status", "ops.example"); status != http.StatusUnauthorized {
		t.Errorf("the API under its public host: %d, want 401", status)
	}
	for _, path := range []string{"/mcp", "/mcp/x"} {
		if status, body := ask(t, agents, path, ""); status != http.StatusUnauthorized {
			t.Errorf("%s answered %d %s", path, status, body)
		}
		if status, body := ask(t, agents, path, "evil.example"); status != http.StatusForbidden {
			t.Errorf("%s answered a foreign host with %d %s", path, status, body)
		}
	}
}

// TestTheCatalogIsOpenOnLoopbackOnly: elsewhere it is read where the configuration
// says so, and nowhere where that says off.
func TestTheCatalogIsOpenOnLoopbackOnly(t *testing.T) {
	for _, tt := range []struct {
		listen, serve string
		want          int
	}{
		{"127.0.0.1:0", "", http.StatusOK}, {"127.0.0.1:0", "off", http.StatusNotFound},
		{"0.0.0.0:0", "", http.StatusNotFound}, {"0.0.0.0:0", "open", http.StatusOK},
	} {
		d := start(t, daemon.Config{Data: storetest.Dir(t), Insecure: true, Listen: daemon.Listen{Agents: tt.listen, Operators: "127.0.0.1:0"}, Registry: daemon.Registry{Serve: tt.serve}})
		_, port, err := net.SplitHostPort(d.AgentsAddr())
		if err != nil {
			t.Fatal(err)
		}
		status, body := ask(t, "http://127.0.0.1:"+port, "/v0.1/servers", "")
		if status != tt.want || status == http.StatusOK && strings.TrimSpace(body) != `{"servers":[],"metadata":{"count":0}}` {
			t.Errorf("%+v: %d %s", tt, status, body)
		}
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// TestClientDocumentNamesItsOwnAddressOnly: it is served for the shared callback and
// for that of one issuer, each naming itself and one redirect address; what is no name
// of an issuer is not there.
func TestClientDocumentNamesItsOwnAddressOnly(t *testing.T) {
	d := start(t, daemon.Config{Data: storetest.Dir(t), URLs: daemon.URLs{Agents: "https://mcp.example", Operators: "https://ops.example"}})
	defer d.Close(context.Background())
	tag := oauthclient.Tag("https://as.example")
	for path, redirect := range map[string]string{
		"/oauth/upstream-client.json":              "https://ops.example/approve/connected",
		"/oauth/upstream-client/" + tag + ".json":  "https://ops.example/approve/connected/" + tag,
		"/oauth/upstream-client/" + tag:            "",
		"/oauth/upstream-client/..%2f.json":        "",
		"/oauth/upstream-client/" + tag + "0.json": "",
		"/oauth/upstream-client/%22%3E.json":       "",
	} {
		status, body := ask(t, "http://"+d.AgentsAddr(), path, "mcp.example")
		if redirect == "" {
			if status != http.StatusNotFound {
				t.Errorf("%s: %d %s", path, status, body)
			}
			continue
		}
		want := fmt.Sprintf(`"redirect_uris":[%q]`, redirect)
		if status != http.StatusOK || !strings.Contains(body, want) || !strings.Contains(body, fmt.Sprintf(`"client_id":%q`, "https://mcp.example"+path)) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
