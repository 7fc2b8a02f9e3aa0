package admin

import (
	"context"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"golang.org/x/net/http/httpguts"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/sink"
)

// sink reads a receiver of evidence.
func (d *decoder) sink(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "url", "form", "events", "from", "credential", "state", "audience", "naming", "receiver")
	o.required("owner", "team-name")
	o.required("url", "https://siem.example.com/in, syslog+tls://host:6514 or file:")
	forms := append(sink.Forms(), sink.FormSSF)
	o.required("form", strings.Join(forms, ", "))
	m.id = o.id()
	s := &sink.Sink{ID: m.id, Owner: o.owner(), URL: o.text("url"), Events: o.set("events"), Form: o.choice("form", forms...),
		From: o.choice("from", sink.FromNow, sink.FromStart), State: o.choice("state", sink.Active, sink.Retired)}
	if s.From == "" {
		s.From = sink.FromNow
	}
	kinds := sink.Kinds()
	if s.Form == sink.FormSSF {
		kinds = sink.Told()
	}
	for _, e := range s.Events {
		if e != "" && !slices.Contains(kinds, e) {
			o.fail("events", "%q is unknown: use %s", clip(e), strings.Join(kinds, ", "))
		}
	}
	switch {
	case o.has("events") && len(s.Events) == 0:
		o.fail("events", "is empty: name what it is to get, or remove the key for all")
	case !o.has("events"):
		s.Events = kinds
	}
	o.sinkSSF(s)
	o.sinkURL(s)
	if c, ok := o.sub("credential", "ref", "header", "value"); ok {
		c.required("ref", "the name given to rutile credential set")
		s.Secret, s.Header, s.Value = c.ref("ref"), c.text("header"), c.text("value")
		if s.Header == "" {
			s.Header = "Authorization"
		}
		if s.Value == "" {
			s.Value = "Bearer {secret}"
		}
		rest := strings.ReplaceAll(s.Value, "{secret}", "")
		switch {
		case !httpguts.ValidHeaderFieldName(s.Header) || managedHeader(s.Header):
			c.fail("header", "is not the name of a header that can carry a credential")
		case strings.Count(s.Value, "{secret}") != 1:
			c.fail("value", "must hold {secret} exactly once, for example \"Bearer {secret}\"; %s", adviceSecret)
		case literalSecret("", rest) || !httpguts.ValidHeaderFieldValue(rest):
			c.fail("value", "holds something besides {secret} that looks like a secret or cannot be sent; %s", adviceSecret)
		case s.Scheme() != "https" && s.Scheme() != "http":
			o.fail("credential", "is for https receivers only: a file, syslog and poll: have no place for one")
		}
	}
	m.sink = s
}

// sinkSSF reads what a receiver of signals is told by.
func (o object) sinkSSF(s *sink.Sink) {
	s.Audience, s.Naming, s.Receiver = o.text("audience"), o.choice("naming", sink.Namings()...), o.sealedRef("receiver")
	if s.Form != sink.FormSSF {
		for _, key := range []string{"audience", "naming", "receiver"} {
			if o.has(key) {
				o.fail(key, "is of the form ssf only")
			}
		}
		if s.URL == sink.PollURL {
			o.fail("url", "poll: is of the form ssf only: other receivers are sent to")
		}
		return
	}
	if s.Naming == "" {
		s.Naming = sink.NameIssSub
	}
	o.required("audience", "what the receiver expects as aud, such as https://receiver.example.com/ssf")
	if len(s.Audience) > 512 {
		o.fail("audience", "has more than 512 bytes")
	}
	switch scheme := s.Scheme(); {
	case s.URL == sink.PollURL && s.Receiver == "" && !o.has("receiver"):
		o.fail("receiver", "is required with poll: add receiver: {ref: NAME}, the bearer token the receiver shows, and seal it with rutile credential set NAME")
	case s.URL != "" && s.URL != sink.PollURL && scheme != "https" && scheme != "http":
		o.fail("url", "must be https://… to push to, or poll: to be fetched from")
	}
}

