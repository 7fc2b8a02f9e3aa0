package cli_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/cli"
	"rutile/internal/registry"
)

func TestEveryCodeHasItsExitStatus(t *testing.T) {
	want := map[access.Code]int{access.CodeUsage: 2, access.CodeFindings: 3, access.CodeDenied: 4, access.CodePartial: 5, access.CodeUnauthenticated: 6}
	for _, c := range access.Codes() {
		w, ok := want[c]
		if !ok {
			w = 1
		}
		if got := cli.Status(fmt.Errorf("doing it: %w", access.Errorf(c, "x"))); got != w {
			t.Errorf("%s: %d, want %d", c, got, w)
		}
	}
	if got := cli.Status(nil); got != 0 {
		t.Errorf("no error: %d", got)
	}
	if got := cli.Status(errors.New("x")); got != 1 {
		t.Errorf("an error of no code: %d", got)
	}
	if got := cli.Exits([]access.Code{access.CodePartial, access.CodeFindings}); got != "0 done, 1 error, 2 wrong usage, 3 findings, 5 partial, 130 interrupted" {
		t.Errorf("help says %q", got)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestAResultThatCannotBeWrittenIsAnError(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"version", "-o", "json"}, {"version", "-o", "yaml"}, {"--help"}} {
		var errOut bytes.Buffer
		if got := cli.Main(t.Context(), "test", args, strings.NewReader(""), brokenWriter{}, &errOut); got != 1 || !strings.Contains(errOut.String(), "writing the result: broken pipe") {
			t.Errorf("%v: status %d, %q", args, got, errOut.String())
		}
	}
}

func TestAnInterruptedCommandEndsWith130(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errOut bytes.Buffer
	if got := cli.Main(ctx, "test", []string{"--data", t.TempDir(), "agent", "list"}, strings.NewReader(""), &out, &errOut); got != 130 || errOut.String() != "rutile: interrupted\n" {
		t.Errorf("status %d, %q", got, errOut.String())
	}
}

// hostile is what a server could call a tool: terminal sequences, text that is
// not shown or shown in another order, fake lines.
const hostile = "read\x1b[2J\x1b]0;title\x07\u202egnp\u2066\u200b\ufeff\r\n\tcreated\u2028\U000e0041\x00\x7f\u0085\xff end"

func harmless(t *testing.T, what, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%s: not UTF-8: %q", what, s)
	}
	for _, r := range s {
		if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector)) {
			t.Errorf("%s: %U passes: %q", what, r, s)
			return
		}
	}
}

func TestHostileTextIsSpelledOut(t *testing.T) {
	if s := cli.Cell(hostile); strings.Contains(s, "\n") {
		t.Errorf("a cell of two lines: %q", s)
	}
	harmless(t, "cell", cli.Cell(hostile))
	harmless(t, "lines", cli.Lines(hostile))
	harmless(t, "evidence", cli.RowLine(audit.Row{Type: hostile, Outcome: hostile, Agent: hostile, Server: hostile, Tool: hostile, Decision: hostile, Policies: []string{hostile}}))
	var b bytes.Buffer
	cli.PrintAgents(&b, []api.Agent{{Agent: registry.Agent{ID: hostile, Purpose: hostile}}})
	harmless(t, "table", b.String())
	if n := strings.Count(b.String(), "\n"); n != 2 {
		t.Errorf("a table of one row has %d lines: %q", n, b.String())
	}
	for _, form := range []string{"json", "yaml"} {
		var b bytes.Buffer
		v := map[string]any{hostile: []any{hostile, map[string]any{"x": hostile}}}
		if err := cli.Print(form, &b, v); err != nil {
			t.Fatal(err)
		}
		harmless(t, form, b.String())
	}
	if got := cli.Cell(`\u{1b} plain`); got == `\u{1b} plain` {
		t.Errorf("text that looks spelled out passes as it is: %q", got)
	}
	if s := "한국어 text — naïve ✓"; cli.Cell(s) != s || string(cli.PlainJSON([]byte(s))) != s {
		t.Errorf("%q became %q", s, cli.Cell(s))
	}
}

