package admin

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery/inventory"
)

const kindDevice = "Device"

// Bounds of the fleet.
const (
	DefaultDeviceTTL = time.Hour
	maxDeviceTTL     = 7 * 24 * time.Hour
	maxDevices       = 100_000
	maxClock         = 10 * time.Minute   // a device's clock may be ahead
	maxBatchAge      = 7 * 24 * time.Hour // a batch may have waited
)

// Fleet lets machines report what they find. It is safe for concurrent use, and by
// several nodes.
type Fleet struct {
	inventory *Inventory
	store     inventory.FleetStore
	gateway   string
}

// NewFleet returns a Fleet. gateway is the address devices report to. All are
// required.
func NewFleet(v *Inventory, s inventory.FleetStore, gateway string) (*Fleet, error) {
	if v == nil || s == nil || gateway == "" {
		return nil, errors.New("admin: a dependency is missing")
	}
	return &Fleet{inventory: v, store: s, gateway: gateway}, nil
}

// Ticket is what enrols one machine, once.
type Ticket struct {
	Token   string           `json:"token"` // a secret
	Gateway string           `json:"gateway"`
	Device  inventory.Device `json:"device"`
}

// Invite makes a token that lets its holder enrol one machine within ttl; 0 is an
// hour. named lets the machine say what it is called.
func (f *Fleet) Invite(ctx context.Context, actor Actor, label string, named bool, ttl time.Duration) (Ticket, error) {
	if err := f.inventory.mayChange(ctx, actor, label); err != nil {
		return Ticket{}, err
	}
	if ttl == 0 {
		ttl = DefaultDeviceTTL
	}
	if strings.TrimSpace(label) == "" || ttl < time.Minute || ttl > maxDeviceTTL {
		return Ticket{}, access.Errorf(access.CodeInvalid, "an enrolment needs a name for the machine, and a token lives between 1m and %s, not %s", maxDeviceTTL, ttl)
	}
	all, err := f.store.Devices(ctx)
	if err != nil {
		return Ticket{}, err
	}
	if len(all) >= maxDevices {
		return Ticket{}, access.Errorf(access.CodeTooLarge, "%d machines are enrolled already", len(all))
	}
	id := access.NewID(inventory.PrefixDevice)
	token, public, err := inventory.NewToken(id)
	if err != nil {
		return Ticket{}, err
	}
	now := f.inventory.admin.now()
	d := inventory.Device{ID: id, Label: label, State: inventory.DeviceInvited, Public: public, Named: named, By: actor.String(), Created: now, Expires: now.Add(ttl)}
	if err := f.put(ctx, actor.String(), "invite", &d, ""); err != nil {
		return Ticket{}, err
	}
	return Ticket{Token: token, Gateway: f.gateway, Device: d}, nil
}

// put writes a device with its leaf of evidence.
func (f *Fleet) put(ctx context.Context, actor, verb string, d *inventory.Device, why string) error {
	owed, err := owedLeaf(f.inventory.admin.cfg.Node, actor, verb, kindDevice, d.ID, why, d)
	if err != nil {
		return err
	}
	if err := f.store.PutDevice(ctx, *d, owed); err != nil {
		return err
	}
	d.Rev++
	return f.inventory.settle(ctx, owed.ID)
}

// Enrol adds a machine with a token. It fails in one way for every token that does
// not count, and a token counts once, whoever is first.
func (f *Fleet) Enrol(ctx context.Context, s inventory.SignedEnrolment) (inventory.Device, error) {
	now := f.inventory.admin.now()
	var d inventory.Device
	var failed error
	e, err := s.Read(func(id string) (string, bool) {
		var ok bool
		d, ok, failed = f.store.Device(ctx, id)
		return d.Public, failed == nil && ok && d.State == inventory.DeviceInvited && now.Before(d.Expires)
	})
	if failed != nil {
		return inventory.Device{}, failed
	}
	if err != nil {
		return inventory.Device{}, err
	}
	if e.Gateway != f.gateway {
		return inventory.Device{}, access.Errorf(access.CodeDenied, "the enrolment is for another gateway; this one is %s", f.gateway)
	}
	d.State, d.Public, d.Host, d.Enrolled, d.Expires = inventory.DeviceActive, e.Key, inventory.HostOf(e.Key), now, time.Time{}
	if err := f.put(ctx, "device:"+d.ID, "enroll", &d, "with a token of "+d.By); err != nil {
		if access.CodeOf(err) == access.CodeConflict {
			err = access.Errorf(access.CodeDenied, "the enrolment token does not count: it was used, has expired or was never given out here; ask for a new one from rutile inventory enroll")
		}
		return inventory.Device{}, err
	}
	return d, nil
}

