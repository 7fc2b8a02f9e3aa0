package discovery

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Redacted stands for a text that was taken away; of is what it was.
func redacted(of string) string { return "<redacted:" + of + ">" }

var (
	flagName  = regexp.MustCompile(`^--[A-Za-z][A-Za-z0-9_.-]{0,63}$|^-[A-Za-z]{1,3}$|^-(?:classpath|stdio|Command|File|NoProfile|ExecutionPolicy|NonInteractive|NoLogo|module)$|^/[A-Za-z]$`)
	shortFlag = regexp.MustCompile(`^-[A-Za-z]`)
	plainWord = regexp.MustCompile(`^[A-Za-z@][A-Za-z_.+-]{0,31}$`)
	number    = regexp.MustCompile(`^[0-9]{1,6}$|^v?[0-9]{1,4}(?:\.[0-9]{1,6}){1,3}$`)
	hostPort  = regexp.MustCompile(`^(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?):[0-9]{1,5}$`)
	urlStart  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]{1,24}://`)
	pathStart = regexp.MustCompile(`^(?:[~.]{0,2}/|\.\\|~\\|[A-Za-z]:[\\/]|\\\\)`)
	pathLike  = regexp.MustCompile(`^(?:@?[\w.-]+/)+[\w.@:-]+$|^[\w-]+\.(?:js|mjs|cjs|ts|py|sh|jar|rb|dll|json|ya?ml|toml|db|sqlite3?|md|txt|csv|exe)$`)
	assign    = regexp.MustCompile(`^(-{0,2}[A-Za-z_][A-Za-z0-9_.-]{0,63})=(.*)$`)
	colon     = regexp.MustCompile(`(?s)^((?:--?|/)[A-Za-z][A-Za-z0-9_.-]{0,63}):(.*)$`)
	headerArg = regexp.MustCompile(`(?s)^([A-Za-z][A-Za-z0-9-]{0,63})\s*:\s*(.+)$`)
	variable  = regexp.MustCompile(`^(?:\$[A-Z_][A-Z0-9_]{0,63}|\$env:[A-Za-z_][A-Za-z0-9_]{0,63}|\$\{(?:[a-z][A-Za-z]{0,31}:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}|[A-Za-z_][A-Za-z0-9_.]{0,63})\}|%[A-Za-z_][A-Za-z0-9_]{0,63}%|\{(?:env|input):[A-Za-z0-9_]{1,64}\})$`)
	queryName = regexp.MustCompile(`^[A-Za-z_][A-Za-z_.-]{0,31}$`)
)

// headerFlags are followed by "Name: value", userFlags by "user:password".
// shortSecrets are followed by a port, a path, or a key or password.
var (
	headerFlags  = []string{"--header", "--headers", "-H"}
	userFlags    = []string{"--user", "--username", "--proxy-user", "-u", "-U"}
	shortSecrets = []string{"-k", "-p"}
)

// arguments shows args without what is or could be a secret, and says what was
// taken away. Only what is known to be harmless stays: names of options, words of
// letters, numbers, paths, addresses. A bare text that is none of these could be a
// password, and nobody needs it to know the server.
func (d *Describer) arguments(args []string) ([]string, []SecretRef) {
	var out []string
	var secrets []SecretRef
	secret := func(name, value string) string {
		ref := Secret(name, "argument", value)
		secrets = append(secrets, ref)
		if ref.Kind == SecretLiteral {
			return redacted("secret")
		}
		return d.plain(value)
	}
	header := func(prefix, a string) string {
		m := headerArg.FindStringSubmatch(a)
		if m == nil {
			return prefix + redacted("header")
		}
		secrets = append(secrets, Secret(m[1], "header", m[2]))
		return prefix + m[1] + ": " + redacted("header")
	}
	for i := 0; i < len(args); i++ {
		o := optionOf(args, i)
		switch {
		case o.joined && isHeaderFlag(o.name):
			out = append(out, header(o.name+"=", o.value))
		case o.joined && (SecretName(o.bare) || !strings.HasPrefix(o.name, "-") && strings.ToUpper(o.bare) == o.bare):
			out = append(out, o.name+o.by+secret(o.bare, o.value))
		case o.joined:
			shown, found := d.text(o.bare, o.value)
			out, secrets = append(out, o.name+o.by+shown), append(secrets, found...)
		case o.name != "" && isHeaderFlag(o.name):
			i++
			out = append(out, o.name, header("", o.value))
		case o.secret():
			i++
			out = append(out, o.name, secret(o.bare, o.value))
		case slices.Contains(shortSecrets, o.name) && plainWord.MatchString(o.value):
			i++
			out = append(out, o.name, redacted("text"))
		case headerLike(args[i]):
			out = append(out, header("", args[i]))
		default:
			shown, found := d.text("", args[i])
			out, secrets = append(out, shown), append(secrets, found...)
		}
	}
	return out, secrets
}

