package admin

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rutile/internal/fact"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// fact reads a declared fact (access.md 2.9).
func (d *decoder) fact(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "purpose", "type", "on", "window", "within", "key", "agg", "bind", "scope", "state")
	o.required("id", "a_name")
	o.required("owner", "team-name")
	o.required("type", "limit")
	m.id = o.text("id")
	if m.id != "" && !fact.ValidID(m.id) {
		o.fail("id", "%q cannot be the id of a fact, which policies read as context.facts.ID: use at most 63 lower-case letters, digits and _, starting with a letter, and no word of Cedar", clip(m.id))
		m.id = ""
	}
	f := &fact.Fact{ID: m.id, Owner: o.owner(), Purpose: o.text("purpose"), Type: fact.Type(o.choice("type", fact.Types()...)), Key: o.set("key")}
	f.State = o.choice("state", fact.Active, fact.Retired)
	o.factOn(f)
	seconds := func(key string) int64 {
		v := o.duration(key, fact.MinWindow, fact.MaxWindow)
		if v%time.Second != 0 {
			o.fail(key, "must be whole seconds")
		}
		return int64(v / time.Second)
	}
	f.Seconds = max(seconds("window"), seconds("within"))
	if s := o.text("agg"); s != "" && f.Type != fact.Taint {
		agg, err := fact.ParseAgg(s)
		if err != nil {
			o.fail("agg", "%s", err)
		}
		f.Agg = agg
	}
	f.Bind = o.binds()
	o.factFits(f)
	m.fact = f
}

// factOn reads which calls a fact is about.
func (o object) factOn(f *fact.Fact) {
	on, ok := o.sub("on", "server", "tool", "action", "outcome", "resultLabel")
	if !ok {
		return
	}
	f.On = fact.On{Server: on.text("server"), Tool: on.text("tool"), Action: on.text("action"), ResultLabel: on.text("resultLabel")}
	switch outcome := on.text("outcome"); {
	case outcome == "":
	case f.Type != fact.Prior:
		on.fail("outcome", "how a call ends is not known when it is counted, so only a prior can be about it")
	case outcome != "ok":
		on.fail("outcome", "%q is unknown: a prior remembers calls that ended ok", clip(outcome))
	}
}

// binds reads which arguments of the earlier call equal which of this one.
func (o object) binds() []fact.Bind {
	m := o.mapping("bind")
	var out []fact.Bind
	for _, earlier := range keysOf(m) {
		out = append(out, fact.Bind{Earlier: earlier, Now: m[earlier]})
	}
	return out
}

// factFits reports members that a fact of the type does not have, and what is
// wrong with those it has.
func (o object) factFits(f *fact.Fact) {
	if policy.OwnFact(f.ID) {
		o.fail("id", "%q is a fact of the gateway's own: choose another id", f.ID)
	}
	if f.Type == "" {
		return
	}
	has := map[fact.Type][]string{
		fact.Limit: {"window", "key", "agg"}, fact.Rate: {"window", "key", "agg"},
		fact.Prior: {"within", "key", "bind"}, fact.Taint: {"scope", "agg"},
	}[f.Type]
	for _, key := range []string{"window", "within", "key", "agg", "bind", "scope"} {
		if o.has(key) && !slices.Contains(has, key) {
			o.fail(key, "a %s has no %s: remove it", f.Type, key)
		}
	}
	if f.Type == fact.Taint {
		if s := o.text("scope"); s != "" && s != "session" {
			o.fail("scope", "%q is unknown: a taint is of the session", clip(s))
		}
		if s := o.text("agg"); s != "" && s != "seen" {
			o.fail("agg", "%q is unknown: a taint says whether something was seen", clip(s))
		}
	}
	bad := f.Check()
	for _, member := range keysOf(bad) {
		top, _, _ := strings.Cut(member, ".")
		o.d.fail(o.place(top), member, "%s", bad[member])
	}
}

func (p *planner) fact(m *manifest, it *Item) {
	old, exists := p.cur.Facts[m.id]
	next := *m.fact
	next.Created, next.Changed = p.now, p.now
	if exists {
		next.Created = old.Created
		if next.State == "" {
			next.State = old.State
		}
	}
	if next.State == "" {
		next.State = fact.Active
	}
	var before any
	if exists {
		before = old
	}
	if !it.decide(exists, before, next) {
		return
	}
	p.draft.changes.Facts[m.id] = &next
	p.owner(next.Owner, it)
	if slices.Contains(next.Key, "task") && !slices.Contains(next.Key, "agent") && !slices.Contains(next.Key, "subject") || slices.Equal(next.Key, []string{"agent", "task"}) {
		it.note("key: an agent may open tasks of its own, so this bounds what one task does and not what the agent does")
	}
	if on := next.On.Server; on != "" && !slices.ContainsFunc(keysOf(p.servers), func(id string) bool { return registry.Match(on, id) }) {
		it.note("on.server: no registered server is %q", on)
	}
	if exists && old.State == fact.Active && next.State == fact.Active && (old.Agg != next.Agg || !slices.Equal(old.Key, next.Key)) {
		it.note("what is counted changes, so counting begins anew")
	}
}

// unread notes that nothing keeps a fact.
func (it *Item) unread(next *Current) {
	if f, ok := next.Facts[it.ID]; it.Kind == kindFact && ok && f.State == fact.Active && !slices.Contains(next.Set.FactsRead(), it.ID) {
		it.note("no policy reads context.facts.%s, so nothing is counted or remembered yet", it.ID)
	}
}

func (e *emitter) fact(f fact.Fact) {
	e.document(kindFact, f.ID)
	e.text(0, "owner", f.Owner)
	e.text(0, "purpose", f.Purpose)
	e.text(0, "type", string(f.Type))
	e.open(0, "on")
	e.text(1, "server", f.On.Server)
	e.text(1, "tool", f.On.Tool)
	e.text(1, "action", f.On.Action)
	e.text(1, "resultLabel", f.On.ResultLabel)
	window := "window"
	if f.Type == fact.Prior {
		window = "within"
	}
	e.duration(0, window, time.Duration(f.Seconds)*time.Second)
	e.list(0, "key", f.Key)
	e.text(0, "agg", f.Agg.String())
	bind := map[string]string{}
	for _, b := range f.Bind {
		bind[b.Earlier] = b.Now
	}
	e.mapping(0, "bind", bind)
	e.text(0, "state", f.State)
}
