package argument

import (
	"errors"
	"strconv"
	"strings"
)

var (
	errURLScheme    = errors.New("it does not begin with a scheme and \"://\"")
	errURLCharacter = errors.New("it holds a space, a control character or a backslash, which readers of URLs treat differently")
	errURLUser      = errors.New("its authority holds an \"@\" in a place readers of URLs disagree about")
	errURLPort      = errors.New("its port is not a whole number from 1 to 65535")
	errURLNoPort    = errors.New("it has no port, and its scheme has no port of its own")
)

// URL is what of an absolute URL (RFC 3986, WHATWG) says where it leads.
type URL struct {
	Scheme string // lower case
	Host   string // see Host
	port   string // digits, "" if there is none
	path   string // as written: from the first "/" after the authority to "?" or "#"
}

// Scheme returns the scheme of a URI in lower case. It needs no authority:
// "mailto:" and "data:" have one too.
func Scheme(s string) (string, error) {
	if err := plainURL(s); err != nil {
		return "", err
	}
	name, _, ok := strings.Cut(s, ":")
	if !ok || !schemeName(name) {
		return "", errURLScheme
	}
	return strings.ToLower(name), nil
}

func plainURL(s string) error {
	switch {
	case len(s) > MaxText:
		return errLong
	case control(s) || strings.ContainsAny(s, " \\\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"):
		return errURLCharacter
	}
	return nil
}

func schemeName(s string) bool {
	if s == "" || !isAlpha(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlpha(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// ParseURL reads an absolute URL with a host. What comes before an "@" in the
// authority is no part of the host. A URL that browsers and libraries are known
// to read differently is an error: backslashes, spaces, a missing slash, several
// "@".
func ParseURL(s string) (URL, error) {
	scheme, err := Scheme(s)
	if err != nil {
		return URL{}, err
	}
	rest, ok := strings.CutPrefix(s[len(scheme)+1:], "//")
	if !ok {
		return URL{}, errURLScheme
	}
	u := URL{Scheme: scheme}
	authority, after := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, after = rest[:i], rest[i:]
	}
	if after != "" && after[0] != '/' && strings.Contains(after, "@") {
		return URL{}, errURLUser // "http://a.example#@b.example" leads to either
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if !userinfo(authority[:i]) {
			return URL{}, errURLUser
		}
		authority = authority[i+1:]
	}
	host := authority
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, u.port = authority[:i], authority[i+1:]
		if n, err := strconv.Atoi(u.port); err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != u.port {
			return URL{}, errURLPort
		}
	}
	if u.Host, err = Host(host); err != nil {
		return URL{}, err
	}
	if strings.HasPrefix(after, "/") {
		u.path, _, _ = strings.Cut(after, "#")
		u.path, _, _ = strings.Cut(u.path, "?")
	}
	return u, nil
}

// userinfo reports whether s is userinfo by RFC 3986, section 3.2.1. A second
// "@" is not: readers take the first or the last.
func userinfo(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlpha(c) && !isDigit(c) && !strings.ContainsRune("-._~!$&'()*+,;=:%", rune(c)) {
			return false
		}
	}
	return true
}

// Port returns the port of the URL, or the one its scheme implies.
func (u URL) Port() (int, error) {
	if u.port != "" {
		return strconv.Atoi(u.port)
	}
	switch u.Scheme {
	case "http", "ws":
		return 80, nil
	case "https", "wss":
		return 443, nil
	case "ftp":
		return 21, nil
	case "ssh", "sftp":
		return 22, nil
	}
	return 0, errURLNoPort
}
