package grant

import (
	"bytes"
	"fmt"
	"strings"

	"rutile/internal/rawjson"
)

// hosts are names: "example.com" is that host, "*.example.com" every host below
// it and not itself.
type hosts []string

func newHosts(v rawjson.Value) (matcher, error) {
	if v.Kind() != rawjson.Array || v.Len() == 0 || v.Len() > maxSet {
		return nil, fmt.Errorf("must be an array of 1 to %d hosts", maxSet)
	}
	h := make(hosts, 0, v.Len())
	for it := range v.Items() {
		s, _ := it.Str()
		name := strings.TrimPrefix(s, "*.")
		if !hostName([]byte(name)) || name != strings.ToLower(name) {
			return nil, fmt.Errorf("value %d must be a lower-case ASCII host name, also after \"*.\"; for addresses there is cidr", len(h))
		}
		h = append(h, s)
	}
	return h, nil
}

func (h hosts) match(v rawjson.Value) bool {
	b, ok := text(v)
	if !ok {
		return false
	}
	name, ok := hostOf(b)
	return ok && h.covers(string(bytes.ToLower(name)))
}

// covers reports whether name, a host or a pattern in lower case, is among h.
func (h hosts) covers(name string) bool {
	for _, pattern := range h {
		// Below "*.example.com" are "a.example.com" and "*.a.example.com".
		if pattern == name || pattern[0] == '*' && strings.HasSuffix(name, pattern[1:]) {
			return true
		}
	}
	return false
}

// maxURL bounds what is read as a URL, in bytes.
const maxURL = 8 << 10

// hostOf returns the host of "host", "host:port" or a URL with the scheme http,
// https, ws or wss. It accepts only what every reader of RFC 3986 and of the
// WHATWG URL standard reads alike: printable ASCII without backslash, no user
// information, no percent sign in the authority, and after it "/" or nothing.
func hostOf(b []byte) (host []byte, ok bool) {
	if len(b) > maxURL {
		return nil, false
	}
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return nil, false
		}
	}
	if scheme, rest, found := bytes.Cut(b, []byte("://")); found {
		switch string(scheme) {
		case "http", "https", "ws", "wss":
		default:
			return nil, false
		}
		b, _, _ = bytes.Cut(rest, []byte("/"))
	}
	host, port, found := bytes.Cut(b, []byte(":"))
	if found && !portNumber(port) {
		return nil, false
	}
	return host, hostName(host)
}

func portNumber(b []byte) bool {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || len(b) > 5 {
			return false
		}
		n = 10*n + int(c-'0')
	}
	return n > 0 && n <= 65535 && b[0] != '0'
}

// hostName reports whether b is a name of letters, digits and hyphens (RFC 1123,
// section 2.1) that no reader takes for an IPv4 address: the WHATWG standard
// does so whenever the last label is a number, be it hexadecimal.
func hostName(b []byte) bool {
	if len(b) == 0 || len(b) > 253 {
		return false
	}
	for {
		label, rest, more := bytes.Cut(b, []byte("."))
		if !hostLabel(label) {
			return false
		}
		if !more {
			return !numeric(label)
		}
		b = rest
	}
}

func hostLabel(b []byte) bool {
	if len(b) == 0 || len(b) > 63 || b[0] == '-' || b[len(b)-1] == '-' {
		return false
	}
	for _, c := range b {
		if c != '-' && !digitOrLetter(c) {
			return false
		}
	}
	return true
}

func digitOrLetter(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// numeric reports whether a label might be read as a number.
func numeric(b []byte) bool {
	if len(b) >= 2 && b[0] == '0' && b[1]|0x20 == 'x' {
		return true
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
