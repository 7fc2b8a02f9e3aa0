package shim

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// assertionLife is how long a client assertion may be used. It is made for one
// request.
const assertionLife = time.Minute

// tokenTime bounds one token request.
const tokenTime = 10 * time.Second

// maxTokenAnswer bounds what the token endpoint answers, in bytes.
const maxTokenAnswer = 64 << 10

// tokens fetches access tokens for one resource and keeps the newest.
type tokens struct {
	profile  Profile
	resource string
	http     *http.Client
	now      func() time.Time

	mu      sync.Mutex // held while one is fetched: the others wait for it
	value   string
	renewAt time.Time // by the monotonic clock: the wall clock may jump
	endsAt  time.Time
}

// get returns a token that lives a while, fetching one if need be.
func (t *tokens) get(ctx context.Context) (string, *reply) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.now()
	if t.value != "" && at.Before(t.renewAt) {
		return t.value, nil
	}
	value, life, r := t.fetch(ctx)
	if r != nil {
		r.token = true
		if t.value != "" && at.Before(t.endsAt) {
			return t.value, nil // renewed ahead of its end, so that there is time to try again
		}
		return "", r
	}
	t.value, t.renewAt, t.endsAt = value, at.Add(life*3/4), at.Add(life)
	return value, nil
}

// forget drops a token the gateway does not take any more.
func (t *tokens) forget(value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == value {
		t.value = ""
	}
}

// reply is an attempt that got no token or answer: what the gateway said, or
// why it said nothing.
type reply struct {
	status int // 0 if it did not answer
	header http.Header
	text   string // what it said, short
	code   string // of an OAuth error
	err    error
	token  bool          // it was a token request
	skew   time.Duration // how far this machine's clock is ahead of the gateway's
}

// fetch makes one token request (RFC 6749 section 4.4, RFC 7523, RFC 8707).
func (t *tokens) fetch(ctx context.Context) (string, time.Duration, *reply) {
	ctx, cancel := context.WithTimeout(ctx, tokenTime)
	defer cancel()
	assertion, err := t.profile.assertion(t.now())
	if err != nil {
		return "", 0, &reply{err: err}
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion_type": {identity.AssertionType}, "client_assertion": {assertion},
		"resource": {t.resource}, "scope": {identity.Scope},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.profile.Gateway+identity.TokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, &reply{err: err}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := t.http.Do(req)
	if err != nil {
		return "", 0, &reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer))
	if err != nil {
		return "", 0, &reply{err: err}
	}
	defer clear(body)
	var out struct {
		Token       string `json:"access_token"`
		Type        string `json:"token_type"`
		Life        int64  `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &out) != nil { // the cause could quote a token
		out.Description = ""
	}
	if resp.StatusCode != http.StatusOK {
		r := &reply{status: resp.StatusCode, header: resp.Header, code: out.Error, text: out.Description}
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			r.skew = t.now().Sub(date)
		}
		return "", 0, r
	}
	if !strings.EqualFold(out.Type, "Bearer") || !bearer(out.Token) || out.Life < 1 || out.Life > int64(24*time.Hour/time.Second) {
		return "", 0, &reply{err: errors.New("what answers is no token endpoint of rutile")}
	}
	return out.Token, time.Duration(out.Life) * time.Second, nil
}

// bearer reports whether s may be sent as a bearer token (RFC 6750 section 2.1).
func bearer(s string) bool {
	for _, c := range []byte(s) {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-._~+/=", c) >= 0 {
			continue
		}
		return false
	}
	return s != "" && len(s) <= 16<<10
}

// assertion signs a client assertion (RFC 7523 section 3) for the gateway the
// key was enrolled at.
func (p Profile) assertion(now time.Time) (string, error) {
	alg := jose.EdDSA
	if _, ok := p.key.Key.(*ecdsa.PrivateKey); ok {
		alg = jose.ES256
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: p.key.Key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", errors.New("the key cannot sign")
	}
	claims, err := json.Marshal(map[string]any{
		"iss": p.Agent, "sub": p.Agent, "aud": p.Gateway, "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(), "jti": access.NewID("ast_"),
	})
	if err != nil {
		return "", err
	}
	sig, err := signer.Sign(claims)
	if err != nil {
		return "", errors.New("the key cannot sign")
	}
	return sig.CompactSerialize()
}
