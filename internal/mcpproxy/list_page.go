package mcpproxy

import (
	"bytes"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/pdp"
)

// page is the entries of one page of a list, as a server gave them.
type page struct{ raw []byte }

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

// pages keeps, for as long as nothing changes, which entries of a page a reader
// is shown: servers are asked for their lists anew each time, and give the same.
type pages struct {
	mu    sync.Mutex
	state *pdp.State
	last  map[pageKey]*page
	read  map[reader]excerpt
	size  int // bytes, more or less
}

const (
	pagesBytes  = 32 << 20 // bytes kept in all
	excerptCost = 512      // of one excerpt besides its entries
)

// find returns the excerpt of a page for whoever reads it. The page is the one
// kept if raw is the same bytes; it is nil if the state has moved on.
func (s *pages) find(state *pdp.State, key pageKey, raw []byte, r *access.Request) (*page, []bool) {
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
	if p == nil || !bytes.Equal(p.raw, raw) {
		return nil, nil
	}
	if got.shown == nil || r.At.Sub(got.at) >= sightTime {
		return p, nil
	}
	return p, got.shown
}

// keep remembers an excerpt that was made under state; p is nil if the page is
// not the one kept.
func (s *pages) keep(state *pdp.State, key pageKey, raw []byte, p *page, r *access.Request, shown []bool) {
	cost := len(shown) + excerptCost
	if p == nil {
		cost += len(raw)
	}
	if cost > pagesBytes/4 {
		return
	}
	if p == nil {
		p = &page{bytes.Clone(raw)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != state {
		return
	}
	if s.size += cost; s.size > pagesBytes {
		s.last, s.read, s.size = map[pageKey]*page{}, map[reader]excerpt{}, len(p.raw)+len(shown)+excerptCost
	}
	s.last[key] = p
	s.read[reader{viewing(r), p}] = excerpt{r.At, shown}
}

// viewing is what of an identity visibility may depend on: everything a token
// says but its own id and end.
func viewing(r *access.Request) access.Identity {
	who := r.Who
	who.TokenID, who.Expires = "", time.Time{}
	return who
}
