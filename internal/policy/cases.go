package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// TestFile is one YAML file of policy tests:
//
//	kind: PolicyTest
//	given:                      # of every case; a case may replace any part
//	  agent: {id: release-bot, tools: ["github/*"]}
//	  tool: {classes: [write], schema: {type: object, properties: {tag: {type: string}}}}
//	cases:
//	  - name: a version may be released
//	    when: {server: github, tool: create_release, arguments: {tag: v1.2}}
//	    then: {outcome: permit}
//	  - name: nothing else may
//	    when: {server: github, tool: create_release, arguments: {tag: nightly}}
//	    then: {outcome: deny, by: [release-window]}
//
// An agent is attested and active and a tool pinned unless the case says
// otherwise; given.facts holds values by the id of the fact, and one that is not
// given cannot be computed. The class of an agent and the classes and tier of a tool that no case
// says are what the catalog says; a tool it does not hold is a read of tier 0.
// "when" names a tool, prompt, resource (a URI) or ask, or neither
// for a list; with "output" the case is about what came back. "then.by" names every policy that matched or erred on the losing
// or winning side; "then.listed" says whether the target shows in a list.
type TestFile struct{ Path, Text string }

// Result is what one test case gave.
type Result struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Message string `json:"message,omitempty"` // why it failed
}

// RunTests checks policies against c, extended by what the tests give, and runs
// the cases of files. A file that cannot be read as tests is an error. Report.Coverage
// says which statements the cases made match.
func RunTests(ctx context.Context, files []TestFile, policies []Policy, c Catalog) Report {
	var all []prepared
	var broken Problems
	given := c
	for _, f := range files {
		cases, problems := readTests(f)
		broken = append(broken, problems...)
		for _, p := range cases {
			p.complete(given)
			all = append(all, p)
			c = p.extend(c)
		}
	}
	report := Check(policies, c)
	report.Errors = append(report.Errors, broken...)
	if len(report.Errors) > 0 {
		return report
	}
	sets, cov := make(map[string]*Set), make(coverage)
	for _, p := range all {
		if err := ctx.Err(); err != nil { // a case with lists of its own costs a compilation of everything
			report.Tests = append(report.Tests, p.fail("was not run: %v", err))
			continue
		}
		lists := p.lists(c.AllowLists)
		key := fmt.Sprintf("%q", lists)
		set := sets[key]
		if set == nil {
			own := c
			own.AllowLists = lists
			s, err := Compile(policies, own)
			if err != nil {
				report.Tests = append(report.Tests, p.fail("%v", err))
				continue
			}
			set = s
			sets[key] = set
		}
		cov.declare(set)
		result, matched := p.run(set)
		cov.count(matched)
		report.Tests = append(report.Tests, result)
	}
	report.Coverage = cov.sorted()
	return report
}

// prepared is one case with what is given for its file filled in.
type prepared struct {
	testCase
	file string
	line int
}

func (p *prepared) fail(format string, args ...any) Result {
	return Result{File: p.file, Line: p.line, Name: p.Name, Message: fmt.Sprintf(format, args...)}
}

// extend adds the case's server and tool to the catalog.
func (p *prepared) extend(c Catalog) Catalog {
	if !slices.ContainsFunc(c.Servers, func(s ServerInfo) bool { return s.ID == p.When.Server }) {
		c.Servers = append(slices.Clip(c.Servers), ServerInfo{ID: p.When.Server})
	}
	if p.When.Tool == "" || slices.ContainsFunc(c.Tools, p.means) {
		return c
	}
	info := ToolInfo{Server: p.When.Server, Name: p.When.Tool, Kind: access.KindTool, Classes: p.Given.Tool.Classes}
	if raw, err := json.Marshal(p.Given.Tool.Schema); err == nil && p.Given.Tool.Schema != nil {
		info.InputSchema = raw
	}
	c.Tools = append(slices.Clip(c.Tools), info)
	return c
}

// means reports whether the case is about t.
func (p *prepared) means(t ToolInfo) bool {
	switch t.kind() {
	case access.KindTool:
		return t.Server == p.When.Server && t.Name == p.When.Tool
	case access.KindPrompt:
		return t.Server == p.When.Server && t.Name == p.When.Prompt
	default:
		return false
	}
}

