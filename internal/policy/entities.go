package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
)

// Get implements types.EntityGetter over the entities of one query. An entity
// is built when Cedar first asks for it, with the attributes some candidate
// reads. Entities a policy names but the query is not about are unknown, so
// reading their attributes errs.
func (e *evaluation) Get(id types.EntityUID) (types.Entity, bool) {
	switch {
	case id == e.principal.self:
		return e.entity(0, id, &e.principal, (*evaluation).agentAttributes), true
	case id == e.resource.self:
		return e.entity(1, id, &e.resource, (*evaluation).toolAttributes), true
	case id.Type == typeServer && string(id.ID) == e.q.Server.ID:
		return e.entity(2, id, nil, (*evaluation).serverAttributes), true
	case id == e.action.self:
		return e.entity(3, id, &e.action, nil), true
	case id.Type == typeHuman && string(id.ID) == humanID(e.q.Subject):
		return e.entity(4, id, nil, (*evaluation).humanAttributes), true
	default:
		return types.Entity{}, false
	}
}

func (e *evaluation) entity(slot int, id types.EntityUID, f *family, attributes func(*evaluation) types.RecordMap) types.Entity {
	if e.built[slot] != nil {
		return *e.built[slot]
	}
	ent := &types.Entity{UID: id}
	if f != nil && e.bits&readAncestors != 0 {
		ent.Parents = types.NewEntityUIDSet(f.ancestors...)
	}
	if attributes != nil {
		if m := attributes(e); m != nil {
			ent.Attributes = types.NewRecord(m)
		}
	}
	e.built[slot] = ent
	return *ent
}

func (e *evaluation) agentAttributes() types.RecordMap {
	const any = readOwner | readRuntime | readModel | readClass | readAgentTier | readAttested | readStatus | readScopes | readAgentRisk
	if e.bits&any == 0 {
		return nil
	}
	a, m := &e.q.Agent, make(types.RecordMap, 8)
	e.put(m, readOwner, "owner", func() types.Value { return uid(typeGroup, a.Owner) })
	e.put(m, readRuntime, "runtime", func() types.Value { return types.String(a.Runtime) })
	e.put(m, readModel, "model", func() types.Value { return types.String(a.Model) })
	e.put(m, readClass, "class", func() types.Value { return types.String(a.Class) })
	e.put(m, readAgentTier, "tier", func() types.Value { return types.Long(a.Tier) })
	e.put(m, readAttested, "attested", func() types.Value { return types.Boolean(a.Attested) })
	e.put(m, readStatus, "status", func() types.Value { return types.String(a.Status) })
	e.put(m, readScopes, "dataScopes", func() types.Value { return stringSet(a.DataScopes) })
	e.put(m, readAgentRisk, memberRisk, func() types.Value { return types.Long(e.q.risk().Agent) })
	return m
}

func (e *evaluation) humanAttributes() types.RecordMap {
	return types.RecordMap{memberRisk: types.Long(e.q.risk().Person)}
}

func (e *evaluation) toolAttributes() types.RecordMap {
	const any = readDigest | readPinned | readDestructive | readEgress | readToolTier | readLabels | readKind
	if e.bits&any == 0 {
		return nil
	}
	t, m := &e.q.Tool, make(types.RecordMap, 8)
	in := func(group string) types.Value {
		return types.Boolean(t.Kind != access.KindServer && slices.Contains(e.action.ancestors, uid(typeAction, group)))
	}
	e.put(m, readDigest, "digest", func() types.Value { return types.String(t.Digest) })
	e.put(m, readPinned, "pinned", func() types.Value { return types.Boolean(t.Pinned) })
	e.put(m, readDestructive, "destructive", func() types.Value { return in(groupDestroy) })
	e.put(m, readEgress, "egress", func() types.Value { return in(groupEgress) })
	e.put(m, readToolTier, "tier", func() types.Value { return types.Long(t.Tier) })
	e.put(m, readLabels, "labels", func() types.Value { return stringSet(t.Labels) })
	e.put(m, readKind, "kind", func() types.Value { return types.String(t.Kind) })
	return m
}

func (e *evaluation) serverAttributes() types.RecordMap {
	if e.bits&readServer == 0 {
		return nil
	}
	return types.RecordMap{"owner": uid(typeGroup, e.q.Server.Owner), "state": types.String(e.q.Server.State)}
}

// put sets a member if some candidate reads it.
func (e *evaluation) put(m types.RecordMap, bit readBits, name types.String, value func() types.Value) {
	if e.bits&bit != 0 {
		m[name] = value()
	}
}

func stringSet(list []string) types.Set {
	items := make([]types.Value, len(list))
	for i, s := range list {
		items[i] = types.String(s)
	}
	return types.NewSet(items...)
}
