package admin

import (
	"context"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// Released says what was let go with a machine that reports no more.
type Released struct {
	Device    string `json:"device"`
	Sightings int    `json:"sightings"`
	Findings  int    `json:"findings"` // that nothing else holds
}

// release lets go of all that a host was seen with and holds: nobody looks there
// any more. A host that another device reports is left alone.
func (v *Inventory) release(ctx context.Context, actor Actor, host, device, why string) error {
	for range attempts {
		keys, err := v.tryRelease(ctx, actor, host, device, why)
		if access.CodeOf(err) == access.CodeConflict {
			continue
		}
		if err != nil {
			return err
		}
		return v.Reconcile(ctx, keys)
	}
	return access.Errorf(access.CodeConflict, "the device is revoked, and other reports kept coming before what it saw was let go: revoke it again by its id")
}

func (v *Inventory) tryRelease(ctx context.Context, actor Actor, host, device, why string) ([]string, error) {
	kept, err := v.store.Inventory(ctx, inventory.Scope{Host: host})
	if err != nil || kept.Host == nil || kept.Host.Device != device {
		return nil, err
	}
	c := inventory.Changes{Base: kept.Generation, At: v.admin.now()}
	keys := map[string]bool{}
	for _, id := range keysOf(kept.Sightings) {
		s := kept.Sightings[id]
		keys[s.Server] = true
		if s.Gone.IsZero() {
			s.Gone = c.At
			c.Sightings = append(c.Sightings, s)
		}
	}
	held, err := v.findings.store.Findings(ctx, finding.Filter{Sources: inventory.SourceOf(host, "")})
	if err != nil {
		return nil, err
	}
	var says []finding.Says
	for i := range held {
		for _, source := range held[i].Sources {
			known := slices.ContainsFunc(says, func(s finding.Says) bool { return s.Source == source })
			if strings.HasPrefix(source, inventory.SourceOf(host, "")) && !known {
				says = append(says, finding.Says{Source: source, At: c.At, Covers: finding.Everything})
			}
		}
	}
	if c.Findings, err = v.findings.plan(ctx, says); err != nil {
		return nil, err
	}
	if len(c.Sightings) == 0 && c.Findings.Empty() {
		return keysOf(keys), nil
	}
	owed, err := v.owed(actor.String(), "release", host, why, Released{device, len(c.Sightings), len(c.Findings.Ended)})
	if err != nil {
		return nil, err
	}
	c.Owed = []access.Owed{owed}
	if err := v.store.CommitInventory(ctx, c); err != nil {
		return nil, err
	}
	v.findings.kept(c.Findings)
	return keysOf(keys), v.settle(ctx, owed.ID)
}
