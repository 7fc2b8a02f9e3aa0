package oauth

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// Bounds of a token request's parameters.
const (
	maxParameters = 32
	maxName       = 64       // bytes
	maxValue      = 2 << 10  // bytes
	maxAssertion  = 16 << 10 // bytes of client_assertion
)

// form is what a token request carries. Every parameter stands once, except
// resource, whose number is judged with its meaning (RFC 8707 section 2).
type form map[string][]string

// get returns the only value of a parameter, "" if it was not sent or is empty:
// RFC 6749 section 3.2 treats both alike.
func (f form) get(name string) string {
	if v := f[name]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// known reports whether a parameter name means something at the token endpoint,
// now or for a grant that is not offered yet.
func known(name string) bool {
	switch name {
	case "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "resource", "scope",
		"code", "code_verifier", "redirect_uri", "refresh_token", "assertion", "audience", "device_code",
		"subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type", "authorization_details":
		return true
	}
	return false
}

// parseForm reads an application/x-www-form-urlencoded body. It refuses what
// two readers could understand differently: a parameter twice, another
// spelling of a known name (Resource, resource[], " resource"), bytes that are
// not text. Unknown parameters are ignored, as RFC 6749 section 3.2 demands.
func parseForm(body string) (form, error) {
	f := form{}
	if body == "" {
		return f, nil
	}
	if strings.Count(body, "&") >= maxParameters {
		return nil, invalidRequest("too many parameters; send only those of the grant")
	}
	for pair := range strings.SplitSeq(body, "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil || name == "" || len(name) > maxName || !text(name) {
			return nil, invalidRequest("a parameter name cannot be read; send name=value pairs joined by &")
		}
		value, err := url.QueryUnescape(rawValue)
		// A semicolon separates parameters for some readers; encoded it does not.
		if err != nil || !text(value) || strings.Contains(pair, ";") {
			return nil, invalidRequest("a parameter value cannot be read; percent-encode it as UTF-8")
		}
		limit := maxValue
		if name == "client_assertion" {
			limit = maxAssertion
		}
		if len(value) > limit {
			return nil, invalidRequest("a parameter value is too long")
		}
		if meant := plain(name); meant != name && known(meant) {
			return nil, invalidRequest("a parameter name is misspelt; names are exact: use " + meant)
		}
		if len(f[name]) > 0 && name != "resource" {
			return nil, invalidRequest("a parameter stands twice; send each once")
		}
		f[name] = append(f[name], value)
	}
	return f, nil
}

// plain is the name some reader could take a spelling for: without case, array
// marks, dots and blanks.
func plain(name string) string {
	name, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(name)), "[")
	return strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(name)
}

// text reports whether s is UTF-8 without control characters.
func text(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) < 0
}
