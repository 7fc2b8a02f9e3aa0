package discovery

import (
	"regexp"
	"slices"
	"strings"
)

// runner takes off what fetches a package or interprets a program. It reports
// whether something it started is left to look at.
func (p *peeled) runner(name string) bool {
	if name == "rutile" || strings.HasPrefix(name, "rutile-") || strings.HasPrefix(name, "rutile_") { // as releases are named
		return p.shim()
	}
	switch name {
	case "npx", "pnpx", "bunx":
		return p.npx(name, 0)
	case "npm", "pnpm", "yarn", "bun":
		for i, a := range p.args {
			if strings.HasPrefix(a, "-") {
				continue
			}
			if slices.Contains([]string{"exec", "x", "dlx"}, a) {
				return p.npx(name+" "+a, i+1)
			}
			break
		}
		if name == "bun" {
			return p.interpreter(name)
		}
	case "uvx":
		return p.uvx("uvx", 0)
	case "uv":
		return p.uv()
	case "pipx":
		if i := slices.Index(p.args, "run"); i >= 0 {
			return p.uvx("pipx run", i+1)
		}
	case "dnx":
		return p.dnx()
	case "docker", "podman", "nerdctl":
		return p.container(name)
	case "thv", "toolhive":
		return p.hubs("toolhive")
	case "mcporter":
		p.hub = "mcporter"
	case "node", "nodejs", "deno", "tsx", "ts-node", "python", "python3", "py", "pypy3", "ruby", "java", "dotnet", "php", "perl", "electron":
		return p.interpreter(name)
	case "mcp-remote", "supergateway", "mcp-proxy":
		return p.bridge(name)
	}
	return false
}

// shim is Rutile's own: what it stands for is at the gateway.
func (p *peeled) shim() bool {
	for i, a := range p.args {
		if a != "connect" {
			continue
		}
		p.launchers = append(p.launchers, "rutile connect")
		rest := p.args[i+1:]
		for j := 0; j < len(rest); j++ {
			if !strings.HasPrefix(rest[j], "-") {
				p.server = rest[j]
				break
			}
			if !strings.Contains(rest[j], "=") {
				j++
			}
		}
		break
	}
	return false
}

// positional is the index of the first argument from i on that is no option,
// len(p.args) if there is none. each is told of options with their values.
func (p *peeled) positional(i int, valued []string, each func(option, value string)) int {
	for ; i < len(p.args) && strings.HasPrefix(p.args[i], "-"); i++ {
		option, value, joined := strings.Cut(p.args[i], "=")
		if option == "--" {
			return i + 1
		}
		if !joined && slices.Contains(valued, option) && i+1 < len(p.args) {
			i++
			value = p.args[i]
		}
		if each != nil {
			each(option, value)
		}
	}
	return i
}

// npx is a package of npm that is fetched when it is run.
func (p *peeled) npx(launcher string, from int) bool {
	pkg, line := "", ""
	i := p.positional(from, npmValued, func(option, value string) {
		switch option {
		case "--registry":
			p.index(value)
		case "-p", "--package":
			pkg = value
		case "-c", "--call":
			line = value
		}
	})
	bin := ""
	if i < len(p.args) {
		bin = p.args[i]
	}
	switch {
	case pkg == "" && line != "":
		p.launchers = append(p.launchers, launcher)
		return p.script("sh", line)
	case pkg == "" && bin == "":
		return false
	case pkg == "":
		pkg, bin = bin, ""
	}
	p.launchers = append(p.launchers, launcher)
	p.args = p.args[min(i+1, len(p.args)):]
	return p.npm(pkg, bin)
}

// npm reads the name of a package of npm, its version, and what of it is run.
func (p *peeled) npm(spec, bin string) bool {
	spec = strings.TrimPrefix(spec, "npm:")
	name, version := spec, ""
	if i := strings.LastIndexByte(spec, '@'); i > 0 {
		name, version = spec[:i], spec[i+1:]
	}
	switch {
	case strings.HasPrefix(spec, "github:") || strings.HasPrefix(spec, "git+") || strings.HasPrefix(spec, "https://") || strings.HasPrefix(spec, "http://"):
		return p.git(spec)
	case pathStart.MatchString(spec):
		p.command = spec
		return false
	case !npmName.MatchString(name):
		p.command = spec
		return false
	}
	p.command = spec
	base := name[strings.LastIndexByte(name, '/')+1:]
	if bin != "" && bin != base {
		p.entry = bin
	}
	if bridges[base] && (base == name) {
		return p.bridge(withVersion(base, version))
	}
	if name == "@smithery/cli" {
		p.smithery()
	}
	p.take("pkg:npm/"+strings.Replace(name, "@", "%40", 1), version, exactVersion.MatchString(version))
	return false
}

