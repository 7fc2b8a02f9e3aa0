package rawjson_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"rutile/internal/rawjson"
)

func TestFoldDuplicateFollowsUnicode(t *testing.T) {
	for src, want := range map[string][2]string{ // shallow, deep
		`{"name":1,"Name":2}`:                      {"/Name", "/Name"},
		`{"name":1,"\u004eame":2}`:                 {"/Name", "/Name"},
		`{"params":1,"param\u017f":2}`:             {"/paramſ", "/paramſ"},
		`{"kind":1,"\u212aind":2}`:                 {"/\u212aind", "/\u212aind"},
		"{\"\u212aind\":1,\"Kind\":2}":             {"/Kind", "/Kind"},
		`{"ÉTÉ":1,"été":2}`:                        {"/été", "/été"},
		`{"Σ":1,"x":2,"ς":3}`:                      {"/ς", "/ς"},
		`{"straße":1,"strasse":2}`:                 {"", ""},
		`{"a":1,"b":2,"":3}`:                       {"", ""},
		`{"a":1,"aa":2}`:                           {"", ""},
		`{"a":{"b":1,"B":2}}`:                      {"", "/a/B"},
		`[{"x":[{"b":1,"B":2}]}]`:                  {"", "/0/x/0/B"},
		`{"x":{"y":{}},"z":["{",{"q":1,"Q":"{"}]}`: {"", "/z/1/Q"},
		`"{"`: {"", ""},
	} {
		v := mustParse(t, src)
		if got := [2]string{v.FoldDuplicate(false), v.FoldDuplicate(true)}; got != want {
			t.Errorf("FoldDuplicate of %s = %q, want %q", src, got, want)
		}
	}
	nested := mustParse(t, `{"x":{"A":1},"params":{"b":1,"B":2},"c":1,"C":2}`)
	if got := nested.Get("params").FoldDuplicate(true); got != "/params/B" {
		t.Errorf("pointer = %q, want it from the root", got)
	}
	if got := nested.Get("x").FoldDuplicate(true); got != "" {
		t.Errorf("FoldDuplicate of x = %q: it looked outside of x", got)
	}
}

func TestFoldDuplicateIsFoundInLargeObjects(t *testing.T) {
	for _, n := range []int{16, 17, 500} {
		var b strings.Builder
		for i := range n - 1 {
			fmt.Fprintf(&b, `"ke\u0079%d":0,`, i)
		}
		for last, want := range map[string]string{`"\u212aEY3"`: "/\u212aEY3", `"kez3"`: ""} {
			if got := mustParse(t, "{"+b.String()+last+":0}").FoldDuplicate(false); got != want {
				t.Errorf("%d keys and %s: FoldDuplicate = %q, want %q", n, last, got, want)
			}
		}
	}
}

func TestFoldsTo(t *testing.T) {
	names := []string{"name", "Path", "path", "kind", "été"}
	many := make([]string, 300, 310)
	for i := range many {
		many[i] = fmt.Sprintf("filler%d", i)
	}
	many = append(many, names...)
	for _, tt := range []struct{ src, key, name string }{
		{`{"name":1,"path":2}`, "", ""},
		{`{"Name":1}`, "Name", "name"},
		{`{"x":{"Name":1},"n\u0041me":1}`, "nAme", "name"},
		{`{"\u212aind":1}`, "\u212aind", "kind"},
		{`{"ÉTÉ":1}`, "ÉTÉ", "été"},
		{`{"Path":1,"path":2}`, "", ""}, // both are declared
		{`{"path":1,"PATH":2}`, "PATH", "Path"},
		{`{"names":1,"nam":2,"":3}`, "", ""},
		{`["Name"]`, "", ""},
	} {
		for _, list := range [][]string{names, many} {
			key, name, ok := mustParse(t, tt.src).FoldsTo(list...)
			if key != tt.key || name != tt.name || ok != (tt.name != "") {
				t.Errorf("FoldsTo of %s over %d names = %q, %q, %v, want %q, %q", tt.src, len(list), key, name, ok, tt.key, tt.name)
			}
		}
	}
	if _, _, ok := mustParse(t, `{"a":1}`).FoldsTo(); ok {
		t.Error("a key folds to one of no names")
	}
}

// Every pair of characters that strings.EqualFold calls equal is equal here,
// and none else, whichever of the three ways is taken.
func TestFoldingAgreesWithEqualFold(t *testing.T) {
	check := func(a, b rune) {
		want := strings.EqualFold(string(a), string(b))
		key := func(r rune) string { return string(rawjson.AppendString(nil, string(r)+"=")) }
		small := fmt.Sprintf(`{%s:0,%s:0}`, key(a), key(b))
		large := fmt.Sprintf(`{%s,%s:0,%s:0}`, filler, key(a), key(b))
		for _, src := range []string{small, large} {
			if got := mustParse(t, src).FoldDuplicate(false) != ""; got != want {
				t.Errorf("%U and %U: FoldDuplicate %v, EqualFold %v", a, b, got, want)
			}
		}
		if _, _, got := mustParse(t, "{"+key(a)+":0}").FoldsTo(string(b) + "="); got != want {
			t.Errorf("%U and %U: FoldsTo %v, EqualFold %v", a, b, got, want)
		}
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r >= 0xd800 && r <= 0xdfff {
			continue
		}
		if next := unicode.SimpleFold(r); next != r {
			check(r, next)
			check(r, r+1)
		}
	}
}

var filler = func() string {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, `,"filler%d":0`, i)
	}
	return b.String()[1:]
}()
