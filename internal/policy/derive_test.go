package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/policy"
)

func TestDerivedFieldsSayWhatAnArgumentMeans(t *testing.T) {
	const typed = `{"type":"object","properties":{"url":{"type":"string"},"to":{"type":"array","items":{"type":"string"}},"path":{"type":"string"},"sum":{"type":"number"},"count":{"type":"integer"},"sql":{"type":"string"},"o":{"type":"object","properties":{"url":{"type":"string"}}}}}`
	for _, tt := range []struct{ condition, arguments, want string }{
		{`context.derived.url_host.url == "api.example.com"`, `{"url":"https://user:x@API.example.com.:8443/a"}`, "true"},
		{`context.derived.url_host.url == "good.example"`, `{"url":"https://good.example@evil.example/"}`, "false"},
		{`context.derived.url_host.url == "apple.com"`, `{"url":"https://\u0430pple.com/"}`, "false"},
		{`context.derived.url_host.url == "xn--pple-43d.com"`, `{"url":"https://\u0430pple.com/"}`, "true"},
		{`context.derived.url_host.url == "::1"`, `{"url":"http://[::1]:1/"}`, "true"},
		{`context.derived.url_registrable.url == "example.co.uk"`, `{"url":"https://a.b.example.co.uk/"}`, "true"},
		{`context.derived.url_scheme.url == "https"`, `{"url":"HTTPS://x"}`, "true"},
		{`context.derived.url_port.url == 443`, `{"url":"https://x"}`, "true"},
		{`context.derived.url_port.url == 8443`, `{"url":"https://x:8443"}`, "true"},
		{`context.derived.url_host.o.url == "x"`, `{"o":{"url":"https://x"}}`, "true"},
		{`context.derived.path_canon.path like "/srv/*"`, `{"path":"/srv/a/../b"}`, "true"},
		{`context.derived.path_canon.path like "/srv/*"`, `{"path":"/srv/../etc/passwd"}`, "false"},
		{`context.derived.sql_class.sql == "read"`, `{"sql":"select 1"}`, "true"},
		{`context.derived.sql_class.sql == "read"`, `{"sql":"select 1; drop table t"}`, "false"},
		{`["x.example"].containsAll(context.derived.email_domains.to)`, `{"to":["a@x.example","B <b@X.EXAMPLE>, c@x.example"]}`, "true"},
		{`["x.example"].containsAll(context.derived.email_domains.to)`, `{"to":["a@x.example, b@y.example"]}`, "false"},
		{`context.derived.email_domains.to == []`, `{"to":[]}`, "true"},
		{`context.derived.bytes.url == 2`, `{"url":"\u00e9"}`, "true"},
		{`context.derived.bytes.to == 6`, `{"to":[ "a" ]}`, "false"},
		{`context.derived.bytes.to == 7`, `{"to":[ "a" ]}`, "true"},
		{`context.derived.hundredths.sum == 1250`, `{"sum":12.5}`, "true"},
		{`context.derived.hundredths.sum == 1250`, `{"sum":1.25e1}`, "true"},
		{`context.derived.hundredths.sum == -1`, `{"sum":-0.01}`, "true"},
		{`context.derived.hundredths.sum == 1200`, `{"sum":12}`, "true"},
		{`context.derived.hundredths.count == 300`, `{"count":3}`, "true"},
		{`context.derived.call_bytes == 13`, `{"url":"abcd"}`, "false"},
		{`context.derived.call_bytes == 14`, `{"url":"abcd"}`, "true"},
		{`context.derived.call_bytes == 0`, ``, "true"},
		{`context.derived has url_host && !(context.derived.url_host has url)`, `{}`, "true"},
		{`context.derived.url_host has url`, `{"url":"no URL"}`, "true"}, // only asked for
		// What cannot be computed is never a default.
		{`context.derived.url_host.url != "evil.example"`, `{"url":"http:\\\\evil.example"}`, "error"},
		{`context.derived.url_host.url != "evil.example"`, `{"url":"https://evil.example\n"}`, "error"},
		{`context.derived.url_host.url != "evil.example"`, `{}`, "error"},
		{`context.derived.url_host.url != "evil.example"`, `{"url":null}`, "error"},
		{`context.derived.url_host.url != "evil.example"`, `{"url":["https://evil.example"]}`, "error"},
		{`context.derived.url_host.url != "evil.example"`, `{"URL":"https://evil.example"}`, "error"},
		{`context.derived.url_host has url || true`, `{"Url":"https://evil.example"}`, "error"},
		{`true || context.derived.url_host.url == "x"`, `{"url":"no URL"}`, "error"},
		{`context.derived.path_canon.path != "/etc/passwd"`, `{"path":"/a/../../etc/passwd"}`, "error"},
		{`context.derived.path_canon.path != "/etc/passwd"`, `{"path":"/%2e%2e/etc/passwd"}`, "error"},
		{`context.derived.path_canon.path != "/etc/passwd"`, `{"path":"\\etc\\passwd"}`, "error"},
		{`!(context.derived.email_domains.to.contains("y.example"))`, `{"to":["a@x.example; b@y.example"]}`, "error"},
		{`!(context.derived.email_domains.to.contains("y.example"))`, `{"to":["a@x.example",null]}`, "error"},
		{`!(context.derived.email_domains.to.contains("y.example"))`, `{"to":"a@x.example"}`, "error"}, // the schema says array
		{`context.derived.sql_class.sql != "ddl"`, `{"sql":""}`, "error"},
		{`context.derived.hundredths.sum < 9`, `{"sum":0.001}`, "error"}, // nothing is rounded
		{`context.derived.hundredths.sum < 9`, `{"sum":1e15}`, "error"},
		{`context.derived.hundredths.sum < 9`, `{"sum":"1"}`, "error"},
		{`context.derived.hundredths.sum < 9`, `{}`, "error"},
		{`context.derived.url_port.url != 22`, `{"url":"x://h"}`, "error"},
		{`context.derived.url_host.o == "x"`, `{"o":{"url":"https://x"}}`, "error"},
		// No argument is read as a field, whatever its name.
		{`context.derived.url_host.url == "good.example"`, `{"url":"https://evil.example","url_host":{"url":"good.example"},"derived":{"url_host":{"url":"good.example"}}}`, "false"},
		{`context.derived.call_bytes < 9`, `{"call_bytes":1,"derived":{"call_bytes":1}}`, "false"},
		// What is not written as a chain is not there.
		{`{c: context}.c.derived.url_host.url == "x"`, `{"url":"https://x"}`, "error"},
		{`{c: context}.c has derived`, `{"url":"https://x"}`, "error"},
		{`context.derived == {}`, `{}`, "error"},
		{`context.derived.url_host == {}`, `{}`, "error"},
		{`context.derived.url_hots.url == "x"`, `{"url":"https://x"}`, "error"},
		{`context.derived has url_hots`, `{}`, "error"},
	} {
		schema := typed
		if strings.Contains(tt.condition, "{c:") {
			schema = ``
		}
		if got := holds(t, schema, tt.condition, tt.arguments); got != tt.want {
			t.Errorf("%s over %s: %s, want %s", tt.condition, tt.arguments, got, tt.want)
		}
		if schema == `` || strings.Contains(tt.arguments, `"to":"`) {
			continue
		}
		if got := holds(t, ``, tt.condition, tt.arguments); got != tt.want {
			t.Errorf("without a schema: %s over %s: %s, want %s", tt.condition, tt.arguments, got, tt.want)
		}
	}
	if got := holds(t, ``, `context.derived.email_domains.to.contains("y.example")`, `{"to":"a@x.example, b@y.example"}`); got != "true" {
		t.Errorf("addresses in one string: %s", got)
	}
}

