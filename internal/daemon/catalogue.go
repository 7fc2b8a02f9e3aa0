package daemon

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/mcpregistry"
	"rutile/internal/registry"
)

// The values of Registry.Serve. Left out it is open on loopback only.
const (
	registryOpen = "open"
	registryOff  = "off"
)

// check validates the section.
func (r Registry) check(note func(key, format string, args ...any)) {
	if r.Serve != "" && r.Serve != registryOpen && r.Serve != registryOff {
		note("registry.serve", "%q is not one of %s, %s", r.Serve, registryOpen, registryOff)
	}
	if r.Namespace != "" && !mcpregistry.ValidNamespace(r.Namespace) {
		note("registry.namespace", "must be a domain in reverse such as com.example: letters, digits, dots and -, at most 128 characters")
	}
	for _, o := range r.Origins {
		if u, err := url.Parse(o); o != "*" && (err != nil || u.Host == "" || o != u.Scheme+"://"+u.Host || o != strings.ToLower(o)) {
			note("registry.origins", "%q is not a web origin such as https://portal.example.com, or *", o)
		}
	}
}

// catalogue mounts the registry API, where the configuration or the listener's
// address lets it be read.
func (d *Daemon) catalogue(mux *http.ServeMux) error {
	r := d.Config.Registry
	if r.Serve == registryOff || r.Serve == "" && !loopback(d.lis.agents.Addr().String()) {
		return nil
	}
	if r.Namespace == "" {
		r.Namespace = mcpregistry.NamespaceOf(d.Config.Evidence.Organisation)
	}
	api, err := mcpregistry.New(mcpregistry.Config{URL: d.AgentsURL, Namespace: r.Namespace, Origins: r.Origins}, func() *registry.View { return d.Admin.Current().View })
	if err != nil {
		return err
	}
	mux.Handle(mcpregistry.Path, d.ownHosts(d.lis.agents, d.Config.Listen.Agents, d.AgentsURL, api))
	return nil
}

// lastUse says when a server was last used since a time, and whether evidence was
// kept all the time since then.
func (d *Daemon) lastUse(ctx context.Context, server string, since time.Time) (last time.Time, whole bool, err error) {
	u, err := d.usage(ctx, since)
	for _, x := range u.Uses {
		if x.Server == server && x.Last.After(last) {
			last = x.Last
		}
	}
	return last, err == nil && !u.Oldest.IsZero() && !u.Oldest.After(since), err
}

// usage counts what was permitted since a time, over the whole evidence.
func (d *Daemon) usage(ctx context.Context, since time.Time) (u audit.Usage, err error) {
	err = d.Evidence.Whole(ctx, func() error {
		u, err = d.store.Usage(ctx, since, "")
		return err
	})
	return u, err
}

// How long after the start, and how often, overdue reviews are looked for.
const (
	remindFirst = time.Minute
	remindEvery = time.Hour
)

// remind tells that reviews are owed, and puts away what nobody answers for.
func (d *Daemon) remind(ctx context.Context) {
	next := time.NewTimer(remindFirst)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if err := d.Admin.RemindReviews(ctx, d.Config.Lifecycle.QuarantineAfter); err != nil && ctx.Err() == nil {
			d.log.Error("overdue reviews cannot be recorded as owed", "error", access.Reasons(err))
		}
		next.Reset(remindEvery)
	}
}
