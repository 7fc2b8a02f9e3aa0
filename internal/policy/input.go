package policy

import (
	"bytes"
	"strconv"

	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/rawjson"
)

// Bounds of what is converted for one policy set and call. What exceeds them
// cannot be judged, and a policy that reads it errs.
const (
	maxInputNodes = 4096
	maxInputDepth = 32
)

// converter turns arguments into a Cedar value: only what some tree names.
type converter struct {
	nodes  int
	bad    bool                                     // something that is read has no exact Cedar value
	derive func(rawjson.Value) (types.Value, error) // of each argument, instead of its value; nil: its value
}

// inputOf returns context.input with the members the trees name. ok is false if
// one of them has no exact Cedar value.
func inputOf(v rawjson.Value, shape *typ, trees ...*tree) (in types.Record, ok bool) {
	c := converter{}
	if k := v.Kind(); k != rawjson.Object && k != rawjson.Missing && k != rawjson.Null {
		return types.Record{}, false
	}
	in = c.object(v, shape, trees, 0)
	return in, !c.bad
}

func (c *converter) object(v rawjson.Value, shape *typ, trees []*tree, depth int) types.Record {
	m := make(types.RecordMap)
	c.bad = c.bad || folds(v, shape, trees)
	for _, t := range trees {
		if t.all {
			c.bad = c.bad || c.derive != nil // an object has nothing derived
			for k, val := range v.Members() {
				key, _ := k.Str()
				c.member(m, key, val, shape, trees, depth)
			}
			return types.NewRecord(m)
		}
	}
	for _, t := range trees {
		for key := range t.kids {
			if _, done := m[types.String(key)]; !done {
				c.member(m, key, v.Get(key), shape, trees, depth)
			}
		}
	}
	return types.NewRecord(m)
}

// folds reports whether v has a key that differs only in case from one that is
// read, and that the schema does not declare. Many servers take "Path" for
// "path", so a policy that looks for one must not miss the other.
func folds(v rawjson.Value, shape *typ, trees []*tree) bool {
	var names []string
	for _, t := range trees {
		for key := range t.kids {
			names = append(names, key)
		}
	}
	if _, _, found := v.FoldsTo(names...); !found {
		return false
	}
	if shape != nil {
		for key := range shape.members {
			names = append(names, key)
		}
		for key := range shape.loose {
			names = append(names, key)
		}
	}
	_, _, found := v.FoldsTo(names...)
	return found
}

// member converts one member; null and missing are absent.
func (c *converter) member(m types.RecordMap, key string, v rawjson.Value, shape *typ, trees []*tree, depth int) {
	if !v.Exists() || v.Kind() == rawjson.Null || c.bad {
		return
	}
	below, read := make([]*tree, 0, len(trees)), false
	for _, t := range trees {
		if t.all {
			below, read = append(below, t), true
		} else if k := t.kids[key]; k != nil {
			below, read = append(below, k), read || k.all || k.kids != nil
		}
	}
	if !read { // it is there, and nobody looks at it
		m[types.String(key)] = types.True
		return
	}
	var s *typ
	if shape != nil && shape.kind == kindRecord {
		s = shape.members[key].typ
	}
	if val := c.value(v, s, below, depth+1); val != nil {
		m[types.String(key)] = val
	}
}

// value converts v, or notes that it cannot and returns nil.
func (c *converter) value(v rawjson.Value, shape *typ, trees []*tree, depth int) types.Value {
	c.nodes++
	if c.bad || c.nodes > maxInputNodes || depth > maxInputDepth || !shape.takes(v.Kind()) {
		c.bad = true
		return nil
	}
	if c.derive != nil && v.Kind() != rawjson.Object {
		val, err := c.derive(v)
		c.bad = err != nil
		return val
	}
	switch v.Kind() {
	case rawjson.String:
		s, _ := v.Str()
		return types.String(s)
	case rawjson.True:
		return types.True
	case rawjson.False:
		return types.False
	case rawjson.Number:
		return c.number(v, shape)
	case rawjson.Object:
		return c.object(v, shape, trees, depth)
	case rawjson.Array:
		return c.array(v, shape, depth)
	default:
		c.bad = true
		return nil
	}
}

