package risk

import (
	"math"
	"time"
)

const (
	// settled is how many calls must be learned before something is new.
	settled = 20
	// lately is the while in which new things are counted together.
	lately = 15 * time.Minute
)

// novelty looks for tools and servers the agent never used.
func (a *agent) novelty(c *call, known bool, ev *evidence) {
	if a.Learned < settled || a.Tools[c.tool] != nil || len(a.Tools) >= maxTools {
		return
	}
	single := uint32(0)
	for _, t := range a.Tools {
		if t.N == 1 {
			single++
		}
	}
	bits := surprise(single, a.Learned)
	x, sig := 0.15*(bits-2), uint8(sigNewTool)
	if a.Servers[c.server] == 0 {
		x, sig = 1.5*x, sigNewServer
	}
	if known { // others use it: the prior of what agents do here
		x *= 0.6
	}
	if c.sends {
		x *= 1.3
	}
	n := a.news.see(c.tool, c.at, lately)
	x *= 1 + 0.3*float64(n-1)
	ev.add(famTool, x, why{sig, float32(bits), 2, 0, a.Learned})
}

// destinations looks for recipients the agent never sent to, and for many at a time.
func (a *agent) destinations(c *call, ev *evidence) {
	if !c.sends || c.nDests == 0 {
		return
	}
	fresh, n := 0, 0
	for _, d := range c.dests[:c.nDests] {
		n = a.spread.see(d, c.at, lately)
		if a.Dests.find(d) < 0 {
			fresh++
		}
	}
	if a.Dests.N < settled || fresh == 0 {
		return
	}
	bits := surprise(a.Dests.Single, a.Dests.N)
	if x := 0.35 * (bits - 2.5); x > 0 {
		ev.add(famDestination, x*(1+0.2*float64(fresh-1)), why{sigNewDestination, float32(bits), 2.5, 0, a.Dests.N})
	}
	if x := 0.2 * float64(n-6); bits > 2 && x > 0 {
		ev.add(famDestination, x, why{sigSpread, float32(n), 6, lately, a.Dests.N})
	}
}

// run is a whole number that goes up one by one.
type run struct {
	value  int64
	length int
	at     time.Duration
}

const (
	// maxRuns bounds the numbers that are followed.
	maxRuns = 32
	// longRow is how many numbers in a row say nothing.
	longRow = 12
)

// arguments looks for arguments that are built otherwise than those of the tool so far,
// and for what enumerates, pages or carries encoded data.
func (a *agent) arguments(c *call, ev *evidence) {
	t := a.Tools[c.tool]
	usual := t != nil && t.Lists >= usualLists
	if t != nil && t.N >= settled && c.size > 0 && a.Shapes.count(mix(c.tool, c.shape)) == 0 {
		bits := surprise(uint32(t.Single), t.N)
		if x := 0.25 * (bits - 4); x > 0 {
			ev.add(famArguments, x, why{sigShape, float32(bits), 4, 0, t.N})
		}
	}
	if c.blob > 0 && c.sends {
		ev.add(famArguments, min(0.6+0.1*math.Log2(float64(c.blob)/120), 1.5), why{Signal: sigBlob, Observed: float32(c.blob)})
	}
	for _, n := range c.numbers[:c.nNums] {
		length := a.follow(n, c.at)
		c.row = max(c.row, length)
		switch x := 0.1 * float64(length-longRow); {
		case x <= 0 || usual:
		case n.page:
			ev.add(famArguments, 0.5*x, why{sigPaging, float32(length), longRow, 0, a.Learned})
		default:
			ev.add(famArguments, x, why{sigEnumeration, float32(length), longRow, 0, a.Learned})
		}
	}
}

// follow returns how many times in a row a number has gone up by the same small step.
func (a *agent) follow(n number, at time.Duration) int {
	r := a.runsNow[n.key]
	if r == nil {
		if len(a.runsNow) >= maxRuns {
			var old uint64
			least := time.Duration(math.MaxInt64)
			for k, x := range a.runsNow {
				if x.at < least {
					old, least = k, x.at
				}
			}
			delete(a.runsNow, old)
		}
		a.runsNow[n.key] = &run{value: n.value, length: 1, at: at}
		return 1
	}
	step := n.value - r.value
	most := int64(1)
	if n.page {
		most = 1000
	}
	switch {
	case step > 0 && step <= most && at-r.at <= lately:
		r.length++
	case step != 0:
		r.length = 1
	}
	r.value, r.at = n.value, at
	return r.length
}

// identity looks for who the agent says that it is, against who it usually is: many
// agents are never attested, and many start an instance for every job.
func (a *agent) identity(c *call, ev *evidence) {
	if a.Learned < settled {
		return
	}
	if !c.attested && a.Proven >= settled && 2*a.Proven > a.Learned {
		ev.add(famIdentity, 0.7, why{Signal: sigUnattested, Observed: 1, Sample: a.Learned})
	}
	if c.version != 0 && a.Versions[0] != 0 && !among(a.Versions[:], c.version) {
		ev.add(famIdentity, 0.8, why{Signal: sigVersion, Observed: 1, Sample: a.Learned})
	}
	if c.instance != 0 && !among(a.Known[:], c.instance) {
		n, usual := a.runs.see(c.instance, c.at, time.Hour), max(3, 2*a.Born.Mean)
		if x := 0.4 * (float64(n) - usual); x > 0 && !a.young() {
			ev.add(famIdentity, x, why{sigInstances, float32(n), float32(usual), time.Hour, a.Learned})
		}
	}
	if c.drift {
		ev.add(famRegistry, 0.8, why{Signal: sigDrift, Observed: 1})
	}
}
