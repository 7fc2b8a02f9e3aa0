package policy

import (
	"errors"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
	"rutile/internal/argument"
	"rutile/internal/rawjson"
)

// context.derived holds what Rutile computes from arguments: the field first,
// then the argument as in context.input, so that no argument can have the name of
// a field (docs/decisions/0040-derived-beside-input.md). A field is computed only
// if a policy whose scope matches reads it of that argument. One that cannot be
// computed makes that policy err.
const (
	derivedName = "derived"
	callBytes   = "call_bytes" // of the whole call; it has no argument below
)

// derivation is one field.
type derivation struct {
	name string
	kind kindOf // String, Long or Set of String
	text bool   // of a string
	list bool   // of an array of strings
	any  bool   // of an array of anything
	num  bool   // of a number
	of   func(rawjson.Value) (types.Value, error)
	uri  func(rawjson.Value) (types.Value, error) // of the URI of a resource, if that is another
}

var derivations = []derivation{
	{name: "url_host", kind: kindString, text: true, of: ofURL(func(u argument.URL) (types.Value, error) { return types.String(u.Host), nil })},
	{name: "url_registrable", kind: kindString, text: true, of: ofURL(func(u argument.URL) (types.Value, error) { return str(argument.Registrable(u.Host)) })},
	{name: "url_scheme", kind: kindString, text: true, of: ofText(func(s string) (types.Value, error) { return str(argument.Scheme(s)) })},
	{name: "url_port", kind: kindLong, text: true, of: ofURL(func(u argument.URL) (types.Value, error) {
		port, err := u.Port()
		return types.Long(port), err
	})},
	{name: "path_canon", kind: kindString, text: true, of: ofText(func(s string) (types.Value, error) { return str(argument.Path(s)) }),
		uri: ofText(func(s string) (types.Value, error) { return str(argument.URIPath(s)) })},
	{name: "sql_class", kind: kindString, text: true, of: ofText(func(s string) (types.Value, error) {
		class, err := argument.ClassifySQL(s)
		return types.String(class.String()), err
	})},
	{name: "email_domains", kind: kindSet, text: true, list: true, of: emailDomains},
	{name: "bytes", kind: kindLong, text: true, list: true, any: true, of: bytesOf},
	{name: "hundredths", kind: kindLong, num: true, of: hundredthsOf},
}

var errNoText = errors.New("it is not a string")

func ofText(f func(string) (types.Value, error)) func(rawjson.Value) (types.Value, error) {
	return func(v rawjson.Value) (types.Value, error) {
		s, ok := v.Str()
		if !ok {
			return nil, errNoText
		}
		return f(s)
	}
}

func ofURL(f func(argument.URL) (types.Value, error)) func(rawjson.Value) (types.Value, error) {
	return ofText(func(s string) (types.Value, error) {
		u, err := argument.ParseURL(s)
		if err != nil {
			return nil, err
		}
		return f(u)
	})
}

func str(s string, err error) (types.Value, error) { return types.String(s), err }

// emailDomains reads one list of addresses, or an array of lists.
func emailDomains(v rawjson.Value) (types.Value, error) {
	var all []string
	read := func(v rawjson.Value) error {
		s, ok := v.Str()
		if !ok {
			return errors.New("it is neither a string nor an array of strings")
		}
		domains, err := argument.EmailDomains(s)
		all = append(all, domains...)
		return err
	}
	if v.Kind() != rawjson.Array {
		if err := read(v); err != nil {
			return nil, err
		}
		return stringSet(all), nil
	}
	for item := range v.Items() {
		if err := read(item); err != nil {
			return nil, err
		}
	}
	return stringSet(all), nil
}

// bytesOf returns how long a string is in UTF-8, or an array as it was sent.
func bytesOf(v rawjson.Value) (types.Value, error) {
	switch v.Kind() {
	case rawjson.String:
		s, _ := v.Str()
		return types.Long(len(s)), nil
	case rawjson.Array:
		return types.Long(len(v.Raw())), nil
	}
	return nil, errors.New("it is neither a string nor an array")
}