// SecretArguments says which of args are, or could be, secrets: what discovery
// would not show. What is named is a package that a launcher fetches.
func SecretArguments(command string, args []string) []int {
	d := &Describer{Paths: &Paths{}}
	shown, _ := d.arguments(args)
	named := -1
	if slices.Contains(fetchers, programName(command)) {
		named = slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") && a != "run" && a != "dlx" && a != "exec" })
	}
	var out []int
	for i, s := range shown {
		if strings.Contains(s, "<redacted:") && (i != named || Sensitive(args[i])) {
			out = append(out, i)
		}
	}
	return out
}

// fetchers fetch the package their first plain argument names.
var fetchers = []string{"npx", "bunx", "uvx", "pipx", "pnpm", "yarn", "npm"}

// Harmless reports whether a value can be shown and kept: a word, a number, a path
// or an address without secrets, and nothing that could be a password.
func Harmless(name, value string) bool {
	d := &Describer{Paths: &Paths{}}
	shown, secrets := d.text("", value)
	return !SecretName(name) && len(secrets) == 0 && !strings.Contains(shown, "<redacted:")
}

// option is an argument that has a value, in it or after it.
type option struct {
	name, bare, value string
	joined            bool
	by                string // what joins them
}

// optionOf reads the argument at i, which may have its value in the next one.
func optionOf(args []string, i int) option {
	var o option
	if m := assign.FindStringSubmatch(args[i]); m != nil {
		o = option{name: m[1], value: m[2], joined: true, by: "="}
	} else if m := colon.FindStringSubmatch(args[i]); m != nil && SecretName(strings.TrimLeft(m[1], "-/")) {
		o = option{name: m[1], value: m[2], joined: true, by: ":"}
	} else if flagName.MatchString(args[i]) && i+1 < len(args) {
		o = option{name: args[i], value: args[i+1]}
	}
	o.bare = strings.TrimLeft(o.name, "-/")
	return o
}

// secret reports whether the next argument is a secret by the name of this one.
func (o option) secret() bool {
	if o.joined || o.name == "" || flagName.MatchString(o.value) {
		return false
	}
	return SecretName(o.bare) || slices.Contains(userFlags, o.name) && strings.Contains(o.value, ":")
}

func isHeaderFlag(s string) bool { return slices.Contains(headerFlags, s) }

// headerLike reports whether an argument is a header that holds a secret.
func headerLike(s string) bool {
	m := headerArg.FindStringSubmatch(s)
	return m != nil && SecretName(m[1]) && !urlStart.MatchString(s)
}

// text shows one argument, and what of it was secret.
func (d *Describer) text(name, s string) (string, []SecretRef) {
	if urlStart.MatchString(s) {
		shown, found := d.address(s)
		for i := range found {
			if found[i].Where == "url" && name != "" {
				found[i].Name = name + ": " + found[i].Name
			}
		}
		return shown, found
	}
	shown := d.plain(s)
	if strings.Contains(shown, "<redacted:secret>") {
		if name == "" {
			name = "argument"
		}
		return shown, []SecretRef{{Name: name, Where: "argument", Kind: SecretLiteral, Sensitive: true, Shape: shapeOf(s)}}
	}
	return shown, nil
}

// plain shows s as far as it is harmless.
func (d *Describer) plain(s string) string {
	switch {
	case s == "" || s == "." || s == "-" || s == "--" || s == "*" || s == "/":
		return s
	case variable.MatchString(s):
		return s
	case pathStart.MatchString(s):
		return d.path(s)
	case Sensitive(s):
		return redacted("secret")
	case flagName.MatchString(s), number.MatchString(s), plainWord.MatchString(s), hostPort.MatchString(s):
		return s
	case pathLike.MatchString(s):
		return d.path(s)
	case net.ParseIP(s) != nil:
		return s
	case shortFlag.MatchString(s):
		return s[:2] + redacted("text") // a value may be part of it
	case strings.ContainsRune(s, ','):
		parts := strings.Split(s, ",")
		for i, p := range parts {
			parts[i] = d.plain(p)
		}
		return strings.Join(parts, ",")
	default:
		return redacted("text")
	}
}

