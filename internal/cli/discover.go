package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/daemon"
	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/repository"
)

// search is what discover was asked for.
type search struct {
	paths, homes []string
	root, system string
	includePaths bool
	failOn       string
	more         more
	copies       copies
	reporting    reporting
}

func (a *app) discover() *cobra.Command {
	in := search{}
	c := a.command("discover", "Find MCP servers nobody registered", "rutile discover --path ~/src", []access.Code{access.CodeFindings, access.CodePartial}, func(ctx context.Context, _ []string) error {
		return a.search(ctx, in)
	})
	c.Long = `Find MCP servers nobody registered: what clients on this machine are configured
with, for you, for projects and for the machine. Nothing that is found is started,
nothing is changed, and no secret is shown: its name, its place and its kind are.

It works without a gateway. Where one runs, what was found is compared with what is
registered there; where none does, everything that does not go through Rutile counts
as not registered. The status is 3 when a finding is as grave as --fail-on or worse,
else 5 when something asked for could not be looked at. What this user may not see
is told and is no failure. An interrupted run shows what it has found by then.

Where a gateway runs, what was found is kept in its inventory (rutile inventory).
With --report it goes to the gateway of a fleet: signed by a key of this machine,
without files, under a pseudonym. The first time --token enrols the machine;
--print shows every byte instead of sending it.
` + moreHelp + copiesHelp
	f := c.Flags()
	in.more.flags(f)
	in.copies.flags(f)
	f.StringArrayVar(&in.paths, "path", nil, "a `folder` to look through for projects and source code of servers; may be repeated")
	f.StringArrayVar(&in.homes, "home", nil, "a home `folder` to read instead of your own; may be repeated")
	f.StringVar(&in.root, "root", "", "a `folder` another system is mounted in; needs --home below it")
	f.StringVar(&in.system, "os", string(clientconfig.Here()), "whose paths to look for: linux, darwin or windows")
	f.BoolVar(&in.includePaths, "include-paths", false, "show where projects are, and not their names only")
	f.StringVar(&in.reporting.url, "report", "", "report what is found to the gateway at this `address`")
	f.StringVar(&in.reporting.token, "token", "", "a `file` with the token that enrols this machine there, - for standard input; the first time only")
	f.BoolVar(&in.reporting.show, "print", false, "show the exact bytes that --report would send, and send nothing")
	f.StringVar(&in.failOn, "fail-on", string(discovery.Medium), "lowest `severity` that makes the status 3: info, low, medium, high, critical, or none")
	return c
}

func (in *search) check() error {
	if !slices.Contains(append(discovery.Severities(), "none"), discovery.Severity(in.failOn)) {
		return access.Errorf(access.CodeUsage, "--fail-on %s is not known: use info, low, medium, high, critical or none", in.failOn)
	}
	if !slices.Contains([]string{"linux", "darwin", "windows"}, in.system) {
		return access.Errorf(access.CodeUsage, "--os %s is not known: use linux, darwin or windows", in.system)
	}
	if err := in.more.check(); err != nil {
		return err
	}
	if err := in.reporting.check(); err != nil {
		return err
	}
	if in.root != "" && len(in.homes) == 0 {
		return access.Errorf(access.CodeUsage, "--root needs --home: say whose folder below it to read")
	}
	for _, list := range [][]*string{pointers(in.paths), pointers(in.homes), {&in.root}} {
		for _, p := range list {
			if *p == "" {
				continue
			}
			abs, err := filepath.Abs(*p)
			if err != nil {
				return access.Errorf(access.CodeUsage, "%s: %w", *p, err)
			}
			if info, err := os.Stat(abs); err != nil || !info.IsDir() {
				return access.Errorf(access.CodeUsage, "%s is not a folder that can be read", *p)
			}
			*p = abs
		}
	}
	return nil
}

func pointers(s []string) []*string {
	var out []*string
	for i := range s {
		out = append(out, &s[i])
	}
	return out
}

