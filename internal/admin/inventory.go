package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
	"rutile/internal/registry"
)

const kindInventory = "Inventory"

// InventoryConfig configures an Inventory.
type InventoryConfig struct {
	// Host is the pseudonym of the machine the gateway runs on.
	Host string
	// Describe says what a server of the registry is, in the words of what is found.
	Describe func() *discovery.Describer
	// Missing is how long something may go unseen; inventory.DefaultMissing if zero.
	Missing time.Duration
	// Gateway is the address agents reach the gateway at, for exports.
	Gateway string
	// Account is the pseudonym of the account at Host that is called like a user, "" for
	// none. Nil where there are no accounts.
	Account func(user string) string
	// Used says when servers of the registry were called last, by their ids. Nil where
	// nobody knows.
	Used func(ctx context.Context) (map[string]time.Time, error)
}

// Inventory is where what was found is kept, looked at and put in order. It is
// safe for concurrent use, and by several nodes.
type Inventory struct {
	cfg      InventoryConfig
	admin    *Admin
	store    inventory.Store
	findings *Findings
	debts    Debts

	turn chan struct{} // holds one while a batch is taken: two at once only get in each other's way

	mu    sync.Mutex
	reg   discovery.Registry
	regAt time.Time
	gen   uint64

	drawing sync.Mutex // one puts it together, others wait for what comes of it
	drawn   *drawn
}

// registryTime is how long a description of the registry is kept: what scripts
// hold may change without the registry.
const registryTime = 5 * time.Second

// NewInventory returns an Inventory. All are required.
func NewInventory(cfg InventoryConfig, a *Admin, s inventory.Store, f *Findings, d Debts) (*Inventory, error) {
	if a == nil || s == nil || f == nil || d == nil || cfg.Describe == nil || !inventory.ValidHost(cfg.Host) {
		return nil, errors.New("admin: a dependency is missing")
	}
	if cfg.Missing == 0 {
		cfg.Missing = inventory.DefaultMissing
	}
	return &Inventory{cfg: cfg, admin: a, store: s, findings: f, debts: d, turn: make(chan struct{}, 1)}, nil
}

// Registry is what found servers are compared with.
func (v *Inventory) Registry() discovery.Registry {
	v.mu.Lock()
	defer v.mu.Unlock()
	cur := v.admin.Current()
	view, now := cur.View, v.admin.now()
	if v.reg.Known && v.gen == view.Generation() && time.Since(v.regAt) < registryTime {
		return v.reg
	}
	describe := v.cfg.Describe()
	reg := discovery.Registry{Known: true}
	for _, s := range view.Servers() {
		var spec discovery.Spec
		switch {
		case s.Transport.HTTP != nil:
			spec.URL = s.Transport.HTTP.URL
		case s.Transport.Stdio != nil:
			spec.Command, spec.Args = s.Transport.Stdio.Command, s.Transport.Stdio.Args
		}
		target := describe.Describe(spec).Target
		reg.Servers = append(reg.Servers, discovery.Registered{ID: s.ID, State: string(s.State), Key: inventory.Key(v.cfg.Host, target.Key), Target: target, Tier: cur.RiskOf(s, now).Tier})
	}
	v.reg, v.regAt, v.gen = reg, time.Now(), view.Generation()
	return reg
}

// Report takes a batch that an operator brings. Taking it again changes nothing.
func (v *Inventory) Report(ctx context.Context, actor Actor, b inventory.Batch) (inventory.Result, error) {
	if err := v.admin.Authorize(ctx, actor, OpInventory); err != nil {
		return inventory.Result{}, err
	}
	if b.Device != "" || b.Sequence != 0 || b.Audience != "" {
		return inventory.Result{}, access.Errorf(access.CodeInvalid, "the batch is a device's: let it report itself with rutile discover --report")
	}
	raw, err := json.Marshal(b)
	if err != nil {
		return inventory.Result{}, fmt.Errorf("encoding a batch: %w", err)
	}
	return v.take(ctx, actor.String(), &b, inventory.Digest(raw))
}

