package cli

import (
	"context"
	_ "embed" // the help about the configuration
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/daemon"
	"rutile/internal/demo"
)

// configHelp is made from the comments of daemon.Config; a test holds it to them.
//
//go:embed config_help.txt
var configHelp string

func (a *app) up() *cobra.Command {
	var play, once, offline, noWatch bool
	var listen daemon.Listen
	c := a.command("up", "Run the gateway", "rutile up", nil, func(ctx context.Context, _ []string) error {
		if !play && (once || offline) {
			return access.Errorf(access.CodeUsage, "--once and --offline belong to --demo")
		}
		// Said here: later it would be taken for a mistake in the configuration.
		for _, f := range []struct{ name, addr string }{{"--listen-agents", listen.Agents}, {"--listen-operators", listen.Operators}} {
			if msg := daemon.CheckAddress(f.addr); f.addr != "" && msg != "" {
				return access.Errorf(access.CodeInvalid, "%s: %s", f.name, msg)
			}
		}
		if play {
			return a.demo(ctx, listen, once, offline)
		}
		cfg, err := a.loadConfig()
		if err != nil {
			return err
		}
		if listen.Agents != "" {
			cfg.Listen.Agents = listen.Agents
		}
		if listen.Operators != "" {
			cfg.Listen.Operators = listen.Operators
		}
		if l := a.logLevel(); l != "" {
			cfg.Log.Level = l
		}
		return a.serve(ctx, cfg, !noWatch)
	})
	c.Long = `Run the gateway until it is stopped (Ctrl-C, SIGTERM or SIGHUP; calls in flight may
finish). New certificates are read by themselves; any other change of the
configuration takes a new start.

When it serves it prints one line on standard output:
  ready agents=URL operators=URL

It looks at this machine when it starts and whenever that changes: what clients are
configured with, processes and listening sockets. What it finds is in rutile
inventory list, and what is wrong with it in rutile finding list. Nothing that is
found is started, changed or connected to; --no-watch leaves it out.

Where there is no configuration and no manifest was ever applied, policy only
observes: calls pass and are recorded with what enforcing would have decided.

` + configHelp
	f := c.Flags()
	f.BoolVar(&play, "demo", false, "add demonstration servers and a scripted agent, in a temporary data directory")
	f.BoolVar(&once, "once", false, "with --demo: end after the script; the status is 0 if every step ended as it should")
	f.BoolVar(&offline, "offline", false, "with --demo: start nothing that may have to be downloaded")
	f.BoolVar(&noWatch, "no-watch", false, "do not look at this machine; see discovery.watch below")
	f.StringVar(&listen.Agents, "listen-agents", "", "`address` agents use, instead of listen.agents")
	f.StringVar(&listen.Operators, "listen-operators", "", "`address` operators use, instead of listen.operators")
	return c
}

// demo plays the demonstration, on data of its own.
func (a *app) demo(ctx context.Context, listen daemon.Listen, once, offline bool) error {
	if a.config != "" || a.data != "" {
		a.say("the demonstration has a configuration and data of its own; --config and --data are not used")
	}
	err := demo.Run(ctx, demo.Config{
		Listen: listen, Log: daemon.Log{Level: a.logLevel()}, Version: a.version, Program: shellWord(os.Args[0]),
		Once: once, Offline: offline, Out: a.out, Errors: a.err,
	})
	if err != nil && ctx.Err() != nil {
		return context.Canceled // ended before the script did
	}
	return err
}

// logLevel is what -q and -v ask for, "" for neither.
func (a *app) logLevel() string {
	switch {
	case a.quiet:
		return "error"
	case a.verbose:
		return "debug"
	}
	return ""
}

func (a *app) serve(ctx context.Context, cfg daemon.Config, watch bool) (err error) {
	if err := a.alone(ctx, cfg.Data); err != nil {
		return err
	}
	daemon.TuneMemory(ctx)
	opt := daemon.Options{Version: a.version, Log: a.err}
	if home, err := ownHome(); watch && err == nil { // a service may have none
		opt.Home = &home
	}
	d, err := daemon.New(ctx, cfg, opt)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := d.Close(context.WithoutCancel(ctx)); cerr != nil && err == nil {
			err = fmt.Errorf("stopping: %w", cerr)
		}
	}()
	leaves := "nothing leaves this machine but the calls you permit"
	if cfg.Inspection.Judge.URL != "" {
		leaves += ", and what the outside judge is shown"
	}
	a.say("rutile %s: data in %s; %s", a.version, cfg.Data, leaves)
	if d.Admin.Current().Monitor {
		a.warnMonitor(cfg)
	}
	fmt.Fprintf(a.out, "ready agents=%s operators=%s\n", d.AgentsURL, d.OperatorsURL)
	a.next(cfg.Data)
	a.invite(ctx, d)
	return d.Wait(ctx)
}

// invite says where the console is. The link that signs in is for whoever sits at the
// terminal: what goes to a file or a journal is read by others too, and they get the
// address alone.
func (a *app) invite(ctx context.Context, d *daemon.Daemon) {
	if !isTerminal(a.err) {
		a.say("console: %s/console/ (rutile user link prints a link that signs you in)", d.OperatorsURL)
		return
	}
	if link, err := d.OwnLink(ctx); err == nil {
		a.say("console: %s (signs you in once, within five minutes; rutile user link prints another)", link)
	}
}

// warnMonitor is said whatever -q: nothing is enforced.
func (a *app) warnMonitor(cfg daemon.Config) {
	why := "there is no configuration and no manifest yet"
	if cfg.Mode == "monitor" {
		why = "the configuration says mode: monitor"
	}
	fmt.Fprintf(a.err, "policy observes and does not enforce, because %s: calls pass and are recorded with what enforcing would have decided\n", why)
}

// alone says so if a gateway runs on this data already.
func (a *app) alone(ctx context.Context, data string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	socket, err := daemon.SocketPath(data)
	if err != nil {
		return err
	}
	s, err := api.NewSocketClient(socket, "").Status(ctx)
	if err != nil {
		return nil // nobody answers; whatever else is wrong, the start finds it
	}
	return access.Errorf(access.CodeConflict, "a gateway is already running on %s: agents=%s operators=%s (process %d); stop it first, or choose another --data", data, s.Agents, s.Operators, s.PID)
}
