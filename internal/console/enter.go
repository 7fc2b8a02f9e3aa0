package console

import (
	"crypto/sha256"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/throttle"
)

// Bounds of links that sign in.
const (
	inviteLife = 5 * time.Minute
	maxInvites = 64
)

// invites are the links that sign somebody in once, under the SHA-256 of their codes.
type invites struct {
	now func() time.Time

	mu   sync.Mutex
	open map[[sha256.Size]byte]invite
}

type invite struct {
	actor admin.Actor
	made  time.Time
}

func (i invite) counts(now time.Time) bool {
	return !now.Before(i.made) && now.Sub(i.made) < inviteLife
}

// put keeps a code for actor. Where too many are open the oldest counts no longer.
func (l *invites) put(code string, actor admin.Actor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	var oldest [sha256.Size]byte
	var since time.Time
	for k, x := range l.open {
		if !x.counts(now) {
			delete(l.open, k)
		} else if since.IsZero() || x.made.Before(since) {
			oldest, since = k, x.made
		}
	}
	if len(l.open) >= maxInvites {
		delete(l.open, oldest)
	}
	l.open[sha256.Sum256([]byte(code))] = invite{actor, now}
}

// take returns whom a code signs in, once.
func (l *invites) take(code string) (admin.Actor, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := sha256.Sum256([]byte(code))
	x, ok := l.open[k]
	delete(l.open, k)
	return x.actor, ok && x.counts(l.now())
}

// Invite returns an address that signs actor in once, from this machine, within five
// minutes. Whoever asks for it MUST have been authenticated as actor. It fails with
// CodeUnsupported where people cannot reach the console from this machine itself.
func (c *Console) Invite(actor admin.Actor) (link string, until time.Time, err error) {
	if c.local == "" || c.work == nil {
		return "", until, access.Errorf(access.CodeUnsupported, "the operators' address is not on this machine's own network: sign in at it with a personal token (rutile user token create)")
	}
	code := random()
	c.invites.put(code, actor)
	return c.local + Home + "enter?code=" + url.QueryEscape(code), c.now().Add(inviteLife), nil
}

// enterPage shows the button that signs in. Following the link does nothing by itself:
// whatever looks at it beforehand would use it up.
func (c *Console) enterPage(w http.ResponseWriter, r *http.Request) {
	c.renderFree(w, r, http.StatusOK, "enter", r.URL.Query().Get("code"))
}

// enter signs in whoever sends a code that counts.
func (c *Console) enter(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "code")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if !loopback(r.RemoteAddr) || c.origin(r) != c.local {
		c.refuse(w, r, access.Errorf(access.CodeDenied, "a link signs in from the gateway's own machine alone: sign in with a personal token"))
		return
	}
	address := throttle.Address(r.RemoteAddr)
	if wait := c.attempts.take(address); wait > 0 {
		c.entries.TurnedAway()
		c.render(w, r, http.StatusTooManyRequests, "notice", notice{Title: c.wordsOf(r).t("Nothing was done"), Text: c.wordsOf(r).t("Too many sign-ins have failed. Wait %s and try again.", wait.Round(time.Second).String())})
		return
	}
	actor, ok := c.invites.take(f["code"])
	if !ok {
		c.failed(r, "link", "", "the link does not count")
		c.refuse(w, r, access.Errorf(access.CodeDenied, "this link does not count any more: it is used, or five minutes are over, or the gateway was started anew. rutile user link prints another"))
		return
	}
	c.attempts.giveBack(address)
	if err := c.begin(w, r, actor, "link"); err != nil {
		c.refuse(w, r, err)
		return
	}
	http.Redirect(w, r, Home, http.StatusSeeOther)
}

// begin opens a session in place of the one there is, once the evidence has it: where
// that fails there is no session.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, actor admin.Actor, by string) error {
	id, from := random(), throttle.Address(r.RemoteAddr)
	if err := c.entries.In(r.Context(), actor, admin.Entry{Session: labelOf(id), Way: by, Address: from}); err != nil {
		return err
	}
	c.sessions.end(c.sessionID(r))
	c.sessions.begin(id, actor, by, from)
	http.SetCookie(w, c.cookie(r, id))
	c.log.Info("signed in", "user", actor.String(), "by", by, "token", actor.Token, "factor", actor.Factor, "address", from)
	return nil
}

// failed says in the log and in the evidence that somebody could not sign in. They get
// nothing either way, so that they are answered where the evidence cannot be kept.
func (c *Console) failed(r *http.Request, by, user, why string) {
	from := throttle.Address(r.RemoteAddr)
	c.log.Warn("a sign-in failed", "by", by, "address", from, "error", why)
	if err := c.entries.Failed(r.Context(), admin.Entry{Way: by, Address: from, User: user, Why: why}); err != nil {
		c.log.Error("a failed sign-in is in no evidence", "error", access.Reasons(err))
	}
}

// left ends a session by the will of whose it is, and says so. It ends also where the
// evidence cannot be kept.
func (c *Console) left(r *http.Request, id string) {
	s, ok := c.sessions.find(id, false)
	c.sessions.end(id)
	if ok {
		c.ended(r, s.actor, admin.Entry{Session: labelOf(id), Way: s.by})
	}
}

// ended records that a session ended by the will of whose it is.
func (c *Console) ended(r *http.Request, actor admin.Actor, e admin.Entry) {
	e.Address = throttle.Address(r.RemoteAddr)
	if err := c.entries.Out(r.Context(), actor, e); err != nil {
		c.log.Error("a sign-out is in no evidence", "user", actor.String(), "error", access.Reasons(err))
	}
}

// loopback reports whether somebody is on this machine. Forwarding headers are not
// read, because anybody can write them.
func loopback(remote string) bool {
	ap, err := netip.ParseAddrPort(remote)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
