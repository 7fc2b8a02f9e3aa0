package gatetest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// authority issues certificates into files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = nil, nil
	a.file, _ = a.issue("authority", 1)
	return a
}

// issue writes a certificate for localhost and its key; the first one signs the
// others.
func (a *authority) issue(name string, serial int64) (cert, key string) {
	a.t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	first := a.cert == nil
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"mcp.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: first, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if first {
		parent, signer = tmpl, priv
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, priv.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if first {
		a.key = priv
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	keyDER, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	a.write(cert, "CERTIFICATE", der)
	a.write(key, "EC PRIVATE KEY", keyDER)
	return cert, key
}

func (a *authority) write(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// secured serves p over TLS, and over HTTP/2 where h2 says so, with a
// certificate of a. It keeps the protocol and client certificate of each
// request.
type secured struct {
	*httptest.Server
	mu     sync.Mutex
	protos map[string]int
	serial int64 // of the last client certificate
}

func (a *authority) serve(p *peer, h2 bool, auth tls.ClientAuthType) *secured {
	a.t.Helper()
	cert, key := a.issue("server", 2)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	s := &secured{protos: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.protos[r.Proto]++
		if len(r.TLS.PeerCertificates) > 0 {
			s.serial = r.TLS.PeerCertificates[0].SerialNumber.Int64()
		}
		s.mu.Unlock()
		p.ServeHTTP(w, r)
	}))
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: auth, ClientCAs: pool}
	s.EnableHTTP2 = h2
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what some tests are about
	s.StartTLS()
	a.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *secured) spoke(proto string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.protos[proto]
}

// over is botAndServer with further members of transport.http.
func over(u, more string) string {
	return strings.Replace(botAndServer(u+"/mcp", `["up/*"]`), `/mcp"}}`, `/mcp", `+more+`}}`, 1)
}

// A server of a private authority is reached over HTTP/1.1 and HTTP/2, with
// streams and in both eras, once its authority is named, and not before.
func TestPrivateAuthorityIsNamed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for _, h2 := range []bool{false, true} {
		for _, era := range []string{v2026, v2511} {
			p, r := newPeer(t, era), newRig(t)
			up := a.serve(p, h2, tls.NoClientCert)
			r.apply(over(up.URL, "proxy: none"))
			if got := r.list(r.token("bot", "up"), "up"); got.msg.kind() != "upstream_unavailable" || !strings.Contains(got.body, "certificate is not trusted") {
				t.Errorf("%s: an unknown authority: %s", era, got.body)
			}
			if n := len(p.all()); n != 0 {
				t.Fatalf("%s: %d requests reached a server that was not verified", era, n)
			}
			r.apply(over(up.URL, fmt.Sprintf("tls: {ca: %q}", a.file)), "up")
			token := r.token("bot", "up")
			if got := r.call(token, "up", "echo", `{"text":"hello"}`); !strings.Contains(got.body, "hello") {
				t.Errorf("%s: a call answered %s", era, got.body)
			}
			p.handle("tools/call", func(x *exchange) {
				x.sse()
				x.progress(1)
				x.text("streamed")
			})
			if got := post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), modernProgressing()); !strings.Contains(got.body, "streamed") || !strings.Contains(got.body, `"progress":1`) {
				t.Errorf("%s: a streamed call answered %s", era, got.body)
			}
			want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2]
			if up.spoke(want) == 0 || len(up.protos) != 1 {
				t.Errorf("%s: the server was spoken to in %v, want %s", era, up.protos, want)
			}
		}
	}
}

// The name in the certificate counts, and may be said where the address differs.
func TestCertificateIsForTheServersName(t *testing.T) {
	t.Parallel()
	a, p := newAuthority(t), newPeer(t, v2026)
	up := a.serve(p, false, tls.NoClientCert)
	port := up.URL[strings.LastIndex(up.URL, ":"):]
	r := newRig(t)
	r.apply(over("https://localhost"+port, fmt.Sprintf("tls: {ca: %q}", a.file)))
	if got := r.list(r.token("bot", "up"), "up"); !strings.Contains(got.body, "certificate is not trusted") {
		t.Errorf("a certificate for another name: %s", got.body)
	}
	r.apply(over("https://localhost"+port, fmt.Sprintf("tls: {ca: %q, serverName: mcp.test}", a.file)), "up")
	if got := r.call(r.token("bot", "up"), "up", "echo", `{"text":"hello"}`); !strings.Contains(got.body, "hello") {
		t.Errorf("with the name said: %s", got.body)
	}
}

