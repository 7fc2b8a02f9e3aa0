package audit

import (
	"maps"
	"slices"

	"rutile/internal/access"
)

// Bounds of what a leaf says of a session.
const (
	maxCauses = 8 // leaves that are referred to
	maxLeaves = 8 // values that were found again
)

// causes writes "cause": the intents that first raised what the session had touched.
func (d *draft) causes(t *access.Touched) {
	if t == nil {
		return
	}
	n := 0
	for i, c := range t.Causes {
		again := func(o access.Cause) bool { return o.Leaf == c.Leaf && slices.Equal(o.Hash, c.Hash) }
		if len(c.Hash) == 0 || n == maxCauses || slices.ContainsFunc(t.Causes[:i], again) {
			continue
		}
		if n == 0 {
			d.enc.key("cause")
			d.b = append(d.b, '[')
		} else {
			d.b = append(d.b, ',')
		}
		n++
		d.b = append(d.b, '{')
		d.bytes("h", c.Hash)
		d.int("i", int64(c.Leaf))
		d.b = append(d.b, '}')
	}
	if n > 0 {
		d.b = append(d.b, ']')
	}
}

// touched writes what the session of the request had touched, and where the values of
// its arguments came from.
func (d *draft) touched(t *access.Touched) {
	if t.Clean() {
		return
	}
	mark := d.begin("touched")
	d.text("err", t.Err)
	flow := d.begin("flow")
	for _, id := range slices.Sorted(maps.Keys(t.Flow)) {
		d.flag(id, t.Flow[id].Bool)
		d.list(id, t.Flow[id].Set)
	}
	d.end(flow)
	d.list("labels", t.Labels)
	d.leaves(t.Leaves)
	d.list("taint", t.Taint)
	d.end(mark)
}

func (d *draft) leaves(list []access.FlowLeaf) {
	if len(list) == 0 {
		return
	}
	d.enc.key("leaves")
	d.b = append(d.b, '[')
	for i, x := range list[:min(len(list), maxLeaves)] {
		if i > 0 {
			d.b = append(d.b, ',')
		}
		d.b = append(d.b, '{')
		d.text("asked", x.Asked)
		d.text("at", x.Pointer)
		d.text("call", x.Call)
		d.int("e", int64(x.End))
		d.text("kind", x.Kind)
		d.text("role", x.Role)
		d.int("s", int64(x.Start))
		d.list("scopes", x.Scopes)
		d.text("server", x.Server)
		d.text("tier", x.Tier)
		d.text("tool", x.Tool)
		d.flag("untrusted", x.Untrusted)
		d.b = append(d.b, '}')
	}
	d.b = append(d.b, ']')
}

// Touched is what the session of the call had touched, as the leaf says; one that says
// nothing had touched nothing.
func (c *Call) Touched() *access.Touched {
	v := c.v.get("touched")
	t := &access.Touched{Err: v.get("err").str, Taint: v.get("taint").strings(), Labels: v.get("labels").strings()}
	for _, x := range v.get("leaves").vals {
		t.Leaves = append(t.Leaves, access.FlowLeaf{
			Asked: x.get("asked").str, Pointer: x.get("at").str, Call: x.get("call").str, End: int(x.get("e").num), Kind: x.get("kind").str, Role: x.get("role").str,
			Start: int(x.get("s").num), Scopes: x.get("scopes").strings(), Server: x.get("server").str, Tier: x.get("tier").str, Tool: x.get("tool").str,
			Untrusted: x.get("untrusted").num == 1,
		})
	}
	flow := v.get("flow")
	for _, id := range flow.keys {
		if t.Flow == nil {
			t.Flow = map[string]access.FactValue{}
		}
		m := flow.get(id)
		t.Flow[id] = access.FactValue{Bool: m.num == 1, Set: m.strings()}
	}
	return t
}
