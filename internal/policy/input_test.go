package policy_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// holds reports what a condition on the arguments of one tool comes to: true,
// false or an error.
func holds(t *testing.T, schema, condition, arguments string) string {
	t.Helper()
	c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}, Tools: []policy.ToolInfo{{Server: "s", Name: "t", InputSchema: []byte(schema)}}}
	set, _, err := policy.Load([]policy.Policy{{ID: "p", Cedar: `permit (principal, action == Mcp::Action::"s/t", resource) when { ` + condition + ` };`}}, c)
	if err != nil {
		t.Fatal(err)
	}
	v := set.Evaluate(query(t, "bot", "s", "t", arguments))
	switch {
	case len(v.Errors) > 0:
		return "error"
	case v.Outcome == access.Permit:
		return "true"
	}
	return "false"
}

func TestArgumentsKeepTheirExactValue(t *testing.T) {
	typed := `{"type":"object","properties":{"d":{"type":"number"},"i":{"type":"integer"},"l":{"type":"array","items":{"type":"number"}},"o":{"type":"object","properties":{"d":{"type":"number"}}}}}`
	for _, tt := range []struct{ schema, condition, arguments, want string }{
		// A number is its value, however it is written.
		{``, `context.input.n == 5`, `{"n":5}`, "true"},
		{``, `context.input.n == 5`, `{"n":5.0}`, "true"},
		{``, `context.input.n == 5`, `{"n":0.5e1}`, "true"},
		{``, `context.input.n == 5`, `{"n":50000E-4}`, "true"},
		{``, `context.input.n == decimal("5.5")`, `{"n":5.50}`, "true"},
		{``, `context.input.n == -5`, `{"n":-5}`, "true"},
		{``, `context.input.n == 0`, `{"n":-0}`, "true"},
		{``, `context.input.n == 0`, `{"n":-0.0}`, "true"},
		{``, `context.input.n == decimal("0.0001")`, `{"n":1e-4}`, "true"},
		{``, `context.input.n == decimal("0.0001")`, `{"n":0.00010000000000}`, "true"},
		{``, `context.input.n == decimal("-12.5")`, `{"n":-125E-1}`, "true"},
		{``, `context.input.n == 1200`, `{"n":1.2e3}`, "true"},
		{``, `context.input.n == decimal("922337203685477.5807")`, `{"n":922337203685477.5807}`, "true"},
		{``, `context.input.n == decimal("-922337203685477.5808")`, `{"n":-922337203685477.5808}`, "true"},
		{``, `context.input.n == 9223372036854775807`, `{"n":9223372036854775807}`, "true"},
		// Nothing is rounded: what does not fit cannot be judged.
		{``, `context.input.n == 0`, `{"n":922337203685477.5808}`, "error"},
		{``, `context.input.n == 0`, `{"n":9223372036854775808}`, "error"},
		{``, `context.input.n == 0`, `{"n":0.00001}`, "error"},
		{``, `context.input.n == 0`, `{"n":1e1001}`, "error"},
		{``, `context.input.n == 0`, `{"n":1e-1001}`, "error"},
		{``, `context.input.n == 0`, `{"n":1e99999999999999999999}`, "error"},
		{``, `context.input.n == 0`, `{"n":[1,[2,{"x":1e-9}]]}`, "error"},
		// The schema's type wins where it can be met exactly.
		{typed, `context.input.d == decimal("5.0")`, `{"d":5}`, "true"},
		{typed, `context.input.d.lessThan(decimal("5.1"))`, `{"d":5}`, "true"},
		{typed, `context.input.i == 5`, `{"i":5.0}`, "true"},
		{typed, `context.input.i == 500`, `{"i":5e2}`, "true"},
		{typed, `context.input.i > 5`, `{"i":5.5}`, "error"},
		{typed, `context.input.l.contains(decimal("2.0"))`, `{"l":[1,2,2.5]}`, "true"},
		{typed, `context.input.o.d == decimal("2.0")`, `{"o":{"d":2}}`, "true"},
		{typed, `context.input.d > 4`, `{"d":"5"}`, "error"},
		// Null is absent, everywhere.
		{``, `context.input has n`, `{"n":null}`, "false"},
		{``, `context.input.n == 5`, `{"n":null}`, "error"},
		{``, `context.input.l == [1]`, `{"l":[1,null,1]}`, "true"},
		{``, `context.input == {}`, `{"a":null}`, "true"},
		{``, `context.input == {}`, ``, "true"},
		{``, `context.input == {}`, `null`, "true"},
		{``, `context.input == {}`, `[]`, "error"},
		{``, `context.input == {}`, `"{}"`, "error"},
		{``, `context.input == {a: [true, false], "b c": {d: "e"}}`, `{"a":[false,true,true],"b c":{"d":"e"}}`, "true"},
		// Only exact keys are read.
		{``, `context.input has path`, `{"path ":1,"p\u0061th\u0000":1}`, "false"},
		{``, `context.input.path == "a"`, `{"p\u0061th":"\u0061"}`, "true"},
		{``, `context.input.a.b.c`, `{"a":{"b":{"c":true,"d":1e-9}}}`, "true"},
		{``, `context.input.a.b.c`, `{"a":{"b":"c"}}`, "error"},
		{``, `context.input.a has b`, `{"a":[{"b":1}]}`, "error"},
		{``, `context == {input: {}}`, `{}`, "false"},
		{``, `{c: context}.c.input.n == 5`, `{"n":5}`, "true"},
	} {
		if got := holds(t, tt.schema, tt.condition, tt.arguments); got != tt.want {
			t.Errorf("%s over %s: %s, want %s", tt.condition, tt.arguments, got, tt.want)
		}
	}
}

