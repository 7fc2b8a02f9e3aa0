package registry_test

import (
	"testing"
	"time"

	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// What a definition claims is read with the defaults of MCP, of what agents are shown;
// what its answers must look like is its output schema.
func TestClaimsOfADefinition(t *testing.T) {
	const schema = `"outputSchema":{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}`
	for name, c := range map[string]struct {
		def                        string
		readOnly, additive, closed bool
		fits, unfit                bool // what {"n":1} and {"n":"x"} are
		checked                    bool
	}{
		"nothing said":   {`{"name":"t"}`, false, false, false, false, false, false},
		"all said":       {`{"name":"t","annotations":{"readOnlyHint":true,"destructiveHint":false,"openWorldHint":false},` + schema + `}`, true, true, true, true, false, true},
		"not booleans":   {`{"name":"t","annotations":{"readOnlyHint":"true","openWorldHint":0}}`, false, false, false, false, false, false},
		"refers outside": {`{"name":"t","outputSchema":{"$ref":"http://example.com/s"}}`, false, false, false, false, false, false},
		"no definition":  {`{`, false, false, false, false, false, false},
	} {
		v, err := registry.NewView(registry.Content{Servers: []registry.Server{{ID: "s", Owner: "o", State: registry.ServerSanctioned}},
			Tools: []registry.Tool{{Server: "s", Name: "t", State: registry.ToolApproved, Pinned: []byte(c.def), PinDigest: "sha256:" + name, SeenDigest: "sha256:" + name}}})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := v.Claims("s", "t")
		if !ok || got.ReadOnly != c.readOnly || got.Additive != c.additive || got.Closed != c.closed {
			t.Errorf("%s: claims %+v", name, got)
		}
		for content, want := range map[string]bool{`{"n":1}`: c.fits, `{"n":"x"}`: c.unfit} {
			doc, err := rawjson.Parse([]byte(content), rawjson.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if fits, checked := v.FitsOutput("s", "t", doc); fits != want || checked != c.checked {
				t.Errorf("%s: %s fits %v, checked %v", name, content, fits, checked)
			}
		}
		if fits, checked := v.FitsOutput("s", "t", rawjson.Value{}); fits || checked != c.checked {
			t.Errorf("%s: an answer without structured content fits %v, checked %v", name, fits, checked)
		}
	}
}

// Whatever ends what was learned is another revision.
func TestARevisionIsOfPinAndTime(t *testing.T) {
	tool := registry.Tool{Server: "s", Name: "t", State: registry.ToolApproved, Pinned: []byte(`{"name":"t"}`), PinDigest: "sha256:1", SeenDigest: "sha256:1"}
	revision := func() string {
		v, err := registry.NewView(registry.Content{Servers: []registry.Server{{ID: "s", Owner: "o"}}, Tools: []registry.Tool{tool}})
		if err != nil {
			t.Fatal(err)
		}
		c, _ := v.Claims("s", "t")
		return c.Revision
	}
	seen := map[string]bool{revision(): true}
	tool.LearnedFrom = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	seen[revision()] = true
	tool.PinDigest = "sha256:2"
	seen[revision()] = true
	tool.PinDigest = ""
	seen[revision()] = true
	if len(seen) != 4 || !seen[""] {
		t.Errorf("%v", seen)
	}
}
