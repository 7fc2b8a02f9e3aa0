package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
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

// begin opens a session and returns its id, a secret.
func (s *sessions) begin(actor admin.Actor) string {
	id, now := random(), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(func(x session) bool { return x.actor.ID == actor.ID }, maxOfOneUser, now)
	s.forget(func(session) bool { return true }, maxSessions, now)
	s.open[sha256.Sum256([]byte(id))] = session{actor: actor, form: random(), began: now, seen: now}
	return id
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

// endOf ends every session of an actor and says how many there were.
func (s *sessions) endOf(actor string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for id, x := range s.open {
		if x.actor.String() == actor {
			delete(s.open, id)
			n++
		}
	}
	return n
}

// SignOut ends what an actor ("user:…") is signed in with here, and says how much that
// was.
func (c *Console) SignOut(actor string) int { return c.sessions.endOf(actor) }