// complete fills in what the case does not say and the catalog knows.
func (p *prepared) complete(c Catalog) {
	agent, tool := *p.Given.Agent, testTool{}
	if p.Given.Tool != nil {
		tool = *p.Given.Tool
	}
	for _, a := range c.Agents {
		if a.ID == agent.ID && agent.Class == "" {
			agent.Class = a.Class
		}
	}
	for _, t := range c.Tools {
		if !p.means(t) {
			continue
		}
		if tool.Classes == nil {
			tool.Classes = t.Classes
		}
		if tool.Tier == nil {
			tool.Tier = &t.Tier
		}
	}
	if tool.Classes == nil || p.When.Resource != "" {
		tool.Classes = []string{groupRead}
	}
	p.Given.Agent, p.Given.Tool = &agent, &tool
}

// lists returns the allow-lists with the agent's own where the case gives one.
func (p *prepared) lists(lists []AllowList) []AllowList {
	a := p.Given.Agent
	if a.Tools == nil {
		return lists
	}
	out := slices.DeleteFunc(slices.Clone(lists), func(l AllowList) bool { return l.Agent == a.ID })
	return append(out, AllowList{Agent: a.ID, Expires: p.now().AddDate(1, 0, 0), Patterns: a.Tools})
}

func (p *prepared) now() time.Time {
	if p.Given.Now != nil {
		return *p.Given.Now
	}
	return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
}

// run asks the set and compares. matched are the ids of the statements that
// matched; one may be there twice.
func (p *prepared) run(set *Set) (r Result, matched []string) {
	q, err := p.query()
	if err == nil {
		err = p.fit(set)
	}
	if err != nil {
		return p.fail("%v", err), nil
	}
	if p.When.Request != nil {
		return p.asks(set, q)
	}
	if p.Then.Approve != nil {
		return p.fail("then.approve is for a case with when.request"), nil
	}
	if want := p.Then.Listed; want != nil {
		list := *q
		list.Unknown, list.Touched = true, nil
		v := set.Evaluate(&list)
		matched = slices.Concat(v.Permits, v.Forbids)
		if got := v.Outcome == access.Permit || v.Outcome.Conditional() || v.Maybe; got != *want {
			return p.fail("listed is %t, expected %t", got, *want), matched
		}
	}
	if p.Then.Outcome == "" {
		return Result{File: p.file, Line: p.line, Name: p.Name, OK: true}, matched
	}
	v := set.Evaluate(q)
	matched = slices.Concat(matched, v.Permits, v.Forbids)
	if t := set.Tried(); t != nil {
		tried := t.Evaluate(q)
		matched = append(matched, set.Shadows(&tried)...)
	}
	by := v.Permits
	if v.Outcome != access.Permit {
		by = append(slices.Clone(v.Forbids), v.Errors...)
	}
	if got := v.Outcome.String(); got != p.Then.Outcome {
		return p.fail("outcome is %s by %s, expected %s", got, names(by), p.Then.Outcome), matched
	}
	want := slices.Clone(p.Then.By)
	slices.Sort(want)
	slices.Sort(by)
	if p.Then.By != nil && !slices.Equal(want, by) {
		return p.fail("decided by %s, expected %s", names(by), names(want)), matched
	}
	return Result{File: p.file, Line: p.line, Name: p.Name, OK: true}, matched
}

// asks runs a case about asking for a right.
func (p *prepared) asks(set *Set, q *Query) (r Result, matched []string) {
	a := set.Ask(q, p.When.Request.Seconds, p.When.Request.Uses)
	matched = slices.Concat(a.Permits, a.Forbids)
	outcome, by := access.Permit, a.Permits
	if a.Denied() {
		outcome = access.Deny
		if other := slices.Concat(a.Forbids, a.Errors); len(other) > 0 {
			by = other
		}
	}
	var approve []string
	for _, x := range a.Approve {
		approve = append(approve, x.String())
	}
	want, who := slices.Sorted(slices.Values(p.Then.By)), slices.Sorted(slices.Values(p.Then.Approve))
	slices.Sort(by)
	slices.Sort(approve)
	switch {
	case p.Then.Listed != nil:
		return p.fail("then.listed is not for a case with when.request"), matched
	case p.Then.Outcome != "" && p.Then.Outcome != outcome.String():
		return p.fail("outcome is %s by %s, expected %s", outcome, names(by), p.Then.Outcome), matched
	case p.Then.By != nil && !slices.Equal(want, by):
		return p.fail("decided by %s, expected %s", names(by), names(want)), matched
	case p.Then.Approve != nil && !slices.Equal(who, approve):
		return p.fail("must be approved by %s, expected %s", strings.Join(approve, ", "), strings.Join(who, ", ")), matched
	}
	return Result{File: p.file, Line: p.line, Name: p.Name, OK: true}, matched
}

