package api

import (
	"context"
	"net/http"

	"rutile/internal/admin"
)

// HTTPStatus is the table.
var HTTPStatus = httpStatus

// ErrorOf turns an answer into the error it was.
var ErrorOf = errorOf

// Refuse answers with err.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, err error) { a.refuse(w, r, err) }

// WithPeer is ConnContext of a socket whose other end is uid.
func WithPeer(ctx context.Context, uid int, err error) context.Context {
	return context.WithValue(ctx, peerKey, peer{uid, err})
}

// Patterns lists the routes.
func (a *API) Patterns() []string {
	var out []string
	for _, r := range a.routes() {
		out = append(out, r.pattern)
	}
	return out
}

// Operations says which operation each route is.
func (a *API) Operations() map[string]admin.Op {
	out := map[string]admin.Op{}
	for _, r := range a.routes() {
		out[r.pattern] = r.op
	}
	return out
}

// Strict decodes one document.
func Strict(body []byte, v any) error { return strict(body, v) }
