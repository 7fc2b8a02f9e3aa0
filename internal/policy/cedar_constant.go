package policy

import (
	"math"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// may says which truth values a condition can have, whatever is asked. With
// neither it always errs.
type may struct{ hold, fail bool }

// mayOf never leaves out a value n can have.
func mayOf(n xast.IsNode) may {
	if v, err, ok := closed(n); ok {
		return may{err == nil && v == types.True, err == nil && v == types.False}
	}
	switch t := n.(type) {
	case xast.NodeTypeNot:
		a := mayOf(t.Arg)
		return may{a.fail, a.hold}
	case xast.NodeTypeAnd:
		l, r := mayOf(t.Left), mayOf(t.Right)
		return may{l.hold && r.hold, l.fail || l.hold && r.fail}
	case xast.NodeTypeOr:
		l, r := mayOf(t.Left), mayOf(t.Right)
		return may{l.hold || l.fail && r.hold, l.fail && r.fail}
	case xast.NodeTypeIfThenElse:
		c, a, b := mayOf(t.If), mayOf(t.Then), mayOf(t.Else)
		return may{c.hold && a.hold || c.fail && b.hold, c.hold && a.fail || c.fail && b.fail}
	case xast.NodeTypeEquals:
		return may{true, textOf(t.Left) != textOf(t.Right)}
	case xast.NodeTypeNotEquals:
		return may{textOf(t.Left) != textOf(t.Right), true}
	}
	return may{true, true}
}

// closed evaluates n if it depends on nothing: no variable and no entity.
func closed(n xast.IsNode) (v types.Value, err error, ok bool) {
	ok = true
	xast.Inspect(xast.NewNode(n), func(n xast.IsNode) bool {
		switch t := n.(type) {
		case xast.NodeTypeVariable:
			ok = false
		case xast.NodeValue:
			if _, entity := t.Value.(types.EntityUID); entity {
				ok = false
			}
		}
		return ok
	})
	if !ok {
		return nil, nil, false
	}
	v, err = eval.Eval(n, eval.Env{Entities: types.EntityMap{}})
	return v, err, true
}

// constantOf returns the value of n where n is one, also if it is an entity.
func constantOf(n xast.IsNode) (types.Value, bool) {
	if t, ok := n.(xast.NodeValue); ok {
		return t.Value, true
	}
	v, err, ok := closed(n)
	return v, ok && err == nil
}

// textOf writes n in one form.
func textOf(n xast.IsNode) string {
	p := xast.Policy{Principal: xast.ScopeTypeAll{}, Action: xast.ScopeTypeAll{}, Resource: xast.ScopeTypeAll{},
		Conditions: []xast.ConditionType{{Condition: xast.ConditionWhen, Body: n}}}
	return string(cedar.NewPolicyFromAST((*ast.Policy)(&p)).MarshalCedar())
}

// conditions returns what each condition of p can come to, seen as a "when".
func conditions(p *ast.Policy) []may {
	var out []may
	for _, c := range (*xast.Policy)(p).Conditions {
		m := mayOf(c.Body)
		if c.Condition == xast.ConditionUnless {
			m = may{m.fail, m.hold}
		}
		out = append(out, m)
	}
	return out
}

// contradiction returns the first condition of p that cannot hold together with
// the scope and the conditions before it.
func contradiction(p *ast.Policy) (condition int, found bool) {
	known := make(ranges)
	sc := scopeOf(p)
	for name, d := range map[types.String]dim{"principal": sc.principal, "action": sc.action, "resource": sc.resource} {
		if d.eq {
			known.is(textOf(xast.NodeTypeVariable{Name: name}), d.ids[0], true)
		}
	}
	for i, c := range (*xast.Policy)(p).Conditions {
		if !known.add(c.Body, c.Condition == xast.ConditionWhen) {
			return i, true
		}
	}
	return 0, false
}

// ranges holds, by its text, what an expression must be for a policy to match.
type ranges map[string]*restricted

type restricted struct {
	value  types.Value // nil: not one value
	not    []types.Value
	lo, hi int64
}

// add notes that n must come to want, and reports whether it still can.
func (r ranges) add(n xast.IsNode, want bool) bool {
	switch t := n.(type) {
	case xast.NodeTypeNot:
		return r.add(t.Arg, !want)
	case xast.NodeTypeAnd:
		return !want || r.add(t.Left, true) && r.add(t.Right, true)
	case xast.NodeTypeOr:
		return want || r.add(t.Left, false) && r.add(t.Right, false)
	case xast.NodeTypeEquals:
		return r.equals(t.BinaryNode, want)
	case xast.NodeTypeNotEquals:
		return r.equals(t.BinaryNode, !want)
	case xast.NodeTypeLessThan:
		return r.less(t.Left, t.Right, want)
	case xast.NodeTypeLessThanOrEqual:
		return r.less(t.Right, t.Left, !want)
	case xast.NodeTypeGreaterThan:
		return r.less(t.Right, t.Left, want)
	case xast.NodeTypeGreaterThanOrEqual:
		return r.less(t.Left, t.Right, !want)
	}
	return r.is(textOf(n), types.Boolean(want), true)
}

func (r ranges) equals(t xast.BinaryNode, want bool) bool {
	if v, ok := constantOf(t.Right); ok {
		return r.is(textOf(t.Left), v, want)
	}
	if v, ok := constantOf(t.Left); ok {
		return r.is(textOf(t.Right), v, want)
	}
	return true
}

// less notes that a < b must come to want.
func (r ranges) less(a, b xast.IsNode, want bool) bool {
	if v, ok := constantOf(b); ok {
		if n, long := v.(types.Long); long && want {
			return n != math.MinInt64 && r.between(textOf(a), math.MinInt64, int64(n)-1)
		} else if long {
			return r.between(textOf(a), int64(n), math.MaxInt64)
		}
	}
	if v, ok := constantOf(a); ok {
		if n, long := v.(types.Long); long && want {
			return n != math.MaxInt64 && r.between(textOf(b), int64(n)+1, math.MaxInt64)
		} else if long {
			return r.between(textOf(b), math.MinInt64, int64(n))
		}
	}
	return true
}

func (r ranges) of(text string) *restricted {
	if r[text] == nil {
		r[text] = &restricted{lo: math.MinInt64, hi: math.MaxInt64}
	}
	return r[text]
}

func (r ranges) is(text string, v types.Value, want bool) bool {
	x := r.of(text)
	if !want {
		x.not = append(x.not, v)
	} else if x.value != nil && !x.value.Equal(v) {
		return false
	} else {
		x.value = v
	}
	return x.possible()
}

func (r ranges) between(text string, lo, hi int64) bool {
	x := r.of(text)
	x.lo, x.hi = max(x.lo, lo), min(x.hi, hi)
	return x.possible()
}

func (x *restricted) possible() bool {
	if x.lo > x.hi {
		return false
	}
	if x.value == nil {
		return true
	}
	n, long := x.value.(types.Long)
	return (!long || int64(n) >= x.lo && int64(n) <= x.hi) && !slices.ContainsFunc(x.not, x.value.Equal)
}

// conditionsOf returns the conditions of p in one form.
func conditionsOf(p *ast.Policy) string { return withoutAnnotations(bodyOf(p).AST()) }
