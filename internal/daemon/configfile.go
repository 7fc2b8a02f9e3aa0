package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// configFile reads a configuration into its struct, names what is wrong by line
// and key, and remembers where each key stands. It quotes no value of a key it
// does not know: that may be a secret in the wrong place.
type configFile struct {
	lines map[string]int // by key, as in "listen.agents"
	bad   []string
}

func (f *configFile) fail(line int, key, format string, args ...any) {
	f.bad = append(f.bad, place(line, key)+fmt.Sprintf(format, args...))
}

// place is how a message says where: "line 3: listen.agents: ".
func place(line int, key string) string {
	var s string
	if line > 0 {
		s = fmt.Sprintf("line %d: ", line)
	}
	if key != "" {
		s += key + ": "
	}
	return s
}

// document returns the root of the one document of raw, nil if it holds nothing.
func (f *configFile) document(raw []byte) *yaml.Node {
	if !utf8.Valid(raw) {
		f.fail(0, "", "not UTF-8: save it as UTF-8")
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(raw))
	if err != nil {
		f.syntax(err)
		return nil
	}
	var first, second yaml.Node
	switch err := loader.Load(&first); {
	case errors.Is(err, io.EOF):
		return nil // comments only
	case err != nil:
		f.syntax(err)
		return nil
	}
	switch err := loader.Load(&second); {
	case err == nil:
		f.fail(second.Line, "", "a second document starts here; a configuration is one document")
		return nil
	case !errors.Is(err, io.EOF):
		f.syntax(err)
		return nil
	}
	if first.Kind != yaml.DocumentNode || len(first.Content) != 1 {
		return nil
	}
	return first.Content[0]
}

// syntax says what is no YAML without the library's own words for its parts.
func (f *configFile) syntax(err error) {
	line, msg := 0, "not YAML"
	var le *yaml.LoadError
	if errors.As(err, &le) {
		line, msg = le.Mark.Line, "not YAML here: "+le.Message
		if strings.Contains(le.Message, "cannot start any token") {
			msg = "not YAML here: indent with spaces, not tabs, and quote text that starts with @, ` or %"
		}
	}
	f.fail(line, "", "%s", msg)
}

// read sets v, a struct, list, text, bool, number, time or amount, to what n holds.
func (f *configFile) read(n *yaml.Node, v reflect.Value, key string) {
	switch {
	case n.Kind == yaml.AliasNode, n.Anchor != "", n.Style&yaml.TaggedStyle != 0:
		f.fail(n.Line, key, "anchors, aliases and tags are not allowed: write the value out")
		return
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return // as if it were left out
	}
	switch to := v.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || err != nil || d <= 0 {
			f.fail(n.Line, key, "must be a time such as 30s or 10m")
			return
		}
		*to = d
		return
	case *Bytes:
		b, err := parseBytes(n.Value)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || err != nil {
			f.fail(n.Line, key, "must be an amount such as 512KiB or 4MiB")
			return
		}
		*to = b
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		f.members(n, v, key)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			f.fail(n.Line, key, "must be a list such as [a, b]")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, c := range n.Content {
			item := fmt.Sprintf("%s[%d]", key, i)
			f.lines[item] = c.Line
			f.read(c, v.Index(i), item)
		}
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			f.fail(n.Line, key, "must be true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || i <= 0 || strconv.Itoa(i) != n.Value {
			f.fail(n.Line, key, "must be a whole number of at least 1, such as 100")
			return
		}
		v.SetInt(int64(i))
	default: // a string: Config has nothing else
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			f.fail(n.Line, key, "must be text; put it in quotes if it looks like a number, a date or true and false")
			return
		}
		v.SetString(n.Value)
	}
}

// members sets the fields of the struct v to the members of the mapping n.
func (f *configFile) members(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.MappingNode {
		f.fail(n.Line, key, "must hold keys and values, as in key: value")
		return
	}
	fields, known := map[string]reflect.Value{}, []string{}
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("yaml"); name != "" {
			fields[name] = v.Field(i)
			known = append(known, name)
		}
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		name, path := k.Value, k.Value
		if key != "" {
			path = key + "." + name
		}
		field, ok := fields[name]
		switch {
		case k.Kind != yaml.ScalarNode || !ok:
			f.fail(k.Line, path, "unknown key; known here are %s (see rutile up --help)", strings.Join(known, ", "))
		case seen[name] > 0:
			f.fail(k.Line, path, "the key is there twice, first in line %d: remove one", seen[name])
		default:
			seen[name], f.lines[path] = k.Line, k.Line
			f.read(n.Content[i+1], field, path)
		}
	}
}