// Many servers take "Path" for "path": a policy that looks for one errs, and so
// denies, where it finds the other. Only a schema can say that they are two.
func TestKeyInAnotherCaseEvadesNoCondition(t *testing.T) {
	two := `{"type":"object","properties":{"Path":{"type":"string"},"o":{"type":"object","properties":{"PATH":{"type":"string"},"path":{"type":"string"},"$x":{}}}}}`
	for _, tt := range []struct{ schema, condition, arguments, want string }{
		{``, `context.input has path`, `{"Path":1}`, "error"},
		{``, `context.input has path`, `{"PATH":1,"path":1}`, "error"},
		{``, `context.input has path`, `{"p\u0041th":1}`, "error"},
		{``, `context.input has kin`, `{"\u212ain":1}`, "error"},
		{``, `context.input has o && context.input.o has path`, `{"o":{"Path":1}}`, "error"},
		{``, `context.input has o && context.input.o has path`, `{"O":{"path":1}}`, "error"},
		{``, `context.input == {} && context.input has path`, `{"Path":1}`, "error"},
		{``, `context.input has o && context.input.o has path`, `{"o":{"x":1},"Path":1}`, "false"},
		{``, `context.input has x || true`, `{"Path":1}`, "true"},
		{two, `context.input has path`, `{"Path":"a"}`, "false"},
		{two, `context.input has o && context.input.o has path`, `{"o":{"PATH":"a"}}`, "false"},
		{two, `context.input has o && context.input.o has path`, `{"o":{"Path":"a"}}`, "error"},
		{two, `context.input has o && context.input.o has path`, `{"o":{"PATH":"a","$X":1}}`, "error"},
	} {
		if got := holds(t, tt.schema, tt.condition, tt.arguments); got != tt.want {
			t.Errorf("%s over %s: %s, want %s", tt.condition, tt.arguments, got, tt.want)
		}
	}
	set := compile(t, policy.Catalog{}, `permit (principal, action, resource);
forbid (principal, action, resource) when { context has input && context.input has path && context.input.path like "*/.*" };`)
	q := query(t, "bot", "s", "hello", `{"Path":"/a/.ssh"}`)
	q.Tool.Kind = access.KindPrompt
	if v := set.Evaluate(q); v.Outcome != access.Deny || len(v.Errors) != 1 {
		t.Errorf("the argument of a prompt: %+v", v)
	}
}

