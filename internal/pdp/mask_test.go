package pdp_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

const onApproved = ` (principal, action == Mcp::Action::"files/tool_approved", resource)`

func TestMaskedArgumentsAreJudgedAgain(t *testing.T) {
	rule := func(text string) policy.Policy { return policy.Policy{ID: "rule", Cedar: text} }
	mask := `@id("ssn") @outcome("mask") @mask("args/ssn") forbid` + onApproved + ` when { context.input has ssn };`
	for name, tt := range map[string]struct {
		policy    string
		arguments string
		want      access.Outcome
		sent      string // "" if as they came
	}{
		"a string":                {mask, `{"ssn":"1-2","q":"x"}`, access.Permit, `{"ssn":"[masked]","q":"x"}`},
		"an object":               {mask, `{ "ssn" : {"n":[1]} , "q":1.50 }`, access.Permit, `{ "ssn" : "[masked]" , "q":1.50 }`},
		"nothing to mask":         {mask, `{"q":"x"}`, access.Permit, ""},
		"null is absent":          {mask, `{"ssn":null}`, access.Permit, ""},
		"another spelling":        {mask, `{"SSN":"1-2"}`, access.Deny, ""}, // the rule errs
		"beside another spelling": {mask, `{"ssn":"1","SSN":"2"}`, access.Deny, ""},
		"an escaped key":          {mask, `{"\u0073sn":"1-2"}`, access.Permit, `{"\u0073sn":"[masked]"}`},
		"a place that is not there": {`@outcome("mask") @mask("args/other") forbid` + onApproved + ` when { context.input has ssn };`,
			`{"ssn":"1-2"}`, access.Mask, ""},
		"one place of two": {`@outcome("mask") @mask("args/ssn, args/dob") forbid` + onApproved + ` when { context.input has ssn };`,
			`{"ssn":"1-2"}`, access.Mask, ""},
		"spelt in another way where it masks": {`@outcome("mask") @mask("args/who/*/ssn") forbid` + onApproved + `;`,
			`{"who":[{"ssn":"1"},{"ssn":"2","Ssn":"3"}]}`, access.Mask, ""},
		"every item": {`@outcome("mask") @mask("args/who/*/ssn") forbid` + onApproved + `;`,
			`{"who":[{"ssn":1},{"ssn":[2]}]}`, access.Permit, `{"who":[{"ssn":"[masked]"},{"ssn":"[masked]"}]}`},
		"no arguments":              {`@outcome("mask") @mask("args/ssn") forbid` + onApproved + `;`, ``, access.Mask, ""},
		"two rules add up":          {mask + `@id("q") @outcome("mask") @mask("args/q") forbid` + onApproved + `;`, `{"ssn":"1","q":"x"}`, access.Permit, `{"ssn":"[masked]","q":"[masked]"}`},
		"a deny besides":            {mask + `@id("no") forbid` + onApproved + `;`, `{"ssn":"1"}`, access.Deny, ""},
		"an error besides":          {mask + `@id("err") forbid` + onApproved + ` when { context.input.q < 1 };`, `{"ssn":"1","q":"x"}`, access.Deny, ""},
		"a deny only when masked":   {mask + `@id("no") forbid` + onApproved + ` when { context.input.ssn == "[masked]" };`, `{"ssn":"1"}`, access.Deny, ""},
		"asks only when masked":     {mask + `@id("ask") @outcome("require_approval") forbid` + onApproved + ` when { context.input.ssn == "[masked]" };`, `{"ssn":"1"}`, access.Deny, ""},
		"masks only when masked":    {mask + `@id("m") @outcome("mask") @mask("args/q") forbid` + onApproved + ` when { context.input.ssn == "[masked]" };`, `{"ssn":"1","q":"x"}`, access.Deny, ""},
		"errs only when masked":     {mask + `@id("err") forbid` + onApproved + ` when { context.input.ssn < 5 && false };`, `{"ssn":1}`, access.Deny, ""},
		"isolates only when masked": {mask + `@id("iso") @outcome("quarantine") @target("agent") forbid` + onApproved + ` when { context.input.ssn == "[masked]" };`, `{"ssn":"1"}`, access.Quarantine, ""},
		"the permit does not cover it": {mask + `@id("open") permit (principal == Mcp::Agent::"other", action, resource);` +
			`@id("narrow") @outcome("rate_limit") @fact("f") forbid` + onApproved + ` unless { context.input.ssn == "1" };`, `{"ssn":"1"}`, access.Deny, ""},
	} {
		s := state(t, content(), []string{"files/tool_approved"}, rule(tt.policy))
		r := request("tool_approved")
		if tt.arguments != "" { // as in a message: they do not begin where the document does
			r.Arguments = arguments(t, `{"params":{"arguments":`+tt.arguments+`}}`).Path("params", "arguments")
		}
		ru := pdp.Judge(s, r)
		if ru.Outcome != tt.want || string(ru.Arguments) != tt.sent || (tt.sent != "") != (ru.Allowed() && len(ru.Masks) > 0) {
			t.Errorf("%s: %s %q, masks %v (%s); want %s %q", name, ru.Outcome, ru.Arguments, ru.Masks, ru.Reason, tt.want, tt.sent)
		}
		if ru.Outcome == access.Mask && (ru.Allowed() || ru.Class != access.ClassMask || ru.Reason == "" || ru.Help == "") {
			t.Errorf("%s: a mask that failed says %+v", name, ru.Decision)
		}
		if got := string(r.Arguments.Raw()); got != tt.arguments {
			t.Errorf("%s: the request was changed to %s", name, got)
		}
		r.Unknown = true
		if tt.want != access.Deny && tt.want != access.Quarantine && !pdp.Visible(s, r) {
			t.Errorf("%s: not listed", name)
		}
		s.Monitor = true
		r.Unknown = false
		if ru := pdp.Judge(s, r); !ru.Allowed() || ru.Arguments != nil || ru.Masks != nil || ru.Consequences != nil {
			t.Errorf("%s: monitor mode changes something: %+v", name, ru.Decision)
		}
	}
}

