package daemon

import (
	"context"

	"rutile/internal/credential"
)

// AgentsAddr and OperatorsAddr are where the listeners listen, whatever the
// public addresses are.
func (d *Daemon) AgentsAddr() string    { return d.lis.agents.Addr().String() }
func (d *Daemon) OperatorsAddr() string { return d.lis.operators.Addr().String() }

// SweepMinted ends what stands for nothing any more, until ctx is done.
func (d *Daemon) SweepMinted(ctx context.Context) { d.sweepMinted(ctx) }

// Mint is what leases credentials.
func (d *Daemon) Mint() *credential.Mint { return d.mint }
