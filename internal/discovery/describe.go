package discovery

import (
	"regexp"
	"slices"
	"strings"
)

// Spec is what a configuration or a command line says would run, in clear. It
// MUST NOT be kept: Describe takes from it what may be.
type Spec struct {
	Command   string
	Args      []string
	URL       string
	Transport string // as the client says it, "" if it does not
	Dir       string // the working folder relative paths count from, "" if not known
}

// Describer draws from a Spec what it is.
type Describer struct {
	Paths *Paths
	// Gateways are host:port of Rutile's own listener for agents.
	Gateways []string
	// Local is the canonical key of a program or script on this machine, and false
	// if it has none but its path. It may read the file and runs nothing.
	Local func(file string) (key string, ok bool)
}

// Description is what Describe found.
type Description struct {
	Target  Target
	Secrets []SecretRef
	Scopes  []DataScope
	// Executable says that a part of it is run by a shell, which may do anything.
	Executable bool
}

// Describe peels launchers off spec, redacts it and finds its canonical key.
func (d *Describer) Describe(spec Spec) Description {
	if spec.URL != "" {
		return d.remote(spec.URL, spec.Transport)
	}
	p := &peeled{command: spec.Command, args: spec.Args, pinned: true}
	p.run()
	out := Description{Secrets: p.secrets, Executable: p.executable}
	switch {
	case p.server != "":
		out.Target = Target{Kind: KindGateway, Key: "rutile:" + p.server, Server: p.server, Transport: "stdio", Pinned: true}
	case p.url != "":
		r := d.remote(p.url, "")
		out.Target, out.Secrets = r.Target, append(out.Secrets, r.Secrets...)
		out.Target.Transport = "stdio"
		out.Target.Pinned = p.pinned
	default:
		out.Target = d.local(p, spec.Dir)
	}
	args, secrets := d.arguments(p.args)
	out.Target.Launchers = p.launchers
	out.Target.Args = args
	out.Secrets = append(out.Secrets, secrets...)
	out.Scopes = d.scopes(p)
	return out
}

// remote describes an address.
func (d *Describer) remote(address, transport string) Description {
	shown, secrets := d.address(address)
	t := Target{Kind: KindRemote, Transport: transport, URL: shown, Pinned: true}
	if t.Transport == "" {
		t.Transport = "http"
	}
	bare, _, _ := strings.Cut(shown, "?")
	bare, _, _ = strings.Cut(bare, "#")
	t.Key = strings.TrimRight(bare, "/")
	if u, err := parseAddress(address); err == nil {
		for _, g := range d.Gateways {
			if strings.EqualFold(u.Host, g) {
				t.Kind = KindGateway
				t.Server = strings.TrimPrefix(strings.TrimPrefix(strings.Trim(u.Path, "/"), "mcp"), "/")
				t.Key = "rutile:" + t.Server
			}
		}
	}
	out := Description{Target: t, Secrets: secrets}
	if u, err := parseAddress(address); err == nil && u.Host != "" {
		out.Scopes = append(out.Scopes, DataScope{Name: "net:" + hostOf(u), From: "address"})
	}
	return out
}

// local describes what is not an address.
func (d *Describer) local(p *peeled, dir string) Target {
	t := Target{Kind: KindLocal, Transport: "stdio", Version: p.version, Pinned: p.pinned}
	switch {
	case p.hub != "":
		t.Kind, t.Key = KindHub, "hub:"+p.hub
	case p.pkg != "":
		t.Kind, t.Package, t.Key = KindPackage, p.pkg, p.pkg
		if strings.HasPrefix(p.pkg, "pkg:docker/") {
			t.Kind = KindImage
		}
		if p.entry != "" {
			t.Key += "#" + p.entry
		}
	case p.command == "":
		t.Kind, t.Key = KindOpaque, ""
	default:
		file := p.command
		if !isAbs(file) && dir != "" && strings.ContainsAny(file, `/\`) {
			file = strings.TrimRight(dir, "/") + "/" + strings.TrimPrefix(slash(file), "./")
		}
		t.Command = d.program(p.command)
		if slices.Contains(interpreters, programName(file)) {
			// What an interpreter is told to do is what runs.
			t.Key = "script:" + d.Paths.Digest(append([]string{"script", file}, p.args...)...)[:20]
			return t
		}
		if key, ok := d.key(file); ok {
			t.Key = key
		} else if strings.ContainsAny(file, `/\`) {
			t.Key = "path:" + d.Paths.Digest("path", d.Paths.Show(file))[:20]
		} else {
			t.Key = "command:" + d.program(file)
		}
	}
	return t
}

// interpreters and launchers are no server by themselves.
var interpreters = []string{"sh", "bash", "zsh", "dash", "ksh", "fish", "ash", "cmd", "powershell", "pwsh", "node", "nodejs", "deno", "bun", "python", "python3", "py", "ruby", "perl", "php", "java", "dotnet", "docker", "podman", "nerdctl", "npx", "npm", "pnpm", "yarn", "uv", "uvx", "pipx", "env", "sudo", "wsl", "ssh", "kubectl", "mcp-remote", "supergateway", "mcp-proxy"}

func (d *Describer) key(file string) (string, bool) {
	if d.Local == nil || !isAbs(file) {
		return "", false
	}
	return d.Local(file)
}

var programWord = regexp.MustCompile(`^[\w.@+-]{1,64}$`)

// program shows the name of a program.
func (d *Describer) program(s string) string {
	switch {
	case pathStart.MatchString(s):
		return d.path(s)
	case Sensitive(s):
		return redacted("secret")
	case programWord.MatchString(s):
		return s
	case pathLike.MatchString(s):
		return d.path(s)
	default:
		return redacted("text")
	}
}

// unusual is what no name of a file needs and options, parameters, user and
// password, and lines of shell have.
var unusual = regexp.MustCompile("[=?#&|;<>`\"'\\p{Cc}]|\\$[^A-Z_{]| -|.:.")

// path shows a path, without segments that look like secrets or like no path.
func (d *Describer) path(s string) string {
	shown := slash(s)
	if isAbs(s) {
		shown = d.Paths.Show(s)
	}
	parts := strings.Split(shown, "/")
	for i, part := range parts {
		if Sensitive(part) || unusual.MatchString(part) && !taggedName.MatchString(s) {
			parts[i] = redacted("segment")
		}
	}
	return strings.Join(parts, "/")
}

// taggedName is a name with a tag as those of images have, and no path from a root.
var taggedName = regexp.MustCompile(`^(?:[\w.-]+/)+[\w.-]+:[\w.-]+$`)

func isAbs(s string) bool {
	return strings.HasPrefix(s, "/") || len(s) > 2 && s[1] == ':' && (s[2] == '/' || s[2] == '\\')
}
