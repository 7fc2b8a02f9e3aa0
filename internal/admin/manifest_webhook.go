package admin

import (
	"net/url"
	"strings"

	"go.yaml.in/yaml/v4"

	"rutile/internal/webhook"
)

// webhook reads a receiver of events. It holds no secret: what signs, and the
// rest of an address that is one, are sealed and named.
func (d *decoder) webhook(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "url", "path", "events", "form", "secret", "state")
	o.required("owner", "team-name")
	o.required("url", "https://hooks.example.com/rutile")
	o.required("events", "[request.pending]")
	m.id = o.id()
	w := &webhook.Webhook{ID: m.id, Owner: o.owner(), URL: o.text("url"), Events: o.set("events"), Secret: o.sealedRef("secret"), Path: o.sealedRef("path"),
		Form: o.choice("form", webhook.FormJSON, webhook.FormSlack), State: o.choice("state", webhook.Active, webhook.Retired)}
	if w.Form == "" {
		w.Form = webhook.FormJSON
	}
	if w.URL != "" {
		if msg := checkURL(w.URL); msg != "" {
			o.fail("url", "%s", msg)
		} else if strings.HasPrefix(w.URL, "http:") && !loopback(w.URL) {
			o.fail("url", "must start with https://: who asks for what would travel in clear")
		} else if u, err := url.Parse(w.URL); err == nil && u.RawQuery != "" && w.Path != "" {
			o.fail("path", "cannot follow a url with a query: put both into the sealed credential")
		}
	}
	known := map[string]bool{}
	for _, e := range webhook.Events() {
		known[e] = true
	}
	for _, e := range w.Events {
		if e != "" && !known[e] {
			o.fail("events", "%q is unknown: use %s", clip(e), strings.Join(webhook.Events(), ", "))
		}
	}
	if o.has("events") && len(w.Events) == 0 {
		o.fail("events", "is empty: name what it is to be told")
	}
	if w.Secret == "" && w.Form == webhook.FormJSON && !o.has("secret") {
		o.fail("secret", "is required with form json: add secret: {ref: NAME} and seal it with rutile credential set NAME")
	}
	m.hook = w
}

// sealedRef reads {ref: NAME}.
func (o object) sealedRef(key string) string {
	s, ok := o.sub(key, "ref")
	if !ok {
		return ""
	}
	s.required("ref", "the name given to rutile credential set")
	return s.ref("ref")
}

func (p *planner) webhook(m *manifest, it *Item) {
	next := *m.hook
	if !declare(p, it, p.cur.Webhooks, p.draft.changes.Webhooks, &next, func(x *webhook.Webhook) standing { return standing{&x.Created, &x.Changed, &x.State} }) {
		return
	}
	p.owner(next.Owner, it)
	p.sealed(m, it, "secret", next.Secret)
	p.sealed(m, it, "path", next.Path)
}

func (e *emitter) webhook(w webhook.Webhook) {
	e.document(kindWebhook, w.ID)
	e.text(0, "owner", w.Owner)
	e.text(0, "url", w.URL)
	if w.Path != "" {
		e.open(0, "path")
		e.text(1, "ref", w.Path)
	}
	e.list(0, "events", w.Events)
	e.text(0, "form", w.Form)
	if w.Secret != "" {
		e.open(0, "secret")
		e.text(1, "ref", w.Secret)
	}
	e.text(0, "state", w.State)
}