// FuzzForms holds that what JSON and YAML output say is what the value says,
// and that neither shows what it should not.
func FuzzForms(f *testing.F) {
	f.Add(hostile, "key", 1.5)
	f.Add("yes", "null", 0.0)
	f.Add("", "- a: b", -1e30)
	f.Add("# x", " lead", 7.0)
	f.Add("😀é\u0301", "a: b\nc", 7.0)
	f.Fuzz(func(t *testing.T, s, k string, n float64) {
		s, k = strings.ToValidUTF8(s, "?"), strings.ToValidUTF8(k, "?")
		doc, err := json.Marshal(map[string]any{"a": s, "m": map[string]any{k: n, "l": []any{s, []any{k, nil, []any{}}, map[string]any{"x": true, "y": map[string]any{}}}}})
		if err != nil {
			t.Skip("not a number JSON holds")
		}
		var want, gotJSON, gotYAML any
		if err := json.Unmarshal(doc, &want); err != nil {
			t.Fatal(err)
		}
		plain := cli.PlainJSON(doc)
		if err := json.Unmarshal(plain, &gotJSON); err != nil {
			t.Fatalf("%s: %v", plain, err)
		}
		if d := cmp.Diff(want, gotJSON); d != "" {
			t.Errorf("JSON:\n%s", d)
		}
		text, err := cli.ToYAML(doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Load([]byte(text), &gotYAML); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if d := cmp.Diff(want, normal(gotYAML)); d != "" {
			t.Errorf("YAML:\n%s\n%s", text, d)
		}
		harmless(t, "JSON", string(plain))
		harmless(t, "YAML", text)
	})
}

// normal gives YAML's values the types JSON's have.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
		return v
	case map[any]any:
		out := map[string]any{}
		for k, x := range v {
			out[fmt.Sprint(k)] = normal(x)
		}
		return out
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
		return v
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	default:
		return v
	}
}

func TestTablesLineUp(t *testing.T) {
	var b bytes.Buffer
	cli.PrintAgents(&b, []api.Agent{{Agent: registry.Agent{ID: "a", Purpose: "x"}}, {Agent: registry.Agent{ID: "한국어", Purpose: "y"}}, {Agent: registry.Agent{ID: "long-name"}}})
	want := "AGENT      PURPOSE\na          x\n한국어     y\nlong-name  -\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
	for s, n := range map[string]int{"abc": 3, "한국어": 6, "é": 1, "e\u0301": 1, "": 0} {
		if got := cli.Columns(s); got != n {
			t.Errorf("%q is %d wide, want %d", s, got, n)
		}
	}
}

func TestHintsCanBePasted(t *testing.T) {
	for in, want := range map[string]string{"/var/lib/rutile": "/var/lib/rutile", "my data": "'my data'", "it's": `'it'\''s'`, "": "''", "$(rm -rf)": "'$(rm -rf)'"} {
		if got := cli.ShellWord(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestBundlesStayInTheirDirectory hands over archives of a hostile gateway.
func TestBundlesStayInTheirDirectory(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"parent":        {Name: "../outside", Typeflag: tar.TypeReg},
		"absolute":      {Name: "/outside", Typeflag: tar.TypeReg},
		"hidden parent": {Name: "a/../../outside", Typeflag: tar.TypeReg},
		"link":          {Name: "leaves", Linkname: "..", Typeflag: tar.TypeSymlink},
		"hard link":     {Name: "leaf", Linkname: "../outside", Typeflag: tar.TypeLink},
		"device":        {Name: "null", Typeflag: tar.TypeChar},
		"empty":         {Name: "", Typeflag: tar.TypeReg},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			if err := errors.Join(w.WriteHeader(&h), w.Close()); err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			dir := filepath.Join(root, "bundle")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if n, err := cli.Untar(&b, dir); err == nil || n != 0 {
				t.Errorf("%d files, %v", n, err)
			}
			if list, err := os.ReadDir(root); err != nil || len(list) != 1 {
				t.Errorf("%v, %v", list, err)
			}
		})
	}
	if _, err := cli.Untar(strings.NewReader("this is no tar file, and so it cannot be read as one at all"), t.TempDir()); err == nil {
		t.Error("what is no archive was unpacked")
	}
}

// TestLineSaysWhatWasAsked: a call, a question about the task it began, and what
// names no server all read differently.
func TestLineSaysWhatWasAsked(t *testing.T) {
	for want, r := range map[string]audit.Row{
		"bot → jobs/run":                  {Server: "jobs", Tool: "run", Method: "tools/call"},
		"bot → jobs/run tasks/get":        {Server: "jobs", Tool: "run", Method: "tasks/get"},
		"bot → jobs tools/list":           {Server: "jobs", Method: "tools/list"},
		"bot → tasks/get":                 {Method: "tasks/get"},
		"bot for alice → jobs/run by own": {Subject: "alice", Server: "jobs", Tool: "run", Method: "tools/call", Policies: []string{"own"}},
	} {
		r.Type, r.Outcome, r.Agent = "intent", "permit", "bot"
		if got := cli.RowLine(r); !strings.HasSuffix(got, " "+want) {
			t.Errorf("%q, want it to end in %q", got, want)
		}
	}
}
