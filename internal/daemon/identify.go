package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery"
	"rutile/internal/discovery/identify"
)

// How often copies of public data are looked at for being replaced, and how rarely
// they are read: a big one takes seconds of a core.
const (
	copyLook  = 2 * time.Second
	copyDaily = 24 * time.Hour
	copyShare = 50 // reading takes one part in so many of the time
	copyNames = 1000
)

// matching compares the inventory with copies of public data.
type matching struct {
	d       *Daemon
	done    [sha256.Size]byte // what was compared with what, last
	gen     uint64
	view    uint64
	stamp   string
	at      time.Time
	next    time.Time
	failing bool
}

// targets hands what is kept to the sources that compare.
type targets []discovery.Sighting

func (targets) Name() string { return "inventory" }

func (t targets) Discover(_ context.Context, into *discovery.Sink) error {
	for i := range t {
		into.Saw(t[i])
	}
	return nil
}

// match compares what was found anywhere, and what is registered, with the copies
// the configuration names: at the start, when a copy is replaced and when something
// new comes.
func (d *Daemon) match(ctx context.Context) {
	cfg := d.Config.Discovery
	if d.store.Dialect() == "sqlite" { // another node may have what this one has not
		for source, path := range map[string]string{"registry": cfg.Registry, "vulnerabilities": cfg.Vulnerabilities} {
			if path == "" {
				if err := d.Inventory.Unmatched(ctx, source); err != nil && ctx.Err() == nil {
					d.log.Error("what an earlier copy of public data said cannot be taken back", "copy", source, "error", err)
				}
			}
		}
	}
	if cfg.Registry == "" && cfg.Vulnerabilities == "" {
		return
	}
	m := &matching{d: d}
	tick := time.NewTicker(copyLook)
	defer tick.Stop()
	for {
		err := m.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !m.failing && access.CodeOf(err) != access.CodeConflict:
			d.log.Error("what was found cannot be compared with the copies of public data", "error", err)
		}
		m.failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look compares if something is new and the last time was long enough ago.
func (m *matching) look(ctx context.Context) error {
	cfg := m.d.Config.Discovery
	if time.Now().Before(m.next) {
		return nil
	}
	gen, err := m.d.Inventory.Generation(ctx)
	if err != nil {
		return err
	}
	view, stamp := m.d.Admin.Current().View.Generation(), stampOf(cfg.Registry)+stampOf(cfg.Vulnerabilities)
	old := time.Since(m.at) > copyDaily // the age of a copy is a day more
	if !old && gen == m.gen && view == m.view && stamp == m.stamp {
		return nil
	}
	all, err := m.d.Inventory.Targets(ctx)
	if err != nil {
		return err
	}
	sum, err := sumOf(all, stamp)
	if err != nil {
		return err
	}
	if old || sum != m.done {
		if err := m.compare(ctx, all); err != nil {
			return err
		}
		m.done, m.at = sum, time.Now()
	}
	m.gen, m.view, m.stamp = gen, view, stamp
	return nil
}

func (m *matching) compare(ctx context.Context, all targets) error {
	cfg := m.d.Config.Discovery
	began := time.Now()
	paths := DiscoveryPaths(m.d.Config.Data)
	sources, asked := []discovery.Source{all}, []string{}
	if cfg.Registry != "" {
		sources, asked = append(sources, identify.Registry{Path: cfg.Registry, Paths: paths, Now: now}), append(asked, "registry")
	}
	if cfg.Vulnerabilities != "" {
		sources, asked = append(sources, identify.Vulnerabilities{Path: cfg.Vulnerabilities, Paths: paths, Now: now}), append(asked, "vulnerabilities")
	}
	seen := discovery.Run(ctx, sources, now, nil)
	m.next = time.Now().Add(copyShare * time.Since(began))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range seen.Coverage {
		if c := &seen.Coverage[i]; c.Outcome == discovery.Failed {
			m.d.log.Warn("a copy of public data is not used", "copy", c.Source, "reason", c.Why)
		}
	}
	for i := range seen.Copies {
		if c := &seen.Copies[i]; c.Old {
			m.d.log.Warn("a copy of public data is too old to rely on; get a new one", "copy", c.Source, "path", c.Path, "days", c.Days)
		}
	}
	return m.d.Inventory.Matched(ctx, seen, asked)
}

// sumOf is a digest of what is compared.
func sumOf(all []discovery.Sighting, stamp string) ([sha256.Size]byte, error) {
	raw, err := json.Marshal(struct {
		Targets []discovery.Sighting
		Stamp   string
	}{all, stamp})
	return sha256.Sum256(raw), err
}

// stampOf is another text when a copy was replaced: a file, or names, times and
// sizes of what a folder holds at its top.
func stampOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return path + " is not there"
	}
	out := fmt.Sprintf("%s %d %d;", path, info.Size(), info.ModTime().UnixNano())
	if !info.IsDir() {
		return out
	}
	f, err := os.Open(path)
	if err != nil {
		return out
	}
	defer f.Close()
	entries, _ := f.ReadDir(copyNames) // as far as they can be read
	for _, e := range entries {
		if i, err := e.Info(); err == nil {
			out += fmt.Sprintf("%s %d %d;", e.Name(), i.Size(), i.ModTime().UnixNano())
		}
	}
	return out
}
