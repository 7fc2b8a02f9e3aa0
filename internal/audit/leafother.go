package audit

import (
	"context"
	"strings"
)

// outcome writes the outcome of an intent.
func (s *scribe) outcome(ctx context.Context, o *Outcome, relaxed bool) (*entry, error) {
	owner := ownerOf(o.Request)
	d, err := s.start(ctx, classDecision, &owner)
	if err != nil {
		return nil, err
	}
	d.common()
	mark := d.begin("com")
	d.commit("result", o.Result)
	d.end(mark)
	if relaxed {
		d.str("dur", "written")
		d.entry.relaxed = true
	}
	d.list("findings", o.Findings)
	if err := d.outcomeRest(o); err != nil {
		return nil, err
	}
	return d.finish(typeOutcome, outcomeRow(o.Intent.Index, string(o.Status), cutList(o.Findings), union(nil, cutList(o.Labels)), o.Masks))
}

// unknown closes an intent of an earlier boot: nobody knows what became of it.
func (s *scribe) unknown(ctx context.Context, intent Ref) (*entry, error) {
	d, err := s.start(ctx, classDecision, nil)
	if err != nil {
		return nil, err
	}
	d.common()
	if err := d.outcomeRest(&Outcome{Intent: intent, Status: StatusUnknown}); err != nil {
		return nil, err
	}
	return d.finish(typeOutcome, outcomeRow(intent.Index, string(StatusUnknown), nil, nil, nil))
}

// outcomeRest writes what follows "findings".
func (d *draft) outcomeRest(o *Outcome) error {
	d.name()
	d.int("in", int64(o.In))
	mark := d.begin("intent")
	d.bytes("h", o.Intent.Hash[:])
	d.int("i", int64(o.Intent.Index))
	d.end(mark)
	d.keyID()
	d.list("labels_added", o.Labels)
	d.str("node", d.s.node)
	d.int("out", int64(o.Out))
	if err := d.payload(o.Result); err != nil {
		return err
	}
	reached := o.Reached
	if reached != "yes" && reached != "no" {
		reached = "unknown"
	}
	d.str("reached", reached)
	mark = d.begin("release")
	d.dropped(o.Dropped)
	d.list("forbids", o.Forbids)
	d.list("masks", o.Masks)
	d.str("out", o.Withheld)
	d.seen(o.Seen)
	d.end(mark)
	// What a credential was narrowed to may hold what stood in the arguments.
	var narrowed []string
	for _, u := range o.Unlocks {
		if u.Narrowed != "" {
			narrowed = append(narrowed, u.Narrowed)
		}
	}
	d.ids.Narrowed = strings.Join(narrowed, "; ")
	if err := d.sealIDs(); err != nil {
		return err
	}
	d.str("st", string(o.Status))
	d.str("tenant", d.s.tenant)
	d.str("type", typeOutcome)
	d.unlocks(o.Unlocks)
	d.int("us", max(0, o.Took.Microseconds()))
	d.int("v", 1)
	return nil
}

func (d *draft) dropped(list []Drop) {
	if len(list) == 0 {
		return
	}
	d.enc.key("dropped")
	d.b = append(d.b, '[')
	for i, x := range list[:min(len(list), maxList)] {
		if i > 0 {
			d.b = append(d.b, ',')
		}
		d.b = append(d.b, '{')
		d.list("by", x.By)
		d.int("first", int64(x.First))
		d.int("last", int64(x.Last))
		d.int("n", int64(x.N))
		d.str("out", x.Out)
		d.b = append(d.b, '}')
	}
	d.b = append(d.b, ']')
}

// maxSeen bounds how many findings of one call are written.
const maxSeen = 32

// seen writes findings with a keyed commitment to the text each is about.
func (d *draft) seen(list []Seen) {
	if len(list) == 0 {
		return
	}
	d.enc.key("seen")
	d.b = append(d.b, '[')
	for i, x := range list[:min(len(list), maxSeen)] {
		if i > 0 {
			d.b = append(d.b, ',')
		}
		d.b = append(d.b, '{')
		d.str("at", x.At)
		if d.key != nil && len(x.Text) > 0 {
			sum := d.key.commit(d.id, "seen", x.Text)
			d.bytes("com", sum[:])
		}
		d.int("e", int64(x.End))
		d.str("rule", x.Rule)
		d.int("s", int64(x.Start))
		d.str("tier", x.Tier)
		d.b = append(d.b, '}')
	}
	d.b = append(d.b, ']')
}

func (d *draft) unlocks(us []Unlock) {
	if len(us) == 0 {
		return
	}
	d.enc.key("unlocks")
	d.b = append(d.b, '[')
	for i, u := range us[:min(len(us), maxList)] {
		if i > 0 {
			d.b = append(d.b, ',')
		}
		d.b = append(d.b, '{')
		d.time("at", u.At)
		d.text("cred", u.Cred)
		if !u.Expires.IsZero() {
			d.time("exp", u.Expires)
		}
		d.text("kind", u.Kind)
		d.text("minted", u.Minted)
		d.int("ver", int64(u.Version))
		d.b = append(d.b, '}')
	}
	d.b = append(d.b, ']')
}

