package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"rutile/internal/signal"
)

// maxMatches bounds how many subjects a source names.
const maxMatches = 1000

// signal reads a source of signals.
func (d *decoder) signal(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "form", "issuer", "audience", "jwks", "poll", "secret", "events", "may", "subjects", "state")
	o.required("owner", "team-name")
	o.required("may", strings.Join(signal.Mays(), ", "))
	m.id = o.id()
	s := &signal.Source{ID: m.id, Owner: o.owner(), Form: o.choice("form", signal.Forms()...), Issuer: o.text("issuer"), Audience: o.text("audience"), JWKS: o.text("jwks"), Poll: o.text("poll"),
		Secret: o.sealedRef("secret"), Events: o.set("events"), May: o.set("may"), State: o.choice("state", signal.Active, signal.Retired)}
	if s.Form == "" {
		s.Form = signal.FormSSF
	}
	for key, list := range map[string]struct{ have, known []string }{"events": {s.Events, signal.Events()}, "may": {s.May, signal.Mays()}} {
		for _, x := range list.have {
			if x != "" && !slices.Contains(list.known, x) {
				o.fail(key, "%q is unknown: use %s", clip(x), strings.Join(list.known, ", "))
			}
		}
	}
	if !o.has("events") {
		s.Events = signal.Events()
	}
	o.signalForm(s)
	s.Subjects = o.matches()
	m.signal = s
}

// signalForm checks what a form needs, and that there is nothing else.
func (o object) signalForm(s *signal.Source) {
	if s.Form == signal.FormWebhook {
		if s.Secret == "" && !o.has("secret") {
			o.fail("secret", "is required with form webhook: add secret: {ref: NAME} and seal it with rutile credential set NAME")
		}
		for _, key := range []string{"issuer", "audience", "jwks", "poll", "events"} {
			if o.has(key) {
				o.fail(key, "is of the form ssf: a webhook proves itself with its secret, and says revoke or suspend")
			}
		}
		s.Events = nil
		return
	}
	o.required("issuer", "https://ssf.example.com")
	o.required("audience", "what the stream names as aud")
	for key, at := range map[string]string{"issuer": s.Issuer, "jwks": s.JWKS, "poll": s.Poll} {
		if msg := signal.CheckURL(at); at != "" && msg != "" {
			o.fail(key, "%s", msg)
		} else if at != "" && checkURL(at) != "" {
			o.fail(key, "%s", checkURL(at))
		}
	}
	if len(s.Audience) > 512 {
		o.fail("audience", "has more than 512 bytes")
	}
	if s.Poll != "" && s.Secret == "" && !o.has("secret") {
		o.fail("secret", "is required with poll: add secret: {ref: NAME}, the bearer token of the stream, and seal it with rutile credential set NAME")
	}
}

// matches reads who subjects of a source are.
func (o object) matches() []signal.Match {
	n := o.members["subjects"]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxMatches {
		o.fail("subjects", "must be a list of at most %d such as {subject: \"email:ann@example.com\", user: ann}", maxMatches)
		return nil
	}
	var out []signal.Match
	for i, c := range n.Content {
		field := fmt.Sprintf("subjects[%d]", i)
		k := o.d.object(c, field, "subject", "user", "agent")
		x := signal.Match{Subject: k.text("subject"), User: k.text("user"), Agent: k.text("agent")}
		if strings.HasPrefix(x.Subject, "email:") {
			x.Subject = signal.Fold(x.Subject)
		}
		switch format, words, _ := strings.Cut(x.Subject, ":"); {
		case words == "" || format == "" || len(x.Subject) > 1024:
			o.d.fail(c, field, "must have a subject: its format and words, such as email:ann@example.com, opaque:device-7 or iss_sub:https://login.example.com|4711")
		case (x.User == "") == (x.Agent == ""):
			o.d.fail(c, field, "must name either a user or an agent")
		case slices.ContainsFunc(out, func(y signal.Match) bool { return y == x }):
			o.d.fail(c, field, "is there twice: remove one")
		default:
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b signal.Match) int {
		return cmp.Or(compare(a.Subject, b.Subject), compare(a.User, b.User), compare(a.Agent, b.Agent))
	})
	return out
}

func (p *planner) signal(m *manifest, it *Item) {
	next := *m.signal
	if !declare(p, it, p.cur.Signals, p.draft.changes.Signals, &next, func(x *signal.Source) standing { return standing{&x.Created, &x.Changed, &x.State} }) {
		return
	}
	p.owner(next.Owner, it)
	p.sealed(m, it, "secret", next.Secret)
	for _, x := range next.Subjects {
		if x.User != "" && !p.users[x.User] {
			it.note("user %q is not registered: what is told of %s is about nobody", x.User, x.Subject)
		}
		if x.Agent != "" && !p.agents[x.Agent] {
			it.note("agent %q is not registered: what is told of %s is about nobody", x.Agent, x.Subject)
		}
	}
}

// sealed says of a credential that is named whether it is one that can be.
func (p *planner) sealed(m *manifest, it *Item, field, ref string) {
	switch {
	case ref == "":
	case p.minted[ref]:
		p.fail(m, field, "%q is minted and cannot be used here: name a sealed credential", ref)
	case !p.secrets[ref]:
		it.note("credential %q is not stored yet: use rutile credential set %s", ref, ref)
	}
}

func (e *emitter) signal(s signal.Source) {
	e.document(kindSignal, s.ID)
	e.text(0, "owner", s.Owner)
	e.text(0, "form", s.Form)
	e.text(0, "issuer", s.Issuer)
	e.text(0, "audience", s.Audience)
	e.text(0, "jwks", s.JWKS)
	e.text(0, "poll", s.Poll)
	if s.Secret != "" {
		e.open(0, "secret")
		e.text(1, "ref", s.Secret)
	}
	if s.Form == signal.FormSSF {
		e.flow("events", s.Events)
	}
	e.flow("may", s.May)
	if len(s.Subjects) > 0 {
		e.open(0, "subjects")
		for _, x := range s.Subjects {
			e.item(1, "subject", x.Subject)
			e.text(2, "user", x.User)
			e.text(2, "agent", x.Agent)
		}
	}
	e.text(0, "state", s.State)
}

// flow writes a list on one line, empty lists too.
func (e *emitter) flow(key string, list []string) {
	e.line(0, key, "["+strings.Join(list, ", ")+"]")
}
