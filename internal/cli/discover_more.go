package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"rutile/internal/access"
	"rutile/internal/daemon"
	"rutile/internal/discovery"
	"rutile/internal/discovery/kube"
	"rutile/internal/discovery/probe"
	proc "rutile/internal/discovery/process"
	"rutile/internal/discovery/traffic"
)

// more is what discover was asked for besides the clients' configurations.
type more struct {
	processes bool

	targets                                    []string
	ports                                      []uint
	allow, contact, state                      string
	authorized, gentle, enumerate, checkOrigin bool

	logs, through []string
	format        string

	manifests []string
}

const moreHelp = `
With --processes it looks at the processes and sockets of this machine, without
their environment. With --probe it connects to the hosts and networks named, and to
nothing else: at most 20 connections a second and 2 to one address, without
credentials, calling no tool, ending every session it opens. Public addresses need
--probe-allow, more than a /20 needs --i-am-authorized; cloud metadata, multicast
and broadcast addresses and Rutile's own are always refused. Ask first whether you
may probe a network.`

func (m *more) flags(f *pflag.FlagSet) {
	f.BoolVar(&m.processes, "processes", false, "look at running processes and listening sockets")
	f.StringArrayVar(&m.targets, "probe", nil, "a `URL`, host, host:port or CIDR to ask; may be repeated")
	f.UintSliceVar(&m.ports, "probe-ports", nil, "ports to ask besides the usual `list`")
	f.StringVar(&m.allow, "probe-allow", "", "a `file` of public networks that may be probed, a CIDR a line")
	f.StringVar(&m.contact, "probe-contact", "", "`whom` to ask about the probe, told to what is probed")
	f.StringVar(&m.state, "probe-state", "", "a `file` to keep how far the probe is, and to go on from after an interrupt")
	f.BoolVar(&m.authorized, "i-am-authorized", false, "you may probe more than a /20")
	f.BoolVar(&m.gentle, "gentle", false, "probe without opening a session: servers of older revisions stay unknown")
	f.BoolVar(&m.enumerate, "enumerate", false, "ask servers without authentication for the names of their tools")
	f.BoolVar(&m.checkOrigin, "check-origin", false, "ask whether a foreign Origin is refused")
	f.StringArrayVar(&m.logs, "logs", nil, "a log `file` of a proxy or gateway, - for standard input; may be repeated")
	f.StringVar(&m.format, "logs-format", "", "the `form` of the logs: "+strings.Join(traffic.Formats(), ", ")+" (default: told by how they begin)")
	f.StringArrayVar(&m.through, "logs-gateway", nil, "an `address` Rutile's own requests have in the logs; may be repeated")
	f.StringArrayVar(&m.manifests, "kube", nil, "a `file` or folder of Kubernetes manifests; may be repeated")
}

// check reports what is wrong with what was asked for, before anything is done.
func (m *more) check() error {
	for _, need := range []struct {
		set  bool
		flag string
	}{{len(m.ports) > 0, "--probe-ports"}, {m.allow != "", "--probe-allow"}, {m.state != "", "--probe-state"}, {m.authorized, "--i-am-authorized"}, {m.gentle, "--gentle"}, {m.enumerate, "--enumerate"}, {m.checkOrigin, "--check-origin"}, {m.contact != "", "--probe-contact"}} {
		if need.set && len(m.targets) == 0 {
			return access.Errorf(access.CodeUsage, "%s needs --probe: say what to probe", need.flag)
		}
	}
	for _, p := range m.ports {
		if p == 0 || p > 65535 {
			return access.Errorf(access.CodeUsage, "--probe-ports %d is no port: use 1 to 65535", p)
		}
	}
	if strings.ContainsFunc(m.contact, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '(' || r == ')' }) || len(m.contact) > 200 {
		return access.Errorf(access.CodeUsage, "--probe-contact is sent in a header: use an address of mail or the web, in ASCII")
	}
	if (m.format != "" || len(m.through) > 0) && len(m.logs) == 0 {
		return access.Errorf(access.CodeUsage, "--logs-format and --logs-gateway need --logs: say which file to read")
	}
	if m.format != "" && !slices.Contains(traffic.Formats(), m.format) {
		return access.Errorf(access.CodeUsage, "--logs-format %s is not known: use %s", m.format, strings.Join(traffic.Formats(), ", "))
	}
	for i, s := range m.through {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return access.Errorf(access.CodeUsage, "--logs-gateway %s is no address", s)
		}
		m.through[i] = a.Unmap().String()
	}
	for _, p := range m.manifests {
		if _, err := os.Stat(p); err != nil {
			return access.Errorf(access.CodeUsage, "--kube %s is not there or cannot be read", p)
		}
	}
	return nil
}