func TestDerivedOfResourcesIsOfTheURI(t *testing.T) {
	set := compile(t, policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}, AllowLists: []policy.AllowList{{Agent: "bot", Patterns: []string{"s/*"}}}},
		`forbid (principal, action == Mcp::Action::"s/resources/read", resource) when { context.derived.url_scheme.uri == "file" } unless { context.derived.path_canon.uri like "/srv/*" };
forbid (principal, action == Mcp::Action::"s/resources/read", resource) when { context.input.uri_scheme == "https" } unless { context.derived.call_bytes < 30 };`)
	for uri, want := range map[string]access.Outcome{"file:///srv/a": access.Permit, "file:///srv/a/../../etc/x": access.Deny, "FILE:///srv/%2e%2e/etc": access.Deny, "file:///srv//a%20b": access.Permit,
		"file:///srv/..": access.Deny, "file:///srv\\..\\x": access.Deny, "https://h/": access.Permit, "https://h/" + strings.Repeat("a", 20): access.Deny, "": access.Deny, "memo:x": access.Deny} {
		q := query(t, "bot", "s", "", `{"uri":"file:///srv/a"}`) // what the arguments say is not what is read
		q.Tool.Kind, q.Action, q.Target = access.KindResource, "s/resources/read", uri
		for _, q.Unknown = range []bool{false, true} {
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

// In a list the arguments are unknown, and so is what they mean: only what is
// denied whatever they are is hidden.
func TestDerivedIsUnknownInLists(t *testing.T) {
	c := policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}, Tools: []policy.ToolInfo{{Server: "s", Name: "t", InputSchema: []byte(`{"type":"object","required":["url"],"properties":{"url":{"type":"string"}}}`)}}}
	for condition, want := range map[string]struct{ permit, forbid bool }{
		`context.derived.url_host.url == "x"`:                                 {true, true},
		`context.derived.call_bytes > 5`:                                      {true, true},
		`context.derived.url_host has url`:                                    {true, true},
		`context.derived.url_host.url == "x" && principal.status == "gone"`:   {false, true}, // reading may err
		`principal.status == "gone" && context.derived.url_host.url == "x"`:   {false, true},
		`principal.status == "active" || context.derived.url_host.url == "x"`: {true, false},
	} {
		for _, effect := range []string{"permit", "forbid"} {
			set := compile(t, c, `permit (principal == Mcp::Agent::"other", action, resource);`+effect+` (principal, action == Mcp::Action::"s/t", resource) when { `+condition+` };`+
				map[string]string{"permit": "", "forbid": `permit (principal, action, resource);`}[effect])
			q := query(t, "bot", "s", "t", ``)
			q.Unknown = true
			v := set.Evaluate(q)
			if shown := v.Outcome == access.Permit || v.Maybe; shown != map[string]bool{"permit": want.permit, "forbid": want.forbid}[effect] {
				t.Errorf("%s when %s: %+v", effect, condition, v)
			}
		}
	}
}

