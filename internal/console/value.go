package console

import (
	"fmt"
	"strings"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// field is one named value of somebody else's.
type field struct {
	Name string
	Kind string // what it is and how long
	Text string
	Long bool // it scrolls in its own box
}

// fieldsOf lists the arguments of a call, decoded: all of them, each whole.
func fieldsOf(w words, raw []byte) ([]field, error) {
	v, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if v.Kind() != rawjson.Object {
		return []field{fieldOf(w, w.t("all arguments"), v)}, nil
	}
	out := make([]field, 0, v.Len())
	for k, m := range v.Members() {
		key, _ := k.Str()
		out = append(out, fieldOf(w, name(key), m))
	}
	return out, nil
}

// parse reads what was kept; nothing is a value that is not there.
func parse(raw []byte) (rawjson.Value, error) {
	if len(raw) == 0 {
		return rawjson.Value{}, nil
	}
	v, err := rawjson.Parse(raw, rawjson.Limits{})
	if err != nil {
		return v, &access.Error{Code: access.CodeInternal, Msg: "kept arguments cannot be read", Err: err}
	}
	return v, nil
}

// fieldsOfConstraints lists what every call under a grant must meet.
func fieldsOfConstraints(w words, cs grant.Constraints) ([]field, error) {
	var out []field
	for _, c := range cs {
		v, err := parse(c.Operand())
		if err != nil {
			return nil, err
		}
		at := w.t("all arguments")
		if c.At() != "" {
			at = name(c.At())
		}
		f := fieldOf(w, at, v)
		f.Kind = line(string(c.Op()))
		out = append(out, f)
	}
	return out, nil
}

// name is the name of a member.
func name(key string) string {
	if key == "" {
		return `""`
	}
	return line(key)
}

func fieldOf(w words, name string, v rawjson.Value) field {
	f := field{Name: name, Kind: kindOf(w, v)}
	if s, ok := v.Str(); ok {
		f.Text = block(s)
	} else {
		var b strings.Builder
		pretty(&b, v, 0)
		f.Text = b.String()
	}
	f.Long = len(f.Text) > longText || strings.Count(f.Text, "\n") > longLines
	return f
}

// What is longer scrolls in its own box.
const (
	longText  = 1500 // bytes
	longLines = 15
)

// kindOf says what a value is, so that the text "1" and the number 1 differ.
func kindOf(w words, v rawjson.Value) string {
	switch v.Kind() {
	case rawjson.String:
		s, _ := v.Str()
		lines := strings.Count(s, "\n") + 1
		return w.n(len([]rune(s)), "text, 1 character", "text, %d characters") + ", " + w.n(lines, "1 line", "%d lines")
	case rawjson.Object:
		return w.n(v.Len(), "object, 1 member", "object, %d members")
	case rawjson.Array:
		return w.n(v.Len(), "list, 1 item", "list, %d items")
	case rawjson.Number:
		return w.t("number")
	case rawjson.True, rawjson.False:
		return w.t("true or false")
	case rawjson.Null:
		return "null"
	default:
		return w.t("not there")
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// pretty writes a value over several lines. Strings are decoded; a quote in one
// is spelled out, so that none can pretend to end. It writes nothing twice, so it
// is as long as the value but for the indentation, which Parse bounds.
func pretty(b *strings.Builder, v rawjson.Value, depth int) {
	switch {
	case v.Kind() == rawjson.String:
		s, _ := v.Str()
		b.WriteString(quoted(s))
	case v.Kind() == rawjson.Object && v.Len() > 0:
		b.WriteByte('{')
		first := true
		for k, m := range v.Members() {
			next(b, &first, depth+1)
			key, _ := k.Str()
			b.WriteString(quoted(key) + ": ")
			pretty(b, m, depth+1)
		}
		newline(b, depth)
		b.WriteByte('}')
	case v.Kind() == rawjson.Array && v.Len() > 0:
		b.WriteByte('[')
		first := true
		for m := range v.Items() {
			next(b, &first, depth+1)
			pretty(b, m, depth+1)
		}
		newline(b, depth)
		b.WriteByte(']')
	default:
		b.Write(v.Raw()) // a number, true, false, null, {} or []
	}
}

func next(b *strings.Builder, first *bool, depth int) {
	if !*first {
		b.WriteByte(',')
	}
	*first = false
	newline(b, depth)
}

func newline(b *strings.Builder, depth int) {
	b.WriteByte('\n')
	for range depth {
		b.WriteString("  ")
	}
}

func quoted(s string) string { return `"` + strings.ReplaceAll(line(s), `"`, `\u{22}`) + `"` }