// systemActor needs no pseudonym: no person stands behind it.
const systemActor = "system"

// admin writes a change.
func (s *scribe) admin(ctx context.Context, a *Admin) (*entry, error) {
	owner := entity{Kind: kindPerson, ID: a.Actor}
	if a.Actor == "" || a.Actor == systemActor {
		owner = entity{Kind: kindAgent, ID: systemActor}
	}
	actor := systemActor
	if owner.Kind == kindPerson {
		who, err := s.keys.subject(ctx, owner)
		if err != nil {
			return nil, err
		}
		actor = who.pseudonym
	}
	d, err := s.start(ctx, classAdmin, &owner)
	if err != nil {
		return nil, err
	}
	object := ""
	switch {
	case ofAgent(a.Kind) && plain(a.Object):
		agent, err := s.keys.subject(ctx, entity{Kind: kindAgent, ID: a.Object})
		if err != nil {
			return nil, err
		}
		object = agent.pseudonym
	case ofAgent(a.Kind) || personal(a.Kind):
		d.ids.Object = a.Object
	default:
		object = show(a.Object, &d.ids.Object)
	}
	d.ids.Reason = a.Reason
	d.str("actor", actor)
	d.time("at", d.at)
	d.int("boot", int64(s.boot))
	d.text("change", a.ID)
	d.str("class", d.class)
	mark := d.begin("com")
	d.commit("object", []byte(d.ids.Object))
	d.commit("reason", []byte(d.ids.Reason))
	d.end(mark)
	kind := typeAdmin
	if e := erasureOf(a); e != nil {
		kind = typeErasure
		d.erasure(e)
	}
	d.name()
	d.keyID()
	d.str("node", s.node)
	mark = d.begin("object")
	d.text("after", a.After)
	d.text("before", a.Before)
	d.str("id", object)
	d.text("kind", a.Kind)
	d.end(mark)
	if err := d.payload(a.Detail); err != nil {
		return nil, err
	}
	if says := retainedOf(a); says != nil {
		kind = typeRetention
		d.retained(says)
	}
	if r := revocationOf(a); r != nil {
		kind = r.leafType(a.Kind)
		d.revocation(r)
	}
	if err := d.sealIDs(); err != nil {
		return nil, err
	}
	d.str("tenant", s.tenant)
	d.str("type", kind)
	d.int("v", 1)
	d.text("verb", a.Verb)
	d.signed(a.Signed)
	d.entry.urgent = true
	row := Row{Decision: cut(a.ID, maxText), Actor: owner.ID, Object: cut(a.Object, maxText), Grant: grantOf(a.Kind, cut(a.Object, maxText)), Intent: -1}
	row.Text = adminText(&row, cut(a.Verb, maxText), cut(a.Kind, maxText), cut(a.Reason, maxReason))
	return d.finish(kind, row)
}

// opened is what log.open says: who writes from here on and how.
type opened struct {
	origin, vkey, durability string
	size                     uint64 // leaves before this one
}

func (s *scribe) logOpen(ctx context.Context, o opened) (*entry, error) {
	d, err := s.start(ctx, classSystem, nil)
	if err != nil {
		return nil, err
	}
	d.common()
	d.str("durability", o.durability)
	d.name()
	d.str("node", s.node)
	d.str("origin", o.origin)
	d.int("size", int64(o.size))
	d.str("tenant", s.tenant)
	d.str("type", typeOpen)
	d.int("v", 1)
	d.str("vkey", o.vkey)
	return d.finish(typeOpen, Row{Intent: -1})
}

// logClose ends a boot that stopped in order; its index is the final size.
func (s *scribe) logClose(ctx context.Context) (*entry, error) {
	d, err := s.start(ctx, classSystem, nil)
	if err != nil {
		return nil, err
	}
	d.common()
	d.name()
	d.str("node", s.node)
	d.str("tenant", s.tenant)
	d.str("type", typeClose)
	d.int("v", 1)
	return d.finish(typeClose, Row{Intent: -1})
}

// loss says what could not be recorded.
func (s *scribe) loss(ctx context.Context, l *Loss) (*entry, error) {
	d, err := s.start(ctx, classSystem, nil)
	if err != nil {
		return nil, err
	}
	d.common()
	d.int("count", int64(l.Count))
	d.time("first", l.First)
	d.name()
	d.time("last", l.Last)
	d.str("node", s.node)
	d.text("stream", l.Stream)
	d.str("tenant", s.tenant)
	d.str("type", typeLoss)
	d.int("v", 1)
	d.text("why", l.Why)
	row := Row{Intent: -1, Text: joinText("loss", cut(l.Stream, maxText), cut(l.Why, maxText))}
	return d.finish(typeLoss, row)
}
