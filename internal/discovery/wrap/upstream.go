package wrap

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
)

// Upstream is the server an entry stands for, as the gateway is to reach it. It
// holds secrets in clear, apart from the rest, and MUST NOT be kept or shown.
type Upstream struct {
	Command string
	Args    []string // {key} in the place of secrets
	Dir     string
	Env     map[string]string
	Read    []string // folders its command line names that it may read
	Write   []string // and write
	URL     string
	SSE     bool

	SecretEnv     map[string]string
	SecretArgs    map[int]string
	SecretHeaders map[string]string
}

// Secrets is how many values are to be sealed.
func (u *Upstream) Secrets() int { return len(u.SecretEnv) + len(u.SecretArgs) + len(u.SecretHeaders) }

// Options are what a person allowed.
type Options struct {
	MoveSecrets    bool // seal variables that hold secrets, and take them out of the file
	IncludeProject bool // edit files of projects
	// Private are folders a server may not be granted, such as the gateway's data.
	Private []string
	// Secret reports whether the registry would refuse a value as a secret, and Own
	// whether the gateway sets a header itself.
	Secret func(name, value string) bool
	Own    func(header string) bool
}

// Leave is why an entry stays as it is. Wanted says that nothing is wrong with
// that.
type Leave struct {
	Why    string
	Wanted bool
}

// Error is the reason.
func (l *Leave) Error() string { return l.Why }

func refuse(why string) error { return &Leave{Why: why} }

// Whole says why nothing of a file is routed, nil if it may be.
func Whole(f *clientconfig.File, o Options) error {
	switch {
	case f.Refused != "":
		return &Leave{Why: f.Refused, Wanted: f.Row.Refusal() != ""}
	case f.Project != "" && !o.IncludeProject && f.Tracked:
		return &Leave{Why: "it belongs to a project under version control, where a commit of it would break others: give --include-project if you want that", Wanted: true}
	case f.Project != "" && !o.IncludeProject:
		return &Leave{Why: "it belongs to a project: give --include-project to edit it", Wanted: true}
	}
	return nil
}

// expanded is what clients fill in when they start a server.
var expanded = regexp.MustCompile(`\$\{|\$\(|\{env:|\{file:|\{\{`)

// Of says what an entry stands for, or why the gateway cannot take it over.
func Of(f *clientconfig.File, e *clientconfig.Entry, o Options) (*Upstream, error) {
	if e.Refused != "" {
		return nil, refuse(e.Refused)
	}
	u := &Upstream{Env: map[string]string{}, SecretEnv: map[string]string{}, SecretArgs: map[int]string{}, SecretHeaders: map[string]string{}}
	fills := func(s string) bool { return len(e.Row.Expands) > 0 && expanded.MatchString(s) }
	all := append([]string{e.Spec.Command, e.Spec.URL, e.Spec.Dir}, e.Spec.Args...)
	if slices.ContainsFunc(all, fills) {
		return nil, refuse("its client fills in a part of its command or address, which the gateway would not get: write it out")
	}
	for _, m := range e.Row.SecretRefs {
		if slices.Contains(e.Members, m) {
			return nil, refuse("its client looks up the secrets that " + m + " names, which the gateway would not get: register the server with a credential instead")
		}
	}
	for _, p := range e.Fields {
		if p.Given == discovery.SecretLiteral && slices.Contains(slices.Concat(e.Row.SecretFields, e.Row.SecretObjects), head(p.Name)) {
			return nil, refuse("it has a secret in " + head(p.Name) + ", which only its client understands")
		}
	}
	if e.Spec.URL != "" {
		return u, u.remote(e, o, fills)
	}
	return u, u.local(f, e, o, fills)
}

// filled reports whether a client comes by a value elsewhere, as far as it looks.
func filled(v clientconfig.Value) bool {
	return v.Given != discovery.SecretLiteral && v.Given != discovery.SecretEmpty
}

func head(name string) string { h, _, _ := strings.Cut(name, "."); return h }

func (u *Upstream) remote(e *clientconfig.Entry, o Options, fills func(string) bool) error {
	u.URL, u.SSE = e.Spec.URL, e.Spec.Transport == "sse"
	if e.Spec.Transport == "ws" {
		return refuse("it is reached over WebSocket, which the gateway does not speak")
	}
	if !strings.HasPrefix(u.URL, "https://") && !strings.HasPrefix(u.URL, "http://") {
		return refuse("its address does not begin with https:// or http://")
	}
	if !discovery.Harmless("", u.URL) || strings.Contains(u.URL, "#") {
		return refuse("its address holds a secret, or what could be one: register the server with a credential instead")
	}
	for _, h := range e.Headers {
		switch {
		case filled(h) || fills(h.Value):
			return refuse("its client fills in the header " + h.Name + ", which the gateway would not get: register the server with a credential instead")
		case o.Own(h.Name) || h.Value == "":
		default:
			u.SecretHeaders[h.Name] = h.Value // of a header nobody can tell
		}
	}
	return nil
}