// Watched takes what the gateway itself saw on its machine.
func (v *Inventory) Watched(ctx context.Context, b inventory.Batch) (inventory.Result, error) {
	raw, err := json.Marshal(b)
	if err != nil {
		return inventory.Result{}, fmt.Errorf("encoding a batch: %w", err)
	}
	return v.take(ctx, system, &b, inventory.Digest(raw))
}

// take takes a batch whose sender is known.
func (v *Inventory) take(ctx context.Context, actor string, b *inventory.Batch, digest string) (inventory.Result, error) {
	if err := b.Check(); err != nil {
		return inventory.Result{}, err
	}
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return inventory.Result{}, ctx.Err()
	}
	for range attempts {
		res, keys, err := v.tryTake(ctx, actor, b, digest)
		if access.CodeOf(err) == access.CodeConflict && !errors.Is(err, errOtherBatch) {
			continue
		}
		if err != nil {
			return inventory.Result{}, err
		}
		if !res.Again {
			if err := v.Reconcile(ctx, keys); err != nil {
				return inventory.Result{}, err
			}
		}
		return res, nil
	}
	return inventory.Result{}, access.Errorf(access.CodeConflict, "other reports kept coming first: try again")
}

// errOtherBatch says that an id is taken by another batch.
var errOtherBatch = access.Errorf(access.CodeConflict, "another batch was taken under this id: run rutile discover again")

func (v *Inventory) tryTake(ctx context.Context, actor string, b *inventory.Batch, digest string) (inventory.Result, []string, error) {
	if had, ok, err := v.store.Batch(ctx, b.ID); err != nil {
		return inventory.Result{}, nil, err
	} else if ok {
		if had.Digest != digest || had.Host != b.Host || had.Device != b.Device {
			return inventory.Result{}, nil, errOtherBatch
		}
		had.Result.Again = true
		return had.Result, nil, nil
	}
	taking := inventory.Taking{Batch: b, Now: v.admin.now(), Registry: v.Registry(), Missing: v.cfg.Missing}
	scope := taking.Scope()
	kept, err := v.store.Inventory(ctx, scope)
	if err != nil {
		return inventory.Result{}, nil, err
	}
	if kept.Host != nil && kept.Host.Device != "" && kept.Host.Device != b.Device {
		return inventory.Result{}, nil, access.Errorf(access.CodeDenied, "host %s is reported by the device %s, and by nobody else", b.Host, kept.Host.Device)
	}
	c, res, covered := taking.Plan(kept)
	says := taking.Says(kept, covered)
	if c.Findings, err = v.findings.plan(ctx, says); err != nil {
		return inventory.Result{}, nil, err
	}
	res.Opened, res.Resolved = len(c.Findings.Opened), len(c.Findings.Ended)
	c.Taken = &inventory.Taken{ID: b.ID, Host: b.Host, Device: b.Device, Sequence: b.Sequence, Digest: digest, At: taking.Now, Result: res}
	owed, err := v.owed(actor, "report", b.Host, "", inventory.Account(b, &res))
	if err != nil {
		return inventory.Result{}, nil, err
	}
	c.Owed = []access.Owed{owed}
	if err := v.store.CommitInventory(ctx, c); err != nil {
		return inventory.Result{}, nil, err
	}
	v.findings.kept(c.Findings)
	keys := scope.Servers
	for i := range c.Sightings { // what is gone stands for keys that the batch does not name
		keys = append(keys, c.Sightings[i].Server)
	}
	slices.Sort(keys)
	return res, slices.Compact(keys), v.settle(ctx, owed.ID)
}

// owed is the leaf of a change that is kept with it.
func (v *Inventory) owed(actor, verb, object, why string, detail any) (access.Owed, error) {
	return owedLeaf(v.admin.cfg.Node, actor, verb, kindInventory, object, why, detail)
}

func owedLeaf(node, actor, verb, kind, object, why string, detail any) (access.Owed, error) {
	b, err := json.Marshal(detail)
	if err != nil {
		return access.Owed{}, fmt.Errorf("recording a change: %w", err)
	}
	return access.Owed{ID: access.NewID(access.PrefixChange), Node: node, Actor: actor, Verb: verb, Kind: kind, Object: object, Reason: why, Detail: b}, nil
}