func names(ids []string) string {
	if len(ids) == 0 {
		return "no policy"
	}
	return strings.Join(ids, ", ")
}

// query builds the question of a case.
func (p *prepared) query() (*Query, error) {
	w, a := p.When, p.Given.Agent
	r := access.Request{Server: w.Server, Kind: access.KindServer, Method: cmpOr(w.Method, "tools/list")}
	switch {
	case w.Tool != "":
		r.Kind, r.Target, r.Method = access.KindTool, w.Tool, "tools/call"
	case w.Prompt != "":
		r.Kind, r.Target, r.Method = access.KindPrompt, w.Prompt, "prompts/get"
	case w.Resource != "":
		r.Kind, r.Target, r.Method = access.KindResource, w.Resource, "resources/read"
	case w.Ask != "":
		r.Kind, r.Target, r.Method = access.KindAsk, w.Ask, w.Ask
	}
	q := &Query{
		Agent: AgentFacts{ID: a.ID, Owner: a.Owner, Class: a.Class, Runtime: a.Runtime, Model: a.Model, Tier: a.Tier,
			Status: cmpOr(a.Status, "active"), Attested: a.Attested == nil || *a.Attested, DataScopes: a.DataScopes},
		Tool:   ToolFacts{Server: w.Server, Name: r.Target, Kind: r.Kind},
		Server: ServerFacts{ID: w.Server, State: "sanctioned"},
		Action: r.Action(), Target: r.Target, Method: r.Method, Now: p.now(), Risk: &access.Risk{Agent: a.Risk},
	}
	t := p.Given.Tool
	q.Tool.Classes, q.Tool.Digest, q.Tool.Labels, q.Tool.Pinned = t.Classes, t.Digest, t.Labels, t.Pinned == nil || *t.Pinned
	if t.Tier != nil {
		q.Tool.Tier = *t.Tier
	}
	if s := p.Given.Server; s != nil {
		q.Server.Owner, q.Server.State = s.Owner, cmpOr(s.State, "sanctioned")
	}
	if s := p.Given.Subject; s != nil {
		q.Subject, q.Risk.Person = access.Subject{Issuer: s.Issuer, ID: s.ID}, s.Risk
	}
	if s := p.Given.Session; s != nil {
		q.Session = SessionFacts{ID: s.ID, Task: s.Task, Depth: s.Depth, Bound: s.Bound, StartedAt: s.StartedAt}
	}
	var err error
	if q.Facts, err = p.facts(); err != nil {
		return nil, err
	}
	var touched testSession
	if p.Given.Session != nil {
		touched = *p.Given.Session
		q.Risk.Session = touched.Risk
	}
	if q.Touched = GivenTouched(touched.Taint, touched.Labels, q.Facts); q.Touched == nil {
		q.Touched = &access.Touched{}
	}
	if g := p.Given.Grant; g != nil {
		q.Grant = &GrantFacts{ID: g.ID, Remaining: g.Remaining, ExpiresAt: g.ExpiresAt, Quorum: g.Quorum, ArgsBound: g.ArgsBound, Depth: g.Depth}
	}
	if o := w.Output; o != nil {
		q.Output = &OutputFacts{Labels: o.Labels, Findings: o.Findings, Bytes: o.Bytes}
	}
	if w.Arguments.IsZero() {
		return q, nil
	}
	raw, err := jsonOf(&w.Arguments)
	if err != nil {
		return nil, err
	}
	if q.Arguments, err = rawjson.Parse(raw, rawjson.Limits{}); err != nil {
		return nil, fmt.Errorf("reading when.arguments: %w", err)
	}
	return q, nil
}
