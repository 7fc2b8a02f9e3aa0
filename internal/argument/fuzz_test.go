package argument_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"rutile/internal/argument"
)

func FuzzHost(f *testing.F) {
	f.Add("example.com.")
	f.Add("аpple.com")
	f.Add("[::ffff:127.0.0.1]")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := argument.Host(s)
		if err != nil {
			return
		}
		if got == "" || got != strings.ToLower(got) || strings.ContainsAny(got, "@/\\ %?#") || strings.HasSuffix(got, ".") {
			t.Errorf("%q: %q", s, got)
		}
		if strings.Contains(got, ":") {
			got = "[" + got + "]"
		}
		if again, err := argument.Host(got); err != nil || again != strings.Trim(got, "[]") {
			t.Errorf("%q: %q has the form %q, %v", s, got, again, err)
		}
	})
}

func FuzzURL(f *testing.F) {
	f.Add("https://user:x@a.example:1/p?q#f")
	f.Add("http://a.example#@b.example/")
	f.Add("http://a.example\\@b.example/")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := argument.ParseURL(s)
		if err != nil {
			return
		}
		if scheme, err := argument.Scheme(s); err != nil || scheme != u.Scheme {
			t.Errorf("%q: scheme %q, %v", s, scheme, err)
		}
		// Another reader, if it takes the URL, goes to the same host.
		if other, err := url.Parse(s); err == nil && strings.IndexFunc(other.Host, func(r rune) bool { return r > 0x7f }) < 0 {
			if host := strings.ToLower(strings.TrimSuffix(other.Hostname(), ".")); !strings.Contains(host, ":") && host != u.Host {
				t.Errorf("%q: host %q, and %q to net/url", s, u.Host, host)
			}
		}
		if p, err := u.Port(); err == nil && (p < 1 || p > 65535) {
			t.Errorf("%q: port %d", s, p)
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("/a/../b")
	f.Add("file:///a%20b")
	f.Fuzz(func(t *testing.T, s string) {
		for _, read := range []func(string) (string, error){argument.Path, argument.URIPath} {
			got, err := read(s)
			if err != nil {
				continue
			}
			parts := strings.Split(strings.TrimPrefix(got, "/"), "/")
			if got != "/" && (slices.Contains(parts, "") || slices.Contains(parts, "..") || got != "." && slices.Contains(parts, ".")) || strings.ContainsAny(got, "\\\x00") {
				t.Errorf("%q: %q", s, got)
			}
		}
	})
}

func FuzzEmailDomains(f *testing.F) {
	f.Add(`"Doe, Jane" <jane@x.example>, bob@y.example`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := argument.EmailDomains(s)
		if err == nil && (len(got) == 0 || len(got) > strings.Count(s, "@") || slices.Contains(got, "")) {
			t.Errorf("%q: %q", s, got)
		}
	})
}
