package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/credential"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/wrap"
	"rutile/internal/identity"
	"rutile/internal/registry"
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

// same reports whether a registered server is what an entry stands for; how it is
// confined is for whoever registered it to say. One with sealed values is so only if
// no other entry uses it now: its values may differ.
func (r *registrar) same(s api.Server, up *wrap.Upstream) bool {
	t, c := transport(up)
	had := shown(s.Transport)
	if stdio, ok := t["stdio"].(map[string]any); ok {
		delete(stdio, "confine")
	}
	x, err := json.Marshal(t)
	if err != nil {
		return false
	}
	y, err := json.Marshal(had)
	if err != nil || !bytes.Equal(x, y) {
		return false
	}
	switch {
	case c == nil:
		return s.Credential == nil
	case s.Credential == nil || !s.Wrapped || r.ours[s.ID] != "":
		return false
	}
	c["ref"] = s.Credential.Ref
	x, _ = json.Marshal(c)
	y, _ = json.Marshal(s.Credential)
	return sameJSON(x, y)
}

func sameJSON(x, y []byte) bool {
	var a, b any
	if json.Unmarshal(x, &a) != nil || json.Unmarshal(y, &b) != nil {
		return false
	}
	p, _ := json.Marshal(a)
	q, _ := json.Marshal(b)
	return bytes.Equal(p, q)
}

// shown is a transport in the form of a manifest, without its confinement.
func shown(t registry.Transport) map[string]any {
	if h := t.HTTP; h != nil {
		m := map[string]any{"url": h.URL}
		if h.SSE {
			m["sse"] = true
		}
		return map[string]any{"http": m}
	}
	s := t.Stdio
	m := map[string]any{"command": s.Command}
	if len(s.Args) > 0 {
		m["args"] = s.Args
	}
	if len(s.Env) > 0 {
		m["env"] = s.Env
	}
	if s.Dir != "" {
		m["dir"] = s.Dir
	}
	return map[string]any{"stdio": m}
}

// transport is an upstream in the form of a manifest, with its credential apart.
func transport(up *wrap.Upstream) (t, cred map[string]any) {
	names := valueNames(up)
	if up.URL != "" {
		m := map[string]any{"url": up.URL}
		if up.SSE {
			m["sse"] = true
		}
		return map[string]any{"http": m}, headerCredential(up, names)
	}
	m := map[string]any{"command": up.Command}
	if len(up.Args) > 0 {
		m["args"] = up.Args
	}
	if len(up.Env) > 0 {
		m["env"] = up.Env
	}
	if up.Dir != "" {
		m["dir"] = up.Dir
	}
	if len(up.Read)+len(up.Write) > 0 {
		x := map[string]any{"bestEffort": true}
		if len(up.Read) > 0 {
			x["read"] = slices.Sorted(slices.Values(up.Read))
		}
		if len(up.Write) > 0 {
			x["write"] = slices.Sorted(slices.Values(up.Write))
		}
		m["confine"] = x
	}
	return map[string]any{"stdio": m}, processCredential(up, names)
}

// valueNames gives each sealed value its name in the vault; the first is secret.
func valueNames(up *wrap.Upstream) map[string]string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(up.SecretEnv)) {
		keys = append(keys, "env "+k)
	}
	for _, k := range slices.Sorted(maps.Keys(up.SecretHeaders)) {
		keys = append(keys, "header "+k)
	}
	for _, k := range slices.Sorted(maps.Keys(up.SecretArgs)) {
		keys = append(keys, "arg "+strconv.Itoa(k))
	}
	out := map[string]string{}
	for i, k := range keys {
		out[k] = "secret"
		if i > 0 {
			out[k] = "v" + strconv.Itoa(i+1)
		}
	}
	return out
}

func headerCredential(up *wrap.Upstream, names map[string]string) map[string]any {
	if len(up.SecretHeaders) == 0 {
		return nil
	}
	c, also := map[string]any{}, map[string]string{}
	for h := range up.SecretHeaders {
		if n := names["header "+h]; n == "secret" {
			c["header"] = h
		} else {
			also[h] = "{" + n + "}"
		}
	}
	if len(also) > 0 {
		c["also"] = also
	}
	return c
}

func processCredential(up *wrap.Upstream, names map[string]string) map[string]any {
	if up.Secrets() == 0 {
		return nil
	}
	c, also, args := map[string]any{}, map[string]string{}, map[string]string{}
	for e := range up.SecretEnv {
		if n := names["env "+e]; n == "secret" {
			c["env"] = e
		} else {
			also[e] = "{" + n + "}"
		}
	}
	for i := range up.SecretArgs {
		args[strconv.Itoa(i)] = "{" + names["arg "+strconv.Itoa(i)] + "}"
	}
	if len(also) > 0 {
		c["also"] = also
	}
	if len(args) > 0 {
		c["args"] = args
	}
	return c
}

