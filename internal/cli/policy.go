package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/policy"
)

// maxPolicyFile bounds one file of policies or tests.
const maxPolicyFile = 8 << 20

func (a *app) policy() *cobra.Command {
	return a.group("policy", "Cedar policy sets", "rutile policy check examples/filesystem.yaml",
		a.policyCheck("check", "Check policies without a gateway", "rutile policy check examples/filesystem.yaml", false),
		a.policyCheck("test", "Check policies and run their tests without a gateway", "rutile policy test policies/", true),
		a.policyExplain(), a.policyVersions(), a.policyDiff(), a.policyRollback(), a.policySimulate(), a.policyReplay(), a.policySuggest(), a.policyExport())
}

// draft is what files declare: policies with what they are about, and tests.
type draft struct {
	admin.Declared
	tests []policy.TestFile
}

var testKind = regexp.MustCompile(`(?m)^kind:\s*["']?PolicyTest["']?\s*(#.*)?$`)

// readDraft reads manifests (*.yaml, *.yml), bare Cedar (*.cedar, one policy
// set named like its file) and tests (YAML of kind PolicyTest).
func (a *app) readDraft(paths []string) (draft, error) {
	var d draft
	var manifests []string
	for _, p := range paths {
		err := filepath.WalkDir(p, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return access.Errorf(access.CodeInvalid, "%w", err)
			}
			if e.IsDir() {
				if path != p && strings.HasPrefix(e.Name(), ".") {
					return filepath.SkipDir
				}
				return nil
			}
			ext := filepath.Ext(path)
			if ext != ".cedar" && ext != ".yaml" && ext != ".yml" || path != p && strings.HasPrefix(e.Name(), ".") {
				if path == p {
					return access.Errorf(access.CodeUsage, "%s is neither *.cedar nor *.yaml", path)
				}
				return nil
			}
			text, err := readFile(path, maxPolicyFile)
			switch {
			case err != nil:
				return err
			case ext == ".cedar":
				d.Policies = append(d.Policies, policy.Policy{ID: strings.TrimSuffix(filepath.Base(path), ext), Cedar: string(text), File: path, Line: 1})
			case testKind.Match(text):
				d.tests = append(d.tests, policy.TestFile{Path: path, Text: string(text)})
			default:
				manifests = append(manifests, path)
			}
			return nil
		})
		if err != nil {
			return d, err
		}
	}
	var docs []admin.Document
	if len(manifests) > 0 {
		var err error
		if docs, err = admin.ParseFiles(manifests...); err != nil {
			return d, err
		}
	}
	declared, err := admin.Declare(docs, a.now())
	if err != nil {
		return d, err
	}
	declared.Policies = append(d.Policies, declared.Policies...)
	d.Declared = declared
	if len(d.Policies) == 0 && len(d.tests) == 0 && len(docs) == 0 {
		return d, access.Errorf(access.CodeNotFound, "there is no policy in %s", strings.Join(paths, ", "))
	}
	return d, nil
}

func (a *app) policyCheck(verb, short, example string, test bool) *cobra.Command {
	var live, require, strict bool
	c := a.command(verb+" PATH…", short, example, append(calling(), access.CodeFindings), func(ctx context.Context, args []string) error {
		d, err := a.readDraft(args)
		if err != nil {
			return err
		}
		if test && len(d.tests) == 0 {
			return access.Errorf(access.CodeNotFound, "there is no test in %s: a test is YAML of kind PolicyTest", strings.Join(args, ", "))
		}
		if !test {
			d.tests = nil
		}
		var report policy.Report
		if live {
			if report, err = a.checkLive(ctx, d); err != nil {
				return err
			}
		} else {
			report = policy.RunTests(ctx, d.tests, d.Policies, d.Catalog())
		}
		var missed []policy.Covered
		if test && len(report.Errors) == 0 {
			missed = report.Uncovered(d.Policies)
		}
		if err := a.print(report, func(w io.Writer) { a.writeReport(w, report, missed) }); err != nil {
			return err
		}
		if !report.OK() || require && len(missed) > 0 || strict && len(report.Warnings) > 0 {
			return ended(access.CodeFindings)
		}
		return nil
	})
	c.Long = short + `.

PATH is a file or directory of manifests (*.yaml), bare Cedar (*.cedar) and tests
(YAML of kind PolicyTest). Policies are checked against the agents, servers and
tools the manifests declare; with --live against what the gateway has registered,
its other policies included. The status is 3 if something is wrong.`
	if test {
		c.Long += `

  kind: PolicyTest
  given: {agent: {id: reader, tools: ["files/*"]}, tool: {classes: [read]}}
  cases:
    - name: hidden files are not read
      when: {server: files, tool: read_file, arguments: {path: /srv/.env}}
      then: {outcome: deny, by: [no-hidden-files]}

docs/policy.md has the whole form. It also says which statements no case made
match; with --require-coverage such a statement gives the status 3.`
		c.Flags().BoolVar(&require, "require-coverage", false, "fail if no test makes some statement in PATH match")
	}
	c.Flags().BoolVar(&live, "live", false, "against what the running gateway has registered")
	c.Flags().BoolVar(&strict, "strict", false, "fail on a warning too, such as an optional argument that is read unguarded")
	return c
}

func (a *app) checkLive(ctx context.Context, d draft) (policy.Report, error) {
	client, err := a.client()
	if err != nil {
		return policy.Report{}, err
	}
	in := api.PolicyCheck{Policies: d.Policies}
	for _, t := range d.tests {
		in.Tests = append(in.Tests, api.TestFile(t))
	}
	return client.CheckPolicies(ctx, in)
}

