package admin

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
)

// The longest an entitlement may let a grant live and a request wait.
const (
	maxGrantLife = 24 * time.Hour
	maxPending   = 24 * time.Hour
	maxConfirm   = 366 * 24 * time.Hour
)

// What becomes of an entitlement its owner did not confirm in time.
const (
	overdueWarn   = "warn"
	overdueRefuse = "refuse"
)

// entitlement reads who may ask for what (access.md 3.1).
func (d *decoder) entitlement(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "purpose", "agents", "classes", "tools", "args", "maxTTL", "maxUses", "budget", "maxConcurrency", "window", "maxBytesOut", "idleTTL", "delegate", "pendingTTL", "approve", "confirm", "state")
	o.required("owner", "team-name")
	o.required("tools", "[server/tool]")
	m.id = o.id()
	e := &grant.Entitlement{ID: m.id, Owner: o.owner(), Purpose: o.text("purpose"), Agents: o.set("agents"), Classes: o.set("classes"), Tools: o.set("tools"), Args: o.constraints("args")}
	for key, list := range map[string][]string{"agents": e.Agents, "classes": e.Classes} {
		for _, s := range list {
			if s != "" && !access.ValidID(s) {
				o.fail(key, "%q cannot be an id: use lower-case letters, digits and -", clip(s))
			}
		}
	}
	if len(e.Agents)+len(e.Classes) == 0 {
		o.fail("agents", "is required: name the agents that may ask, or classes of them")
	}
	for i, t := range o.texts("tools") {
		if _, err := policy.ParsePattern(t); t != "" && err != nil {
			o.d.fail(o.members["tools"].Content[i], fmt.Sprintf("tools[%d]", i), "%s", err)
		}
	}
	e.Ceiling = grant.Ceiling{
		Seconds: int64(o.duration("maxTTL", time.Second, maxGrantLife) / time.Second),
		Uses:    int64(o.integer("maxUses", 1, 1_000_000, 0)),
		Pending: int64(o.duration("pendingTTL", time.Second, maxPending) / time.Second),
	}
	e.Ceiling.Limits = o.bounds()
	e.Delegate = o.delegate()
	e.Approve = grant.Rule{Quorum: 1}
	if s := o.text("approve"); s != "" {
		rule, err := grant.ParseRule(s)
		if err != nil {
			o.fail("approve", "%s", err)
		}
		e.Approve = rule
	}
	if c, ok := o.sub("confirm", "every", "overdue"); ok {
		e.Confirm.Seconds = int64(c.duration("every", time.Second, maxConfirm) / time.Second)
		e.Confirm.Refuse = c.choice("overdue", overdueWarn, overdueRefuse) == overdueRefuse
	}
	e.State = o.choice("state", grant.EntitlementActive, grant.EntitlementRetired)
	m.right = e
}

// bounds reads what bounds a grant besides its life and the number of its uses.
func (o object) bounds() grant.Limits {
	var l grant.Limits
	if b, ok := o.sub("budget", "unit", "amount", "arg"); ok {
		b.required("unit", "EUR-cent")
		b.required("amount", "50000")
		b.required("arg", "/amount")
		l.Budget = grant.Budget{Unit: b.text("unit"), Amount: int64(b.integer("amount", 1, math.MaxInt64/4, 0)), Arg: b.text("arg")}
	}
	if w, ok := o.sub("window", "uses", "per"); ok {
		w.required("uses", "10")
		w.required("per", "1h")
		l.Window = grant.Window{Uses: int64(w.integer("uses", 1, 10_000, 0)), Seconds: int64(w.duration("per", time.Second, maxGrantLife) / time.Second)}
	}
	l.Concurrency = int64(o.integer("maxConcurrency", 1, 10_000, 0))
	l.BytesOut = int64(o.integer("maxBytesOut", 1, 1<<50, 0))
	l.Idle = int64(o.duration("idleTTL", time.Second, maxGrantLife) / time.Second)
	if err := l.Validate(); err != nil && len(o.d.problems) == 0 {
		o.fail("budget", "%s", err)
	}
	return l
}

// delegate reads whom a right may be handed on to.
func (o object) delegate() grant.Delegate {
	d, ok := o.sub("delegate", "maxDepth", "agents", "classes")
	if !ok {
		return grant.Delegate{}
	}
	d.required("maxDepth", "1")
	out := grant.Delegate{MaxDepth: d.integer("maxDepth", 1, grant.MaxDepth, 0), Agents: d.set("agents"), Classes: d.set("classes")}
	for key, list := range map[string][]string{"agents": out.Agents, "classes": out.Classes} {
		for _, s := range list {
			if s != "" && !access.ValidID(s) {
				d.fail(key, "%q cannot be an id: use lower-case letters, digits and -", clip(s))
			}
		}
	}
	if len(out.Agents)+len(out.Classes) == 0 {
		d.fail("agents", "is required: name the agents that may receive a part of it, or classes of them")
	}
	return out
}

