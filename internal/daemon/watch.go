package daemon

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/inventory"
	"rutile/internal/discovery/probe"
	"rutile/internal/discovery/process"
	"rutile/internal/discovery/watch"
)

// Defaults of discovery.watch.
const (
	watchEvery = 10 * time.Minute
	watchPoll  = 5 * time.Second
	// watchBlind is how often is looked where the system cannot watch all folders.
	watchBlind = 30 * time.Second
	watchRetry = 10 * time.Second
	// watchFresh is how often what has not changed is kept again, which moves when it
	// was seen last and leaves a record.
	watchFresh = time.Hour
)

// machine is one way of looking at this machine, and what it saw last.
type machine struct {
	d       *Daemon
	look    func(ctx context.Context) (seen *discovery.Seen, sources []string, again bool)
	last    [sha256.Size]byte
	kept    time.Time
	owing   bool // what was seen last is not kept yet
	failing bool // and that was said
}

// watch looks at this machine at once and whenever it changes, until ctx ends.
func (d *Daemon) watch(ctx context.Context, home *clientconfig.Home) {
	cfg := d.Config.Discovery.Watch
	if home == nil {
		return
	}
	every := cmp.Or(cfg.Every, watchEvery)
	var paths atomic.Pointer[discovery.Paths]
	paths.Store(DiscoveryPaths(d.Config.Data))
	if cfg.Clients != "off" {
		d.work.Go(func() { d.watchClients(ctx, *home, every, &paths) })
	}
	if cfg.Processes != "off" {
		d.work.Go(func() { d.watchProcesses(ctx, cmp.Or(cfg.Poll, watchPoll), every, &paths) })
	}
}

// watchClients watches what clients are configured with. It keeps the projects it
// finds in paths: a script of one has the same key wherever it is seen.
func (d *Daemon) watchClients(ctx context.Context, own clientconfig.Home, every time.Duration, paths *atomic.Pointer[discovery.Paths]) {
	files := watch.NewFiles()
	defer files.Close()
	homes := []clientconfig.Home{own}
	if named := d.Config.Discovery.Watch.Homes; len(named) > 0 {
		homes = nil
		for _, dir := range named {
			homes = append(homes, clientconfig.Home{Dir: dir})
		}
	}
	var dirs []string
	for _, h := range homes {
		dirs = append(dirs, filepath.ToSlash(h.Dir))
	}
	blind, told := 0, false
	m := &machine{d: d, look: func(ctx context.Context) (*discovery.Seen, []string, bool) {
		var tried []string
		p := DiscoveryPaths(d.Config.Data)
		src, err := d.clientSource(p, homes, func(path string) { tried = append(tried, path) })
		if err != nil {
			return nil, nil, false
		}
		seen := discovery.Run(ctx, []discovery.Source{src}, now, nil)
		p.Home = own.Dir
		paths.Store(p)
		slices.Sort(tried)
		added, unseen := files.Set(slices.Compact(tried), dirs)
		if blind = unseen; blind > 0 && !told && ctx.Err() == nil {
			told = true
			d.log.Warn("not all folders of client configurations can be watched: they are looked at now and then instead; raise the system's limit of watches", "folders", blind, "every", watchBlind)
		}
		return seen, []string{src.Name()}, added
	}}
	(&watch.Loop{Look: m.run, Wake: files.Changed(), Every: func() time.Duration {
		if blind > 0 {
			return m.due(min(every, watchBlind))
		}
		return m.due(every)
	}}).Run(ctx)
}

// due is how long after a look the next one is due.
func (m *machine) due(every time.Duration) time.Duration {
	if m.owing {
		return watchRetry
	}
	return every
}

func now() time.Time { return time.Now().UTC() }

// clientSource reads the configurations of these homes.
func (d *Daemon) clientSource(paths *discovery.Paths, homes []clientconfig.Home, tried func(string)) (*clientconfig.Source, error) {
	return clientconfig.New(clientconfig.Config{
		Table: d.clients, System: clientconfig.Here(), Homes: homes, Projects: func() []string { return d.Config.Discovery.Watch.Projects },
		Paths: paths, Describe: d.describer(paths), Now: now, Rows: ForeignRows, Tried: tried,
	})
}

// watchProcesses asks now and then which processes there are, and looks at them
// when that may mean something.
func (d *Daemon) watchProcesses(ctx context.Context, poll, every time.Duration, paths *atomic.Pointer[discovery.Paths]) {
	wake := make(chan struct{}, 1)
	d.work.Go(func() {
		glance := process.NewGlance(process.Scanner{})
		tick := time.NewTicker(poll)
		defer tick.Stop()
		for {
			if changed, err := glance.Changed(ctx); err == nil && changed {
				select {
				case wake <- struct{}{}:
				default:
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	m := &machine{d: d, look: func(ctx context.Context) (*discovery.Seen, []string, bool) {
		describe := d.describer(paths.Load())
		describe.Local = clientconfig.LocalKey(describe.Paths)
		src := process.Source{Describe: describe, Ports: probe.Ports()}
		return discovery.Run(ctx, []discovery.Source{src}, now, nil), []string{src.Name()}, false
	}}
	(&watch.Loop{Look: m.run, Wake: wake, Every: func() time.Duration { return m.due(every) }}).Run(ctx)
}

// run looks once, and keeps what is new.
func (m *machine) run(ctx context.Context) (again bool) {
	seen, sources, again := m.look(ctx)
	if seen == nil || ctx.Err() != nil {
		return false
	}
	batch := inventory.NewBatch(seen, DiscoveryPaths(m.d.Config.Data).Host(), string(clientconfig.Here()), m.d.version, sources)
	sum := essence(batch)
	if sum == m.last && time.Since(m.kept) < watchFresh {
		return again
	}
	_, err := m.d.Inventory.Watched(ctx, batch)
	m.owing = err != nil
	switch {
	case ctx.Err() != nil:
	case err == nil:
		m.last, m.kept, m.failing = sum, time.Now(), false
	case !m.failing && access.CodeOf(err) != access.CodeConflict: // else others reported at the same time
		m.failing = true
		m.d.log.Error("what was seen on this machine cannot be kept", "sources", sources, "error", err)
	}
	return again
}

// essence is a digest of what a batch says, without what changes though nothing
// happened: times, counts, and in which line an entry stands.
func essence(b inventory.Batch) [sha256.Size]byte {
	b.ID, b.Started, b.Ended = "", time.Time{}, time.Time{}
	b.Sightings, b.Findings, b.Coverage = slices.Clone(b.Sightings), slices.Clone(b.Findings), slices.Clone(b.Coverage)
	for i := range b.Sightings {
		s := &b.Sightings[i]
		s.FirstSeen, s.LastSeen, s.Place.Line = time.Time{}, time.Time{}, 0
	}
	for i := range b.Findings {
		b.Findings[i].Place.Line = 0
	}
	for i := range b.Coverage {
		b.Coverage[i].Why = ""
	}
	raw, err := json.Marshal(b)
	if err != nil {
		return [sha256.Size]byte{} // equal to no digest: it is kept
	}
	return sha256.Sum256(raw)
}