// In Cedar a value of another type is merely unequal. Where the schema declares a
// type, what is of another cannot be judged: its server may still take it.
func TestArgumentOfAnotherTypeMeetsNoCondition(t *testing.T) {
	const typed = `{"type":"object","properties":{"s":{"type":"string"},"d":{"type":"number"},"i":{"type":"integer"},"b":{"type":"boolean"},` +
		`"l":{"type":"array","items":{"type":"string"}},"o":{"type":"object","properties":{"s":{"type":"string"}}},"n":{"type":["string","null"]},"u":{"type":["string","integer"]}}}`
	for _, tt := range []struct{ condition, arguments, want string }{
		{`context.input.s == "all"`, `{"s":["all"]}`, "error"},
		{`context.input.s == "all"`, `{"s":{"0":"all"}}`, "error"},
		{`context.input.i == 5`, `{"i":"5"}`, "error"},
		{`context.input.i == 5`, `{"i":true}`, "error"},
		{`context.input.d == decimal("5.0")`, `{"d":"5"}`, "error"},
		{`context.input.b == true`, `{"b":"true"}`, "error"},
		{`context.input.b == true`, `{"b":1}`, "error"},
		{`context.input.l == ["x"]`, `{"l":"x"}`, "error"},
		{`context.input.l.contains("5")`, `{"l":[5]}`, "error"},
		{`context.input has o && context.input.o has s`, `{"o":"s"}`, "error"},
		{`context.input has o && context.input.o has s && context.input.o.s == "x"`, `{"o":{"s":["x"]}}`, "error"},
		{`context.input has s`, `{"s":1}`, "true"}, // it is there, whatever it is
		{`context.input has n`, `{"n":null}`, "false"},
		{`context.input.n == "x"`, `{"n":"x"}`, "true"},
		{`context.input.u == 5`, `{"u":"5"}`, "false"}, // the schema allows either
		{`context.input.s == "x"`, `{"s":"x","i":"5"}`, "true"},
	} {
		if got := holds(t, typed, tt.condition, tt.arguments); got != tt.want {
			t.Errorf("%s over %s: %s, want %s", tt.condition, tt.arguments, got, tt.want)
		}
	}
}

// A guard asks whether an argument is there. Values nobody looks at, however odd,
// must not make it err: a rule about paths would deny every call with a longitude.
func TestGuardReadsNoValue(t *testing.T) {
	const odd = `"lat":37.566535,"big":1e99,"l":[1e-9]`
	for _, tt := range []struct{ condition, arguments, want string }{
		{`context has input && context.input has path && context.input.path like "*/.*"`, `{"path":"/a/.b",` + odd + `}`, "true"},
		{`context has input && context.input has path && context.input.path like "*/.*"`, `{` + odd + `}`, "false"},
		{`context.input has lat`, `{` + odd + `}`, "true"},
		{`context.input has l && !(context.input has none)`, `{` + odd + `}`, "true"},
		{`context.input has o && context.input.o has p && context.input.o.p == "x"`, `{"o":{"p":"x",` + odd + `}}`, "true"},
		{`context.input has o && context.input.o has lat`, `{"o":{` + odd + `}}`, "true"},
		{`context.input has o && context.input.o has p`, `{"o":"p"}`, "error"},
		{`context.input has lat && context.input.lat > 3`, `{` + odd + `}`, "error"},
		{`context.input has lat && context.input == {}`, `{` + odd + `}`, "error"},
		{`context.input has lat || {i: context.input}.i has lat`, `{` + odd + `}`, "error"},
		{`context.input has lat`, `{"lat":null}`, "false"},
	} {
		if got := holds(t, "", tt.condition, tt.arguments); got != tt.want {
			t.Errorf("%s over %s: %s, want %s", tt.condition, tt.arguments, got, tt.want)
		}
	}
}

func TestArgumentsAreBounded(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40)
	wide := `{"a":[` + strings.Repeat(`1,`, 5000) + `1]}`
	for name, arguments := range map[string]string{"deep": deep, "wide": wide} {
		if got := holds(t, "", `context.input.a != 0`, arguments); got != "error" {
			t.Errorf("%s: %s", name, got)
		}
		if got := holds(t, "", `!(context.input has b)`, arguments); got != "true" {
			t.Errorf("%s, not read: %s", name, got)
		}
	}
}

