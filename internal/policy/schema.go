package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// maxSchemaDepth bounds how deep a tool's schema is typed (access.md 2.3).
const maxSchemaDepth = 6

// jsonSchema is what of a JSON Schema decides a type.
type jsonSchema struct {
	Type       json.RawMessage            `json:"type"`
	Properties map[string]json.RawMessage `json:"properties"`
	Required   []string                   `json:"required"`
	Items      json.RawMessage            `json:"items"`
	Enum       []json.RawMessage          `json:"enum"`
	Additional json.RawMessage            `json:"additionalProperties"`
	Pattern    json.RawMessage            `json:"patternProperties"`
	Prefix     json.RawMessage            `json:"prefixItems"`
	OneOf      json.RawMessage            `json:"oneOf"`
	AnyOf      json.RawMessage            `json:"anyOf"`
	AllOf      json.RawMessage            `json:"allOf"`
	Not        json.RawMessage            `json:"not"`
	If         json.RawMessage            `json:"if"`
	Ref        json.RawMessage            `json:"$ref"`
	Dynamic    json.RawMessage            `json:"$dynamicRef"`
}

// combined reports whether the schema says more than its own keywords show.
func (s *jsonSchema) combined() bool {
	for _, k := range []json.RawMessage{s.OneOf, s.AnyOf, s.AllOf, s.Not, s.If, s.Ref, s.Dynamic, s.Prefix} {
		if k != nil {
			return true
		}
	}
	return false
}

// inputType returns the type of a tool's arguments, or nil and why there is
// none. It never guesses: a property it cannot type is kept as loose, and
// policies that read it are evaluated but not validated.
func inputType(raw json.RawMessage) (*typ, string) {
	if len(raw) == 0 {
		return nil, "it has no input schema"
	}
	t, nullable := typeOf(raw, 0)
	switch {
	case t == nil || nullable || t.kind != kindRecord:
		return nil, "its input schema is not a plain object"
	case len(t.members) == 0 && t.open:
		return nil, "its input schema names no properties"
	}
	return t, ""
}

// typeOf returns the type raw describes, nil if it has none here, and whether
// null is allowed besides.
func typeOf(raw json.RawMessage, depth int) (t *typ, nullable bool) {
	var s jsonSchema
	if depth > maxSchemaDepth || json.Unmarshal(raw, &s) != nil || s.combined() {
		return nil, false
	}
	name, nullable, ok := s.typeName()
	if !ok {
		return nil, false
	}
	switch name {
	case "string":
		return &typ{kind: kindString}, nullable
	case "integer":
		return &typ{kind: kindLong}, nullable
	case "number":
		return &typ{kind: kindDecimal}, nullable
	case "boolean":
		return &typ{kind: kindBool}, nullable
	case "array":
		elem, _ := typeOf(s.Items, depth+1)
		if elem == nil || elem.vague() {
			return nil, false
		}
		return &typ{kind: kindSet, elem: elem}, nullable
	case "object":
		return s.object(depth), nullable
	default:
		return nil, false
	}
}

// typeName returns the one type besides null the schema allows.
func (s *jsonSchema) typeName() (name string, nullable, ok bool) {
	if s.Type == nil {
		if s.Properties != nil {
			return "object", false, true
		}
		for _, e := range s.Enum {
			if e = bytes.TrimSpace(e); len(e) == 0 || e[0] != '"' {
				return "", false, false
			}
		}
		return "string", false, len(s.Enum) > 0
	}
	if json.Unmarshal(s.Type, &name) == nil {
		return name, false, true
	}
	var names []string
	if json.Unmarshal(s.Type, &names) != nil {
		return "", false, false
	}
	rest := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "null" })
	if len(rest) != 1 {
		return "", false, false
	}
	return rest[0], len(rest) < len(names), true
}

func (s *jsonSchema) object(depth int) *typ {
	t := &typ{kind: kindRecord, members: make(map[string]member)}
	// Without additionalProperties a schema allows members it does not name, but
	// nobody documents an argument that way: a name that is not there is taken
	// for a slip as long as some are there.
	extra := strings.TrimSpace(string(s.Additional))
	t.open = extra != "" && extra != "false" || s.Pattern != nil || len(s.Properties) == 0 && extra != "false"
	for name, raw := range s.Properties {
		pt, nullable := typeOf(raw, depth+1)
		if pt == nil {
			if t.loose == nil {
				t.loose = make(map[string]bool)
			}
			t.loose[name] = true
			continue
		}
		t.members[name] = member{typ: pt, optional: nullable || !slices.Contains(s.Required, name)}
	}
	return t
}

// vague reports whether some of t has no type.
func (t *typ) vague() bool {
	if t.open || len(t.loose) > 0 || t.elem != nil && t.elem.vague() {
		return true
	}
	for _, m := range t.members {
		if m.typ.vague() {
			return true
		}
	}
	return false
}

