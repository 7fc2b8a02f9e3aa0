package daemon

import (
	"context"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/identity"
	"rutile/internal/registry"
)

// traffic is what runs for agents, in the gate and in the proxy.
type traffic struct{ d *Daemon }

// Catch notes calls in flight; what it returns ends them.
func (t traffic) Catch(of func(r *access.Request, grant string) bool) admin.Ending {
	end := t.d.gate.Catch(of)
	return func(why string, class access.Class) admin.Cut {
		c := end(why, class)
		return admin.Cut{Calls: c.Calls, Wait: c.Wait, Late: c.Late}
	}
}

// Count is how many calls in flight of says there are.
func (t traffic) Count(of func(r *access.Request, grant string) bool) int { return t.d.gate.Count(of) }

// End ends the conversations and processes that servers have for whom whose says alone.
func (t traffic) End(whose func(who *access.Identity) bool) { t.d.Proxy.End(whose) }

// EndServer ends the processes of a server and the conversations with it.
func (t traffic) EndServer(id string) { t.d.Proxy.EndServer(id) }

// Recalling counts the calls that are cut because of the grants they are under.
func (t traffic) Recalling() func(grants []string) int { return t.d.gate.Recalling() }

// Wake ends what may not go on, and has streams look again whether they may.
func (t traffic) Wake() {
	t.d.gate.Withdraw()
	t.d.gate.Recall(context.Background())
	t.d.forget(func(session string) bool {
		state := t.d.sessions.Refused(session)
		return state != "" && state != identity.SessionQuarantined
	})
	t.d.Proxy.Wake()
}

// forget drops what is kept in memory of the answers to sessions that are over.
func (d *Daemon) forget(over func(session string) bool) {
	d.gate.Forget(slices.DeleteFunc(d.gate.Remembered(), func(id string) bool { return !over(id) }))
}

// withdrawEvery bounds how long a call runs on whose agent or server was taken out of
// use or whose grant was revoked, by whomever: a person, a rule, another node, or the end of its time.
const withdrawEvery = 250 * time.Millisecond

// withdraw ends what runs for agents that may do nothing any more, and calls to
// servers that are out of use.
func (d *Daemon) withdraw(ctx context.Context) {
	tick := time.NewTicker(withdrawEvery)
	defer tick.Stop()
	var seen *admin.Current
	var until time.Time // the next agent expires
	lost := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.gate.Withdraw()
		d.gate.Recall(ctx)
		cur, now := d.Admin.Current(), time.Now()
		if cur == seen && (until.IsZero() || now.Before(until)) {
			continue
		}
		seen = cur
		was := lost
		lost, until = unusable(cur.View, now)
		for id := range lost {
			if !was[id] { // what its sessions hold goes once
				d.Proxy.End(func(who *access.Identity) bool { return lost[who.Actor.Agent] })
				break
			}
		}
	}
}

// unusable are the registered agents that may do nothing, and when the next will be
// one of them if nobody does anything.
func unusable(v *registry.View, now time.Time) (lost map[string]bool, until time.Time) {
	lost = map[string]bool{}
	for _, a := range v.Agents() {
		switch {
		case registry.Usable(a, now) != nil:
			lost[a.ID] = true
		case !a.Expires.IsZero() && (until.IsZero() || a.Expires.Before(until)):
			until = a.Expires
		}
	}
	return lost, until
}
