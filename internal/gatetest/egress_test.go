package gatetest_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"rutile/internal/credential"
	"rutile/internal/daemon"
)

// A server that a manifest or a name puts at a private address is not
// contacted, in whatever form the address is written.
func TestPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hosts := []string{
		"10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255",
		"[::ffff:10.1.2.3]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[fd00::1]", "[fe80::1]", "[ff02::1]", "[::]", "[2001:db8::1]",
		"[::10.1.2.3]", "[::ffff:0:10.1.2.3]", "[fec0::1]", "[3fff::1]", "[5f00::1]", "[2001::1]", "[64:ff9b:1::a9fe:a9fe]",
	}
	text := "kind: Agent\nid: bot\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"*/*\"]\n"
	for i, h := range hosts {
		text += fmt.Sprintf("---\nkind: Server\nid: s%d\nowner: team\ntransport: {http: {url: \"http://%s:9/mcp\"}}\nstate: sanctioned\n", i, h)
	}
	r.apply(text)
	for i, h := range hosts {
		server := fmt.Sprintf("s%d", i)
		start := time.Now()
		err := r.d.Proxy.Learn(t.Context(), server)
		if err == nil || !strings.Contains(errors.Join(err, errors.Unwrap(err)).Error(), "not one upstreams may live at") {
			t.Errorf("%s: looking at it ended with %v", h, err)
		}
		if got := r.list(r.token("bot", server), server); got.msg.kind() != "upstream_unavailable" || strings.Contains(got.body, "live at") {
			t.Errorf("%s: a list answered %s", h, got.body)
		}
		if took := time.Since(start); took > 8*time.Second { // to dial in vain takes ten
			t.Errorf("%s: took %s: it was dialled", h, took)
		}
	}
}

// Loopback is another machine's business as soon as the gateway listens to
// others; a configured range permits it again.
func TestLoopbackNeedsALoopbackListener(t *testing.T) {
	t.Parallel()
	p := newPeer(t, v2026)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	open := func(allow ...string) *rig {
		return newRig(t, func(c *daemon.Config) {
			c.Listen.Agents, c.Insecure, c.Egress.Allow = "0.0.0.0:0", true, allow
		})
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.8.8.8"} {
		r := open("10.0.0.0/8")
		r.apply(botAndServer("http://"+host+":"+port+"/mcp", `["up/*"]`))
		if err := r.d.Proxy.Learn(t.Context(), "up"); err == nil {
			t.Errorf("%s was reached", host)
		}
	}
	if n := len(p.all()); n != 0 {
		t.Fatalf("%d requests reached a server on loopback", n)
	}
	r := open("127.0.0.0/8")
	r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`), "up")
	if got := r.call(r.token("bot", "up"), "up", "echo", `{}`); got.msg.Result == nil {
		t.Errorf("with the range allowed: %s", got.body)
	}
}

// A redirect is not followed, wherever it leads, and no credential with it.
func TestRedirectsAreRefused(t *testing.T) {
	t.Parallel()
	elsewhere := newPeer(t, v2026)
	for _, up := range []string{v2026, v2511} {
		p, r := newPeer(t, up), newRig(t)
		if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: "key", MaxTier: 3}, []byte("redirect-secret")); err != nil {
			t.Fatal(err)
		}
		r.apply(strings.Replace(botAndServer(p.URL+"/mcp", `["up/*"]`), "\nstate:", "\ncredential: {ref: key, header: X-Key}\nstate:", 1), "up")
		token := r.token("bot", "up")
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, to := range []string{elsewhere.URL + "/mcp", p.URL + "/other", "http://169.254.169.254/", "/relative", "file:///etc/passwd"} {
				p.handle("tools/call", func(x *exchange) { x.w.Header().Set("Location", to); x.w.WriteHeader(status) })
				n := len(p.got("tools/call"))
				if got := r.call(token, "up", "echo", `{}`); got.msg.kind() != "upstream_malformed" || strings.Contains(got.body, "Location") || strings.Contains(got.body, to) {
					t.Errorf("%d to %s answered %s", status, to, got.body)
				}
				if sent := len(p.got("tools/call")); sent != n+1 || p.last("tools/call").header.Get("X-Key") != "redirect-secret" {
					t.Errorf("%d to %s: %d calls", status, to, sent-n)
				}
			}
			for _, s := range p.all() {
				if s.path != "/mcp" {
					t.Errorf("%d: the redirect was followed to %s", status, s.path)
				}
			}
		}
	}
	if n := len(elsewhere.all()); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}
