package argument_test

import (
	"strings"
	"testing"

	"rutile/internal/argument"
)

func TestHostHasOneForm(t *testing.T) {
	for in, want := range map[string]string{
		"example.com": "example.com", "EXAMPLE.com": "example.com", "example.com.": "example.com", "my_service": "my_service",
		"localhost": "localhost", "a-b.c1": "a-b.c1", "127.0.0.1": "127.0.0.1", "127.0.0.1.": "127.0.0.1",
		"[::1]": "::1", "[2001:DB8::0:1]": "2001:db8::1", "[::ffff:127.0.0.1]": "127.0.0.1", "[::FFFF:7f00:1]": "127.0.0.1",
		"bücher.example": "xn--bcher-kva.example", "BÜCHER.example": "xn--bcher-kva.example", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"XN--BCHER-KVA.example": "xn--bcher-kva.example", "한국.example": "xn--3e0b707e.example",
		"аpple.com":          "xn--pple-43d.com", // Cyrillic а
		"example。com":        "example.com",
		"ｅｘａｍｐｌｅ.com":        "example.com",
		"１２７.０.０.１":          "127.0.0.1",
		"1.example":          "1.example",
		"0xcafe.example.com": "0xcafe.example.com",
	} {
		if got, err := argument.Host(in); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ".", "..", "a..b", ".a", "a..", "-a.com", "a-.com", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 127) + "com",
		"2130706433", "127.1", "0x7f.0.0.1", "0x7f000001", "0177.0.0.1", "127.0.0.1..", "1.2.3.256", "1.2.3.4.5", "0x", "1.2.3.0x",
		"２１３０７０６４３３", "[::1", "::1", "[::1%eth0]", "[1.2.3.4]", "[v1.x]", "[]", "[::1]x",
		"a b", "a\tb", "a\nb", "a\x00b", "a/b", "a\\b", "a%2eb", "a@b", "a:b", "a?b", "a#b", "a,b", "a*b", "a℀b", "a／b", "a\u200bb", "exa\u00admple.com", "a\ufe0fb.com", "a\u202eb",
		"faß.de", "xn--fa-hia.de.", "xn--a", "xn--\u00fc", "xn--80ak6aa92e.com\u0000", "ex\u200dample.com", "\u0301a.com", "a\ufffdb",
		strings.Repeat("a", 2000),
	} {
		if got, err := argument.Host(in); err == nil && in != "xn--fa-hia.de." {
			t.Errorf("%q: %q is accepted", in, got)
		}
	}
}

