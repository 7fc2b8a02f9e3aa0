package admin

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"rutile/internal/finding"
	"rutile/internal/notice"
)

// Bounds of who is written to.
const (
	maxAddresses = 16
	maxRoutes    = 256
)

// mail reads a receiver of mail.
func (d *decoder) mail(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "server", "user", "secret", "from", "to", "routes", "about", "least", "every", "state")
	for key, like := range map[string]string{"owner": "team-name", "server": "smtp://mail.example.com:587", "from": "rutile@example.com", "to": "[ops@example.com]"} {
		o.required(key, like)
	}
	m.id = o.id()
	x := &notice.Mail{ID: m.id, Owner: o.owner(), Server: o.text("server"), User: o.text("user"), Secret: o.sealedRef("secret"), From: o.text("from"), To: o.addresses("to"),
		About: o.set("about"), Every: o.duration("every", notice.ShortEvery, notice.LongEvery), State: o.choice("state", notice.Active, notice.Retired)}
	if !o.has("about") {
		x.About = notice.Abouts()
	}
	for _, a := range x.About {
		if a != "" && !slices.Contains(notice.Abouts(), a) {
			o.fail("about", "%q is unknown: use %s", clip(a), strings.Join(notice.Abouts(), ", "))
		}
	}
	var severities []string
	for _, s := range finding.Severities() {
		severities = append(severities, string(s))
	}
	x.Least = cmp.Or(o.choice("least", severities...), string(finding.High))
	x.Every = cmp.Or(x.Every, notice.DefaultEvery)
	if x.From != "" && notice.CheckAddress(x.From) != nil {
		o.fail("from", "%q is no plain address of mail", clip(x.From))
	}
	o.mailServer(x)
	x.Routes = o.routes()
	m.mail = x
}

// mailServer checks how mail leaves.
func (o object) mailServer(x *notice.Mail) {
	u, err := url.Parse(x.Server)
	switch {
	case x.Server == "":
	case err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Hostname() == "" || u.Port() == "":
		o.fail("server", "must be smtp://host:587, with STARTTLS, or smtps://host:465, and nothing else")
	case (x.User == "") != (x.Secret == ""):
		o.fail("secret", "user and secret belong together: {ref: NAME} of the password, sealed with rutile credential set NAME")
	}
}

// addresses reads a list of addresses of mail.
func (o object) addresses(key string) []string {
	list := o.set(key)
	if o.has(key) && (len(list) == 0 || len(list) > maxAddresses) {
		o.fail(key, "must be a list of 1 to %d addresses", maxAddresses)
	}
	for _, a := range list {
		if a != "" && notice.CheckAddress(a) != nil {
			o.fail(key, "%q is no plain address of mail", clip(a))
		}
	}
	return list
}

func (o object) routes() []notice.Route {
	n := o.members["routes"]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxRoutes {
		o.fail("routes", "must be a list of at most %d such as {owner: team-dev, to: [dev@example.com]}", maxRoutes)
		return nil
	}
	var out []notice.Route
	for i, c := range n.Content {
		field := fmt.Sprintf("routes[%d]", i)
		k := o.d.object(c, field, "owner", "to")
		k.required("owner", "team-dev")
		k.required("to", "[dev@example.com]")
		r := notice.Route{Owner: k.owner(), To: k.addresses("to")}
		if slices.ContainsFunc(out, func(x notice.Route) bool { return x.Owner == r.Owner }) {
			o.d.fail(c, field, "is there twice: remove one")
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b notice.Route) int { return compare(a.Owner, b.Owner) })
	return out
}

func (p *planner) mail(m *manifest, it *Item) {
	next := *m.mail
	if !declare(p, it, p.cur.Mails, p.draft.changes.Mails, &next, func(x *notice.Mail) standing { return standing{&x.Created, &x.Changed, &x.State} }) {
		return
	}
	p.owner(next.Owner, it)
	p.sealed(m, it, "secret", next.Secret)
}

func (e *emitter) mail(x notice.Mail) {
	e.document(kindMail, x.ID)
	e.text(0, "owner", x.Owner)
	e.text(0, "server", x.Server)
	e.text(0, "user", x.User)
	if x.Secret != "" {
		e.open(0, "secret")
		e.text(1, "ref", x.Secret)
	}
	e.text(0, "from", x.From)
	e.list(0, "to", x.To)
	if len(x.Routes) > 0 {
		e.open(0, "routes")
		for _, r := range x.Routes {
			e.item(1, "owner", r.Owner)
			e.list(2, "to", r.To)
		}
	}
	e.flow("about", x.About)
	e.text(0, "least", x.Least)
	e.duration(0, "every", x.Every)
	e.text(0, "state", x.State)
}