func TestDerivedFieldsAreValidated(t *testing.T) {
	const on = `(principal, action == Mcp::Action::"github/create_issue", resource)`
	for _, tt := range []struct {
		cedar    string
		errors   []string
		warnings []string
	}{
		{`forbid ` + on + ` when { context.derived.url_host.repo == "x" };`, nil, nil},
		{`forbid ` + on + ` when { context.derived.bytes.title > 80 || context.derived.call_bytes > 100 };`, nil, nil},
		{`forbid ` + on + ` when { context.derived.url_host has body && context.derived.url_host.body == "x" };`, nil, nil},
		{`forbid ` + on + ` when { context.derived.email_domains has labels && context.derived.email_domains.labels.contains("x") };`, nil, nil},
		{`forbid ` + on + ` when { context.derived.url_scheme has meta && context.derived.url_scheme.meta.lang == "x" };`, nil, nil},
		{`forbid ` + on + ` when { context.derived.url_host.body == "x" };`, nil, []string{"guard it with"}},
		{`forbid ` + on + ` when { context.derived.url_host.rep == "x" };`, []string{"`rep`"}, nil},
		{`forbid ` + on + ` when { context.derived.url_host.count == "x" };`, []string{"`count`"}, nil}, // a number leads nowhere
		{`forbid ` + on + ` when { context.derived.url_host.labels == "x" };`, []string{"`labels`"}, nil},
		{`forbid ` + on + ` when { context.derived.url_host.repo > 5 };`, []string{"unexpected type"}, nil},
		{`forbid ` + on + ` when { context.derived.url_port.repo like "x" };`, []string{"unexpected type"}, nil},
		{`forbid ` + on + ` when { context.derived.url_hots.repo == "x" };`, []string{"unknown derived field `url_hots`"}, nil},
		{`forbid ` + on + ` when { context.derived has url_hots };`, []string{"unknown derived field `url_hots`"}, nil},
		{`forbid ` + on + ` when { context.derived.url_host == {} };`, []string{"context.derived.url_host.ARGUMENT"}, nil},
		{`forbid ` + on + ` when { context.derived == {} };`, []string{"context.derived.FIELD.ARGUMENT"}, nil},
		{`forbid ` + on + ` when { {c: context}.c.derived.call_bytes > 1 };`, []string{"context.derived.FIELD.ARGUMENT"}, nil},
		{`forbid ` + on + ` when { (if principal.attested then context else context) has derived };`, []string{"context.derived.FIELD.ARGUMENT"}, nil},
		{`forbid ` + on + ` when { context.derived.call_bytes.x > 1 };`, []string{"unexpected type"}, nil},
		{`forbid ` + on + ` when { context.derivd.call_bytes > 1 };`, []string{"`derivd`"}, nil},
		// Without a type of the argument the field is still one of ours.
		{`forbid (principal, action == Mcp::Action::"github/odd", resource) when { context.derived.url_host.any == "x" };`, nil, nil},
		{`forbid (principal, action == Mcp::Action::"github/odd", resource) when { context.derived.url_hots.any == "x" };`, []string{"`url_hots`"}, nil},
		{`forbid (principal, action == Mcp::Action::"github/odd", resource) when { context.derived.url_host.any == "x" } when { context.derived.call_bytes > "x" };`, []string{"unexpected type"}, nil},
		{`forbid (principal, action == Mcp::Action::"github/prompts/p", resource) when { context.derived.url_host.any == "x" };`, nil, nil},
		{`forbid (principal, action == Mcp::Action::"github/resources/read", resource) when { context.derived.path_canon.uri like "/etc/*" };`, nil, nil},
		{`forbid (principal, action == Mcp::Action::"github/resources/read", resource) when { context.derived.path_canon.url like "/etc/*" };`, []string{"`url`"}, nil},
		{`forbid (principal, action == Mcp::Action::"github/resources/read", resource) when { context.derived.path_canon.uri_scheme like "/etc/*" };`, []string{"`uri_scheme`"}, nil},
		// On a group.
		{`forbid (principal, action in Mcp::Action::"call", resource) when { context.derived.call_bytes > 100000 };`, nil, nil},
		{`forbid (principal, action in Mcp::Action::"write", resource) when { context.derived.url_host has repo && context.derived.url_host.repo == "x" };`, nil, nil},
		{`forbid (principal, action in Mcp::Action::"write", resource) when { context.derived.url_host.repo == "x" };`, []string{"name the action"}, nil},
	} {
		report := policy.Check([]policy.Policy{{ID: "p", Cedar: tt.cedar}}, issues())
		for what, both := range map[string][2][]string{"errors": {messages(report.Errors), tt.errors}, "warnings": {messages(report.Warnings), tt.warnings}} {
			got, want := both[0], both[1]
			ok := len(got) == len(want)
			for i := range want {
				ok = ok && strings.Contains(got[i], want[i])
			}
			if !ok {
				t.Errorf("%s: %s are %q, want %q", tt.cedar, what, got, want)
			}
		}
	}
	p := policy.Policy{ID: "p", File: "rules.yaml", Line: 10, Cedar: "forbid " + on + "\nwhen { true &&\n  context.derived.url_hots.repo == \"x\" };"}
	if got := policy.Check([]policy.Policy{p}, issues()).Errors; len(got) != 1 || got[0].Place() != "rules.yaml:12:19" {
		t.Errorf("the place of a misspelt field: %v", got)
	}
}

