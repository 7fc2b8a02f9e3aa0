package argument_test

import (
	"strings"
	"testing"

	"rutile/internal/argument"
)

func TestPathHasOneForm(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "/a": "/a", "/a/": "/a", "/a//b": "/a/b", "/a/./b/.": "/a/b", "/a/../b": "/b", "/a/b/../../c": "/c", "/a/..": "/",
		"a": "a", "./a": "a", ".": ".", "a/..": ".", "a/../b/": "b", ".a": ".a", "..a": "..a", "a..": "a..", "/a/...": "/a/...",
		"/a b/ü": "/a b/ü", "/a%20b": "/a%20b", "/100%": "/100%", "/a~": "/a~", "/a:b": "/a:b", "/x/file:/y": "/x/file:/y", "ab:c": "ab:c",
	} {
		got, err := argument.Path(in)
		if got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
		if again, err := argument.Path(got); again != got || err != nil {
			t.Errorf("%q: its form %q has the form %q, %v", in, got, again, err)
		}
	}
	for _, in := range []string{
		"", "..", "../a", "/..", "/../a", "/a/../../b", "a/../../b", "./..", "/a/b/../../../c", "/./../a",
		"a\x00", "/a\x00/../b", "/a\n", "/a\tb", "/a\x7f", "/a\u0085", "\\a", "/a\\b", "/a\\..\\..\\b", "..\\a", "C:\\a", "C:/a", "c:a", "a:b/c",
		"/%2e%2e/a", "/a/%2E./b", "/a%2fb", "/a%2Fb", "/a%5cb", "/a%00", "/a%0a", "/%252e%252e/a", "/a%c0%2eb", "~", "~/a", "~root/a", "//a", "//host/share", "///a",
		"file:///a", "FILE:/a", "http://a/b", "file:a", strings.Repeat("a/", 40000),
	} {
		if got, err := argument.Path(in); err == nil {
			t.Errorf("%q: %q is accepted", in, got)
		}
	}
}

func TestURIPathIsDecodedOnce(t *testing.T) {
	for in, want := range map[string]string{
		"file:///srv/a%20b": "/srv/a b", "FILE:///a/./b/../c": "/a/c", "file://host/a": "/a", "https://h.example/a//b/?q=/../x#/../y": "/a/b",
		"memo://insights": "/", "x://h": "/", "x://h?a/b": "/", "file:///~a": "/~a", "file:///%7Ea": "/~a", "file:///%ec%97%90": "/에",
	} {
		if got, err := argument.URIPath(in); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "/a", "memo:a", "file:/a", "file:////a", "file:///C:/a", "file:///a\\b", "file:///..", "file:///a/../../b", "file:///%2e%2e/b", "file:///a%2fb", "file:///a%5Cb",
		"file:///a%00", "file:///%252e%252e", "file:///a%", "file:///a%zz", "file:///a b", "file:///a\n", "file:///%c2%85",
	} {
		if got, err := argument.URIPath(in); err == nil {
			t.Errorf("%q: %q is accepted", in, got)
		}
	}
}
