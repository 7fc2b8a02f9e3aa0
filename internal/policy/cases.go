package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

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
// otherwise. "when" names a tool, prompt, resource (a URI) or ask, or neither
// for a list. "then.by" names every policy that matched or erred on the losing
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

type testDoc struct {
	Kind  string      `yaml:"kind"`
	Given testGiven   `yaml:"given"`
	Cases []yaml.Node `yaml:"cases"`
}

type testCase struct {
	Name  string    `yaml:"name"`
	Given testGiven `yaml:"given"`
	When  testWhen  `yaml:"when"`
	Then  testThen  `yaml:"then"`
}

type testGiven struct {
	Agent   *testAgent   `yaml:"agent"`
	Tool    *testTool    `yaml:"tool"`
	Server  *testServer  `yaml:"server"`
	Subject *testSubject `yaml:"subject"`
	Session *testSession `yaml:"session"`
	Grant   *testGrant   `yaml:"grant"`
	Now     *time.Time   `yaml:"now"`
}

type testAgent struct {
	ID         string   `yaml:"id"`
	Owner      string   `yaml:"owner"`
	Class      string   `yaml:"class"`
	Runtime    string   `yaml:"runtime"`
	Model      string   `yaml:"model"`
	Status     string   `yaml:"status"`
	Tier       int      `yaml:"tier"`
	Attested   *bool    `yaml:"attested"`
	DataScopes []string `yaml:"dataScopes"`
	Tools      []string `yaml:"tools"`
}

type testTool struct {
	Classes []string `yaml:"classes"`
	Tier    int      `yaml:"tier"`
	Pinned  *bool    `yaml:"pinned"`
	Digest  string   `yaml:"digest"`
	Labels  []string `yaml:"labels"`
	Schema  any      `yaml:"schema"`
}

type testServer struct {
	Owner string `yaml:"owner"`
	State string `yaml:"state"`
}

type testSubject struct {
	Issuer string `yaml:"issuer"`
	ID     string `yaml:"id"`
}

type testSession struct {
	ID        string    `yaml:"id"`
	Task      string    `yaml:"task"`
	Depth     int       `yaml:"depth"`
	Bound     bool      `yaml:"bound"`
	StartedAt time.Time `yaml:"startedAt"`
}

type testGrant struct {
	ID        string    `yaml:"id"`
	Remaining int64     `yaml:"remaining"`
	ExpiresAt time.Time `yaml:"expiresAt"`
	Quorum    int       `yaml:"quorum"`
	ArgsBound bool      `yaml:"argsBound"`
}

type testWhen struct {
	Server    string `yaml:"server"`
	Tool      string `yaml:"tool"`
	Prompt    string `yaml:"prompt"`
	Resource  string `yaml:"resource"`
	Ask       string `yaml:"ask"`
	Method    string `yaml:"method"` // for a list: default tools/list
	Arguments any    `yaml:"arguments"`
}

type testThen struct {
	Outcome string   `yaml:"outcome"`
	By      []string `yaml:"by"`
	Listed  *bool    `yaml:"listed"`
}