// programName is what programs are called, digits included, as of python3.
var programName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._+-]{0,31}$`)

// sealedArgument stands in the place of an argument that is in the vault. It is too
// short for a manifest to take it for a secret, whatever it follows.
const sealedArgument = "{key}"

func (u *Upstream) local(f *clientconfig.File, e *clientconfig.Entry, o Options, fills func(string) bool) error {
	u.Command, u.Dir = e.Spec.Command, e.Spec.Dir
	u.Args = slices.Clone(e.Spec.Args)
	if len(u.Args) == 0 && strings.ContainsAny(u.Command, " \t") {
		if _, err := os.Lstat(u.Command); err != nil {
			if words := discovery.Words(u.Command); len(words) > 1 {
				u.Command, u.Args = words[0], words[1:] // as clients do that start it with a shell
			}
		}
	}
	if u.Dir == "" && f.Project != "" {
		u.Dir = f.Project
	}
	if u.Dir != "" && !filepath.IsAbs(u.Dir) {
		return refuse("its working folder is relative, and to what is for its client to say: write it out")
	}
	if u.Dir == "" && strings.ContainsAny(u.Command, `/\`) && !filepath.IsAbs(u.Command) {
		return refuse("its command is a relative path, and to what is for its client to say: write it out")
	}
	if strings.HasPrefix(u.Command, "~") {
		return refuse("its command begins with ~, which only its client fills in: write it out")
	}
	if !discovery.Harmless("", u.Command) && !filepath.IsAbs(u.Command) && (!programName.MatchString(u.Command) || discovery.Sensitive(u.Command)) {
		return refuse("its command holds what could be a secret")
	}
	for _, i := range discovery.SecretArguments(u.Command, u.Args) {
		if _, err := os.Lstat(u.Args[i]); err == nil && filepath.IsAbs(u.Args[i]) {
			continue // a file of this machine, however it is called
		}
		u.SecretArgs[i], u.Args[i] = u.Args[i], sealedArgument
	}
	for i, a := range u.Args {
		if name, value := argument(u.Args, i); a != sealedArgument && o.Secret(name, value) {
			u.SecretArgs[i], u.Args[i] = a, sealedArgument
		}
	}
	if err := u.variables(e, o, fills); err != nil {
		return err
	}
	u.grants(o.Private)
	return nil
}

// argument is the i-th as a name and a value: --name=value, or what follows --name.
func argument(args []string, i int) (name, value string) {
	if n, v, ok := strings.Cut(strings.TrimLeft(args[i], "-"), "="); ok {
		return n, v
	}
	if i > 0 && strings.HasPrefix(args[i-1], "-") {
		return strings.TrimLeft(args[i-1], "-"), args[i]
	}
	return "", args[i]
}

func (u *Upstream) variables(e *clientconfig.Entry, o Options, fills func(string) bool) error {
	var held []string
	for _, v := range e.Env {
		switch {
		case filled(v) || fills(v.Value):
			return refuse("its client fills in the variable " + v.Name + ", which the gateway would not get: register the server with a credential instead")
		case v.Value == "" || discovery.Harmless(v.Name, v.Value) && !o.Secret(v.Name, v.Value):
			u.Env[v.Name] = v.Value
		default:
			u.SecretEnv[v.Name] = v.Value
			held = append(held, v.Name)
		}
	}
	if len(held) > 0 && !o.MoveSecrets {
		return refuse("its variables " + strings.Join(held, ", ") + " hold what is or could be a secret: give --move-secrets to seal them in the gateway's vault and take them out of the file")
	}
	return nil
}

// grants says which folders the command line names, and those of the program it
// starts.
func (u *Upstream) grants(private []string) {
	usable := func(dir string) bool {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || real == "/" {
			return false
		}
		return !slices.ContainsFunc(private, func(p string) bool { return within(p, real) || within(real, p) })
	}
	add := func(list *[]string, dir string) {
		if usable(dir) && !slices.Contains(*list, dir) {
			*list = append(*list, dir)
		}
	}
	if filepath.IsAbs(u.Command) {
		for _, dir := range program(u.Command) {
			add(&u.Read, dir)
		}
	}
	for _, a := range u.Args {
		if !filepath.IsAbs(a) {
			if u.Dir == "" || !strings.ContainsAny(a, `/\`) && path.Ext(a) == "" {
				continue
			}
			a = filepath.Join(u.Dir, a)
		}
		info, err := os.Stat(a)
		switch {
		case err != nil:
		case info.IsDir():
			add(&u.Write, filepath.Clean(a))
		default:
			dirs := program(a)
			if len(dirs) == 0 {
				dirs = []string{filepath.Dir(a)}
			}
			for _, dir := range dirs {
				add(&u.Read, dir)
			}
		}
	}
	if u.Dir != "" {
		add(&u.Read, u.Dir)
	}
}

func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// program returns the folders of the program a file belongs to, none if nothing
// tells: the nearest folder above it, and above what it links to, that says what the
// program needs, and for Node every folder in which it looks for that.
func program(file string) []string {
	var out []string
	for _, name := range links(file) {
		dir, mark := marked(filepath.Dir(name))
		if mark == "" {
			continue
		}
		out = append(out, dir)
		if mark != "package.json" {
			continue
		}
		for d := filepath.Dir(name); ; d = filepath.Dir(d) {
			packages := d
			if filepath.Base(d) != nodePackages {
				packages = filepath.Join(d, nodePackages)
			}
			if info, err := os.Stat(packages); err == nil && info.IsDir() && !slices.Contains(out, packages) {
				out = append(out, packages)
			}
			if filepath.Dir(d) == d {
				break
			}
		}
	}
	return out
}

// nodePackages is what Node calls folders of packages; it looks for one in every
// folder above a file.
const nodePackages = "node_modules"

// links is a file, and the file it is in the end.
func links(file string) []string {
	real, err := filepath.EvalSymlinks(file)
	if err != nil || real == file {
		return []string{file}
	}
	return []string{file, real}
}

// marked is the nearest folder from dir upwards that says what a program needs, and
// the file that does.
func marked(dir string) (found, mark string) {
	for d := dir; ; d = filepath.Dir(d) {
		for _, mark := range []string{"package.json", "pyproject.toml", "pyvenv.cfg", "go.mod", "Cargo.toml", "deno.json"} {
			if _, err := os.Lstat(filepath.Join(d, mark)); err == nil {
				return d, mark
			}
		}
		if filepath.Dir(d) == d {
			return "", ""
		}
	}
}
