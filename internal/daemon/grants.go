package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/grant"
)

// sweepEvery is how often what time has ended is said to have ended. Decisions
// do not wait for it: they look at the times themselves.
const sweepEvery = 2 * time.Second

// sweep ends requests, grants and tasks whose time is over, and suspends grants
// whose definition changed.
func (d *Daemon) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.broker.Sweep(ctx, d.Desk.Standing())
		if err != nil && !failing && ctx.Err() == nil && access.CodeOf(err) != access.CodeConflict {
			d.log.Error("ended requests and grants cannot be recorded as ended", "error", access.Reasons(err))
		}
		failing = err != nil
		d.settleDebts(ctx)
	}
}

// erase carries out the erasures that other nodes ordered.
func (d *Daemon) erase(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.Evidence.ResumeErasures(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			d.log.Error("an erasure that was ordered is not carried out here yet; it is tried again", "error", access.Reasons(err))
		}
		failing = err != nil
	}
}

// under notes that a call under a grant is given a minted credential.
func (d *Daemon) under(ctx context.Context, t credential.Trace) error {
	if !strings.HasPrefix(t.Grant, access.PrefixGrant) {
		return nil // a standing right
	}
	return d.broker.Mint(ctx, grant.Minted{Grant: t.Grant, Credential: t.Credential, Kind: t.Kind, Version: t.Version, Server: t.Server, Expires: t.Expires}, t.How)
}

// end has the issuer of what was minted under a grant end it.
func (d *Daemon) end(ctx context.Context, m grant.Minted, how []byte) string {
	return d.mint.Finish(ctx, credential.Trace{Grant: m.Grant, Credential: m.Credential, Kind: m.Kind, Version: m.Version, Server: m.Server, Expires: m.Expires, How: how})
}

// finish goes on with the revocation of grants under which credentials were minted.
func (d *Daemon) finish(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.broker.Finish(ctx, d.end)
		if said := err != nil; said != failing && ctx.Err() == nil {
			failing = said
			if said {
				d.log.Error("credentials of revoked grants cannot be looked after; it is tried again", "error", access.Reasons(err))
			}
		}
	}
}

// settleDebts writes the leaves of changes that could not be recorded when they were
// made, or whose process ended first.
func (d *Daemon) settleDebts(ctx context.Context) {
	err := d.debts.Settle(ctx, "")
	if said := err != nil; said != d.owing && ctx.Err() == nil {
		d.owing = said
		if said {
			d.log.Error("changes that were made are not in the evidence yet; they are written as soon as they can be", "error", access.Reasons(err))
		}
	}
}

// grantRecorder keeps what happens to requests, grants and tasks as evidence.
type grantRecorder struct {
	log   *audit.Log
	debts *audit.Debts
}

// Settle returns once what a change owes is durable.
func (r grantRecorder) Settle(ctx context.Context, owed []access.Owed) error {
	if len(owed) == 0 {
		return nil
	}
	return r.debts.Settle(ctx, owed[0].ID)
}

// Record returns once the events are durable.
func (r grantRecorder) Record(ctx context.Context, events []grant.Event) error {
	id := access.NewID(access.PrefixChange)
	for _, e := range events {
		detail, err := json.Marshal(e.Detail)
		if err != nil {
			return fmt.Errorf("recording a grant: %w", err)
		}
		_, err = r.log.Admin(ctx, audit.Admin{ID: id, Actor: e.Actor, Verb: e.Verb, Kind: e.Kind, Object: e.Object, Before: e.Before, After: e.After, Reason: e.Reason, Detail: detail, Signed: e.Signed})
		if err != nil {
			return &access.Error{Code: access.CodeEvidence, Msg: "evidence cannot be kept, so nothing was changed; see the gateway's log", Err: fmt.Errorf("recording a grant: %w", err)}
		}
	}
	return nil
}
