package inventory

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"rutile/internal/discovery"
)

// Taking is a batch with what it is taken with.
type Taking struct {
	Batch *Batch
	Now   time.Time
	// Registry resolves entries that lead to the gateway.
	Registry discovery.Registry
	Missing  time.Duration // DefaultMissing if zero
}

// rows are the rows a batch stands for, by id.
type rows struct {
	servers     map[string]Server
	variants    map[string]Variant
	sightings   map[string]Sighting
	agents      map[string]Agent
	credentials map[string]Credential
}

// Scope is what must be read before the batch is planned.
func (t *Taking) Scope() Scope {
	r := t.rows()
	return Scope{Host: t.Batch.Host, Servers: slices.Sorted(maps.Keys(r.servers)), Variants: slices.Sorted(maps.Keys(r.variants))}
}

// rows draws the rows of a batch. Ids are made here: what a batch calls its rows
// is not looked at.
func (t *Taking) rows() rows {
	r := rows{map[string]Server{}, map[string]Variant{}, map[string]Sighting{}, map[string]Agent{}, map[string]Credential{}}
	for i := range t.Batch.Sightings {
		s := t.Registry.Resolve(t.Batch.Sightings[i])
		registered := false
		// What is routed is what stands behind the gateway: wrapping an entry makes no
		// other server and no other variant of it.
		if at := slices.IndexFunc(t.Registry.Servers, func(reg discovery.Registered) bool {
			return reg.ID == s.Target.Server && reg.Key != ""
		}); at >= 0 && s.Target.Server != "" {
			s.Target = t.Registry.Servers[at].Target
			s.Target.Key = t.Registry.Servers[at].Key
			registered = true
		}
		// So is a process the gateway started, if it is of a server that is registered.
		if s.Routed && !registered && s.Fact == discovery.Running {
			if at := slices.IndexFunc(t.Registry.Servers, func(reg discovery.Registered) bool {
				return reg.Key != "" && reg.Key == Key(t.Batch.Host, s.Target.Key)
			}); at >= 0 {
				s.Target = t.Registry.Servers[at].Target
				s.Target.Key = t.Registry.Servers[at].Key
				registered = true
			}
		}
		// Whatever else a machine says leads here is taken for a name of the gateway
		// that nothing stands behind: no word of one machine routes a server of others.
		if s.Routed = s.Routed && (registered || s.Target.Kind == discovery.KindGateway); s.Routed && !registered {
			s.Target.Key = "rutile:" + s.Target.Server
		}
		t.sighting(&r, s, registered)
	}
	for i := range t.Batch.Agents {
		a := &t.Batch.Agents[i]
		id := idOf("agt", t.Batch.Host, a.User, a.Client)
		r.agents[id] = Agent{ID: id, Host: t.Batch.Host, User: a.User, Client: a.Client, Name: a.Name, Supported: a.Supported, First: t.Now, Last: t.Now}
	}
	for i := range t.Batch.Credentials {
		t.credential(&r, &t.Batch.Credentials[i])
	}
	return r
}

// sighting adds what was seen. The key of what is registered is the registry's.
func (t *Taking) sighting(r *rows, s discovery.Sighting, registered bool) {
	host := t.Batch.Host
	key := Key(host, s.Target.Key)
	if registered {
		key = s.Target.Key
	}
	if s.Target.Key == "" {
		key = "host:" + host + "/opaque:" + idOf("opq", s.Source, s.User, s.Place.Path, s.Place.Pointer)[4:]
	}
	s.Target.Key = key
	srv, ok := r.servers[key]
	if !ok {
		srv = Server{Key: key, Kind: s.Target.Kind, First: t.Now}
	}
	srv.Names = named(srv.Names, s.Name)
	r.servers[key] = srv
	variant := idOf("var", s.Target.Identity()...)
	r.variants[variant] = Variant{ID: variant, Server: key, Target: s.Target, First: t.Now}
	id := idOf("sgt", host, s.User, s.Source, s.Place.Path, s.Place.Pointer, s.Place.Address, key, s.Reading, string(s.Fact))
	one := Sighting{
		ID: id, Server: key, Variant: variant, Host: host, User: s.User, Source: s.Source, Fact: s.Fact, Strength: s.Strength,
		Clients: s.Clients, Rows: s.Rows, Scope: s.Scope, Place: s.Place, Name: s.Name, Disabled: s.Disabled, Reading: s.Reading, Secrets: s.Secrets, Scopes: s.Scopes,
		Executable: s.Executable, Routed: s.Routed, Why: slices.Compact(slices.Sorted(slices.Values(s.Why))), CodeOwners: s.CodeOwners, First: t.Now, Last: t.Now,
	}
	// Two entries under one id are one place seen twice: the first stands, in an order
	// that does not change from run to run.
	if had, ok := r.sightings[id]; !ok || fingerprint(&one) < fingerprint(&had) {
		r.sightings[id] = one
	}
}

func (t *Taking) credential(r *rows, c *discovery.Credential) {
	host := t.Batch.Host
	id := idOf("crd", host, c.User, c.Name, string(c.Kind), c.Shape, c.Where, c.Place.Path)
	one := Credential{ID: id, Host: host, User: c.User, Name: c.Name, Kind: c.Kind, Shape: c.Shape, Where: c.Where, Place: c.Place, Mode: c.Mode, First: t.Now, Last: t.Now}
	for _, k := range c.UsedBy {
		one.UsedBy = append(one.UsedBy, Key(host, k))
	}
	one.UsedBy = slices.Compact(slices.Sorted(slices.Values(one.UsedBy)))
	if c.Mode != "" { // a token cache says when it was written
		one.Written = t.Batch.Started.UTC().Truncate(24*time.Hour).AddDate(0, 0, -c.Age)
	}
	r.credentials[id] = one
}

