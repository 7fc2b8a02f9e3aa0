package registry

import (
	"time"

	"rutile/internal/rawjson"
)

// Claims are what the definition of a tool that agents are shown says about it, with
// the defaults of MCP (ToolAnnotations) where it says nothing.
type Claims struct {
	ReadOnly bool
	Additive bool // no destructive updates
	Closed   bool // no open world
	// Revision changes whenever what was learned of the tool counts no more.
	Revision string
}

// claimed is what one definition claims, and its output schema made ready.
type claimed struct {
	Claims
	out *shape
}

// Claims returns what a tool claims, false if there is no such tool or nothing of it
// is approved.
func (v *View) Claims(server, name string) (Claims, bool) {
	t, ok := v.tools[server][name]
	if !ok || t.PinDigest == "" || t.Kind() != KindTool {
		return Claims{}, false
	}
	c := v.shapes.claimsOf(t).Claims
	c.Revision = t.PinDigest
	if !t.LearnedFrom.IsZero() {
		c.Revision += " " + t.LearnedFrom.UTC().Format(time.RFC3339Nano)
	}
	return c, true
}

// FitsOutput reports whether the structured content of an answer fits the output
// schema of the definition agents are shown. checked is false where there is no such
// schema, or it cannot be checked within the bounds of input schemas. An answer that
// has none although there is a schema does not fit (MCP, server/tools).
func (v *View) FitsOutput(server, name string, content rawjson.Value) (fits, checked bool) {
	t, ok := v.tools[server][name]
	if !ok || t.PinDigest == "" {
		return false, false
	}
	s := v.shapes.claimsOf(t).out
	if s.why != "" || s.compiled == nil {
		return false, false
	}
	if !content.Exists() {
		return false, true
	}
	if len(content.Raw()) > maxShapeArgs {
		return false, false
	}
	doc, err := exactJSON(content.Raw())
	return err == nil && s.compiled.Validate(doc) == nil, true
}

// maxClaims bounds the definitions of which claims are kept ready.
const maxClaims = 4096

func (s *shapes) claimsOf(t Tool) *claimed {
	raw, digest := t.Offered()
	s.mu.Lock()
	defer s.mu.Unlock()
	if made, ok := s.claims[digest]; ok {
		return made
	}
	made := newClaimed(raw)
	if s.claims == nil || len(s.claims) >= maxClaims {
		s.claims = map[string]*claimed{}
	}
	s.claims[digest] = made
	return made
}

func newClaimed(raw []byte) *claimed {
	def, err := rawjson.Parse(raw, rawjson.Limits{Bytes: MaxDefinition})
	if err != nil {
		return &claimed{out: &shape{}}
	}
	said := func(name string, otherwise bool) bool {
		if v, ok := def.Get("annotations").Get(name).Bool(); ok {
			return v
		}
		return otherwise
	}
	return &claimed{out: schemaShape(def.Get("outputSchema")), Claims: Claims{
		ReadOnly: said("readOnlyHint", false), Additive: !said("destructiveHint", true), Closed: !said("openWorldHint", true),
	}}
}
