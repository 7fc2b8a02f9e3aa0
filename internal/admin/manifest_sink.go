package admin

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"golang.org/x/net/http/httpguts"

	"rutile/internal/access"
	"rutile/internal/sink"
)

// sink reads a receiver of evidence.
func (d *decoder) sink(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "url", "form", "events", "from", "credential", "state")
	o.required("owner", "team-name")
	o.required("url", "https://siem.example.com/in, syslog+tls://host:6514 or file:")
	o.required("form", strings.Join(sink.Forms(), ", "))
	m.id = o.id()
	s := &sink.Sink{ID: m.id, Owner: o.owner(), URL: o.text("url"), Events: o.set("events"), Form: o.choice("form", sink.Forms()...),
		From: o.choice("from", sink.FromNow, sink.FromStart), State: o.choice("state", sink.Active, sink.Retired)}
	if s.From == "" {
		s.From = sink.FromNow
	}
	for _, e := range s.Events {
		if e != "" && !slices.Contains(sink.Kinds(), e) {
			o.fail("events", "%q is unknown: use %s", clip(e), strings.Join(sink.Kinds(), ", "))
		}
	}
	switch {
	case o.has("events") && len(s.Events) == 0:
		o.fail("events", "is empty: name what it is to get, or remove the key for all")
	case !o.has("events"):
		s.Events = sink.Kinds()
	}
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
			o.fail("credential", "is for https receivers only: a file and syslog have no place for one")
		}
	}
	m.sink = s
}

// sinkURL checks how a sink is reached and that its form fits.
func (o object) sinkURL(s *sink.Sink) {
	switch u, err := url.Parse(s.URL); {
	case s.URL == "", s.URL == sink.FileURL:
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