// RunTests checks policies against c, extended by what the tests give, and runs
// the cases of files. A file that cannot be read as tests is an error.
func RunTests(files []TestFile, policies []Policy, c Catalog) Report {
	var all []prepared
	var broken Problems
	for _, f := range files {
		cases, problems := readTests(f)
		broken = append(broken, problems...)
		for _, p := range cases {
			all = append(all, p)
			c = p.extend(c)
		}
	}
	report := Check(policies, c)
	report.Errors = append(report.Errors, broken...)
	if len(report.Errors) > 0 {
		return report
	}
	sets := make(map[string]*Set)
	for _, p := range all {
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
		report.Tests = append(report.Tests, p.run(set))
	}
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

// readTests reads the cases of a file.
func readTests(f TestFile) ([]prepared, Problems) {
	var out []prepared
	var problems Problems
	bad := func(line, col int, msg string) {
		line, col = max(line, 1), max(col, 1)
		problems = append(problems, Problem{Severity: SeverityError, File: f.Path, Line: line, Column: col, Source: lineOf(f.Text, line), Message: msg})
	}
	yamlError := func(n *yaml.Node, err error) {
		line, col, msg := n.Line, n.Column, "cannot be read as a policy test"
		var list *yaml.LoadErrors
		var one *yaml.LoadError
		if errors.As(err, &list) && len(list.Errors) > 0 {
			one = list.Errors[0]
		}
		if one != nil || errors.As(err, &one) {
			line, col, msg = one.Mark.Line, one.Mark.Column, one.Message
		}
		bad(line, col, msg)
	}
	top := &yaml.Node{Line: 1, Column: 1}
	loader, err := yaml.NewLoader(strings.NewReader(f.Text), yaml.WithKnownFields())
	if err != nil {
		yamlError(top, err)
		return nil, problems
	}
	for {
		var doc testDoc
		if err := loader.Load(&doc); errors.Is(err, io.EOF) {
			return out, problems
		} else if err != nil {
			yamlError(top, err)
			return nil, problems
		}
		if doc.Kind != "PolicyTest" {
			bad(1, 1, fmt.Sprintf("kind is %q, expected PolicyTest", doc.Kind))
			return nil, problems
		}
		for i := range doc.Cases {
			n := &doc.Cases[i]
			p := prepared{file: f.Path, line: n.Line}
			if err := n.Load(&p.testCase, yaml.WithKnownFields()); err != nil {
				yamlError(n, err)
				continue
			}
			p.Given = doc.Given.or(p.Given)
			if msg := p.mistake(); msg != "" {
				bad(n.Line, n.Column, msg)
				continue
			}
			out = append(out, p)
		}
	}
}

// or returns g with the parts that over sets.
func (g testGiven) or(over testGiven) testGiven {
	if over.Agent != nil {
		g.Agent = over.Agent
	}
	if over.Tool != nil {
		g.Tool = over.Tool
	}
	if over.Server != nil {
		g.Server = over.Server
	}
	if over.Subject != nil {
		g.Subject = over.Subject
	}
	if over.Session != nil {
		g.Session = over.Session
	}
	if over.Grant != nil {
		g.Grant = over.Grant
	}
	if over.Now != nil {
		g.Now = over.Now
	}
	return g
}

// mistake says what is missing in a case, "" if nothing is.
func (p *prepared) mistake() string {
	targets := 0
	for _, t := range []string{p.When.Tool, p.When.Prompt, p.When.Resource, p.When.Ask} {
		if t != "" {
			targets++
		}
	}
	switch {
	case p.Name == "":
		return "the case has no name"
	case p.Given.Agent == nil || !access.ValidID(p.Given.Agent.ID):
		return "given.agent.id is missing or not an id"
	case !access.ValidID(p.When.Server):
		return "when.server is missing or not an id"
	case targets > 1:
		return "when names more than one of tool, prompt, resource and ask"
	case p.Then.Outcome == "" && p.Then.Listed == nil:
		return "then says nothing: outcome is permit or deny"
	case p.Then.Outcome != "" && p.Then.Outcome != "permit" && p.Then.Outcome != "deny":
		return fmt.Sprintf("then.outcome %q is not permit or deny", p.Then.Outcome)
	}
	return ""
}

// extend adds the case's server and tool to the catalog.
func (p *prepared) extend(c Catalog) Catalog {
	if !slices.ContainsFunc(c.Servers, func(s ServerInfo) bool { return s.ID == p.When.Server }) {
		c.Servers = append(slices.Clip(c.Servers), ServerInfo{ID: p.When.Server})
	}
	known := func(t ToolInfo) bool {
		return t.Server == p.When.Server && t.Name == p.When.Tool && t.Kind != access.KindPrompt
	}
	if p.When.Tool == "" || slices.ContainsFunc(c.Tools, known) {
		return c
	}
	info := ToolInfo{Server: p.When.Server, Name: p.When.Tool, Kind: access.KindTool, Classes: p.classes()}
	if t := p.Given.Tool; t != nil && t.Schema != nil {
		if raw, err := json.Marshal(t.Schema); err == nil {
			info.InputSchema = raw
		}
	}
	c.Tools = append(slices.Clip(c.Tools), info)
	return c
}

func (p *prepared) classes() []string {
	if t := p.Given.Tool; t != nil && t.Classes != nil {
		return t.Classes
	}
	return []string{groupRead}
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

// run asks the set and compares.
func (p *prepared) run(set *Set) Result {
	q, err := p.query()
	if err != nil {
		return p.fail("%v", err)
	}
	if want := p.Then.Listed; want != nil {
		list := *q
		list.Unknown = true
		v := set.Evaluate(&list)
		if got := v.Outcome == access.Permit || v.Maybe; got != *want {
			return p.fail("listed is %t, expected %t", got, *want)
		}
	}
	if p.Then.Outcome == "" {
		return Result{File: p.file, Line: p.line, Name: p.Name, OK: true}
	}
	v := set.Evaluate(q)
	by := v.Permits
	if v.Outcome != access.Permit {
		by = append(slices.Clone(v.Forbids), v.Errors...)
	}
	if got := v.Outcome.String(); got != p.Then.Outcome {
		return p.fail("outcome is %s by %s, expected %s", got, names(by), p.Then.Outcome)
	}
	want := slices.Clone(p.Then.By)
	slices.Sort(want)
	slices.Sort(by)
	if p.Then.By != nil && !slices.Equal(want, by) {
		return p.fail("decided by %s, expected %s", names(by), names(want))
	}
	return Result{File: p.file, Line: p.line, Name: p.Name, OK: true}
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
		Tool:   ToolFacts{Server: w.Server, Name: r.Target, Kind: r.Kind, Classes: p.classes(), Pinned: true},
		Server: ServerFacts{ID: w.Server, State: "sanctioned"},
		Action: r.Action(), Target: r.Target, Method: r.Method, Now: p.now(),
	}
	if t := p.Given.Tool; t != nil {
		q.Tool.Tier, q.Tool.Digest, q.Tool.Labels, q.Tool.Pinned = t.Tier, t.Digest, t.Labels, t.Pinned == nil || *t.Pinned
	}
	if s := p.Given.Server; s != nil {
		q.Server.Owner, q.Server.State = s.Owner, cmpOr(s.State, "sanctioned")
	}
	if s := p.Given.Subject; s != nil {
		q.Subject = access.Subject{Issuer: s.Issuer, ID: s.ID}
	}
	if s := p.Given.Session; s != nil {
		q.Session = SessionFacts{ID: s.ID, Task: s.Task, Depth: s.Depth, Bound: s.Bound, StartedAt: s.StartedAt}
	}
	if g := p.Given.Grant; g != nil {
		q.Grant = &GrantFacts{ID: g.ID, Remaining: g.Remaining, ExpiresAt: g.ExpiresAt, Quorum: g.Quorum, ArgsBound: g.ArgsBound}
	}
	if w.Arguments == nil {
		return q, nil
	}
	raw, err := json.Marshal(w.Arguments)
	if err != nil {
		return nil, errors.New("when.arguments cannot be written as JSON: every key must be a string")
	}
	if q.Arguments, err = rawjson.Parse(raw, rawjson.Limits{}); err != nil {
		return nil, fmt.Errorf("reading when.arguments: %w", err)
	}
	return q, nil
}
