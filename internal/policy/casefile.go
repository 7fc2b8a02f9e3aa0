package policy

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rutile/internal/access"
)

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
	Agent   *testAgent     `yaml:"agent"`
	Tool    *testTool      `yaml:"tool"`
	Server  *testServer    `yaml:"server"`
	Subject *testSubject   `yaml:"subject"`
	Session *testSession   `yaml:"session"`
	Grant   *testGrant     `yaml:"grant"`
	Now     *time.Time     `yaml:"now"`
	Facts   map[string]any `yaml:"facts"`
}

// testOutput is what came back; with it a case is about the release.
type testOutput struct {
	Labels   []string `yaml:"labels"`
	Findings []string `yaml:"findings"`
	Bytes    int      `yaml:"bytes"`
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
	Risk       int      `yaml:"risk"`
}

type testTool struct {
	Classes []string `yaml:"classes"`
	Tier    *int     `yaml:"tier"`
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
	Risk   int    `yaml:"risk"`
}

type testSession struct {
	ID        string    `yaml:"id"`
	Task      string    `yaml:"task"`
	Depth     int       `yaml:"depth"`
	Bound     bool      `yaml:"bound"`
	StartedAt time.Time `yaml:"startedAt"`
	Taint     []string  `yaml:"taint"`
	Labels    []string  `yaml:"labels"`
	Risk      int       `yaml:"risk"`
}

type testGrant struct {
	ID        string    `yaml:"id"`
	Remaining int64     `yaml:"remaining"`
	ExpiresAt time.Time `yaml:"expiresAt"`
	Quorum    int       `yaml:"quorum"`
	ArgsBound bool      `yaml:"argsBound"`
	Depth     int       `yaml:"depth"`
}

type testWhen struct {
	Server    string    `yaml:"server"`
	Tool      string    `yaml:"tool"`
	Prompt    string    `yaml:"prompt"`
	Resource  string    `yaml:"resource"`
	Ask       string    `yaml:"ask"`
	Method    string    `yaml:"method"` // for a list: default tools/list
	Arguments yaml.Node `yaml:"arguments"`

	Output *testOutput `yaml:"output"`
	// Request makes the case about asking for the right instead of using it.
	Request *testRequest `yaml:"request"`
}

// testRequest is what is asked for: a life in seconds and a number of uses, 0 for
// any.
type testRequest struct {
	Seconds int64 `yaml:"seconds"`
	Uses    int64 `yaml:"uses"`
}

type testThen struct {
	Outcome string   `yaml:"outcome"`
	By      []string `yaml:"by"`
	Listed  *bool    `yaml:"listed"`
	// Approve is who must approve, of a case with when.request.
	Approve []string `yaml:"approve"`
}

// unknownField is how the YAML library says that a key is not known.
var unknownField = regexp.MustCompile(`^field (.*) not found in type `)

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
		if m := unknownField.FindStringSubmatch(msg); m != nil {
			msg = fmt.Sprintf("unknown key %q", m[1])
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
		if len(doc.Cases) == 0 {
			bad(1, 1, "there are no cases, so nothing is tested")
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
	if over.Facts != nil {
		g.Facts = over.Facts
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
	case p.Then.Outcome == "" && p.Then.Listed == nil && p.Then.Approve == nil:
		return "then says nothing: outcome is permit or deny"
	case p.Then.Outcome != "" && !known(p.Then.Outcome):
		return fmt.Sprintf("then.outcome %q is not permit, deny, require_approval, rate_limit, mask, quarantine, revoke or terminate", p.Then.Outcome)
	case p.When.Output != nil && p.Then.Listed != nil:
		return "then.listed is about a call nobody made, and when.output about one that came back: make two cases of them"
	}
	if _, err := p.facts(); err != nil {
		return err.Error()
	}
	if t := p.Given.Tool; t != nil {
		for _, c := range t.Classes {
			if !slices.Contains([]string{groupRead, groupWrite, groupDestroy, groupEgress}, c) {
				return fmt.Sprintf("given.tool.classes: %q is not read, write, destroy or egress", c)
			}
		}
	}
	return ""
}

func known(outcome string) bool {
	_, err := access.ParseOutcome(outcome)
	return err == nil
}
