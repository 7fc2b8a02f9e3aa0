// Package cli is the command line: it runs the daemon or calls its API.
//
// Results go to standard output, everything else to standard error. Text that
// servers and agents wrote is spelled out where a reader would not see it, and
// no terminal sequence of theirs passes. A command MUST return an error whose
// code says how it ended; one table turns codes into exit statuses. The package
// decides nothing and keeps nothing.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/confine"
	"rutile/internal/daemon"
)

// Main runs one command line and returns its exit status.
func Main(ctx context.Context, version string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == confine.Command {
		return confine.Main() // becomes a server's process
	}
	if err := confine.HideMemory(); err != nil {
		fmt.Fprintln(stderr, "rutile: "+err.Error())
		return status(err)
	}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup asks to live on when the terminal closes
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, signals...)
	defer stop()
	// A second signal ends the program at once. The same one sent to the program
	// and to its group, as by timeout(1), is not a second one.
	context.AfterFunc(ctx, func() {
		time.Sleep(sameSignal)
		stop()
	})
	out := &results{w: stdout}
	a := &app{version: version, in: stdin, out: out, err: stderr, terminal: isTerminal(stdout), now: time.Now}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil && out.err != nil {
		err = fmt.Errorf("writing the result: %w", out.err)
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "rutile: interrupted")
		return statusInterrupted
	}
	if msg := a.message(err); msg != "" {
		fmt.Fprintln(stderr, "rutile: "+msg)
	}
	return status(err)
}

// sameSignal is how long a signal may take to arrive twice.
const sameSignal = 500 * time.Millisecond

// app is one run of the command line.
type app struct {
	version  string
	in       io.Reader
	out      *results
	err      io.Writer
	terminal bool
	now      func() time.Time

	config  string
	data    string
	format  string
	noColor bool
	quiet   bool
	verbose bool
}

// results keeps the first error of writing results, which nobody else looks at.
type results struct {
	w   io.Writer
	err error
}

func (s *results) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(b)
	s.err = err
	return n, err
}

func (a *app) root() *cobra.Command {
	root := a.group("rutile", "A security control plane for AI agents",
		"rutile up --demo",
		a.up(), a.apply(), a.diff(), a.export(), a.agent(), a.server(), a.review(), a.tool(), a.policy(), a.request(), a.grant(), a.entitlement(), a.fact(), a.webhook(), a.sink(), a.task(), a.credential(), a.user(), a.report(), a.session(), a.risk(), a.revoke(), a.audit(), a.explain(), a.eval(), a.connect(), a.discover(), a.inventory(), a.finding(), a.wrap(), a.unwrap(), a.status(), a.doctor(), a.versionCommand(), a.completion())
	root.SetHelpCommand(a.help())
	root.Long = `Rutile stands between AI agents and the MCP servers they call, and decides every call.

The commands talk to the gateway through the socket in its data directory. To
administer a gateway elsewhere set RUTILE_URL to its operators' address and
RUTILE_TOKEN_FILE to a file that holds its operator token or a personal one
(rutile user token create).`
	root.SilenceErrors, root.SilenceUsage = true, true
	f := root.PersistentFlags()
	f.StringVar(&a.config, "config", "", "configuration `file` (default rutile.yaml if present)")
	f.StringVar(&a.data, "data", "", "data `directory` (default ${XDG_DATA_HOME}/rutile)")
	f.StringVarP(&a.format, "output", "o", "table", "output `form`: table, json or yaml")
	f.BoolVar(&a.noColor, "no-color", false, "no colour, as with NO_COLOR")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "errors only")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "more detail")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return access.Errorf(access.CodeUsage, "%v; see %s --help", err, c.CommandPath())
	})
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		switch {
		case slices.Contains([]string{"table", "json", "yaml"}, a.format), a.format != "" && a.format == c.Annotations[alsoForm]:
			return nil
		default:
			return access.Errorf(access.CodeUsage, "-o %s is not known: use table, json or yaml", a.format)
		}
	}
	root.SetHelpTemplate(helpTemplate)
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return root
}

// alsoForm annotates a command with a form of output it has besides those of all.
const alsoForm = "form"

// helpTemplate shows one real example first.
const helpTemplate = `{{with .Example}}  {{.}}

{{end}}{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}{{end}}

Usage: {{if and .HasAvailableSubCommands (eq .Use .Name)}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{if .HasAvailableSubCommands}}
Commands:{{range .Commands}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}
{{end}}{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{if .HasAvailableInheritedFlags}}
Global flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{with index .Annotations "exit"}}
Exit status: {{.}}
{{end}}`

