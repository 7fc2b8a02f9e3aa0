package mcpproxy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/confine"
)

// command prepares the process and its three pipes.
func (p *stdioProcess) command() (*exec.Cmd, error) {
	env, err := p.cfg.environ(p.home)
	if err != nil {
		return nil, err
	}
	args, err := p.cfg.arguments()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.cfg.Command, args...) //nolint:noctx // it outlives any call and is ended in steps, with all it started
	if cmd.Err != nil {
		return nil, cmd.Err
	}
	cmd.Env, cmd.Dir, cmd.SysProcAttr = env, p.cfg.Dir, stdioSysProcAttr()
	if cmd.Dir == "" {
		cmd.Dir = p.home
	}
	in, inOurs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outOurs, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), inOurs.Close())
	}
	errsOurs, errs, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), inOurs.Close(), out.Close(), outOurs.Close())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	p.in, p.out.file, p.errs.file = inOurs, outOurs, errsOurs
	if err := p.confine(cmd); err != nil { // last: it opens what only a start closes
		return nil, errors.Join(err, in.Close(), inOurs.Close(), out.Close(), outOurs.Close(), errs.Close(), errsOurs.Close())
	}
	return cmd, nil
}

// confine makes cmd confine itself before it is what it is, if it is to be.
func (p *stdioProcess) confine(cmd *exec.Cmd) (err error) {
	if p.cfg.Confine == nil {
		return nil
	}
	path, search := cmd.Path, ""
	if !filepath.IsAbs(path) {
		path = filepath.Join(cmd.Dir, path)
	}
	for _, v := range cmd.Env {
		if dirs, ok := strings.CutPrefix(v, "PATH="); ok {
			search = dirs
		}
	}
	profile := *p.cfg.Confine
	profile.Grants = slices.Concat(confine.Base(), confine.Program(path, search), []confine.Grant{{Path: p.home, Access: confine.Own}}, profile.Grants)
	p.start, err = confine.Wrap(cmd, profile)
	return err
}

// arguments are those of the manifest with the secrets in their places.
func (c *stdioConfig) arguments() ([]string, error) {
	args := slices.Clone(c.Args)
	if c.Arguments == nil {
		return args, nil
	}
	err := c.Arguments(func(index, value string) error {
		n, err := strconv.Atoi(index)
		if err != nil || n < 0 || n >= len(args) || strings.Contains(value, "\x00") {
			return fmt.Errorf("the argument %q cannot be replaced; correct the server's credential in its manifest", index)
		}
		args[n] = value
		return nil
	})
	return args, err
}

// environ makes the whole environment: nothing of ours but the search path is
// in it. The manifest's variables win, and the secret wins over them.
func (c *stdioConfig) environ(home string) ([]string, error) {
	tmp := filepath.Join(home, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, fmt.Errorf("making a private directory: %w", err)
	}
	path := os.Getenv("PATH")
	if path == "" { // which would mean the working directory to many programs
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	vars := map[string]string{"PATH": path, "HOME": home, "TMPDIR": tmp, "LANG": "C.UTF-8"}
	for name, value := range c.Env {
		vars[name] = value
	}
	if c.Secret != nil {
		if err := c.Secret(func(name, value string) { vars[name] = value }); err != nil {
			return nil, err
		}
	}
	if c.Files != nil {
		if err := c.Files(func(name, content string) (err error) {
			vars[name], err = secretFile(home, name, content)
			return err
		}); err != nil {
			return nil, err
		}
	}
	env := make([]string, 0, len(vars))
	for name, value := range vars {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return nil, fmt.Errorf("the environment variable %q has a name or value no environment can hold", name)
		}
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env, nil
}

// secretFile writes a file for the process alone in its private directory, which
// goes when the process does.
func secretFile(home, name, content string) (path string, err error) {
	dir := filepath.Join(home, "credentials")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making a directory for credentials: %w", err)
	}
	path = filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("making a file for a credential: %w", err)
	}
	_, err = f.WriteString(content)
	return path, errors.Join(err, f.Close())
}
