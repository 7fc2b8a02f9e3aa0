package mcpheader_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf8"

	"rutile/internal/mcpheader"
	"rutile/internal/rawjson"
)

func TestTextOfAnArgument(t *testing.T) {
	for raw, want := range map[string]string{
		`"a b"`: "a b", `""`: "", `"é"`: "é", `42`: "42", `-7`: "-7", `42.0`: "42.0", `4.5`: "4.5", `1e400`: "1e400", `true`: "true", `false`: "false",
	} {
		v, err := rawjson.Parse([]byte(raw), rawjson.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := mcpheader.Text(v); !ok || got != want {
			t.Errorf("%s is %q, %v in a header, want %q", raw, got, ok, want)
		}
	}
	for _, raw := range []string{`null`, `[1]`, `{}`} {
		v, err := rawjson.Parse([]byte(raw), rawjson.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := mcpheader.Text(v); ok {
			t.Errorf("%s is %q in a header, and is no scalar", raw, got)
		}
	}
	if got, ok := mcpheader.Text(rawjson.Value{}); ok {
		t.Errorf("an argument that is not there is %q in a header", got)
	}
}

func TestToken(t *testing.T) {
	for s, want := range map[string]bool{"X-Region": true, "a.b_c~": true, "": false, "a b": false, "a:b": false, "é": false, "a\n": false} {
		if mcpheader.Token(s) != want {
			t.Errorf("Token(%q) is %v", s, !want)
		}
	}
}

// FuzzHeader: a value comes back as it was written, and what is read can have
// been meant in no other way.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{"greet", "file:///a", "", " a", "é", "=?base64?", "=?base64??=", "=?base64?Zmk=?=", "=?base64?Zml=?=", "=?base64?Zm k=?=", "=?BASE64?Zmk=?=", "a\tb", "\xff", "=?base64?PT9iYXNlNjQ/WQ==?="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) {
			h := mcpheader.Encode(s)
			if got, ok := mcpheader.Decode(h); !ok || got != s || strings.ContainsAny(h, "\r\n\x00") {
				t.Fatalf("%q was written as %q and read as %q, %v", s, h, got, ok)
			}
		}
		got, ok := mcpheader.Decode(s)
		if !ok {
			return
		}
		trimmed := strings.Trim(s, " \t")
		marked := encoded(trimmed)
		if !utf8.ValidString(got) || got != trimmed && !marked {
			t.Fatalf("%q was read as %q", s, got)
		}
		if marked && encodedAs(got) != trimmed {
			t.Fatalf("%q is a second way to write %q", s, got)
		}
	})
}

func encoded(s string) bool {
	rest, ok := strings.CutPrefix(s, "=?base64?")
	return ok && strings.HasSuffix(rest, "?=")
}

func encodedAs(s string) string {
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}
