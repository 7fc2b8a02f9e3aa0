package wrap

import (
	"bytes"
	"slices"

	"github.com/tailscale/hujson"

	"rutile/internal/discovery/clientconfig"
)

// editJSON changes members of an object. Comments and blanks stay where they are.
func editJSON(body []byte, at []clientconfig.Step, c change) (start, end int, text []byte, err error) {
	root, err := hujson.Parse(body)
	if err != nil {
		return 0, 0, nil, unfit("it cannot be parsed")
	}
	v := &root
	for _, s := range at {
		if v = below(v, s); v == nil {
			return 0, 0, nil, unfit("the entry is not where it was")
		}
	}
	o, ok := v.Value.(*hujson.Object)
	if !ok {
		return 0, 0, nil, unfit("the entry is no object")
	}
	start, end = v.StartOffset, v.EndOffset
	for _, key := range c.drop {
		dropJSON(o, key)
	}
	for i, s := range c.set {
		setJSON(o, s, i, c.set)
	}
	only := hujson.Value{Value: o}
	return start, end, only.Pack(), nil
}

func below(v *hujson.Value, s clientconfig.Step) *hujson.Value {
	switch x := v.Value.(type) {
	case *hujson.Object:
		for i := range x.Members {
			if !s.List && keyOf(x.Members[i]) == s.Key {
				return &x.Members[i].Value
			}
		}
	case *hujson.Array:
		if s.List && s.Index < len(x.Elements) {
			return &x.Elements[s.Index]
		}
	}
	return nil
}

func keyOf(m hujson.ObjectMember) string {
	l, _ := m.Name.Value.(hujson.Literal)
	return l.String()
}

func indexJSON(o *hujson.Object, key string) int {
	return slices.IndexFunc(o.Members, func(m hujson.ObjectMember) bool { return keyOf(m) == key })
}

// dropJSON takes a member out. What stood before it goes with it; the member that
// comes last then keeps no comma it had not.
func dropJSON(o *hujson.Object, key string) {
	i := indexJSON(o, key)
	if i < 0 {
		return
	}
	last := i == len(o.Members)-1
	gone := o.Members[i]
	o.Members = slices.Delete(o.Members, i, i+1)
	switch {
	case i == 0 && len(o.Members) > 0:
		o.Members[0].Name.BeforeExtra = gone.Name.BeforeExtra
	case last && len(o.Members) > 0:
		now := &o.Members[len(o.Members)-1].Value
		if gone.Value.AfterExtra == nil { // no trailing comma before, none now
			o.AfterExtra = slices.Concat(now.AfterExtra, o.AfterExtra)
			now.AfterExtra = nil
		} else if now.AfterExtra == nil {
			now.AfterExtra = hujson.Extra{}
		}
	}
}

// setJSON gives a member a value, or puts it behind the one that is set before it.
func setJSON(o *hujson.Object, s setting, n int, all []setting) {
	value := hujson.Value{BeforeExtra: hujson.Extra(" "), Value: rawJSON(s.value)}
	if i := indexJSON(o, s.key); i >= 0 {
		o.Members[i].Value.Value = value.Value
		return
	}
	at := 0
	if n > 0 {
		at = indexJSON(o, all[n-1].key) + 1
	}
	m := hujson.ObjectMember{Name: hujson.Value{Value: hujson.String(s.key)}, Value: value}
	if len(o.Members) > 0 {
		near := o.Members[min(at, len(o.Members)-1)]
		if m.Name.BeforeExtra = blanks(near.Name.BeforeExtra); at > 0 && len(m.Name.BeforeExtra) == 0 {
			m.Name.BeforeExtra = hujson.Extra(" ")
		}
		m.Value.BeforeExtra = blanks(near.Value.BeforeExtra)
		if at == len(o.Members) {
			last := &o.Members[at-1].Value
			if last.AfterExtra != nil { // a trailing comma stays one
				m.Value.AfterExtra = hujson.Extra{}
			}
			if len(bytes.TrimSpace(last.AfterExtra)) == 0 {
				last.AfterExtra = nil
			}
		}
	}
	o.Members = slices.Insert(o.Members, at, m)
}

// blanks is the white space of e without its comments: the last line's.
func blanks(e hujson.Extra) hujson.Extra {
	if e.IsStandard() {
		return slices.Clone(e)
	}
	if i := bytes.LastIndexByte(e, '\n'); i >= 0 {
		begin := i
		if i > 0 && e[i-1] == '\r' {
			begin--
		}
		if tail := e[begin:]; len(bytes.TrimSpace(tail)) == 0 {
			return slices.Clone(tail)
		}
	}
	return hujson.Extra(" ")
}

func rawJSON(v any) hujson.ValueTrimmed {
	if list, ok := v.([]string); ok {
		a := &hujson.Array{}
		for i, s := range list {
			e := hujson.Value{Value: hujson.Literal(quoted(s))}
			if i > 0 {
				e.BeforeExtra = hujson.Extra(" ")
			}
			a.Elements = append(a.Elements, e)
		}
		return a
	}
	whole, err := hujson.Parse(quoted(v))
	if err != nil {
		return hujson.Literal("null")
	}
	return whole.Value
}
