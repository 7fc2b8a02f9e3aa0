package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// Arguments fit by the whole of JSON Schema, and what cannot be checked, or only
// without end, fits nothing.
func TestArgumentsFitTheApprovedSchema(t *testing.T) {
	laughs := `{"$defs":{"a0":{"type":"string"}`
	for i := range 30 {
		laughs += fmt.Sprintf(`,"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]}`, i+1, i, i)
	}
	laughs += `},"properties":{"x":{"$ref":"#/$defs/a30"}}}`
	for name, tt := range map[string]struct {
		schema, args string
		fits         bool
	}{
		"no schema":             {``, `{"x":"[masked]"}`, true},
		"a text":                {`{"type":"object","properties":{"x":{"type":"string"}}}`, `{"x":"[masked]"}`, true},
		"a number":              {`{"type":"object","properties":{"x":{"type":"integer"}}}`, `{"x":"[masked]"}`, false},
		"a choice":              {`{"properties":{"x":{"enum":["a","b"]}}}`, `{"x":"[masked]"}`, false},
		"a pattern":             {`{"properties":{"x":{"pattern":"^[0-9]+$"}}}`, `{"x":"[masked]"}`, false},
		"a length":              {`{"properties":{"x":{"maxLength":4}}}`, `{"x":"[masked]"}`, false},
		"an object":             {`{"properties":{"x":{"type":"object"}}}`, `{"x":"[masked]"}`, false},
		"either":                {`{"properties":{"x":{"anyOf":[{"type":"integer"},{"type":"string"}]}}}`, `{"x":"[masked]"}`, true},
		"by reference":          {`{"$defs":{"n":{"type":"integer"}},"properties":{"x":{"$ref":"#/$defs/n"}}}`, `{"x":"[masked]"}`, false},
		"by reference, fitting": {`{"$defs":{"n":{"type":"string"}},"properties":{"x":{"$ref":"#/$defs/n"}}}`, `{"x":"[masked]"}`, true},
		"if and then":           {`{"if":{"required":["y"]},"then":{"properties":{"x":{"type":"integer"}}}}`, `{"x":"[masked]","y":1}`, false},
		"exact numbers":         {`{"properties":{"n":{"const":9007199254740993}}}`, `{"n":9007199254740992}`, false},
		"itself":                {`{"properties":{"x":{"$ref":"#"}}}`, `{"x":{}}`, false},
		"elsewhere":             {`{"properties":{"x":{"$ref":"https://example.com/s"}}}`, `{}`, false},
		"a file":                {`{"properties":{"x":{"$ref":"file:///etc/passwd"}}}`, `{}`, false},
		"many times over":       {laughs, `{"x":"a"}`, false},
		"none":                  {`{"type":7}`, `{}`, false},
		"twice":                 {`{"properties":{"x":{"type":"string"}}}`, `{"x":"a","X":1}`, false},
		"too large":             {`{"description":"` + strings.Repeat("x", 65<<10) + `"}`, `{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			def := `{"name":"t"}`
			if tt.schema != "" {
				def = `{"name":"t","inputSchema":` + tt.schema + `}`
			}
			v, err := registry.NewView(registry.Content{Tools: []registry.Tool{{Server: "s", Name: "t", PinDigest: "sha256:1", Pinned: []byte(def)}}})
			if err != nil {
				t.Fatal(err)
			}
			args, err := rawjson.Parse([]byte(tt.args), rawjson.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if why := v.Fits("s", "t", args); (why == "") != tt.fits {
					t.Errorf("%s: %q", tt.args, why)
				}
			}
		})
	}
}
