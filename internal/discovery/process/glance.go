package process

import (
	"context"
	"maps"
	"slices"
)

// Glance notices that a look is worth its cost. It reads which processes there
// are, the command lines of those that are new, and where is listened: about a
// thousandth of what a look does.
type Glance struct {
	scanner Scanner
	seen    map[int]bool // processes, and whether a look would tell something of them
	young   map[int]bool // that were new at the last glance: they may start another program yet
	sockets []Socket
	rounds  int
}

// socketRounds is how many glances there are for one at the sockets: their table
// takes the kernel ten times as long as the list of processes, and what starts to
// listen is a new process mostly.
const socketRounds = 3

// NewGlance returns a Glance that finds everything new.
func NewGlance(s Scanner) *Glance { return &Glance{scanner: s} }

// Changed reports whether, since it was asked before, a process came that may be
// a server or a client, one of those went, or what listens changed.
func (g *Glance) Changed(ctx context.Context) (bool, error) {
	pids, err := g.scanner.pids(ctx)
	if err != nil {
		return false, err
	}
	changed := g.seen == nil
	now, young := make(map[int]bool, len(pids)), map[int]bool{}
	for _, pid := range pids {
		telling, known := g.seen[pid]
		if !known || g.young[pid] {
			was := telling
			telling = worth(&Proc{PID: pid, Args: g.scanner.args(ctx, pid)})
			changed = changed || telling != was
			if !known {
				young[pid] = true
			}
		}
		now[pid] = telling
	}
	for _, pid := range slices.Collect(maps.Keys(g.seen)) {
		if _, there := now[pid]; !there && g.seen[pid] {
			changed = true
		}
	}
	if g.rounds%socketRounds == 0 {
		sockets := g.scanner.sockets()
		changed = changed || !slices.Equal(sockets, g.sockets)
		g.sockets = sockets
	}
	g.rounds++
	g.seen, g.young = now, young
	return changed, nil
}

// worth reports whether a process may be a server, or the client of one.
func worth(p *Proc) bool {
	w := p.words()
	if len(w) == 0 {
		return false
	}
	return clientOf(p) != "" || sayMCP(w) && !shell(w) || runs(p) && !denied(w)
}
