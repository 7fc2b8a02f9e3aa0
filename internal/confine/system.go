package confine

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Base returns the grants nearly every program needs to start: the system's
// programs and libraries, the parts of /etc that hold no secrets, what the
// kernel says about the machine and about the process (not about those it
// starts), and devices that are no devices. Nothing of a person is among them, and
// nothing of another process.
func Base() []Grant {
	var out []Grant
	add := func(a Access, paths ...string) {
		for _, p := range paths {
			out = append(out, Grant{Path: p, Access: a, Optional: true})
		}
	}
	add(Exec, "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store", "/run/current-system/sw")
	for _, name := range []string{
		"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "ld-musl-x86_64.path", "ld-musl-aarch64.path",
		"alternatives", "debian_version", "os-release", "lsb-release", "locale.alias", "localtime", "timezone", "mime.types",
		"hosts", "host.conf", "hostname", "resolv.conf", "nsswitch.conf", "services", "protocols", "networks", "gai.conf",
		"passwd", "group", // names of users, no passwords
		"ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf", "pki/ca-trust/extracted",
		"ca-certificates", "ca-certificates.conf", "crypto-policies", "npmrc", "pip.conf", "uv/uv.toml", "xdg/uv/uv.toml", "fonts", "magic",
	} {
		add(Read, "/etc/"+name)
	}
	add(Read, "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager/resolv.conf")
	for _, name := range []string{
		"self", "cpuinfo", "meminfo", "stat", "uptime", "loadavg", "version", "version_signature", "filesystems", "sys/vm", "sys/kernel", "sys/net/core",
	} {
		add(Read, "/proc/"+name)
	}
	add(Read, "/sys/devices/system", "/sys/kernel/mm/transparent_hugepage", "/sys/fs/cgroup")
	add(Write, "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
	return out
}

// maxChain bounds how many programs one command may lead to.
const maxChain = 8

// Program returns the grants that let a command be executed: the files its name
// leads to over symbolic links, what is installed around them, and the same for
// the interpreter a script names. path is absolute; search is the PATH the
// command will have.
func Program(path, search string) []Grant {
	var out []Grant
	for n := 0; path != "" && n < maxChain; n++ {
		for _, name := range chain(path) {
			out = append(out, installed(name)...)
		}
		path = interpreter(path, search)
	}
	slices.SortFunc(out, func(a, b Grant) int { return strings.Compare(a.Path, b.Path) })
	return slices.Compact(out)
}

// chain follows the symbolic links of the last element of a name, and ends with
// the real file.
func chain(path string) []string {
	out := []string{path}
	for at := path; len(out) < maxChain; {
		to, err := os.Readlink(at)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(at), to)
		}
		at = to
		out = append(out, at)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil && !slices.Contains(out, real) {
		out = append(out, real)
	}
	return out
}

// installed returns the grants around one file. Programs come with libraries in
// a fixed place beside the directory they are in; of that place nothing else is
// opened, because it may be somebody's home.
func installed(name string) []Grant {
	out := []Grant{{Path: name, Access: Exec, Optional: true}}
	dir := filepath.Dir(name)
	prefix := filepath.Dir(dir)
	var beside []string
	switch filepath.Base(dir) {
	case "bin", "sbin":
		beside = []string{"bin", "sbin", "lib", "lib64", "libexec", "include", "pyvenv.cfg"}
	case "shims": // of a version manager
		beside = []string{"shims", "bin", "lib", "libexec", "versions", "installs", "plugins"}
	}
	for _, sub := range beside {
		out = append(out, Grant{Path: filepath.Join(prefix, sub), Access: Exec, Optional: true})
	}
	return out
}

// interpreter returns the program a script is run by, "" if the file is none.
func interpreter(path, search string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 256)).ReadSlice('\n')
	line, ok := bytes.CutPrefix(line, []byte("#!"))
	if !ok || err != nil {
		return ""
	}
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return ""
	}
	if filepath.Base(words[0]) != "env" {
		return absolute(words[0])
	}
	for _, w := range words[1:] {
		if !strings.HasPrefix(w, "-") && !strings.Contains(w, "=") {
			return lookIn(w, search)
		}
	}
	return absolute(words[0])
}

func absolute(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return ""
}

// lookIn finds a program as a shell would.
func lookIn(name, search string) string {
	if strings.Contains(name, "/") {
		return absolute(name)
	}
	for _, dir := range filepath.SplitList(search) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	return ""
}