// settle makes the leaf of a change that stands durable. Where that fails it stays
// owed, and the caller is told.
func (v *Inventory) settle(ctx context.Context, id string) error { return settle(ctx, v.debts, id) }

func settle(ctx context.Context, d Debts, id string) error {
	if err := d.Settle(context.WithoutCancel(ctx), id); err != nil {
		return &access.Error{Code: access.CodeEvidence, Msg: "the change stands and its evidence is owed; see the gateway's log", Err: err}
	}
	return nil
}

// answered has registered servers be owned by who answers for them there.
func (v *Inventory) answered(all []inventory.Entry) {
	view := v.admin.Current().View
	for i := range all {
		if s, ok := view.Server(all[i].Registered); ok && s.Owner != "" && s.State != registry.ServerRetired {
			all[i].Owner = s.Owner
		}
	}
}

// Around returns what stands around the servers: hosts, agents, credentials.
func (v *Inventory) Around(ctx context.Context) (inventory.Around, error) { return v.store.Around(ctx) }

// Found is one server with all that is known of it.
type Found struct {
	inventory.Entry
	Variants []inventory.Variant  `json:"variants"`
	Places   []inventory.Sighting `json:"places"` // every sighting, the newest first
	Problems []finding.Finding    `json:"problems"`
	Merges   []inventory.Merge    `json:"merges,omitempty"`
}

// maxPlaces bounds how many sightings one answer shows.
const maxPlaces = 1000

// Show returns one server by its key, or by a key that was merged into it, the
// beginning of its key or a name where only one server has it.
func (v *Inventory) Show(ctx context.Context, key string) (Found, error) {
	all, around, err := v.entries(ctx)
	if err != nil {
		return Found{}, err
	}
	e, err := pick(all, inventory.Roots(around.Merges), key)
	if err != nil {
		return Found{}, err
	}
	out := Found{Entry: e, Variants: []inventory.Variant{}, Places: []inventory.Sighting{}, Problems: []finding.Finding{}}
	keys := append([]string{e.Key}, e.Merged...)
	variants, seen, err := v.store.Seen(ctx, keys)
	if err != nil {
		return Found{}, err
	}
	slices.SortStableFunc(seen, func(a, b inventory.Sighting) int { return b.Last.Compare(a.Last) })
	out.Variants, out.Places = append(out.Variants, variants...), append(out.Places, seen[:min(len(seen), maxPlaces)]...)
	for _, k := range keys {
		list, err := v.findings.store.Findings(ctx, finding.Filter{Subject: k})
		if err != nil {
			return Found{}, err
		}
		for i := range list {
			list[i].State = list[i].Now(v.admin.now())
			if list[i].Subject.Kind == finding.SubjectFound && list[i].State != finding.Resolved {
				out.Problems = append(out.Problems, list[i])
			}
		}
	}
	for _, m := range around.Merges {
		if slices.Contains(keys, m.From) || slices.Contains(keys, m.Into) {
			out.Merges = append(out.Merges, m)
		}
	}
	return out, nil
}

// pick finds the one entry that is meant.
func pick(all []inventory.Entry, roots map[string]string, key string) (inventory.Entry, error) {
	want := inventory.Root(roots, key)
	var like []inventory.Entry
	for i := range all {
		if all[i].Key == want {
			return all[i], nil
		}
		if key != "" && (strings.HasPrefix(all[i].Key, key) || slices.Contains(all[i].Names, key)) {
			like = append(like, all[i])
		}
	}
	switch len(like) {
	case 1:
		return like[0], nil
	case 0:
		return inventory.Entry{}, access.Errorf(access.CodeNotFound, "%q was not found anywhere: see rutile inventory list", clip(key))
	}
	return inventory.Entry{}, access.Errorf(access.CodeConflict, "%d servers begin with %q or are called so: name one by its key, as rutile inventory list shows it", len(like), clip(key))
}
