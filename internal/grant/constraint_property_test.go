package grant_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// pools holds values of each sort, so that constraints and arguments of one sort
// often meet.
var pools = [][]string{
	quoted("", "a", "ab", "abb", "b", "ba", "bab", "aab", "é", "a*b", "acme/x"),
	{`0`, `-0`, `1`, `1.0`, `2.5`, `25e-1`, `3`, `-1`, `1e2`, `100`, `1e-5`, `9007199254740993`, `1e999999999`},
	{`[]`, `["a"]`, `["a","b"]`, `[1,"a"]`, `[1.0]`, `[["a"]]`, `{"x":1}`, `null`, `true`},
	quoted("10.0.0.1", "10.1.0.0/16", "10.0.0.0/8", "11.0.0.1", "10.1.2.3/16", "fd00::1", "::ffff:10.0.0.1"),
	quoted("b.example", "x.b.example", "https://x.b.example/p", "y.x.b.example:80", "c.example", "https://u@x.b.example", "X.B.EXAMPLE"),
	quoted("/srv", "/srv/a", "/srv/a/b", "/srv/../etc", "/srvx", "/", "srv/a", "/srv/a/"),
	quoted("SELECT 1", "SELECT 1 FOR UPDATE", "DELETE FROM t", "DROP TABLE t", "SELECT f(1)", "SELECT 1; SELECT 2"),
}

// operands holds, by sort, operators with their operands.
var operands = [][]string{
	{`"prefix":"a"`, `"prefix":"ab"`, `"prefix":"acme/"`, `"glob":"a*"`, `"glob":"*b"`, `"glob":"a*b"`, `"glob":"ab*"`, `"glob":"*"`, `"maxLen":1`, `"maxLen":2`, `"maxLen":3`,
		`"regex":"a*b*"`, `"regex":"[ab]+"`, `"jsonSchema":{"type":"string","maxLength":2}`},
	{`"range":[0,3]`, `"range":[1,2.5]`, `"range":[-1,100]`, `"range":[1,1.0]`, `"range":[0,9007199254740993]`, `"jsonSchema":{"type":"integer"}`, `"jsonSchema":{"minimum":1}`},
	{`"subset":["a"]`, `"subset":["a","b",1]`, `"subset":[1,"a"]`, `"subset":[["a"],null]`, `"jsonSchema":{"type":["array","object"]}`},
	{`"cidr":"10.0.0.0/8"`, `"cidr":"10.1.0.0/16"`, `"cidr":"0.0.0.0/0"`, `"cidr":"10.0.0.1/32"`, `"cidr":"fd00::/8"`},
	{`"hostIn":["b.example"]`, `"hostIn":["*.b.example"]`, `"hostIn":["*.b.example","b.example"]`, `"hostIn":["x.b.example","y.x.b.example"]`, `"hostIn":["*.x.b.example","c.example"]`},
	{`"pathUnder":"/"`, `"pathUnder":"/srv"`, `"pathUnder":"/srv/a"`, `"pathUnder":"srv"`},
	{`"sqlClass":"read"`, `"sqlClass":"dml"`, `"sqlClass":"ddl"`},
}