// Key is the canonical key of something at a host: one that a path or a name on
// that machine makes is never another machine's (discovery.md 14), and none that
// another machine's path makes is its.
func Key(host, key string) string {
	if strings.HasPrefix(key, "host:") && !strings.HasPrefix(key, "host:"+host+"/") {
		return bound("host:" + host + "/" + key)
	}
	for _, local := range []string{"path:", "script:", "command:"} {
		if strings.HasPrefix(key, local) {
			return bound("host:" + host + "/" + key)
		}
	}
	return bound(key)
}

// maxKey is the longest key that is kept as it is, in bytes.
const maxKey = 512

func bound(key string) string {
	if len(key) <= maxKey {
		return key
	}
	return "digest:" + idOf("", key)[1:]
}

// maxNames bounds the names a server is shown with.
const maxNames = 16

func named(names []string, more ...string) []string {
	for _, n := range more {
		if n != "" && len(n) <= maxWord && len(names) < maxNames && !slices.Contains(names, n) {
			names = append(slices.Clone(names), n)
		}
	}
	slices.Sort(names)
	return names
}

// Plan says what taking a batch changes of what is kept. It changes nothing.
func (t *Taking) Plan(k Kept) (Changes, Result, Covered) {
	r := t.rows()
	c := Changes{Base: k.Generation, At: t.Now}
	res := Result{Batch: t.Batch.ID, Host: t.Batch.Host}
	t.host(&c, k.Host)
	for _, key := range slices.Sorted(maps.Keys(r.servers)) {
		next := r.servers[key]
		had, ok := k.Servers[key]
		if !ok {
			res.Servers++
			c.Servers = append(c.Servers, next)
			continue
		}
		if names := named(had.Names, next.Names...); !slices.Equal(names, had.Names) {
			had.Names = names
			c.Servers = append(c.Servers, had)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.variants)) {
		if _, ok := k.Variants[id]; !ok {
			res.Variants++
			c.Variants = append(c.Variants, r.variants[id])
		}
	}
	covered := t.covered(&r)
	t.sightings(&c, &res, &r, k.Sightings, covered)
	for _, id := range slices.Sorted(maps.Keys(r.agents)) {
		next := r.agents[id]
		if had, ok := k.Agents[id]; ok {
			next.First, next.Owner = had.First, had.Owner
			if next.Name == had.Name && next.Supported == had.Supported {
				c.SeenAgents = append(c.SeenAgents, id)
				continue
			}
		}
		c.Agents = append(c.Agents, next)
	}
	for _, id := range slices.Sorted(maps.Keys(r.credentials)) {
		next := r.credentials[id]
		if had, ok := k.Credentials[id]; ok {
			next.First = had.First
			if slices.Equal(next.UsedBy, had.UsedBy) && next.Mode == had.Mode && next.Written.Equal(had.Written) && next.Place == had.Place {
				c.SeenCredentials = append(c.SeenCredentials, id)
				continue
			}
		}
		c.Credentials = append(c.Credentials, next)
	}
	return c, res, covered
}

func (t *Taking) host(c *Changes, had *Host) {
	next := Host{ID: t.Batch.Host, Name: t.Batch.Name, System: t.Batch.System, Device: t.Batch.Device, First: t.Now, Last: t.Now}
	if had != nil {
		next.First = had.First
		if next.Device == "" {
			next.Device = had.Device
		}
		next.Runs = had.Runs
	}
	next.Runs = t.Batch.runs(next.Runs)
	c.Host = &next
}

// sightings says which sightings are new, changed, seen again or gone.
func (t *Taking) sightings(c *Changes, res *Result, r *rows, kept map[string]Sighting, covered Covered) {
	missing := cmp.Or(t.Missing, DefaultMissing)
	for _, id := range slices.Sorted(maps.Keys(r.sightings)) {
		next := r.sightings[id]
		had, ok := kept[id]
		if !ok {
			res.Sightings++
			c.Sightings = append(c.Sightings, next)
			continue
		}
		next.First, next.Reappeared = had.First, had.Reappeared
		back := !had.Gone.IsZero() || t.Now.Sub(had.Last) > missing
		if back {
			next.Reappeared = t.Now
		}
		if !back && fingerprint(&next) == fingerprint(&had) {
			res.Seen++
			c.SeenSightings = append(c.SeenSightings, id)
			continue
		}
		res.Changed++
		c.Sightings = append(c.Sightings, next)
	}
	for _, id := range slices.Sorted(maps.Keys(kept)) {
		had := kept[id]
		if _, again := r.sightings[id]; again || !had.Gone.IsZero() || !covered.Sighting(&had) {
			continue
		}
		had.Gone = t.Now
		res.Gone++
		c.Sightings = append(c.Sightings, had)
	}
}

// idOf is an id made of words: a prefix and 20 hexadecimal digits.
func idOf(prefix string, words ...string) string {
	h := sha256.New()
	for _, w := range words {
		h.Write([]byte(w + "\x00"))
	}
	return prefix + "_" + hex.EncodeToString(h.Sum(nil))[:20]
}