// A grant is for the call as it was approved, with all its arguments: masking
// some of them does not take it away, and without it nothing is masked.
func TestMaskUnderAGrant(t *testing.T) {
	s := entitled(t, []grant.Entitlement{{ID: "e"}}, policy.Policy{ID: "m", Cedar: `@outcome("mask") @mask("args/ssn") forbid` + onApproved + ` when { context.input has ssn };`})
	r := request("tool_approved")
	r.Arguments = arguments(t, `{"ssn":"1"}`)
	if d := pdp.Decide(s, r); d.Outcome != access.RequireApproval {
		t.Errorf("without a grant: %+v", d)
	}
	if d := pdp.Decide(s, r); len(d.Masks) == 0 || d.Allowed() {
		t.Errorf("what it would mask is not said: %+v", d)
	}
	if _, ok := pdp.Asking(s, r, &access.Decision{Forbids: []string{"entitlement.e.bot.files.ask"}}); !ok {
		t.Error("an approval would help, and nobody is asked")
	}
	s.Grants = given{aGrant("grt_1")}
	ru := pdp.Judge(s, r)
	if !ru.Allowed() || ru.Grant != "grt_1" || string(ru.Arguments) != `{"ssn":"[masked]"}` {
		t.Errorf("with one: %+v", ru)
	}
}

// A limit outranks an approval that is there already, and no grant is spent on it.
func TestRateLimitUnderAGrant(t *testing.T) {
	s := entitled(t, []grant.Entitlement{{ID: "e"}}, policy.Policy{ID: "slow", Cedar: `@outcome("rate_limit") @fact("calls_1m") forbid` + onApproved + `;`})
	r := request("tool_approved")
	s.Grants = given{aGrant("grt_1")}
	d := pdp.Decide(s, r)
	if d.Outcome != access.RateLimit || d.Class != access.ClassRate || len(d.Limits) != 1 || d.Limits[0].Fact != "calls_1m" {
		t.Errorf("%+v", d)
	}
	r.Unknown = true
	if !pdp.Visible(s, r) {
		t.Error("what has to wait is not listed")
	}
}

