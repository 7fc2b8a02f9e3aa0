package wrap

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"

	"github.com/BurntSushi/toml"
	"github.com/goccy/go-yaml"

	"rutile/internal/discovery/clientconfig"
)

// second is the second opinion: a parser that shares nothing with the first MUST
// read both texts, and the same in them but for the entry.
func second(before, after []byte, format string, at []clientconfig.Step) error {
	a, err := reading(before, format)
	if err != nil {
		return unfit("another parser does not read the file: leave it to its client")
	}
	b, err := reading(after, format)
	if err != nil {
		return unfit("another parser would not read the file")
	}
	if !without(&a, at) || !without(&b, at) || !reflect.DeepEqual(a, b) {
		return unfit("another parser reads something else changed")
	}
	return nil
}

// reading is a text as the second parser of its format has it.
func reading(raw []byte, format string) (any, error) {
	_, body := cutMark(raw)
	var out any
	switch format {
	case "json", "jsonc":
		d := json.NewDecoder(bytes.NewReader(strictJSON(body)))
		d.UseNumber()
		return out, d.Decode(&out)
	case "yaml":
		return out, yaml.Unmarshal(body, &out)
	default:
		tree := map[string]any{}
		err := toml.Unmarshal(body, &tree)
		return tree, err
	}
}

// without takes the value at a place out; false if there is none.
func without(v *any, at []clientconfig.Step) bool {
	if len(at) == 0 {
		*v = nil
		return true
	}
	switch x := (*v).(type) {
	case map[string]any:
		next, ok := x[at[0].Key]
		if !ok || at[0].List || !without(&next, at[1:]) {
			return false
		}
		x[at[0].Key] = next
	case []any:
		if !at[0].List || at[0].Index >= len(x) {
			return false
		}
		return without(&x[at[0].Index], at[1:])
	case []map[string]any:
		if !at[0].List || at[0].Index >= len(x) {
			return false
		}
		if len(at) == 1 {
			x[at[0].Index] = nil
			return true
		}
		next := any(x[at[0].Index])
		return without(&next, at[1:])
	case map[any]any:
		next, ok := x[at[0].Key]
		if n, err := strconv.Atoi(at[0].Key); !ok && err == nil {
			next, ok = x[n]
		}
		return ok && without(&next, at[1:])
	default:
		return false
	}
	return true
}

// strictJSON blanks out what JSON with comments has beyond JSON.
func strictJSON(b []byte) []byte {
	out := bytes.Clone(b)
	comma := -1 // the last one nothing but blanks followed
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '"':
			comma = -1
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
		case c == '/' && i+1 < len(out) && (out[i+1] == '/' || out[i+1] == '*'):
			end := commentEnd(out, i)
			for ; i < end; i++ {
				if out[i] != '\n' && out[i] != '\r' {
					out[i] = ' '
				}
			}
			i--
		case c == ',':
			comma = i
		case (c == '}' || c == ']') && comma >= 0:
			out[comma], comma = ' ', -1
		case c != ' ' && c != '\t' && c != '\n' && c != '\r':
			comma = -1
		}
	}
	return out
}

// commentEnd is the offset behind the comment at i.
func commentEnd(b []byte, i int) int {
	if b[i+1] == '/' {
		if n := bytes.IndexByte(b[i:], '\n'); n >= 0 {
			return i + n
		}
		return len(b)
	}
	if n := bytes.Index(b[i+2:], []byte("*/")); n >= 0 {
		return i + 2 + n + 2
	}
	return len(b)
}

func tomlUnmarshal(raw []byte, into *map[string]any) error { return toml.Unmarshal(raw, into) }
