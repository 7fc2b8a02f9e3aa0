package mcpproxy

import (
	"sync"

	"rutile/internal/access"
)

// flow counts what runs for principals: the HTTP requests being served, whatever
// they ask, each of which may hold a body, an answer and an upstream; and the
// sessions being opened. The zero value is ready.
type flow struct {
	mu  sync.Mutex
	of  map[access.Principal]int
	all int
}

// begin counts one more, unless the principal or all have too many; end MUST
// follow if it did.
func (f *flow) begin(who access.Principal, each, all int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of[who] >= each || f.all >= all {
		return false
	}
	if f.of == nil {
		f.of = map[access.Principal]int{}
	}
	f.of[who]++
	f.all++
	return true
}

func (f *flow) end(who access.Principal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.of[who]--; f.of[who] <= 0 {
		delete(f.of, who)
	}
}
