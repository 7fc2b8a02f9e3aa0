package daemon_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/daemon"
)

// certificate writes a self-signed certificate with this serial number.
func certificate(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, priv.Public(), priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func serial(t *testing.T, url string) int64 {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// TestCertificateIsReloaded: a new certificate is served without a restart, a
// broken one is not, and the old one stays.
func TestCertificateIsReloaded(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, 1)
	d := start(t, daemon.Config{Data: filepath.Join(dir, "data"), TLS: daemon.TLS{Cert: cert, Key: key}})
	defer d.Close(context.Background())
	if !strings.HasPrefix(d.AgentsURL, "https://") || serial(t, d.AgentsURL) != 1 || serial(t, d.OperatorsURL) != 1 {
		t.Fatalf("the first certificate is not served at %s", d.AgentsURL)
	}
	certificate(t, dir, 2)
	waitFor(t, func() bool { return serial(t, d.AgentsURL) == 2 })
	if err := os.WriteFile(cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond) // longer than the reload interval
	if got := serial(t, d.AgentsURL); got != 2 {
		t.Fatalf("after a broken file serial %d is served, want 2", got)
	}
}

// TestBrokenCertificateRefusesToStart, and says which file it is.
func TestBrokenCertificateRefusesToStart(t *testing.T) {
	garbage := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("no PEM"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		harm func(*testing.T, string)
		want string
	}{
		"a certificate that is none": {garbage("tls.crt"), "tls.crt"},
		"a key that is none":         {garbage("tls.key"), "tls.crt and its key"},
		"a CA that is none":          {garbage("ca.crt"), "ca.crt holds no PEM certificate"},
		"no certificate":             {gone("tls.crt"), "tls.crt cannot be read: no such file"},
		"no key":                     {gone("tls.key"), "tls.key cannot be read: no such file"},
		"no CA":                      {gone("ca.crt"), "ca.crt cannot be read: no such file"},
		"another's key": {func(t *testing.T, dir string) {
			_, key := certificate(t, t.TempDir(), 2)
			if err := os.Rename(key, filepath.Join(dir, "tls.key")); err != nil {
				t.Fatal(err)
			}
		}, "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cert, key := certificate(t, dir, 1)
			ca := filepath.Join(dir, "ca.crt")
			copyFile(t, cert, ca)
			tt.harm(t, dir)
			_, err := daemon.New(t.Context(), daemon.Config{Data: filepath.Join(dir, "data"), Listen: free, TLS: daemon.TLS{Cert: cert, Key: key, ClientCA: ca}}, daemon.Options{Log: io.Discard})
			if access.CodeOf(err) != access.CodeInvalid || !strings.Contains(err.Error(), "tls") || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error about tls that says %q", err, tt.want)
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReplacedClientCAEndsOldCertificates, also for a client that resumes the
// session it had under the old one.
func TestReplacedClientCAEndsOldCertificates(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, 1)
	ca := filepath.Join(dir, "ca.crt")
	copyFile(t, cert, ca)
	d := start(t, daemon.Config{Data: filepath.Join(dir, "data"), TLS: daemon.TLS{Cert: cert, Key: key, ClientCA: ca}})
	defer d.Close(context.Background())
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(d.AgentsURL, "https://")
	client := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, ClientSessionCache: tls.NewLRUClientSessionCache(1), ServerName: "localhost"}
	for range 2 {
		if err := requestAs(addr, client); err != nil {
			t.Fatal(err)
		}
	}
	other, _ := certificate(t, t.TempDir(), 2)
	copyFile(t, other, ca)
	waitFor(t, func() bool { return requestAs(addr, client) != nil })
	if err := os.WriteFile(ca, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond) // longer than the reload interval
	if requestAs(addr, client) == nil {
		t.Error("a broken client CA lets the old certificate in again")
	}
}

// TestClientCertificateIsDemanded: with a client CA nobody without its
// certificate gets as far as a request.
func TestClientCertificateIsDemanded(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, 1)
	d := start(t, daemon.Config{Data: filepath.Join(dir, "data"), TLS: daemon.TLS{Cert: cert, Key: key, ClientCA: cert}})
	defer d.Close(context.Background())
	addr := strings.TrimPrefix(d.AgentsURL, "https://")
	if err := request(addr, nil); err == nil {
		t.Error("a client without a certificate was served")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := request(addr, []tls.Certificate{pair}); err != nil {
		t.Errorf("a client with a certificate: %v", err)
	}
}

func request(addr string, certs []tls.Certificate) error {
	return requestAs(addr, &tls.Config{InsecureSkipVerify: true, Certificates: certs})
}

func requestAs(addr string, client *tls.Config) error {
	conn, err := tls.Dial("tcp", addr, client)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: "+addr+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 12))
	return err
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("not within twenty seconds")
}