func TestURLLeadsWhereAllReadersSay(t *testing.T) {
	for in, want := range map[string]struct {
		scheme, host string
		port         int
	}{
		"https://example.com":                      {"https", "example.com", 443},
		"HTTPS://EXAMPLE.COM:8443/a?b#c":           {"https", "example.com", 8443},
		"http://example.com./x":                    {"http", "example.com", 80},
		"http://[2001:db8::1]:81/":                 {"http", "2001:db8::1", 81},
		"http://[::1]":                             {"http", "::1", 80},
		"https://good.example@evil.example/":       {"https", "evil.example", 443},
		"https://good.example:443@evil.example:1/": {"https", "evil.example", 1},
		"https://user:p%40ss@host.example/":        {"https", "host.example", 443},
		"https://example.com/@someone":             {"https", "example.com", 443},
		"https://example.com/a?to=b@c.example":     {"https", "example.com", 443},
		"https://пример.example/":                  {"https", "xn--e1afmkfd.example", 443},
		"ssh://git@host.example/repo.git":          {"ssh", "host.example", 22},
		"wss://h.example":                          {"wss", "h.example", 443},
		"ftp://h.example":                          {"ftp", "h.example", 21},
		"postgres://u@db.example/x":                {"postgres", "db.example", 0},
	} {
		u, err := argument.ParseURL(in)
		if err != nil || u.Scheme != want.scheme || u.Host != want.host {
			t.Errorf("%q: %+v, %v", in, u, err)
			continue
		}
		if port, err := u.Port(); port != want.port || (err != nil) != (want.port == 0) {
			t.Errorf("%q: port %d, %v", in, port, err)
		}
	}
	for _, in := range []string{
		"", "example.com", "//example.com/", "http:example.com", "http:/example.com", "http:///example.com", "http://", "http://:80/", "://a.example",
		"1http://a.example", "ht tp://a.example", " http://a.example", "http://a.example ", "http://a.example\n", "h\tttp://a.example",
		"http://a.ex\tample/", "http://a.example/\r\nHost: b.example", "http://a.example\\@b.example/", "http:\\\\a.example\\", "http://a.example/\\..",
		"http://a@b@c.example/", "http://a.example#@b.example/", "http://a.example?@b.example/", "http://a.example?x=/@b.example", "http://a b@c.example/", "http://[a@b.example/",
		"http://a.example:/", "http://a.example:0/", "http://a.example:080/", "http://a.example:65536/", "http://a.example:+80/", "http://a.example:８０/", "http://a.example:80:80/",
		"http://a.example%2f@b.example%00/", "http://a%2eexample/", "http://a.example%00.b.example/", "http://a.example&@b.example# @c.example/",
		"http://2130706433/", "http://0x7f.1/", "http://[::1/", "http://::1/", "http://[::1]a/", "http://a.example\u3000/", "http://a.example/\u2028",
		"file:///etc/passwd", "javascript:alert(1)", "data:text/plain,x", "mailto:a@b.example", "http://" + strings.Repeat("a", 70000),
	} {
		if u, err := argument.ParseURL(in); err == nil {
			t.Errorf("%q: %+v is accepted", in, u)
		}
	}
	for in, want := range map[string]string{"MAILTO:a@b.example": "mailto", "data:,x": "data", "file:///a": "file", "http:a": "http"} {
		if got, err := argument.Scheme(in); got != want || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestRegistrableIsBelowAPublicSuffix(t *testing.T) {
	for in, want := range map[string]string{
		"a.b.example.com": "example.com", "example.co.uk": "example.co.uk", "x.example.co.uk": "example.co.uk", "me.github.io": "me.github.io",
		"a.me.github.io": "me.github.io", "xn--bcher-kva.de": "xn--bcher-kva.de", "a.b.internal": "b.internal",
		"com": "", "co.uk": "", "github.io": "", "localhost": "", "127.0.0.1": "", "::1": "",
	} {
		if got, err := argument.Registrable(in); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

// What an error says is read by the agent's operator and kept: it holds no text
// of the argument.
func TestErrorsHoldNoText(t *testing.T) {
	const secret = "hunter2"
	for _, in := range []string{secret, "http://" + secret + ":x@a@b/", "http://" + secret + "%2e", "/../" + secret, secret + "\x00", "a@" + secret + "%", "ftp:" + secret, "https://" + secret} {
		for name, f := range readers() {
			if err := f(in); err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s of %q: %v", name, in, err)
			}
		}
	}
}

// readers is every function of the package, for what holds of all of them.
func readers() map[string]func(string) error {
	return map[string]func(string) error{
		"host":   func(s string) error { _, err := argument.Host(s); return err },
		"scheme": func(s string) error { _, err := argument.Scheme(s); return err },
		"url":    func(s string) error { _, err := argument.ParseURL(s); return err },
		"path":   func(s string) error { _, err := argument.Path(s); return err },
		"uri":    func(s string) error { _, err := argument.URIPath(s); return err },
		"emails": func(s string) error { _, err := argument.EmailDomains(s); return err },
		"sql":    func(s string) error { _, err := argument.ClassifySQL(s); return err },
		"registrable": func(s string) error {
			_, err := argument.Registrable(s)
			return err
		},
	}
}

func TestLongTextIsRefused(t *testing.T) {
	for name, f := range readers() {
		if err := f("a" + strings.Repeat("/a", argument.MaxText)); err == nil && name != "registrable" {
			t.Errorf("%s reads %d bytes", name, 2*argument.MaxText+1)
		}
	}
}
