package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
)

// saltFile keeps what pseudonyms of discovery are made with, so that they are the
// same in every run on this machine and say nothing elsewhere.
const saltFile = "discovery.salt"

// DiscoverySalt is that of a data directory, made where there is one without it.
// Without a data directory pseudonyms last for one run.
func DiscoverySalt(data string) []byte {
	file := filepath.Join(data, saltFile)
	if b, err := os.ReadFile(file); err == nil && len(b) >= 32 {
		return b
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if had, err := os.ReadFile(file); err == nil && len(had) >= 32 {
			return had
		}
		return b
	}
	if err != nil {
		return b
	}
	_, err = f.Write(b)
	if closed := f.Close(); err != nil || closed != nil {
		os.Remove(file)
	}
	return b
}

// DiscoveryPaths shows paths of a machine with the salt of its data directory.
func DiscoveryPaths(data string) *discovery.Paths {
	p := &discovery.Paths{Salt: DiscoverySalt(data)}
	if home, err := os.UserHomeDir(); err == nil {
		p.Home = home
	}
	return p
}

// accounts finds the account of this machine that is called like a user, as a
// pseudonym.
func accounts(paths *discovery.Paths) func(string) string {
	return func(name string) string {
		u, err := user.Lookup(name)
		if err != nil || u.HomeDir == "" {
			return ""
		}
		return paths.User(u.HomeDir)
	}
}

// reconcileEvery is how often everything that was found is compared with the
// registry; what a report or a change of the registry is about is at once.
const (
	reconcileEvery = 10 * time.Minute
	reconcileLook  = 2 * time.Second
)

// buildInventory makes what keeps what was found.
func (d *Daemon) buildInventory() error {
	var err error
	if d.Findings, err = admin.NewFindings(d.Admin, d.store, d.debts); err != nil {
		return err
	}
	d.Findings.Follow(d.tellFindings)
	if d.clients, err = clientconfig.Load(d.Config.Discovery.Clients); err != nil {
		return err
	}
	d.uses = &uses{store: d.store}
	paths := DiscoveryPaths(d.Config.Data)
	describe := func() *discovery.Describer {
		out := d.describer(paths)
		out.Local = clientconfig.LocalKey(paths)
		return out
	}
	d.Inventory, err = admin.NewInventory(admin.InventoryConfig{Host: paths.Host(), Describe: describe, Missing: d.Config.Discovery.MissingAfter, Gateway: d.AgentsURL, Used: d.uses.last, Account: accounts(paths)}, d.Admin, d.store, d.Findings, d.debts)
	if err != nil {
		return err
	}
	if d.views, err = admin.NewViews(d.Admin, d.store); err != nil {
		return err
	}
	d.Fleet, err = admin.NewFleet(d.Inventory, d.store, d.AgentsURL)
	return err
}

// describer says what is found here in the words of the inventory.
func (d *Daemon) describer(p *discovery.Paths) *discovery.Describer {
	out := &discovery.Describer{Paths: p}
	if u, err := url.Parse(d.AgentsURL); err == nil {
		out.Gateways = []string{u.Host}
	}
	return out
}

// compare compares all that was found with the registry, and the registry with who
// answers for it and with what is used.
func (d *Daemon) compare(ctx context.Context) error {
	if err := d.Inventory.ReconcileAll(ctx); err != nil {
		return err
	}
	used, since, err := d.uses.read(ctx)
	if err != nil {
		return err
	}
	return d.Inventory.Owned(ctx, used, since)
}

// reconcile compares what was found with the registry, again after each change of
// the registry and now and then.
func (d *Daemon) reconcile(ctx context.Context) {
	tick := time.NewTicker(reconcileLook)
	defer tick.Stop()
	var at uint64
	var last time.Time
	failing := false
	for {
		if gen := d.Admin.Current().View.Generation(); gen != at || time.Since(last) > reconcileEvery {
			err := d.compare(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				at, last = gen, time.Now()
			case !failing && access.CodeOf(err) != access.CodeConflict:
				d.log.Error("what was found cannot be compared with the registry", "error", err)
			}
			failing = err != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
