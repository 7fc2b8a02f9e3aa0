package oauth

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
	"rutile/internal/throttle"
)

const grantClientCredentials = "client_credentials"

// maxBody bounds a token request, in bytes.
const maxBody = 64 << 10

// tokenResponse is RFC 6749 section 5.1.
type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
}

// errorResponse is RFC 6749 section 5.2.
type errorResponse struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// token serves the token endpoint.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Pragma", "no-cache")
	if !allow(w, r, http.MethodPost) {
		return
	}
	from := throttle.Address(r.RemoteAddr)
	if wait := s.addresses.Take(from); wait > 0 {
		s.tooMany(w, wait)
		return
	}
	t, wait, err := s.issue(w, r)
	switch {
	case err != nil:
		s.refused(r.Context(), from, err)
		s.refuse(w, err)
	case wait > 0:
		s.tooMany(w, wait)
	default:
		s.answer(w, http.StatusOK, tokenResponse{
			AccessToken: t.Value,
			TokenType:   "Bearer",
			ExpiresIn:   int64(t.Expires.Sub(t.Issued) / time.Second),
			Scope:       t.Scope,
		})
	}
}

// issue reads the request, authenticates the client and issues its token. wait
// is more than 0 if the client has to wait first.
func (s *server) issue(w http.ResponseWriter, r *http.Request) (t identity.Token, wait time.Duration, err error) {
	f, err := readForm(w, r)
	if err != nil {
		return t, 0, err
	}
	switch {
	case f.get("grant_type") == "":
		return t, 0, invalidRequest("grant_type is missing; use grant_type=" + grantClientCredentials)
	case f.get("grant_type") != grantClientCredentials:
		return t, 0, &identity.Error{Code: identity.UnsupportedGrantType, Description: "the grant type is not supported; use grant_type=" + grantClientCredentials}
	case f.get("client_secret") != "" || len(r.Header["Authorization"]) != 0:
		return t, 0, &identity.Error{Code: identity.InvalidClient, Description: "client secrets and the Authorization header are not accepted here; authenticate with a client_assertion (private_key_jwt)"}
	}
	client, err := s.authority.Authenticate(r.Context(), identity.Assertion{
		ClientID: f.get("client_id"),
		Type:     f.get("client_assertion_type"),
		JWT:      f.get("client_assertion"),
	})
	if err != nil {
		return t, 0, err
	}
	if wait := s.agents.Take(client.Agent()); wait > 0 {
		return t, wait, nil
	}
	switch resources := f["resource"]; {
	case len(resources) > 1:
		return t, 0, &identity.Error{Code: identity.InvalidTarget, Description: "a token is for one resource; send exactly one resource parameter"}
	case f.get("resource") == "":
		return t, 0, &identity.Error{Code: identity.InvalidTarget, Description: "resource is missing; send the URL the agent connects to"}
	}
	t, err = s.authority.ClientCredentials(r.Context(), client, f.get("resource"), f.get("scope"))
	return t, 0, err
}

// refuse answers an error of issue.
func (s *server) refuse(w http.ResponseWriter, err error) {
	var e *identity.Error
	if !errors.As(err, &e) {
		status, code := http.StatusInternalServerError, "server_error"
		if access.CodeOf(err) == access.CodeUnavailable {
			status, code = http.StatusServiceUnavailable, "temporarily_unavailable"
		}
		s.answer(w, status, errorResponse{Error: code, Description: "the request could not be judged; try again"})
		return
	}
	status := http.StatusBadRequest
	var large *http.MaxBytesError
	switch {
	case e.Code == identity.InvalidClient:
		status = http.StatusUnauthorized
		// A 401 needs a challenge (RFC 9110 section 15.5.2). Repeating the scheme
		// of a client that sent Basic would say that a secret could work.
		w.Header().Set("WWW-Authenticate", `private_key_jwt realm="`+s.authority.Issuer()+`"`)
	case errors.As(err, &large):
		status = http.StatusRequestEntityTooLarge
	}
	s.answer(w, status, errorResponse{Error: string(e.Code), Description: e.Description})
}

func (s *server) tooMany(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	s.answer(w, http.StatusTooManyRequests, errorResponse{Error: "temporarily_unavailable", Description: "too many token requests; keep a token until it expires and try again later"})
}

func (s *server) answer(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		s.log.Error("encoding a token answer", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b) //nolint:errcheck // the client is gone; nothing to do
}

func invalidRequest(description string) *identity.Error {
	return &identity.Error{Code: identity.InvalidRequest, Description: description}
}

// readForm reads the parameters from the body and from nowhere else.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return nil, invalidRequest("parameters in the URL are not accepted; send all of them in the body")
	}
	types := r.Header["Content-Type"]
	if len(types) != 1 {
		return nil, invalidRequest("send the parameters as application/x-www-form-urlencoded")
	}
	if t, _, err := mime.ParseMediaType(types[0]); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, invalidRequest("send the parameters as application/x-www-form-urlencoded")
	}
	if len(r.Header["Content-Encoding"]) != 0 {
		return nil, invalidRequest("an encoded body is not accepted; send it plain")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		e := invalidRequest("the body cannot be read, or is over 64 KiB")
		e.Err = err
		return nil, e
	}
	return parseForm(string(body))
}
