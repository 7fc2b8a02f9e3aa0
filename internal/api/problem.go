package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/policy"
)

// Problem is what a refused request is answered with (RFC 9457).
type Problem struct {
	Type   string      `json:"type"`
	Title  string      `json:"title"`
	Status int         `json:"status"`
	Detail string      `json:"detail"`
	Code   access.Code `json:"code"`
	Ref    string      `json:"ref,omitempty"` // finds the cause in the gateway's log
	// Places are the single mistakes of manifests or policies.
	Places []Place `json:"places,omitempty"`
}

// Place is one mistake in a file.
type Place struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// httpStatus is the one table from codes to statuses. What is not in it is 500.
func httpStatus(code access.Code) int {
	switch code {
	case access.CodeInvalid, access.CodeUsage:
		return http.StatusBadRequest
	case access.CodeUnauthenticated:
		return http.StatusUnauthorized
	case access.CodeDenied:
		return http.StatusForbidden
	case access.CodeNotFound:
		return http.StatusNotFound
	case access.CodeConflict:
		return http.StatusConflict
	case access.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case access.CodeFindings:
		return http.StatusUnprocessableEntity
	case access.CodeUnsupported:
		return http.StatusNotImplemented
	case access.CodeUpstream:
		return http.StatusBadGateway
	case access.CodeUnavailable, access.CodeEvidence:
		return http.StatusServiceUnavailable
	case access.CodeTimeout:
		return http.StatusGatewayTimeout
	default: // CodeInternal, and CodePartial: what failed is what is left
		return http.StatusInternalServerError
	}
}

// problemOf returns what the caller may read of err. An error that is not meant
// for people becomes a reference.
func problemOf(err error) (p Problem, internal bool) {
	var e *access.Error
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &e) && e.Code != access.CodeInternal:
		p.Code, p.Detail = e.Code, e.Msg
	case errors.As(err, &big):
		p.Code, p.Detail = access.CodeTooLarge, fmt.Sprintf("the request has more than %d bytes", big.Limit)
	case errors.Is(err, context.DeadlineExceeded):
		p.Code, p.Detail = access.CodeTimeout, "it took too long: try again"
	default:
		p.Code, p.Ref, internal = access.CodeInternal, rand.Text()[:10], true
		p.Detail = "internal error (ref " + p.Ref + "): see the gateway's log"
	}
	p.Status = httpStatus(p.Code)
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	for _, m := range admin.ProblemsOf(err) {
		p.Places = append(p.Places, Place{m.File, m.Line, m.Column, m.Field, m.Msg})
	}
	for _, m := range policy.ProblemsOf(err) {
		p.Places = append(p.Places, Place{m.File, m.Line, m.Column, "cedar", m.Message})
	}
	return p, internal
}

// refuse answers with a problem.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p, internal := problemOf(err)
	if internal || errors.Unwrap(err) != nil && p.Status >= http.StatusInternalServerError {
		a.cfg.Log.Error("a request of the administration API did not succeed", "ref", p.Ref, "method", r.Method, "path", r.URL.Path, "error", access.Reasons(err))
	}
	b, merr := Marshal(p)
	if merr != nil {
		b = []byte(`{"schemaVersion":1,"code":"internal"}`)
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="rutile operators"`)
	}
	write(w, p.Status, "application/problem+json", b)
}

// errorOf turns the answer of a refused request back into the error it was.
func errorOf(status int, body []byte) error {
	var p Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" || p.Detail == "" {
		p.Code, p.Detail = access.CodeUnavailable, fmt.Sprintf("what answers is not this version of rutile (HTTP %d)", status)
	}
	return &access.Error{Code: p.Code, Msg: p.Detail}
}
