package grant_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
)

// The table of access.md 3.4, row by row: what a parent accepts of a child, and
// what it refuses.
func TestImpliesKeepsToTheTable(t *testing.T) {
	for _, tt := range []struct {
		parent           string
		accepts, refuses []string
	}{
		{`"eq":5`, []string{`"eq":5.0`}, []string{`"eq":6`, `"eq":"5"`, `"in":[5]`, `"range":[5,5]`, `"jsonSchema":{"const":5}`}},
		{`"in":["x","y",1]`, []string{`"eq":"x"`, `"in":["y",1.0]`, `"in":["x","y",1]`}, []string{`"eq":"z"`, `"in":["x","z"]`, `"glob":"x"`, `"prefix":"x"`, `"subset":["x"]`}},
		{`"prefix":"acme/"`, []string{`"eq":"acme/a"`, `"in":["acme/a","acme/"]`, `"prefix":"acme/x"`, `"glob":"acme/*"`, `"glob":"acme/"`},
			[]string{`"eq":"acme"`, `"in":["acme/a","b"]`, `"prefix":"acme"`, `"glob":"acme*"`, `"glob":"*acme/*"`, `"regex":"acme/.*"`, `"pathUnder":"acme"`, `"eq":["acme/"]`}},
		{`"glob":"a*b*"`, []string{`"eq":"ab"`, `"in":["ab","axbx"]`, `"prefix":"ab"`, `"prefix":"a*b"`, `"glob":"a*b*"`, `"glob":"a*b"`, `"glob":"ab"`, `"glob":"a*x*b*y"`, `"glob":"ab**"`},
			[]string{`"eq":"a"`, `"in":["ab","b"]`, `"prefix":"a"`, `"glob":"*"`, `"glob":"a*"`, `"glob":"*a*b*"`, `"regex":"ab"`}},
		{`"range":[0,5]`, []string{`"eq":5.0`, `"in":[0,-0,2.5]`, `"range":[0,5e0]`, `"range":[1,4]`}, []string{`"eq":6`, `"eq":"5"`, `"in":[0,6]`, `"range":[0,5.0000000000000000001]`,
			`"range":[-1,2]`, `"jsonSchema":{"maximum":5,"minimum":0}`}},
		{`"maxLen":3`, []string{`"maxLen":3`, `"maxLen":0`, `"eq":"abc"`, `"in":["a",""]`}, []string{`"maxLen":4`, `"eq":"abcd"`, `"eq":"éé"`, `"glob":"abc"`, `"eq":1`}},
		{`"subset":["x","y"]`, []string{`"subset":["y"]`, `"eq":["x","x"]`, `"eq":[]`}, []string{`"subset":["x","z"]`, `"eq":["z"]`, `"eq":"x"`, `"in":[["x"]]`, `"in":["x"]`}},
		{`"regex":"a+"`, []string{`"regex":"a+"`, `"eq":"aa"`, `"in":["a","aaa"]`}, []string{`"regex":"a"`, `"regex":"(a+)"`, `"eq":"b"`, `"in":["a","b"]`, `"glob":"a"`}},
		{`"cidr":"10.0.0.0/8"`, []string{`"cidr":"10.1.0.0/16"`, `"cidr":"10.0.0.0/8"`, `"eq":"10.1.2.3"`, `"in":["10.0.0.1","10.2.0.0/16"]`},
			[]string{`"cidr":"0.0.0.0/0"`, `"cidr":"11.0.0.0/16"`, `"cidr":"fd00::/8"`, `"eq":"11.0.0.1"`, `"prefix":"10."`}},
		{`"hostIn":["a.example","*.b.example"]`, []string{`"hostIn":["a.example"]`, `"hostIn":["x.b.example","*.b.example","*.y.b.example"]`, `"eq":"https://x.b.example/"`, `"in":["a.example"]`},
			[]string{`"hostIn":["b.example"]`, `"hostIn":["*.a.example"]`, `"hostIn":["a.example","c.example"]`, `"hostIn":["*.xb.example"]`, `"eq":"b.example"`, `"glob":"a.example"`}},
		{`"hostIn":["*.b.example"]`, []string{`"hostIn":["*.c.b.example"]`}, []string{`"hostIn":["*.example"]`}},
		{`"sqlClass":"dml"`, []string{`"sqlClass":"read"`, `"sqlClass":"dml"`}, []string{`"sqlClass":"ddl"`, `"eq":"SELECT 1"`, `"in":["SELECT 1"]`}},
		{`"pathUnder":"/srv"`, []string{`"pathUnder":"/srv"`, `"pathUnder":"/srv/a"`, `"eq":"/srv/a"`, `"in":["/srv","/srv/b"]`},
			[]string{`"pathUnder":"/"`, `"pathUnder":"/srvx"`, `"eq":"/srv/../etc"`, `"in":["/srv","/etc"]`, `"prefix":"/srv/"`, `"glob":"/srv/*"`}},
		{`"pathUnder":"/"`, []string{`"pathUnder":"/srv"`, `"pathUnder":"/"`}, []string{`"pathUnder":"srv"`}},
		{`"jsonSchema":{"type":"string"}`, []string{`"jsonSchema":{ "type" : "string" }`, `"eq":"x"`, `"in":["x","y"]`}, []string{`"jsonSchema":{"const":"x"}`, `"eq":1`, `"in":["x",1]`, `"prefix":"x"`}},
	} {
		parent := parse(t, `[{"at":"/a",`+tt.parent+`}]`)
		for _, c := range tt.accepts {
			if err := grant.Implies(parent, parse(t, `[{"at":"/b","eq":0},{"at":"/a",`+c+`}]`)); err != nil {
				t.Errorf("%s refuses %s: %v", tt.parent, c, err)
			}
			if grant.Implies(parent, parse(t, `[{"at":"/b",`+c+`}]`)) == nil {
				t.Errorf("%s accepts %s on another pointer", tt.parent, c)
			}
		}
		for _, c := range append(tt.refuses, `"argsDigest"`) {
			child := `[{"at":"/a",` + c + `}]`
			if c == `"argsDigest"` {
				child = `[{"argsDigest":"sha256:` + strings.Repeat("0", 64) + `"}]`
			}
			err := grant.Implies(parent, parse(t, child))
			if err == nil || access.CodeOf(err) != access.CodeDenied || !strings.Contains(err.Error(), `constraint 0 of the parent`) {
				t.Errorf("%s and %s: %v", tt.parent, c, err)
			}
		}
		if grant.Implies(parent, nil) == nil {
			t.Errorf("%s accepts an unconstrained child", tt.parent)
		}
		if err := grant.Implies(nil, parent); err != nil {
			t.Errorf("an unconstrained parent refuses %s: %v", tt.parent, err)
		}
	}
}