// hundredthsOf returns the exact value of a number in hundredths, as money has them:
// Cedar cannot reckon with decimals, nor compare one with a fact.
func hundredthsOf(v rawjson.Value) (types.Value, error) {
	if v.Kind() != rawjson.Number {
		return nil, errors.New("it is not a number")
	}
	n, ok := scale4(v.Raw())
	if !ok || n%100 != 0 {
		return nil, errors.New("it has more than two decimal places, or is too large")
	}
	return types.Long(n / 100), nil
}

func derivationOf(name string) (derivation, bool) {
	i := slices.IndexFunc(derivations, func(d derivation) bool { return d.name == name })
	if i < 0 {
		return derivation{}, false
	}
	return derivations[i], true
}

// readsDerived reports whether reading p reads context.derived.
func readsDerived(p path) bool { return p[0] == "context" && len(p) > 1 && p[1] == derivedName }

// ofWholeCall reports whether a chain below context.derived reads no argument.
func ofWholeCall(p path) bool { return len(p) > 2 && p[2] == callBytes }

// arguments reports whether some argument is read.
func (r *reads) arguments() bool {
	if r.input != nil || r.derived == nil {
		return r.input != nil
	}
	for name := range r.derived.kids {
		if name != callBytes {
			return true
		}
	}
	return false
}

// derive sets context.derived to the members the trees name. It returns false if
// one of them cannot be computed.
func (e *evaluation) derive(trees ...*tree) bool {
	v, shape, uri := e.arguments()
	rec, ok := derivedOf(v, shape, uri, trees...)
	if ok {
		e.derived = rec
	}
	return ok
}

// arguments returns what fields are derived from, its type where it has one, and
// whether it is the URI of a resource.
func (e *evaluation) arguments() (v rawjson.Value, shape *typ, uri bool) {
	switch e.q.Tool.Kind {
	case access.KindResource:
		return uriArgument(e.q.Target), uriType, true
	case access.KindTool:
		return e.q.Arguments, e.set.inputs[e.q.Action], false
	default:
		return e.q.Arguments, nil, false
	}
}

// uriArgument is the URI of a resource as if it were an argument.
func uriArgument(uri string) rawjson.Value {
	v, err := rawjson.Parse(append(rawjson.AppendString([]byte(`{"uri":`), uri), '}'), rawjson.Limits{})
	if err != nil {
		return rawjson.Value{}
	}
	return v
}

// derivedOf returns context.derived with the members the trees name. ok is false
// if one of them is unknown or cannot be computed.
func derivedOf(v rawjson.Value, shape *typ, uri bool, trees ...*tree) (out types.Record, ok bool) {
	if k := v.Kind(); k != rawjson.Object && k != rawjson.Missing && k != rawjson.Null {
		return types.Record{}, false
	}
	below := make(map[string][]*tree)
	for _, t := range trees {
		if t.all {
			return types.Record{}, false
		}
		for name, k := range t.kids {
			below[name] = append(below[name], k)
		}
	}
	m := make(types.RecordMap, len(below))
	for name, fields := range below {
		d, known := derivationOf(name)
		switch {
		case name == callBytes:
			m[callBytes] = lengthOf(v, uri)
			continue
		case !known:
			return types.Record{}, false
		}
		c := converter{derive: d.of}
		if uri && d.uri != nil {
			c.derive = d.uri
		}
		if m[types.String(name)] = c.object(v, shape, fields, 0); c.bad {
			return types.Record{}, false
		}
	}
	return types.NewRecord(m), true
}

// underivable says why a field that p reads cannot be computed of an argument
// that is there, "" if it can.
func underivable(p path, v rawjson.Value, uri bool) string {
	d, known := derivationOf(p[2])
	switch {
	case !known:
		return "there is no such field"
	case v.Kind() == rawjson.Object:
		return "it is an object"
	case uri && d.uri != nil:
		d.of = d.uri
	}
	if _, err := d.of(v); err != nil {
		return err.Error()
	}
	return ""
}

// lengthOf returns the length of the arguments as they were sent, or of the URI of
// a resource.
func lengthOf(v rawjson.Value, uri bool) types.Long {
	if s, ok := v.Get("uri").Str(); ok && uri {
		return types.Long(len(s))
	}
	return types.Long(len(v.Raw()))
}
