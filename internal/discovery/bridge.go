package discovery

import (
	"regexp"
	"slices"
	"strings"
)

// bridge takes off a program that leads to a server elsewhere, or starts one.
// name carries the bridge's own version where one is written.
func (p *peeled) bridge(name string) bool {
	base, version, _ := strings.Cut(name, "@")
	if len(p.launchers) > 0 && !exactVersion.MatchString(version) {
		p.pinned = false // the bridge itself is what is fetched anew
	}
	p.launchers = append(p.launchers, name)
	for i := 0; i < len(p.args); i++ {
		a := p.args[i]
		option, value, joined := strings.Cut(a, "=")
		if !joined && i+1 < len(p.args) {
			value = p.args[i+1]
		}
		switch {
		case option == "--stdio" && base == "supergateway":
			words, ok := shellWords(value)
			if !ok || len(words) == 0 {
				return false
			}
			p.command, p.args = words[0], words[1:]
			return true
		case slices.Contains([]string{"--sse", "--streamableHttp", "--streamable-http", "--url"}, option) && urlStart.MatchString(value):
			p.leads(value, i)
			return false
		case urlStart.MatchString(a):
			p.leads(a, i)
			return false
		case isHeaderFlag(option) || slices.Contains([]string{"--transport", "--port", "--host", "--pass-environment", "--auth-timeout", "--resource"}, option):
			if !joined {
				i++
			}
			if base == "mcp-proxy" && (option == "--headers" || option == "-H") && i+1 < len(p.args) {
				i++ // its headers are two words
			}
		case !strings.HasPrefix(a, "-") && base == "mcp-proxy":
			p.command, p.args = a, p.args[i+1:]
			return true
		}
	}
	return false
}

// leads takes the address at argument i out of the arguments, which keep the rest.
func (p *peeled) leads(address string, i int) {
	p.url = address
	rest := slices.Clone(p.args[:i])
	if p.args[i] == address {
		rest = append(rest, p.args[i+1:]...)
	} else if i+2 <= len(p.args) {
		rest = append(rest, p.args[min(i+2, len(p.args)):]...)
	}
	p.args = rest
}

// hubs is a hub that runs a named server of its own.
func (p *peeled) hubs(hub string) bool {
	p.hub = hub
	for i, a := range p.args {
		if (a == "run" || a == "proxy" || a == "start") && i+1 < len(p.args) {
			if j := p.positional(i+1, nil, nil); j < len(p.args) && programWord.MatchString(p.args[j]) {
				p.hub += ":" + p.args[j]
			}
			break
		}
	}
	return false
}

var smitheryName = regexp.MustCompile(`^@?[\w.-]{1,64}(?:/[\w.-]{1,64})?$`)

// smithery is a client that runs a server of a registry by its name.
func (p *peeled) smithery() {
	if i := slices.Index(p.args, "run"); i >= 0 && i+1 < len(p.args) && smitheryName.MatchString(p.args[i+1]) {
		p.entry = "run " + p.args[i+1]
	}
}

// Options of docker run and podman run without a value; every other one has one.
var containerFlags = []string{
	"--rm", "--init", "--privileged", "--read-only", "--detach", "--interactive", "--tty", "--no-healthcheck", "--publish-all", "--quiet", "--oom-kill-disable", "--disable-content-trust", "--use-api-socket", "--sig-proxy", "--help",
	"--replace", "--rmi", "--rootfs", "--env-host", "--http-proxy", "--no-hosts", "--no-hostname", "--passwd", "--read-only-tmpfs", "--tls-verify", "--unsetenv-all",
}

var (
	shortFlags = regexp.MustCompile(`^-[itdqP]+`) // of one letter, which may be written together
	imageName  = regexp.MustCompile(`^(?:([a-zA-Z0-9.-]+(?::[0-9]{1,5})?)/)?([a-z0-9][a-z0-9._/-]{0,200})(?::([\w.-]{1,128}))?(?:@(sha256:[0-9a-f]{64}))?$`)
)

