package signal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
)

// Bounds of asking a source.
const (
	askTime   = 10 * time.Second
	maxAnswer = 1 << 20
	keysLife  = time.Hour        // after which keys are asked for again
	keysRest  = 30 * time.Second // between two times that a key was not known
	wellKnown = "/.well-known/ssf-configuration"
)

// Fetched are keys as sources publish them. It is safe for concurrent use.
type Fetched struct {
	client *http.Client
	now    func() time.Time

	mu   sync.Mutex
	sets map[string]*keySet // by issuer and address
}

type keySet struct {
	mu    sync.Mutex // held while they are asked for
	keys  []jose.JSONWebKey
	asked time.Time
}

// NewFetched returns Fetched. The transport judges addresses.
func NewFetched(transport http.RoundTripper, now func() time.Time) *Fetched {
	return &Fetched{client: clientOf(transport), now: now, sets: map[string]*keySet{}}
}

func clientOf(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Keys returns the keys of a source.
func (f *Fetched) Keys(ctx context.Context, s *Source, anew bool) ([]jose.JSONWebKey, error) {
	f.mu.Lock()
	set := f.sets[s.Issuer+" "+s.JWKS]
	if set == nil {
		set = &keySet{}
		f.sets[s.Issuer+" "+s.JWKS] = set
	}
	f.mu.Unlock()
	set.mu.Lock()
	defer set.mu.Unlock()
	age := f.now().Sub(set.asked)
	if fresh := age >= 0 && (age < keysRest || !anew && age < keysLife); set.keys != nil && fresh {
		return set.keys, nil
	}
	keys, err := f.fetch(ctx, s)
	if err != nil {
		return nil, err
	}
	set.keys, set.asked = keys, f.now()
	return keys, nil
}

func (f *Fetched) fetch(ctx context.Context, s *Source) ([]jose.JSONWebKey, error) {
	at := s.JWKS
	if at == "" {
		var m struct {
			Issuer string `json:"issuer"`
			JWKS   string `json:"jwks_uri"`
		}
		if err := f.read(ctx, metadataURL(s.Issuer), &m); err != nil {
			return nil, err
		}
		if m.Issuer != s.Issuer || CheckURL(m.JWKS) != "" {
			return nil, access.Errorf(access.CodeUnavailable, "the metadata of the source is another issuer's, or names no keys: name them as jwks")
		}
		at = m.JWKS
	}
	var set jose.JSONWebKeySet
	if err := f.read(ctx, at, &set); err != nil {
		return nil, err
	}
	var out []jose.JSONWebKey
	for _, k := range set.Keys {
		if k.Valid() && k.IsPublic() { // a secret that is published signs nothing
			out = append(out, k)
		}
	}
	return out, nil
}

// metadataURL is where an issuer says what it is (SSF 1.0, section 7.2.1): its path goes
// behind the well-known one.
func metadataURL(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return issuer
	}
	return u.Scheme + "://" + u.Host + wellKnown + strings.TrimSuffix(u.EscapedPath(), "/")
}

func (f *Fetched) read(ctx context.Context, at string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "the address of the source cannot be used")
	}
	r.Header.Set("Accept", "application/json")
	answer, err := f.client.Do(r)
	if err != nil {
		return access.Errorf(access.CodeUnavailable, "the source cannot be reached, or is at an address that may not be (see egress.allow in the configuration)")
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return access.Errorf(access.CodeUnavailable, "the source answered with status %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil || json.Unmarshal(body, v) != nil {
		return access.Errorf(access.CodeUnavailable, "the answer of the source cannot be read")
	}
	return nil
}

// CheckURL says why an address cannot be one of a source, "" if it can.
func CheckURL(at string) string {
	u, err := url.Parse(at)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Sprintf("%.200q is no address", at)
	case u.Scheme == "https", u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return ""
	}
	return "must be https: who is signed out is not told in clear"
}
