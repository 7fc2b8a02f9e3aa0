package oauthclient

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/rawjson"
)

// Token is what a token endpoint gave. Its secrets are overwritten by whoever
// holds it.
type Token struct {
	Access  []byte
	Refresh []byte // nil if it gave none
	Scope   string // "" where it is what was asked for
	Expires time.Time
}

// Clear overwrites the secrets.
func (t *Token) Clear() { clear(t.Access); clear(t.Refresh) }

// Refused is an error a token endpoint answered with: a registered code.
type Refused struct{ Code string }

func (r *Refused) Error() string { return "the authorization server refuses: " + r.Code }

// known are the registered error codes of token endpoints (RFC 6749 section 5.2,
// RFC 8693, RFC 8707). Anything else an endpoint says is not repeated.
func knownError(code string) bool {
	return slices.Contains([]string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target", "access_denied", "server_error", "temporarily_unavailable", "interaction_required", "login_required"}, code)
}

// seeds opens sealed credentials for one request, bound to the origin of who they
// are shown to.
type seeds interface {
	Lease(ctx context.Context, r credential.LeaseRequest) (*credential.Lease, error)
}

// endpoint is one request to the token endpoint of a server.
type endpoint struct {
	seeds  seeds
	now    func() time.Time
	server *Server
	client credential.Client
	need   credential.Need
	secret []byte // of a client we registered ourselves; nil: the sealed one client names
}

// ask sends form, with the proof of who we are, to at and returns the answer.
func (e *endpoint) ask(ctx context.Context, at *url.URL, form url.Values, what string) (*http.Response, []byte, error) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	if err := e.authenticate(ctx, at, form, header); err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, access.Errorf(access.CodeUpstream, "%s has no usable address", what)
	}
	r.Header = header
	r.GetBody = nil // nothing is sent twice without being asked to
	return e.server.http.do(r, what)
}

const tokenEndpoint = "the authorization server's token endpoint"

// token asks for a token and reads it.
func (e *endpoint) token(ctx context.Context, form url.Values) (Token, error) {
	resp, body, err := e.ask(ctx, e.server.Token, form, tokenEndpoint) //nolint:bodyclose // do closes it
	if err != nil {
		return Token{}, err
	}
	defer clear(body)
	v, err := object(resp, body, "the answer of "+tokenEndpoint)
	if resp.StatusCode != http.StatusOK {
		if code := text(v, "error"); err == nil && knownError(code) {
			return Token{}, &access.Error{Code: access.CodeUpstream, Msg: tokenEndpoint + " refuses: " + code, Err: &Refused{code}}
		}
		return Token{}, access.Errorf(access.CodeUpstream, "%s refuses with status %d", tokenEndpoint, resp.StatusCode)
	}
	if err != nil {
		return Token{}, err
	}
	return e.read(v)
}

// b64token is RFC 6750 section 2.1.
var b64token = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// scopeText is RFC 6749 section 3.3, and maxScope its bytes at most.
var scopeText = regexp.MustCompile(`^[\x20\x21\x23-\x5B\x5D-\x7E]*$`)

const maxScope = 4096

// read reads a successful answer (RFC 6749 section 5.1).
func (e *endpoint) read(v rawjson.Value) (Token, error) {
	bad := func(why string) (Token, error) {
		return Token{}, access.Errorf(access.CodeUpstream, "%s %s", tokenEndpoint, why)
	}
	token, typ := text(v, "access_token"), text(v, "token_type")
	switch {
	case !b64token.MatchString(token) || len(token) < credential.MinValue || len(token) > credential.MaxValue:
		return bad("gave no token that can be sent")
	case !strings.EqualFold(typ, "bearer") && !(typ == "N_A" || typ == ""):
		return bad("gave a token that is no bearer token")
	}
	t := Token{Access: []byte(token), Scope: text(v, "scope")}
	if len(t.Scope) > maxScope || !scopeText.MatchString(t.Scope) { // it goes into evidence
		return bad("says what its token is for in no scopes")
	}
	if refresh := text(v, "refresh_token"); refresh != "" {
		if len(refresh) > credential.MaxValue {
			return bad("gave a refresh token that is too long")
		}
		t.Refresh = []byte(refresh)
	}
	if n := v.Get("expires_in"); n.Exists() {
		secs, err := strconv.ParseInt(strings.Trim(string(n.Raw()), `"`), 10, 64)
		if err != nil || secs < 0 {
			return bad("says when the token ends in no number of seconds")
		}
		t.Expires = e.now().Add(time.Duration(min(secs, 10*365*24*3600)) * time.Second)
	}
	return t, nil
}

// version tells a token from others without being secret: a digest of its jti
// where it is a JWT that has one, else of the token.
func version(token []byte) string {
	seed := token
	if parts := strings.Split(string(token), "."); len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			if v, err := rawjson.Parse(payload, rawjson.Limits{Bytes: credential.MaxValue}); err == nil {
				if jti := text(v, "jti"); jti != "" {
					seed = []byte(jti)
				}
			}
		}
	}
	sum := sha256.Sum256(append([]byte("rutile minted version\x00"), seed...))
	return hex.EncodeToString(sum[:12])
}

// revoke ends a token (RFC 7009), or is nil where the server offers no way.
func (e *endpoint) revoke(token []byte, hint string) func(context.Context) error {
	if e.server.Revocation == nil {
		return nil
	}
	return func(ctx context.Context) error {
		form := url.Values{"token": {string(token)}, "token_type_hint": {hint}}
		resp, _, err := e.ask(ctx, e.server.Revocation, form, "the authorization server's revocation endpoint") //nolint:bodyclose // do closes it
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return access.Errorf(access.CodeUpstream, "the revocation endpoint answers %d", resp.StatusCode)
		}
		return nil
	}
}
