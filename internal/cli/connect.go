package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/shim"
)

const (
	maxCode = 4 << 10  // bytes of an enrollment code
	maxCA   = 64 << 10 // bytes of a file of authorities
)

func (a *app) connect() *cobra.Command {
	var state, agent, gateway, ca string
	var enroll bool
	c := a.command("connect [SERVER]", "Connect a desktop client to the gateway over standard input and output", "rutile connect files",
		calling(), func(ctx context.Context, args []string) error {
			dir, err := a.profiles(state)
			if err != nil {
				return err
			}
			if enroll {
				if len(args) > 0 {
					return access.Errorf(access.CodeUsage, "--enroll is for all servers: leave %q out", args[0])
				}
				return a.enrollHere(ctx, dir, agent, gateway, ca)
			}
			if gateway != "" || ca != "" {
				return access.Errorf(access.CodeUsage, "--gateway and --ca belong to --enroll; the profile keeps them")
			}
			server := "*"
			if len(args) > 0 {
				server = args[0]
			}
			return a.relay(ctx, dir, agent, server)
		})
	c.Long = `Connect a client that speaks MCP over standard input and output to one server of
the gateway; without SERVER, or with '*', to all servers the agent may use.

It holds the agent's key and fetches its own tokens, so the client's
configuration holds no secret. It needs no environment: the profile is found
below the home directory the system has for the user, or with --state.

Enroll once, where the gateway runs, or elsewhere with a code an operator made
with rutile agent enroll AGENT, given on standard input:
  rutile connect --enroll --agent AGENT
  rutile connect --enroll --gateway https://mcp.example.com < code

Standard output carries MCP messages only, standard error the diagnostics. It
ends with status 0 when the client closes its end; a gateway that is away is an
error of the request, and no end.`
	f := c.Flags()
	f.StringVar(&agent, "agent", "", "`agent` to act as, where several are enrolled")
	f.StringVar(&state, "state", "", "`directory` of the profiles (default connect in --data, or ~/.local/share/rutile/connect)")
	f.BoolVar(&enroll, "enroll", false, "make a key and let the gateway know it")
	f.StringVar(&gateway, "gateway", "", "with --enroll: the agents' `URL` of the gateway; the code is read from standard input")
	f.StringVar(&ca, "ca", "", "with --enroll: `file` with the only authorities trusted for it, in PEM")
	return c
}

// profiles is where profiles are. Only flags move it: what the person set in a
// shell is not there when a desktop client starts us.
func (a *app) profiles(state string) (string, error) {
	switch {
	case state != "":
	case a.data != "":
		state = filepath.Join(a.data, "connect")
	default:
		return shim.DefaultState()
	}
	dir, err := filepath.Abs(state)
	if err != nil {
		return "", access.Errorf(access.CodeInvalid, "the directory of profiles: %w", err)
	}
	return dir, nil
}

