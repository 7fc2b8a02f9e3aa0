package oauth

import (
	"errors"
	"net/http"

	"rutile/internal/access"
	"rutile/internal/identity"
	"rutile/internal/throttle"
)

// enrolled is the answer to an enrollment.
type enrolled struct {
	Agent string `json:"agent"`
	Key   string `json:"key"` // RFC 7638 thumbprint
}

// enroll serves the enrollment endpoint. Like the token endpoint it reads the
// body and nothing else, and counts requests by address.
func (s *server) enroll(w http.ResponseWriter, r *http.Request) {
	if s.redeem == nil {
		notFound(w)
		return
	}
	if !allow(w, r, http.MethodPost) {
		return
	}
	from := throttle.Address(r.RemoteAddr)
	if wait := s.addresses.Take(from); wait > 0 {
		s.tooMany(w, wait)
		return
	}
	f, err := readForm(w, r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	if f.get("enrollment") == "" {
		s.refuse(w, invalidRequest("enrollment is missing; use rutile connect --enroll"))
		return
	}
	agent, key, err := s.redeem(r.Context(), f.get("enrollment"))
	if err != nil {
		// What the caller may read has a code of its own; the rest stays here.
		var e *access.Error
		if errors.As(err, &e) && e.Code != access.CodeInternal && e.Code != access.CodeUnavailable && e.Code != access.CodeEvidence {
			err = &identity.Error{Code: identity.InvalidGrant, Description: e.Msg, Err: err}
		}
		s.refused(r.Context(), from, err)
		s.refuse(w, err)
		return
	}
	s.answer(w, http.StatusOK, enrolled{agent, key})
}
