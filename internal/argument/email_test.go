package argument_test

import (
	"strings"
	"testing"

	"rutile/internal/argument"
)

func TestEmailDomainsMissNoAddress(t *testing.T) {
	for in, want := range map[string]string{
		"a@example.com":                               "example.com",
		"A@EXAMPLE.COM":                               "example.com",
		"a@x.example, b@y.example,a@x.example":        "x.example y.example",
		"Jane Doe <jane@x.example>":                   "x.example",
		`"Doe, Jane" <jane@x.example>, bob@y.example`: "x.example y.example",
		`"a, b; c" <a@x.example>`:                     "x.example",
		"a@bücher.example":                            "xn--bcher-kva.example",
		"a@xn--bcher-kva.example":                     "xn--bcher-kva.example",
		"=?utf-8?q?J=C3=BCrgen?= <j@x.example>":       "x.example",
		"a+tag@x.example":                             "x.example",
		"user%evil.example@x.example":                 "x.example",
		"team: a@x.example, b@y.example;":             "x.example y.example",
		`"a b"@x.example`:                             "x.example",
		"김 <k@x.example>":                             "x.example",
		"a@sub.x.example (home)":                      "sub.x.example",
		"аpple@аpple.com":                             "xn--pple-43d.com",
		"a@localhost":                                 "localhost",
	} {
		got, err := argument.EmailDomains(in)
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", " ", "x", "a@", "@x.example", "a@x.example; b@y.example", "a@x.example b@y.example", "a@@x.example", "a@b@x.example",
		`"evil@y.example" <a@x.example>`, `"evil@y.example, " <a@x.example>`, `"a@y.example"@x.example`, "a@x.example (b@y.example)", "evil@y.example <a@x.example>", "<@y.example:a@x.example>",
		"a@x.example\r\nBcc: b@y.example", "a@x.example\n", "a@x.example\x00", "a@[127.0.0.1]", "a@[IPv6:::1]", "a@127.0.0.1", "a@2130706433", "a@x..example", "a@-x.example", "a@x_y%2e", "team:;",
		"=?utf-8?q?a=40b?= <a@x.example", "a@faß.de",
	} {
		if got, err := argument.EmailDomains(in); err == nil {
			t.Errorf("%q: %q is accepted", in, got)
		}
	}
}
