package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"rutile/internal/rawjson"
)

// Bounds of checking arguments by an approved input schema. The time goes with their
// product.
const (
	maxShape     = 64 << 10 // bytes of a schema
	maxShapeWork = 20_000   // its members and items, references followed
	maxShapeArgs = 64 << 10 // bytes of arguments
)

// shapes are the schemas that were compiled, and what definitions claim, by digest of
// the definition.
type shapes struct {
	mu     sync.Mutex
	made   map[string]*shape
	claims map[string]*claimed
}

// shape is an input schema made ready; one that cannot be used fits nothing.
type shape struct {
	compiled *jsonschema.Schema
	why      string
}

// Fits returns "" where arguments fit the input schema of the approved definition kept
// under name, else why they do not; a definition without a schema fits everything. It
// is for arguments the gateway has changed: what it cannot check does not fit. A
// schema is checked by whole JSON Schema (draft 2020-12 or what its $schema names),
// where it refers to nothing outside of it and not to itself.
func (v *View) Fits(server, name string, args rawjson.Value) (why string) {
	t, ok := v.tools[server][name]
	if !ok || len(t.Pinned) == 0 {
		return ""
	}
	s := v.shapes.of(t)
	switch {
	case s.why != "":
		return s.why
	case s.compiled == nil:
		return ""
	case args.FoldDuplicate(true) != "":
		return "a member is written twice, or in another case besides"
	}
	form := rawjson.AppendCanonical(nil, args)
	if len(form) > maxShapeArgs {
		return "the arguments are too large to be checked"
	}
	doc, err := exactJSON(form)
	if err != nil || s.compiled.Validate(doc) != nil {
		return "the arguments do not fit the tool's input schema"
	}
	return ""
}

func (s *shapes) of(t Tool) *shape {
	s.mu.Lock()
	defer s.mu.Unlock()
	if made, ok := s.made[t.PinDigest]; ok && t.PinDigest != "" {
		return made
	}
	made := newShape(t.Pinned)
	if s.made == nil {
		s.made = map[string]*shape{}
	}
	s.made[t.PinDigest] = made
	return made
}

func newShape(definition []byte) *shape {
	def, err := rawjson.Parse(definition, rawjson.Limits{})
	if err != nil {
		return &shape{why: "the tool's definition cannot be read"}
	}
	return schemaShape(def.Get("inputSchema"))
}

// schemaShape makes a schema ready; one that is not there fits everything.
func schemaShape(in rawjson.Value) *shape {
	no := func(why string) *shape { return &shape{why: "the tool's schema cannot be checked: " + why} }
	if !in.Exists() {
		return &shape{}
	}
	form := rawjson.AppendCanonical(nil, in)
	if len(form) > maxShape {
		return no("it is too large")
	}
	doc, err := exactJSON(form)
	if err != nil {
		return no("it cannot be read")
	}
	work := &expansion{root: doc, left: maxShapeWork, within: map[string]bool{}}
	if why := work.follow(doc); why != "" {
		return no(why)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nothing{})
	c.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) { return regexp.Compile(s) })
	const url = "tool:schema"
	if err := c.AddResource(url, doc); err != nil {
		return no("it is none")
	}
	compiled, err := c.Compile(url)
	if err != nil {
		return no("it is none")
	}
	return &shape{compiled: compiled}
}

// nothing loads nothing: no schema comes from a network or a file.
type nothing struct{}

// Load refuses.
func (nothing) Load(string) (any, error) { return nil, errors.New("schemas are not loaded") }

// exactJSON decodes numbers as they are written.
func exactJSON(form []byte) (doc any, err error) {
	d := json.NewDecoder(bytes.NewReader(form))
	d.UseNumber()
	err = d.Decode(&doc)
	return doc, err
}

// expansion walks a schema as a validator may, references followed: one that refers
// to itself, or many times over, would let an argument be checked for ever.
type expansion struct {
	root   any
	left   int
	within map[string]bool // references that are being followed
}

// follow returns why the schema cannot be used, "" if it can.
func (x *expansion) follow(node any) string {
	if x.left--; x.left < 0 {
		return "it is too large with what it refers to"
	}
	switch n := node.(type) {
	case []any:
		for _, item := range n {
			if why := x.follow(item); why != "" {
				return why
			}
		}
	case map[string]any:
		for key, item := range n {
			var why string
			switch ref, text := item.(string); {
			case key == "$id" || key == "$dynamicRef" || key == "$recursiveRef":
				why = "it holds " + key
			case key == "$ref" && text:
				why = x.refer(ref)
			default:
				why = x.follow(item)
			}
			if why != "" {
				return why
			}
		}
	}
	return ""
}

// refer follows one reference, which must be a JSON pointer into the schema.
func (x *expansion) refer(ref string) string {
	path, ok := strings.CutPrefix(ref, "#")
	if !ok || path != "" && path[0] != '/' || strings.Contains(path, "%") {
		return "it refers to what is not in it"
	}
	if x.within[ref] {
		return "it refers to itself"
	}
	node := x.root
	for _, part := range strings.Split(path, "/")[1:] {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch n := node.(type) {
		case map[string]any:
			node = n[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(n) {
				return "it refers to what is not in it"
			}
			node = n[i]
		default:
			return "it refers to what is not in it"
		}
	}
	x.within[ref] = true
	defer delete(x.within, ref)
	return x.follow(node)
}
