package cli_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/cli"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got); go test ./internal/cli -update writes it anew:\n%s", path, d)
	}
}

// TestConfigHelpSaysWhatTheConfigurationSays holds the help of up to the
// comments of daemon.Config: a new key cannot stay undocumented.
func TestConfigHelpSaysWhatTheConfigurationSays(t *testing.T) {
	golden(t, "config_help.txt", configHelp(t))
}

func configHelp(t *testing.T) string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "daemon", "config.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok {
			for _, s := range g.Specs {
				if ts, ok := s.(*ast.TypeSpec); ok {
					if st, ok := ts.Type.(*ast.StructType); ok {
						structs[ts.Name.Name] = st
					}
				}
			}
		}
	}
	var b strings.Builder
	b.WriteString("Configuration (rutile.yaml). Every key may be left out; an unknown one is an error.\n")
	writeKeys(&b, structs, "Config", "")
	return b.String()
}

func writeKeys(b *strings.Builder, structs map[string]*ast.StructType, name, prefix string) {
	for _, field := range structs[name].Fields.List {
		if field.Tag == nil {
			continue
		}
		key := prefix + reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("yaml")
		text := strings.Join(strings.Fields(field.Doc.Text()+" "+field.Comment.Text()), " ")
		fmt.Fprintf(b, "\n  %s\n", key)
		line := "     "
		for _, w := range strings.Fields(text) {
			if len(line)+1+len(w) > 84 {
				fmt.Fprintln(b, line)
				line = "     "
			}
			line += " " + w
		}
		fmt.Fprintln(b, line)
		if id, ok := field.Type.(*ast.Ident); ok && structs[id.Name] != nil {
			writeKeys(b, structs, id.Name, key+".")
		}
	}
}

// TestHelp pins what every command says about itself.
func TestHelp(t *testing.T) {
	var all strings.Builder
	var walk func(path []string)
	walk = func(path []string) {
		var out, errOut bytes.Buffer
		if got := cli.Main(t.Context(), "test", append(path, "--help"), strings.NewReader(""), &out, &errOut); got != 0 || errOut.Len() > 0 {
			t.Fatalf("%v --help: status %d, %s", path, got, errOut.String())
		}
		text := out.String()
		fmt.Fprintf(&all, "=== rutile %s\n%s", strings.Join(path, " "), text)
		_, list, ok := strings.Cut(text, "\nCommands:\n")
		if !ok {
			if !strings.Contains(text, "Exit status: 0 done, 1 error") {
				t.Errorf("%v --help does not say how it ends", path)
			}
			return
		}
		list, _, _ = strings.Cut(list, "\n\n")
		for line := range strings.Lines(list) {
			if word := strings.Fields(line)[0]; word != "help" {
				walk(append(path[:len(path):len(path)], word))
			}
		}
	}
	walk(nil)
	golden(t, filepath.Join("testdata", "help.txt"), all.String())
}

// TestEveryHelpBeginsWithAnExampleThatParses runs each example's words through
// the command line's own parser.
func TestEveryHelpBeginsWithAnExampleThatParses(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "help.txt"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for part := range strings.SplitSeq(string(text), "=== ") {
		title, rest, ok := strings.Cut(part, "\n")
		if !ok {
			continue
		}
		example, _, _ := strings.Cut(rest, "\n")
		if !strings.HasPrefix(example, "  rutile ") {
			t.Errorf("the help of %q begins with %q and not with an example", title, example)
			continue
		}
		n++
		line, _, _ := strings.Cut(strings.TrimSpace(example), " < ")
		line, _, _ = strings.Cut(line, " > ")
		args := append(strings.Fields(strings.ReplaceAll(line, "'", ""))[1:], "--help")
		var out, errOut bytes.Buffer
		if got := cli.Main(t.Context(), "test", args, strings.NewReader(""), &out, &errOut); got != 0 {
			t.Errorf("the example %q of %q does not parse: %s", line, title, errOut.String())
		}
	}
	if n < 30 {
		t.Errorf("only %d examples were found", n)
	}
}
