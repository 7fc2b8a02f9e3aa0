package console

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/signin"
	"rutile/internal/throttle"
)

// logoutPath is where the identity provider says that somebody signed out there (OpenID
// Connect Back-Channel Logout 1.0). No browser comes here, so no page leads to it.
const logoutPath = Home + "sign-in/logout"

// backChannel takes a logout token. It answers as section 2.8 says.
func (c *Console) backChannel(w http.ResponseWriter, r *http.Request) {
	from := throttle.Address(r.RemoteAddr)
	if wait := c.attempts.take(from); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	f, err := readForm(r, "logout_token")
	var l signin.Logout
	if err == nil {
		l, err = c.provider.Logout(r.Context(), f["logout_token"])
	}
	if err == nil {
		err = c.signIns.EndedElsewhere(r.Context(), l)
	}
	switch code := access.CodeOf(err); {
	case err == nil:
		c.attempts.giveBack(from)
		w.WriteHeader(http.StatusOK)
		return
	case errors.Is(err, signin.ErrRefused), code == access.CodeInvalid, code == access.CodeConflict:
		c.log.Warn("a logout of the identity provider does not count", "address", from, "error", access.Reasons(err))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_request"}`)) // who asks may have gone
	default: // it is said again, and must count then
		c.attempts.giveBack(from)
		c.log.Error("a logout of the identity provider cannot be carried out; it is to say it again", "error", access.Reasons(err))
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}
