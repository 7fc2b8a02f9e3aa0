package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"rutile/internal/rawjson"
)

// exact returns an error if an object of v has a member that a struct of type t
// does not have by exactly that name. encoding/json takes a name in any case,
// so that two members of a document could mean one field and the last one won.
func exact(v rawjson.Value, t reflect.Type) error {
	unmarshaler := reflect.TypeFor[json.Unmarshaler]()
	if t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil // it reads its own form
	}
	switch t.Kind() {
	case reflect.Pointer:
		return exact(v, t.Elem())
	case reflect.Slice, reflect.Array:
		for item := range v.Items() {
			if err := exact(item, t.Elem()); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, m := range v.Members() {
			if err := exact(m, t.Elem()); err != nil {
				return err
			}
		}
	case reflect.Struct:
		return exactMembers(v, t)
	}
	return nil
}

func exactMembers(v rawjson.Value, t reflect.Type) error {
	fields := map[string]reflect.Type{}
	named(t, fields)
	for k, m := range v.Members() {
		name, ok := k.Str()
		field, known := fields[name]
		if !ok || !known {
			return fmt.Errorf("unknown field %.64q", name)
		}
		if err := exact(m, field); err != nil {
			return err
		}
	}
	return nil
}

// named collects the fields of a struct by their names in JSON, those of
// embedded structs with them.
func named(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-":
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			named(inner, into)
		case f.IsExported() && name == "":
			into[f.Name] = f.Type
		case f.IsExported():
			into[name] = f.Type
		}
	}
}

// maxUnpacked bounds what the items of a document take in memory, in bytes. An item
// written in three bytes may be a struct of many hundred.
const maxUnpacked = 128 << 20

// unpacked returns how many bytes the items of a document's arrays take as values
// of Go, each by itself; it stops counting past the bound.
func unpacked(v rawjson.Value, t reflect.Type) int {
	switch t.Kind() {
	case reflect.Pointer:
		return unpacked(v, t.Elem())
	case reflect.Slice, reflect.Array:
		n := v.Len() * int(t.Elem().Size())
		for item := range v.Items() {
			if n > maxUnpacked {
				break
			}
			n += unpacked(item, t.Elem())
		}
		return n
	case reflect.Struct:
		fields, n := map[string]reflect.Type{}, 0
		if v.Len() > 0 {
			named(t, fields)
		}
		for k, m := range v.Members() {
			name, _ := k.Str()
			for have, field := range fields { // the decoder takes a name in any case
				if strings.EqualFold(have, name) && (m.Kind() == rawjson.Array || m.Kind() == rawjson.Object) {
					n += unpacked(m, field)
				}
			}
		}
		return n
	}
	return 0
}
