package credential

import (
	"bytes"
	"encoding/json"
	"strings"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// valuesMark begins a sealed value that holds several, each with a name.
const valuesMark = `{"rutile":"values/1",`

// Values is what to seal so that one credential holds several values: a template
// names each in braces, and {secret} is the one called secret.
func Values(values map[string]string) ([]byte, error) {
	b, err := json.Marshal(values)
	if err != nil || len(values) == 0 {
		return nil, access.Errorf(access.CodeInvalid, "a credential of several values needs at least one")
	}
	defer clear(b)
	return append([]byte(valuesMark), b[1:]...), nil
}

// valuesOf are the values a sealed one holds, nil where it is only one.
func valuesOf(sealed []byte) map[string][]byte {
	if !bytes.HasPrefix(sealed, []byte(valuesMark)) {
		return nil
	}
	v, err := rawjson.Parse(sealed, rawjson.Limits{})
	if err != nil {
		return nil
	}
	out := map[string][]byte{}
	for key, val := range v.Members() {
		name, ok := key.Str()
		text, is := val.Str()
		if ok && is && name != "rutile" {
			out[name] = []byte(text)
		}
	}
	return out
}

// fillSealed puts what was sealed into a template. Braces that name nothing stay.
func (o *opened) fillSealed(template string) (string, error) {
	if o.values == nil {
		return strings.ReplaceAll(template, placeholder, string(o.value)), nil
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(template, "{")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		value, known := o.values[name]
		if !ok || !known {
			return "", access.Errorf(access.CodeInvalid, "a sealed credential holds no value %q; correct the server's credential in its manifest", clipName(name))
		}
		b.Write(value)
		template = after
	}
}