// group makes a command that only holds others.
func (a *app) group(use, short, example string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Example: example, DisableFlagsInUseLine: true, SuggestionsMinimumDistance: 2}
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			c.SetOut(a.err)
			_ = c.Help()
			return access.Errorf(access.CodeUsage, "say which command of %s", c.CommandPath())
		}
		hint := "see " + c.CommandPath() + " --help"
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + c.CommandPath() + " " + strings.Join(near, ", ") + "?"
		}
		return access.Errorf(access.CodeUsage, "%s has no command %q; %s", c.CommandPath(), args[0], hint)
	}
	c.AddCommand(sub...)
	return c
}

// run is what a command does.
type run func(ctx context.Context, args []string) error

// command makes a command. names are its arguments as help shows them: a name
// in brackets may be left out, one that ends in … may be repeated.
func (a *app) command(use, short, example string, codes []access.Code, do run) *cobra.Command {
	_, words, _ := strings.Cut(use, " ")
	names := strings.Fields(words)
	c := &cobra.Command{Use: use, Short: short, Example: example, Annotations: map[string]string{"exit": exits(codes)}}
	c.Args = func(c *cobra.Command, args []string) error {
		low, high := 0, len(names)
		for _, n := range names {
			if !strings.HasPrefix(n, "[") {
				low++
			}
			if strings.Contains(n, "…") {
				high = 1 << 20
			}
		}
		switch {
		case len(args) < low:
			return access.Errorf(access.CodeUsage, "%s needs %s: %s", c.CommandPath(), strings.Join(names, " "), example)
		case len(args) > high:
			return access.Errorf(access.CodeUsage, "%s takes no %q; see %s --help", c.CommandPath(), args[high], c.CommandPath())
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error { return do(c.Context(), args) }
	if len(names) > 0 {
		c.ValidArgsFunction = a.complete(names)
	}
	return c
}

// completeTime bounds how long a completion may take.
const completeTime = 200 * time.Millisecond

// complete knows the names of agents, servers and people from the gateway; it is silent
// when that does not run.
func (a *app) complete(names []string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(names) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		kind := map[string]string{"AGENT": "agents", "SERVER": "servers", "CREDENTIAL": "credentials", "USER": "users"}[strings.Trim(names[len(args)], "[]…")]
		if kind == "" {
			return nil, cobra.ShellCompDirectiveDefault
		}
		client, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return client.Names(c.Context(), kind, completeTime), cobra.ShellCompDirectiveNoFileComp
	}
}

// loadConfig reads the configuration: --config, RUTILE_CONFIG, or rutile.yaml
// where there is one.
func (a *app) loadConfig() (daemon.Config, error) {
	file, required := a.config, true
	if file == "" {
		file = os.Getenv("RUTILE_CONFIG")
	}
	if file == "" {
		file, required = "rutile.yaml", false
	}
	cfg, err := daemon.LoadConfig(file, required)
	if err != nil {
		return cfg, err
	}
	switch env := os.Getenv("RUTILE_DATA"); {
	case a.data != "":
		cfg.Data = a.data
	case env != "":
		cfg.Data = env
	case cfg.Data == "":
		if cfg.Data, err = daemon.DefaultData(); err != nil {
			return cfg, err
		}
	}
	if cfg.Data, err = filepath.Abs(cfg.Data); err != nil {
		return cfg, access.Errorf(access.CodeInvalid, "the data directory: %w", err)
	}
	return cfg, nil
}

// client returns the way to the gateway: RUTILE_URL, else the socket.
func (a *app) client() (*api.Client, error) {
	if base := os.Getenv("RUTILE_URL"); base != "" {
		file := os.Getenv("RUTILE_TOKEN_FILE")
		if file == "" {
			return nil, access.Errorf(access.CodeUnauthenticated, "RUTILE_URL is set and RUTILE_TOKEN_FILE is not: it names a file that holds the operator token or a personal one")
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, access.Errorf(access.CodeUnauthenticated, "RUTILE_TOKEN_FILE: %w", err)
		}
		return api.NewClient(base, strings.TrimSpace(string(b)))
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	socket, err := daemon.SocketPath(cfg.Data)
	if err != nil {
		return nil, err
	}
	return api.NewSocketClient(socket, "start it with: rutile up --data "+shellWord(cfg.Data)), nil
}

// shellWord quotes s where a shell would not read it as one word.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@=,", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// say tells the person something that is no result.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}
