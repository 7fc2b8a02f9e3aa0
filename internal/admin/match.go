package admin

import (
	"context"
	"slices"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/registry"
)

// sourceCopy begins whom findings are held by that the gateway's own copies of
// public data tell.
const sourceCopy = "copy/"

// Generation is the number of commits of the inventory.
func (v *Inventory) Generation(ctx context.Context) (uint64, error) {
	k, err := v.store.Inventory(ctx, inventory.Scope{})
	return k.Generation, err
}

// Targets are the ways servers are started or reached, once each: those that were
// seen and are not gone, on whatever machine, and those that are registered.
func (v *Inventory) Targets(ctx context.Context) ([]discovery.Sighting, error) {
	now := v.admin.now()
	missing := now.Add(-v.cfg.Missing)
	servers, _, err := v.store.Found(ctx, missing)
	if err != nil {
		return nil, err
	}
	var out []discovery.Sighting
	for part := range slices.Chunk(servers, reconcileAtOnce) {
		keys := make([]string, len(part))
		for i := range part {
			keys[i] = part[i].Key
		}
		variants, seen, err := v.store.Seen(ctx, keys)
		if err != nil {
			return nil, err
		}
		live := map[string]bool{}
		for i := range seen {
			if s := &seen[i]; s.Gone.IsZero() && !s.Last.Before(missing) {
				live[s.Variant] = true
			}
		}
		for i := range variants {
			if live[variants[i].ID] {
				out = append(out, discovery.Sighting{Target: variants[i].Target})
			}
		}
	}
	for _, r := range v.Registry().Servers {
		if r.State != string(registry.ServerRetired) && r.State != string(registry.ServerBlocked) {
			t := r.Target
			t.Key = r.Key
			out = append(out, discovery.Sighting{Target: t})
		}
	}
	return out, nil
}

// Matched takes what copies of public data say of Targets. What a copy that was
// read whole says no more is let go; a source that is not among asked is left as
// it is.
func (v *Inventory) Matched(ctx context.Context, seen *discovery.Seen, asked []string) error {
	var all []finding.Says
	for _, source := range asked {
		says := finding.Says{Source: sourceCopy + source, At: v.admin.now()}
		read := false
		whole := true
		for i := range seen.Coverage {
			if c := &seen.Coverage[i]; c.Source == source {
				read, whole = true, whole && c.Outcome == discovery.Read
			}
		}
		if read && whole && !seen.Interrupted && seen.Dropped == 0 {
			says.Covers = finding.Everything
		}
		for i := range seen.Findings {
			if f := &seen.Findings[i]; f.Source == source && f.Key != "" {
				says.Raised = append(says.Raised, finding.Raised{Rule: string(f.Rule), Subject: finding.Subject{Kind: finding.SubjectFound, ID: f.Key}, Severity: f.Severity, Why: f.Why, Evidence: f.Evidence, Next: f.Next})
			}
		}
		all = append(all, says)
	}
	return v.findings.Tell(ctx, all...)
}

// Unmatched lets go what a copy said that is not configured any more.
func (v *Inventory) Unmatched(ctx context.Context, source string) error {
	return v.findings.Tell(ctx, finding.Says{Source: sourceCopy + source, At: v.admin.now(), Covers: finding.Everything})
}
