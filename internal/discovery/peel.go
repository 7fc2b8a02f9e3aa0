package discovery

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// peeled is a command line while launchers are taken off it.
type peeled struct {
	command string
	args    []string

	launchers  []string
	pkg        string // purl without version
	entry      string // sub-command of the package that is the server
	version    string
	source     string // host of an index that is not the usual one of its packages
	pinned     bool
	url        string // where a bridge leads
	hub        string
	server     string // at the gateway, behind our own shim
	mounts     []string
	secrets    []SecretRef
	executable bool
}

// maxPeel bounds how many launchers start one another.
const maxPeel = 16

// run peels until nothing is a launcher any more.
func (p *peeled) run() {
	for range maxPeel {
		if !p.step() {
			return
		}
	}
}

// programName is the last element of a command without the endings Windows adds,
// in lower case.
func programName(command string) string {
	base := strings.ToLower(path.Base(slash(command)))
	for _, ext := range []string{".exe", ".cmd", ".bat", ".ps1"} {
		base = strings.TrimSuffix(base, ext)
	}
	return base
}

// step takes off one launcher and reports whether something it started is left to
// look at.
func (p *peeled) step() bool {
	name := programName(p.command)
	switch name {
	case "cmd":
		return p.after("cmd", slices.IndexFunc(p.args, func(a string) bool {
			return strings.EqualFold(a, "/c") || strings.EqualFold(a, "/k") || strings.EqualFold(a, "/s/c")
		})+1)
	case "env":
		return p.env()
	case "sh", "bash", "zsh", "dash", "ksh", "fish", "ash":
		return p.shell(name)
	case "powershell", "pwsh":
		return p.powershell()
	case "wsl":
		return p.skip("wsl", []string{"-d", "--distribution", "-u", "--user", "--cd", "--shell-type"})
	case "sudo", "doas":
		return p.skip(name, []string{"-u", "-g", "-p", "-C", "-h", "-r", "-t", "--user", "--group"})
	case "nice", "ionice", "nohup", "setsid", "stdbuf", "caffeinate", "time", "arch", "exec", "command", "xvfb-run", "chronic", "unbuffer":
		return p.skip(name, []string{"-n", "-c", "-p", "--adjustment"})
	case "timeout":
		if p.skip(name, []string{"-k", "-s", "--kill-after", "--signal"}) && len(p.args) > 0 {
			return p.shift(1)
		}
		return false
	case "op", "doppler", "infisical", "aws-vault", "dotenv", "dotenvx", "direnv", "mise", "asdf", "volta", "fnm", "chamber", "teller", "vault", "teleport", "tsh":
		if i := slices.Index(p.args, "--"); i >= 0 {
			return p.after(name, i+1)
		}
		return false
	}
	return p.runner(name)
}

// after makes what follows the first n arguments the command.
func (p *peeled) after(launcher string, n int) bool {
	if n < 1 || n >= len(p.args) {
		return false
	}
	p.launchers = append(p.launchers, launcher)
	p.command, p.args = p.args[n], p.args[n+1:]
	return true
}

// shift drops n words of the command.
func (p *peeled) shift(n int) bool {
	if n > len(p.args) {
		return false
	}
	p.command, p.args = p.args[n-1], p.args[n:]
	return true
}

// skip takes off a launcher with options, some of which have values.
func (p *peeled) skip(launcher string, valued []string) bool {
	i := 0
	for i < len(p.args) && strings.HasPrefix(p.args[i], "-") {
		if p.args[i] == "--" {
			i++
			break
		}
		if slices.Contains(valued, p.args[i]) {
			i++
		}
		i++
	}
	if i >= len(p.args) {
		return false
	}
	p.launchers = append(p.launchers, launcher)
	p.command, p.args = p.args[i], p.args[i+1:]
	return true
}

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// splitString is an option of env(1) with a line to split, alone or after others.
var splitString = regexp.MustCompile(`^(?:--split-string(?:=|$)|-[iv0]*S)`)