// A server that wants a client certificate gets the one in the files, and a
// renewed one without a restart; half a renewal leaves the last in use.
func TestClientCertificateIsShownAndRenewed(t *testing.T) {
	t.Parallel()
	a, p, r := newAuthority(t), newPeer(t, v2026), newRig(t)
	up := a.serve(p, false, tls.RequireAndVerifyClientCert)
	r.apply(over(up.URL, fmt.Sprintf("tls: {ca: %q}", a.file)))
	token := r.token("bot", "up")
	if got := r.list(token, "up"); got.msg.kind() != "upstream_unavailable" {
		t.Errorf("without a certificate: %s", got.body)
	}
	cert, key := a.issue("client", 7)
	r.apply(over(up.URL, fmt.Sprintf("tls: {ca: %q, cert: %q, key: %q}", a.file, cert, key)), "up")
	call := func(serial int64) {
		t.Helper()
		if got := r.call(token, "up", "echo", `{"text":"hello"}`); !strings.Contains(got.body, "hello") {
			t.Fatalf("a call answered %s", got.body)
		}
		up.mu.Lock()
		defer up.mu.Unlock()
		if up.serial != serial {
			t.Errorf("the server saw certificate %d, want %d", up.serial, serial)
		}
	}
	call(7)
	for name, broken := range map[string]string{"empty": "", "another's": "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"} {
		if err := os.WriteFile(key, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		up.CloseClientConnections()
		t.Run(name, func(t *testing.T) { call(7) })
	}
	a.issue("client", 8)
	up.CloseClientConnections()
	call(8)
}

// Files that are not there or hold something else fail the call, not the
// gateway, and nothing of them is told to the agent.
func TestUnusableTLSFilesFailClosed(t *testing.T) {
	t.Parallel()
	a, p, r := newAuthority(t), newPeer(t, v2026), newRig(t)
	up := a.serve(p, false, tls.NoClientCert)
	secret := filepath.Join(a.dir, "secret")
	if err := os.WriteFile(secret, []byte("canary-of-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, _ := a.issue("client", 9)
	for _, more := range []string{
		`tls: {ca: "/nowhere/ca.pem"}`, fmt.Sprintf("tls: {ca: %q}", secret),
		fmt.Sprintf("tls: {ca: %q, cert: %q, key: %q}", a.file, cert, secret), fmt.Sprintf("tls: {ca: %q, cert: %q, key: %q}", a.file, secret, secret),
	} {
		r.apply(over(up.URL, more))
		got := r.list(r.token("bot", "up"), "up")
		if got.msg.kind() != "upstream_unavailable" || !strings.Contains(got.body, "TLS files") || strings.Contains(got.body, a.dir) {
			t.Errorf("%s: %s", more, got.body)
		}
	}
	if strings.Contains(r.logs.String(), "canary-of-a-file") {
		t.Error("the content of a file is in the log")
	}
	if n := len(p.all()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// A call that the server took and did not answer is not sent again: it may have
// had its effect.
func TestCallsOverTLSAreSentOnce(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for _, h2 := range []bool{false, true} {
		p, r := newPeer(t, v2026), newRig(t)
		up := a.serve(p, h2, tls.NoClientCert)
		r.apply(over(up.URL, fmt.Sprintf("tls: {ca: %q}", a.file)), "up")
		token := r.token("bot", "up")
		var calls atomic.Int64
		p.handle("tools/call", func(x *exchange) {
			calls.Add(1)
			panic(http.ErrAbortHandler)
		})
		for n := range int64(5) {
			if got := r.call(token, "up", "echo", `{}`); got.msg.kind() != "upstream_unavailable" {
				t.Errorf("a call without an answer: %s", got.body)
			}
			if got := calls.Load(); got != n+1 {
				t.Fatalf("h2 %v: %d calls were sent for %d", h2, got, n+1)
			}
		}
	}
}

// forwardProxy is a forward proxy that keeps what it was asked for.
type forwardProxy struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	heads []http.Header
}

func newForwardProxy(t *testing.T) *forwardProxy {
	f := &forwardProxy{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked, f.heads = append(f.asked, r.Method+" "+r.RequestURI), append(f.heads, r.Header.Clone())
		f.mu.Unlock()
		if r.Method == http.MethodConnect {
			f.tunnel(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		out, err := http.NewRequest(r.Method, r.RequestURI, strings.NewReader(string(body)))
		if err != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		out.Header = r.Header
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			http.Error(w, "bad gateway", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	}))
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

func (f *forwardProxy) tunnel(w http.ResponseWriter, r *http.Request) {
	up, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, "bad gateway", http.StatusBadGateway)
		return
	}
	// The connection is taken over before the answer: after it the client's first
	// bytes could be in the server's buffer.
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		up.Close()
		return
	}
	io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		io.Copy(up, conn)
		up.Close()
	}()
	io.Copy(conn, up)
	conn.Close()
}

func (f *forwardProxy) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

// A forward proxy is used where the configuration or the server's entry says so,
// for http and https, and never because the environment does.
func TestForwardProxyIsUsedWhereItIsConfigured(t *testing.T) {
	a, p := newAuthority(t), newPeer(t, v2026)
	up := a.serve(p, true, tls.NoClientCert)
	global, own := newForwardProxy(t), newForwardProxy(t)
	environment := newForwardProxy(t)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, environment.URL)
	}
	r := newRig(t, func(c *daemon.Config) { c.Egress.Proxy = global.URL })
	ca := fmt.Sprintf("tls: {ca: %q}", a.file)
	for _, c := range []struct {
		name, url, more string
		through         *forwardProxy
		want            string
	}{
		{"configuration, https", up.URL, ca, global, "CONNECT " + strings.TrimPrefix(up.URL, "https://")},
		{"configuration, http", p.URL, "headers: {X-A: b}", global, "POST " + p.URL + "/mcp"},
		{"entry, https", up.URL, ca + ", proxy: \"" + own.URL + "\"", own, "CONNECT " + strings.TrimPrefix(up.URL, "https://")},
		{"entry, http", p.URL, "proxy: \"" + own.URL + "\"", own, "POST " + p.URL + "/mcp"},
		{"entry says none", up.URL, ca + ", proxy: none", nil, ""},
	} {
		before := map[*forwardProxy]int{global: len(global.requests()), own: len(own.requests())}
		r.apply(over(c.url, c.more), "up")
		if got := r.call(r.token("bot", "up"), "up", "echo", `{"text":"hello"}`); !strings.Contains(got.body, "hello") {
			t.Errorf("%s: %s", c.name, got.body)
		}
		for _, f := range []*forwardProxy{global, own} {
			asked := f.requests()[before[f]:]
			if f != c.through && len(asked) > 0 || f == c.through && (len(asked) == 0 || asked[0] != c.want) {
				t.Errorf("%s: the proxy was asked for %q, want %q of its own", c.name, asked, c.want)
			}
		}
	}
	if n := environment.requests(); len(n) > 0 {
		t.Errorf("the environment's proxy was asked for %q", n)
	}
}

// What is behind a proxy is held to the same rule, and its credentials stay
// inside of the tunnel.
func TestForwardProxyIsNoWayAround(t *testing.T) {
	t.Parallel()
	f := newForwardProxy(t)
	r := newRig(t, func(c *daemon.Config) { c.Listen.Agents, c.Insecure, c.Egress.Proxy = "0.0.0.0:0", true, f.URL })
	for _, host := range []string{"10.1.2.3", "10.1.2.3.", "169.254.169.254", "[::ffff:a9fe:a9fe]", "[fe80::1%25eth0]", "localhost", "LOCALHOST.", "a.localhost", "127.1", "2130706433", "0x7f000001", "127.0.0.1.", "[::1%25lo]"} {
		for _, scheme := range []string{"http", "https"} {
			r.apply(botAndServer(scheme+"://"+host+":9/mcp", `["up/*"]`))
			if got := r.list(r.token("bot", "up"), "up"); got.msg.kind() != "upstream_unavailable" {
				t.Errorf("%s: %s", host, got.body)
			}
		}
	}
	if asked := f.requests(); len(asked) > 0 {
		t.Errorf("the proxy was asked for %q", asked)
	}
}
