package gate

import (
	"sync"

	"rutile/internal/access"
	"rutile/internal/inspect"
)

// pages knows what the last answer of a tool to a session ended in: the next one may be
// the page after it, and is read together with that end. It holds text, in memory only,
// and forgets what was not asked for among the last answers.
type pages struct {
	mu         sync.Mutex
	young, old map[string]inspect.End
}

// maxPages is how many ends are kept at least; twice as many at most, of 3 KiB.
const maxPages = 512

// pageOf is what further pages have in common with r, "" where nobody can tell.
func pageOf(r *access.Request) string {
	if r.Who.Session == "" {
		return ""
	}
	target := r.Target
	if r.Kind == access.KindResource { // the page is in its URI
		target = ""
	}
	return r.Who.Session + "\x00" + r.Server + "\x00" + string(r.Kind) + "\x00" + target
}

func (p *pages) end(page string) (inspect.End, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if end, ok := p.young[page]; ok {
		return end, true
	}
	end, ok := p.old[page]
	return end, ok
}

func (p *pages) keep(page string, end inspect.End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.young) >= maxPages {
		p.young, p.old = nil, p.young
	}
	if p.young == nil {
		p.young = map[string]inspect.End{}
	}
	p.young[page] = end
}
