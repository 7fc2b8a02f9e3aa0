package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/discovery/export"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/registry"
)

// Export writes what a filter selects of the inventory, and its findings, in a format of
// others. The same state gives the same bytes, whoever asks and however.
func (v *Inventory) Export(ctx context.Context, o export.Options, f InventoryFilter) (export.Document, error) {
	if err := o.Check(); err != nil {
		return export.Document{}, err
	}
	for range attempts {
		s, err := v.snapshot(ctx, f)
		if err != nil {
			return export.Document{}, err
		}
		after, err := v.store.Around(ctx)
		if err != nil {
			return export.Document{}, err
		}
		if after.Generation == s.Generation {
			return export.Make(s, o)
		}
	}
	return export.Document{}, access.Errorf(access.CodeConflict, "the inventory kept being changed: try again")
}

// snapshot is the inventory as it counts now. If its generation is another
// afterwards it may be of two times.
func (v *Inventory) snapshot(ctx context.Context, f InventoryFilter) (*export.Snapshot, error) {
	picked, err := v.Survey(ctx, f)
	if err != nil {
		return nil, err
	}
	around, err := v.store.Around(ctx)
	if err != nil {
		return nil, err
	}
	all := picked.Rows
	s := &export.Snapshot{Generation: picked.Generation, Servers: all, Hosts: around.Hosts, Agents: around.Agents, Tools: map[string][]string{}, Gateway: v.cfg.Gateway}
	var keys []string
	for i := range all {
		if id := all[i].Registered; id != "" {
			s.Tools[id] = approved(v.admin.Current().View, id)
		}
		keys = append(keys, all[i].Key)
		keys = append(keys, all[i].Merged...)
		if _, ok := v.admin.Current().View.Team(all[i].Owner); ok {
			s.Teams = append(s.Teams, all[i].Owner)
		}
	}
	slices.Sort(s.Teams)
	s.Teams, keys = slices.Compact(s.Teams), slices.Compact(slices.Sorted(slices.Values(keys)))
	if s.Variants, s.Sightings, err = v.store.Seen(ctx, keys); err != nil {
		return nil, err
	}
	counted(s, inventory.Roots(around.Merges))
	if s.Findings, err = v.findings.List(ctx, finding.Filter{}); err != nil {
		return nil, err
	}
	if len(all) < picked.Total {
		s.Findings = slices.DeleteFunc(s.Findings, func(x finding.Finding) bool { return !about(&x, all, inventory.Roots(around.Merges)) })
	}
	slices.SortFunc(s.Findings, func(a, b finding.Finding) int { return strings.Compare(a.ID, b.ID) })
	return s, nil
}

// about reports whether a finding is about one of the servers, as it was found or as it
// is registered. all is sorted by key.
func about(f *finding.Finding, all []inventory.Entry, roots map[string]string) bool {
	switch f.Subject.Kind {
	case finding.SubjectFound:
		_, ok := slices.BinarySearchFunc(all, inventory.Root(roots, f.Subject.ID), func(e inventory.Entry, key string) int { return strings.Compare(e.Key, key) })
		return ok
	case finding.SubjectServer:
		return slices.ContainsFunc(all, func(e inventory.Entry) bool { return e.Registered == f.Subject.ID })
	default:
		return false
	}
}

// approved are the tools of a server that are approved.
func approved(view *registry.View, server string) []string {
	out := []string{}
	for _, t := range view.Tools(server) {
		if t.Kind() == registry.KindTool && t.State == registry.ToolApproved {
			out = append(out, t.Bare())
		}
	}
	slices.Sort(out)
	return out
}

// counted has variants and sightings stand at the server they count as.
func counted(s *export.Snapshot, roots map[string]string) {
	for i := range s.Variants {
		s.Variants[i].Server = inventory.Root(roots, s.Variants[i].Server)
	}
	for i := range s.Sightings {
		s.Sightings[i].Server = inventory.Root(roots, s.Sightings[i].Server)
	}
	slices.SortFunc(s.Variants, func(a, b inventory.Variant) int {
		return cmp.Or(strings.Compare(a.Server, b.Server), strings.Compare(a.ID, b.ID))
	})
	slices.SortFunc(s.Sightings, func(a, b inventory.Sighting) int {
		return cmp.Or(strings.Compare(a.Server, b.Server), strings.Compare(a.ID, b.ID))
	})
}
