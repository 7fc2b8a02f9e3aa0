package mcpproxy

import (
	"bytes"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/pdp"
)

// page is one page of a list, as a server gave it last. It is not changed.
type page struct {
	rep *reply
	raw []byte // its entries
}

// pageKey is where a page stands.
type pageKey struct{ server, list, cursor string }

// reader is everything that which entries of a page are shown may depend on
// besides the state.
type reader struct {
	who  access.Identity
	page *page
}

// excerpt says which entries of a page a reader is shown, and when that was
// found out: conditions on the time make it old.
type excerpt struct {
	at    time.Time
	shown []bool
}

// pages keeps, for as long as nothing changes, the pages of lists and which of
// their entries a reader is shown: servers are asked anew each time, and answer
// the same.
type pages struct {
	mu    sync.Mutex
	state *pdp.State
	last  map[pageKey]*page
	read  map[reader]excerpt
	size  int // bytes, more or less
}

const (
	pagesBytes  = 32 << 20 // kept in all
	excerptCost = 512      // of one excerpt besides its entries
	maxCursor   = 256      // bytes of the cursor of a page that is kept; clients choose it
)

// reply returns the page's reply, nil if none is kept.
func (s *pages) reply(key pageKey) *reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.last[key]; p != nil {
		return p.rep
	}
	return nil
}

// find returns the page that is kept, if rep has the same entries, and what the
// request's reader is shown of it, if that is known and not old.
func (s *pages) find(state *pdp.State, key pageKey, rep *reply, r *access.Request) (*page, []bool) {
	s.mu.Lock()
	if s.state != state {
		s.state, s.last, s.read, s.size = state, map[pageKey]*page{}, map[reader]excerpt{}, 0
	}
	p := s.last[key]
	var got excerpt
	if p != nil {
		got = s.read[reader{viewing(r), p}]
	}
	s.mu.Unlock()
	if p == nil || p.rep != rep && !bytes.Equal(p.raw, rep.result.Get(key.list).Raw()) {
		return nil, nil
	}
	if got.shown == nil || r.At.Sub(got.at) >= sightTime {
		return p, nil
	}
	return p, got.shown
}

// keep remembers an excerpt that was made under state; p is the page find
// returned. Without one rep becomes it, and is lent no longer.
func (s *pages) keep(state *pdp.State, key pageKey, rep *reply, p *page, r *access.Request, shown []bool) {
	if len(key.cursor) > maxCursor {
		return
	}
	cost := len(shown) + excerptCost
	if p == nil {
		p = &page{rep, rep.result.Get(key.list).Raw()}
		if cost += p.size(); cost > pagesBytes/4 {
			return
		}
		if rep.lent { // else it was kept before, and others read it
			rep.lent = false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != state {
		return
	}
	who := reader{viewing(r), p}
	if old, ok := s.read[who]; ok {
		s.size -= len(old.shown) + excerptCost
	}
	if s.size += cost; s.size > pagesBytes {
		s.last, s.read, s.size = map[pageKey]*page{}, map[reader]excerpt{}, p.size()+len(shown)+excerptCost
	}
	s.last[key], s.read[who] = p, excerpt{r.At, shown}
}

// forget lets go of what is kept.
func (s *pages) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.last, s.read, s.size = nil, nil, nil, 0
}

func (p *page) size() int { return cap(p.rep.body) + p.rep.doc.Size() + excerptCost }

// viewing is what of an identity visibility may depend on: everything a token
// says but its own id and end.
func viewing(r *access.Request) access.Identity {
	who := r.Who
	who.TokenID, who.Expires = "", time.Time{}
	return who
}