// takes reports whether a value of this JSON type can be what the schema declares.
// In Cedar "5" == 5 is false and no error, so that a value of another type would
// pass a condition its server may still take it to meet.
func (t *typ) takes(k rawjson.Kind) bool {
	if t == nil {
		return true
	}
	switch t.kind {
	case kindString:
		return k == rawjson.String
	case kindLong, kindDecimal:
		return k == rawjson.Number
	case kindBool:
		return k == rawjson.True || k == rawjson.False
	case kindSet:
		return k == rawjson.Array
	default:
		return k == rawjson.Object
	}
}

func (c *converter) array(v rawjson.Value, shape *typ, depth int) types.Value {
	var elem *typ
	if shape != nil && shape.kind == kindSet {
		elem = shape.elem
	}
	whole := []*tree{{all: true}}
	var items []types.Value
	for item := range v.Items() {
		if item.Kind() == rawjson.Null {
			continue
		}
		val := c.value(item, elem, whole, depth+1)
		if val == nil {
			return nil
		}
		items = append(items, val)
	}
	return types.NewSet(items...)
}

// number converts a number by its value, not by how it is written, so that 5,
// 5.0 and 5e0 are judged alike: to decimal where the schema says number, else to
// Long if it is whole, else to decimal.
func (c *converter) number(v rawjson.Value, shape *typ) types.Value {
	decimal := shape != nil && shape.kind == kindDecimal
	if i, ok := v.Int64(); ok && !decimal {
		return types.Long(i)
	}
	scaled, ok := scale4(v.Raw())
	if !ok {
		c.bad = true
		return nil
	}
	if scaled%10_000 == 0 && !decimal {
		return types.Long(scaled / 10_000)
	}
	d, err := types.NewDecimal(scaled, -4)
	if err != nil {
		c.bad = true
		return nil
	}
	return d
}

// scale4 returns the JSON number times 10⁴ if that is an exact int64.
func scale4(raw []byte) (int64, bool) {
	mantissa, exp := raw, 0
	if i := bytes.IndexAny(raw, "eE"); i >= 0 {
		n, err := strconv.Atoi(string(raw[i+1:]))
		if err != nil || n > 1000 || n < -1000 {
			return 0, false
		}
		mantissa, exp = raw[:i], n
	}
	sign := ""
	if len(mantissa) > 0 && mantissa[0] == '-' {
		sign, mantissa = "-", mantissa[1:]
	}
	whole, frac, _ := bytes.Cut(mantissa, []byte("."))
	digits := append(append(make([]byte, 0, len(mantissa)+4), whole...), frac...)
	exp += 4 - len(frac)
	for exp < 0 && len(digits) > 0 && digits[len(digits)-1] == '0' {
		digits, exp = digits[:len(digits)-1], exp+1
	}
	digits = bytes.TrimLeft(digits, "0")
	if len(digits) == 0 {
		return 0, true
	}
	if exp < 0 || len(digits)+exp > 19 {
		return 0, false
	}
	n, err := strconv.ParseInt(sign+string(digits)+"0000000000000000000"[:exp], 10, 64)
	return n, err == nil
}

// kindName names the JSON type of v for people, "" if it is missing.
func kindName(v rawjson.Value) string {
	switch v.Kind() {
	case rawjson.String:
		return "string"
	case rawjson.True, rawjson.False:
		return "boolean"
	case rawjson.Number:
		return "number"
	case rawjson.Array:
		return "array"
	case rawjson.Object:
		return "object"
	case rawjson.Null:
		return "null"
	default:
		return ""
	}
}
