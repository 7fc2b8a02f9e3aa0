package argument

import (
	"errors"
	"net/mail"
	"slices"
	"strings"
)

var errEmail = errors.New("it is no list of mail addresses that all readers read alike")

// EmailDomains returns the domains of a list of mail addresses (RFC 5322,
// section 3.4), each once and in the form of Host, sorted. Every "@" of the text
// must be one of an address: an "@" in a name, comment or quoted local part is
// taken for an address by some readers and refused here, as are address literals,
// line breaks and lists that are not separated by commas.
func EmailDomains(s string) ([]string, error) {
	if len(s) > MaxText {
		return nil, errLong
	}
	if control(s) {
		return nil, errEmail
	}
	list, err := mail.ParseAddressList(s)
	if err != nil || len(list) == 0 || len(list) != strings.Count(s, "@") {
		return nil, errEmail
	}
	var out []string
	for _, a := range list {
		domain := a.Address[strings.LastIndexByte(a.Address, '@')+1:]
		host, err := Host(domain)
		if err != nil || isDigit(host[len(host)-1]) && numeric(host[strings.LastIndexByte(host, '.')+1:]) || strings.HasPrefix(domain, "[") {
			return nil, errEmail
		}
		out = append(out, host)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