// sealedValues are what goes to the vault.
func sealedValues(up *wrap.Upstream) ([]byte, error) {
	names, values := valueNames(up), map[string]string{}
	for k, v := range up.SecretEnv {
		values[names["env "+k]] = v
	}
	for k, v := range up.SecretHeaders {
		values[names["header "+k]] = v
	}
	for k, v := range up.SecretArgs {
		values[names["arg "+strconv.Itoa(k)]] = v
	}
	return credential.Values(values)
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

// enter registers what an entry needs: the secret, the server with exactly its
// command, the agent, and the key its shim proves it with. What is there stays.
func (r *registrar) enter(ctx context.Context, p *planned) (warning string, err error) {
	if err := r.enterAgent(ctx, p); err != nil {
		return "", err
	}
	if r.entered[p.server] {
		return "", nil
	}
	if s, ok := r.servers[p.server]; ok && !s.Callable {
		return "", access.Errorf(access.CodeConflict, "server %q is registered and cannot be called: %s", p.server, s.Why)
	}
	t, cred := transport(p.up)
	if cred != nil {
		cred["ref"] = p.server
		if err := r.seal(ctx, p); err != nil {
			return "", err
		}
	}
	r.entered[p.server] = true
	if p.known {
		return "", nil
	}
	// The command is approved, the tools behind it are not: no listing is the first.
	at := r.now().UTC().Format(time.RFC3339)
	m := map[string]any{
		"kind": "Server", "id": p.server, "owner": r.owner, "transport": t, "state": string(registry.ServerSanctioned), "wrapped": true,
		"stateWhy": "its command was approved by wrapping it",
		"baseline": map[string]string{"tool": at, "prompt": at, "resource": at, "template": at, "instructions": at},
	}
	if cred != nil {
		m["credential"] = cred
	}
	applied, err := r.apply(ctx, m)
	if err != nil {
		return "", err
	}
	for _, w := range applied.Warnings {
		if w.Server == p.server {
			warning = w.Message
		}
	}
	return warning, nil
}

func (r *registrar) apply(ctx context.Context, manifest map[string]any) (api.Applied, error) {
	text, err := json.Marshal(manifest)
	if err != nil {
		return api.Applied{}, err
	}
	return r.client.Apply(ctx, []admin.Document{{File: "wrap", Text: string(text)}})
}

// seal keeps the secrets of an entry for its server alone.
func (r *registrar) seal(ctx context.Context, p *planned) error {
	value, err := sealedValues(p.up)
	if err != nil {
		return err
	}
	defer clear(value)
	for _, list := range []map[string]string{p.up.SecretEnv, p.up.SecretHeaders} {
		for name, v := range list {
			if len(v) < credential.MinValue {
				return access.Errorf(access.CodeInvalid, "the value of %s is shorter than %d bytes: so short a secret cannot be kept out of answers", name, credential.MinValue)
			}
		}
	}
	if p.known {
		_, err = r.client.RotateCredential(ctx, p.server, value)
		return err
	}
	_, err = r.client.SetCredential(ctx, p.server, api.CredentialSpec{Servers: []string{p.server}, Value: value})
	if access.CodeOf(err) != access.CodeConflict {
		return err
	}
	// A run that was interrupted sealed it for this server, or it is somebody's.
	had, herr := r.client.Credential(ctx, p.server)
	if herr != nil || !slices.Equal(had.Servers, []string{p.server}) {
		return err
	}
	_, err = r.client.RotateCredential(ctx, p.server, value)
	return err
}

// enterAgent registers the client as an agent and enrolls a key for its shim.
func (r *registrar) enterAgent(ctx context.Context, p *planned) error {
	if r.entered["agent "+p.agent] {
		return nil
	}
	if _, ok := r.agents[p.agent]; !ok {
		m := map[string]any{"kind": "Agent", "id": p.agent, "owner": r.owner, "purpose": fmt.Sprintf("%s of %s", p.name, r.owner), "runtime": p.runtime, "wrapped": true}
		if _, err := r.apply(ctx, m); err != nil {
			return err
		}
	}
	if had, err := shim.Load(r.state, p.agent); err != nil || had.Gateway != r.gateway || !r.knows(p.agent, had) {
		in, err := r.client.Invite(ctx, p.agent, api.InviteSpec{})
		if err != nil {
			return err
		}
		if _, err := shim.Enroll(ctx, r.state, r.gateway, "", in.Code); err != nil {
			return err
		}
	}
	r.entered["agent "+p.agent] = true
	return nil
}

// knows reports whether the gateway has the key of a profile.
func (r *registrar) knows(agent string, p shim.Profile) bool {
	id, err := p.KeyID()
	return err == nil && slices.ContainsFunc(r.agents[agent].Keys, func(k json.RawMessage) bool { return identity.KeyID(k) == id })
}
