package daemon

import "context"

// AgentsAddr and OperatorsAddr are where the listeners listen, whatever the
// public addresses are.
func (d *Daemon) AgentsAddr() string    { return d.lis.agents.Addr().String() }
func (d *Daemon) OperatorsAddr() string { return d.lis.operators.Addr().String() }

// SweepMinted ends what stands for nothing any more, until ctx is done.
func (d *Daemon) SweepMinted(ctx context.Context) { d.sweepMinted(ctx) }
