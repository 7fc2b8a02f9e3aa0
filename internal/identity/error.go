package identity

import (
	"errors"
	"net/http"
	"strings"

	"rutile/internal/access"
)

// ErrorCode is an error code of the token endpoint (RFC 6749 section 5.2, RFC
// 8707 section 2).
type ErrorCode string

// The codes.
const (
	InvalidRequest       ErrorCode = "invalid_request"
	InvalidClient        ErrorCode = "invalid_client"
	InvalidGrant         ErrorCode = "invalid_grant"
	InvalidTarget        ErrorCode = "invalid_target"
	InvalidScope         ErrorCode = "invalid_scope"
	UnsupportedGrantType ErrorCode = "unsupported_grant_type"
)

// Error refuses a token request. Description is for the client and names the
// next step; Err, if any, is for the log only.
type Error struct {
	Code        ErrorCode
	Description string
	Err         error
}

// Error returns the description.
func (e *Error) Error() string { return e.Description }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func invalidClient(description string, cause error) *Error {
	return &Error{Code: InvalidClient, Description: description, Err: cause}
}

// Problem says what is wrong with a presented token.
type Problem string

// The problems (RFC 6750 section 3.1).
const (
	ProblemMissing   Problem = "missing"            // no token was presented
	ProblemMalformed Problem = "invalid_request"    // the header cannot be read
	ProblemInvalid   Problem = "invalid_token"      // the token is not accepted
	ProblemScope     Problem = "insufficient_scope" // the token is good, and not for this
)

// BearerError refuses a presented token. Msg is for the caller and names the
// next step; Err, if any, is for the log only.
type BearerError struct {
	Problem Problem
	Msg     string
	// Agent is whose token it is, set only if its signature verified: the
	// refusal can be held against that agent.
	Agent string
	Err   error
}

// Error returns Msg.
func (e *BearerError) Error() string { return e.Msg }

// Unwrap returns the refusal as an access.Error, for edges that speak in codes.
func (e *BearerError) Unwrap() error {
	code := access.CodeUnauthenticated
	switch e.Problem {
	case ProblemMalformed:
		code = access.CodeInvalid
	case ProblemScope:
		code = access.CodeDenied
	}
	return &access.Error{Code: code, Msg: e.Msg, Err: e.Err}
}

func invalidToken(msg string, cause error) *BearerError {
	return &BearerError{Problem: ProblemInvalid, Msg: msg, Err: cause}
}

// Challenge returns the HTTP status for an error of BearerToken or Verify and
// the WWW-Authenticate value that goes with it (RFC 6750 section 3, RFC 9728
// section 5.1): 401 for a missing or invalid token, 400 for an unreadable
// header, 403 for a missing scope. Any other error is not the caller's: 503 or
// 500 without a challenge. scope lists every scope of the operation.
func Challenge(err error, resourceMetadataURL, scope string) (status int, wwwAuthenticate string) {
	var b *BearerError
	if !errors.As(err, &b) {
		switch access.CodeOf(err) {
		case access.CodeUnavailable, access.CodeTimeout:
			return http.StatusServiceUnavailable, ""
		}
		return http.StatusInternalServerError, ""
	}
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, name+`="`+quotable(value)+`"`)
		}
	}
	// A request without a token gets no error code (RFC 6750 section 3.1).
	if b.Problem != ProblemMissing {
		add("error", string(b.Problem))
		add("error_description", b.Msg)
	}
	add("resource_metadata", resourceMetadataURL)
	add("scope", scope)
	switch b.Problem {
	case ProblemMalformed:
		status = http.StatusBadRequest
	case ProblemScope:
		status = http.StatusForbidden
	default:
		status = http.StatusUnauthorized
	}
	return status, strings.TrimSuffix("Bearer "+strings.Join(params, ", "), " ")
}

// quotable replaces what RFC 6750 does not allow inside a quoted value.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return '\''
		}
		return r
	}, s)
}

// reason returns the sentence of a refusal that may be shown, in the characters
// RFC 6749 and RFC 6750 allow for a description.
func reason(refused error) string {
	var e *access.Error
	if errors.As(refused, &e) {
		return quotable(e.Msg)
	}
	return "the agent may not authenticate now; ask its owner"
}