func (a *app) search(ctx context.Context, in search) error {
	if err := in.check(); err != nil {
		return err
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if in.reporting.url != "" {
		// Else the pseudonyms of the first report are not those of the second.
		if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
			return access.Errorf(access.CodeInvalid, "the data directory cannot be made: %w", err)
		}
	}
	paths := daemon.DiscoveryPaths(cfg.Data)
	paths.Include, paths.Root = in.includePaths, in.root
	describe := &discovery.Describer{Paths: paths}
	sources, err := a.sources(in, cfg.Discovery.Clients, paths, describe)
	if err != nil {
		return err
	}
	registry := a.registered(ctx, describe)
	progress := a.progress()
	more, err := a.moreSources(ctx, &in.more, cfg, paths, describe, progress.probed)
	if err != nil {
		return err
	}
	compared, err := in.copies.sources(cfg.Discovery, paths, a.now)
	if err != nil {
		return err
	}
	sources = append(append(sources, more...), compared...) // what compares comes after what sees
	seen := discovery.Run(ctx, sources, a.now, progress.looked)
	progress.end()
	batch := a.batch(seen, sources, paths, in.system)
	if in.reporting.show {
		return a.reported(ctx, &in.reporting, cfg.Data, batch)
	}
	kept := a.keep(ctx, batch, registry.Known)
	report := seen.Report(registry)
	if kept != nil {
		report.Registry += "; " + *kept
	}
	if err := a.print(report, func(w io.Writer) { a.found(w, report) }); err != nil {
		return err
	}
	if in.reporting.url != "" {
		if err := a.reported(ctx, &in.reporting, cfg.Data, batch); err != nil {
			return err
		}
	}
	return verdict(ctx, report, in.failOn)
}

// verdict is how a search ends.
func verdict(ctx context.Context, r *discovery.Report, failOn string) error {
	switch {
	case r.Interrupted:
		return ctx.Err()
	case failOn != "none" && len(r.Open(discovery.Severity(failOn))) > 0:
		return ended(access.CodeFindings)
	case len(r.Failed()) > 0:
		return ended(access.CodePartial)
	}
	return nil
}

// sources are what was asked for.
func (a *app) sources(in search, tables []string, paths *discovery.Paths, describe *discovery.Describer) ([]discovery.Source, error) {
	table, err := clientconfig.Load(tables)
	if err != nil {
		return nil, err
	}
	homes, err := in.scanned()
	if err != nil {
		return nil, err
	}
	trees, err := repository.New(repository.Config{Roots: in.paths, Markers: table.Markers(), Paths: paths, Describe: describe})
	if err != nil {
		return nil, err
	}
	client, err := clientconfig.New(clientconfig.Config{
		Table: table, System: clientconfig.System(in.system), Homes: homes, Projects: trees.Projects, Root: in.root,
		Paths: paths, Describe: describe, Now: a.now, Rows: daemon.ForeignRows,
	})
	if err != nil {
		return nil, err
	}
	if len(in.paths) == 0 {
		return []discovery.Source{client}, nil
	}
	return []discovery.Source{trees, client}, nil // the first leads the second to projects
}

// scanned are the homes to read: the scanner's own with its environment, or those
// named, with none.
func (in *search) scanned() ([]clientconfig.Home, error) {
	var out []clientconfig.Home
	for _, h := range in.homes {
		out = append(out, clientconfig.Home{Dir: h})
	}
	if len(out) > 0 {
		return out, nil
	}
	home, err := ownHome()
	if err != nil {
		return nil, err
	}
	return []clientconfig.Home{home}, nil
}

// ownHome is the home of who runs this, with the environment of this process.
func ownHome() (clientconfig.Home, error) {
	dir, err := os.UserHomeDir()
	if err != nil {
		return clientconfig.Home{}, access.Errorf(access.CodeUsage, "no home folder is known: %w; name one with --home", err)
	}
	env := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	return clientconfig.Home{Dir: dir, Env: env}, nil
}

// progress tells a person at a terminal how far a search is.
type progress struct {
	a       *app
	on      bool
	places  int
	entries int
	last    time.Time
}

func (a *app) progress() *progress {
	return &progress{a: a, on: !a.quiet && isTerminal(a.err)}
}

func (p *progress) looked(c discovery.Coverage) {
	p.places++
	p.entries += c.Entries
	if now := p.a.now(); p.on && now.Sub(p.last) > 100*time.Millisecond {
		p.last = now
		fmt.Fprintf(p.a.err, "\rlooked in %d places, %d servers named", p.places, p.entries)
	}
}

// probed is told how far a probe is; it may take minutes.
func (p *progress) probed(done, places, found int) {
	if now := p.a.now(); p.on && now.Sub(p.last) > 100*time.Millisecond {
		p.last = now
		fmt.Fprintf(p.a.err, "\r\x1b[Kprobed %d of %d ports, %d answered as servers", done, places, found)
	}
}

func (p *progress) end() {
	if p.on && !p.last.IsZero() {
		fmt.Fprint(p.a.err, "\r\x1b[K")
	}
}