func (e *emitter) bounds(l grant.Limits) {
	if b := l.Budget; b != (grant.Budget{}) {
		e.open(0, "budget")
		e.text(1, "unit", b.Unit)
		e.number(1, "amount", int(b.Amount))
		e.text(1, "arg", b.Arg)
	}
	if l.Concurrency > 0 {
		e.number(0, "maxConcurrency", int(l.Concurrency))
	}
	if w := l.Window; w != (grant.Window{}) {
		e.open(0, "window")
		e.number(1, "uses", int(w.Uses))
		e.duration(1, "per", time.Duration(w.Seconds)*time.Second)
	}
	if l.BytesOut > 0 {
		e.number(0, "maxBytesOut", int(l.BytesOut))
	}
	e.duration(0, "idleTTL", time.Duration(l.Idle)*time.Second)
}

// constraints reads a list of constraints on arguments.
func (o object) constraints(key string) grant.Constraints {
	n := o.members[key]
	if n == nil {
		return nil
	}
	var b strings.Builder
	if err := writeJSON(&b, n, 0); err != nil {
		o.fail(key, "%s", err)
		return nil
	}
	c, err := grant.ParseConstraints([]byte(b.String()))
	if err != nil {
		o.fail(key, "%s", err)
	}
	return c
}

// writeJSON writes a node as JSON. A number keeps its text, so that nothing is
// rounded.
func writeJSON(b *strings.Builder, n *yaml.Node, depth int) error {
	const deepest = 16
	if depth > deepest {
		return fmt.Errorf("is nested more than %d deep", deepest)
	}
	text := func(s string) {
		raw, _ := json.Marshal(s) // a string always has a JSON form
		b.Write(raw)
	}
	switch n.Kind {
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, c, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			text(n.Content[i].Value)
			b.WriteByte(':')
			if err := writeJSON(b, n.Content[i+1], depth+1); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!null":
			b.WriteString("null")
		case "!!bool":
			v, err := strconv.ParseBool(n.Value)
			if err != nil {
				return fmt.Errorf("%q is not true or false", clip(n.Value))
			}
			b.WriteString(strconv.FormatBool(v))
		case "!!int", "!!float":
			if !json.Valid([]byte(n.Value)) {
				return fmt.Errorf("%q is not a number JSON has: write it in decimals", clip(n.Value))
			}
			b.WriteString(n.Value)
		default:
			text(n.Value)
		}
	default:
		return fmt.Errorf("holds something that is neither a value, a list nor a mapping")
	}
	return nil
}

func (e *emitter) entitlement(x grant.Entitlement) {
	e.document(kindEntitlement, x.ID)
	e.text(0, "owner", x.Owner)
	e.text(0, "purpose", x.Purpose)
	e.list(0, "agents", x.Agents)
	e.list(0, "classes", x.Classes)
	e.list(0, "tools", x.Tools)
	if len(x.Args) > 0 {
		e.open(0, "args")
		for _, c := range x.Args {
			raw, _ := json.Marshal(c) // one that was parsed has a JSON form
			e.b.WriteString("  - " + string(raw) + "\n")
		}
	}
	e.duration(0, "maxTTL", time.Duration(x.Ceiling.Seconds)*time.Second)
	if x.Ceiling.Uses > 0 {
		e.number(0, "maxUses", int(x.Ceiling.Uses))
	}
	e.bounds(x.Ceiling.Limits)
	if d := x.Delegate; d.MaxDepth > 0 {
		e.open(0, "delegate")
		e.number(1, "maxDepth", d.MaxDepth)
		e.list(1, "agents", d.Agents)
		e.list(1, "classes", d.Classes)
	}
	e.duration(0, "pendingTTL", time.Duration(x.Ceiling.Pending)*time.Second)
	e.text(0, "approve", x.Approve.String())
	if c := x.Confirm; c != (grant.Confirm{}) {
		e.open(0, "confirm")
		e.duration(1, "every", time.Duration(c.Seconds)*time.Second)
		if c.Refuse {
			e.text(1, "overdue", overdueRefuse)
		}
	}
	e.text(0, "state", x.State)
}