// container is docker or what takes its words.
func (p *peeled) container(name string) bool {
	if i := slices.Index(p.args, "mcp"); name == "docker" && i == 0 {
		p.hub = "docker-mcp"
		for j, a := range p.args {
			if option, value, joined := strings.Cut(a, "="); option == "--profile" || option == "--servers" {
				if !joined && j+1 < len(p.args) {
					value = p.args[j+1]
				}
				if smitheryName.MatchString(value) {
					p.hub += ":" + value
				}
			}
		}
		return false
	}
	i := p.positional(0, []string{"--context", "-c", "--host", "-H", "--config", "-l", "--log-level", "--connection", "--url"}, nil)
	if i < len(p.args) && p.args[i] == "container" {
		i++
	}
	if i >= len(p.args) || p.args[i] != "run" {
		return false
	}
	i++
	for ; i < len(p.args) && strings.HasPrefix(p.args[i], "-"); i++ {
		option, value, joined := strings.Cut(p.args[i], "=")
		if option == "--" {
			i++
			break
		}
		if !strings.HasPrefix(option, "--") { // -it, -eNAME=VALUE, -ite NAME=VALUE
			short := "-" + shortFlags.ReplaceAllString(p.args[i], "")
			short = "-" + strings.TrimLeft(short, "-")
			if short == "-" {
				continue
			}
			option, value, joined = short[:2], strings.TrimPrefix(short[2:], "="), len(short) > 2
		}
		switch {
		case slices.Contains(containerFlags, option):
			continue
		case !joined && i+1 < len(p.args):
			i++
			value = p.args[i]
		}
		p.containerOption(option, value)
	}
	if i >= len(p.args) {
		return false
	}
	p.image(p.args[i])
	p.launchers = append(p.launchers, name+" run")
	p.command, p.args = p.args[i], p.args[i+1:]
	return false
}

func (p *peeled) containerOption(option, value string) {
	switch option {
	case "-e", "--env":
		if strings.Contains(value, "=") {
			p.assigned(value, "argument")
		} else if SecretName(value) {
			p.secrets = append(p.secrets, SecretRef{Name: value, Where: "env", Kind: SecretReference, Ref: value})
		}
	case "--entrypoint":
		p.entry = value // what runs is another program of the image
		if !programWord.MatchString(value) && !pathStart.MatchString(value) || Sensitive(value) {
			p.entry = redacted("text")
		}
	case "-v", "--volume":
		p.mounts = append(p.mounts, mountSource(value))
	case "--mount":
		for part := range strings.SplitSeq(value, ",") {
			if k, v, _ := strings.Cut(part, "="); k == "source" || k == "src" {
				p.mounts = append(p.mounts, v)
			}
		}
	}
}

// mountSource is the host's side of source:target[:options].
func mountSource(s string) string {
	from := 0
	if len(s) > 2 && s[1] == ':' && (s[2] == '\\' || s[2] == '/') {
		from = 2 // a drive
	}
	if i := strings.IndexByte(s[from:], ':'); i >= 0 {
		return s[:from+i]
	}
	return ""
}

// image reads the name of an image of a container.
func (p *peeled) image(ref string) {
	m := imageName.FindStringSubmatch(ref)
	if m == nil {
		p.pinned = false
		return
	}
	host, repo, tag, sum := m[1], m[2], m[3], m[4]
	if host != "" && !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, repo = "", host+"/"+repo
	}
	repo = strings.TrimPrefix(repo, "library/")
	purl := "pkg:docker/" + repo
	if host != "" && host != "docker.io" && host != "index.docker.io" {
		purl += "?repository_url=" + strings.ToLower(host)
	}
	version := tag
	if sum != "" {
		version = sum
	}
	p.take(purl, version, sum != "" || exactVersion.MatchString(tag))
}