// Consequences name their targets; the agent reads what happened, in monitor mode
// nothing does.
func TestConsequencesOfADecision(t *testing.T) {
	s := state(t, content(), []string{"files/*"}, policy.Policy{ID: "p", Cedar: `@id("iso") @outcome("quarantine") @target("agent") forbid` + onApproved + `;
@id("end") @outcome("terminate") @target("session") forbid` + onApproved + `;`})
	d := pdp.Decide(s, request("tool_approved"))
	want := []access.Consequence{{Outcome: access.Terminate, Target: access.TargetSession, Policy: "end"}, {Outcome: access.Quarantine, Target: access.TargetAgent, Policy: "iso"}}
	if d.Outcome != access.Terminate || len(d.Consequences) != 2 || d.Consequences[0] != want[0] || d.Consequences[1] != want[1] {
		t.Errorf("%+v", d)
	}
	if !strings.Contains(d.Reason, "the session is terminated, the agent is quarantined") {
		t.Errorf("it reads %q", d.Reason)
	}
	s.Monitor = true
	if d := pdp.Decide(s, request("tool_approved")); d.Outcome != access.Permit || d.Would != access.Terminate || d.Consequences != nil {
		t.Errorf("in monitor mode: %+v", d)
	}
}

func TestRelease(t *testing.T) {
	const out = ` when { context has output && context.output.findings.contains("x") };`
	labels := ` when { context has output && !principal.dataScopes.containsAll(context.output.labels) };`
	for name, tt := range map[string]struct {
		policy   string
		labels   []string
		findings []string
		bytes    int
		want     access.Outcome
		places   string
		again    access.Outcome // once they are masked
	}{
		"harmless":              {`forbid` + onApproved + out, nil, nil, 5, access.Permit, "", 0},
		"found":                 {`forbid` + onApproved + out, nil, []string{"x"}, 5, access.Deny, "", 0},
		"large":                 {`forbid` + onApproved + ` when { context has output && context.output.bytes > 4 };`, nil, nil, 5, access.Deny, "", 0},
		"ends":                  {`@outcome("terminate") @target("session") forbid` + onApproved + out, nil, []string{"x"}, 5, access.Terminate, "", 0},
		"errs":                  {`forbid` + onApproved + ` when { context has output && context.output.bytes + 9223372036854775807 > 0 };`, nil, nil, 5, access.Deny, "", 0},
		"masks":                 {`@outcome("mask") @mask("result/a, result/b/*") forbid` + onApproved + out, nil, []string{"x"}, 5, access.Mask, "result/a result/b/*", access.Permit},
		"masks too late":        {`@outcome("mask") @mask("result/a") forbid` + onApproved + out + `forbid` + onApproved + ` when { context has output && context.output.bytes > 4 };`, nil, []string{"x"}, 5, access.Deny, "", 0},
		"within its scopes":     {`@outcome("mask") @mask("labels") forbid` + onApproved + ` when { context has output };`, []string{"docs"}, nil, 5, access.Mask, "", access.Permit},
		"without labels":        {`@outcome("mask") @mask("labels") forbid` + onApproved + ` when { context has output };`, nil, nil, 5, access.Mask, "", access.Permit},
		"outside of its scopes": {`@outcome("mask") @mask("labels") forbid` + onApproved + ` when { context has output };`, []string{"docs", "pii"}, nil, 5, access.Mask, "", 0},
		"labelled":              {`forbid` + onApproved + labels, []string{"docs", "pii"}, nil, 5, access.Deny, "", 0},
		"labelled, permitted":   {`forbid` + onApproved + labels, []string{"docs"}, nil, 5, access.Permit, "", 0},
		"no more permitted":     {`permit (principal == Mcp::Agent::"other", action, resource) when { context has output };forbid` + onApproved + ` when { {c: context}.c has output };`, nil, nil, 5, access.Deny, "", 0},
	} {
		c := content()
		c.Agents[0].DataScopes = []string{"docs"}
		c.Servers[0].DataScopes = tt.labels
		s := state(t, c, []string{"files/tool_approved"}, policy.Policy{ID: "p", Cedar: tt.policy})
		r := request("tool_approved")
		ru := pdp.Judge(s, r)
		if !ru.Allowed() || !ru.ReadsOutput {
			t.Errorf("%s: the call: %+v", name, ru)
			continue
		}
		d := ru.Release(r, pdp.Output{Findings: tt.findings, Bytes: tt.bytes}, nil)
		var places, rules []string
		for _, m := range d.Masks {
			places, rules = append(places, m.Places...), append(rules, m.Policy)
		}
		whole := d.Outcome != tt.want && d.Outcome == access.Deny && d.Class == access.ClassMask
		switch {
		case d.Outcome == access.Mask && d.Class == access.ClassMask && tt.again != 0:
			if got := strings.Join(places, " "); got != tt.places {
				t.Errorf("%s: masks %q, want %q", name, got, tt.places)
			}
			if d := ru.Release(r, pdp.Output{Findings: tt.findings, Bytes: tt.bytes}, rules); d.Outcome != tt.again {
				t.Errorf("%s: masked: %+v", name, d)
			}
			if d := ru.Release(r, pdp.Output{Findings: tt.findings, Bytes: tt.bytes}, []string{"another"}); d.Allowed() || d.Outcome == access.Mask {
				t.Errorf("%s: with another rule masked: %+v", name, d)
			}
		case tt.want == access.Mask && whole: // the part is all of it
		case d.Outcome != tt.want || d.Outcome == access.Mask:
			t.Errorf("%s: %+v, want %s", name, d, tt.want)
		}
		if !d.Allowed() && d.Outcome != access.Mask && !strings.HasPrefix(d.Reason, "what came back is withheld") {
			t.Errorf("%s: it reads %q", name, d.Reason)
		}
		s.Monitor = true
		ru = pdp.Judge(s, r)
		if d := ru.Release(r, pdp.Output{Findings: tt.findings, Bytes: tt.bytes}, nil); !d.Allowed() || d.Masks != nil || d.Consequences != nil {
			t.Errorf("%s: monitor mode: %+v", name, d)
		}
	}
	var zero pdp.Ruling
	if d := zero.Release(request("tool_approved"), pdp.Output{}, nil); d.Allowed() {
		t.Error("a ruling on nothing releases")
	}
}

