// Package schematest checks what we write against the schemas its readers
// publish. The schemas come in Go modules of their publishers, named in
// scripts/schemas/go.mod, so that none is copied here.
package schematest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// File returns the path of a file of a module of scripts/schemas/go.mod.
func File(t testing.TB, module, name string) string {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("where this file is cannot be found")
	}
	dir := filepath.Join(filepath.Dir(here), "..", "..", "scripts", "schemas")
	if !filepath.IsAbs(dir) { // built with -trimpath: tests run in their package's directory
		dir = filepath.Join("..", "..", "scripts", "schemas")
	}
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("getting %s: %v\n%s%s", module, err, out, stderr.Bytes())
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil || m.Dir == "" {
		t.Fatalf("getting %s: %v: %s", module, err, out)
	}
	return filepath.Join(m.Dir, filepath.FromSlash(name))
}

// Schema is a schema to check documents against.
type Schema struct{ s *jsonschema.Schema }

// Compile reads a schema, and those it names by the addresses in beside.
func Compile(t testing.TB, file string, beside map[string]string) Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for address, file := range beside {
		if err := c.AddResource(address, read(t, file)); err != nil {
			t.Fatal(err)
		}
	}
	doc := read(t, file)
	address := "schema.json"
	if m, ok := doc.(map[string]any); ok {
		if id, ok := m["$id"].(string); ok {
			address = id
		}
	}
	if err := c.AddResource(address, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(address)
	if err != nil {
		t.Fatalf("compiling %s: %v", file, err)
	}
	return Schema{s}
}

func read(t testing.TB, file string) any {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// Check returns why a JSON document is not as the schema has it.
func (s Schema) Check(doc []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return err
	}
	return s.s.Validate(v)
}
