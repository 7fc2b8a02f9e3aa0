package inspect

import (
	"slices"
	"strings"

	"rutile/internal/rawjson"
)

// schema compares two JSON Schemas of arguments: narrower and plain additions
// pass, what lets an agent hand over more does not.
func (d *drifting) schema(at string, was, is rawjson.Value, depth int) {
	if depth > maxNesting || same(was, is) {
		return
	}
	if was.Kind() != rawjson.Object || is.Kind() != rawjson.Object {
		d.add("schema", at, GradeHigh, "the schema is another kind of value")
		return
	}
	for _, key := range keysOf(was, is) {
		old, now, here := was.Get(key), is.Get(key), at+"/"+escapeKey(key)
		if same(old, now) {
			continue
		}
		switch key {
		case "properties", "$defs", "definitions", "patternProperties":
			d.properties(here, old, now, is.Get("required"), depth)
		case "required", "dependentRequired":
			d.required(here, old, now, was.Get("properties"))
		case "type":
			d.types(here, old, now)
		case "enum":
			d.enum(here, old, now)
		case "additionalProperties", "unevaluatedProperties":
			d.open(here, old, now, depth)
		case "items":
			d.schema(here, old, now, depth+1)
		case "description", "title", "$comment":
			d.wording(here, old, now)
		case "default", "const":
			d.value(here, now)
		default:
			d.add("constraint", here, GradeLow, "a constraint changed")
		}
	}
}

// properties compares parameters by name.
func (d *drifting) properties(at string, was, is, required rawjson.Value, depth int) {
	for _, name := range keysOf(was, is) {
		old, now, here := was.Get(name), is.Get(name), at+"/"+escapeKey(name)
		switch {
		case !now.Exists():
			d.add("narrower", here, GradeLow, "a parameter was removed")
		case !old.Exists():
			d.parameter(here, name, now, holds(required, name))
		default:
			d.schema(here, old, now, depth+1)
		}
	}
}

// parameter judges one that was added.
func (d *drifting) parameter(at, name string, now rawjson.Value, required bool) {
	switch {
	case required:
		d.add("widened", at, GradeHigh, "a required parameter was added")
	case sensitiveName(name):
		d.add("widened", at, GradeHigh, "a parameter was added that names a destination, a command, a secret or the conversation")
	case freeForm(now):
		d.add("widened", at, GradeHigh, "a parameter was added that takes anything")
	default:
		text, _ := now.Get("description").Str()
		for _, s := range sentences(d.e.skeleton(text)) {
			if why := d.telling(s, ""); why != "" {
				d.add("widened", at, GradeHigh, "a parameter was added: "+why)
				return
			}
		}
		d.add("addition", at, GradeLow, "an optional parameter was added")
	}
}

func holds(list rawjson.Value, name string) bool {
	for item := range list.Items() {
		if item.Equals(name) {
			return true
		}
	}
	return false
}

// freeForm reports whether a schema takes any object.
func freeForm(v rawjson.Value) bool {
	if !v.Get("type").Equals("object") {
		return v.Len() == 0
	}
	allowed, said := v.Get("additionalProperties").Bool()
	return v.Get("properties").Len() == 0 && (!said || allowed)
}

// sensitiveName reports whether a word of a parameter's name says where something
// goes, what runs, or that more is wanted than the tool needs.
func sensitiveName(name string) bool {
	for _, w := range nameWords(name) {
		if slices.Contains(sensitiveWords, w) {
			return true
		}
	}
	return false
}

var sensitiveWords = []string{
	"url", "uri", "endpoint", "webhook", "callback", "host", "proxy", "destination", "recipient", "recipients", "bcc", "cc", "email", "emails", "forward",
	"command", "cmd", "script", "exec", "shell", "code", "eval", "args",
	"context", "conversation", "history", "prompt", "transcript", "memory", "reasoning", "thoughts", "sidenote", "note", "notes", "metadata", "extra", "debug",
	"password", "secret", "token", "credential", "credentials", "apikey", "key", "cookie", "session", "auth",
	"iban", "wallet", "payee",
}

// nameWords cuts an identifier at separators and capitals.
func nameWords(name string) []string {
	var b strings.Builder
	before := byte('_')
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			if before >= 'a' && before <= 'z' {
				b.WriteByte(' ')
			}
			b.WriteByte(c | 0x20)
		case wordByte(c) && c != '_':
			b.WriteByte(c)
		default:
			b.WriteByte(' ')
		}
		before = c
	}
	return strings.Fields(b.String())
}

// required compares which parameters must be given.
func (d *drifting) required(at string, was, is, known rawjson.Value) {
	for item := range is.Items() {
		name, _ := item.Str()
		if !holds(was, name) && known.Get(name).Exists() {
			d.add("narrower", at, GradeLow, "a parameter must be given now")
		}
	}
	for item := range was.Items() {
		if name, _ := item.Str(); !holds(is, name) {
			d.add("narrower", at, GradeLow, "a requirement was dropped")
		}
	}
}

// types compares what a value may be: more types are wider.
func (d *drifting) types(at string, was, is rawjson.Value) {
	list := func(v rawjson.Value) (out []string) {
		if s, ok := v.Str(); ok {
			return []string{s}
		}
		for item := range v.Items() {
			s, _ := item.Str()
			out = append(out, s)
		}
		return out
	}
	old, now := list(was), list(is)
	if len(now) == 0 && len(old) > 0 {
		d.add("widened", at, GradeHigh, "the type was left out")
		return
	}
	for _, t := range now {
		if !slices.Contains(old, t) && t != "null" && !(t == "integer" && slices.Contains(old, "number")) {
			if t == "object" || t == "array" || slices.Contains(now, "object") || len(now) > len(old) || t == "string" && !slices.Contains(old, "string") {
				d.add("widened", at, GradeHigh, "the type takes more")
				return
			}
		}
	}
	d.add("narrower", at, GradeLow, "another type")
}

func (d *drifting) enum(at string, was, is rawjson.Value) {
	if !is.Exists() {
		d.add("widened", at, GradeHigh, "any value may be given where a list was")
		return
	}
	added := false
	for item := range is.Items() {
		found := !was.Exists()
		for old := range was.Items() {
			found = found || same(old, item)
		}
		if !found {
			added = true
			d.value(at, item)
		}
	}
	if !added {
		d.add("narrower", at, GradeLow, "values were removed")
	}
}

// value judges a value that was added.
func (d *drifting) value(at string, v rawjson.Value) {
	text, _ := v.Str()
	if why := d.telling(d.e.skeleton(text), ""); why != "" {
		d.add("widened", at, GradeHigh, "a value was added: "+why)
		return
	}
	d.add("addition", at, GradeLow, "a value was added")
}

func (d *drifting) open(at string, was, is rawjson.Value, depth int) {
	old, saidOld := was.Bool()
	now, saidNow := is.Bool()
	switch {
	case saidOld && !old && (!is.Exists() || saidNow && now || is.Kind() == rawjson.Object):
		d.add("widened", at, GradeHigh, "parameters that are not named may be given now")
	case was.Kind() == rawjson.Object && (!is.Exists() || saidNow && now):
		d.add("widened", at, GradeHigh, "what is not named may be anything now")
	case was.Kind() == rawjson.Object && is.Kind() == rawjson.Object:
		d.schema(at, was, is, depth+1)
	default:
		d.add("narrower", at, GradeLow, "fewer parameters may be given")
	}
}
