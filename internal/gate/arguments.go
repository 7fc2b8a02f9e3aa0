package gate

import (
	"slices"

	"rutile/internal/access"
	"rutile/internal/inspect"
	"rutile/internal/policy"
)

// lookInto finds what the arguments of r hold, for policies that ask. Arguments that
// cannot be read whole have no value, which denies what asks for one.
func (g *Gate) lookInto(r *access.Request, asked []string) {
	var labels, kinds []string
	found, over := g.engine.Data(r.Arguments)
	found = unmasked(found)
	for _, p := range r.Placeholders { // its value is what is sent
		labels, kinds = merge(labels, []string{p.Label}), merge(kinds, []string{p.Label + "." + p.Kind})
	}
	for _, v := range found {
		labels, kinds = merge(labels, labelsOf(v.Found)), merge(kinds, kindsOf(v.Found))
	}
	if r.Kind == access.KindResource { // the URI is what is sent
		d := g.engine.Values([]byte(r.Target))
		labels, kinds = merge(labels, labelsOf(d)), merge(kinds, kindsOf(d))
	}
	slices.Sort(labels)
	slices.Sort(kinds)
	for _, id := range asked {
		v := access.FactValue{Set: labels}
		if id == policy.FactArgsFindings {
			v.Set = kinds
		}
		if over {
			v = access.FactValue{Err: "the arguments have more texts than are read, or are nested deeper"}
		}
		r.Facts.Values[id] = v
	}
}

func labelsOf(found []inspect.Datum) []string {
	var out []string
	for _, d := range found {
		out = append(out, string(d.Label))
	}
	return out
}

func kindsOf(found []inspect.Datum) []string {
	var out []string
	for _, d := range found {
		out = append(out, string(d.Label)+"."+d.Kind)
	}
	return out
}
