package admin_test

import (
	"encoding/json"
	"strings"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

func parsed(t *testing.T, texts ...string) (out []rawjson.Value) {
	t.Helper()
	for _, s := range texts {
		v, err := rawjson.Parse([]byte(s), rawjson.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// TestAPatternBindsEveryArgument as narrowly as what was approved is, and is none where
// one cannot be bound.
func TestAPatternBindsEveryArgument(t *testing.T) {
	for name, tt := range map[string]struct {
		calls []string
		want  string // "" is that there is none
	}{
		"a beginning":                   {[]string{`{"repo":"acme/a"}`, `{"repo":"acme/b"}`, `{"repo":"acme/b"}`}, `[{"at":"/repo","prefix":"acme/"}]`},
		"never within a word":           {[]string{`{"p":"/srv/docs/abc1"}`, `{"p":"/srv/docs/abc2"}`, `{"p":"/srv/docs/abd"}`}, `[{"at":"/p","prefix":"/srv/docs/"}]`},
		"one stays, one varies":         {[]string{`{"a":1,"b":"x"}`, `{"b":"y","a":1.0}`, `{"a":1,"b":"z"}`}, `[{"at":"/a","eq":1},{"at":"/b","in":["x","y","z"]}]`},
		"names with signs":              {[]string{`{"a/b~c":1}`, `{"a/b~c":2}`, `{"a/b~c":3}`}, `[{"at":"/a~1b~0c","in":[1,2,3]}]`},
		"an object that stays":          {[]string{`{"o":{"x":[1]},"n":1}`, `{"o":{"x":[1]},"n":2}`, `{"o":{"x":[1]},"n":1}`}, `[{"at":"/o","eq":{"x":[1]}},{"at":"/n","in":[1,2]}]`},
		"too few":                       {[]string{`{"n":1}`, `{"n":2}`}, ""},
		"always the same":               {[]string{`{"n":1}`, `{"n":1}`, `{"n":1}`}, ""},
		"too many values":               {[]string{`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`, `{"n":5}`}, ""},
		"a short beginning":             {[]string{`{"s":"a/1"}`, `{"s":"a/2"}`, `{"s":"a/3"}`, `{"s":"a/4"}`, `{"s":"a/5"}`}, ""},
		"an object that varies":         {[]string{`{"o":{"x":1}}`, `{"o":{"x":2}}`, `{"o":{"x":3}}`}, ""},
		"an argument that is not there": {[]string{`{"n":1}`, `{"n":2}`, `{}`}, ""},
		"one more argument":             {[]string{`{"n":1}`, `{"n":2}`, `{"n":3,"force":true}`}, ""},
		"another argument":              {[]string{`{"n":1}`, `{"n":2}`, `{"m":3}`}, ""},
		"no arguments":                  {[]string{`{}`, `{}`, `{}`}, ""},
	} {
		got := admin.Common(parsed(t, tt.calls...))
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if got == nil && tt.want != "" || got != nil && string(text) != tt.want {
			t.Errorf("%s: %s, want %s", name, text, tt.want)
		}
		for _, c := range parsed(t, tt.calls...) {
			if got != nil && got.Match(c) != nil {
				t.Errorf("%s: it does not cover %s", name, c.Raw())
			}
		}
	}
}

// TestAPatternIsOfWhatPeopleApproved: of the same person, within what the entitlement
// lets be asked for, and only while the request waits.
func TestAPatternIsOfWhatPeopleApproved(t *testing.T) {
	c := desk(t)
	ask := func(text, subject string) grant.Request {
		t.Helper()
		q := c.asks(grant.Rule{Quorum: 1}, 2, parsed(t, text)[0], subject)
		return q
	}
	card := func(q grant.Request) *admin.Pattern {
		t.Helper()
		got, err := c.Card(t.Context(), user("app"), q.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got.Pattern
	}
	yes := func(q grant.Request) {
		t.Helper()
		if _, err := c.Approve(t.Context(), user("app"), q.ID, grant.Answer{Method: "api"}); err != nil {
			t.Fatal(err)
		}
	}
	yes(ask(`{"path":"/srv/a"}`, "zoe"))
	yes(ask(`{"path":"/srv/b"}`, "someone-else"))
	second := ask(`{"path":"/srv/c"}`, "zoe")
	if p := card(second); p != nil {
		t.Errorf("of two, and one of another person: %+v", p)
	}
	yes(second)
	third := ask(`{"path":"/srv/d"}`, "zoe")
	p := card(third)
	if p == nil || p.Calls != 3 {
		t.Fatalf("of three: %+v", p)
	}
	if text, _ := json.Marshal(p.Args); !strings.Contains(string(text), `"prefix":"/srv/"`) {
		t.Errorf("it is %s", text)
	}
	yes(third)
	if p := card(third); p != nil {
		t.Errorf("of what is answered: %+v", p)
	}
	if p := card(ask(`{"path":"/etc/d"}`, "zoe")); p != nil && p.Calls != 4 {
		t.Errorf("of four: %+v", p)
	}
}