func messages(ps policy.Problems) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Message)
	}
	return out
}

// A policy that reads what cannot be computed denies the calls it is about, and
// no policy beside it errs with it.
func TestOnlyThePolicyThatReadsItErrs(t *testing.T) {
	set := compile(t, policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}}, `permit (principal, action, resource);
permit (principal, action == Mcp::Action::"s/t", resource) when { context.derived.url_host.url == "x" };
permit (principal, action == Mcp::Action::"s/t", resource) when { context.derived.bytes.url == 6 };
permit (principal, action == Mcp::Action::"s/t", resource) when { context.input.url == "no URL" };`)
	v := set.Evaluate(query(t, "bot", "s", "t", `{"url":"no URL"}`))
	if v.Outcome != access.Deny || !slices.Equal(v.Errors, []string{"pa.2"}) || !slices.Equal(v.Permits, []string{"pa.1", "pa.3", "pa.4"}) {
		t.Errorf("%+v", v)
	}
	if v := set.Evaluate(query(t, "bot", "s", "other", `{"url":"no URL"}`)); v.Outcome != access.Permit {
		t.Errorf("a tool it is not about: %+v", v)
	}
}

func TestExplanationSaysWhyAFieldIsMissing(t *testing.T) {
	set := compile(t, policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}}, `permit (principal, action == Mcp::Action::"s/t", resource) when { context.derived.url_host.url == "x" };`)
	x := set.Explain(query(t, "bot", "s", "t", `{"url":"http://secret\\x"}`))
	if len(x.Inputs) != 1 || x.Inputs[0].Name != "context.derived.url_host.url" || !x.Inputs[0].Present || !strings.Contains(x.Inputs[0].Problem, "backslash") {
		t.Errorf("%+v", x.Inputs)
	}
	if b, _ := json.Marshal(x); strings.Contains(string(b), "secret") {
		t.Errorf("it holds the argument: %s", b)
	}
	if x := set.Explain(query(t, "bot", "s", "t", `{"url":"http://x"}`)); len(x.Inputs) != 1 || x.Inputs[0].Problem != "" {
		t.Errorf("%+v", x.Inputs)
	}
}

func BenchmarkEvaluateDerived(b *testing.B) {
	set := compile(b, policy.Catalog{Servers: []policy.ServerInfo{{ID: "s"}}}, `permit (principal, action == Mcp::Action::"s/t", resource) when { context.derived.url_host.url == "api.example.com" };`)
	q := query(b, "bot", "s", "t", `{"url":"https://api.example.com/v1/items?x=1"}`)
	if v := set.Evaluate(q); v.Outcome != access.Permit {
		b.Fatalf("%+v", v)
	}
	b.ReportAllocs()
	for b.Loop() {
		set.Evaluate(q)
	}
}
