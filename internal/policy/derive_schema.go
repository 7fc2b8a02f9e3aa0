package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// derivedType returns the type of context.derived for arguments of this type:
// below each field the arguments it is computed from, as optional as they are.
func derivedType(arguments *typ) *typ {
	t := recordType(map[string]*typ{callBytes: {kind: kindLong}})
	for _, d := range derivations {
		t.members[d.name] = member{typ: d.typeOf(arguments)}
	}
	return t
}

// typeOf mirrors the record t with the type of the field in place of each
// argument it is computed from.
func (d *derivation) typeOf(t *typ) *typ {
	out := recordType(nil)
	if t == nil {
		return out
	}
	field := &typ{kind: d.kind}
	if d.kind == kindSet {
		field.elem = &typ{kind: kindString}
	}
	for name, m := range t.members {
		switch {
		case m.typ.kind == kindRecord:
			if below := d.typeOf(m.typ); len(below.members) > 0 {
				out.members[name] = member{below, m.optional}
			}
		case m.typ.kind == kindString && d.text, (m.typ.kind == kindLong || m.typ.kind == kindDecimal) && d.num,
			m.typ.kind == kindSet && (d.any || d.list && m.typ.elem.kind == kindString):
			out.members[name] = member{field, m.optional}
		}
	}
	return out
}

// uriType is what is derived from where the argument is the URI of a resource, uriInput
// what a policy reads of it as input.
var (
	uriType  = recordType(map[string]*typ{"uri": {kind: kindString}})                                   //nolint:gochecknoglobals // a table
	uriInput = recordType(map[string]*typ{"uri": {kind: kindString}, "uri_scheme": {kind: kindString}}) //nolint:gochecknoglobals // a table
)

// everyKind is arguments of which each field is derived, so that the digest of a
// schema is another when the fields are.
func everyKind() *typ {
	str := &typ{kind: kindString}
	return recordType(map[string]*typ{"text": str, "list": {kind: kindSet, elem: str}, "number": {kind: kindDecimal}})
}

// derived reports what s reads of context.derived that is there for no action,
// and whether nothing is. It needs no schema of a tool.
func (v *validator) derived(s *statement) bool {
	if s.reads.derived == nil {
		return true
	}
	var msgs []string
	if s.reads.derived.all {
		msgs = append(msgs, fmt.Sprintf("`%s` has no value as a whole: write context.derived.FIELD.ARGUMENT", derivedName))
	}
	kids := s.reads.derived.kids
	for _, name := range slices.Sorted(maps.Keys(kids)) {
		_, known := derivationOf(name)
		switch {
		case name == callBytes:
		case !known:
			msgs = append(msgs, fmt.Sprintf("unknown derived field `%s`: known are %s", name, strings.Join(derivedFields(), ", ")))
		case kids[name].all:
			msgs = append(msgs, fmt.Sprintf("`%s` is derived from one argument: write context.derived.%s.ARGUMENT", name, name))
		}
	}
	for _, msg := range msgs {
		v.mistake(s, v.types, msg)
	}
	return msgs == nil
}

// derivedFields names every field.
func derivedFields() []string {
	out := []string{callBytes}
	for _, d := range derivations {
		out = append(out, d.name)
	}
	slices.Sort(out)
	return out
}