// Longs and decimals share their hashes in cedar-go's sets; the bound on nodes
// keeps a list of collisions from costing seconds.
func TestCollidingListIsCheap(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"a":[`)
	for i := range 2000 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(itoa(i + 1))
	}
	for i := range 2000 {
		b.WriteString(",0." + ("0000" + itoa(i+1))[len(itoa(i+1)):])
	}
	b.WriteString(`]}`)
	start := time.Now()
	if got := holds(t, "", `context.input.a.contains(7)`, b.String()); got != "true" {
		t.Errorf("%s", got)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestSchemaTypes(t *testing.T) {
	for _, tt := range []struct{ property, condition, refused string }{
		{`{"type":"string"}`, `context.input.x like "a"`, `context.input.x > 1`},
		{`{"enum":["a","b"]}`, `context.input.x == "a"`, `context.input.x > 1`},
		{`{"type":["string","null"]}`, `context.input.x like "a"`, `context.input.x > 1`},
		{`{"type":"integer"}`, `context.input.x > 1`, `context.input.x like "a"`},
		{`{"type":"boolean"}`, `context.input.x`, `context.input.x > 1`},
		{`{"type":"array","items":{"type":"string"}}`, `context.input.x.contains("a")`, `context.input.x.contains(1) && context.input.x > 1`},
		{`{"properties":{"y":{"type":"string"}}}`, `context.input.x.y like "a"`, `context.input.x.z like "a"`},
		{`{"type":"object","properties":{"y":{"type":"string"}},"additionalProperties":false}`, `context.input.x.y like "a"`, `context.input.x.z like "a"`},
		// Without one exact type nothing is refused.
		{`{"enum":["a",1]}`, `context.input.x > 1`, ``},
		{`{"type":["string","integer"]}`, `context.input.x > 1`, ``},
		{`{"type":7}`, `context.input.x > 1`, ``},
		{`{"type":"thing"}`, `context.input.x > 1`, ``},
		{`{}`, `context.input.x > 1`, ``},
		{`true`, `context.input.x > 1`, ``},
		{`{"type":"string","anyOf":[{}]}`, `context.input.x > 1`, ``},
		{`{"type":"array","items":{}}`, `context.input.x > 1`, ``},
		{`{"type":"array","prefixItems":[{"type":"string"}]}`, `context.input.x > 1`, ``},
		{`{"type":"array","items":{"type":"object"}}`, `context.input.x > 1`, ``},
		{`{"type":"object","properties":{"y":{"type":"string"}},"additionalProperties":true}`, `context.input.x.z > 1`, ``},
		{`{"type":"object","properties":{"y":{"type":"string"}},"patternProperties":{"z":{}}}`, `context.input.x.z > 1`, ``},
	} {
		c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}, Tools: []policy.ToolInfo{{Server: "s", Name: "t",
			InputSchema: []byte(`{"type":"object","required":["x"],"properties":{"x":` + tt.property + `}}`)}}}
		check := func(condition string) policy.Problems {
			return policy.Check([]policy.Policy{{ID: "p", Cedar: `permit (principal, action == Mcp::Action::"s/t", resource) when { ` + condition + ` };`}}, c).Errors
		}
		if got := check(tt.condition); len(got) > 0 {
			t.Errorf("%s: %v", tt.property, got)
		}
		if tt.refused != "" && len(check(tt.refused)) == 0 {
			t.Errorf("%s: %s is accepted", tt.property, tt.refused)
		}
	}
}

func TestResourcesAreJudgedByURI(t *testing.T) {
	set := compile(t, policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}, AllowLists: []policy.AllowList{{Agent: "bot", Patterns: []string{"s/*"}}}},
		`forbid (principal, action == Mcp::Action::"s/resources/read", resource) unless { context.input.uri_scheme == "file" && !(context.input.uri like "*secret*") };`)
	for uri, want := range map[string]access.Outcome{"file:///a": access.Permit, "FILE:///a": access.Permit, "file:///secret": access.Deny, "http://x": access.Deny, "file": access.Deny, "": access.Deny} {
		q := query(t, "bot", "s", "", `{"uri":"file:///a"}`) // what the arguments say is not what is read
		q.Tool.Kind, q.Action, q.Target = access.KindResource, "s/resources/read", uri
		for _, q.Unknown = range []bool{false, true} { // a list knows its URIs
			if v := set.Evaluate(q); v.Outcome != want || v.Maybe {
				t.Errorf("%q, list %t: %+v", uri, q.Unknown, v)
			}
		}
	}
	q := query(t, "bot", "s", "", ``)
	q.Tool.Kind, q.Action, q.Target, q.Unknown = access.KindResource, "s/resources/read", "file:///{path}", true
	if v := set.Evaluate(q); !v.Maybe {
		t.Errorf("a template: %+v", v)
	}
}