// decides reports whether t says what reading the chain p gives.
func (t *typ) decides(p path) bool {
	for _, name := range p {
		if t.kind != kindRecord {
			return true
		}
		if t.loose[name] {
			return false
		}
		m, ok := t.members[name]
		if !ok {
			return !t.open
		}
		t = m.typ
	}
	return !t.vague()
}

// write writes t in one canonical form.
func (t *typ) write(b *strings.Builder) {
	fmt.Fprintf(b, "%d", t.kind)
	if t.elem != nil {
		t.elem.write(b)
	}
	b.WriteByte('{')
	for _, name := range slices.Sorted(maps.Keys(t.members)) {
		m := t.members[name]
		fmt.Fprintf(b, "%q:%t", name, m.optional)
		m.typ.write(b)
	}
	fmt.Fprintf(b, "}%q%t", slices.Sorted(maps.Keys(t.loose)), t.open)
}

// schemaDigest identifies the types of every input and of the fixed part.
func schemaDigest(inputs map[string]*typ, context *typ) string {
	var b strings.Builder
	context.write(&b)
	askContext().write(&b)
	derivedType(everyKind()).write(&b)
	entities := entityTypes()
	for _, name := range slices.Sorted(maps.Keys(entities)) {
		shape := entities[name].shape
		fmt.Fprintf(&b, "%s%q", name, entities[name].parents)
		shape.write(&b)
	}
	for _, action := range slices.Sorted(maps.Keys(inputs)) {
		fmt.Fprintf(&b, "%q", action)
		inputs[action].write(&b)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func recordType(members map[string]*typ, optional ...string) *typ {
	t := &typ{kind: kindRecord, members: make(map[string]member, len(members))}
	for name, m := range members {
		t.members[name] = member{m, slices.Contains(optional, name)}
	}
	return t
}

// contextType is what every action has in context besides input.
func contextType(facts []FactInfo) *typ {
	str, long, boolean, datetime := &typ{kind: kindString}, &typ{kind: kindLong}, &typ{kind: kindBool}, &typ{kind: kindDatetime}
	set := &typ{kind: kindSet, elem: str}
	return recordType(map[string]*typ{
		"subject": {kind: kindEntity, entity: typeHuman},
		"session": recordType(map[string]*typ{"id": str, "task": str, "depth": long, "bound": boolean, "startedAt": datetime, memberTaint: set, memberLabels: set, memberRisk: long}),
		"grant":   recordType(map[string]*typ{"id": str, "remaining": long, "expiresAt": datetime, "quorum": long, "argsBound": boolean, "depth": long}),
		"output":  recordType(map[string]*typ{"labels": set, "findings": set, "bytes": long}),
		factsName: factsType(facts),
		"now":     datetime,
	}, "subject", "grant", "output")
}

// entityTypes are the entity types and attributes of this version.
func entityTypes() map[types.EntityType]entityDef {
	str, long, boolean := &typ{kind: kindString}, &typ{kind: kindLong}, &typ{kind: kindBool}
	set, group := &typ{kind: kindSet, elem: str}, &typ{kind: kindEntity, entity: typeGroup}
	empty := *recordType(nil)
	return map[types.EntityType]entityDef{
		typeGroup: {shape: empty}, typeAgentClass: {shape: empty}, typeToolClass: {shape: empty},
		typeHuman: {parents: []types.EntityType{typeGroup}, shape: *recordType(map[string]*typ{memberRisk: long})},
		typeAgent: {parents: []types.EntityType{typeAgentClass}, shape: *recordType(map[string]*typ{"owner": group, "class": str,
			"runtime": str, "model": str, "tier": long, "attested": boolean, "status": str, "dataScopes": set, memberRisk: long})},
		typeServer: {shape: *recordType(map[string]*typ{"owner": group, "state": str})},
		typeTool: {parents: []types.EntityType{typeServer, typeToolClass}, shape: *recordType(map[string]*typ{"digest": str,
			"pinned": boolean, "destructive": boolean, "egress": boolean, "tier": long, "labels": set, "kind": str})},
	}
}

// groupActions are the action groups and the sentinel that keeps a policy on a
// group valid while no tool is in it.
func groupActions(context *typ) map[string]actionDef {
	tool := []types.EntityType{typeTool}
	return map[string]actionDef{
		groupCall: {}, groupDiscover: {}, groupRead: {parents: []string{groupCall}}, groupWrite: {parents: []string{groupCall}},
		groupDestroy: {parents: []string{groupWrite}}, groupEgress: {parents: []string{groupCall}},
		actionNone: {parents: []string{groupRead, groupWrite, groupDestroy, groupEgress, groupDiscover}, resources: tool,
			context: context, input: recordType(nil)},
	}
}