// Masked arguments that no longer fit the schema the tool was approved with are not
// sent, on a view that changed since too.
func TestMaskedArgumentsMustFitTheSchema(t *testing.T) {
	mask := policy.Policy{ID: "rule", Cedar: `@id("n") @outcome("mask") @mask("args/n") forbid` + onApproved + `;`}
	for schema, want := range map[string]access.Outcome{
		``: access.Permit,
		`{"type":"object","properties":{"n":{"type":"string"}}}`:                  access.Permit,
		`{"type":"object","properties":{"n":{"type":"integer"}}}`:                 access.Mask,
		`{"type":"object","properties":{"n":{"type":"string","maxLength":3}}}`:    access.Mask,
		`{"$defs":{"n":{"enum":["a"]}},"properties":{"n":{"$ref":"#/$defs/n"}}}`:  access.Mask,
		`{"properties":{"n":{"$ref":"https://schemas.example/n"}}}`:               access.Mask,
		`{"type":"object","properties":{"m":{"$ref":"#"},"n":{"type":"string"}}}`: access.Mask, // nobody can check it
	} {
		c := content()
		for i := range c.Tools {
			if c.Tools[i].Name == "tool_approved" && schema != "" {
				c.Tools[i].Pinned = []byte(`{"name":"tool_approved","inputSchema":` + schema + `}`)
			}
		}
		s := state(t, c, []string{"files/tool_approved"}, mask)
		for _, view := range []*registry.View{s.View, s.View.WithOwn(), s.View.At(99)} {
			s.View = view
			r := request("tool_approved")
			r.Arguments = arguments(t, `{"n":"1"}`)
			if ru := pdp.Judge(s, r); ru.Outcome != want || (ru.Arguments != nil) != (want == access.Permit) {
				t.Errorf("%s: %s %q", schema, ru.Outcome, ru.Arguments)
			}
		}
	}
}
