package admin

import (
	"bytes"
	"context"
	"strings"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// Pattern is what one right could say instead of being asked again and again: the
// constraints that the last calls people approved have in common with the one asked for
// (access.md 3.5). It is a proposal, and nothing is given by it.
type Pattern struct {
	Calls int               // how many it covers, the one asked for with them
	Args  grant.Constraints // every argument they have is bound
}

// Bounds of a pattern.
const (
	patternLeast  = 3  // calls it takes
	patternMost   = 8  // calls it is made of
	patternValues = 4  // that one argument may have had
	patternPrefix = 4  // bytes of a common beginning
	patternFields = 16 // arguments of a call
)

// pattern proposes one for what v asks and the calls before it that people approved for
// the same person, nil where these have too little in common, or where the entitlement
// would not let it be asked for.
func (d *Desk) pattern(ctx context.Context, v RequestView, before []grant.Request) (*Pattern, error) {
	raws := [][]byte{v.Arguments}
	for _, r := range before {
		if r.Party != v.Party || len(raws) == patternMost {
			continue
		}
		raw, err := d.broker.Arguments(ctx, r)
		if err != nil {
			return nil, err
		}
		raws = append(raws, raw)
	}
	calls := make([]rawjson.Value, 0, len(raws))
	for _, raw := range raws {
		if len(raw) == 0 {
			return nil, nil
		}
		x, err := rawjson.Parse(raw, rawjson.Limits{})
		if err != nil {
			return nil, &access.Error{Code: access.CodeInternal, Msg: "kept arguments cannot be read", Err: err}
		}
		calls = append(calls, x)
	}
	p := &Pattern{Calls: len(calls), Args: common(calls)}
	e := d.admin.Current().Rights[v.Entitlement] // the zero one binds nothing
	if within := grant.Implies(e.Args, p.Args) == nil; p.Args == nil || !within {
		return nil, nil
	}
	return p, nil
}

// common binds every argument of some calls as narrowly as covers them all: to the value
// it always had, to what its values begin with, or to the few it had. It is nil where an
// argument cannot be bound, or the calls are too few or always the same.
func common(calls []rawjson.Value) grant.Constraints {
	n := calls[0].Len()
	if len(calls) < patternLeast || calls[0].Kind() != rawjson.Object || n == 0 || n > patternFields {
		return nil
	}
	text, varies := []byte{'['}, false
	for k := range calls[0].Members() {
		key, _ := k.Str()
		values := make([]rawjson.Value, 0, len(calls))
		for _, c := range calls {
			v := c.Get(key)
			if !v.Exists() || c.Len() != n {
				return nil
			}
			values = append(values, v)
		}
		op, operand := bind(values)
		if op == "" {
			return nil
		}
		varies = varies || op != "eq"
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = rawjson.AppendString(append(text, `{"at":`...), "/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
		text = append(append(append(append(append(text, `,"`...), op...), `":`...), operand...), '}')
	}
	cs, err := grant.ParseConstraints(append(text, ']'))
	if err != nil || !varies {
		return nil
	}
	for _, c := range calls {
		if cs.Match(c) != nil { // so that it never says more than is true
			return nil
		}
	}
	return cs
}

// bind is the narrowest constraint of these kinds that all values meet, "" for none.
func bind(values []rawjson.Value) (op string, operand []byte) {
	var distinct [][]byte
	text := true
	for _, v := range values {
		raw := rawjson.AppendCanonical(nil, v)
		if !has(distinct, raw) {
			distinct = append(distinct, raw)
		}
		text = text && v.Kind() == rawjson.String
	}
	if len(distinct) == 1 {
		return "eq", distinct[0]
	}
	if text {
		if p := beginning(values); len(p) >= patternPrefix {
			return "prefix", rawjson.AppendString(nil, p)
		}
	}
	for _, v := range values {
		if k := v.Kind(); k == rawjson.Object || k == rawjson.Array {
			return "", nil
		}
	}
	if len(distinct) > patternValues {
		return "", nil
	}
	return "in", append(append([]byte{'['}, bytes.Join(distinct, []byte{','})...), ']')
}

func has(list [][]byte, raw []byte) bool {
	for _, x := range list {
		if bytes.Equal(x, raw) {
			return true
		}
	}
	return false
}

// beginning is what all texts begin with, up to the last sign that parts words there: a
// beginning that ends within a word would cover words nobody saw.
func beginning(values []rawjson.Value) string {
	p, _ := values[0].Str()
	for _, v := range values[1:] {
		s, _ := v.Str()
		n := 0
		for n < len(p) && n < len(s) && p[n] == s[n] {
			n++
		}
		p = p[:n]
	}
	return p[:strings.LastIndexAny(p, "/:.-_ @")+1]
}