// env takes off env(1) with its options and assignments.
func (p *peeled) env() bool {
	rest, splits := p.args, 0
	for len(rest) > 0 {
		a := rest[0]
		switch {
		case splitString.MatchString(a) && splits == maxPeel:
			return false
		case splitString.MatchString(a):
			splits++
			line := splitString.ReplaceAllString(a, "")
			rest = rest[1:]
			if line == "" && len(rest) > 0 {
				line, rest = rest[0], rest[1:]
			}
			words, ok := shellWords(line)
			if !ok {
				return false
			}
			rest = append(words, rest...)
			continue
		case (a == "-u" || a == "-C" || a == "--unset" || a == "--chdir") && len(rest) > 1:
			rest = rest[2:]
			continue
		case strings.HasPrefix(a, "-"):
			rest = rest[1:]
			continue
		case assignment.MatchString(a):
			p.assigned(a, "argument")
			rest = rest[1:]
			continue
		}
		break
	}
	if len(rest) == 0 {
		return false
	}
	p.launchers = append(p.launchers, "env")
	p.command, p.args = rest[0], rest[1:]
	return true
}

// assigned notes NAME=VALUE as the secret it may be.
func (p *peeled) assigned(s, where string) {
	name, value, _ := strings.Cut(s, "=")
	if ref := Secret(name, where, value); ref.Kind != SecretLiteral || SecretName(name) || Sensitive(value) {
		p.secrets = append(p.secrets, ref)
	}
}

// shell takes off a shell that is given a command.
func (p *peeled) shell(name string) bool {
	for i, a := range p.args {
		if !strings.HasPrefix(a, "-") {
			return p.interpreter(name) // a script file
		}
		if !strings.HasPrefix(a, "--") && strings.HasSuffix(a, "c") && i+1 < len(p.args) {
			return p.script(name, p.args[i+1])
		}
	}
	return false
}

func (p *peeled) powershell() bool {
	for i, a := range p.args {
		switch strings.ToLower(strings.TrimLeft(a, "-/")) {
		case "command", "c":
			if i+1 < len(p.args) {
				return p.script("powershell", strings.Join(p.args[i+1:], " "))
			}
		case "file", "f":
			return p.after("powershell", i+1)
		}
	}
	return false
}

// script looks for the one command a line of shell ends in. A line that does more
// than set the scene for it stays what it is: a script.
func (p *peeled) script(shell, line string) bool {
	if commandValue.MatchString(line) {
		p.executable = true
	}
	for {
		line = strings.TrimSpace(line)
		first, rest, more := cutCommand(line)
		if !more {
			break
		}
		words, ok := shellWords(first)
		if !ok || len(words) == 0 || !slices.Contains([]string{"cd", "export", "set", "source", ".", "umask", "ulimit", "unset"}, words[0]) {
			break
		}
		if words[0] == "source" || words[0] == "." {
			p.executable = true // what it reads in is run
		}
		for _, w := range words[1:] {
			if assignment.MatchString(w) {
				p.assigned(w, "argument")
			}
		}
		line = rest
	}
	words, ok := shellWords(line)
	for ok && len(words) > 0 && assignment.MatchString(words[0]) {
		p.assigned(words[0], "argument")
		words = words[1:]
	}
	if !ok || len(words) == 0 {
		p.launchers = append(p.launchers, shell)
		p.command, p.args = shell, []string{"-c", line}
		p.pinned, p.executable = false, true
		return false
	}
	p.launchers = append(p.launchers, shell)
	p.command, p.args = words[0], words[1:]
	return true
}

// cutCommand cuts at the first && or ; outside of quotes.
func cutCommand(line string) (first, rest string, more bool) {
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == ';':
			return line[:i], line[i+1:], true
		case c == '&' && i+1 < len(line) && line[i+1] == '&':
			return line[:i], line[i+2:], true
		}
	}
	return line, "", false
}

// Words splits a simple command into words, nil for one that is not simple.
func Words(line string) []string {
	if w, ok := shellWords(line); ok {
		return w
	}
	return nil
}

// shellWords splits a simple command into words. It is false for one with pipes,
// redirections, substitutions, several commands or an open quote.
func shellWords(line string) ([]string, bool) {
	var words []string
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'':
			if c == '\'' {
				quote = 0
			} else {
				word.WriteByte(c)
			}
		case c == '`' || c == '$' && i+1 < len(line) && line[i+1] == '(':
			return nil, false
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			in = true
		case quote == '"':
			if c == '"' {
				quote = 0
			} else {
				word.WriteByte(c)
			}
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == ' ' || c == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		case strings.IndexByte("|&;<>()\n\r", c) >= 0:
			return nil, false
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, false
	}
	if in {
		words = append(words, word.String())
	}
	return words, true
}
