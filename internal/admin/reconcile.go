package admin

import (
	"context"
	"slices"

	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// reconcileAtOnce is how many servers are compared with the registry at a time.
const reconcileAtOnce = 200

// Reconcile compares servers that were found with the registry and writes down
// what is wrong with where they stand. What is wrong no more is resolved.
func (v *Inventory) Reconcile(ctx context.Context, keys []string) error {
	merges, err := v.store.Merges(ctx)
	if err != nil {
		return err
	}
	roots := inventory.Roots(merges)
	members := map[string][]string{}
	for from, root := range roots {
		members[root] = append(members[root], from)
	}
	whole := map[string]bool{}
	for _, k := range keys {
		root := inventory.Root(roots, k)
		for _, m := range append(members[root], root, k) {
			whole[m] = true
		}
	}
	// All of what counts as one server goes together.
	var groups [][]string
	done := map[string]bool{}
	for _, k := range keysOf(whole) {
		if root := inventory.Root(roots, k); !done[root] {
			done[root] = true
			groups = append(groups, append(slices.Sorted(slices.Values(members[root])), root))
		}
	}
	for part := range slices.Chunk(groups, reconcileAtOnce) {
		if err := v.reconcile(ctx, slices.Concat(part...), roots); err != nil {
			return err
		}
	}
	return nil
}

func (v *Inventory) reconcile(ctx context.Context, keys []string, roots map[string]string) error {
	variants, seen, err := v.store.Seen(ctx, keys)
	if err != nil {
		return err
	}
	now, reg := v.admin.now(), v.Registry()
	says := finding.Says{Source: inventory.SourceInventory, At: now, About: keys, Covers: func(f *finding.Finding) bool {
		return f.Subject.Kind == finding.SubjectFound && slices.Contains(keys, f.Subject.ID)
	}}
	for _, g := range inventory.Groups(keys, variants, seen, roots) {
		says.Raised = append(says.Raised, g.Judge(reg, roots, now.Add(-v.cfg.Missing))...)
	}
	return v.findings.Tell(ctx, says)
}

// ReconcileAll compares everything that was found with the registry.
func (v *Inventory) ReconcileAll(ctx context.Context) error {
	servers, _, err := v.store.Found(ctx, v.admin.now())
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(servers))
	for i := range servers {
		keys = append(keys, servers[i].Key)
	}
	return v.Reconcile(ctx, keys)
}