// Revoke ends what a machine may report. What it saw counts as gone from then on,
// and what was wrong on that machine alone is resolved. It takes the device's id or
// its label; one that is revoked is released again, which changes nothing if it was.
func (f *Fleet) Revoke(ctx context.Context, actor Actor, id, why string) (inventory.Device, error) {
	if err := f.inventory.mayChange(ctx, actor, why); err != nil {
		return inventory.Device{}, err
	}
	all, err := f.store.Devices(ctx)
	if err != nil {
		return inventory.Device{}, err
	}
	like := slices.DeleteFunc(all, func(d inventory.Device) bool {
		return d.ID != id && (d.Label != id || d.State == inventory.DeviceRevoked)
	})
	if len(like) != 1 {
		return inventory.Device{}, access.Errorf(access.CodeNotFound, "%d machines are called %q: name one by its id, as rutile inventory devices lists it", len(like), clip(id))
	}
	d := like[0]
	if d.State != inventory.DeviceRevoked {
		d.State, d.Revoked, d.RevokeBy = inventory.DeviceRevoked, f.inventory.admin.now(), actor.String()
		if err := f.put(ctx, actor.String(), "revoke", &d, why); err != nil {
			return inventory.Device{}, err
		}
	}
	if d.Host == "" {
		return d, nil
	}
	return d, f.inventory.release(ctx, actor, d.Host, d.ID, why)
}

// Devices lists machines that may report, might, and might once.
func (f *Fleet) Devices(ctx context.Context) ([]inventory.Device, error) {
	return f.store.Devices(ctx)
}

// Known reports whether a device may report now, before its batch is read.
func (f *Fleet) Known(ctx context.Context, id string) (inventory.Device, error) {
	refused := access.Errorf(access.CodeUnauthenticated, "the machine is not enrolled here, or not any more: rutile discover --report %s --token FILE enrols it", f.gateway)
	if !inventory.ValidDevice(id) {
		return inventory.Device{}, refused
	}
	d, ok, err := f.store.Device(ctx, id)
	if err != nil {
		return inventory.Device{}, err
	}
	if !ok || d.State != inventory.DeviceActive {
		return inventory.Device{}, refused
	}
	return d, nil
}

// Take takes a batch a device signed. The same batch again changes nothing; an
// older one, or another under its id, is refused.
func (f *Fleet) Take(ctx context.Context, d inventory.Device, raw []byte, signature string, decode func([]byte, any) error) (inventory.Result, error) {
	if !d.Signed(raw, signature) {
		return inventory.Result{}, access.Errorf(access.CodeUnauthenticated, "the batch is not signed by the key of the machine it says it comes from")
	}
	var b inventory.Batch
	if err := decode(raw, &b); err != nil {
		return inventory.Result{}, access.Errorf(access.CodeInvalid, "the batch is not what this gateway reads: %v", err)
	}
	now := f.inventory.admin.now()
	switch {
	case b.Device != d.ID || b.Host != d.Host:
		return inventory.Result{}, access.Errorf(access.CodeDenied, "the batch is about another machine than the one that signed it")
	case b.Audience != f.gateway:
		return inventory.Result{}, access.Errorf(access.CodeDenied, "the batch is for another gateway; this one is %s", f.gateway)
	case b.Name != "" && !d.Named:
		return inventory.Result{}, access.Errorf(access.CodeDenied, "the batch names its machine, which its enrolment does not allow")
	case b.Sequence == 0 || b.Sequence > 1<<62:
		return inventory.Result{}, access.Errorf(access.CodeInvalid, "the batch has no sequence")
	case b.Ended.After(now.Add(maxClock)) || now.Sub(b.Ended) > maxBatchAge:
		return inventory.Result{}, access.Errorf(access.CodeInvalid, "the batch was made at %s and it is %s here: set the clock of the machine, or look again", b.Ended.UTC().Format(time.RFC3339), now.Format(time.RFC3339))
	}
	return f.inventory.take(ctx, "device:"+d.ID, &b, inventory.Digest(raw))
}

// ReadEnrolment reads an enrolment as it travels.
func ReadEnrolment(raw []byte) (inventory.SignedEnrolment, error) {
	var s inventory.SignedEnrolment
	if json.Unmarshal(raw, &s) != nil {
		return s, access.Errorf(access.CodeInvalid, "the enrolment cannot be read")
	}
	return s, nil
}
