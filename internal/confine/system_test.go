//go:build unix

package confine_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rutile/internal/confine"
)

// tree makes files, programs and links in a directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// What a command leads to is granted, wherever a person installed it, and what
// lies beside it in their home is not.
func TestProgramGrantsItsInstallation(t *testing.T) {
	for name, c := range map[string]struct {
		files        map[string]string
		command      string
		search       []string
		opened, shut []string
	}{
		"nvm": {
			files: map[string]string{
				"me/.nvm/v22/bin/npx":                             "-> ../lib/node_modules/npm/bin/npx-cli.js",
				"me/.nvm/v22/lib/node_modules/npm/bin/npx-cli.js": "#!/usr/bin/env node\n", "me/.nvm/v22/bin/node": "\x7fELF", "me/.ssh/id": "x",
			},
			command: "me/.nvm/v22/bin/npx", search: []string{"me/.nvm/v22/bin"},
			opened: []string{"me/.nvm/v22/bin/node", "me/.nvm/v22/lib/node_modules/npm/lib/x.js"}, shut: []string{"me/.ssh/id", "me/.nvm/v20/bin/node"},
		},
		"the interpreter is elsewhere": {
			files:   map[string]string{"me/tool/run": "#!/usr/bin/env -S python3 -u\n", "me/py/bin/python3": "\x7fELF"},
			command: "me/tool/run", search: []string{"me/none", "me/py/bin"},
			opened: []string{"me/tool/run", "me/py/lib/python3.12/os.py"}, shut: []string{"me/tool/secret", "me/py/etc/x"},
		},
		"venv": {
			files: map[string]string{
				"me/venv/bin/python": "-> python3", "me/venv/bin/python3": "-> ../../versions/3/bin/python3", "me/versions/3/bin/python3": "\x7fELF", "me/venv/pyvenv.cfg": "x",
			},
			command: "me/venv/bin/python",
			opened:  []string{"me/venv/lib/python3/site-packages/x.py", "me/venv/pyvenv.cfg", "me/versions/3/lib/os.py"}, shut: []string{"me/venv/.env", "me/x"},
		},
		"shims": {
			files:   map[string]string{"me/.pyenv/shims/python3": "#!/bin/sh\n"},
			command: "me/.pyenv/shims/python3", opened: []string{"me/.pyenv/versions/3/bin/python3"}, shut: []string{"me/.profile", "me/.pyenv/x"},
		},
		"in ~/.local/bin": {
			files:   map[string]string{"me/.local/bin/uvx": "\x7fELF"},
			command: "me/.local/bin/uvx", opened: []string{"me/.local/bin/uv"}, shut: []string{"me/.local/share/keyrings/login", "me/.config/x"},
		},
		"a program of one's own": {
			files:   map[string]string{"me/server": "\x7fELF", "me/notes": "x"},
			command: "me/server", opened: []string{"me/server"}, shut: []string{"me/notes"},
		},
		"links that run in circles": {
			files:   map[string]string{"me/bin/a": "-> b", "me/bin/b": "-> a"},
			command: "me/bin/a", shut: []string{"me/notes"},
		},
		"a script that names itself": {
			files:   map[string]string{"me/x": "#!/usr/bin/env x\n"},
			command: "me/x", search: []string{"me"}, opened: []string{"me/x"}, shut: []string{"me/notes"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, c.files)
			search := ""
			for _, dir := range c.search {
				search += string(filepath.ListSeparator) + filepath.Join(root, dir)
			}
			grants := confine.Program(filepath.Join(root, c.command), search)
			open := func(file string) bool {
				return slices.ContainsFunc(grants, func(g confine.Grant) bool {
					rel, err := filepath.Rel(g.Path, filepath.Join(root, file))
					return err == nil && (rel == "." || filepath.IsLocal(rel)) && g.Access == confine.Exec
				})
			}
			for _, f := range c.opened {
				if !open(f) {
					t.Errorf("%s is not granted: %v", f, grants)
				}
			}
			for _, f := range c.shut {
				if open(f) {
					t.Errorf("%s is granted: %v", f, grants)
				}
			}
		})
	}
}

// Nothing of a person or of the system's secrets is granted to everybody.
// What runners of packages read or fail over: the settings of a machine that
// has its own registry, how names and certificates are found, and which C library
// is here.
func TestBaseOpensWhatPackageRunnersRead(t *testing.T) {
	for _, file := range []string{
		"/etc/npmrc", "/etc/pip.conf", "/etc/uv/uv.toml", "/etc/xdg/uv/uv.toml", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt",
		"/etc/os-release", "/usr/lib/os-release", "/bin/sh", "/usr/bin/env", "/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1", "/usr/share/zoneinfo/UTC",
	} {
		if !slices.ContainsFunc(confine.Base(), func(g confine.Grant) bool {
			rel, err := filepath.Rel(g.Path, file)
			return err == nil && (rel == "." || filepath.IsLocal(rel))
		}) {
			t.Errorf("%s is not granted", file)
		}
	}
}

func TestBaseHoldsNoSecrets(t *testing.T) {
	for _, file := range []string{
		"/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssl/private/key.pem", "/etc/machine-id", "/root/.ssh/id", "/home/me/.aws/credentials",
		"/var/lib/x", "/var/run/docker.sock", "/run/user/1000/bus", "/tmp/x", "/proc/1/environ", "/proc/kcore", "/dev/sda", "/dev/mem", "/dev/tty", "/sys/firmware/x", "/boot/x", "/mnt/x", "/srv/x",
	} {
		for _, g := range confine.Base() {
			if rel, err := filepath.Rel(g.Path, file); err == nil && (rel == "." || filepath.IsLocal(rel)) {
				t.Errorf("%s is granted by %s", file, g.Path)
			}
		}
	}
	for _, g := range confine.Base() {
		if !g.Optional || g.Access == confine.Write && filepath.Dir(g.Path) != "/dev" || g.Access == confine.Own {
			t.Errorf("%+v", g)
		}
	}
}