// moreSources are the sources besides the clients' configurations.
func (a *app) moreSources(ctx context.Context, m *more, listeners daemon.Config, paths *discovery.Paths, describe *discovery.Describer, progress func(done, places, found int)) ([]discovery.Source, error) {
	var out []discovery.Source
	if m.processes {
		out = append(out, proc.Source{Describe: describe, Ports: probe.Ports()})
	}
	for i := range m.manifests {
		abs, err := filepath.Abs(m.manifests[i])
		if err != nil {
			return nil, access.Errorf(access.CodeUsage, "--kube %s: %w", m.manifests[i], err)
		}
		m.manifests[i] = abs
	}
	if len(m.manifests) > 0 {
		out = append(out, kube.Source{Roots: m.manifests, Paths: paths, Describe: describe})
	}
	if len(m.logs) > 0 {
		files := slices.Clone(m.logs)
		for i, f := range files {
			if abs, err := filepath.Abs(f); err == nil && f != "-" {
				files[i] = abs
			}
		}
		out = append(out, traffic.Source{Files: files, Stdin: a.in, Format: m.format, Through: m.through, Paths: paths, Describe: describe})
	}
	if len(m.targets) == 0 {
		return out, nil
	}
	cfg := probe.Config{Version: a.version, Contact: m.contact, Gentle: m.gentle, Enumerate: m.enumerate, CheckOrigin: m.checkOrigin, Authorized: m.authorized, Progress: progress}
	cfg.Own, cfg.OwnHosts = a.ownListeners(ctx, listeners)
	for _, p := range m.ports {
		cfg.Ports = append(cfg.Ports, uint16(p))
	}
	if err := m.probeFiles(&cfg); err != nil {
		return nil, err
	}
	if err := probe.Check(cfg, m.targets); err != nil {
		return nil, err
	}
	src := probe.Source{Config: cfg, Targets: m.targets, Describe: describe}
	if m.state == "" {
		return append(out, src), nil
	}
	return append(out, kept{src, m.state}), nil
}

// probeFiles reads the networks that may be probed, and where an earlier run
// ended.
func (m *more) probeFiles(cfg *probe.Config) error {
	if m.allow != "" {
		if err := regular(m.allow); err != nil {
			return access.Errorf(access.CodeUsage, "--probe-allow %s: %w", m.allow, err)
		}
		f, err := os.Open(m.allow)
		if err != nil {
			return access.Errorf(access.CodeUsage, "--probe-allow: %w", err)
		}
		defer f.Close()
		if cfg.Allow, err = probe.ReadAllow(f); err != nil {
			return access.Errorf(access.CodeUsage, "--probe-allow %s: %w", m.allow, err)
		}
	}
	if m.state == "" {
		return nil
	}
	if err := regular(m.state); err != nil {
		return access.Errorf(access.CodeUsage, "--probe-state %s: %w", m.state, err)
	}
	b, err := os.ReadFile(m.state)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return access.Errorf(access.CodeUsage, "--probe-state: %w", err)
	default:
		cfg.Resume = &probe.State{}
		if err := json.Unmarshal(b, cfg.Resume); err != nil {
			return access.Errorf(access.CodeUsage, "--probe-state %s is not what a probe keeps: remove it", m.state)
		}
	}
	cfg.Save = func(s probe.State) error { return writeState(m.state, s) }
	return nil
}

// regular refuses what is there and is no regular file: a pipe would be waited
// for without end.
func regular(file string) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	return nil
}

// writeState replaces the file in one step.
func writeState(file string, s probe.State) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".probe-*")
	if err != nil {
		return access.Errorf(access.CodeInvalid, "--probe-state: %w", err)
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return access.Errorf(access.CodeInvalid, "--probe-state: %w", err)
	}
	return nil
}

// kept is a probe whose state is removed when it is complete.
type kept struct {
	probe.Source
	file string
}

func (k kept) Discover(ctx context.Context, into *discovery.Sink) error {
	err := k.Source.Discover(ctx, into)
	if err == nil {
		os.Remove(k.file)
	}
	return err
}

// ownListeners are the addresses and names of the gateway here: of the one that
// runs, of the configuration, and the usual ones.
func (a *app) ownListeners(ctx context.Context, cfg daemon.Config) (at []netip.AddrPort, names []string) {
	all := []string{cfg.Listen.Agents, cfg.Listen.Operators, cfg.URLs.Agents, cfg.URLs.Operators, "127.0.0.1:7433", "127.0.0.1:7434"}
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	if client, err := a.client(); err == nil {
		if s, err := client.Status(ctx); err == nil { // one that does not run is not probed by mistake
			all = append(all, s.Agents, s.Operators)
		}
	}
	for _, s := range all {
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			s = u.Host
		}
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			host = s
		}
		switch host {
		case "":
			host = "0.0.0.0"
		case "localhost":
			host = "127.0.0.1"
		}
		ap, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
		switch {
		case err == nil && ap.Port() != 0:
			at = append(at, ap)
		case err != nil && s != "":
			names = append(names, host)
		}
	}
	return at, names
}
