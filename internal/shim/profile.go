package shim

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// Profile is what an enrollment leaves behind: which agent this is, at which
// gateway, and the key that proves it. One file holds all of it, so that a key
// is never used with another gateway than the one it was enrolled at.
type Profile struct {
	Agent   string
	Gateway string // base URL and issuer, byte for byte
	CA      string // PEM of the only authorities trusted for it; "" trusts the system's
	key     jose.JSONWebKey
}

// profileDoc is a Profile as it stands in its file.
type profileDoc struct {
	Version int             `json:"version"`
	Agent   string          `json:"agent"`
	Gateway string          `json:"gateway"`
	CA      string          `json:"ca,omitempty"`
	Key     json.RawMessage `json:"key"` // private JWK
}

const (
	profileVersion = 1
	profileEnding  = ".json"
	maxProfile     = 256 << 10
)

// NewProfile makes a key for an agent at a gateway. Nothing knows it yet.
func NewProfile(agent, gateway, ca string) (Profile, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Profile{}, fmt.Errorf("making a key: %w", err)
	}
	p := Profile{Agent: agent, Gateway: gateway, CA: ca, key: jose.JSONWebKey{Key: private}}
	return p, p.check()
}

// Public returns the public JWK, which the gateway learns.
func (p Profile) Public() (json.RawMessage, error) {
	b, err := (&jose.JSONWebKey{Key: p.key.Public().Key}).MarshalJSON()
	if err != nil {
		return nil, errors.New("encoding the public key") // the cause could quote the key
	}
	return b, nil
}

// KeyID is the RFC 7638 thumbprint of the public key.
func (p Profile) KeyID() (string, error) {
	public, err := p.Public()
	return identity.KeyID(public), err
}

// String names the agent and its gateway, never the key.
func (p Profile) String() string { return p.Agent + " at " + p.Gateway }

// GoString is String.
func (p Profile) GoString() string { return p.String() }

func (p Profile) check() error {
	if !access.ValidID(p.Agent) {
		return access.Errorf(access.CodeInvalid, "the agent %q has no valid id", p.Agent)
	}
	if err := identity.CheckIssuer(p.Gateway); err != nil {
		return &access.Error{Code: access.CodeInvalid, Msg: "the gateway's address cannot be used: " + err.Error(), Err: err}
	}
	switch k := p.key.Key.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return access.Errorf(access.CodeInvalid, "the key is on another curve; enroll again")
		}
	case ed25519.PrivateKey:
	default:
		return access.Errorf(access.CodeInvalid, "the key is no private P-256 or Ed25519 key; enroll again")
	}
	if !p.key.Valid() {
		return access.Errorf(access.CodeInvalid, "the key is damaged; enroll again")
	}
	return nil
}

// client is the only way to the gateway. It follows no redirect: the token is
// for one host.
func (p Profile) client() (*http.Client, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.CA != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(p.CA)) {
			return nil, access.Errorf(access.CodeInvalid, "the CA file holds no certificate that can be read; give one in PEM")
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 60 * time.Second, MaxIdleConnsPerHost: 64,
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// DefaultState is the directory of profiles where no other is named: connect in
// the data directory below the home directory the system has for this user. No
// environment variable moves it, because a desktop client hands none on.
func DefaultState() (string, error) {
	u, err := user.Current()
	if err == nil && filepath.IsAbs(u.HomeDir) {
		return filepath.Join(u.HomeDir, ".local", "share", "rutile", "connect"), nil
	}
	return "", &access.Error{Code: access.CodeInvalid, Msg: "the system knows no home directory of this user: name the directory with --state DIR, at enrollment and in the client's configuration", Err: err}
}

// Load reads the profile of an agent from a directory; with agent "" the only
// one there is. It refuses a file that others could have read or written.
func Load(dir, agent string) (Profile, error) {
	if agent == "" {
		var err error
		if agent, err = only(dir); err != nil {
			return Profile{}, err
		}
	}
	if !access.ValidID(agent) {
		return Profile{}, access.Errorf(access.CodeUsage, "%q cannot be an agent's id", agent)
	}
	path := filepath.Join(dir, agent+profileEnding)
	b, err := readPrivate(dir, path)
	if errors.Is(err, fs.ErrNotExist) {
		return Profile{}, notEnrolled(dir, agent)
	}
	if err != nil {
		return Profile{}, err
	}
	defer clear(b)
	damaged := access.Errorf(access.CodeInvalid, "%s is damaged; enroll again with: rutile connect --enroll", path)
	var doc profileDoc
	if err := json.Unmarshal(b, &doc); err != nil {
		return Profile{}, damaged // the cause could quote the key
	}
	if doc.Version != profileVersion {
		return Profile{}, access.Errorf(access.CodeInvalid, "%s was written by another version of rutile; enroll again with: rutile connect --enroll", path)
	}
	p := Profile{Agent: doc.Agent, Gateway: doc.Gateway, CA: doc.CA}
	if err := p.key.UnmarshalJSON(doc.Key); err != nil || doc.Agent != agent {
		return Profile{}, damaged
	}
	return p, p.check()
}

func notEnrolled(dir, agent string) error {
	who := "no agent is"
	if agent != "" {
		who = "agent " + agent + " is not"
	}
	return access.Errorf(access.CodeUnauthenticated, "%s enrolled in %s: run rutile connect --enroll there first, or name another directory with --state", who, dir)
}

// only returns the one agent enrolled in dir.
func only(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", access.Errorf(access.CodeInvalid, "reading the profiles: %w", err)
	}
	var found []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), profileEnding); ok && access.ValidID(id) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", notEnrolled(dir, "")
	case 1:
		return found[0], nil
	}
	return "", access.Errorf(access.CodeUsage, "several agents are enrolled in %s (%s): say which with --agent", dir, strings.Join(found, ", "))
}

// stage writes the profile beside its place, for its owner only.
func (p Profile) stage(dir string) (path string, err error) {
	private, err := p.key.MarshalJSON()
	if err != nil {
		return "", errors.New("encoding the key") // the cause could quote it
	}
	defer clear(private)
	b, err := json.MarshalIndent(profileDoc{Version: profileVersion, Agent: p.Agent, Gateway: p.Gateway, CA: p.CA, Key: private}, "", "  ")
	if err != nil {
		return "", errors.New("encoding the profile")
	}
	defer clear(b)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", access.Errorf(access.CodeInvalid, "making the directory of profiles: %w", err)
	}
	if err := checkDir(dir); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, ".enroll-*") // made with mode 0600
	if err != nil {
		return "", access.Errorf(access.CodeInvalid, "writing the profile: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", access.Errorf(access.CodeInvalid, "writing the profile: %w", err)
	}
	return f.Name(), nil
}

// readPrivate reads a file only its owner can have touched.
func readPrivate(dir, path string) ([]byte, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	f, err := openPrivate(path)
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "opening the profile: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "reading the profile: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, access.Errorf(access.CodeInvalid, "%s is not a regular file", path)
	}
	if err := checkOwner(path, info, 0o077); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxProfile+1))
	if err != nil || len(b) > maxProfile {
		return nil, access.Errorf(access.CodeInvalid, "%s cannot be read as a profile; enroll again", path)
	}
	return b, nil
}

func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "the directory of profiles: %w", err)
	}
	return checkOwner(dir, info, 0o022)
}
