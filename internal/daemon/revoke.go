package daemon

import (
	"context"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/revocation"
)

// beatEvery is how often a node that shares a database says that it is there, and reads
// what the others revoked where nobody tells it (access.md 5.2).
const beatEvery = 500 * time.Millisecond

// askEvery is how often who revoked something looks who has carried it out.
const askEvery = 10 * time.Millisecond

// peers are the gateways that share the database; on SQLite there are none.
type peers struct{ d *Daemon }

// Await returns once every other node that is there has carried a revocation out, or
// has not been heard of for as long as its view lasts.
func (p peers) Await(ctx context.Context, id string, began time.Time) []admin.Node {
	took := func() int64 { return time.Since(began).Microseconds() }
	out := []admin.Node{{Node: p.d.node(), US: took()}}
	if p.d.states.lease == 0 {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, p.d.states.lease+awaitMore)
	defer cancel()
	waiting := map[string]bool{}
	known := false // who is there
	for {
		nodes, err := p.d.store.Nodes(ctx)
		acks, aerr := p.d.store.Acks(ctx, id)
		if err == nil && aerr == nil {
			for _, n := range nodes {
				if !known && n.ID != p.d.node() && n.Age <= forget {
					waiting[n.ID] = true
				}
				switch {
				case !waiting[n.ID]:
				case slices.Contains(acks, n.ID):
					out = append(out, admin.Node{Node: n.ID, US: took()})
					delete(waiting, n.ID)
				case n.Age > p.d.states.lease:
					out = append(out, admin.Node{Node: n.ID, US: took(), Lapsed: true})
					delete(waiting, n.ID)
				}
			}
			known = true
			for id := range waiting { // it stopped, and said so
				if !slices.ContainsFunc(nodes, func(n revocation.Node) bool { return n.ID == id }) {
					delete(waiting, id)
				}
			}
			if len(waiting) == 0 {
				return out
			}
		}
		select {
		case <-ctx.Done():
			return out
		case <-time.After(askEvery):
		}
	}
}

// awaitMore is for how much longer than a lease a node is waited for, so that a database
// that does not answer holds nobody up for ever.
const awaitMore = 5 * time.Second

// forget is how long a node that is silent is named in receipts.
const forget = time.Hour

// Gone reports whether a node has not been heard of for longer than its view lasts.
func (p peers) Gone(ctx context.Context, node string) bool {
	if p.d.states.lease == 0 {
		return true
	}
	nodes, err := p.d.store.Nodes(ctx)
	if err != nil {
		return false
	}
	for _, n := range nodes {
		if n.ID == node {
			return n.Age > p.d.states.lease
		}
	}
	return true
}

// people are who is signed in to the console.
type people struct{ d *Daemon }

// SignOut ends what an actor is signed in with.
func (p people) SignOut(actor string) int {
	if p.d.pages == nil {
		return 0
	}
	return p.d.pages.SignOut(actor)
}

// follow carries out what other nodes revoked: it cuts what runs here and says so. What
// refuses it has been read.
func (d *Daemon) follow(ctx context.Context, done []revocation.Entry) {
	for _, e := range done {
		if err := d.Effects.Follow(ctx, e); err != nil {
			d.log.Error("what another gateway revoked cannot be cut here; nothing of it is permitted", "revocation", e.ID, "error", access.Reasons(err))
		}
		if err := d.store.Ack(ctx, e.ID, d.node()); err != nil && ctx.Err() == nil {
			d.log.Error("it cannot be said that a revocation was carried out here", "revocation", e.ID, "error", access.Reasons(err))
		}
	}
}

// resume goes on with revocations that were not carried out to the end, and amends
// receipts.
func (d *Daemon) resume(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.Effects.Resume(ctx)
		if err == nil {
			err = d.Effects.Amend(ctx)
		}
		if said := err != nil; said != failing && ctx.Err() == nil {
			failing = said
			if said {
				d.log.Error("revocations cannot be looked after; it is tried again", "error", access.Reasons(err))
			}
		}
	}
}
