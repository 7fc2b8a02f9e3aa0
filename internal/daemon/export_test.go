package daemon

import (
	"context"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/identity"
)

// AgentsAddr and OperatorsAddr are where the listeners listen, whatever the
// public addresses are.
func (d *Daemon) AgentsAddr() string    { return d.lis.agents.Addr().String() }
func (d *Daemon) OperatorsAddr() string { return d.lis.operators.Addr().String() }

// SweepMinted ends what stands for nothing any more, until ctx is done.
func (d *Daemon) SweepMinted(ctx context.Context) { d.sweepMinted(ctx) }

// Mint is what leases credentials.
func (d *Daemon) Mint() *credential.Mint { return d.mint }

// Remembered are the sessions that the gate keeps ends of answers of.
func (d *Daemon) Remembered() []string { return d.gate.Remembered() }

// PruneNow forgets what has ended, once.
func (d *Daemon) PruneNow(ctx context.Context) { d.pruneNow(ctx) }

// EndElsewhere revokes a session as another gateway does, of which this one has not heard.
func (d *Daemon) EndElsewhere(ctx context.Context, session string) error {
	_, err := d.store.StateFamilies(ctx, identity.Selection{ID: session}, identity.SessionRevoked, "a test", func(identity.Family) access.Owed { return access.Owed{ID: access.NewID(access.PrefixChange)} })
	return err
}