// sinkURL checks how a sink is reached and that its form fits.
func (o object) sinkURL(s *sink.Sink) {
	switch u, err := url.Parse(s.URL); {
	case s.URL == "", s.URL == sink.FileURL, s.URL == sink.PollURL:
	case err == nil && (u.Scheme == "syslog" || u.Scheme == "syslog+tls"):
		if u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Hostname() == "" || u.Port() == "" {
			o.fail("url", "must be %s://host:port and nothing else", u.Scheme)
		} else if u.Scheme == "syslog" && !loopback(net.JoinHostPort(u.Hostname(), u.Port())) {
			o.fail("url", "must start with syslog+tls:// : who did what would travel in clear")
		}
	default:
		if msg := checkURL(s.URL); msg != "" {
			o.fail("url", "%s; or syslog+tls://host:port, or file:", msg)
		} else if strings.HasPrefix(s.URL, "http:") && !loopback(s.URL) {
			o.fail("url", "must start with https://: who did what would travel in clear")
		}
		return
	}
	if s.Form == sink.FormOTLP && s.URL != "" {
		o.fail("form", "otlp is sent over https only: give a url that ends in /v1/logs")
	}
}

func (p *planner) sink(m *manifest, it *Item) {
	next := *m.sink
	if !declare(p, it, p.cur.Sinks, p.draft.changes.Sinks, &next, func(x *sink.Sink) standing { return standing{&x.Created, &x.Changed, &x.State} }) {
		return
	}
	p.owner(next.Owner, it)
	p.sealed(m, it, "credential", next.Secret)
	p.sealed(m, it, "receiver", next.Receiver)
}

// shown checks what receivers of signals show once all is planned: nobody can guess it, and
// it is no other receiver's, who would hear what this one is told.
func (p *planner) shown(manifests []*manifest) {
	sinks := maps.Clone(p.cur.Sinks)
	for id, s := range p.draft.changes.Sinks {
		if delete(sinks, id); s != nil {
			sinks[id] = *s
		}
	}
	for _, m := range manifests {
		next := sinks[m.id]
		if m.kind != kindSink || next.Receiver == "" || next.State != sink.Active {
			continue
		}
		for _, id := range keysOf(sinks) {
			if s := sinks[id]; id != m.id && s.State == sink.Active && s.Receiver == next.Receiver {
				p.fail(m, "receiver", "%q is what the receiver of sink %q shows: each would hear what the other is told; seal another credential", next.Receiver, id)
			}
		}
		if p.guessable == nil || !p.secrets[next.Receiver] {
			continue
		}
		if weak, err := p.guessable(next.Receiver); err != nil {
			p.fail(m, "receiver", "credential %q cannot be looked at: %s", next.Receiver, access.Reasons(err))
		} else if weak {
			p.fail(m, "receiver", "the value of credential %q could be guessed: rotate it to one %s", next.Receiver, credential.Unguessable)
		}
	}
}

func (e *emitter) sink(s sink.Sink) {
	e.document(kindSink, s.ID)
	e.text(0, "owner", s.Owner)
	e.text(0, "url", s.URL)
	e.text(0, "form", s.Form)
	e.list(0, "events", s.Events)
	e.text(0, "from", s.From)
	if s.Secret != "" {
		e.open(0, "credential")
		e.text(1, "ref", s.Secret)
		e.text(1, "header", s.Header)
		e.text(1, "value", s.Value)
	}
	e.text(0, "audience", s.Audience)
	e.text(0, "naming", s.Naming)
	if s.Receiver != "" {
		e.open(0, "receiver")
		e.text(1, "ref", s.Receiver)
	}
	e.text(0, "state", s.State)
}

// Skipper leaves out what a sink refuses.
type Skipper interface {
	// Refuses says why the receiver does not refuse that event, nil if it does.
	Refuses(id string, index uint64) error
	Skip(ctx context.Context, id string, index uint64) error
}

// SkipEvent leaves out the event of the leaf at index, which the receiver of a sink
// refuses. That somebody did is recorded first.
func (a *Admin) SkipEvent(ctx context.Context, actor Actor, s Skipper, id string, index uint64, why string) error {
	if err := checkReason(why); err != nil {
		return err
	}
	if why == "" {
		return access.Errorf(access.CodeInvalid, "say why the event of leaf %d is left out: add --reason", index)
	}
	cur := a.Current()
	if _, ok := cur.Sinks[id]; !ok {
		return access.Errorf(access.CodeNotFound, "there is no sink %q: see rutile sink list", clip(id))
	}
	r := record{verb: "skip", kind: kindSink, object: id, reason: why, detail: map[string]uint64{"leaf": index}}
	if err := a.permit(ctx, cur, actor, OpOther, r); err != nil {
		return err
	}
	if err := s.Refuses(id, index); err != nil {
		return err
	}
	if err := a.record(ctx, access.NewID(access.PrefixChange), actor, []record{r}); err != nil {
		return err
	}
	return s.Skip(ctx, id, index)
}