func quoted(values ...string) []string {
	for i, v := range values {
		q, _ := json.Marshal(v)
		values[i] = string(q)
	}
	return values
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// randomGlob is short and over few letters, so that inclusions are frequent.
func randomGlob(r *rand.Rand) string {
	b := make([]byte, 1+r.IntN(4))
	for i := range b {
		b[i] = "ab**"[r.IntN(4)]
	}
	return string(b)
}

// randomConstraint is one on pointer at about values of the sort.
func randomConstraint(r *rand.Rand, at string, sort int) string {
	var body string
	bounded := slices.DeleteFunc(slices.Clone(pools[sort]), func(v string) bool { return v == `1e999999999` })
	switch n := r.IntN(10); {
	case n < 2:
		body = `"eq":` + pick(r, bounded)
	case n < 4:
		set := []string{pick(r, bounded)}
		for range r.IntN(4) {
			set = append(set, pick(r, bounded))
		}
		body = `"in":[` + strings.Join(set, ",") + `]`
	case n < 6 && sort == 0:
		body = `"glob":"` + randomGlob(r) + `"`
	default:
		body = pick(r, operands[sort])
	}
	return `{"at":"` + at + `",` + body + `}`
}

// If the check accepts and the child allows the call, the parent allows it.
func TestChildImpliesParent(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	accepted, met := map[grant.Operator]int{}, map[grant.Operator]int{}
	refusedByChild := 0
	rounds := 60_000
	if testing.Short() {
		rounds = 20_000
	}
	for range rounds {
		a, b := max(0, r.IntN(len(pools)+4)-4), r.IntN(len(pools)) // text has most operators
		parentSrc := "[" + randomConstraint(r, "/a", a)
		if r.IntN(3) == 0 {
			parentSrc += "," + randomConstraint(r, "/b/0", b)
		}
		childSrc := "[" + randomConstraint(r, "/a", a) + "," + randomConstraint(r, "/b/0", b)
		if r.IntN(3) == 0 {
			childSrc += "," + randomConstraint(r, "/a", a)
		}
		parent, child := parse(t, parentSrc+"]"), parse(t, childSrc+"]")
		if grant.Implies(parent, child) != nil {
			continue
		}
		accepted[parent[0].Op()]++
		for range 8 {
			at := pick(r, pools[a])
			if child[0].Op() == grant.OpEq && r.IntN(2) == 0 { // or it is seldom met
				at = string(child[0].Operand())
			}
			src := fmt.Sprintf(`{"a":%s,"b":[%s]}`, at, pick(r, pools[b]))
			args := value(t, src)
			if child.Match(args) != nil {
				refusedByChild++
				continue
			}
			met[parent[0].Op()]++
			if err := parent.Match(args); err != nil {
				t.Fatalf("parent %s accepts child %s, which allows %s: %v", parentSrc, childSrc, src, err)
			}
		}
	}
	for _, op := range []grant.Operator{grant.OpEq, grant.OpIn, grant.OpPrefix, grant.OpGlob, grant.OpRange, grant.OpMaxLen, grant.OpSubset, grant.OpRegex, grant.OpCIDR,
		grant.OpHostIn, grant.OpSQLClass, grant.OpPathUnder, grant.OpJSONSchema} {
		if accepted[op] < 20 || met[op] < 20 {
			t.Errorf("%s: %d children accepted, %d calls met: the test shows nothing", op, accepted[op], met[op])
		}
	}
	if refusedByChild < rounds/10 {
		t.Errorf("children refused only %d calls", refusedByChild)
	}
	t.Logf("accepted %v, met %v, refused by the child %d", accepted, met, refusedByChild)
}

// Inclusion of globs and prefixes is exact: against all texts over the letters
// of the patterns, the star and one letter more, up to a length at which a text
// outside shows.
func TestGlobInclusionAgreesWithBruteForce(t *testing.T) {
	texts, level := []string{""}, []string{""}
	for range 5 {
		var next []string
		for _, s := range level {
			for _, c := range []string{"a", "b", "c", "*"} {
				next = append(next, s+c)
			}
		}
		level = next
		texts = append(texts, level...)
	}
	values := make([]rawjson.Value, len(texts))
	for i, s := range texts {
		values[i] = value(t, `{"a":"`+s+`"}`)
	}
	r := rand.New(rand.NewPCG(1, 2))
	cache := map[string][]bool{}
	language := func(body string) []bool {
		if cache[body] == nil {
			cs := parse(t, `[{"at":"/a",`+body+`}]`)
			for _, v := range values {
				cache[body] = append(cache[body], cs.Match(v) == nil)
			}
		}
		return cache[body]
	}
	included, other := 0, 0
	for range 3000 {
		outer, inner := `"glob":"`+randomGlob(r)+`"`, `"glob":"`+randomGlob(r)+`"`
		if r.IntN(4) == 0 {
			inner = `"prefix":"` + randomGlob(r) + `"`
		}
		inside := true
		big := language(outer)
		for i, in := range language(inner) {
			inside = inside && (!in || big[i])
		}
		got := grant.Implies(parse(t, `[{"at":"/a",`+outer+`}]`), parse(t, `[{"at":"/a",`+inner+`}]`)) == nil
		if got != inside {
			t.Fatalf("%s inside %s: %v, by brute force %v", inner, outer, got, inside)
		}
		if got {
			included++
		} else {
			other++
		}
	}
	if included < 300 || other < 300 {
		t.Errorf("%d inside, %d not: the test shows nothing", included, other)
	}
	t.Logf("%d inside, %d not", included, other)
}

// A pattern built to make a matcher backtrack is matched and compared at once.
func TestGlobsDoNotBacktrack(t *testing.T) {
	evil := strings.Repeat("a*", 63) + "b"
	cs := parse(t, `[{"at":"/a","glob":"`+evil+`"}]`)
	if cs.Match(value(t, `{"a":"`+strings.Repeat("a", 1<<20)+`"}`)) == nil {
		t.Error("a text without b matches")
	}
	if grant.Implies(cs, parse(t, `[{"at":"/a","glob":"`+strings.Repeat("a*", 64)+`"}]`)) == nil {
		t.Error("a pattern without b is inside")
	}
}
