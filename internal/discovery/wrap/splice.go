package wrap

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery/clientconfig"
)

// change is what becomes of the members of one entry. Members it does not name
// stay as they are, with their comments.
type change struct {
	set  []setting
	drop []string
}

// setting is one member and its value: a text, a list of texts or a truth value.
type setting struct {
	key   string
	value any
}

const byteOrderMark = "\xef\xbb\xbf"

// splice returns raw with one entry changed, and the bytes of the entry before
// and after. Nothing outside of the entry is touched; what cannot be done so is an
// error that says why.
func splice(raw []byte, row *clientconfig.Row, at []clientconfig.Step, c change) (out []byte, before, after []byte, err error) {
	mark, body := cutMark(raw)
	start, end, text, err := edited(body, row, at, c)
	if err != nil {
		return nil, nil, nil, err
	}
	before = bytes.Clone(body[start:end])
	out = bytes.Join([][]byte{mark, body[:start], text, body[end:]}, nil)
	if err := check(raw, out, row, at); err != nil {
		return nil, nil, nil, err
	}
	return out, before, text, nil
}

func cutMark(raw []byte) (mark, body []byte) {
	if body, ok := bytes.CutPrefix(raw, []byte(byteOrderMark)); ok {
		return []byte(byteOrderMark), body
	}
	return nil, raw
}

// edited is the new text of an entry and the range of body it stands in for.
func edited(body []byte, row *clientconfig.Row, at []clientconfig.Step, c change) (start, end int, text []byte, err error) {
	switch row.Format {
	case "json", "jsonc":
		return editJSON(body, at, c)
	case "toml":
		return editTOML(body, at, row.NameField, c)
	case "yaml":
		return editYAML(body, at, c)
	}
	return 0, 0, nil, unfit("its format is not one that is edited")
}

// span is the range of an entry in body.
func span(body []byte, row *clientconfig.Row, at []clientconfig.Step) (start, end int, err error) {
	start, end, _, err = edited(body, row, at, change{})
	return start, end, err
}

// restore returns raw with the entry at a place as it was before we wrote it. It
// fails where the entry is not what we wrote any more, or the text cannot be put
// there without changing anything else.
func restore(raw []byte, row *clientconfig.Row, at []clientconfig.Step, p Piece, whole []byte) ([]byte, error) {
	original, was := p.Original, p.Way
	mark, body := cutMark(raw)
	start, end, err := span(body, row, at)
	if err != nil {
		return nil, err
	}
	// What we wrote may end in blank lines that nobody counts to the entry now.
	if !bytes.HasPrefix(body[start:], p.Wrapped) || start+len(p.Wrapped) < end {
		return nil, unfit("the entry was changed since")
	}
	end = start + len(p.Wrapped)
	out := bytes.Join([][]byte{mark, body[:start], original, body[end:]}, nil)
	if err := check(raw, out, row, at); err != nil {
		return nil, err
	}
	if !clientconfig.SameEntry(whole, was, out, at, row.Format) {
		return nil, unfit("its original text does not mean the same where the entry stands now")
	}
	return out, nil
}

// check reads what was made with two parsers of each format: every other entry
// MUST say what it said.
func check(before, after []byte, row *clientconfig.Row, at []clientconfig.Step) error {
	if err := row.Parses(after); err != nil {
		return unfit("the file would not be readable: " + err.Error())
	}
	if !clientconfig.Same(before, after, row.Format, at) {
		return unfit("the entry cannot be changed without changing something else")
	}
	return second(before, after, row.Format, at)
}

func unfit(why string) error { return access.Errorf(access.CodeInvalid, "%s", why) }

// quoted is a value in the form JSON and YAML share, and TOML but for maps.
func quoted(v any) []byte {
	var b bytes.Buffer
	if list, ok := v.([]string); ok {
		b.WriteByte('[')
		for i, s := range list {
			if i > 0 {
				b.WriteString(", ")
			}
			b.Write(quoted(s))
		}
		b.WriteByte(']')
		return b.Bytes()
	}
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null")
	}
	return bytes.ReplaceAll(bytes.TrimSuffix(b.Bytes(), []byte("\n")), []byte("\x7f"), []byte(`\u007f`))
}

// tomlValue is a value as TOML writes it in one line.
func tomlValue(v any) []byte {
	var b bytes.Buffer
	switch x := v.(type) {
	case map[string]any:
		b.WriteString("{ ")
		for i, k := range slices.Sorted(maps.Keys(x)) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(tomlKey(k) + " = ")
			b.Write(tomlValue(x[k]))
		}
		b.WriteString(" }")
	case []any:
		b.WriteByte('[')
		for i, e := range x {
			if i > 0 {
				b.WriteString(", ")
			}
			b.Write(tomlValue(e))
		}
		b.WriteByte(']')
	case time.Time:
		return []byte(x.Format(time.RFC3339Nano))
	default:
		return quoted(v)
	}
	return b.Bytes()
}

// newline is how lines of a text end.
func newline(b []byte) string {
	if i := bytes.IndexByte(b, '\n'); i > 0 && b[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// indentAt is the blank space a line begins with, up to offset.
func indentAt(b []byte, offset int) string {
	begin := bytes.LastIndexByte(b[:offset], '\n') + 1
	line := string(b[begin:offset])
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}