var (
	npmName      = regexp.MustCompile(`^(?:@[a-zA-Z0-9_.~-]{1,100}/)?[a-zA-Z0-9_.~-]{1,214}$`)
	pypiName     = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,100}[A-Za-z0-9])?$`)
	exactVersion = regexp.MustCompile(`^v?[0-9]+\.[0-9]+(?:\.[0-9]+)?(?:[-+.][0-9A-Za-z.+-]+)?$`)
	commitHash   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	gitSpec      = regexp.MustCompile(`^(?:git\+)?(?:https?|ssh|git)://(?:[^/@]*@)?([A-Za-z0-9.-]+)/([\w.~/-]+?)(?:\.git)?(?:[@#]([\w./-]+))?(?:#.*)?$`)
)

// bridges are programs that lead to another server.
var bridges = map[string]bool{"mcp-remote": true, "supergateway": true, "mcp-proxy": true}

// take notes what package it is.
func (p *peeled) take(purl, version string, pinned bool) {
	p.pkg, p.version = purl, version
	if p.source != "" {
		p.pkg += "?repository_url=" + p.source
	}
	p.pinned = p.pinned && pinned
}

func withVersion(name, version string) string {
	if version == "" {
		return name
	}
	return name + "@" + version
}

// git is a package that is built from a repository.
func (p *peeled) git(spec string) bool {
	if rest, ok := strings.CutPrefix(spec, "github:"); ok {
		spec = "git+https://github.com/" + rest
	}
	m := gitSpec.FindStringSubmatch(spec)
	if m == nil {
		p.command = spec
		p.pinned = false
		return false
	}
	host, repo, ref := strings.ToLower(m[1]), strings.ToLower(strings.Trim(m[2], "/")), m[3]
	purl := "pkg:generic/" + host + "/" + repo
	if kind, ok := map[string]string{"github.com": "github", "gitlab.com": "gitlab", "bitbucket.org": "bitbucket"}[host]; ok {
		purl = "pkg:" + kind + "/" + repo
	}
	p.take(purl, ref, commitHash.MatchString(ref))
	return false
}

// uvx is a package of PyPI that is fetched when it is run.
func (p *peeled) uvx(launcher string, from int) bool {
	pkg := ""
	i := p.positional(from, []string{"--from", "--spec", "--with", "--with-editable", "--with-requirements", "-p", "--python", "--index-url", "--index", "--default-index", "--extra-index-url", "--directory", "--project", "--cache-dir", "--pip-args", "-i", "-f", "--find-links", "-c", "--constraints", "--env-file", "--refresh-package"}, func(option, value string) {
		switch option {
		case "--from", "--spec":
			pkg = value
		case "-i", "--index-url", "--index", "--default-index", "--extra-index-url", "-f", "--find-links":
			p.index(value)
		}
	})
	bin := ""
	if i < len(p.args) {
		bin = p.args[i]
	}
	if pkg == "" {
		pkg, bin = bin, ""
	}
	if pkg == "" {
		return false
	}
	p.launchers = append(p.launchers, launcher)
	p.args = p.args[min(i+1, len(p.args)):]
	return p.pypi(pkg, bin)
}

// pypi reads the name of a package of PyPI, its version, and what of it is run.
func (p *peeled) pypi(spec, bin string) bool {
	if strings.HasPrefix(spec, "git+") {
		if bin != "" {
			p.entry = bin
		}
		return p.git(spec)
	}
	p.command = spec
	name, version := spec, ""
	if i := strings.IndexAny(spec, "@=<>!~ ;"); i > 0 {
		name, version = spec[:i], strings.TrimLeft(spec[i:], "@= ")
	}
	name, _, _ = strings.Cut(name, "[")
	if !pypiName.MatchString(name) || pathStart.MatchString(spec) {
		return false
	}
	name = pep503(name)
	if bin != "" && pep503(bin) != name {
		p.entry = bin
	}
	if bridges[name] {
		return p.bridge(withVersion(name, version))
	}
	p.take("pkg:pypi/"+name, version, exactVersion.MatchString(version))
	return false
}

var separators = regexp.MustCompile(`[-_.]+`)