func (a *app) writeReport(w io.Writer, r policy.Report, missed []policy.Covered) {
	for _, p := range slices.Concat(r.Errors, r.Warnings) {
		fmt.Fprintln(w, lines(p.String()))
	}
	failed := 0
	for _, t := range r.Tests {
		word := "ok"
		if !t.OK {
			word = "FAIL"
			failed++
		}
		if !t.OK || !a.quiet {
			fmt.Fprintf(w, "%-4s %s:%d: %s\n", word, cell(t.File), t.Line, cell(t.Name))
		}
		if t.Message != "" {
			fmt.Fprintf(w, "     %s\n", cell(t.Message))
		}
	}
	for _, m := range missed {
		fmt.Fprintf(w, "no test matches %s (%s)\n", cell(m.ID), cell(place(m.Policy, m.File, m.Line)))
	}
	fmt.Fprintf(w, "%d statements, %d errors, %d warnings", r.Statements, len(r.Errors), len(r.Warnings))
	if len(r.Tests) > 0 {
		fmt.Fprintf(w, "; %d tests, %d failed, %d statements not covered", len(r.Tests), failed, len(missed))
	}
	fmt.Fprintln(w)
}

func (a *app) policyExplain() *cobra.Command {
	var files []string
	c := a.command("explain REQUEST.json", "Say what would be decided about a made-up call, and why", "rutile policy explain request.json", append(calling(), access.CodeFindings), func(ctx context.Context, args []string) error {
		raw, err := a.readRequest(args[0])
		if err != nil {
			return err
		}
		req, err := api.ParseExplain(raw)
		if err != nil {
			return err
		}
		var x api.Explained
		if len(files) > 0 {
			x, err = a.explainFiles(req, files)
		} else {
			var client *api.Client
			if client, err = a.client(); err == nil {
				x, err = client.Explain(ctx, req)
			}
		}
		if err != nil {
			return err
		}
		return a.print(x, func(w io.Writer) { writeExplained(w, x) })
	})
	c.Long = `Say what would be decided about a made-up call, and why. Nothing is called and
nothing is recorded. The request is a file, or - for standard input:

  {"agent": "reader", "server": "files", "tool": "read_file",
   "arguments": {"path": "/srv/docs/a.txt"}}

Further members: prompt, resource, ask or method instead of tool; subject
{"issuer", "id"}, task, facts {"name": value}, attested (default true), at (a
time, default now), and request {"seconds", "uses"}: then it is about asking for the
right to make the call, and says who must approve it.`
	c.Flags().StringArrayVar(&files, "file", nil, "explain on the manifests in this `path` instead of asking the gateway; may be repeated")
	return c
}

func (a *app) readRequest(path string) ([]byte, error) {
	if path != "-" {
		return readFile(path, maxPolicyFile)
	}
	b, err := io.ReadAll(io.LimitReader(a.in, maxPolicyFile))
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	return b, nil
}

func (a *app) explainFiles(req api.ExplainRequest, files []string) (api.Explained, error) {
	d, err := a.readDraft(files)
	if err != nil {
		return api.Explained{}, err
	}
	set, err := policy.Compile(d.Policies, d.Catalog())
	if err != nil {
		return api.Explained{}, err
	}
	return api.Explain(d.View, set, false, req, a.now())
}

func writeExplained(w io.Writer, x api.Explained) {
	fmt.Fprintf(w, "%s  %s\n", x.Outcome, cell(x.Action))
	would := x.Would
	if would == x.Outcome {
		would = ""
	}
	fields(w, "enforcing would", would, "because", x.Reason, "what helps", x.Help, "permits", strings.Join(x.Permits, " "), "forbids", strings.Join(x.Forbids, " "), "errors", strings.Join(x.Errors, " "),
		"approved by", strings.Join(x.Approve, ", "), "masked", strings.Join(x.Masked, ", "), "besides", strings.Join(x.Consequence, ", "))
	if x.Shadow != nil {
		fmt.Fprintf(w, "\nwith what is only tried (%s) it would be %s\n", cell(strings.Join(x.Shadow.By, ", ")), x.Shadow.Outcome)
	}
	writeRules(w, x.Determining, x.Nearest, x.Inputs, x.Flip)
}

// writeRules writes the rules a decision came from, and what would change it.
func writeRules(w io.Writer, decided []policy.Statement, nearest []policy.Near, inputs []policy.Input, flip []string) {
	for _, s := range decided {
		fmt.Fprintf(w, "\ndecided by %s (%s, %s)\n%s\n", cell(s.ID), s.Effect, cell(place(s.Policy, s.File, s.Line)), quoted(s.Cedar))
	}
	for _, n := range nearest {
		fmt.Fprintf(w, "\nnearest permit %s (%s)\n%s\n", cell(n.ID), cell(place(n.Policy, n.File, n.Line)), quoted(n.Cedar))
		for _, why := range n.Why {
			fmt.Fprintf(w, "  does not match: %s\n", cell(why))
		}
	}
	if len(inputs) > 0 {
		fmt.Fprintln(w, "\nread:")
		for _, i := range inputs {
			present := "missing"
			switch {
			case i.Unknown:
				present = "not looked at"
			case i.Present:
				present = "present"
			}
			if i.Problem != "" {
				present += ", and cannot be computed: " + i.Problem + ","
			}
			fmt.Fprintf(w, "  %s: %s %s\n", cell(i.Name), present, cell(i.Type))
		}
	}
	if len(flip) > 0 {
		fmt.Fprintln(w, "\nit would be permitted with:")
		for _, f := range flip {
			fmt.Fprintf(w, "  %s\n", cell(f))
		}
	}
}

func place(id, file string, line int) string {
	if file == "" {
		return "policy " + id + " line " + itoa(line)
	}
	return file + ":" + itoa(line)
}

func quoted(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(lines(text)), "\n", "\n  ")
}
