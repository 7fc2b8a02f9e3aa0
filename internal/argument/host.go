package argument

import (
	"errors"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

var (
	errHostEmpty     = errors.New("it names no host")
	errHostCharacter = errors.New("its host has a character no host name has")
	errHostLabel     = errors.New("its host has a label that is empty, too long, or begins or ends with a hyphen")
	errHostNumber    = errors.New("its host is a number, and not an address written in full")
	errHostUnicode   = errors.New("its host is no valid international name, or one that readers turn into different names")
)

// Host returns the canonical form of a host: an IP address as RFC 5952 writes
// it, without brackets, and an IPv4 address for one mapped into IPv6; otherwise a
// name in lower case and punycode (RFC 5891, UTS 46) without a trailing dot. A
// numeric host that is no address in full ("127.1", "0x7f000001") is an error,
// as some readers take it for one.
func Host(s string) (string, error) {
	switch {
	case s == "":
		return "", errHostEmpty
	case len(s) > 1024 || !utf8.ValidString(s):
		return "", errHostCharacter
	case s[0] == '[':
		return address6(s)
	}
	name, err := ascii(s)
	if err != nil {
		return "", err
	}
	name = strings.TrimSuffix(name, ".")
	labels := strings.Split(name, ".")
	if len(name) > 253 {
		return "", errHostLabel
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return "", errHostLabel
		}
	}
	if last := labels[len(labels)-1]; isDigit(last[0]) && numeric(last) {
		a, err := netip.ParseAddr(name)
		if err != nil || !a.Is4() {
			return "", errHostNumber
		}
	}
	return name, nil
}

// address6 reads an IPv6 address in brackets.
func address6(s string) (string, error) {
	inner, ok := strings.CutSuffix(s[1:], "]")
	a, err := netip.ParseAddr(inner)
	if !ok || err != nil || !a.Is6() || a.Zone() != "" {
		return "", errHostNumber
	}
	return a.Unmap().String(), nil
}

// ascii returns s in lower case and punycode.
func ascii(s string) (string, error) {
	plain, puny := true, false
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 0x80:
			plain = false
		case !isAlpha(c) && !isDigit(c) && c != '-' && c != '.' && c != '_':
			return "", errHostCharacter
		}
		puny = puny || c|0x20 == 'x' && len(s) >= i+4 && strings.EqualFold(s[i:i+4], "xn--")
	}
	if plain && !puny {
		return strings.ToLower(s), nil
	}
	for _, r := range s {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector) {
			return "", errHostUnicode // nobody sees it, and not all readers drop it
		}
	}
	now, err := profile(false).ToASCII(s)
	if err != nil {
		return "", errHostUnicode
	}
	// Readers of IDNA 2003 turn some letters into others: "ß" into "ss".
	if before, err := profile(true).ToASCII(s); err != nil || before != now {
		return "", errHostUnicode
	}
	if again, err := profile(false).ToASCII(now); err != nil || again != now {
		return "", errHostUnicode
	}
	for i := range len(now) {
		if c := now[i]; !isAlpha(c) && !isDigit(c) && c != '-' && c != '.' {
			return "", errHostCharacter
		}
	}
	return now, nil
}

func profile(transitional bool) *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.Transitional(transitional), idna.StrictDomainName(true), idna.ValidateLabels(true),
		idna.BidiRule(), idna.CheckJoiners(true), idna.VerifyDNSLength(false))
}

// numeric reports whether some reader takes a label for a number.
func numeric(l string) bool {
	hex := len(l) > 1 && l[0] == '0' && l[1] == 'x'
	for i := range len(l) {
		if !isDigit(l[i]) && !(hex && (i == 1 || isHex(l[i]))) {
			return false
		}
	}
	return true
}

// Registrable returns the part of a canonical host that someone registered: one
// label below a public suffix. Addresses and public suffixes have none.
func Registrable(host string) (string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return "", errors.New("its host is an address, which nobody registers as a domain")
	}
	d, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return "", errors.New("its host is a public suffix or a single name, below which anybody registers")
	}
	return d, nil
}
