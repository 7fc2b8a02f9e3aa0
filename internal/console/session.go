package console

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/admin"
)

// Bounds of sessions.
const (
	sessionIdle  = 15 * time.Minute
	sessionLife  = time.Hour
	maxSessions  = 1024
	maxOfOneUser = 8 // whoever opens more loses the one unused for longest
)

// session is one person who signed in. It gives no right by itself: whether its
// actor may do something is decided at every request.
type session struct {
	actor admin.Actor
	by    string // how they signed in, in a word
	from  string // the address they came from
	form  string // every form carries it
	began time.Time
	seen  time.Time
	said  *message // what the next page says of what was done
}

// message is what came of a form.
type message struct {
	Text    string
	Problem bool // it did not succeed
	Undone  bool // and nothing was done
}

// holds reports whether what a form carries is this session's.
func (s session) holds(form string) bool {
	return form != "" && subtle.ConstantTimeCompare([]byte(form), []byte(s.form)) == 1
}

// sessions are kept in memory, under the SHA-256 of their ids: whoever reads the
// memory cannot sign in with it, and a new start ends them all.
type sessions struct {
	now func() time.Time

	mu   sync.Mutex
	open map[[sha256.Size]byte]session
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, open: map[[sha256.Size]byte]session{}}
}

// random returns 256 random bits as text.
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// begin opens a session under an id, a secret.
func (s *sessions) begin(id string, actor admin.Actor, by, from string) {
	now := s.now()
	actor.Since = now
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(func(x session) bool { return x.actor.ID == actor.ID }, maxOfOneUser, now)
	s.forget(func(session) bool { return true }, maxSessions, now)
	s.open[sha256.Sum256([]byte(id))] = session{actor: actor, by: by, from: from, form: random(), began: now, seen: now}
}

// forget removes sessions that are over and, where that leaves limit of those
// that count, the one of them unused for longest.
func (s *sessions) forget(counts func(session) bool, limit int, now time.Time) {
	var oldest [sha256.Size]byte
	var since time.Time
	n := 0
	for id, x := range s.open {
		switch {
		case over(x, now):
			delete(s.open, id)
		case !counts(x):
		default:
			if n == 0 || x.seen.Before(since) {
				oldest, since = id, x.seen
			}
			n++
		}
	}
	if n >= limit {
		delete(s.open, oldest)
	}
}

// over reports whether a session has ended by itself. A clock that was set back
// ends it too.
func over(x session, now time.Time) bool {
	return now.Before(x.began) || now.Sub(x.began) >= sessionLife || now.Sub(x.seen) >= sessionIdle
}

// find returns a session that is open, and where somebody uses it notes that.
func (s *sessions) find(id string, used bool) (session, bool) {
	key, now := sha256.Sum256([]byte(id)), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.open[key]
	if !ok {
		return session{}, false
	}
	if over(x, now) {
		delete(s.open, key)
		return session{}, false
	}
	if used {
		x.seen = now
		s.open[key] = x
	}
	return x, true
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(id)))
}

// listed is a session as its person sees it. Label tells it from their others and is
// no secret: nobody comes in with it.
type listed struct {
	Label, By, From string
	Began, Seen     time.Time
	Here            bool
}

// labelOf is the label of the session with an id.
func labelOf(id string) string { return label(sha256.Sum256([]byte(id))) }

// label is what a session is called where it is shown.
func label(key [sha256.Size]byte) string { return hex.EncodeToString(key[:6]) }

// of lists the open sessions of an actor, the newest first; here is the id of the one
// that asks.
func (s *sessions) of(actor admin.Actor, here string) []listed {
	own, now := sha256.Sum256([]byte(here)), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []listed
	for key, x := range s.open {
		if x.actor.Kind == actor.Kind && x.actor.ID == actor.ID && !over(x, now) {
			out = append(out, listed{Label: label(key), By: x.by, From: x.from, Began: x.began, Seen: x.seen, Here: key == own})
		}
	}
	slices.SortFunc(out, func(a, b listed) int { return cmp.Or(b.Began.Compare(a.Began), cmp.Compare(a.Label, b.Label)) })
	return out
}

// endOf ends the sessions of an actor, or the one with a label, and returns how many
// those were.
func (s *sessions) endOf(actor admin.Actor, one string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for key, x := range s.open {
		if x.actor.Kind == actor.Kind && x.actor.ID == actor.ID && (one == "" || one == label(key)) {
			delete(s.open, key)
			n++
		}
	}
	return n
}

// proven notes that who has a session proved to have a factor besides.
func (s *sessions) proven(id, factor string) {
	key := sha256.Sum256([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	if x, ok := s.open[key]; ok {
		x.actor.Factor = factor
		s.open[key] = x
	}
}

// say keeps what the next page of a session says.
func (s *sessions) say(id string, m message) {
	key := sha256.Sum256([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	if x, ok := s.open[key]; ok {
		x.said = &m
		s.open[key] = x
	}
}

// hear returns what there is to say, once; nil if nothing.
func (s *sessions) hear(id string) *message {
	key := sha256.Sum256([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.open[key]
	if !ok || x.said == nil {
		return nil
	}
	m := x.said
	x.said = nil
	s.open[key] = x
	return m
}

// SignOut ends what an actor ("user:…") is signed in with here, and says how much that
// was.
func (c *Console) SignOut(actor string) int {
	kind, id, _ := strings.Cut(actor, ":")
	return c.sessions.endOf(admin.Actor{Kind: kind, ID: id}, "")
}