func (a *app) relay(ctx context.Context, dir, agent, server string) error {
	if server == "*" {
		server = ""
	} else if !access.ValidID(server) {
		return access.Errorf(access.CodeUsage, "%q cannot be a server's id; list them with: rutile server list", server)
	}
	p, err := shim.Load(dir, agent)
	if err != nil {
		return err
	}
	// A client that stops reading is an error of writing, and not the end before
	// the session is.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	diagnostics := newDrain(a.err)
	defer diagnostics.close()
	level := slog.LevelInfo
	switch {
	case a.quiet:
		level = slog.LevelError
	case a.verbose:
		level = slog.LevelDebug
	}
	s, err := shim.New(shim.Config{
		Profile: p, Server: server, In: a.in, Out: a.out, Log: slog.New(slog.NewTextHandler(diagnostics, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// enrollHere makes a profile: with a code from standard input, or with one it
// gets itself where it may administer the gateway.
func (a *app) enrollHere(ctx context.Context, dir, agent, gateway, ca string) error {
	var pem []byte
	var err error
	if ca != "" {
		if pem, err = readFile(ca, maxCA); err != nil {
			return err
		}
	}
	var code string
	if gateway != "" {
		if agent != "" {
			return access.Errorf(access.CodeUsage, "the code says which agent it is: leave --agent out, or --gateway where you may administer the gateway")
		}
		a.say("paste the enrollment code and press Enter")
		line, err := bufio.NewReader(io.LimitReader(a.in, maxCode)).ReadString('\n')
		if err != nil && err != io.EOF {
			return access.Errorf(access.CodeInvalid, "reading the enrollment code: %w", err)
		}
		code = strings.TrimSpace(line)
	} else {
		if agent == "" {
			return access.Errorf(access.CodeUsage, "say which agent this is with --agent, or where the gateway is with --gateway")
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		st, err := client.Status(ctx)
		if err != nil {
			return err
		}
		in, err := client.Invite(ctx, agent, api.InviteSpec{})
		if err != nil {
			return err
		}
		code, gateway = in.Code, st.Agents
	}
	p, err := shim.Enroll(ctx, dir, gateway, string(pem), code)
	if err != nil {
		return err
	}
	id, err := p.KeyID()
	if err != nil {
		return err
	}
	out := enrolled{Agent: p.Agent, Gateway: p.Gateway, Key: id, State: dir}
	return a.print(out, func(w io.Writer) {
		fields(w, "agent", out.Agent, "gateway", out.Gateway, "key", out.Key, "profiles", out.State)
	})
}

// enrolled is what an enrollment says.
type enrolled struct {
	Agent   string `json:"agent"`
	Gateway string `json:"gateway"`
	Key     string `json:"key"`   // RFC 7638 thumbprint
	State   string `json:"state"` // directory of the profiles
}

func (a *app) agentEnroll() *cobra.Command {
	var ttl time.Duration
	c := a.command("enroll AGENT", "Print a code that adds one key to an agent", "rutile agent enroll reader", calling(), func(ctx context.Context, args []string) error {
		if ttl%time.Second != 0 || ttl < time.Second {
			return access.Errorf(access.CodeUsage, "--ttl %s: give whole seconds, for example 10m", ttl)
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		st, err := client.Status(ctx)
		if err != nil {
			return err
		}
		in, err := client.Invite(ctx, args[0], api.InviteSpec{Seconds: int(ttl / time.Second)})
		if err != nil {
			return err
		}
		a.say("until %s, on the agent's machine: rutile connect --enroll --gateway %s", when(in.Expires), st.Agents)
		return a.print(in, func(w io.Writer) { fmt.Fprintln(w, in.Code) })
	})
	c.Long = `Print a code that lets whoever holds it add one key to an agent, once: only the
code on standard output. Hand it over as you would a password, and give it to
rutile connect --enroll on standard input. Making it and redeeming it are
recorded.`
	c.Flags().DurationVar(&ttl, "ttl", 10*time.Minute, "how long it counts, 1m to 1h")
	return c
}

func (a *app) agentUnenroll() *cobra.Command {
	var spec api.UnenrollSpec
	var all bool
	c := a.command("unenroll AGENT [KEY]", "Remove enrolled keys of an agent; their sessions end", "rutile agent unenroll reader u7Wq", calling(), func(ctx context.Context, args []string) error {
		switch {
		case len(args) == 2 && !all && args[1] != "":
			spec.Key = args[1]
		case len(args) == 2 || !all:
			return access.Errorf(access.CodeUsage, "name the key as rutile agent show %s lists it, or give --all", args[0])
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		x, err := client.Unenroll(ctx, args[0], spec)
		if err != nil {
			return err
		}
		return a.print(x, func(w io.Writer) {
			fmt.Fprintf(w, "agent %s has %d enrolled keys\n", cell(x.ID), len(x.Enrolled))
		})
	})
	c.Flags().BoolVar(&all, "all", false, "every enrolled key, and codes not used yet")
	c.Flags().StringVar(&spec.Reason, "reason", "", "`why`, for the evidence")
	return c
}

// drain writes diagnostics in the background: a client that does not read them
// must not stop the messages. What it would have to wait for is dropped.
type drain struct {
	lines chan []byte
	done  chan struct{}
}

func newDrain(w io.Writer) *drain {
	d := &drain{lines: make(chan []byte, 256), done: make(chan struct{})}
	go func() {
		defer close(d.done)
		for b := range d.lines {
			if b == nil {
				return
			}
			_, _ = w.Write(b) // nobody reads it
		}
	}()
	return d
}

// Write takes one line.
func (d *drain) Write(b []byte) (int, error) {
	select {
	case d.lines <- append([]byte(nil), b...):
	default:
	}
	return len(b), nil
}

// close writes what is left, if it is read soon.
func (d *drain) close() {
	select {
	case d.lines <- nil: // the end
	default:
	}
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-d.done:
	case <-timer.C:
	}
}
