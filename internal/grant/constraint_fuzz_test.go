package grant_test

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// What is read is written and read again as the same, and is implied by itself.
func FuzzParseConstraints(f *testing.F) {
	f.Add([]byte(everyOperator), []byte(`{"a":5,"b":["x"]}`))
	f.Add([]byte(`[{"at":"/a/0","range":[1e-5,5.0]},{"at":"","jsonSchema":{"items":{"$id":"x"}}}]`), []byte(`{"a":[1e999999999]}`))
	f.Add([]byte(`[{"at":"/a","regex":"(?i)\\Qx"},{"at":"/a","glob":"*a*"}]`), []byte(`{"a":"x"}`))
	f.Fuzz(func(t *testing.T, src, args []byte) {
		cs, err := grant.ParseConstraints(src)
		if err != nil {
			return
		}
		form, err := json.Marshal(cs)
		if err != nil {
			t.Fatal(err)
		}
		again, err := grant.ParseConstraints(form)
		if err != nil || len(again) != len(cs) {
			t.Fatalf("%s is read, written as %s, and not read again: %v", src, form, err)
		}
		for i := range cs {
			if !cs[i].Equal(again[i]) {
				t.Fatalf("%s is written as %s", src, form)
			}
		}
		if err := grant.Implies(cs, again); err != nil {
			t.Fatalf("%s does not imply itself: %v", form, err)
		}
		v, err := rawjson.Parse(args, rawjson.Limits{})
		if err == nil && (cs.Match(v) == nil) != (again.Match(v) == nil) {
			t.Fatalf("%s and %s differ on %s", src, form, args)
		}
	})
}

var acting = regexp.MustCompile(`(?i)\b(drop|create|alter|truncate|exec|call|grant|attach|pragma|into)\b`)

// A read or dml is one statement without comments, and outside of quotes it
// holds no word that does more.
func FuzzClassifySQL(f *testing.F) {
	for _, s := range []string{"SELECT 1", "INSERT INTO t (a) VALUES ('it''s')", `SELECT "a""b" FROM t;`, "SELECT 'a' '' ; DROP TABLE x --'", "SELECT `a`", "WITH x AS (DELETE FROM t) SELECT $1"} {
		f.Add(s)
	}
	quotes := regexp.MustCompile("'[^']*'|\"[^\"]*\"|`[^`]*`")
	f.Fuzz(func(t *testing.T, s string) {
		class := grant.ClassifySQL(s)
		if class == "ddl" {
			return
		}
		bare := quotes.ReplaceAllString(s, "''")
		if i := strings.IndexByte(bare, ';'); i >= 0 && strings.TrimSpace(bare[i+1:]) != "" {
			t.Fatalf("%q is %s and has a second statement", s, class)
		}
		if strings.Contains(bare, "--") || strings.Contains(bare, "/*") || strings.Contains(bare, `\`) {
			t.Fatalf("%q is %s and has a comment", s, class)
		}
		for _, w := range acting.FindAllString(bare, -1) {
			if class == "read" || !strings.EqualFold(w, "into") {
				t.Fatalf("%q is %s and holds %s", s, class, w)
			}
		}
	})
}

// A host that is covered is the one net/url sees, and it is below what is named.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"a.example.com", "https://a.example.com:443/x", "https://a.example.com@evil.net/", `https://evil.net\.example.com`, "https://[::1]/", "A.EXAMPLE.COM:80", "a.example.com."} {
		f.Add(s)
	}
	cs := parse(f, `[{"at":"/u","hostIn":["*.example.com"]}]`)
	f.Fuzz(func(t *testing.T, s string) {
		src := append(rawjson.AppendString([]byte(`{"u":`), s), '}')
		v, err := rawjson.Parse(src, rawjson.Limits{})
		if err != nil || cs.Match(v) != nil {
			return
		}
		if got, _ := v.Get("u").Str(); got != s { // not UTF-8: another text was judged
			return
		}
		full := s
		if !strings.Contains(s, "://") {
			full = "https://" + s
		}
		u, err := url.Parse(full)
		if err != nil || u.User != nil || !strings.HasSuffix(strings.ToLower(u.Hostname()), ".example.com") {
			t.Fatalf("%q is covered, and net/url reads %v, %v", s, u, err)
		}
	})
}
