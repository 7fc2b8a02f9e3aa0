package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/wrap"
	"rutile/internal/identity"
	"rutile/internal/shim"
)

// registrar gives what is wrapped its place at the gateway.
type registrar struct {
	client   *api.Client
	up       bool // a gateway answers
	gateway  string
	data     string
	state    string // directory of the profiles
	dataFlag bool   // the shim has to be told where that is
	self     string
	owner    string
	now      func() time.Time

	servers map[string]api.Server
	agents  map[string]api.Agent
	ours    map[string]string // server → the file and entry it stands for, from the journal
	plans   map[string]*planned
	entered map[string]bool
}

// planned is a server and an agent that are, or are to be, registered.
type planned struct {
	server, agent string
	runtime, name string
	up            *wrap.Upstream
	known         bool // a server of the registry that is the same
}

// register finds out what the gateway knows. Only writing needs one that runs.
func (a *app) register(ctx context.Context, d *desk, in *wrapping) (*registrar, error) {
	self, err := program()
	if err != nil {
		return nil, err
	}
	r := &registrar{self: self, data: d.cfg.Data, owner: in.owner, now: a.now, servers: map[string]api.Server{}, agents: map[string]api.Agent{}, ours: map[string]string{}, plans: map[string]*planned{}, entered: map[string]bool{}}
	if r.owner == "" {
		r.owner = localOwner()
	}
	r.state = filepath.Join(d.cfg.Data, "connect")
	if usual, err := shim.DefaultState(); err != nil || usual != r.state {
		r.dataFlag = true
	}
	records, err := d.book.Records()
	if err != nil && in.yes {
		return nil, err
	}
	for _, rec := range records {
		for _, p := range rec.Pieces() {
			r.ours[p.Server] = rec.Path + "\x00" + p.Name
		}
	}
	if r.client, err = a.client(); err != nil {
		return nil, err
	}
	st, err := r.client.Status(ctx)
	if access.CodeOf(err) == access.CodeUnavailable && !in.yes {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.up, r.gateway = true, st.Agents
	if u, err := url.Parse(st.Agents); err == nil {
		d.describe.Gateways = append(d.describe.Gateways, u.Host)
	}
	return r, r.load(ctx)
}

func localOwner() string {
	if u, err := user.Current(); err == nil {
		if id := slug(u.Username); id != "" {
			return id
		}
	}
	return "local"
}

func (r *registrar) load(ctx context.Context) error {
	for cursor := ""; ; {
		page, err := r.client.Servers(ctx, api.ListOptions{Limit: 1000, Cursor: cursor})
		if err != nil {
			return err
		}
		for _, s := range page.Items {
			r.servers[s.ID] = s
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	for cursor := ""; ; {
		page, err := r.client.Agents(ctx, api.ListOptions{Limit: 1000, Cursor: cursor})
		if err != nil {
			return err
		}
		for _, x := range page.Items {
			r.agents[x.ID] = x
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

// slug is text as an id, "" if nothing of it can be.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	out := strings.Trim(b.String(), "-")
	return strings.Trim(out[:min(len(out), 40)], "-")
}

// plan gives an entry its server: one that is the same and holds no secret of its
// own serves all clients.
func (r *registrar) plan(e *clientconfig.Entry, up *wrap.Upstream) *planned {
	same := fingerprint(up)
	if p := r.plans[same]; p != nil {
		out := *p
		out.agent, out.runtime, out.name = slug(e.Row.Client), e.Row.Client, e.Row.Name
		return &out
	}
	p := &planned{up: up, agent: slug(e.Row.Client), runtime: e.Row.Client, name: e.Row.Name}
	base := slug(e.Name)
	if base == "" || base == access.OwnServer {
		base = "server"
	}
	for n := 0; ; n++ {
		id := base
		switch {
		case n == 1:
			id = base + "-" + slug(e.Row.Client)
		case n > 1:
			id = base + "-" + slug(e.Row.Client) + "-" + strconv.Itoa(n)
		}
		s, there := r.servers[id]
		if !there && !r.taken(id) {
			p.server = id
			break
		}
		if there && r.same(s, up) {
			p.server, p.known = id, true
			break
		}
	}
	r.plans[same] = p
	return p
}

func (r *registrar) taken(id string) bool {
	for _, p := range r.plans {
		if p.server == id {
			return true
		}
	}
	return false
}

// fingerprint tells upstreams apart for the length of this run; it is not kept.
func fingerprint(up *wrap.Upstream) string {
	b, _ := json.Marshal(up)
	return string(b)
}

// route is how the client is to start the shim, or reach the gateway.
func (r *registrar) route(d *desk, in *wrapping, e *clientconfig.Entry, p *planned, up *wrap.Upstream) (wrap.Route, error) {
	out := wrap.Route{Entry: *e, Server: p.server, Agent: p.agent, DropEnv: len(up.SecretEnv) > 0, Key: d.describe.Describe(e.Spec).Target.Key}
	if in.http {
		if len(e.Row.Fields.URL) == 0 || !slices.Contains(e.Row.Transports, "http") {
			return out, &wrap.Leave{Why: "its client takes no address: leave --http out"}
		}
		if !r.up {
			return out, &wrap.Leave{Why: "the address of the gateway is not known while it does not run"}
		}
		out.URL = identity.Resource(r.gateway, p.server)
		return out, nil
	}
	out.Command, out.Args = r.self, []string{"connect", p.server, "--agent", p.agent}
	if r.dataFlag {
		out.Args = append(out.Args, "--data", r.data)
	}
	return out, nil
}
