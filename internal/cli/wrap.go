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
	"rutile/internal/admin"
	"rutile/internal/daemon"
	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/repository"
	"rutile/internal/discovery/wrap"
)

// wrapping is what wrap was asked for.
type wrapping struct {
	scope          scope
	yes, http      bool
	moveSecrets    bool
	includeProject bool
	owner          string
}

// scope is whose files are looked at.
type scope struct {
	clients []string
	paths   []string
}

func (s *scope) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&s.clients, "client", nil, "a `client`, such as claude-code; may be repeated")
	f.StringArrayVar(&s.paths, "path", nil, "a `folder` to look through for projects; may be repeated")
	_ = c.RegisterFlagCompletionFunc("client", completeClients)
}

// completeClients knows the clients of the table.
func completeClients(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	table, err := clientconfig.Builtin()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return clientNames(table), cobra.ShellCompDirectiveNoFileComp
}

func clientNames(table *clientconfig.Table) []string {
	var out []string
	for i := range table.Sources {
		out = append(out, table.Sources[i].Client)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a *app) wrap() *cobra.Command {
	in := wrapping{}
	c := a.command("wrap", "Route the servers of clients on this machine through the gateway", "rutile wrap", []access.Code{access.CodePartial, access.CodeDenied, access.CodeUnauthenticated}, func(ctx context.Context, _ []string) error {
		return a.wrapAll(ctx, in)
	})
	c.Long = `Route the servers that clients on this machine are configured with through the
gateway: each entry then starts rutile connect, and the gateway starts or reaches
the real server. Names, switches, time limits and filters of entries stay, and so
does every byte around them.

Without --yes nothing is written: the edits are shown as a diff, secrets left out.
With --yes each file is backed up first, and rutile unwrap restores it to the byte.
Wrapping registers the server, with exactly its command, and an agent for its
client; a gateway that only observes goes on observing.

Secrets in arguments and headers are sealed in the gateway's vault. Variables with
secrets are too with --move-secrets, which takes them out of the file; without it
such an entry is left alone. Files of projects need --include-project.

The status is 5 when an entry could not be routed that nothing but its file or the
gateway speaks against; the others are done.`
	in.scope.flags(c)
	f := c.Flags()
	f.BoolVar(&in.yes, "yes", false, "write the files")
	f.BoolVar(&in.http, "http", false, "write an address of the gateway for clients that take one; the client signs in itself")
	f.BoolVar(&in.moveSecrets, "move-secrets", false, "seal variables that hold secrets in the vault and take them out of the files")
	f.BoolVar(&in.includeProject, "include-project", false, "edit files of projects too")
	f.StringVar(&in.owner, "owner", "", "`team` or person who answers for what is registered (default you)")
	return c
}

// desk is what wrap, unwrap and status work with.
type desk struct {
	cfg      daemon.Config
	table    *clientconfig.Table
	paths    *discovery.Paths
	describe *discovery.Describer
	book     *wrap.Book
}

func (a *app) desk() (*desk, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	table, err := clientconfig.Load(cfg.Discovery.Clients)
	if err != nil {
		return nil, err
	}
	paths := &discovery.Paths{Include: true}
	return &desk{
		cfg: cfg, table: table, paths: paths, describe: &discovery.Describer{Paths: paths},
		book: &wrap.Book{Dir: filepath.Join(cfg.Data, "wrap"), Disk: wrap.System{}, Now: a.now},
	}, nil
}

// files are those of the clients asked for.
func (a *app) files(ctx context.Context, d *desk, s scope) ([]clientconfig.File, error) {
	known := clientNames(d.table)
	for _, c := range s.clients {
		if !slices.Contains(known, c) {
			return nil, access.Errorf(access.CodeUsage, "no client is called %q; known are %s", c, strings.Join(known, ", "))
		}
	}
	in := search{paths: s.paths, system: string(clientconfig.Here()), failOn: "none"}
	if err := in.check(); err != nil {
		return nil, err
	}
	trees, err := repository.New(repository.Config{Roots: in.paths, Markers: d.table.Markers(), Paths: d.paths, Describe: d.describe})
	if err != nil {
		return nil, err
	}
	if len(in.paths) > 0 {
		discovery.Run(ctx, []discovery.Source{trees}, a.now, nil)
	}
	homes, err := in.scanned()
	if err != nil {
		return nil, err
	}
	src, err := clientconfig.New(clientconfig.Config{
		Table: d.table, System: clientconfig.System(in.system), Homes: homes, Projects: trees.Projects,
		Paths: d.paths, Describe: d.describe, Now: a.now, Rows: daemon.ForeignRows,
	})
	if err != nil {
		return nil, err
	}
	all, err := src.Files(ctx)
	return slices.DeleteFunc(all, func(f clientconfig.File) bool { return !s.wants(f.Row.Client) }), err
}

func (s *scope) wants(client string) bool {
	return len(s.clients) == 0 || slices.Contains(s.clients, client)
}

// wrapLine is what is or would be done with one entry.
type wrapLine struct {
	Client  string `json:"client"`
	File    string `json:"file"`
	Entry   string `json:"entry,omitempty"`
	Server  string `json:"server,omitempty"`
	Agent   string `json:"agent,omitempty"`
	Result  string `json:"result"` // would-wrap, wrapped, already, left, refused, failed or reverted
	Why     string `json:"why,omitempty"`
	Sealed  int    `json:"sealed,omitempty"` // values that are or would be in the vault
	Warning string `json:"warning,omitempty"`
}

// wrapResult is what wrap says.
type wrapResult struct {
	Written bool       `json:"written"`
	Entries []wrapLine `json:"entries"`
	Diffs   []fileDiff `json:"diffs,omitempty"`
}

// fileDiff is how a file changes, secrets left out.
type fileDiff struct {
	File string `json:"file"`
	Diff string `json:"diff"`
}

func (a *app) wrapAll(ctx context.Context, in wrapping) error {
	d, err := a.desk()
	if err != nil {
		return err
	}
	r, err := a.register(ctx, d, &in)
	if err != nil {
		return err
	}
	files, err := a.files(ctx, d, in.scope)
	if err != nil {
		return err
	}
	if in.yes {
		free, err := d.book.Lock()
		if err != nil {
			return access.Errorf(access.CodeConflict, "%w", err)
		}
		defer free()
		if err := d.book.Settle(); err != nil {
			return access.Errorf(access.CodePartial, "%w", err)
		}
		if files, err = a.files(ctx, d, in.scope); err != nil { // it may have put one back
			return err
		}
	}
	out := wrapResult{Written: in.yes, Entries: []wrapLine{}}
	out.Entries = append(out.Entries, refusedRows(d.table, in.scope, files)...)
	for i := range files {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.wrapFile(ctx, d, r, &in, &files[i], &out)
	}
	if in.yes {
		a.lookAgain(ctx, d, in.scope, &out)
	}
	if err := a.print(out, func(w io.Writer) { a.wrapTable(w, &out) }); err != nil {
		return err
	}
	if slices.ContainsFunc(out.Entries, func(l wrapLine) bool {
		return l.Result == resultFailed || l.Result == resultRefused || l.Result == string(wrap.Reverted)
	}) {
		return ended(access.CodePartial)
	}
	return nil
}

const (
	resultWould   = "would-wrap"
	resultAlready = "already"
	resultLeft    = "left"
	resultRefused = "refused"
	resultFailed  = "failed"
)

// refusedRows says of clients that were named, and whose files cannot be edited or
// are not here, why.
func refusedRows(table *clientconfig.Table, s scope, files []clientconfig.File) []wrapLine {
	var out []wrapLine
	for i := range table.Sources {
		row := &table.Sources[i]
		if len(s.clients) == 0 || !s.wants(row.Client) || slices.ContainsFunc(files, func(f clientconfig.File) bool { return f.Row.ID == row.ID }) {
			continue
		}
		if why := row.Refusal(); why != "" {
			out = append(out, wrapLine{Client: row.Client, File: row.ID, Result: resultLeft, Why: why})
		}
	}
	return out
}

// wrapFile routes what can be routed of one file.
func (a *app) wrapFile(ctx context.Context, d *desk, r *registrar, in *wrapping, f *clientconfig.File, out *wrapResult) {
	line := wrapLine{Client: f.Row.Client, File: f.Show}
	o := wrap.Options{
		MoveSecrets: in.moveSecrets, IncludeProject: in.includeProject, Secret: admin.LiteralSecret, Own: admin.ManagedHeader,
		Private: []string{d.cfg.Data},
	}
	if err := wrap.Whole(f, o); err != nil {
		out.fail(line, err)
		return
	}
	var routes []wrap.Route
	var lines []wrapLine
	var done []*planned
	for i := range f.Entries {
		e := &f.Entries[i]
		l := line
		l.Client, l.Entry = e.Row.Client, e.Name
		if e.Wrapped {
			l.Server = e.Server
			out.add(l, resultAlready, "")
			continue
		}
		up, err := wrap.Of(f, e, o)
		if err != nil {
			out.fail(l, err)
			continue
		}
		p := r.plan(e, up)
		route, err := r.route(d, in, e, p, up)
		if err != nil {
			out.fail(l, err)
			continue
		}
		l.Server, l.Agent, l.Sealed = p.server, p.agent, up.Secrets()
		routes, lines, done = append(routes, route), append(lines, l), append(done, p)
	}
	if len(routes) == 0 {
		return
	}
	a.write(ctx, d, r, in, f, routes, lines, done, out)
}

// fail adds an entry that stays as it is, and why.
func (w *wrapResult) fail(l wrapLine, err error) {
	if stays, ok := err.(*wrap.Leave); ok && stays.Wanted { //nolint:errorlint // it is never wrapped
		w.add(l, resultLeft, stays.Why)
		return
	}
	w.add(l, resultRefused, err.Error())
}

func (w *wrapResult) add(l wrapLine, result, why string) {
	l.Result, l.Why = result, why
	w.Entries = append(w.Entries, l)
}

// write shows or makes the edits of one file. An entry that cannot be routed does
// not keep back the others of its file.
func (a *app) write(ctx context.Context, d *desk, r *registrar, in *wrapping, f *clientconfig.File, routes []wrap.Route, lines []wrapLine, done []*planned, out *wrapResult) {
	var fit []wrap.Route
	var at []int
	for i := range routes {
		_, err := wrap.Preview(f, routes[i:i+1])
		if err == nil && in.yes {
			lines[i].Warning, err = r.enter(ctx, done[i])
		}
		if err != nil {
			out.add(lines[i], resultFailed, err.Error())
			continue
		}
		fit, at = append(fit, routes[i]), append(at, i)
	}
	if len(fit) == 0 {
		return
	}
	after, err := wrap.Preview(f, fit)
	if err == nil {
		out.Diffs = append(out.Diffs, fileDiff{f.Show, redactedDiff(f, fit, after)})
	}
	result := resultWould
	if err == nil && in.yes {
		result = wrap.Wrapped
		err = d.book.Wrap(f, fit)
	}
	for _, i := range at {
		if err != nil {
			out.add(lines[i], resultFailed, err.Error())
		} else {
			out.add(lines[i], result, "")
		}
	}
}

// settleTime is how long a client may take to put its own entry back.
const settleTime = 2 * time.Second

// lookAgain says of what was written if its client has put its own back by now. We
// do not fight it.
func (a *app) lookAgain(ctx context.Context, d *desk, s scope, out *wrapResult) {
	if !slices.ContainsFunc(out.Entries, func(l wrapLine) bool { return l.Result == wrap.Wrapped }) {
		return
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	files, err := a.files(ctx, d, s)
	if err != nil {
		return
	}
	for i := range out.Entries {
		l := &out.Entries[i]
		if l.Result != wrap.Wrapped {
			continue
		}
		there := slices.ContainsFunc(files, func(f clientconfig.File) bool {
			return f.Show == l.File && slices.ContainsFunc(f.Entries, func(e clientconfig.Entry) bool { return e.Name == l.Entry && e.Wrapped })
		})
		if !there {
			l.Result, l.Why = wrap.Reverted, "its client wrote its own entry again: close the client and wrap again"
		}
	}
}

func (a *app) wrapTable(w io.Writer, r *wrapResult) {
	for _, d := range r.Diffs {
		if !r.Written {
			fmt.Fprintln(w, lines(d.Diff))
		}
	}
	t := a.table("CLIENT", "FILE", "ENTRY", "SERVER", "RESULT", "WHY")
	for _, l := range r.Entries {
		why := l.Why
		if l.Sealed > 0 {
			why = strings.TrimPrefix(why+"; "+fmt.Sprintf("%d secrets in the vault", l.Sealed), "; ")
		}
		if l.Warning != "" {
			why = strings.TrimPrefix(why+"; "+l.Warning, "; ")
		}
		t.add(l.Client, l.File, l.Entry, l.Server, l.Result, why)
	}
	t.write(w)
	wrapped := slices.ContainsFunc(r.Entries, func(l wrapLine) bool { return l.Result == wrap.Wrapped })
	would := slices.ContainsFunc(r.Entries, func(l wrapLine) bool { return l.Result == resultWould })
	switch {
	case wrapped:
		a.say("restart the clients; undo everything with: rutile unwrap --all")
	case would:
		a.say("nothing was written; do it with the same command and --yes")
	case len(r.Entries) == 0:
		a.say("no client is configured with a server")
	}
}

// program is the absolute path of this binary, which clients are to start.
func program() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", access.Errorf(access.CodeInternal, "finding where rutile is: %w", err)
	}
	return filepath.Abs(self)
}
