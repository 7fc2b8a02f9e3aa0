package argument

import (
	"errors"
	"net/url"
	"strings"
)

var (
	errPathEmpty   = errors.New("it is no path")
	errPathEscape  = errors.New("it climbs with \"..\" above where it begins")
	errPathByte    = errors.New("it holds a control character or a backslash, which is a separator to some servers")
	errPathEncoded = errors.New("it holds a percent-encoded dot, separator, percent sign or control character, which some servers decode")
	errPathForm    = errors.New("it begins with \"~\", \"//\", a drive letter or a scheme, which lead elsewhere on some servers")
)

// Path returns the canonical form of a file path: "/" as the only separator, no
// empty segment, no "." and no "..", no trailing slash. It stays absolute or
// relative; "." is where a relative path begins. Case and Unicode form are kept,
// and links are not followed.
func Path(s string) (string, error) {
	switch {
	case s == "":
		return "", errPathEmpty
	case len(s) > MaxText:
		return "", errLong
	case s[0] == '~', strings.HasPrefix(s, "//"), len(s) > 1 && s[1] == ':' && isAlpha(s[0]), hasScheme(s):
		return "", errPathForm
	}
	return clean(s)
}

func hasScheme(s string) bool {
	name, rest, ok := strings.Cut(s, ":")
	return ok && schemeName(name) && (strings.HasPrefix(rest, "//") || strings.EqualFold(name, "file"))
}

// clean makes s canonical.
func clean(s string) (string, error) {
	if control(s) || strings.ContainsRune(s, '\\') {
		return "", errPathByte
	}
	if hidden(s) {
		return "", errPathEncoded
	}
	var out []string
	for seg := range strings.SplitSeq(s, "/") {
		switch seg {
		case "", ".":
		case "..":
			if len(out) == 0 {
				return "", errPathEscape
			}
			out = out[:len(out)-1]
		default:
			out = append(out, seg)
		}
	}
	joined := strings.Join(out, "/")
	switch {
	case s[0] == '/':
		return "/" + joined, nil
	case joined == "":
		return ".", nil
	}
	return joined, nil
}

// hidden reports whether s holds an encoded character that would change the
// path if it were decoded.
func hidden(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] != '%' || !isHex(s[i+1]) || !isHex(s[i+2]) {
			continue
		}
		c := unhex(s[i+1])<<4 | unhex(s[i+2])
		if c < 0x20 || c == 0x7f || strings.IndexByte("./\\%", c) >= 0 {
			return true
		}
	}
	return false
}

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// URIPath returns the canonical path of a hierarchical URI, decoded (RFC 3986,
// sections 6.2.2 and 5.2.4): of "file:///srv/a%20b" it is "/srv/a b". Its host,
// if it has one, is the caller's to look at.
func URIPath(s string) (string, error) {
	scheme, err := Scheme(s)
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(s[len(scheme)+1:], "//")
	if !ok {
		return "", errURLScheme
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	i := strings.IndexByte(rest, '/')
	if i < 0 {
		return "/", nil
	}
	p := rest[i:]
	if hidden(p) {
		return "", errPathEncoded
	}
	if p, err = url.PathUnescape(p); err != nil {
		return "", errPathEncoded
	}
	if strings.HasPrefix(p, "//") || len(p) > 2 && p[2] == ':' && isAlpha(p[1]) {
		return "", errPathForm
	}
	return clean(p)
}