// pep503 is the normal form of a name on PyPI.
func pep503(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

// uv is uv with its options before and after the command.
func (p *peeled) uv() bool {
	valued := []string{"--directory", "--project", "--python", "-p", "--with", "--with-editable", "--with-requirements", "--env-file", "--index-url", "--index", "--extra", "--group", "--package", "--cache-dir", "--config-file", "-m", "--module"}
	var with []string
	module := ""
	each := func(option, value string) {
		switch option {
		case "--with":
			with = append(with, value)
		case "--index-url", "--index":
			p.index(value)
		case "-m", "--module":
			module = value
		case "--directory", "--project":
			p.mounts = append(p.mounts, value)
		}
	}
	i := p.positional(0, valued, each)
	if i < len(p.args) && p.args[i] == "tool" && i+1 < len(p.args) && p.args[i+1] == "run" {
		return p.uvx("uv tool run", i+2)
	}
	if i >= len(p.args) || p.args[i] != "run" {
		return false
	}
	i = p.positional(i+1, valued, each)
	p.launchers = append(p.launchers, "uv run")
	if module != "" {
		p.args = p.args[min(i, len(p.args)):]
		return p.pypi(module, "")
	}
	if i >= len(p.args) {
		return false
	}
	p.command, p.args = p.args[i], p.args[i+1:]
	for _, w := range with {
		if name, _, _ := strings.Cut(w, "="); pep503(name) == pep503(p.command) {
			return p.pypi(w, "")
		}
	}
	if len(p.mounts) > 0 && !isAbs(p.command) {
		p.command = strings.TrimRight(slash(p.mounts[0]), "/") + "/" + p.command
	}
	return true
}

// dnx is a package of NuGet that is fetched when it is run.
func (p *peeled) dnx() bool {
	version := ""
	i := p.positional(0, []string{"--version", "--source", "--add-source", "--configfile"}, func(option, value string) {
		if option == "--version" {
			version = value
		}
	})
	if i >= len(p.args) {
		return false
	}
	name, v, _ := strings.Cut(p.args[i], "@")
	if v != "" {
		version = v
	}
	if !pypiName.MatchString(name) {
		return false
	}
	p.launchers = append(p.launchers, "dnx")
	p.command, p.args = name, p.args[i+1:]
	p.take("pkg:nuget/"+strings.ToLower(name), version, exactVersion.MatchString(version))
	return false
}

var installed = regexp.MustCompile(`(?:^|/)node_modules/((?:@[\w.~-]+/)?[\w.~-]+)(?:/|$)`)

// interpreter takes off what runs a script or a module.
func (p *peeled) interpreter(name string) bool {
	valued := []string{"-r", "--require", "--import", "--loader", "--experimental-loader", "--preload", "--env-file", "-W", "-X", "-cp", "-classpath", "--class-path", "--config", "-c", "--cwd", "-e", "--eval", "-jar", "-m"}
	jar, module, code := "", "", false
	i := p.positional(0, valued, func(option, value string) {
		switch {
		case slices.Contains([]string{"-r", "--require", "--import", "--loader", "--experimental-loader", "--preload"}, option):
			p.executable = true // it is run before the program
		case option == "-jar":
			jar = value
		case option == "-m" && strings.HasPrefix(name, "py"):
			module = value
		case option == "-e" || option == "--eval" || option == "-c" && strings.HasPrefix(name, "py"):
			code = true
		}
	})
	if name == "deno" || name == "bun" {
		for i < len(p.args) && (p.args[i] == "run" || strings.HasPrefix(p.args[i], "-")) {
			i++
		}
	}
	if name == "dotnet" && i < len(p.args) && (p.args[i] == "run" || p.args[i] == "tool") {
		i = p.positional(i+1, []string{"--project"}, func(option, value string) {
			if option == "--project" {
				jar = value
			}
		})
	}
	switch {
	case code:
		return false
	case jar != "":
		p.command, p.args = jar, p.args[min(i, len(p.args)):]
	case module != "":
		p.launchers = append(p.launchers, name+" -m")
		p.args = p.args[min(i, len(p.args)):]
		name, _, _ := strings.Cut(module, ".")
		p.installedOnce(func() { p.pypi(name, "") })
		return false
	case i >= len(p.args):
		return false
	default:
		p.command, p.args = p.args[i], p.args[i+1:]
	}
	p.launchers = append(p.launchers, name)
	if m := installed.FindStringSubmatch(slash(p.command)); m != nil {
		p.installedOnce(func() { p.npm(m[1], "") })
		return false
	}
	for _, scheme := range []string{"npm:", "jsr:"} {
		if spec, ok := strings.CutPrefix(p.command, scheme); ok {
			return p.npm(strings.TrimPrefix(spec, "/"), "")
		}
	}
	return false
}

// installedOnce reads the name of a package that is not fetched when it is run:
// what is installed stays until somebody installs another.
func (p *peeled) installedOnce(name func()) {
	pinned := p.pinned
	name()
	p.pinned = pinned
}
