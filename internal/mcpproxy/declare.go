package mcpproxy

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/rawjson"
)

// declaration is what a tool's schema says of the members of one value: the
// schemas that apply to it and the names they declare.
type declaration struct {
	schemas []rawjson.Value
	names   []string
}

// maxSchemas bounds the schemas that are followed for one value.
const maxSchemas = 1 << 10

// declare collects what the schemas say together. References within the
// document and combinations are followed: a member is declared if any of them
// declares it.
func (sh *shape) declare(schemas ...rawjson.Value) declaration {
	var d declaration
	seen := map[int]bool{}
	for len(schemas) > 0 && len(d.schemas) < maxSchemas {
		s := schemas[0]
		schemas = schemas[1:]
		at, _ := s.Span()
		if s.Kind() != rawjson.Object || seen[at] {
			continue
		}
		seen[at] = true
		d.schemas = append(d.schemas, s)
		for k := range s.Get("properties").Members() {
			if name, _ := k.Str(); !slices.Contains(d.names, name) {
				d.names = append(d.names, name)
			}
		}
		for _, k := range []string{"allOf", "anyOf", "oneOf"} {
			for other := range s.Get(k).Items() {
				schemas = append(schemas, other)
			}
		}
		schemas = append(schemas, s.Get("if"), s.Get("then"), s.Get("else"), s.Get("not"), sh.resolve(s.Get("$ref")))
		for _, other := range s.Get("dependentSchemas").Members() {
			schemas = append(schemas, other)
		}
	}
	return d
}

// resolve follows a reference within the input schema; others are never fetched.
func (sh *shape) resolve(ref rawjson.Value) rawjson.Value {
	text, _ := ref.Str()
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	if text == "#" {
		return sh.root
	}
	pointer, ok := strings.CutPrefix(text, "#/")
	if !ok {
		return rawjson.Value{}
	}
	v := sh.root
	for part := range strings.SplitSeq(pointer, "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		if n, err := strconv.Atoi(part); err == nil && v.Kind() == rawjson.Array {
			v = item(v, n)
		} else {
			v = v.Get(part)
		}
	}
	return v
}

func item(v rawjson.Value, n int) rawjson.Value {
	for i := range v.Items() {
		if n == 0 {
			return i
		}
		n--
	}
	return rawjson.Value{}
}

// member is what d says of the value of a member.
func (sh *shape) member(d *declaration, key string) declaration {
	var below []rawjson.Value
	for _, s := range d.schemas {
		if p := s.Get("properties").Get(key); p.Exists() {
			below = append(below, p)
			continue
		}
		below = append(below, s.Get("additionalProperties"))
		for _, p := range s.Get("patternProperties").Members() {
			below = append(below, p)
		}
	}
	return sh.declare(below...)
}

// items is what d says of the elements of an array.
func (sh *shape) items(d *declaration) declaration {
	var below []rawjson.Value
	for _, s := range d.schemas {
		below = append(below, s.Get("items"), s.Get("contains"), s.Get("additionalItems"))
		for _, list := range []string{"items", "prefixItems"} { // an array before 2020-12
			for i := range s.Get(list).Items() {
				below = append(below, i)
			}
		}
	}
	return sh.declare(below...)
}

// judge applies rules 10 and 11 to arguments, at every depth: policies look into
// them too, and a server that folds case would read what no policy saw.
func (sh *shape) judge(v rawjson.Value, d *declaration) *rpcError {
	twice := badRequest(codeInvalidRequest, "two arguments differ only in case")
	if len(d.schemas) == 0 {
		if v.FoldDuplicate(true) != "" {
			return twice
		}
		return nil
	}
	if v.Kind() == rawjson.Array {
		below := sh.items(d)
		for i := range v.Items() {
			if err := sh.judge(i, &below); err != nil {
				return err
			}
		}
		return nil
	}
	if _, name, ok := v.FoldsTo(d.names...); ok {
		return invalidParams("an argument is written in another case than the declared " + strconv.Quote(name))
	}
	if v.FoldDuplicate(false) != "" && !d.declares(v) {
		return twice
	}
	for k, val := range v.Members() {
		if kind := val.Kind(); kind != rawjson.Object && kind != rawjson.Array {
			continue
		}
		key, _ := k.Str()
		below := sh.member(d, key)
		if err := sh.judge(val, &below); err != nil {
			return err
		}
	}
	return nil
}

// declares reports whether every member of v is itself declared, so that keys
// differing in case are both meant.
func (d *declaration) declares(v rawjson.Value) bool {
	for k := range v.Members() {
		if !slices.ContainsFunc(d.names, k.Equals) {
			return false
		}
	}
	return true
}
