// Package ssf serves the endpoints of OpenID Shared Signals: where sources push what they
// tell (RFC 8935), and where receivers of what we tell see to their streams (SSF 1.0,
// section 8) and fetch from them (RFC 8936).
//
//	POST /signals/{source}              a security event token, or a webhook, of a declared source
//	GET  /.well-known/ssf-configuration what we tell, and how
//	     /ssf/streams, /ssf/status …    a receiver's stream
//	POST /ssf/poll/{stream}             what waits in it
//
// Whether something counts package signal decides: this package MUST say that it was
// taken only once it is kept, and MUST say no more of why it was not than RFC 8935 has
// words for.
package ssf

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"rutile/internal/access"
	"rutile/internal/signal"
)

// Path is where sources push; the id of one follows it.
const Path = "/signals/"

// Receiver takes what sources push.
type Receiver interface {
	Push(ctx context.Context, source string, h http.Header, body []byte) error
}

// Push returns the handler of Path.
func Push(to Receiver, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, signal.MaxSET))
		if err != nil {
			answer(w, http.StatusBadRequest, signal.ErrRequest, "the body cannot be read, or is too large")
			return
		}
		err = to.Push(r.Context(), r.PathValue("source"), r.Header, body)
		switch no := (*signal.Refused)(nil); {
		case err == nil:
			w.WriteHeader(http.StatusAccepted)
		case errors.As(err, &no):
			// Anybody can send this, and what counts of it is in the evidence, so many a minute.
			log.Debug("a signal does not count", "source", clip(r.PathValue("source")), "error", no.Why)
			answer(w, http.StatusBadRequest, no.Code, no.Why)
		default:
			log.Error("a signal cannot be taken; it is to be sent again", "source", clip(r.PathValue("source")), "error", access.Reasons(err))
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// clip bounds a path that somebody chose.
func clip(s string) string { return s[:min(len(s), 100)] }

// answer is an error of RFC 8935, section 2.3.
func answer(w http.ResponseWriter, status int, code, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"err": code, "description": why}) // who asks may have gone
}
