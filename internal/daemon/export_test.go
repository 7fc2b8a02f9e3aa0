package daemon

import (
	"context"
	"slices"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/identity"
	"rutile/internal/registry"
)

// AgentsAddr and OperatorsAddr are where the listeners listen, whatever the
// public addresses are.
func (d *Daemon) AgentsAddr() string    { return d.lis.agents.Addr().String() }
func (d *Daemon) OperatorsAddr() string { return d.lis.operators.Addr().String() }

// SweepMinted ends what stands for nothing any more, until ctx is done.
func (d *Daemon) SweepMinted(ctx context.Context) { d.sweepMinted(ctx) }

// Mint is what leases credentials.
func (d *Daemon) Mint() *credential.Mint { return d.mint }

// Compare hands a sealed credential to is as endpoints do, for what somebody shows.
func (d *Daemon) Compare(ctx context.Context, ref, origin string, is func([]byte) bool) error {
	return hookSecrets{d.vault}.Compare(ctx, ref, origin, is)
}

// CredentialUses are the uses of credentials that are not in the database yet.
func (d *Daemon) CredentialUses() map[string]credential.Use { return d.vault.Uses() }

// Enrol names a passkey in a user, as adding one does. It signs nothing.
func (d *Daemon) Enrol(ctx context.Context, tb testing.TB, user string) {
	tb.Helper()
	cur := d.Admin.Current()
	u, ok := cur.View.User(user)
	if !ok {
		tb.Fatalf("there is no user %s", user)
	}
	u.Factors = append(slices.Clone(u.Factors), registry.Factor{ID: access.NewID("fac_"), Kind: registry.FactorPasskey, Name: "key", Created: time.Now(), By: "user:" + user, Key: "k"})
	if _, err := d.store.Commit(ctx, admin.Changes{Base: cur.View.Generation(), Users: map[string]*registry.User{user: &u}}); err != nil {
		tb.Fatal(err)
	}
	if err := d.Admin.Refresh(ctx); err != nil {
		tb.Fatal(err)
	}
}

// Remembered are the sessions that the gate keeps ends of answers of.
func (d *Daemon) Remembered() []string { return d.gate.Remembered() }

// PruneNow forgets what has ended, once.
func (d *Daemon) PruneNow(ctx context.Context) { d.pruneNow(ctx) }

// EndElsewhere revokes a session as another gateway does, of which this one has not heard.
func (d *Daemon) EndElsewhere(ctx context.Context, session string) error {
	_, err := d.store.StateFamilies(ctx, identity.Selection{ID: session}, identity.SessionRevoked, "a test", func(identity.Family) access.Owed { return access.Owed{ID: access.NewID(access.PrefixChange)} })
	return err
}
