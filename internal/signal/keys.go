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
	keysAway  = 5 * time.Second  // after they could not be asked for
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
	turn  chan struct{} // of one, held while they are asked for
	keys  []jose.JSONWebKey
	asked time.Time // zero while they are not known
	tried time.Time // they could not be asked for, for the reason why
	why   error
}

// NewFetched returns Fetched. The transport judges addresses.
func NewFetched(transport http.RoundTripper, now func() time.Time) *Fetched {
	return &Fetched{client: clientOf(transport), now: now, sets: map[string]*keySet{}}
}

func clientOf(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Keys returns the keys of a source. Anybody can send a token with a key that is not
// known, so however many do, the source is asked now and then, and also while it is away.
func (f *Fetched) Keys(ctx context.Context, s *Source, anew bool) ([]jose.JSONWebKey, error) {
	f.mu.Lock()
	set := f.sets[s.Issuer+" "+s.JWKS]
	if set == nil {
		set = &keySet{turn: make(chan struct{}, 1)}
		f.sets[s.Issuer+" "+s.JWKS] = set
	}
	f.mu.Unlock()
	select {
	case set.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if keys, known, err := set.known(f.now(), anew); known {
		<-set.turn
		return keys, err
	}
	// Whoever asks may go: what comes of it is for those who ask next too.
	type answer struct {
		keys []jose.JSONWebKey
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		defer func() { <-set.turn }()
		keys, err := f.fetch(context.WithoutCancel(ctx), s)
		if set.why = err; err == nil {
			set.keys, set.asked = keys, f.now()
		} else {
			set.tried = f.now()
		}
		got <- answer{keys, err}
	}()
	select {
	case a := <-got:
		return a.keys, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// known returns what need not be asked for at a time: keys, or that they cannot be had.
func (k *keySet) known(now time.Time, anew bool) (keys []jose.JSONWebKey, ok bool, err error) {
	if age := now.Sub(k.asked); age >= 0 && (age < keysRest || !anew && age < keysLife) {
		return k.keys, true, nil
	}
	if age := now.Sub(k.tried); k.why != nil && age >= 0 && age < keysAway {
		return nil, true, k.why
	}
	return nil, false, nil
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
