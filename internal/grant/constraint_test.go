package grant_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

func parse(t testing.TB, src string) grant.Constraints {
	t.Helper()
	cs, err := grant.ParseConstraints([]byte(src))
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return cs
}

func value(t testing.TB, src string) rawjson.Value {
	t.Helper()
	v, err := rawjson.Parse([]byte(src), rawjson.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return v
}

// everyOperator has one constraint of each kind, in canonical form.
const everyOperator = `[{"at":"/a","eq":{"b":[1,"x",null,true]}},{"at":"/a","in":["x",5]},{"at":"/a~1b/0/~0c","prefix":"acme/"},` +
	`{"at":"/a","glob":"*.txt"},{"at":"/a","range":[-0.5,5000]},{"at":"/a","maxLen":0},{"at":"/a","subset":[1,"two"]},` +
	`{"at":"/a","regex":"v[0-9]+"},{"at":"/a","cidr":"10.0.0.0/8"},{"at":"/a","hostIn":["*.example.com","localhost"]},` +
	`{"at":"/a","sqlClass":"read"},{"at":"/a","pathUnder":"/srv/docs"},{"at":"","jsonSchema":{"required":["a"],"type":"object"}},` +
	`{"argsDigest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}]`

func TestConstraintsRoundTrip(t *testing.T) {
	cs := parse(t, everyOperator)
	got, err := json.Marshal(cs)
	if err != nil || string(got) != everyOperator {
		t.Fatalf("marshalled %s, %v", got, err)
	}
	var again struct{ Args grant.Constraints }
	if err := json.Unmarshal([]byte(`{"Args":`+everyOperator+`}`), &again); err != nil || len(again.Args) != len(cs) {
		t.Fatalf("read again: %v", err)
	}
	for i := range cs {
		var one grant.Constraint
		src, _ := json.Marshal(cs[i])
		if err := json.Unmarshal(src, &one); err != nil || !one.Equal(cs[i]) || !again.Args[i].Equal(cs[i]) {
			t.Errorf("%s: read again as another, %v", src, err)
		}
	}
	if got, err := json.Marshal(grant.Constraints(nil)); err != nil || string(got) != "[]" {
		t.Errorf("no constraints = %s, %v", got, err)
	}
}

// Every operator has an example in the documentation, and each example is read.
func TestDocumentedConstraintsAreRead(t *testing.T) {
	doc, err := os.ReadFile("../../docs/constraints.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[grant.Operator]bool{}
	for _, m := range regexp.MustCompile("`(\\{\"(?:at|argsDigest)\".*?\\})`").FindAllStringSubmatch(string(doc), -1) {
		src := strings.Replace(m[1], "…", strings.Repeat("0", 64), 1)
		seen[parse(t, "["+src+"]")[0].Op()] = true
	}
	for _, c := range parse(t, everyOperator) {
		if !seen[c.Op()] {
			t.Errorf("docs/constraints.md has no example of %s", c.Op())
		}
	}
}

func TestConstraintsAreReadStrictly(t *testing.T) {
	long := strings.Repeat("a", 600)
	for _, tt := range []struct{ src, want string }{
		{`{}`, "must be an array"},
		{`null`, "must be an array"},
		{`[`, "invalid JSON"},
		{`[null]`, "constraint 0: must be an object"},
		{`[{"at":"/a","eq":1},{"at":"/a","equals":1}]`, `constraint 1: "equals": unknown key`},
		{`[{"at":"/a","Eq":1}]`, `"Eq": unknown key`},
		{`[{"at":"/a","max_len":1}]`, "unknown key"},
		{`[{"at":"/a","eq":1,"in":[1]}]`, `constraint 0: "in": a second operator`},
		{`[{"at":"/a","eq":1,"eq":1}]`, "duplicate key"},
		{`[{"at":"/a","eq":1,"\u0065q":1}]`, "duplicate key"},
		{`[{"at":"/a"}]`, "no operator"},
		{`[{"eq":1}]`, `"at": missing`},
		{`[{"at":1,"eq":1}]`, `"at": must be a string`},
		{`[{"at":"a","eq":1}]`, "not a JSON pointer"},
		{`[{"at":"/a~2","eq":1}]`, "not a JSON pointer"},
		{`[{"at":"/a~","eq":1}]`, "not a JSON pointer"},
		{`[{"at":"/` + long + `","eq":1}]`, "longer than"},
		{`[{"at":"","argsDigest":"sha256:00"}]`, `"at": argsDigest`},
		{`[{"argsDigest":"sha256:00"}]`, "argsDigest"},
		{`[{"argsDigest":"sha256:` + strings.Repeat("AB", 32) + `"}]`, "argsDigest"},
		{`[{"at":"/a","in":[]}]`, `"in": must be an array of 1`},
		{`[{"at":"/a","in":"x"}]`, `"in"`},
		{`[{"at":"/a","subset":[]}]`, `"subset"`},
		{`[{"at":"/a","hostIn":[]}]`, `"hostIn"`},
		{`[{"at":"/a","prefix":""}]`, `"prefix"`},
		{`[{"at":"/a","prefix":5}]`, `"prefix": must be a string`},
		{`[{"at":"/a","glob":""}]`, `"glob"`},
		{`[{"at":"/a","glob":"` + strings.Repeat("é", 129) + `"}]`, `"glob": must be 1 to 128`},
		{`[{"at":"/a","range":[2,1]}]`, `"range": the first number is greater`},
		{`[{"at":"/a","range":[1]}]`, `"range"`},
		{`[{"at":"/a","range":[1,2,3]}]`, `"range"`},
		{`[{"at":"/a","range":["1",2]}]`, `"range"`},
		{`[{"at":"/a","range":[0,1e999999999]}]`, "exponent"},
		{`[{"at":"/a","eq":{"x":[1e-99999999999999999999]}}]`, "exponent"},
		{`[{"at":"/a","maxLen":-1}]`, `"maxLen"`},
		{`[{"at":"/a","maxLen":1.5}]`, `"maxLen"`},
		{`[{"at":"/a","regex":"("}]`, `"regex": not an RE2`},
		{`[{"at":"/a","regex":"a)|(b"}]`, `"regex": not an RE2`},
		{`[{"at":"/a","regex":"(?=a)"}]`, `"regex": not an RE2`},
		{`[{"at":"/a","regex":"\\Qabc"}]`, `"regex": an RE2 expression that cannot be anchored`},
		{`[{"at":"/a","regex":"a{1000}b{1000}"}]`, `"regex": an RE2 expression of more than 1000`},
		{`[{"at":"/a","jsonSchema":{"pattern":"a{300}"}}]`, "not a JSON Schema"},
		{`[{"at":"/a","jsonSchema":{"patternProperties":{"b{300}":true}}}]`, "not a JSON Schema"},
		{`[{"at":"/a","jsonSchema":{"allOf":[` + strings.Repeat(`{"pattern":"a"},`, 16) + `{"pattern":"a"}]}}]`, "more than 16 patterns"},
		{`[{"at":"/a","jsonSchema":{"const":"` + strings.Repeat("a", 8<<10) + `"}}]`, "larger than"},
		{`[{"at":"/a","cidr":"10.0.0.1/8"}]`, `"cidr"`},
		{`[{"at":"/a","cidr":"10.0.0.1"}]`, `"cidr"`},
		{`[{"at":"/a","cidr":"::ffff:10.0.0.0/104"}]`, `"cidr"`},
		{`[{"at":"/a","cidr":"010.0.0.0/8"}]`, `"cidr"`},
		{`[{"at":"/a","hostIn":["*"]}]`, `"hostIn"`},
		{`[{"at":"/a","hostIn":["a.*.com"]}]`, `"hostIn"`},
		{`[{"at":"/a","hostIn":["Example.com"]}]`, `"hostIn"`},
		{`[{"at":"/a","hostIn":["example.com."]}]`, `"hostIn"`},
		{`[{"at":"/a","hostIn":["10.0.0.1"]}]`, `"hostIn"`},
		{`[{"at":"/a","hostIn":["münchen.example"]}]`, `"hostIn"`},
		{`[{"at":"/a","sqlClass":"write"}]`, `"sqlClass"`},
		{`[{"at":"/a","pathUnder":"/srv/../etc"}]`, `"pathUnder"`},
		{`[{"at":"/a","pathUnder":"/srv/"}]`, `"pathUnder"`},
		{`[{"at":"/a","pathUnder":""}]`, `"pathUnder"`},
		{`[{"at":"/a","jsonSchema":true}]`, `"jsonSchema"`},
		{`[{"at":"/a","jsonSchema":{"type":"nothing"}}]`, `"jsonSchema": not a JSON Schema`},
		{`[{"at":"/a","jsonSchema":{"pattern":"("}}]`, `"jsonSchema": not a JSON Schema`},
		{`[{"at":"/a","jsonSchema":{"$ref":"https://example.com/s"}}]`, `"jsonSchema": must not hold $ref`},
		{`[{"at":"/a","jsonSchema":{"properties":{"a":{"$ref":"#/$defs/a"}}}}]`, "must not hold $ref"},
		{`[{"at":"/a","jsonSchema":{"anyOf":[{"$dynamicRef":"#a"}]}}]`, "must not hold $ref"},
		{`[{"at":"/a","jsonSchema":{"$schema":"https://example.com/draft"}}]`, "not a JSON Schema"},
		{`[{"at":"/a","jsonSchema":{"$schema":"file:///etc/passwd"}}]`, "not a JSON Schema"},
		{`[` + strings.Repeat(`{"at":"/a","eq":1},`, 64) + `{"at":"/a","eq":1}]`, "at most 64"},
		{`[{"at":"/a","in":[` + strings.Repeat(`1,`, 256) + `1]}]`, `"in": must be an array of 1 to 256`},
		{`[{"at":"/a","eq":"` + strings.Repeat("a", 64<<10) + `"}]`, "too large"},
	} {
		cs, err := grant.ParseConstraints([]byte(tt.src))
		if err == nil || !strings.Contains(err.Error(), tt.want) || access.CodeOf(err) != access.CodeInvalid || cs != nil {
			t.Errorf("%.80s: %v, want an error with %q", tt.src, err, tt.want)
		}
	}
}

// The zero value came from nowhere and allows nothing.
func TestEmptyConstraintAllowsNothing(t *testing.T) {
	zero := grant.Constraints{{}}
	if zero.Match(value(t, `{"a":1}`)) == nil || zero.Validate() == nil {
		t.Error("an empty constraint matches")
	}
	if _, err := json.Marshal(zero); err == nil {
		t.Error("an empty constraint is written")
	}
	one := parse(t, `[{"at":"/a","eq":1}]`)
	if grant.Implies(one, zero) == nil || grant.Implies(zero, one) == nil || grant.Implies(zero, zero) == nil {
		t.Error("an empty constraint takes part in an implication")
	}
}

// hit is one constraint and arguments for it, those it must allow and those it
// must not.
type hit struct {
	constraint string
	allowed    []string
	refused    []string
}

func check(t *testing.T, hits []hit) {
	t.Helper()
	for _, h := range hits {
		cs := parse(t, "["+h.constraint+"]")
		for _, a := range h.allowed {
			if err := cs.Match(value(t, a)); err != nil {
				t.Errorf("%s refuses %s: %v", h.constraint, a, err)
			}
		}
		for _, a := range h.refused {
			err := cs.Match(value(t, a))
			if err == nil {
				t.Errorf("%s allows %s", h.constraint, a)
			} else if access.CodeOf(err) != access.CodeDenied || !strings.Contains(err.Error(), string(cs[0].Op())) {
				t.Errorf("%s: %v does not name the operator", h.constraint, err)
			}
		}
	}
}

// under makes arguments {"a": value} of each value.
func under(values ...string) []string {
	for i, v := range values {
		values[i] = `{"a":` + v + `}`
	}
	return values
}

func TestOperatorsOnValues(t *testing.T) {
	check(t, []hit{
		{`{"at":"/a","eq":5}`, under(`5`, `5.0`, `5e0`, `0.5e1`, `50E-1`), under(`"5"`, `6`, `5.0000000000000000000001`, `-5`, `null`, `true`, `[5]`)},
		{`{"at":"/a","eq":0}`, under(`0`, `-0`, `0e9`, `-0.0`), under(`false`, `null`, `""`, `1e-999999999`)},
		{`{"at":"/a","eq":9007199254740993}`, under(`9007199254740993`), under(`9007199254740992`, `9007199254740994`)},
		{`{"at":"/a","eq":"é"}`, under(`"é"`, `"\u00e9"`), under(`"e\u0301"`, `"É"`, `"é "`)},
		{`{"at":"/a","eq":null}`, under(`null`), append(under(`false`, `0`, `"null"`), `{}`)},
		{`{"at":"/a","eq":true}`, under(`true`), under(`"true"`, `1`, `false`)},
		{`{"at":"/a","eq":{"x":1,"y":[2]}}`, under(`{"y":[2.0],"x":1}`), under(`{"x":1,"y":[2],"z":3}`, `{"X":1,"y":[2]}`, `[1,2]`)},
		{`{"at":"/a","in":["x",1]}`, under(`"x"`, `1.0`), under(`"1"`, `"X"`, `["x"]`)},
		{`{"at":"/a","prefix":"acme/"}`, under(`"acme/x"`, `"acme\/x"`, `"acme/"`), under(`"acme"`, `"Acme/x"`, `"xacme/"`, `["acme/x"]`, `1`)},
		{`{"at":"/a","glob":"a*b*c"}`, under(`"abc"`, `"a-b-c"`, `"abbcc"`, `"a\nb\u0000c"`), under(`"ab"`, `"ac"`, `"acb"`, `"abcd"`, `"Abc"`)},
		{`{"at":"/a","glob":"aa*aa"}`, under(`"aaaa"`), under(`"aaa"`)},
		{`{"at":"/a","glob":"a?[b]"}`, under(`"a?[b]"`), under(`"axb"`)},
		{`{"at":"/a","range":[0,5000]}`, under(`0`, `-0`, `5000`, `5e3`, `5000.000`, `1e-999`, `0.1`), under(`"5"`, `-1e-9`, `5000.0000000000000000000001`,
			`1e999999999`, `-1e999999999`, `1e-999999999`, `1e5000`, `null`, `true`, `[1]`)},
		{`{"at":"/a","range":[0.5,10]}`, under(`0.5`, `0.50`, `5e-1`, `9.99`), under(`0.05`, `0.005`, `0.49`, `1e-9`, `10.01`, `1e2`)},
		{`{"at":"/a","range":[-2.5,-0.1]}`, under(`-2.5`, `-1`, `-0.1`), under(`-2.51`, `-0.09`, `0`, `1`)},
		{`{"at":"/a","maxLen":2}`, under(`""`, `"é"`, `"\u00e9"`, `"ab"`), under(`"abc"`, `"éa"`, `"日"`, `1`, `[]`, `null`)},
		{`{"at":"/a","subset":["x",1]}`, under(`[]`, `["x"]`, `[1.0,"x",1]`), under(`["y"]`, `[["x"]]`, `"x"`, `{}`, `["x","1"]`)},
		{`{"at":"/a","regex":"v[0-9]+|x"}`, under(`"v1"`, `"x"`), under(`"v1\n"`, `"av1"`, `"v1x"`, `"xx"`, `"V1"`, `1`)},
		{`{"at":"/a","regex":"(?m)^a$"}`, under(`"a"`), under(`"b\na"`, `"a\n"`)},
		{`{"at":"/a","regex":"a*"}`, under(`"` + strings.Repeat("a", 4<<10) + `"`), under(`"` + strings.Repeat("a", 4<<10+1) + `"`)},
		{`{"at":"/a","cidr":"10.0.0.0/8"}`, under(`"10.1.2.3"`, `"10.0.0.0/8"`, `"10.128.0.0/9"`), under(`"11.0.0.0"`, `"0.0.0.0/0"`, `"10.0.0.1/9"`, `"10.1.2"`,
			`"010.1.2.3"`, `"0x0a.1.2.3"`, `"167772161"`, `"::ffff:10.1.2.3"`, `"10.1.2.3 "`, `"10.1.2.3:80"`, `"10.1.2.3,11.0.0.0"`, `167772161`)},
		{`{"at":"/a","cidr":"::/0"}`, under(`"::1"`), under(`"::ffff:10.1.2.3"`, `"::ffff:10.0.0.0/104"`, `"::1%lo"`)},
		{`{"at":"/a","cidr":"fd00::/8"}`, under(`"fd12::1"`, `"FD12::1"`, `"fd00::/16"`), under(`"fe80::1"`, `"fd12::1%eth0"`, `"[fd12::1]"`, `"10.0.0.1"`)},
		{`{"at":"/a","jsonSchema":{"pattern":"^a*$"}}`, under(`"aa"`, `1`), under(`"ab"`, `"`+strings.Repeat("a", 16<<10)+`"`)},
		{`{"at":"/a","jsonSchema":{"type":"integer","multipleOf":5,"maximum":9007199254740995}}`, under(`5`, `5.0`, `9007199254740995`),
			under(`6`, `"5"`, `9007199254741000`, `1e999999999`, `5.000000000000000000001`)},
	})
}

func TestPointersAreFollowedExactly(t *testing.T) {
	check(t, []hit{
		{`{"at":"/path","eq":"x"}`, []string{`{"path":"x"}`, `{"p\u0061th":"x","other":1}`}, []string{`{}`, `[]`, `"x"`, `{"Path":"x"}`, `{"path":"x","Path":"y"}`,
			`{"path":"x","PATH":"x"}`, `{"args":{"path":"x"}}`, `{"path ":"x"}`}},
		{`{"at":"/kind","eq":"x"}`, []string{`{"kind":"x"}`}, []string{"{\"kind\":\"x\",\"\u212aind\":\"y\"}"}},
		{`{"at":"/a/b","eq":1}`, []string{`{"a":{"b":1},"A_":1}`}, []string{`{"a":{"b":1,"B":2}}`, `{"a":{"b":1},"A":{"b":2}}`, `{"a/b":1}`, `{"a":"b"}`, `{"a":null}`}},
		{`{"at":"/a/0","eq":1}`, []string{`{"a":[1,2]}`, `{"a":{"0":1}}`}, []string{`{"a":[]}`, `{"a":[2,1]}`}},
		{`{"at":"/a/1","eq":1}`, []string{`{"a":[2,1]}`}, []string{`{"a":[1]}`}},
		{`{"at":"/a/01","eq":1}`, []string{`{"a":{"01":1}}`}, []string{`{"a":[1,1]}`}},
		{`{"at":"/a/-","eq":1}`, nil, []string{`{"a":[1]}`}},
		{`{"at":"/a~1b~0c","eq":1}`, []string{`{"a/b~c":1}`}, []string{`{"a":{"b~c":1}}`}},
		{`{"at":"/~01","eq":1}`, []string{`{"~1":1}`}, []string{`{"/":1}`}},
		{`{"at":"/","eq":1}`, []string{`{"":1}`}, []string{`{"/":1}`, `1`}},
		{`{"at":"","jsonSchema":{"additionalProperties":false,"properties":{"a":{"type":"string"}}}}`, []string{`{"a":"x"}`, `{}`},
			[]string{`{"a":"x","b":1}`, `{"a":1}`, `{"A":"x"}`}},
		{`{"at":"","jsonSchema":{"properties":{"a":{"const":1}}}}`, []string{`{"a":1,"b":1}`}, []string{`{"a":1,"A":2}`, `{"a":1,"b":[{"c":1,"C":2}]}`}},
	})
	if parse(t, `[{"at":"","eq":{}}]`).Match(rawjson.Value{}) == nil {
		t.Error("no arguments equal an empty object")
	}
}

func TestMatchErrorsHoldNoValue(t *testing.T) {
	args := value(t, `{"a":"sesame","\u001bkey":"sesame"}`)
	for _, src := range []string{`{"at":"/a","eq":"hunter2"}`, `{"at":"/a","regex":"hunter2"}`, `{"at":"/a/sub","eq":1}`, `{"at":"/\u001bkey","eq":"hunter2"}`} {
		err := parse(t, "["+src+"]").Match(args)
		if err == nil || strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func TestArgsDigest(t *testing.T) {
	base := grant.ArgsDigest(value(t, `{"a":5,"b":{"c":"é","d":[1,2]}}`))
	cs := parse(t, `[{"argsDigest":"`+base+`"}]`)
	for _, same := range []string{`{"b":{"d":[1.0,2e0],"c":"\u00e9"},"a":5.0}`, ` { "a" : 5 , "b" : {"c":"é","d":[1,2]} } `} {
		if got := grant.ArgsDigest(value(t, same)); got != base || cs.Match(value(t, same)) != nil {
			t.Errorf("%s has another digest", same)
		}
	}
	for _, other := range []string{`{"a":5,"b":{"c":"é","d":[2,1]}}`, `{"a":"5","b":{"c":"é","d":[1,2]}}`, `{"A":5,"b":{"c":"é","d":[1,2]}}`,
		`{"a":5,"b":{"c":"e\u0301","d":[1,2]}}`, `{"a":5,"b":{"c":"é","d":[1,2]},"e":null}`, `{}`} {
		if grant.ArgsDigest(value(t, other)) == base || cs.Match(value(t, other)) == nil {
			t.Errorf("%s has the same digest", other)
		}
	}
	if grant.ArgsDigest(rawjson.Value{}) == grant.ArgsDigest(value(t, `{}`)) || cs.Match(rawjson.Value{}) == nil {
		t.Error("no arguments have a digest of others")
	}
}