func TestImpliesWantsEachParentConstraintImplied(t *testing.T) {
	parent := parse(t, `[{"at":"/a","prefix":"x"},{"at":"/b","range":[0,9]},{"at":"/a","maxLen":5}]`)
	if err := grant.Implies(parent, parse(t, `[{"at":"/b","eq":1},{"at":"/a","eq":"xyz"}]`)); err != nil {
		t.Errorf("one value implies two constraints: %v", err)
	}
	err := grant.Implies(parent, parse(t, `[{"at":"/b","eq":1},{"at":"/a","prefix":"xy"}]`))
	if err == nil || !strings.Contains(err.Error(), `constraint 2 of the parent, maxLen at "/a"`) {
		t.Errorf("maxLen is not implied: %v", err)
	}
}

func TestImpliesOfDigests(t *testing.T) {
	args := value(t, `{"a":1}`)
	one, other := `[{"argsDigest":"`+grant.ArgsDigest(args)+`"}]`, `[{"argsDigest":"sha256:`+strings.Repeat("0", 64)+`"}]`
	parent := parse(t, `[{"at":"/a","range":[0,5]}]`)
	if err := grant.Implies(parse(t, one), parse(t, one)); err != nil {
		t.Errorf("the same digest: %v", err)
	}
	if grant.Implies(parse(t, one), parse(t, other)) == nil || grant.Implies(parent, parse(t, one)) == nil ||
		grant.Implies(parse(t, one), parse(t, `[{"at":"","eq":{"a":1}}]`)) == nil {
		t.Error("a digest is implied by something else, or implies it")
	}
	if err := grant.ImpliesCall(parent, args); err != nil {
		t.Errorf("the call itself: %v", err)
	}
	if grant.ImpliesCall(parent, value(t, `{"a":6}`)) == nil {
		t.Error("a call the parent forbids")
	}
}
