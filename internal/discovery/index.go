package discovery

// npmValued are options of npm that have a value, of which the next word is none
// of a command.
var npmValued = []string{
	"-p", "--package", "-c", "--call", "--registry", "--prefix", "-C", "-w", "--workspace", "--userconfig",
	"--globalconfig", "--cache", "--loglevel", "--tag", "--before", "--omit", "--include", "--otp", "--proxy", "--https-proxy",
	"--noproxy", "--node-options", "--node-arg", "-n", "--script-shell", "--shell", "--location", "--cafile", "--ca", "--cert",
	"--key", "--maxsockets", "--fetch-timeout", "--fetch-retries", "--user-agent", "--scope", "--auth-type", "--lockfile-version", "--install-strategy", "--cpu",
	"--os", "--libc", "--access", "--depth", "--filter", "--dir",
}

// index notes that a package comes from an index somebody named, where another
// package may have its name: it is then never taken for the usual one, not even
// where the index is the launcher's own.
func (p *peeled) index(address string) {
	p.source = "elsewhere"
	if u, err := parseAddress(address); err == nil && u.Host != "" {
		p.source = hostOf(u)
	}
}
