package gate

import (
	"maps"
	"slices"
	"sync"

	"rutile/internal/access"
	"rutile/internal/inspect"
)

// pages knows what the last answer of a tool to a session ended in: the next one may be
// the page after it, and is read together with that end. It holds text, in memory only,
// and forgets what was not asked for among the last answers, and what sessions were shown
// that are over.
type pages struct {
	mu         sync.Mutex
	young, old map[page]inspect.End
}

// page is what further pages have in common; without a session it is none.
type page struct {
	session, server string
	kind            access.Kind
	target          string
}

// maxPages is how many ends are kept at least; twice as many at most, of 3 KiB.
const maxPages = 512

// pageOf is what further pages have in common with r.
func pageOf(r *access.Request) page {
	target := r.Target
	if r.Kind == access.KindResource { // the page is in its URI
		target = ""
	}
	return page{r.Who.Session, r.Server, r.Kind, target}
}

// Remembered returns the sessions that are remembered by what ended their answers.
func (g *Gate) Remembered() []string {
	p := &g.pages
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, ends := range []map[page]inspect.End{p.young, p.old} {
		for at := range ends {
			out = append(out, at.session)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Forget drops what ended the answers to sessions, which are over.
func (g *Gate) Forget(sessions []string) {
	p := &g.pages
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ends := range []map[page]inspect.End{p.young, p.old} {
		maps.DeleteFunc(ends, func(at page, _ inspect.End) bool { return slices.Contains(sessions, at.session) })
	}
}

func (p *pages) end(at page) (inspect.End, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if end, ok := p.young[at]; ok {
		return end, true
	}
	end, ok := p.old[at]
	return end, ok
}

func (p *pages) keep(at page, end inspect.End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.young) >= maxPages {
		p.young, p.old = nil, p.young
	}
	if p.young == nil {
		p.young = map[page]inspect.End{}
	}
	p.young[at] = end
}
