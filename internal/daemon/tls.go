package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"rutile/internal/access"
)

// certificates serves a certificate from files and reads them again when they
// change. A broken new file is logged and the old certificate stays.
type certificates struct {
	files TLS
	log   *slog.Logger

	mu      sync.Mutex
	stamp   string
	cert    *tls.Certificate
	clients *x509.CertPool
	checked time.Time
}

// reloadInterval bounds how often the files are looked at.
const reloadInterval = time.Second

func loadCertificates(files TLS, log *slog.Logger) (*certificates, error) {
	c := &certificates{files: files, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificates) stat() (string, error) {
	stamp := ""
	for _, f := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
		if f == "" {
			continue
		}
		fi, err := os.Stat(f)
		if err != nil {
			return "", access.Errorf(access.CodeInvalid, "tls: %s cannot be read: %v", f, pathReason(err))
		}
		stamp += fmt.Sprintf("%s %d %d;", f, fi.Size(), fi.ModTime().UnixNano())
	}
	return stamp, nil
}

func (c *certificates) load() error {
	stamp, err := c.stat()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "tls: the certificate %s and its key cannot be used: %v", c.files.Cert, err)
	}
	var pool *x509.CertPool
	if c.files.ClientCA != "" {
		pem, err := os.ReadFile(c.files.ClientCA)
		if err != nil {
			return access.Errorf(access.CodeInvalid, "tls.clientCA: %v", pathReason(err))
		}
		if pool = x509.NewCertPool(); !pool.AppendCertsFromPEM(pem) {
			return access.Errorf(access.CodeInvalid, "tls.clientCA: %s holds no PEM certificate", c.files.ClientCA)
		}
	}
	c.stamp, c.cert, c.clients = stamp, &cert, pool
	return nil
}

// current returns the newest usable certificate.
func (c *certificates) current() (*tls.Certificate, *x509.CertPool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= reloadInterval {
		c.checked = now
		stamp, err := c.stat()
		if err == nil && stamp != c.stamp {
			if err = c.load(); err == nil {
				c.log.Info("read the TLS certificate again", "file", c.files.Cert)
			}
		}
		if err != nil {
			c.log.Error("the new TLS files cannot be used; the old certificate stays", "error", err)
		}
	}
	return c.cert, c.clients
}

// config is the listener's TLS configuration. mutual asks clients for a
// certificate where a client CA is configured.
func (c *certificates) config(mutual bool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cert, pool := c.current()
			cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}, NextProtos: []string{"h2", "http/1.1"}}
			if mutual && pool != nil {
				cfg.ClientCAs, cfg.ClientAuth = pool, tls.RequireAndVerifyClientCert
			}
			return cfg, nil
		},
	}
}
