package probe

import (
	"context"
	"net/netip"
)

// Permutation returns the order of a seed.
func Permutation(seed, n uint64) []uint64 {
	o := newOrder(seed, n)
	out := make([]uint64, n)
	for i := range out {
		out[i] = o.at(uint64(i))
	}
	return out
}

// Pace is the pace of a run.
type Pace = pace

// NewPace makes one; more than the limits is not to be had.
func NewPace(rate, hostRate float64) *Pace { return newPace(rate, hostRate) }

// Take waits for a turn.
func (p *pace) Take(ctx context.Context, a netip.Addr) (func(), error) { return p.take(ctx, a) }

// Dial connects as a probe of an address would that the plan let pass.
func Dial(ctx context.Context, cfg Config, addr netip.AddrPort) error {
	g, err := newGuard(cfg)
	if err != nil {
		return err
	}
	c := newClient(&runner{cfg: cfg, guard: g, pace: newPace(0, 0)}, place{addr: addr}, "http")
	conn, err := c.dial(ctx, "tcp", "")
	if err != nil {
		return err
	}
	return conn.Close()
}

// ErrRefused is what dialling a forbidden address ends with.
var ErrRefused = errRefused
