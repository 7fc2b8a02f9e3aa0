package grant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"rutile/internal/rawjson"
)

const (
	// maxSchema bounds a schema and maxInstance what is checked by one, in
	// bytes of their canonical forms: the time goes with their product.
	maxSchema   = 8 << 10
	maxInstance = 16 << 10
	// maxPatterns bounds the regular expressions of one schema, and
	// maxPatternSize each, in instructions.
	maxPatterns    = 16
	maxPatternSize = 200
)

// schema is a JSON Schema of draft 2020-12, or of what its $schema names.
type schema struct {
	form     string // canonical
	compiled *jsonschema.Schema
}

// noLoader loads nothing: no schema comes from a network or a file.
type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errors.New("schemas are not loaded") }

func newSchema(v rawjson.Value) (matcher, error) {
	form := rawjson.AppendCanonical(nil, v)
	switch {
	case v.Kind() != rawjson.Object:
		return nil, fmt.Errorf("must be an object, a JSON Schema")
	case len(form) > maxSchema:
		return nil, fmt.Errorf("larger than %d bytes", maxSchema)
	case refers(v):
		return nil, fmt.Errorf("must not hold $ref, $dynamicRef, $recursiveRef or $id: nothing is loaded, and without " +
			"references the work is bounded by the size")
	case patterns(v) > maxPatterns:
		return nil, fmt.Errorf("more than %d patterns", maxPatterns)
	}
	doc, err := decode(form)
	if err != nil {
		return nil, fmt.Errorf("not a JSON Schema")
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) {
		if programSize(s) > maxPatternSize {
			return nil, errors.New("pattern too large")
		}
		return regexp.Compile(s)
	})
	const url = "constraint:schema"
	if err := c.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("not a JSON Schema")
	}
	compiled, err := c.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("not a JSON Schema")
	}
	return schema{string(form), compiled}, nil
}

// refers reports whether v holds a key that refers to or names a schema. A
// property or value of that name is refused with it.
func refers(v rawjson.Value) bool {
	for k, val := range v.Members() {
		if k.Equals("$ref") || k.Equals("$dynamicRef") || k.Equals("$recursiveRef") || k.Equals("$id") || refers(val) {
			return true
		}
	}
	for it := range v.Items() {
		if refers(it) {
			return true
		}
	}
	return false
}

// patterns counts the members that hold or are regular expressions.
func patterns(v rawjson.Value) int {
	n := 0
	for k, val := range v.Members() {
		switch {
		case k.Equals("pattern"):
			n++
		case k.Equals("patternProperties"):
			n += val.Len()
		}
		n += patterns(val)
	}
	for it := range v.Items() {
		n += patterns(it)
	}
	return n
}

func decode(form []byte) (any, error) {
	var doc any
	d := json.NewDecoder(bytes.NewReader(form))
	d.UseNumber() // exact: the library reckons with big.Rat
	err := d.Decode(&doc)
	return doc, err
}

func (s schema) match(v rawjson.Value) bool {
	if !boundedNumbers(v) || v.FoldDuplicate(true) != "" {
		return false
	}
	form := rawjson.AppendCanonical(nil, v)
	if len(form) > maxInstance {
		return false
	}
	doc, err := decode(form)
	return err == nil && s.compiled.Validate(doc) == nil
}
