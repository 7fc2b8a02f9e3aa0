package policy

import (
	"errors"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// This file and cedar_constant.go hold every use of cedar-go's x/exp packages,
// which promise no compatibility: scopes, what a policy reads, partial evaluation,
// validation, what is constant.

// dim is what a policy's scope says about principal, action or resource.
type dim struct {
	ids  []types.EntityUID // nil: any
	eq   bool              // only the entity itself, not what is in it
	kind types.EntityType  // "is": "" for any
}

// scope is the head of a policy.
type scope struct{ principal, action, resource dim }

func dimOf(n xast.IsScopeNode) dim {
	switch t := n.(type) {
	case xast.ScopeTypeEq:
		return dim{ids: []types.EntityUID{t.Entity}, eq: true}
	case xast.ScopeTypeIn:
		return dim{ids: []types.EntityUID{t.Entity}}
	case xast.ScopeTypeInSet:
		ids := slices.Clone(t.Entities)
		if ids == nil {
			ids = []types.EntityUID{} // "in []" matches nothing
		}
		return dim{ids: ids}
	case xast.ScopeTypeIs:
		return dim{kind: t.Type}
	case xast.ScopeTypeIsIn:
		return dim{ids: []types.EntityUID{t.Entity}, kind: t.Type}
	default:
		return dim{}
	}
}

func scopeOf(p *ast.Policy) scope {
	x := (*xast.Policy)(p)
	return scope{dimOf(x.Principal), dimOf(x.Action), dimOf(x.Resource)}
}

// bodyOf returns p without its scope. The index has matched the scope already,
// exactly; TestIndexSameAsFullScan holds the two to the same answers.
func bodyOf(p *ast.Policy) *cedar.Policy {
	x := *(*xast.Policy)(p)
	x.Principal, x.Action, x.Resource = xast.ScopeTypeAll{}, xast.ScopeTypeAll{}, xast.ScopeTypeAll{}
	return cedar.NewPolicyFromAST((*ast.Policy)(&x))
}

// A path is a member chain below a variable: context.input.a.b is
// {"context", "input", "a", "b"}.
type path []string

// chainOf returns the member chain n stands for, nil if n is not a chain that
// starts at a variable.
func chainOf(n xast.IsNode) path {
	switch t := n.(type) {
	case xast.NodeTypeVariable:
		return path{string(t.Name)}
	case xast.NodeTypeAccess:
		if c := chainOf(t.Arg); c != nil {
			return append(c, string(t.Value))
		}
	}
	return nil
}

// readsOf returns every member chain p reads, those it only asks the presence of
// ("has") and whether it asks for ancestors ("in"). ok is false if p takes members
// of something that is not a chain, so that anything may be read.
func readsOf(p *ast.Policy) (paths, asked []path, in, ok bool) {
	ok = true
	visit := func(n xast.IsNode) bool {
		switch t := n.(type) {
		case xast.NodeTypeAccess:
			if c := chainOf(t); c != nil {
				paths = append(paths, c)
				return false
			}
			paths, ok = append(paths, strays(t.Value)...), false
		case xast.NodeTypeHas:
			if c := chainOf(t.Arg); c != nil {
				asked = append(asked, append(c, string(t.Value)))
				return false
			}
			paths, ok = append(paths, strays(t.Value)...), false
		case xast.NodeTypeVariable:
			paths = append(paths, path{string(t.Name)})
		case xast.NodeTypeIn, xast.NodeTypeIsIn:
			in = true
		case xast.NodeTypeGetTag, xast.NodeTypeHasTag:
			ok = false
		}
		return true
	}
	for _, c := range (*xast.Policy)(p).Conditions {
		xast.Inspect(xast.NewNode(c.Body), visit)
	}
	return paths, asked, in, ok
}

// soughtOf returns the words that p looks for in sets, sorted: "a" in
// sets.contains("a") and in ["a", "b"].containsAny(sets).
func soughtOf(p *ast.Policy, sets []path) []string {
	var out []string
	var literals func(n xast.IsNode)
	literals = func(n xast.IsNode) {
		switch t := n.(type) {
		case xast.NodeValue:
			if s, ok := t.Value.(types.String); ok {
				out = append(out, string(s))
			}
		case xast.NodeTypeSet:
			for _, e := range t.Elements {
				literals(e)
			}
		}
	}
	both := func(b xast.BinaryNode) {
		is := func(n xast.IsNode) bool {
			c := chainOf(n)
			return slices.ContainsFunc(sets, func(s path) bool { return slices.Equal(s, c) })
		}
		if is(b.Left) || is(b.Right) {
			literals(b.Left)
			literals(b.Right)
		}
	}
	visit := func(n xast.IsNode) bool {
		switch t := n.(type) {
		case xast.NodeTypeContains:
			both(t.BinaryNode)
		case xast.NodeTypeContainsAll:
			both(t.BinaryNode)
		case xast.NodeTypeContainsAny:
			both(t.BinaryNode)
		}
		return true
	}
	for _, c := range (*xast.Policy)(p).Conditions {
		xast.Inspect(xast.NewNode(c.Body), visit)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// strays returns the chain of context.derived or context.facts where a member of
// its name is taken of something that may be the context. Neither has a value as a
// whole, so such a policy errs rather than miss it.
func strays(member types.String) []path {
	if member == derivedName || member == factsName {
		return []path{{"context", string(member)}}
	}
	return nil
}

// truth is the result of a partial evaluation.
type truth uint8

const (
	isFalse truth = iota
	isTrue
	isError
	isOpen // depends on what is not known
)

// unknownValue stands for a value that is not known yet.
func unknownValue(name string) types.Value { return eval.Variable(types.String(name)) }

// partialEval evaluates p as far as the known part of the environment goes. It
// answers isOpen in doubt.
func partialEval(p *ast.Policy, entities types.EntityGetter, r *types.Request) truth {
	env := eval.Env{Entities: entities, Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: r.Context}
	rest, keep := eval.PartialPolicy(env, (*xast.Policy)(p))
	switch {
	case !keep:
		return isFalse
	case len(rest.Conditions) == 0:
		return isTrue
	case len(rest.Conditions) == 1:
		if _, bad := eval.ToPartialError(rest.Conditions[0].Body); bad {
			return isError
		}
	}
	always := true
	for _, c := range rest.Conditions {
		body := c.Body
		if c.Condition == xast.ConditionUnless {
			body = xast.NodeTypeNot{UnaryNode: xast.UnaryNode{Arg: body}}
		}
		if never(body, true) {
			return isFalse // it is false or errs, so it does not match
		}
		always = always && never(body, false)
	}
	if always && rest.Effect == xast.EffectForbid {
		return isTrue // it matches or errs, and either denies
	}
	return isOpen
}

// never reports whether what is left of a condition cannot come to be want: it
// is the other value or an error, whatever is not known.
func never(n xast.IsNode, want bool) bool {
	switch t := n.(type) {
	case xast.NodeValue:
		return t.Value != types.Boolean(want)
	case xast.NodeTypeExtensionCall:
		_, bad := eval.ToPartialError(t)
		return bad
	case xast.NodeTypeNot:
		return never(t.Arg, !want)
	case xast.NodeTypeAnd:
		if want {
			return never(t.Left, true) || never(t.Right, true)
		}
		return never(t.Left, false) && never(t.Right, false)
	case xast.NodeTypeOr:
		if want {
			return never(t.Left, true) && never(t.Right, true)
		}
		return never(t.Left, false) || never(t.Right, false)
	case xast.NodeTypeIfThenElse:
		return never(t.Then, want) && never(t.Else, want)
	}
	return false
}

// kindOf is the type of one value in the generated schema.
type kindOf uint8

const (
	kindString kindOf = iota + 1
	kindLong
	kindBool
	kindDecimal
	kindDatetime
	kindSet
	kindRecord
	kindEntity
)

// typ is a type of the generated schema.
type typ struct {
	kind    kindOf
	elem    *typ              // of a set
	members map[string]member // of a record
	loose   map[string]bool   // members of a record that have no type here
	open    bool              // a record that may have members it does not name
	entity  types.EntityType  // of an entity
}

type member struct {
	typ      *typ
	optional bool
}

func (t *typ) resolve(required bool) resolved.IsType {
	switch t.kind {
	case kindString:
		return resolved.StringType{}
	case kindLong:
		return resolved.LongType{}
	case kindBool:
		return resolved.BoolType{}
	case kindDecimal:
		return resolved.ExtensionType("decimal")
	case kindDatetime:
		return resolved.ExtensionType("datetime")
	case kindSet:
		return resolved.SetType{Element: t.elem.resolve(required)}
	case kindEntity:
		return resolved.EntityType(t.entity)
	default:
		return t.record(required)
	}
}

// record resolves a record type; required makes every member required.
func (t *typ) record(required bool) resolved.RecordType {
	out := make(resolved.RecordType, len(t.members))
	for name, m := range t.members {
		out[types.String(name)] = resolved.Attribute{Type: m.typ.resolve(required), Optional: m.optional && !required}
	}
	return out
}

// entityDef declares an entity type.
type entityDef struct {
	parents []types.EntityType
	shape   typ
}

// actionDef declares an action.
type actionDef struct {
	parents   []string
	resources []types.EntityType // nil: a group that nothing is asked of directly
	context   *typ
	input     *typ // nil: the action has no input
	arguments *typ // what is derived from
	bare      bool // nothing is derived and there is no input
}

// schema is a schema small enough to validate one policy against.
type schema struct {
	actions  map[string]actionDef
	required bool // treat optional members of input as required
	known    *resolution
}

// resolution is what was resolved before: of ten thousand statements each has a small
// schema of its own, and most of it is the same.
type resolution struct {
	entities map[types.EntityType]resolved.Entity
	contexts map[contextKey]resolved.RecordType
}

// contextKey is what the context of an action is made of.
type contextKey struct {
	context, input, arguments *typ
	bare, required            bool
}

func resolve(entities map[types.EntityType]entityDef) *resolution {
	out := &resolution{entities: make(map[types.EntityType]resolved.Entity, len(entities)), contexts: make(map[contextKey]resolved.RecordType)}
	for name, e := range entities {
		out.entities[name] = resolved.Entity{Name: name, ParentTypes: e.parents, Shape: e.shape.record(false)}
	}
	return out
}

// context returns the type of the context of an action.
func (r *resolution) context(a *actionDef, required bool) resolved.RecordType {
	key := contextKey{a.context, a.input, a.arguments, a.bare, required}
	ctx, ok := r.contexts[key]
	if ok {
		return ctx
	}
	ctx = a.context.record(false)
	if a.input != nil {
		ctx["input"] = resolved.Attribute{Type: a.input.record(required)}
	}
	if !a.bare {
		ctx[derivedName] = resolved.Attribute{Type: derivedType(a.arguments).record(required)}
	}
	r.contexts[key] = ctx
	return ctx
}

func (s *schema) resolve() *resolved.Schema {
	out := &resolved.Schema{
		Entities: s.known.entities,
		Actions:  make(map[types.EntityUID]resolved.Action, len(s.actions)),
	}
	for id, a := range s.actions {
		parents := make([]types.EntityUID, len(a.parents))
		for i, p := range a.parents {
			parents[i] = uid(typeAction, p)
		}
		u := uid(typeAction, id)
		ra := resolved.Action{Entity: types.Entity{UID: u, Parents: types.NewEntityUIDSet(parents...)}}
		if a.resources != nil {
			ra.AppliesTo = &resolved.AppliesTo{Principals: []types.EntityType{typeAgent}, Resources: a.resources, Context: s.known.context(&a, s.required)}
		}
		out.Actions[u] = ra
	}
	return out
}

// check validates p strictly and returns every mistake as one sentence.
func (s *schema) check(p *ast.Policy) []string {
	err := validate.New(s.resolve()).Policy("", (*xast.Policy)(p))
	if err == nil {
		return nil
	}
	var out []string
	for _, e := range flatten(err) {
		msg := strings.TrimSpace(e.Error())
		if !slices.Contains(out, msg) {
			out = append(out, msg)
		}
	}
	unknown := func(m string) bool { return strings.HasPrefix(m, "unrecognized") }
	if slices.ContainsFunc(out, unknown) { // then nothing applies either, which says nothing new
		out = slices.DeleteFunc(out, func(m string) bool { return strings.HasPrefix(m, "unable to find an applicable action") })
	}
	return out
}

func flatten(err error) []error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

// withoutInput returns p with every condition that reads below one of the
// chains dropped, so that the rest can be validated where input has no type.
func withoutInput(p *ast.Policy) *ast.Policy {
	x := *(*xast.Policy)(p)
	x.Conditions = nil
	for _, c := range (*xast.Policy)(p).Conditions {
		one := xast.Policy{Conditions: []xast.ConditionType{c}}
		paths, asked, _, ok := readsOf((*ast.Policy)(&one))
		if ok && !slices.ContainsFunc(slices.Concat(paths, asked), func(p path) bool { return readsInput(p) || readsDerived(p) && !ofWholeCall(p) }) {
			x.Conditions = append(x.Conditions, c)
		}
	}
	return (*ast.Policy)(&x)
}

// readsInput reports whether reading p reads context.input.
func readsInput(p path) bool {
	return p[0] == "context" && (len(p) == 1 || p[1] == "input")
}

// withoutAnnotations returns the text of p in one form without annotations.
func withoutAnnotations(p *ast.Policy) string {
	x := *(*xast.Policy)(p)
	x.Annotations = nil
	return written((*ast.Policy)(&x))
}

// written returns p as Cedar text.
func written(p *ast.Policy) string { return string(cedar.NewPolicyFromAST(p).MarshalCedar()) }

// permits reports whether p is a permit.
func permits(p *ast.Policy) bool { return (*xast.Policy)(p).Effect == xast.EffectPermit }

// annotationsOf returns the annotations of p.
func annotationsOf(p *ast.Policy) types.Annotations {
	x := (*xast.Policy)(p)
	out := make(types.Annotations, len(x.Annotations))
	for _, a := range x.Annotations {
		out[a.Key] = a.Value
	}
	return out
}