// address shows a URL with its scheme, host, port, path and the names of its
// query, and says what was taken away.
func (d *Describer) address(s string) (string, []SecretRef) {
	u, err := parseAddress(s)
	if err != nil || u.Host == "" && u.Opaque == "" && u.Path == "" {
		return redacted("address"), nil
	}
	var secrets []SecretRef
	if u.User != nil {
		pass, _ := u.User.Password()
		if pass == "" {
			pass = u.User.Username()
		}
		secrets = append(secrets, inAddress("userinfo", pass))
	}
	out := strings.ToLower(u.Scheme) + "://" + hostOf(u)
	path, found := d.urlPath(u.EscapedPath())
	out, secrets = out+path, append(secrets, found...)
	if u.RawQuery != "" {
		var names []string
		for part := range strings.SplitSeq(u.RawQuery, "&") {
			name, value, has := strings.Cut(part, "=")
			if !queryName.MatchString(name) || Sensitive(name) {
				name = redacted("name")
			}
			names = append(names, name)
			if has && value != "" || !has {
				if v, err := url.QueryUnescape(value); err == nil {
					value = v
				}
				if SecretName(name) || Sensitive(value) || !has && name == redacted("name") {
					secrets = append(secrets, inAddress(name, value+map[bool]string{true: "", false: "?"}[has]))
				}
			}
		}
		out += "?" + strings.Join(names, "&")
	}
	return strings.ReplaceAll(out, template, "{}"), secrets
}

// template stands for what a client puts into an address, which no host can hold.
const template = "rutile-template"

var templates = regexp.MustCompile(`\$\{[^{}]*\}|\{\{[^{}]*\}\}|\{[^{}/]*\}|%7[Bb][^%/]*%7[Dd]`)

// inAddress is a secret in an address, where what the client puts in is a
// template by now.
func inAddress(name, value string) SecretRef {
	if strings.Contains(value, template) {
		return SecretRef{Name: name, Where: "url", Kind: SecretReference}
	}
	return Secret(name, "url", value)
}

func parseAddress(s string) (*url.URL, error) {
	return url.Parse(templates.ReplaceAllString(s, template))
}

// urlPath shows a path without the segments that look like secrets.
func (d *Describer) urlPath(p string) (string, []SecretRef) {
	var secrets []SecretRef
	if plain, err := url.PathUnescape(p); err != nil || commandValue.MatchString(plain) {
		return "/{}", nil // something is run to make it
	}
	parts := strings.Split(p, "/")
	for i, s := range parts {
		plain, err := url.PathUnescape(s)
		if err != nil {
			plain = s
		}
		if variable.MatchString(plain) {
			parts[i] = "{}"
		} else if name, value, ok := strings.Cut(plain, "="); ok || strings.Contains(plain, ";") {
			parts[i] = redacted("segment")
			if SecretName(name) {
				secrets = append(secrets, inAddress("path", value))
			}
		} else if Sensitive(plain) || len(plain) > 64 {
			parts[i] = redacted("segment")
			secrets = append(secrets, SecretRef{Name: "path", Where: "url", Kind: SecretLiteral, Sensitive: true, Shape: shapeOf(plain)})
		}
	}
	return strings.Join(parts, "/"), secrets
}

// hostOf is host and port, lower-cased, without the port its scheme has anyway.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	host = strings.ReplaceAll(host, template, "{}")
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := u.Port()
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return host
	}
	return host + ":" + port
}

// secretMember is a member of a file whose name says that its value is a secret.
var secretMember = regexp.MustCompile(`(["']?)([A-Za-z_][A-Za-z0-9_.-]{0,63})["']?\s*[:=]\s*(.+)$`)

// RedactLine is a line of a client's file as it may be shown: without values whose
// name or looks say that they are secrets.
func RedactLine(line string) string {
	if m := secretMember.FindStringSubmatchIndex(line); m != nil && SecretName(line[m[4]:m[5]]) {
		value := line[m[6]:m[7]]
		if v := strings.Trim(value, " ,{["); v != "" {
			return line[:m[6]] + redacted("secret")
		}
	}
	if Sensitive(line) {
		return lineWord.ReplaceAllStringFunc(line, func(w string) string {
			if Sensitive(w) {
				return redacted("secret")
			}
			return w
		})
	}
	return line
}

var lineWord = regexp.MustCompile(`[^\s"',\[\]{}]+`)
